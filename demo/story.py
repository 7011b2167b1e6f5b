"""What the demo says on the terminal: each line is checked before it is printed."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

_LONGEST_WAIT = 30.0


class DemoFailedError(Exception):
    """Something did not happen as the story tells it."""


class Story:
    """Numbered steps, each with lines that were checked."""

    def __init__(self) -> None:
        self._steps = 0
        self._color = sys.stdout.isatty()

    def step(self, text: str) -> None:
        """Begin the next step."""
        self._steps += 1
        print(f"{self._paint('1', f'{self._steps:>2}  {text}')}", flush=True)

    def seen(self, text: str, *, so: bool, otherwise: object = "") -> None:
        """Print what was seen, if it was so; else end the demo with what was there instead."""
        if not so:
            raise DemoFailedError(f"this did not hold: {text}\n{otherwise}")
        print(f"    {self._paint('32', '✓')} {text}", flush=True)

    def plain(self, text: str) -> None:
        """Print lines as they are, indented."""
        for line in text.splitlines():
            print(f"      {line}", flush=True)

    def _paint(self, code: str, text: str) -> str:
        return f"\033[{code}m{text}\033[0m" if self._color else text


def wait_until(what: str, holds: Callable[[], bool], *, hint: Callable[[], str]) -> None:
    """Ask again and again until it holds, at most half a minute."""
    end = time.monotonic() + _LONGEST_WAIT
    while not holds():
        if time.monotonic() > end:
            raise DemoFailedError(f"waited {_LONGEST_WAIT:.0f} s in vain: {what}\n{hint()}")
        time.sleep(0.02)
