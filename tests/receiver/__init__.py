"""The receiver: what a sender, an operator and GitHub would notice of it."""
