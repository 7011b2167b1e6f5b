"""What follows from the end of an attempt."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.delivery import DispatchState
from receiver.dispatch import Outcome, OutcomeKind
from receiver.retry import (
    AMBIGUOUS_SCHEDULE,
    GAVE_UP,
    GIVE_UP_AFTER,
    HELD,
    SCHEDULE,
    Dead,
    Decision,
    Ended,
    Sent,
    Wait,
    decide,
    held_back,
    may_resend,
)
from tests.receiver.fakes import BUSY, GONE, RESET, START, TAKEN, UNREACHABLE, Answer


def decided(
    outcome: Outcome,
    *,
    used: int = 0,
    after: timedelta = timedelta(0),
    jitter: float = 0.5,
    doubts: int = 0,
    holds: bool = False,
) -> Decision:
    return decide(
        outcome,
        attempts_used=used,
        open_since=START,
        now=START + after,
        jitter=lambda: jitter,
        doubts=doubts,
        holds=holds,
    )


def throttled(wait: timedelta | None) -> Outcome:
    return Outcome(OutcomeKind.THROTTLED, "rate-limited", "slow down", status=429, wait=wait)


def test_what_arrived_is_sent() -> None:
    """
    A dispatch that GitHub took is done.
    """
    assert decided(TAKEN.outcome) == Sent()


def test_what_is_refused_is_dead_at_once_with_its_reason() -> None:
    """
    What can never succeed is not tried again, and says why in the words of the answer.
    """
    assert decided(GONE.outcome) == Dead("github-404", "no such repository")


@pytest.mark.parametrize(
    ("used", "seconds"), list(enumerate([5, 30, 120, 600, 1800, 7200, 18000, 36000, 50400])), ids=str
)
def test_failures_wait_by_the_schedule(used: int, seconds: int) -> None:
    """
    5 s, 30 s, 2 m, 10 m, 30 m, 2 h, 5 h, 10 h, 14 h; each attempt counts.
    """
    assert decided(UNREACHABLE.outcome, used=used) == Wait(START + timedelta(seconds=seconds), counts=True)


@pytest.mark.parametrize("answer", [UNREACHABLE, RESET], ids=["retry", "ambiguous"])
def test_the_tenth_failure_is_the_last(answer: Answer) -> None:
    """
    After as many attempts as there are waits, and one more, a person decides.
    """
    assert isinstance(decided(answer.outcome, used=8), Wait)
    decision = decided(answer.outcome, used=9)

    assert decision == Dead(
        GAVE_UP, f"gave up: 10 attempts failed. The last answer was: {answer.outcome.detail}"
    )


def test_a_throttle_is_never_the_last() -> None:
    """
    Waits that GitHub asked for use up nothing, however many attempts were used before.
    """
    assert isinstance(decided(BUSY.outcome, used=9), Wait)


def test_the_schedule_ends_before_its_time_does() -> None:
    """
    With every wait as long as it can be, all ten attempts are made.
    """
    assert sum(SCHEDULE, timedelta(0)) * 1.2 < GIVE_UP_AFTER


@pytest.mark.parametrize(("jitter", "seconds"), [(0.0, 24), (0.5, 30), (1.0, 36)])
def test_a_wait_is_up_to_a_fifth_longer_or_shorter(jitter: float, seconds: int) -> None:
    """
    Jitter spreads what failed together.
    """
    assert decided(UNREACHABLE.outcome, used=1, jitter=jitter) == Wait(START + timedelta(seconds=seconds))


@pytest.mark.parametrize("answer", [UNREACHABLE, BUSY, RESET], ids=["retry", "throttled", "ambiguous"])
def test_three_days_after_acceptance_it_is_dead(answer: Answer) -> None:
    """
    When the next attempt would be over three days after the delivery, it is dead and says the last answer.
    """
    decision = decided(answer.outcome, after=GIVE_UP_AFTER)

    assert isinstance(decision, Dead)
    assert decision.reason == GAVE_UP
    assert answer.outcome.detail in decision.detail


def test_the_three_days_include_their_last_moment() -> None:
    """
    An attempt exactly three days after acceptance is still made; one a microsecond later is not.
    """
    just = GIVE_UP_AFTER - timedelta(seconds=90)

    assert decided(BUSY.outcome, after=just) == Wait(START + GIVE_UP_AFTER, counts=False)
    assert isinstance(decided(BUSY.outcome, after=just + timedelta(microseconds=1)), Dead)


@pytest.mark.parametrize(
    ("asked", "waits"),
    [
        (timedelta(seconds=90), timedelta(seconds=90)),
        (None, timedelta(seconds=60)),
        (timedelta(0), timedelta(seconds=1)),
        (timedelta(seconds=-5), timedelta(seconds=1)),
        (timedelta(days=3650), timedelta(hours=2)),
    ],
    ids=["as-asked", "not-said", "zero", "negative", "ten-years"],
)
@pytest.mark.parametrize("jitter", [0.0, 1.0])
def test_a_throttle_waits_what_was_asked_and_uses_no_attempt(
    asked: timedelta | None, waits: timedelta, jitter: float
) -> None:
    """
    To the second, never earlier, within bounds that no broken header can leave.
    """
    assert decided(throttled(asked), used=3, jitter=jitter) == Wait(START + waits, counts=False)


@pytest.mark.parametrize(("doubts", "wait"), list(enumerate(AMBIGUOUS_SCHEDULE)), ids=str)
def test_what_may_have_arrived_waits_long_enough_for_its_run_to_show(doubts: int, wait: timedelta) -> None:
    """
    The waits after ambiguous attempts have a schedule of their own.
    """
    assert decided(RESET.outcome, doubts=doubts) == Wait(START + wait)
    assert wait >= timedelta(seconds=30)


def test_what_may_have_arrived_is_sent_again_a_few_times_only() -> None:
    """
    There are four resends; the fifth ambiguous attempt is the last.
    """
    decision = decided(RESET.outcome, doubts=4)

    assert isinstance(decision, Dead)
    assert decision.reason == GAVE_UP
    assert "5 attempts may have arrived" in decision.detail
    assert [may_resend(doubts) for doubts in (1, 4, 5)] == [True, True, False]


POSTPONED = Outcome(OutcomeKind.POSTPONED, "wandb-unreachable", "W&B cannot be asked: no answer")


@pytest.mark.parametrize(
    ("open_for", "seconds"),
    [(0, 5), (20, 5), (60, 15), (1_200, 300), (2_400, 600), (100_000, 600), (-60, 5)],
    ids=str,
)
def test_what_is_postponed_waits_a_part_of_its_time_and_uses_nothing(open_for: int, seconds: int) -> None:
    """
    A quarter of the time that it has been open, 5 s to 10 m, however many attempts were used before.
    """
    after = timedelta(seconds=open_for)

    assert decided(POSTPONED, used=9, after=after) == Wait(
        START + after + timedelta(seconds=seconds), counts=False
    )


def test_what_is_postponed_for_three_days_is_dead() -> None:
    """
    Nothing waits for W&B for ever, and nothing is sent unverified.
    """
    decision = decided(POSTPONED, after=GIVE_UP_AFTER)

    assert isinstance(decision, Dead)
    assert decision.reason == GAVE_UP
    assert "no answer" in decision.detail


@pytest.mark.parametrize(
    ("kind", "state"),
    [
        (OutcomeKind.OUTDATED, DispatchState.OUTDATED),
        (OutcomeKind.UNWANTED, DispatchState.UNWANTED),
    ],
    ids=lambda each: each.value,
)
def test_what_no_longer_holds_ends_without_anybody_to_act(kind: OutcomeKind, state: DispatchState) -> None:
    """
    It ends in a state of its own and not among the dead; no attempt is used, since nothing was sent.
    """
    outcome = Outcome(kind, "outdated", "not sent: the alias moved")

    assert decided(outcome) == Ended(state, "outdated", "not sent: the alias moved", counts=False)


def test_what_holds_is_not_sent_again_when_nobody_can_look() -> None:
    """
    It is dead at once, and tells a person to see; what surely did not arrive is tried again as ever.
    """
    decision = decided(RESET.outcome, holds=True)

    assert isinstance(decision, Dead)
    assert decision.reason == HELD
    assert "see, then redeliver it" in decision.detail
    assert RESET.outcome.detail in decision.detail
    assert isinstance(decided(UNREACHABLE.outcome, holds=True), Wait)


def test_what_is_held_back_says_why() -> None:
    """
    Where an earlier attempt may have arrived and the look failed, that is the end of it.
    """
    outcome = held_back("an endpoint of its own cannot be asked what it has seen")
    decision = decided(outcome)

    assert isinstance(decision, Dead)
    assert decision.reason == HELD
    assert "cannot be asked what it has seen" in decision.detail


@given(
    outcome=st.builds(
        Outcome,
        st.sampled_from(OutcomeKind),
        st.just("reason"),
        st.just("detail"),
        wait=st.none() | st.timedeltas(),
    ),
    used=st.integers(0, 10_000),
    doubts=st.integers(0, 100),
    after=st.timedeltas(timedelta(-1), timedelta(days=9)),
    jitter=st.floats(0, 1),
)
def test_no_wait_is_in_the_past_or_past_the_three_days(
    outcome: Outcome, used: int, doubts: int, after: timedelta, jitter: float
) -> None:
    """
    Whatever came back and whenever: a wait ends after now and within three days, or there is none.
    """
    decision = decided(outcome, used=used, doubts=doubts, after=after, jitter=jitter)

    if isinstance(decision, Wait):
        assert START + after < decision.until <= START + GIVE_UP_AFTER
