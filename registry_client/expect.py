"""Whether a version is the one that somebody expected: pure."""

from __future__ import annotations

import re

from registry_client.errors import ConfigurationError, VerificationError
from registry_client.version import ArtifactVersion


def parse_digest(name: str, text: str) -> str:
    """Read an artifact's digest, or raise a ConfigurationError that begins with the name."""
    digest = text.strip().lower()
    if re.fullmatch(r"[0-9a-f]{32}", digest) is None:
        raise ConfigurationError(f"{name}: got {text.strip()[:80]!r}, want the 32 hex digits of a digest")
    return digest


def check_digest(version: ArtifactVersion, expected: str | None) -> None:
    """Check that the version has that digest, if one is expected, or raise VerificationError."""
    if expected is not None and version.digest.lower() != expected:
        raise VerificationError(
            f"{version.name} has the digest {version.digest}, want {expected}: "
            "the name means another version than was expected, so nothing was downloaded"
        )
