"""How long until it is known which of 1,000 routes an event takes?

The best of many looks, by the processor time of this thread alone, beside a look at a single route.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from receiver.routing.choose import choose
from receiver.routing.route import Route
from tests.receiver.test_routes_many import SHAPES, SUBJECT, routes

_LOOKS = 200


def best(every: Sequence[Route]) -> float:
    """Seconds of the fastest look."""
    times = []
    for _ in range(_LOOKS):
        began = time.thread_time()
        choose(every, SUBJECT)
        times.append(time.thread_time() - began)
    return min(times)


def main() -> None:
    """Measure each shape, and print a line for it."""
    for name, (artifact, author, _taken) in SHAPES.items():
        every = routes(artifact, author)
        alone = best(every[:1])
        print(f"{name}: 1,000 routes {best(every) * 1000:.2f} ms, one route {alone * 1e6:.1f} µs")


if __name__ == "__main__":
    main()
