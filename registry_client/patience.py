"""How often a thing is tried again, and how long we wait before it."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import TypeVar

from registry_client.errors import FetchError

_LONGEST_PAUSE = 60.0  # Between our own tries.
_LONGEST_ASKED = 120.0  # That a server may ask for before we rather give up and say so.

T = TypeVar("T")


class TransientError(FetchError):
    """A fault that the next try may not meet; ``asked`` is the pause the server wants, in seconds."""

    def __init__(self, message: str, *, asked: float | None = None) -> None:
        super().__init__(message)
        self.asked = asked


def patiently(attempt: Callable[[], T], *, sleep: Callable[[float], object], tries: int = 5) -> T:
    """Call again after a transient fault, each time a little later; the last one is raised."""
    for number in range(1, tries):
        try:
            return attempt()
        except TransientError as fault:  # noqa: PERF203 - each round waits for the network
            sleep(pause(number, fault))
    try:
        return attempt()
    except TransientError as fault:
        raise FetchError(f"{fault} (tried {tries} times)") from fault


def pause(faults: int, fault: TransientError) -> float:
    """How long to wait after that many faults in a row; raise the fault if the server asks for too long."""
    if fault.asked is not None and fault.asked > _LONGEST_ASKED:
        raise FetchError(f"{fault}, and asks to wait {fault.asked:.0f} s: run this again later") from fault
    own = min(2.0 ** (min(faults, 10) - 1), _LONGEST_PAUSE)
    jittered = own * random.uniform(0.5, 1.0)  # noqa: S311 - spreads the load, guards nothing
    return max(jittered, fault.asked or 0.0)
