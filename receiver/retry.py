"""What follows from the end of an attempt: sent, wait until, or dead.  Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from receiver.dispatch import Outcome, OutcomeKind

# The wait after the first, second, … attempt that failed; the one after the last wait is the last.
SCHEDULE = (
    timedelta(seconds=5),
    timedelta(seconds=30),
    timedelta(minutes=2),
    timedelta(minutes=10),
    timedelta(minutes=30),
    timedelta(hours=2),
    timedelta(hours=5),
    timedelta(hours=10),
    timedelta(hours=14),
)
# The wait after the first, second, … attempt that may have arrived: long enough for its run to show.
# There are as many resends as waits, and each doubles the build if the look before it saw too little.
AMBIGUOUS_SCHEDULE = (
    timedelta(seconds=30),
    timedelta(minutes=5),
    timedelta(minutes=30),
    timedelta(hours=2),
)
GIVE_UP_AFTER = timedelta(days=3)  # Whatever a server asked us to wait for.
JITTER = 0.2  # Each wait is up to this part longer or shorter.

# What a server may ask for: a moment at least, and no clock or header that went wrong keeps us for days.
THROTTLE_DEFAULT = timedelta(seconds=60)
THROTTLE_SHORTEST = timedelta(seconds=1)
THROTTLE_LONGEST = timedelta(hours=2)

GAVE_UP = "gave-up"


@dataclass(frozen=True)
class Sent:
    """It arrived."""

    counts: bool = True


@dataclass(frozen=True)
class Wait:
    """Try again at ``until``.

    Attributes:
        counts: Whether the attempt is used up; a wait that the server asked for uses none.
    """

    until: datetime
    counts: bool = True


@dataclass(frozen=True)
class Dead:
    """It will not be tried again by itself; ``detail`` tells a person why and what to do."""

    reason: str
    detail: str
    counts: bool = True


Decision = Sent | Wait | Dead


def decide(  # noqa: PLR0913 - all that the rule depends on, and nothing else
    outcome: Outcome,
    *,
    attempts_used: int,
    open_since: datetime,
    now: datetime,
    jitter: Callable[[], float],
    doubts: int = 0,
) -> Decision:
    """Return what follows from an attempt.

    ``attempts_used`` earlier ones counted since it was accepted or redelivered, at ``open_since``;
    ``doubts`` earlier ones may have arrived without an answer.
    ``jitter`` gives a number from 0 to 1; a half makes a wait neither longer nor shorter.
    """
    if outcome.kind is OutcomeKind.SENT:
        return Sent()
    if outcome.kind is OutcomeKind.REFUSED:
        return Dead(outcome.reason, outcome.detail)
    if outcome.kind is OutcomeKind.AMBIGUOUS and not may_resend(doubts + 1):
        return _gave_up(f"{doubts + 1} attempts may have arrived, none was confirmed", outcome)
    if outcome.kind is not OutcomeKind.THROTTLED and attempts_used >= len(SCHEDULE):
        return _gave_up(f"{attempts_used + 1} attempts failed", outcome)
    wait = _wait(outcome, attempts_used, doubts, jitter)
    if now + wait > open_since + GIVE_UP_AFTER:
        return _gave_up("the next attempt would be more than three days after the delivery", outcome)
    return Wait(now + wait, counts=outcome.kind is not OutcomeKind.THROTTLED)


def may_resend(doubts: int) -> bool:
    """Tell whether one may be sent again after so many attempts that may have arrived."""
    return doubts <= len(AMBIGUOUS_SCHEDULE)


def throttled_for(outcome: Outcome) -> timedelta:
    """Return what the server asked for, to the second: earlier would be held against us."""
    asked = THROTTLE_DEFAULT if outcome.wait is None else outcome.wait
    return min(max(asked, THROTTLE_SHORTEST), THROTTLE_LONGEST)


def _wait(outcome: Outcome, attempts_used: int, doubts: int, jitter: Callable[[], float]) -> timedelta:
    if outcome.kind is OutcomeKind.THROTTLED:
        return throttled_for(outcome)
    wait = AMBIGUOUS_SCHEDULE[doubts] if outcome.kind is OutcomeKind.AMBIGUOUS else SCHEDULE[attempts_used]
    return wait * (1 + JITTER * (2 * jitter() - 1))


def _gave_up(why: str, outcome: Outcome) -> Dead:
    return Dead(GAVE_UP, f"gave up: {why}. The last answer was: {outcome.detail}")
