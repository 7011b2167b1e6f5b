"""Lengths of time as people write them: ``90``, ``10m``, ``90d``."""

from __future__ import annotations

import re
from datetime import timedelta

_UNITS = {
    "": timedelta(seconds=1),
    "s": timedelta(seconds=1),
    "m": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
}


def parse_duration(text: str) -> timedelta:
    """Read a number with ``s``, ``m``, ``h`` or ``d`` after it, or seconds; else raise ValueError."""
    found = re.fullmatch(r"([0-9]{1,8})([smhd]?)", text)
    if found is None:
        raise ValueError(f"got {text!r}, want seconds, or a number with s, m, h or d, like 10m")
    return int(found[1]) * _UNITS[found[2]]


def shortly(length: timedelta) -> str:
    """Write it as it would be read, in the largest unit that fits: ``10m``, ``90d``."""
    for unit in "dhms":
        if length and length % _UNITS[unit] == timedelta(0):
            return f"{length // _UNITS[unit]}{unit}"
    return f"{length.total_seconds():g}s"
