"""Which work comes next: a few workers for the parts of large files, all others for the small ones: pure."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from functools import partial as bound

Task = Callable[[], object]


class Lanes:
    """An iterator over tasks for several workers.

    Parts of large files are handed out in order and only to so many workers at a time: more would gain
    nothing but bytes that wait for the digest.  The next large file begins when one has no more.

    Args:
        items: Tasks, and for each large file an iterator over its tasks.
        most: How many workers may be at large files.
    """

    def __init__(self, items: Iterator[Task | Iterator[Task]], *, most: int) -> None:
        self._items = items
        self._most = most
        self._lock = threading.Lock()
        self._large: deque[Iterator[Task]] = deque()
        self._running = 0

    def __iter__(self) -> Iterator[Task]:
        return self

    def __next__(self) -> Task:
        """The next task; StopIteration when this worker is not needed any more."""
        while True:
            part = self._part()
            if part is not None:
                return part
            item = next(self._items)
            if callable(item):
                return item
            self._large.append(item)

    def _part(self) -> Task | None:
        with self._lock:
            if self._running == self._most:
                return None
            while self._large:
                task = next(self._large[0], None)
                if task is not None:
                    self._running += 1
                    return bound(self._run, task)
                self._large.popleft()
        return None

    def _run(self, task: Task) -> None:
        try:
            task()
        finally:
            with self._lock:
                self._running -= 1
