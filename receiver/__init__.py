"""A promotion in the W&B registry becomes a dispatch on GitHub: the service that W&B's webhooks reach."""
