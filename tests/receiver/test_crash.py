"""What is left of the ledger when its process is killed with SIGKILL, at any moment."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from receiver.delivery import DispatchState
from receiver.dispatcher import Dispatcher
from receiver.ledger import Ledger
from tests.receiver.fakes import LEASE, START, Clock, FakeDestination, dispatch

ROOT = Path(__file__).parent.parent.parent


class Child:
    """A process that is going to be killed, and what it printed."""

    def __init__(self, mode: str, url: str) -> None:
        command = [sys.executable, "-m", "tests.receiver.crash_child", mode, url]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)

    def lines(self, count: int) -> list[str]:
        """Wait for so many."""
        assert self._process.stdout is not None
        read = [self._process.stdout.readline().strip() for _ in range(count)]
        assert all(read), "the child died by itself"
        return read

    def wait(self) -> None:
        """Wait until it has killed itself."""
        self._process.wait(30)

    def kill(self) -> list[str]:
        """Kill it, unless that was done, and return what else it had printed."""
        if self._process.stdout is None or self._process.stdout.closed:
            return []
        self._process.kill()
        rest, _ = self._process.communicate()
        assert self._process.returncode == -signal.SIGKILL
        return rest.split()


@contextmanager
def child(mode: str, url: str) -> Iterator[Child]:
    """Run one, and leave none behind."""
    running = Child(mode, url)
    try:
        yield running
    finally:
        running.kill()


def check_integrity(url: str) -> None:
    """SQLite itself finds nothing wrong with the file."""
    if url.startswith("sqlite"):
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            assert connection.execute("PRAGMA foreign_key_check").fetchall() == []


def test_what_was_acknowledged_is_there_after_a_kill(database_url: str) -> None:
    """
    Killed under load again and again, on the same ledger: each printed id is kept with its two
    dispatches, and no delivery is half there (C1).
    """
    printed: list[str] = []
    for acknowledged in (1, 40, 400):
        with child("accept", database_url) as running:
            printed += running.lines(acknowledged)
            printed += running.kill()

    with Ledger.open(database_url) as ledger:
        kept = {record.id: record for record in ledger.deliveries(limit=10**6)}
        assert set(printed) <= set(kept)
        assert all(len(record.dispatches) == 2 for record in kept.values())
        assert ledger.open_count() == 2 * len(kept)
    check_integrity(database_url)


def test_what_was_not_committed_leaves_no_trace(database_url: str) -> None:
    """
    Killed inside a transaction: the acknowledged one is there, of the other there is nothing (C1).
    """
    with child("transaction", database_url) as running:
        running.lines(1)
        running.wait()

    with Ledger.open(database_url) as ledger:
        assert [record.id for record in ledger.deliveries()] == ["first"]
        assert ledger.open_count() == 1
    check_integrity(database_url)


@pytest.mark.parametrize("arrived", [False, True], ids=["killed-before-sending", "killed-after-sending"])
def test_a_kill_between_claim_and_record_sends_once(database_url: str, *, arrived: bool) -> None:
    """
    Killed while it held a claim: the next process looks for the run.  When GitHub had taken it, it is
    recorded and not sent again; when not, it is sent once, and marked (D1).
    """
    destination, clock = FakeDestination(), Clock()
    with child("claim", database_url) as running:
        assert running.lines(1) == ["d1-1"]
    if arrived:
        destination.send(dispatch("d1"))

    with Ledger.open(database_url) as ledger:
        dispatcher = Dispatcher(ledger, destination, now=clock, lease=LEASE)
        assert not dispatcher.run_once()
        ledger.release_leases()
        assert [dispatcher.run_once(), dispatcher.run_once()] == [True, False]
        (record,) = ledger.delivery("d1").dispatches

    assert destination.looks == [("key-d1-1", START)]
    assert destination.arrived_ids == ["d1-1"]
    assert record.state is DispatchState.SENT
    assert record.possibly_duplicated is not arrived
    assert [attempt.reason for attempt in record.attempts] == [
        "no-answer",
        "already-sent" if arrived else "sent",
    ]


def test_the_lease_of_a_killed_process_ends_by_itself(database_url: str) -> None:
    """
    Where others share the ledger nobody releases it: it is taken over when its time is up (E7).
    """
    clock, destination = Clock(), FakeDestination()
    with child("claim", database_url) as running:
        running.lines(1)

    with Ledger.open(database_url) as ledger:
        dispatcher = Dispatcher(ledger, destination, now=clock, lease=LEASE)
        clock.time += LEASE / 2
        assert not dispatcher.run_once()
        clock.time += LEASE / 2
        assert dispatcher.run_once()

    assert destination.arrived_ids == ["d1-1"]
