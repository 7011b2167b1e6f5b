"""How often we may ask GitHub for something, so that it need not tell us: pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

_UNITS = {"s": timedelta(seconds=1), "m": timedelta(minutes=1), "h": timedelta(hours=1)}


class Limit(NamedTuple):
    """At most so many attempts begin within any such length of time."""

    most: int
    within: timedelta


@dataclass(frozen=True)
class Budget:
    """Every limit holds at once, in windows that slide: who was idle has all of it at once."""

    limits: tuple[Limit, ...]

    @classmethod
    def parse(cls, text: str) -> Budget | None:
        """Read ``1/s,80/m,500/h``; ``off`` is None; anything else raises ValueError."""
        if text.strip().lower() == "off":
            return None
        found = [re.fullmatch(r"\s*([1-9][0-9]{0,6})/([smh])\s*", part, re.ASCII) for part in text.split(",")]
        units = [match[2] for match in found if match]
        if len(units) < len(found) or len(set(units)) < len(units):
            raise ValueError(f"got {text!r}, want off, or one limit for each of s, m and h, like {DEFAULT}")
        return cls(tuple(Limit(int(match[1]), _UNITS[match[2]]) for match in found if match))

    def free_at(self, begun: Sequence[datetime | None]) -> datetime | None:
        """Tell from when on one more may begin; None: at any time.

        For each limit of ``most``, ``begun`` has the moment at which the ``most``-th newest attempt began.
        """
        over = [
            moment + limit.within
            for limit, moment in zip(self.limits, begun, strict=True)
            if moment is not None
        ]
        return max(over, default=None)


DEFAULT = "1/s,80/m,500/h"  # GitHub advises one a second, and limits what creates content to 80 and 500.
