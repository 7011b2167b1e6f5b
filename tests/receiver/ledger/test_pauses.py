"""What gets nothing for now; on SQLite and on PostgreSQL."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from receiver.dispatch import Claim, DispatchKind, Outcome, OutcomeKind, Pause
from receiver.ledger import Ledger
from receiver.ledger.pauses import pause_after
from receiver.retry import Dead, Sent, Wait
from tests.receiver.fakes import BUSY, GONE, LEASE, RESET, START, TAKEN, UNREACHABLE, delivery, dispatch

SECOND = timedelta(seconds=1)
RETRY = UNREACHABLE.outcome


def accept(ledger: Ledger, name: str, repository: str = "acme/deploy") -> None:
    ledger.accept(delivery(name), [dispatch(name, repository=repository, lane=f"{repository}/{name}")])


def claimed(ledger: Ledger, now: datetime = START) -> Claim:
    claim = ledger.claim(now, LEASE)
    assert claim is not None
    return claim


def fail(ledger: Ledger, outcome: Outcome = RETRY, now: datetime = START) -> None:
    """Fail once at the repository whose turn it is, with the next attempt due at once."""
    ledger.record(claimed(ledger, now), Wait(now), outcome, now)


@pytest.mark.parametrize(
    ("failures", "seconds"),
    [(0, None), (4, None), (5, 30), (6, 60), (7, 120), (8, 240), (9, 480), (10, 600), (10_000, 600)],
    ids=str,
)
def test_a_pause_grows_with_each_failure(failures: int, seconds: int | None) -> None:
    """
    From the fifth in a row: 30 seconds, then twice as long each time, ten minutes at most.
    """
    assert pause_after(failures) == (None if seconds is None else seconds * SECOND)


def test_what_github_asks_for_holds_up_everything(ledger: Ledger) -> None:
    """
    After a rate limit nothing goes to any repository, to the second (E4); then everything does.
    """
    accept(ledger, "a")
    accept(ledger, "b", "acme/other")
    ledger.record(claimed(ledger), Wait(START + 90 * SECOND, counts=False), BUSY.outcome, START)
    end = START + 90 * SECOND

    assert ledger.claim(end - timedelta(microseconds=1), LEASE) is None
    assert ledger.next_due(START) == end
    assert ledger.pauses() == [Pause("*", end, 1, "rate-limited")]
    assert {claimed(ledger, end).dispatch.id, claimed(ledger, end).dispatch.id} == {"a-1", "b-1"}


def test_the_longest_wait_that_was_asked_for_counts(ledger: Ledger) -> None:
    """
    Two answers that cross: a shorter one does not end the longer one early, a longer one does count.
    """
    for name in "abc":
        accept(ledger, name, f"acme/{name}")
    claims = [claimed(ledger) for _ in range(3)]
    for claim, seconds in zip(claims, [90, 30, 120], strict=True):
        asked = Outcome(OutcomeKind.THROTTLED, f"for-{seconds}", "wait", wait=seconds * SECOND)
        ledger.record(claim, Wait(START + seconds * SECOND, counts=False), asked, START)
        longest = 90 if seconds == 30 else seconds
        assert ledger.pauses() == [Pause("*", START + longest * SECOND, 1, f"for-{longest}")]


def test_a_rate_limit_at_the_end_of_a_dispatch_still_holds_up_everything(ledger: Ledger) -> None:
    """
    The dispatch that ran into it may be dead; the wait is everybody's.
    """
    accept(ledger, "a")
    accept(ledger, "b", "acme/other")
    ledger.record(claimed(ledger), Dead("gave-up", "three days"), BUSY.outcome, START)

    assert ledger.claim(START + 89 * SECOND, LEASE) is None


@pytest.mark.parametrize("outcome", [UNREACHABLE.outcome, RESET.outcome], ids=["retry", "ambiguous"])
def test_a_repository_that_keeps_failing_is_paused_alone(ledger: Ledger, outcome: Outcome) -> None:
    """
    After five failures in a row, over whatever dispatches; the others flow.
    """
    accept(ledger, "a")
    accept(ledger, "b")
    for _ in range(4):
        fail(ledger, outcome)
    assert ledger.pauses() == []
    fail(ledger, outcome)

    assert ledger.pauses() == [Pause("acme/deploy", START + 30 * SECOND, 5, outcome.reason)]
    assert ledger.claim(START + 30 * SECOND - timedelta(microseconds=1), LEASE) is None
    assert ledger.next_due(START) == START + 30 * SECOND
    accept(ledger, "c", "acme/other")
    assert claimed(ledger).dispatch.id == "c-1"


def test_after_a_pause_one_is_tried(ledger: Ledger) -> None:
    """
    One probe, while everything else waits for what comes of it; when it fails the pause is twice as long.
    """
    for name in "abc":
        accept(ledger, name)
    for _ in range(5):
        fail(ledger)
    now = START + 30 * SECOND
    probe = claimed(ledger, now)

    assert ledger.claim(now, LEASE) is None
    ledger.record(probe, Wait(now), RETRY, now)
    assert ledger.pauses() == [Pause("acme/deploy", now + 60 * SECOND, 6, "unreachable")]
    assert ledger.claim(now + 59 * SECOND, LEASE) is None


@pytest.mark.parametrize("answer", ["sent", "refused"])
def test_a_probe_that_is_answered_ends_the_pause(ledger: Ledger, answer: str) -> None:
    """
    GitHub answers again, be it with a no: the next goes at once, and the count begins anew.
    """
    for name in "abc":
        accept(ledger, name)
    for _ in range(5):
        fail(ledger)
    now = START + 30 * SECOND
    probe = claimed(ledger, now)
    if answer == "sent":
        ledger.record(probe, Sent(), TAKEN.outcome, now)
    else:
        ledger.record(probe, Dead("github-404", "gone"), GONE.outcome, now)

    assert ledger.pauses() == []
    for _ in range(4):
        fail(ledger, now=now)
    assert ledger.claim(now, LEASE) is not None


def test_what_was_given_up_here_ends_no_pause(ledger: Ledger) -> None:
    """
    A dispatch that we give up without an answer tells nothing of the repository.
    """
    accept(ledger, "a")
    accept(ledger, "b")
    for _ in range(5):
        fail(ledger)
    now = START + 30 * SECOND
    ours = Outcome(OutcomeKind.REFUSED, "gave-up", "4 attempts may have arrived")
    ledger.record(claimed(ledger, now), Dead("gave-up", "no"), ours, now)

    assert [pause.failures for pause in ledger.pauses()] == [5]


def test_a_rate_limit_is_no_failure_of_the_repository(ledger: Ledger) -> None:
    """
    It neither counts nor starts the count anew.
    """
    accept(ledger, "a")
    for _ in range(4):
        fail(ledger)
    fail(ledger, BUSY.outcome)
    now = START + 90 * SECOND
    assert [pause.scope for pause in ledger.pauses()] == ["*"]
    fail(ledger, now=now)

    assert Pause("acme/deploy", now + 30 * SECOND, 5, "unreachable") in ledger.pauses()


def test_a_late_claimant_pauses_nothing(ledger: Ledger) -> None:
    """
    What it has to tell is of another time, and dropped with the rest.
    """
    accept(ledger, "a")
    late = claimed(ledger)
    claimed(ledger, START + LEASE)

    with pytest.raises(Exception, match="its lease ended"):
        ledger.record(late, Wait(START + LEASE), BUSY.outcome, START + LEASE)
    assert ledger.pauses() == []


@pytest.mark.parametrize(("ahead", "mended"), [(timedelta(hours=2), 0), (timedelta(hours=2, seconds=1), 1)])
def test_a_pause_further_ahead_than_any_can_be_is_ended(
    ledger: Ledger, ahead: timedelta, mended: int
) -> None:
    """
    It was begun before the clock was put back: nothing waits until it comes round again.
    """
    accept(ledger, "a")
    asked = Outcome(OutcomeKind.THROTTLED, "rate-limited", "wait", wait=timedelta(hours=2))
    began = START + ahead - timedelta(hours=2)
    ledger.record(claimed(ledger), Wait(START, counts=False), asked, began)

    assert ledger.mend(START) == mended
    assert (ledger.claim(START, LEASE) is not None) == bool(mended)


def test_a_pause_that_nothing_waits_for_is_not_waited_for(ledger: Ledger) -> None:
    """
    The last dispatch there is dead: nobody looks again when the pause ends.
    """
    accept(ledger, "a")
    for _ in range(4):
        fail(ledger)
    ledger.record(claimed(ledger), Dead("gave-up", "three days"), RETRY, START)

    assert [pause.failures for pause in ledger.pauses()] == [5]
    assert ledger.next_due(START) is None


# --- what does not go to GitHub


def elsewhere(ledger: Ledger, name: str, repository: str = "post:modal") -> None:
    """Accept one that GitHub never sees."""
    planned = dispatch(name, repository=repository, lane=f"{repository}/{name}", kind=DispatchKind.POST)
    ledger.accept(delivery(name), [planned])


def test_what_github_asks_for_holds_up_nothing_that_goes_elsewhere(ledger: Ledger) -> None:
    """
    The others go on, and whoever waits is told of them.
    """
    accept(ledger, "a")
    accept(ledger, "b", "acme/other")
    ledger.record(claimed(ledger), Wait(START + 90 * SECOND, counts=False), BUSY.outcome, START)
    assert ledger.closed_until(START) == START + 90 * SECOND
    elsewhere(ledger, "c")

    assert ledger.closed_until(START) is None
    assert ledger.next_due(START) == START
    assert claimed(ledger).dispatch.id == "c-1"
    assert ledger.claim(START, LEASE) is None


def test_what_another_destination_asks_for_holds_up_that_one_alone(ledger: Ledger) -> None:
    """
    A channel that wants patience stops neither GitHub nor the other channels.
    """
    for name, where in (("a", "post:modal"), ("b", "post:modal"), ("c", "post:other")):
        elsewhere(ledger, name, where)
    accept(ledger, "d")
    ledger.record(claimed(ledger), Wait(START + 90 * SECOND, counts=False), BUSY.outcome, START)

    assert ledger.pauses() == [Pause("post:modal", START + 90 * SECOND, 0, "rate-limited")]
    others = [claimed(ledger), claimed(ledger)]
    assert {claim.dispatch.id for claim in others} == {"c-1", "d-1"}
    for claim in others:
        ledger.record(claim, Sent(), TAKEN.outcome, START)
    assert ledger.claim(START + 89 * SECOND, LEASE) is None
    assert claimed(ledger, START + 90 * SECOND).dispatch.repository == "post:modal"


def test_what_another_destination_asks_for_counts_after_a_failure(ledger: Ledger) -> None:
    """
    It failed before, which began no pause yet: the wait that it asks for is kept all the same.
    """
    elsewhere(ledger, "a")
    fail(ledger)
    ledger.record(claimed(ledger), Wait(START, counts=False), BUSY.outcome, START)

    assert ledger.pauses() == [Pause("post:modal", START + 90 * SECOND, 1, "rate-limited")]


def test_another_destination_that_keeps_failing_is_paused_too(ledger: Ledger) -> None:
    """
    Each has a breaker of its own.
    """
    elsewhere(ledger, "a")
    accept(ledger, "b")
    for _ in range(5):
        claim = claimed(ledger)
        assert claim.dispatch.id == "a-1"
        ledger.record(claim, Wait(START - SECOND), RETRY, START)

    assert [pause.scope for pause in ledger.pauses()] == ["post:modal"]
    assert claimed(ledger).dispatch.id == "b-1"


def test_what_goes_elsewhere_goes_one_at_a_time(ledger: Ledger) -> None:
    """
    A destination is never asked twice at once.
    """
    elsewhere(ledger, "a")
    elsewhere(ledger, "b")
    elsewhere(ledger, "c", "post:other")

    assert {claimed(ledger).dispatch.id, claimed(ledger).dispatch.id} == {"a-1", "c-1"}
    assert ledger.claim(START, LEASE) is None
