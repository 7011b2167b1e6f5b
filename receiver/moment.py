"""A moment in words: UTC, as ISO 8601.  Pure."""

from __future__ import annotations

from datetime import datetime, timezone


def iso(moment: datetime) -> str:
    """The moment in UTC, as ISO 8601 with a ``Z``."""
    return moment.astimezone(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")
