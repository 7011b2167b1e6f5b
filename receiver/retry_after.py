"""How long a server asks us to wait, read from its headers: pure."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from email.utils import parsedate_to_datetime

from receiver.retry import THROTTLE_DEFAULT, THROTTLE_LONGEST, THROTTLE_SHORTEST

_MOST_DOUBLINGS = 10  # More would be over the longest wait by far.


def parse(text: str | None, now: datetime) -> timedelta | None:
    """Read ``Retry-After``: seconds (a fraction rounds up) or an HTTP date.

    The wait is clamped to between a second and two hours; None when there is nothing that can be read.
    """
    if text is None:
        return None
    if re.fullmatch(r"\s*[0-9]{1,18}(\.[0-9]*)?\s*", text, re.ASCII):
        return _clamped(math.ceil(float(text)))
    until = http_date(text)
    return None if until is None else _clamped(math.ceil((until - now).total_seconds()))


def http_date(text: str | None) -> datetime | None:
    """Read a date as HTTP has it; None when it is none."""
    try:
        date = parsedate_to_datetime(text or "")
    except (TypeError, ValueError, IndexError, OverflowError):
        return None
    return date if date.tzinfo is not None else date.replace(tzinfo=timezone.utc)


def wait_asked(headers: Mapping[str, str], now: datetime, *, refusals: int = 0) -> timedelta:
    """Return how long to wait: as told, else a minute, doubled for each of the ``refusals`` before.

    This is the rule in GitHub's documentation.
    """
    told = wait_told(headers, now)
    if told is not None:
        return told
    return min(THROTTLE_DEFAULT * (1 << min(refusals, _MOST_DOUBLINGS)), THROTTLE_LONGEST)


def wait_told(headers: Mapping[str, str], now: datetime) -> timedelta | None:
    """Return what is asked for: ``Retry-After``, else to the reset of a limit used up; None if nothing.

    ``headers`` are found by their lower-case names; GitHub's own clock (``Date``) counts where it is told.
    """
    there = http_date(headers.get("date")) or now
    asked = parse(headers.get("retry-after"), there)
    if asked is not None:
        return asked
    reset = headers.get("x-ratelimit-reset", "")
    if used_up(headers) and re.fullmatch(r"[0-9]{1,18}", reset, re.ASCII):
        return _clamped(math.ceil(int(reset) - there.timestamp()))
    return None


def used_up(headers: Mapping[str, str]) -> bool:
    """Whether the primary rate limit has nothing left."""
    return headers.get("x-ratelimit-remaining", "").strip() == "0"


def _clamped(seconds: int) -> timedelta:
    longest = int(THROTTLE_LONGEST.total_seconds())
    return max(THROTTLE_SHORTEST, timedelta(seconds=max(0, min(seconds, longest))))
