"""Manifest entries that point elsewhere."""

from __future__ import annotations

from typing import Any

from registry_client.manifest import ManifestEntry
from registry_client.version import DigestAlgorithm


def pointer(reference: str, digest: str = "etag", size: int = 0, **more: Any) -> ManifestEntry:
    """A file that lies there, as it was logged."""
    return ManifestEntry("far.bin", digest, size, DigestAlgorithm.MD5, None, reference, **more)
