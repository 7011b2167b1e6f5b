"""Whose turn it is; on SQLite and on PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import create_engine, text

from receiver.budget import Budget
from receiver.delivery import DispatchState
from receiver.dispatch import GITHUB_KINDS, Claim, DispatchKind, Outcome, OutcomeKind
from receiver.errors import LostLeaseError
from receiver.ledger import Ledger
from receiver.ledger.turns import NEAR
from receiver.retry import Ended, Sent, Wait
from tests.receiver.fakes import LEASE, START, TAKEN, UNREACHABLE, delivery, dispatch
from tests.receiver.waiting import until_blocked

SECOND = timedelta(seconds=1)


def accept(ledger: Ledger, *ids: str, at: datetime = START, **changes: Any) -> None:
    for name in ids:
        ledger.accept(delivery(name, at=at), [dispatch(name, at=at, **changes)])


def claimed(ledger: Ledger, now: datetime = START) -> Claim:
    claim = ledger.claim(now, LEASE)
    assert claim is not None
    return claim


def send(ledger: Ledger, now: datetime = START) -> str:
    claim = claimed(ledger, now)
    ledger.record(claim, Sent(), TAKEN.outcome, now)
    return claim.dispatch.id


# --- behind many


@pytest.mark.parametrize("where", ["lane", "repository", "pause"])
def test_what_may_go_is_found_behind_thousands_that_may_not(ledger: Ledger, where: str) -> None:
    """
    However many are due and wait behind one, the first of another lane is found; its time, too.
    """
    accept(ledger, "a")
    for number in range(NEAR + 10):
        lane = f"lane-{number}" if where != "lane" else "acme/deploy/churn"
        accept(ledger, f"b{number:03}", lane=lane)
    accept(ledger, "c", repository="acme/other")
    accept(ledger, "d", repository="acme/third")
    first = claimed(ledger)
    if where == "lane":
        ledger.record(first, Wait(START + 5 * SECOND), UNREACHABLE.outcome, START)
    if where == "pause":
        for n in range(5):
            ledger.record(first, Wait(START + SECOND), UNREACHABLE.outcome, START)
            first = claimed(ledger) if n < 4 else first

    assert ledger.next_due(START) == START
    assert [send(ledger), send(ledger)] == ["c-1", "d-1"]
    assert ledger.claim(START, LEASE) is None
    waits = {"lane": START + 5 * SECOND, "repository": START + LEASE, "pause": START + 30 * SECOND}
    assert ledger.next_due(START) == waits[where]


def test_the_end_of_a_lease_is_found_behind_thousands(ledger: Ledger) -> None:
    """
    What a dead claimant left is taken over though all the others of its repository are due before it.
    """
    accept(ledger, "a")
    for number in range(NEAR + 10):
        accept(ledger, f"b{number:03}", lane=f"lane-{number}")
    claimed(ledger)

    assert claimed(ledger, START + LEASE).dispatch.id == "a-1"


def test_a_redelivered_one_does_not_block_the_end_of_a_lease(ledger: Ledger) -> None:
    """
    An older one of the lane that came back while a newer one was being sent: each gets its turn.
    """
    accept(ledger, "a", "b")
    send(ledger)
    claimed(ledger)
    ledger.redeliver("a", now=START, force=True)

    assert ledger.claim(START, LEASE) is None
    taken_over = claimed(ledger, START + LEASE)
    assert taken_over.dispatch.id == "b-1"
    ledger.record(taken_over, Sent(), TAKEN.outcome, START + LEASE)
    assert send(ledger, START + LEASE) == "a-1"


# --- the budget


@pytest.fixture
def frugal(database_url: str) -> Callable[[str], Ledger]:
    """Opens the ledger with a budget."""
    return lambda budget: Ledger.open(database_url, budget=Budget.parse(budget))


def test_an_idle_budget_delays_nothing(frugal: Callable[[str], Ledger]) -> None:
    """
    The first dispatch goes at once; the second when the window has passed, to the microsecond.
    """
    with frugal("1/s") as ledger:
        accept(ledger, "a", "b")
        send(ledger)

        assert ledger.next_due(START) == START + SECOND
        assert ledger.claim(START + SECOND - timedelta(microseconds=1), LEASE) is None
        assert send(ledger, START + SECOND) == "b-1"


def test_every_attempt_counts_in_every_window(frugal: Callable[[str], Ledger]) -> None:
    """
    Retries too: three a minute are three attempts in any minute, whatever became of them.
    """
    with frugal("2/s,3/m") as ledger:
        accept(ledger, "a")
        began = [START, START, START + SECOND, START + 60 * SECOND]
        for moment in began:
            assert ledger.next_due(moment - SECOND) in {START, moment}
            ledger.record(claimed(ledger, moment), Wait(START), UNREACHABLE.outcome, moment)

        assert ledger.claim(START + 60 * SECOND, LEASE) is not None
        assert ledger.claim(START + 60 * SECOND, LEASE) is None


def test_a_clock_that_was_put_back_does_not_spend_the_budget(frugal: Callable[[str], Ledger]) -> None:
    """
    Attempts that lie ahead do not count: nothing waits an hour for them.
    """
    with frugal("1/h") as ledger:
        accept(ledger, "a", at=START - 7200 * SECOND)
        accept(ledger, "b", at=START - 7200 * SECOND)
        send(ledger)

        assert send(ledger, START - 3600 * SECOND) == "b-1"


def test_receivers_share_the_budget(new_postgresql: Callable[[], str]) -> None:
    """
    What one began counts for the other.
    """
    url, budget = new_postgresql(), Budget.parse("1/s")
    with Ledger.open(url, budget=budget) as one, Ledger.open(url, budget=budget) as two:
        accept(one, "a", "b")
        send(one)

        assert two.claim(START, LEASE) is None
        assert send(two, START + SECOND) == "b-1"


def test_the_last_of_a_budget_is_spent_once(new_postgresql: Callable[[], str]) -> None:
    """
    While another receiver begins an attempt we wait, and then see that nothing is left.
    """
    url = new_postgresql()
    other = create_engine(url)
    with Ledger.open(url, budget=Budget.parse("1/s")) as ledger, ThreadPoolExecutor(1) as pool:
        accept(ledger, "a")
        accept(ledger, "b", repository="acme/other")
        with other.begin() as connection:
            ledger._gate.lock(connection)
            ours = pool.submit(ledger.claim, START, LEASE)
            until_blocked(other)
            begun = "INSERT INTO attempts (dispatch_id, number, started_at) SELECT id, 1, due_at"
            connection.execute(text(f"{begun} FROM dispatches WHERE id = 'b-1'"))
        assert ours.result(10) is None
    other.dispose()


@pytest.mark.parametrize("kind", DispatchKind, ids=lambda kind: kind.value)
def test_only_what_goes_to_github_spends_its_budget_and_waits_for_it(
    frugal: Callable[[str], Ledger], kind: DispatchKind
) -> None:
    """
    A notice goes at once, however little GitHub takes, and takes nothing of it.
    """
    github = kind in GITHUB_KINDS
    where = "acme/other" if github else "post:modal"
    with frugal("1/h") as ledger:
        accept(ledger, "a", repository=where, kind=kind)
        send(ledger)
        assert ledger.closed_until(START) == (START + 3600 * SECOND if github else None)
        accept(ledger, "b")
        assert ledger.next_due(START) == START + (3600 * SECOND if github else 0 * SECOND)
        if not github:
            send(ledger)
            accept(ledger, "c", repository=where, kind=kind)
            assert ledger.closed_until(START) is None
            assert (ledger.next_due(START), send(ledger)) == (START, "c-1")
        assert ledger.claim(START, LEASE) is None


@pytest.mark.parametrize(
    "kind", [OutcomeKind.POSTPONED, OutcomeKind.OUTDATED, OutcomeKind.UNWANTED], ids=lambda kind: kind.value
)
def test_what_never_reached_github_costs_nothing_of_its_budget(
    frugal: Callable[[str], Ledger], kind: OutcomeKind
) -> None:
    """
    W&B was asked, and GitHub was not: while W&B is away the others' budget is whole.
    """
    with frugal("1/h") as ledger:
        accept(ledger, "a", "b")
        ends: Ended | Wait = Wait(START + SECOND, counts=False)
        if kind is not OutcomeKind.POSTPONED:
            ends = Ended(DispatchState(kind.value), "reason", "detail")
        assert ledger.closed_until(START) is None
        claim = claimed(ledger)
        assert ledger.closed_until(START) is not None
        ledger.record(claim, ends, Outcome(kind, "reason", "detail"), START)

        assert ledger.closed_until(START) is None


def test_what_goes_elsewhere_is_found_behind_thousands_for_github(frugal: Callable[[str], Ledger]) -> None:
    """
    While GitHub's wait for the budget, the rest goes in its own order, one lane and destination at a time.
    """
    with frugal("1/h") as ledger:
        for number in range(NEAR + 10):
            accept(ledger, f"b{number:03}", lane=f"lane-{number}")
        send(ledger)
        accept(ledger, "x", "y", repository="notice:chat", kind=DispatchKind.NOTICE)
        accept(ledger, "z", repository="notice:other", kind=DispatchKind.NOTICE)

        assert [claimed(ledger).dispatch.id, claimed(ledger).dispatch.id] == ["x-1", "z-1"]
        assert ledger.claim(START, LEASE) is None
        assert ledger.next_due(START) == START + LEASE


# --- two receivers on one PostgreSQL


@pytest.fixture
def url(new_postgresql: Callable[[], str]) -> str:
    return new_postgresql()


def test_another_receiver_takes_over_and_the_first_changes_nothing(url: str) -> None:
    """
    A frozen receiver that comes back cannot overwrite what happened since, whatever it tries.
    """
    with Ledger.open(url) as frozen, Ledger.open(url) as alive:
        accept(alive, "a")
        late = claimed(frozen)
        assert alive.claim(START + LEASE - SECOND, LEASE) is None
        now = START + LEASE
        ours = claimed(alive, now)

        assert (ours.fence, ours.unanswered) == (late.fence + 1, START)
        acts: list[Callable[[], object]] = [
            lambda: frozen.record(late, Sent(), TAKEN.outcome, now),
            lambda: frozen.renew(late, now, LEASE),
            lambda: frozen.mark_possibly_duplicated(late),
        ]
        for act in acts:
            with pytest.raises(LostLeaseError):
                act()
        alive.record(ours, Wait(now + SECOND), UNREACHABLE.outcome, now)
        assert alive.delivery("a").dispatches[0].state is DispatchState.PENDING


def test_receivers_that_claim_at_once_share_out_the_work(url: str) -> None:
    """
    Two receivers with four threads each send sixty dispatches to ten repositories, each once, in order.
    """
    with Ledger.open(url) as one, Ledger.open(url) as two:
        for number in range(60):
            accept(one, f"d{number:02}", repository=f"acme/r{number % 10}")
        sent: list[str] = []

        def work(number: int) -> None:
            ledger = (one, two)[number % 2]
            while (claim := ledger.claim(START, LEASE)) is not None or ledger.open_count():
                if claim is not None:
                    sent.append(claim.dispatch.id)
                    ledger.record(claim, Sent(), TAKEN.outcome, START)

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(work, range(8)))

    assert sorted(sent) == [f"d{number:02}-1" for number in range(60)]
    for repository in range(10):
        its = [name for name in sent if int(name[1:3]) % 10 == repository]
        assert its == sorted(its)


def test_a_receiver_that_dies_holds_up_its_own_dispatch_alone(url: str) -> None:
    """
    The other goes on with everything else at once, and with that one when its lease has ended.
    """
    with Ledger.open(url) as one, Ledger.open(url) as two:
        accept(one, "a")
        accept(one, "b", repository="acme/other")
        claimed(one)
        one.close()

        assert send(two) == "b-1"
        assert two.next_due(START) == START + LEASE
        assert send(two, START + LEASE) == "a-1"
