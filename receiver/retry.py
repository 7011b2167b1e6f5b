"""What follows from the end of an attempt: sent, wait until, dead, or ended otherwise.  Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from receiver.delivery import DispatchState
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

# While W&B cannot be asked: a part of the time that it has been open, so that a short fault costs little
# and a long one few questions.
POSTPONED_PART = 4
POSTPONED_SHORTEST = timedelta(seconds=5)
POSTPONED_LONGEST = timedelta(minutes=10)

GAVE_UP = "gave-up"
HELD = "held"

_UNCOUNTED = frozenset({OutcomeKind.THROTTLED, OutcomeKind.POSTPONED})
_NOT_SENT = {
    OutcomeKind.OUTDATED: DispatchState.OUTDATED,
    OutcomeKind.UNWANTED: DispatchState.UNWANTED,
}


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


@dataclass(frozen=True)
class Ended:
    """It is not sent, and nobody need act: what it was for no longer holds, or its route does not want it."""

    state: DispatchState
    reason: str
    detail: str
    counts: bool = False


Decision = Sent | Wait | Dead | Ended


def decide(  # noqa: PLR0913 - all that the rule depends on, and nothing else
    outcome: Outcome,
    *,
    attempts_used: int,
    open_since: datetime,
    now: datetime,
    jitter: Callable[[], float],
    doubts: int = 0,
    holds: bool = False,
) -> Decision:
    """Return what follows from an attempt.

    ``attempts_used`` earlier ones counted since it was accepted or redelivered, at ``open_since``;
    ``doubts`` earlier ones may have arrived without an answer; ``holds`` says that after such a one it may
    not be sent again, since nobody can look whether it arrived.
    ``jitter`` gives a number from 0 to 1; a half makes a wait neither longer nor shorter.
    """
    ended = _ended(outcome, holds=holds)
    if ended is not None:
        return ended
    if outcome.kind is OutcomeKind.AMBIGUOUS and not may_resend(doubts + 1):
        return _gave_up(f"{doubts + 1} attempts may have arrived, none was confirmed", outcome)
    counts = outcome.kind not in _UNCOUNTED
    if counts and attempts_used >= len(SCHEDULE):
        return _gave_up(f"{attempts_used + 1} attempts failed", outcome)
    wait = _wait(outcome, attempts_used, doubts, now - open_since, jitter)
    if now + wait > open_since + GIVE_UP_AFTER:
        return _gave_up("the next attempt would be more than three days after the delivery", outcome)
    return Wait(now + wait, counts=counts)


def held_back(why_not: str) -> Outcome:
    """What comes of one that holds, may have arrived, and for which the look that would tell cannot be taken.

    ``why_not`` says why.
    """
    return Outcome(OutcomeKind.REFUSED, HELD, _held(f"the look whether it did cannot be taken ({why_not})"))


def may_resend(doubts: int) -> bool:
    """Tell whether one may be sent again after so many attempts that may have arrived."""
    return doubts <= len(AMBIGUOUS_SCHEDULE)


def throttled_for(outcome: Outcome) -> timedelta:
    """Return what the server asked for, to the second: earlier would be held against us."""
    asked = THROTTLE_DEFAULT if outcome.wait is None else outcome.wait
    return min(max(asked, THROTTLE_SHORTEST), THROTTLE_LONGEST)


def _ended(outcome: Outcome, *, holds: bool) -> Decision | None:
    """Return what follows where it is not tried again; None where it may be."""
    if outcome.kind is OutcomeKind.SENT:
        return Sent()
    if outcome.kind is OutcomeKind.REFUSED:
        return Dead(outcome.reason, outcome.detail)
    if outcome.kind in _NOT_SENT:
        return Ended(_NOT_SENT[outcome.kind], outcome.reason, outcome.detail)
    if outcome.kind is OutcomeKind.AMBIGUOUS and holds:
        return Dead(HELD, _held(outcome.detail))
    return None


def _wait(
    outcome: Outcome, attempts_used: int, doubts: int, open_for: timedelta, jitter: Callable[[], float]
) -> timedelta:
    if outcome.kind is OutcomeKind.THROTTLED:
        return throttled_for(outcome)
    if outcome.kind is OutcomeKind.POSTPONED:
        wait = min(max(open_for / POSTPONED_PART, POSTPONED_SHORTEST), POSTPONED_LONGEST)
    else:
        wait = (
            AMBIGUOUS_SCHEDULE[doubts] if outcome.kind is OutcomeKind.AMBIGUOUS else SCHEDULE[attempts_used]
        )
    return wait * (1 + JITTER * (2 * jitter() - 1))


def _held(why: str) -> str:
    return f"it may have arrived, and its route says not to risk a second one: see, then redeliver it. {why}"


def _gave_up(why: str, outcome: Outcome) -> Dead:
    return Dead(GAVE_UP, f"gave up: {why}. The last answer was: {outcome.detail}")
