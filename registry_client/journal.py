"""What is written of a file that is on its way: remembered through any end of the process."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

from registry_client.files import Tree, read_at, write_all

_LINE = re.compile(rb"^(\d{1,19}) (\d{1,19})\n", re.MULTILINE)
_MOST = 64 * 1024 * 1024  # Nobody's journal is longer; a file that somebody else put there may be.


class Journal:
    """Lines of ``start end``, appended when those bytes are in the file.

    It is not the truth but a hint: the digest of the whole file decides.  A cut line is passed over.
    """

    def __init__(self, tree: Tree, name: str) -> None:
        self._tree = tree
        self._name = name
        self._file: int | None = tree.keep(name, append=True)

    def read(self, size: int) -> Iterator[tuple[int, int]]:
        """The ranges noted, as far as they lie in a file of that size."""
        assert self._file is not None
        for match in _LINE.finditer(read_at(self._file, _MOST, 0)):
            start, end = int(match[1]), int(match[2])
            if start < end <= size:
                yield start, end

    def add(self, start: int, end: int) -> None:
        """Note that these bytes are written."""
        assert self._file is not None
        write_all(self._file, b"%d %d\n" % (start, end))

    def clear(self) -> None:
        """Forget everything."""
        assert self._file is not None
        os.ftruncate(self._file, 0)

    def close(self) -> None:
        """Keep the notes for the next try."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def remove(self) -> None:
        """Throw the notes away."""
        self._tree.remove(self._name)
