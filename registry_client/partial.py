"""A file on its way: bytes are put where they belong, and the digest follows as far as they are whole."""

from __future__ import annotations

import base64
import os
import threading
from collections.abc import Callable

from registry_client.digest import Promise, digester
from registry_client.errors import TargetError, VerificationError
from registry_client.files import Tree, read_at, refused, write_at
from registry_client.journal import Journal
from registry_client.parts import Extents

_READ_BACK = 1024 * 1024


class Partial:
    """One file of a known digest, written by several threads.

    Each byte is hashed once and in order.  A chunk that comes in order is hashed as it is in memory; what
    came early is read back, which is from the system's cache as it was just written.

    Attributes:
        resumed: Whether some of it was here before; then a wrong digest may be that part's fault.
    """

    def __init__(self, tree: Tree, entry: Promise) -> None:
        self._tree = tree
        self._entry = entry
        self.name = name_of(entry)
        self._journal = Journal(tree, f"{self.name}.parts")
        self._file: int | None = tree.keep(self.name)
        self._lock = threading.Lock()
        self._here = Extents(self._journal.read(entry.size))
        if os.fstat(self._file).st_size < max((end for _, end in self._here), default=0):
            self._here = Extents()  # The disk has lost what the journal says.
        self.resumed = self._here.size > 0
        self._digester = digester(entry.algorithm)
        self._hashed = 0
        self._hashing = self._ended = False

    @property
    def size(self) -> int:
        """How many bytes are here."""
        with self._lock:
            return self._here.size

    def gaps(self) -> list[tuple[int, int]]:
        """The ranges that are not here yet."""
        with self._lock:
            return list(self._here.gaps(self._entry.size))

    def write(self, start: int, chunk: bytes) -> None:
        """Put bytes where they belong."""
        assert self._file is not None
        end = start + len(chunk)
        try:
            write_at(self._file, chunk, start)
            self._journal.add(start, end)
        except OSError as error:
            raise refused(f"{self._entry.path} cannot be written", error) from error
        with self._lock:
            self._here.add(start, end)
            in_order = not self._hashing and self._hashed == start
            self._hashing = self._hashing or in_order
        if in_order:
            self._digester.update(chunk)
            with self._lock:
                self._hashed, self._hashing = end, False

    def follow(self, stopped: Callable[[], bool] = lambda: False) -> bool:
        """Hash what is whole by now; True for the one caller who finds the end of the file hashed.

        To be called when a part is written: who wrote it is free, and no connection waits for him.
        """
        mine = False
        while not stopped():
            with self._lock:
                if self._hashing and not mine:
                    return False  # Who hashes now comes here again.
                end = self._here.end_of(self._hashed)
                mine = self._hashing = end > self._hashed
                if not mine:
                    first = self._hashed == self._entry.size and not self._ended
                    self._ended = self._ended or first
                    return first
            self._read_back(min(end, self._hashed + _READ_BACK))
        return False

    def check(self) -> None:
        """Check the whole file's digest, or raise VerificationError."""
        got = base64.b64encode(self._digester.digest()).decode("ascii")
        if got != self._entry.digest:
            raise VerificationError(
                f"{self._entry.path}: got {self._entry.algorithm.name} {got}, want {self._entry.digest}"
            )

    def restart(self) -> None:
        """Forget all of it."""
        assert self._file is not None
        self._journal.clear()
        os.ftruncate(self._file, 0)
        self._here, self._digester = Extents(), digester(self._entry.algorithm)
        self._hashed, self._hashing, self._ended, self.resumed = 0, False, False, False

    def close(self) -> None:
        """Leave it for the next try."""
        if self._file is not None:
            os.close(self._file)
            self._file = None
        self._journal.close()

    def move(self, tree: Tree, path: str) -> None:
        """Give the file its place; to be called when it is proven."""
        self.close()
        tree.move_in(self._tree, self.name, path)
        self._journal.remove()

    def remove(self) -> None:
        """Leave nothing for the next try; threads that still write do no harm."""
        self._journal.remove()
        self._tree.remove(self.name)

    def _read_back(self, end: int) -> None:
        assert self._file is not None
        data = read_at(self._file, end - self._hashed, self._hashed)
        if not data:
            raise TargetError(f"{self._entry.path} cannot be read back: somebody else has cut it")
        self._digester.update(data)
        with self._lock:
            self._hashed += len(data)


def name_of(entry: Promise) -> str:
    """What a file is called while it is on its way: by its content, not by its place."""
    return f"{entry.algorithm.name.lower()}-{base64.b64decode(entry.digest).hex()}"
