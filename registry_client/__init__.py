"""Resolve a W&B artifact version and download it, every byte proven, without the wandb SDK."""
