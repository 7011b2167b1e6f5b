"""How far a download is: a bar for a person, a line now and then for a log."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import Protocol, TextIO

_BAR = 30
_BAR_EVERY = 0.1
_LINE_EVERY = 5.0  # Not more often, however fast it is.
_LINE_AT_LEAST = 60.0  # However slow it is.
_THOUSAND = 1000


class Progress(Protocol):
    """Is told what arrived, from several threads."""

    def start(self, files: int, size: int) -> None:
        """A download of that many files and bytes begins."""

    def advance(self, size: int) -> None:
        """So many more bytes are here."""

    def file_done(self) -> None:
        """One more file is here and proven."""

    def finish(self, *, ok: bool) -> None:
        """It is over."""


class Quiet:
    """Tells nobody."""

    def start(self, files: int, size: int) -> None:
        """Nothing."""

    def advance(self, size: int) -> None:
        """Nothing."""

    def file_done(self) -> None:
        """Nothing."""

    def finish(self, *, ok: bool) -> None:
        """Nothing."""


class _Counting:
    """Counts what arrives, and calls ``_tell`` under a lock."""

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream
        self._clock = clock
        self._lock = threading.Lock()
        self._files, self._size = 0, 0
        self._files_done, self._arrived = 0, 0
        self._began = self._told = clock()

    def start(self, files: int, size: int) -> None:
        """Begin to count."""
        self._files, self._size = files, size
        self._began = self._told = self._clock()

    def advance(self, size: int) -> None:
        """Count bytes."""
        with self._lock:
            self._arrived += size
            self._tell()

    def file_done(self) -> None:
        """Count a file."""
        with self._lock:
            self._files_done += 1
            self._tell()

    def _tell(self) -> None:
        raise NotImplementedError

    def _share(self) -> float:
        return min(self._arrived / self._size, 1.0) if self._size else 1.0

    def _counts(self) -> str:
        seconds = max(self._clock() - self._began, 0.001)
        return (
            f"{self._files_done:,} of {self._files:,} files, {in_words(self._arrived)} of "
            f"{in_words(self._size)}, {in_words(self._arrived / seconds)}/s"
        )


class Bar(_Counting):
    """Redraws one line of a terminal."""

    def finish(self, *, ok: bool) -> None:
        """Draw it a last time, or take it away."""
        with self._lock:
            self._stream.write(f"{self._line()}\n" if ok else "\r\033[K")
            self._stream.flush()

    def _tell(self) -> None:
        now = self._clock()
        if now - self._told >= _BAR_EVERY:
            self._told = now
            self._stream.write(self._line())
            self._stream.flush()

    def _line(self) -> str:
        full = int(_BAR * self._share())
        return f"\r\033[K{'█' * full}{'░' * (_BAR - full)} {self._share():4.0%}  {self._counts()}"


class Lines(_Counting):
    """Writes a line for a further tenth, at most every few seconds, and one each minute anyway."""

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(stream, clock)
        self._tenths = 0

    def start(self, files: int, size: int) -> None:
        """Say what begins."""
        super().start(files, size)
        self._write(f"Downloading {files:,} files, {in_words(size)}")

    def finish(self, *, ok: bool) -> None:
        """Say how it ended, if well."""
        if ok:
            self._write(f"Downloaded and verified {self._counts()}")

    def _tell(self) -> None:
        now, tenths = self._clock(), int(self._share() * 10)
        waited = now - self._told
        if (tenths > self._tenths and waited >= _LINE_EVERY) or waited >= _LINE_AT_LEAST:
            self._told, self._tenths = now, tenths
            self._write(f"{self._share():4.0%}  {self._counts()}")

    def _write(self, line: str) -> None:
        self._stream.write(f"{line}\n")
        self._stream.flush()


def progress_for(stream: TextIO, environ: Mapping[str, str]) -> Bar | Lines:
    """A bar where a person looks on, lines where a log is kept."""
    person = stream.isatty() and not environ.get("CI") and environ.get("TERM") != "dumb"
    return Bar(stream) if person else Lines(stream)


def in_words(size: float) -> str:
    """A number of bytes for a person: ``1.5 GB``."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if size < _THOUSAND:
            return f"{size:.0f} {unit}" if unit == "bytes" else f"{size:.1f} {unit}"
        size /= _THOUSAND
    return f"{size:.1f} TB"
