"""An end to a connection when its time is up: a time-out on each read does not stop one byte a second."""

from __future__ import annotations

import heapq
import itertools
import math
import os
import socket
import threading
import time
from contextlib import suppress
from typing import Any

MOST_CLOSED = 100  # That are remembered beside those that hold.


class TimeLimit:
    """Ends the connection that it watches so many seconds after it was made; from any thread.

    Attributes:
        over: Whether the time is up.
        begun: Whether a connection was watched since the last ``end``.
    """

    def __init__(self, seconds: float) -> None:
        self.over = False
        self.begun = False
        self.closed = False
        self._connection: socket.socket | None = None
        _KEEPER.keep(self, time.monotonic() + seconds)

    def begin(self, connection: Any) -> None:
        """Watch this one from now on; what is no socket is not ours to end."""
        self.begun = True
        self._connection = connection if isinstance(connection, socket.socket) else None
        if self.over:
            self._shut()

    def end(self) -> None:
        """Watch nothing, until the next begins."""
        self._connection = None
        self.begun = False

    def close(self) -> None:
        """Have no more limit."""
        self.end()
        if not self.closed:
            self.closed = True
            _KEEPER.forget_some()

    def expire(self) -> None:
        """The time is up."""
        self.over = True
        self._shut()

    def _shut(self) -> None:
        if self._connection is not None:
            with suppress(OSError):
                socket.socket.shutdown(self._connection, socket.SHUT_RDWR)  # TLS as well: below its own.


class _Keeper:
    """One thread for all limits; a timer for each would start one for every request."""

    def __init__(self) -> None:
        self.begin_anew()
        os.register_at_fork(after_in_child=self.begin_anew)  # Threads do not come along.

    def begin_anew(self) -> None:
        """Keep none."""
        self._changed = threading.Condition()
        self._numbers = itertools.count()
        self._limits: list[tuple[float, int, TimeLimit]] = []  # A heap: the next to expire is the first.
        self._looks_at = math.inf
        self._closed = 0  # Of those in the heap, at most.
        self._thread: threading.Thread | None = None

    def keep(self, limit: TimeLimit, until: float) -> None:
        """Have it expire then."""
        with self._changed:
            heapq.heappush(self._limits, (until, next(self._numbers), limit))
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="time-limits", daemon=True)
                self._thread.start()
            elif until < self._looks_at:
                self._changed.notify()

    def forget_some(self) -> None:
        """One more is closed; those go when they are most of all, so that each costs next to nothing."""
        with self._changed:
            self._closed += 1
            if self._closed > MOST_CLOSED + len(self._limits) // 2:
                self._limits = [entry for entry in self._limits if not entry[2].closed]
                heapq.heapify(self._limits)
                self._closed = 0

    def __len__(self) -> int:
        """How many it holds, those that are closed and not forgotten yet included."""
        return len(self._limits)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._looks_at = self._limits[0][0] if self._limits else math.inf
                left = self._looks_at - time.monotonic()
                if left > 0:
                    self._changed.wait(None if left == math.inf else left)
                    continue
                limit = heapq.heappop(self._limits)[2]
            if not limit.closed:
                limit.expire()


_KEEPER = _Keeper()
