"""Which bytes of a file are here, and which pieces of it are still to be asked for: pure."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator

PART = 8 * 1024 * 1024  # Large enough that asking costs nothing, small enough that the digest follows close.


class Extents:
    """Ranges of bytes that are here, merged where they touch."""

    def __init__(self, extents: Iterable[tuple[int, int]] = ()) -> None:
        self._starts: list[int] = []
        self._ends: list[int] = []
        for start, end in extents:
            self.add(start, end)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return zip(self._starts, self._ends, strict=True)

    @property
    def size(self) -> int:
        """How many bytes are here."""
        return sum(self._ends) - sum(self._starts)

    def add(self, start: int, end: int) -> None:
        """Bytes from ``start`` up to ``end`` are here."""
        if start >= end:
            return
        first = bisect_left(self._ends, start)
        last = bisect_right(self._starts, end)
        if first < last:
            start, end = min(start, self._starts[first]), max(end, self._ends[last - 1])
        self._starts[first:last] = [start]
        self._ends[first:last] = [end]

    def end_of(self, start: int) -> int:
        """Up to where all bytes from ``start`` on are here."""
        at = bisect_right(self._starts, start) - 1
        return max(start, self._ends[at]) if at >= 0 else start

    def gaps(self, size: int) -> Iterator[tuple[int, int]]:
        """The ranges of a file of that size that are not here."""
        here = 0
        for start, end in self:
            if here < start:
                yield here, start
            here = end
        if here < size:
            yield here, size


def parts(gaps: Iterable[tuple[int, int]], part: int) -> Iterator[tuple[int, int]]:
    """Pieces to be asked for one by one; what is shorter than two stays in one."""
    for start, end in gaps:
        while end - start >= 2 * part:
            yield start, start + part
            start += part  # noqa: PLW2901 - the rest of the gap
        yield start, end
