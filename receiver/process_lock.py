"""A lock that one process holds on a file, and that its end lets go of, however it ends."""

from __future__ import annotations

import logging
import os
import time
from pathlib import Path

from receiver.errors import SettingsError

try:
    import fcntl
except ImportError:  # Windows; gunicorn does not run there either.
    fcntl = None  # type: ignore[assignment]

# Longer than the 30 seconds that a worker takes at most to drain when gunicorn reloads.
PATIENCE = 40.0
_EVERY = 0.1
_HELD = (
    "HANDOFF_DATABASE_URL: another process holds {}. On SQLite one process works, with threads; "
    "for more processes want postgresql://…"
)
_log = logging.getLogger(__name__)


class ProcessLock:
    """The lock, held from ``hold`` to ``release`` or to the end of the process."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor: int | None = descriptor

    @classmethod
    def hold(cls, path: Path, patience: float = PATIENCE) -> ProcessLock:
        """Take the lock on ``path``, waiting for whoever is about to let go of it.

        Raises:
            SettingsError: Somebody else keeps it.
        """
        if fcntl is None:
            raise SettingsError(["HANDOFF_DATABASE_URL: SQLite needs Linux or macOS here; want PostgreSQL"])
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise SettingsError(
                [f"HANDOFF_DATABASE_URL: cannot lock {str(path)!r}: {error.strerror}"]
            ) from error
        if not _taken(descriptor, path, patience):
            os.close(descriptor)
            raise SettingsError([_HELD.format(repr(str(path)))])
        return cls(descriptor)

    def release(self) -> None:
        """Let go; a second time does nothing."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def _taken(descriptor: int, path: Path, patience: float) -> bool:
    end = time.monotonic() + patience
    if _try(descriptor):
        return True
    _log.warning("waiting up to %.0f s for another process to let go of %s", patience, path)
    while time.monotonic() < end:
        time.sleep(_EVERY)
        if _try(descriptor):
            return True
    return False


def _try(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
