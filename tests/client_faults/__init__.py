"""Proof that the client keeps its promise: spoiled answers, a real nginx, kill -9, W&B's own SDK."""
