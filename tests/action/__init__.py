"""The packaged Action: built alike everywhere, and run as its users run it."""
