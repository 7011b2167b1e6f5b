"""How a receiver hears at once of what others accepted into the same PostgreSQL."""

from __future__ import annotations

import select
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from sqlalchemy import Engine, text

from receiver.dispatch import Dispatch, Outcome
from receiver.dispatcher import Dispatcher
from receiver.errors import LedgerError
from receiver.ledger import Ledger, notices
from receiver.ledger.writes import parse_url, postgresql_engine
from tests.receiver.fakes import START, FakeDestination, delivery, dispatch

LONGEST = 20.0  # Seconds; what takes that long does not come.


class Told(FakeDestination):
    """A destination that says when something arrived."""

    def __init__(self) -> None:
        super().__init__()
        self.arrival = threading.Event()

    def send(self, dispatch: Dispatch) -> Outcome:
        """Take it, and say so."""
        outcome = super().send(dispatch)
        self.arrival.set()
        return outcome


class Wakes:
    """Counts how often we were woken, and waits for it."""

    def __init__(self) -> None:
        self._count = 0
        self._changed = threading.Condition()

    def __call__(self) -> None:
        """Be woken."""
        with self._changed:
            self._count += 1
            self._changed.notify_all()

    def wait(self, count: int) -> None:
        """Return once it has happened so often, then count anew."""
        with self._changed:
            assert self._changed.wait_for(lambda: self._count >= count, LONGEST), self._count
            self._count = 0

    def came_within(self, seconds: float) -> bool:
        """Whether it happens before so many seconds are over."""
        with self._changed:
            return self._changed.wait_for(lambda: self._count > 0, seconds)

    @property
    def count(self) -> int:
        """How often since the last wait."""
        return self._count


@contextmanager
def listening(url: str) -> Iterator[tuple[Ledger, Wakes]]:
    """A receiver that hears of everything."""
    with Ledger.open(url) as ledger:
        wakes = Wakes()
        ledger.subscribe(wakes)
        ledger.listen()
        wakes.wait(1)  # Each time that it is connected: something may have been missed.
        yield ledger, wakes


@pytest.fixture
def url(new_postgresql: Callable[[], str]) -> str:
    return new_postgresql()


@pytest.fixture
def operator(url: str) -> Iterator[Engine]:
    """Somebody who administers the server."""
    engine = postgresql_engine(parse_url(url))
    yield engine
    engine.dispose()


def end_sessions(operator: Engine, kind: str) -> int:
    """End every session whose last query is like that; tell how many there were."""
    ended = text(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
        " WHERE backend_type = 'client backend' AND pid <> pg_backend_pid() AND query LIKE :kind"
    )
    with operator.begin() as connection:
        return int(connection.scalar(ended, {"kind": kind}) or 0)


def test_another_process_is_woken_by_what_is_accepted(url: str) -> None:
    """
    Not at its next look, but when it happens; nobody hears its own words, nor those of another ledger.
    """
    with listening(url) as (one, ones), listening(url) as (_, others):
        one.accept(delivery(), [dispatch()])
        others.wait(1)
        one.accept(delivery("d2", slot="other"), [dispatch("d2")])
        others.wait(1)

    assert ones.count == 2  # In process, by itself.


def test_a_ledger_in_another_schema_is_none_of_ours(url: str, new_postgresql: Callable[[], str]) -> None:
    """
    Two ledgers in one database do not wake each other.
    """
    with (
        Ledger.open(new_postgresql()) as stranger,
        Ledger.open(url) as friend,
        listening(url) as (_, wakes),
    ):
        stranger.accept(delivery(), [dispatch()])
        assert not wakes.came_within(0.3)
        friend.accept(delivery(), [dispatch()])
        wakes.wait(1)


def test_what_is_accepted_elsewhere_is_sent_at_once(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A dispatcher that would look only in an hour sends within moments what another process accepts.
    """
    monkeypatch.setattr("receiver.dispatcher.LONGEST_WAIT", timedelta(hours=1))
    destination = Told()
    with Ledger.open(url) as front, listening(url) as (back, _):
        dispatcher = Dispatcher(back, destination, now=lambda: START, threads=1)
        dispatcher.start()
        front.accept(delivery(), [dispatch()])
        assert destination.arrival.wait(LONGEST)
        assert dispatcher.stop(LONGEST)


class NotingCondition:
    """Says how long it was to wait, and does not."""

    def __init__(self) -> None:
        self.waits: list[float] = []

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        pass

    def wait_for(self, _: object, timeout: float) -> None:
        """Note it."""
        self.waits.append(timeout)


def test_who_hears_of_everything_looks_seldom(url: str) -> None:
    """
    Every second while nobody tells us, every ten while somebody does.
    """
    changed = NotingCondition()
    with Ledger.open(url) as deaf, listening(url) as (hearing, _):
        for ledger in (deaf, hearing):
            dispatcher = Dispatcher(ledger, FakeDestination(), now=lambda: START)
            dispatcher._changed = changed  # type: ignore[assignment]
            dispatcher._wait(0)

    assert changed.waits == [1.0, 10.0]


def test_a_listener_that_was_cut_off_comes_back(url: str, operator: Engine) -> None:
    """
    While it is away whoever waits is told to look often; once it is back it looks once, for what it missed.
    """
    with listening(url) as (ledger, wakes):
        assert ledger.hears_all
        assert end_sessions(operator, "%schema()") > 0
        wakes.wait(1)
        assert ledger.hears_all
        with Ledger.open(url) as front:
            front.accept(delivery(), [dispatch()])
        wakes.wait(1)


def test_a_listener_without_a_server_waits_longer_and_longer() -> None:
    """
    A server that is away is asked again and again, not over and over; and it ends at once when told to.
    """
    waits: list[float] = []
    enough = threading.Event()

    def wait(stopping: threading.Event, seconds: float) -> bool:
        waits.append(seconds)
        if len(waits) < 6:
            return False
        enough.set()
        return stopping.wait(LONGEST)

    woken = Wakes()
    listener = notices.Listener(parse_url("postgresql://127.0.0.1:1/handoff"), "us", woken, wait=wait)
    assert enough.wait(LONGEST)
    assert not listener.listening
    listener.close()
    listener.close()

    assert waits == [0.1, 0.5, 2.0, 5.0, 5.0, 5.0]
    assert woken.count == 0


def test_a_quiet_connection_is_asked_whether_it_lives(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Without a word for a while it asks, and looks, so that a connection lost without a trace is noticed.
    """
    monkeypatch.setattr(notices, "QUIET", 0.01)
    with listening(url) as (_, wakes):
        wakes.wait(3)


def test_a_ledger_that_is_listened_at_is_in_use(url: str, operator: Engine) -> None:
    """
    As on SQLite with its lock: whoever wants it alone can tell.
    """
    with listening(url), operator.begin() as connection:
        assert not notices.is_unused(connection)
    with operator.begin() as connection:
        assert notices.is_unused(connection)


def test_on_sqlite_nobody_listens(sqlite_url: str) -> None:
    """
    There is one process: it tells itself.
    """
    before = threading.active_count()
    with Ledger.open(sqlite_url) as ledger:
        ledger.listen()
        assert ledger.hears_all
        assert threading.active_count() == before + 1  # Its writer.


def test_a_lock_is_not_waited_for_for_ever(
    url: str, operator: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    While somebody locks the tables, accepting fails after some seconds, as on SQLite, and works again then.
    """
    monkeypatch.setattr("receiver.ledger.writes.BUSY_SECONDS", 1)
    with Ledger.open(url) as ledger:
        with operator.begin() as connection:
            connection.execute(text("LOCK TABLE deliveries IN ACCESS EXCLUSIVE MODE"))
            with pytest.raises(LedgerError, match="lock timeout"):
                ledger.accept(delivery(), [dispatch()])
        ledger.accept(delivery(), [dispatch()])
        assert [record.id for record in ledger.deliveries()] == ["d1"]


def test_who_was_frozen_in_a_transaction_loses_it(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A process that stands still with locks in its hands holds nobody up for long.
    """
    monkeypatch.setattr("receiver.ledger.writes.IDLE_MILLISECONDS", 50)
    engine = postgresql_engine(parse_url(url))
    with engine.connect() as connection:
        connection.execute(text("SELECT 1"))
        driver: Any = connection.connection.driver_connection
        assert select.select([driver.fileno()], [], [], LONGEST)[0]
        with pytest.raises(psycopg.Error, match="idle-in-transaction"):
            driver.execute("SELECT 1")
        connection.invalidate()
    engine.dispose()
