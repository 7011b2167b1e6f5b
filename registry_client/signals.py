"""Signals that end the program: the first one unwinds it, so that what is under way ends in order."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def unwinding(*numbers: int) -> Iterator[None]:
    """Inside the block the first of these signals raises SystemExit with 128 and its number, as shells count.

    Later ones are ignored: GitHub's runner sends SIGINT, then SIGTERM, and kills after ten seconds.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # Signals are the main thread's.
        return
    before = {number: signal.signal(number, _leave(numbers)) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _leave(numbers: tuple[int, ...]) -> Callable[[int, FrameType | None], None]:
    def leave(number: int, _frame: FrameType | None) -> None:
        for each in numbers:
            signal.signal(each, signal.SIG_IGN)
        raise SystemExit(128 + number)

    return leave
