"""One large file out of several connections, or out of one where the store knows no parts."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial as bound

from registry_client.errors import VerificationError
from registry_client.manifest import ManifestEntry
from registry_client.partial import Partial
from registry_client.parts import PART, parts
from registry_client.transfer import Fetcher, RangeIgnoredError


class Assembly:
    """The fetching of what is missing of a file, as tasks for several threads.

    Args:
        fetcher: Brings the bytes.
        entry: The file.
        partial: Keeps them.
        arrived: Is told how many bytes came.
        proven: Is called once, when the file is whole and right.
    """

    def __init__(
        self,
        fetcher: Fetcher,
        entry: ManifestEntry,
        partial: Partial,
        *,
        arrived: Callable[[int], object],
        proven: Callable[[], object],
    ) -> None:
        self._fetcher = fetcher
        self._entry = entry
        self._partial = partial
        self._arrived = arrived
        self._proven = proven
        self._known = threading.Event()  # Whether the store knows parts.
        self._whole = False

    def tasks(self) -> Iterator[Callable[[], object]]:
        """What is to be done, in an order that lets the digest follow closely."""
        missing = list(parts(self._partial.gaps(), PART))
        if missing == [(0, self._entry.size)]:
            yield self._fetch_whole
            return
        for number, (start, end) in enumerate(missing):
            yield bound(self._fetch_part, start, end, first=number == 0)
        if not missing:
            yield self._end

    def _fetch_part(self, start: int, end: int, *, first: bool) -> None:
        if not first:
            self._known.wait()
            if self._whole:
                return
        try:
            with self._discarding():
                self._write(start, end, probe=first)
        except RangeIgnoredError:
            self._whole = True
            self._known.set()
            self._partial.restart()
            self._fetch_whole()
        else:
            self._end()
        finally:
            if first:
                self._known.set()

    def _write(self, start: int, end: int, *, probe: bool) -> None:
        with closing(self._fetcher.fetch(self._entry, start, end, probe=probe)) as chunks:
            for chunk in chunks:
                if probe:
                    self._known.set()
                self._partial.write(start, chunk)
                self._arrived(len(chunk))
                start += len(chunk)

    def _fetch_whole(self) -> None:
        with self._discarding():
            got, size = 0, self._entry.size
            with closing(self._fetcher.fetch(self._entry)) as chunks:
                for chunk in chunks:
                    if got + len(chunk) > size:
                        raise VerificationError(
                            f"{self._entry.path}: got more than the {size} bytes it should have"
                        )
                    self._partial.write(got, chunk)
                    self._arrived(len(chunk))
                    got += len(chunk)
            if got < size:
                raise VerificationError(f"{self._entry.path}: got {got} bytes, want {size}")
        self._end()

    def _end(self) -> None:
        """Hash what is whole; who finds the file at its end proves it."""
        if not self._partial.follow(lambda: self._fetcher.stopped):
            return
        resumed = self._partial.resumed
        try:
            self._partial.check()
        except VerificationError:
            if not resumed:
                self._partial.remove()
                raise
            self._partial.restart()  # What an earlier try left may be to blame, and deserves no trust.
            self._fetch_whole()
        else:
            self._proven()

    @contextmanager
    def _discarding(self) -> Iterator[None]:
        """Leave nothing for the next try of a file that the store itself has wrong."""
        try:
            yield
        except VerificationError:
            self._partial.remove()
            raise
