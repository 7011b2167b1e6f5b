"""How often what a stranger can ask for may be done: pure, the time is passed in."""

from __future__ import annotations

import threading


class Allowance:
    """A few at once, then so many a second; whoever asks, asks for all.  Threads may share one."""

    def __init__(self, burst: int, per_second: float) -> None:
        self._burst = burst
        self._per_second = per_second
        self._left = float(burst)
        self._at: float | None = None
        self._lock = threading.Lock()

    def take(self, now: float) -> bool:
        """Whether one is left at this time, in seconds; it is gone then."""
        with self._lock:
            passed = 0.0 if self._at is None else max(0.0, now - self._at)
            self._at = now
            self._left = min(float(self._burst), self._left + passed * self._per_second)
            allowed = self._left >= 1.0
            self._left -= allowed
            return allowed
