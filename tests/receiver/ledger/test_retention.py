"""Forgets what ended long ago, a little at a time; what is open is never touched."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, create_engine, func, select, update

from receiver.delivery import DispatchState
from receiver.errors import LedgerError
from receiver.ledger import Ledger, retention
from receiver.ledger.retention import Rest, Retention, prune
from receiver.ledger.schema import attempts, deliveries, dispatches
from receiver.ledger.writes import OwnTransaction
from receiver.retry import Dead, Sent, Wait
from tests.receiver.fakes import GONE, LEASE, START, TAKEN, UNREACHABLE, Clock, delivery, dispatch

DAY = timedelta(days=1)
LATER = START + 90 * DAY


def accept(ledger: Ledger, name: str, at: datetime = START, *, repositories: int = 1) -> None:
    """Accept a delivery that resembles no other."""
    planned = [
        dispatch(name, number=number, repository=f"acme/{name}-{number}", at=at)
        for number in range(1, repositories + 1)
    ]
    ledger.accept(delivery(name, at=at, slot=name), planned)


def end(ledger: Ledger, at: datetime = START, decision: Sent | Dead | Wait | None = None) -> str:
    """Claim what is due and end its attempt; tell which dispatch it was."""
    claim = ledger.claim(at, LEASE)
    assert claim is not None
    outcome = UNREACHABLE if isinstance(decision, Wait) else GONE if decision else TAKEN
    ledger.record(claim, decision or Sent(), outcome.outcome, at)
    return claim.dispatch.id


def kept(ledger: Ledger) -> list[str]:
    return sorted(record.id for record in ledger.deliveries(1_000))


def count(ledger: Ledger, table: Any) -> int:
    with ledger._reads.connect() as connection:
        return int(connection.scalar(select(func.count()).select_from(table)) or 0)


def test_what_ended_long_ago_is_gone_with_all_that_belongs_to_it(ledger: Ledger) -> None:
    """
    Delivery, dispatches and attempts: sent ones, dead ones, and deliveries that caused nothing.
    """
    accept(ledger, "sent", repositories=2)
    end(ledger)
    end(ledger)
    accept(ledger, "dead")
    end(ledger, decision=Dead("gone", "gone"))
    accept(ledger, "ignored", repositories=0)

    assert ledger.prune(START + DAY) == 3

    assert [count(ledger, table) for table in (deliveries, dispatches, attempts)] == [0, 0, 0]


@pytest.mark.parametrize("state", ["pending", "waiting", "sending"])
def test_what_is_open_stays_however_old(ledger: Ledger, state: str) -> None:
    """
    Pending, waiting for its retry, or being sent: with its whole delivery, the ended dispatches of it too.
    """
    accept(ledger, "d1", repositories=2)
    end(ledger)
    if state == "waiting":
        end(ledger, decision=Wait(LATER))
    elif state == "sending":
        assert ledger.claim(START, LEASE) is not None
    before = ledger.delivery("d1")

    assert ledger.prune(LATER) == 0

    assert ledger.delivery("d1") == before
    assert {record.state for record in before.dispatches} > {DispatchState.SENT}


def test_the_edge_is_exact(ledger: Ledger) -> None:
    """
    What came in and ended before then goes; what did one of both just then stays.
    """
    accept(ledger, "early")
    end(ledger, START)
    accept(ledger, "ended-then")
    end(ledger, START + DAY)
    accept(ledger, "came-then", START + DAY, repositories=0)

    assert ledger.prune(START + DAY) == 1

    assert kept(ledger) == ["came-then", "ended-then"]


def test_what_waited_long_is_kept_from_its_end_on(ledger: Ledger) -> None:
    """
    Received three months ago, redelivered and sent today: that is today's news.
    """
    accept(ledger, "d1")
    end(ledger, LATER)

    assert ledger.prune(LATER) == 0


@pytest.mark.parametrize("batch", [1, 2, 3, 100])
def test_batches_leave_nothing_out(ledger: Ledger, batch: int) -> None:
    """
    However small they are, and wherever something open lies in between.
    """
    for number in range(7):
        accept(ledger, f"d{number}")
        end(ledger, decision=Wait(LATER) if number in {0, 3} else None)
    rests: list[int] = []

    def rest() -> bool:
        rests.append(count(ledger, deliveries))
        return False

    assert prune(ledger._writes, LATER, batch=batch, rest=rest) == 5

    assert kept(ledger) == ["d0", "d3"]
    assert len(rests) == 7 // batch


def test_young_ones_end_the_walk(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    The rows are in the order of arrival: a million young ones are not looked at.
    """
    for number in range(6):
        accept(ledger, f"d{number}", START if number < 2 else LATER)
        end(ledger, LATER)
    looked: list[object] = []
    run = ledger._writes.run

    def counted(work: Callable[[Connection], Any]) -> Any:
        looked.append(work)
        return run(work)

    monkeypatch.setattr(ledger._writes, "run", counted)

    prune(ledger._writes, START + DAY, batch=2)

    assert len(looked) == 2


def test_it_stops_when_told_to(ledger: Ledger) -> None:
    """
    What is deleted is deleted, the rest waits for the next time.
    """
    for number in range(6):
        accept(ledger, f"d{number}")
        end(ledger)

    assert prune(ledger._writes, LATER, batch=2, rest=lambda: True) == 2
    assert kept(ledger) == ["d2", "d3", "d4", "d5"]


def test_numbers_of_the_forgotten_are_not_given_again(ledger: Ledger) -> None:
    """
    A page of the listing, or a lane, never meets another row under an old number.
    """
    accept(ledger, "d1")
    end(ledger)
    ledger.prune(LATER)
    accept(ledger, "d2")

    with ledger._reads.connect() as connection:
        assert connection.scalar(select(deliveries.c.seq)) == 2
        assert connection.scalar(select(dispatches.c.seq)) == 2


def test_what_is_forgotten_may_come_again(ledger: Ledger) -> None:
    """
    The same promotion months later is a new one, under the same key too.
    """
    for _ in range(2):
        accept(ledger, "d1")
        assert end(ledger) == "d1-1"
        assert ledger.prune(LATER) == 1


def test_others_accept_between_two_batches(ledger: Ledger) -> None:
    """
    Whoever accepts or claims while thousands are pruned waits for one batch at most, and nothing is lost.
    """
    for number in range(40):
        accept(ledger, f"old{number:02}")
        end(ledger)
    answered: list[str] = []

    def rest() -> bool:
        name = f"new{len(answered):02}"
        accept(ledger, name, LATER)
        claim = ledger.claim(LATER, LEASE)
        assert claim is not None
        answered.append(claim.dispatch.id)
        return False

    assert prune(ledger._writes, LATER, batch=5, rest=rest) == 40

    assert len(answered) >= 8
    assert kept(ledger) == [name.removesuffix("-1") for name in answered]


def test_pruning_under_load_keeps_every_open_row(ledger: Ledger) -> None:
    """
    Four threads accept, two send, one prunes without rest: each delivery is there, or was sent before.
    """
    accepted: list[str] = []
    sent: list[str] = []
    finished = threading.Event()

    def bring(who: int) -> None:
        for number in range(25):
            name = f"w{who}n{number}"
            accept(ledger, name)
            accepted.append(name)

    def carry(_: int) -> None:
        while not finished.is_set() or ledger.open_count():
            claim = ledger.claim(START, LEASE)
            if claim is not None:
                ledger.record(claim, Sent(), TAKEN.outcome, START)
                sent.append(claim.dispatch.delivery_id)

    def forget() -> int:
        pruned = 0
        while not finished.is_set():
            pruned += prune(ledger._writes, LATER, batch=3)
        return pruned

    with ThreadPoolExecutor(7) as pool:
        forgetting = pool.submit(forget)
        carrying = [pool.submit(carry, number) for number in range(2)]
        bringing = [pool.submit(bring, number) for number in range(4)]
        for each in bringing:
            each.result(60)
        finished.set()
        for each in carrying:
            each.result(60)
        pruned = forgetting.result(60)

    assert sorted(sent) == sorted(accepted)
    assert pruned + len(kept(ledger)) == 100
    assert count(ledger, attempts) == count(ledger, dispatches) == len(kept(ledger))


@pytest.fixture
def two(new_postgresql: Callable[[], str]) -> Iterator[tuple[Ledger, Engine]]:
    """A ledger on PostgreSQL, and what another receiver has it open with."""
    url = new_postgresql()
    other = create_engine(url)
    with Ledger.open(url) as ledger:
        yield ledger, other
    other.dispose()


def until_blocked(other: Engine) -> None:
    """Wait until a session of the server waits for another's lock."""
    blocked = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
    for _ in range(10_000):
        with other.connect() as connection:
            if connection.exec_driver_sql(blocked).scalar():
                return
        threading.Event().wait(0.001)
    pytest.fail("nobody waits")


def test_what_is_redelivered_in_the_same_moment_stays(two: tuple[Ledger, Engine]) -> None:
    """
    Somebody has just made it pending again, and commits while we wait for the row: it is open, so it stays.
    """
    ledger, other = two
    accept(ledger, "d1", repositories=2)
    end(ledger)
    end(ledger)
    with ThreadPoolExecutor(1) as pool:
        with other.begin() as connection:
            one = update(dispatches).where(dispatches.c.id == "d1-2")
            connection.execute(one.values(state="pending", due_at=LATER, ended_at=None))
            pruning = pool.submit(ledger.prune, LATER)
            until_blocked(other)
        assert pruning.result(10) == 0

    assert [record.state.value for record in ledger.delivery("d1").dispatches] == ["sent", "pending"]


def test_two_receivers_prune_together(two: tuple[Ledger, Engine]) -> None:
    """
    Each row is deleted and counted once, and neither stands in the other's way.
    """
    ledger, other = two
    for number in range(60):
        accept(ledger, f"d{number}")
        end(ledger)
    second = OwnTransaction(other)
    with ThreadPoolExecutor(2) as pool:
        pruned = [pool.submit(prune, writes, LATER, batch=7) for writes in (ledger._writes, second)]
        assert sum(each.result(20) for each in pruned) == 60
    second.close()

    assert kept(ledger) == []


# --- the thread


class FakePrunes:
    """Counts when it was asked to prune up to when, and can be away."""

    def __init__(self, *errors: Exception) -> None:
        self.asked: list[datetime] = []
        self.rested: list[bool] = []
        self._errors = list(errors)

    def prune(self, ended_before: datetime, *, rest: Rest) -> int:
        """Note it; rest once, as between two batches."""
        self.asked.append(ended_before)
        self.rested.append(rest())
        if self._errors:
            raise self._errors.pop(0)
        return 2


class Hours:
    """Lets hours go by at once, three of them; then waits to be stopped."""

    def __init__(self, clock: Clock) -> None:
        self.waits: list[float] = []
        self.over = threading.Event()
        self._clock = clock

    def __call__(self, stopping: threading.Event, seconds: float) -> bool:
        """Wait."""
        self.waits.append(seconds)
        if seconds < 1:
            return stopping.is_set()
        if self.waits.count(seconds) > 3:
            self.over.set()
            return stopping.wait(20)
        self._clock.move(seconds=seconds)
        return False


@pytest.mark.parametrize(
    "errors",
    [(), (LedgerError("the disk is full"), RuntimeError("a bug"))],
    ids=["well", "failing"],
)
def test_it_prunes_at_the_start_and_every_hour(
    errors: tuple[Exception, ...], caplog: pytest.LogCaptureFixture
) -> None:
    """
    By the clock on the wall, with a rest between batches, and on whatever happens.
    """
    caplog.set_level(logging.INFO, "receiver.ledger.retention")
    clock, prunes = Clock(), FakePrunes(*errors)
    hours = Hours(clock)
    thread = Retention(prunes, 90 * DAY, now=clock, wait=hours)
    thread.start()
    assert hours.over.wait(20)
    assert thread.stop(20)

    assert prunes.asked == [START - 90 * DAY + timedelta(hours=number) for number in range(4)]
    assert prunes.rested == [False] * 4
    assert hours.waits.count(retention.REST) == 4
    told = [record.getMessage() for record in caplog.records]
    assert told[-1] == "pruned 2 deliveries that ended more than 90 days, 0:00:00 ago"
    assert ["is not pruned now: the disk is full" in line for line in told].count(True) == bool(errors)


def test_it_ends_between_two_batches() -> None:
    """
    A stop does not wait for a million rows.
    """
    rested = threading.Event()

    def wait(stopping: threading.Event, seconds: float) -> bool:
        del seconds
        rested.set()
        return stopping.wait(20)

    class Endless:
        def prune(self, ended_before: datetime, *, rest: Rest) -> int:
            del ended_before
            while not rest():
                pass
            return 0

    thread = Retention(Endless(), DAY, now=lambda: START, wait=wait)
    thread.start()
    assert rested.wait(20)
    assert thread.stop(20)


def test_what_was_never_started_is_stopped_at_once() -> None:
    """
    A start that failed half-way can be undone.
    """
    assert Retention(FakePrunes(), DAY, now=lambda: START).stop(0)
