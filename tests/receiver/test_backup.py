"""A copy of a ledger at work: what is in it, and what is sent again once it has taken the ledger's place."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from receiver.delivery import DispatchState
from receiver.dispatcher import Dispatcher
from receiver.ledger import Ledger
from receiver.retry import Sent
from tests.receiver.fakes import LEASE, START, TAKEN, Clock, FakeDestination, delivery, dispatch

# What README tells to run on a copy before it is put in the ledger's place.
LOOK_FIRST = (
    "UPDATE dispatches SET doubts = 1, doubt_since = accepted_at WHERE ended_at IS NULL AND doubts = 0"
)


def backup(source: Path, target: Path) -> None:
    """Do what `sqlite3 handoff.db ".backup copy.db"` does."""
    with closing(sqlite3.connect(source)) as one, closing(sqlite3.connect(target)) as other:
        one.backup(other)


def vacuum(source: Path, target: Path) -> None:
    """Do what `sqlite3 handoff.db "VACUUM INTO 'copy.db'"` does."""
    with closing(sqlite3.connect(source)) as one:
        one.execute("VACUUM INTO ?", (str(target),))


def url_of(file: Path) -> str:
    return f"sqlite:///{file}"


def accept(ledger: Ledger, name: str) -> None:
    ledger.accept(delivery(name, slot=name), [dispatch(name, repository=f"acme/{name}")])


@pytest.mark.parametrize("copy", [backup, vacuum])
def test_a_ledger_is_copied_while_it_works(tmp_path: Path, copy: Callable[[Path, Path], None]) -> None:
    """
    The copy is whole: all that was acknowledged before, and of what came meanwhile nothing half.
    """
    file, kept = tmp_path / "handoff.db", tmp_path / "copy.db"
    enough, finished = threading.Event(), threading.Event()
    with Ledger.open(url_of(file)) as ledger, ThreadPoolExecutor(4) as pool:
        before = [f"before{number}" for number in range(50)]
        for name in before:
            accept(ledger, name)

        def load(who: int) -> int:
            number = 0
            while not finished.is_set():
                accept(ledger, f"w{who}n{number}")
                number += 1
                enough.set()
            return number

        loads = [pool.submit(load, who) for who in range(4)]
        assert enough.wait(20)
        copy(file, kept)
        finished.set()
        came = sum(each.result(20) for each in loads)

    with closing(sqlite3.connect(kept)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
    with Ledger.open(url_of(kept)) as copied:
        records = {record.id: record for record in copied.deliveries(10**6)}
        assert set(before) <= set(records)
        assert len(records) <= 50 + came
        assert all(len(record.dispatches) == 1 for record in records.values())
        assert copied.claim(START, LEASE) is not None


def send(ledger: Ledger, destination: FakeDestination) -> None:
    """Send all that is due, as after a start."""
    ledger.release_leases()
    dispatcher = Dispatcher(ledger, destination, now=Clock(START + LEASE))
    while dispatcher.run_once():
        pass


@pytest.fixture
def copied(tmp_path: Path) -> tuple[Path, FakeDestination]:
    """A copy made with one sent, one under way and one to be sent; these two were sent since."""
    file, kept = tmp_path / "handoff.db", tmp_path / "copy.db"
    destination = FakeDestination()
    with Ledger.open(url_of(file)) as ledger:
        for name in ("done", "under-way", "to-do"):
            accept(ledger, name)
        for _ in range(2):
            claim = ledger.claim(START, LEASE)
            assert claim is not None
            destination.send(claim.dispatch)
            if claim.dispatch.delivery_id == "done":
                ledger.record(claim, Sent(), TAKEN.outcome, START)
        backup(file, kept)
        send(ledger, destination)
        assert sorted(destination.arrived_ids) == ["done-1", "to-do-1", "under-way-1"]
    return kept, destination


def restored(kept: Path, number: int, *statements: str) -> str:
    """Put a copy of the copy in a ledger's place."""
    file = kept.with_name(f"restored{number}.db")
    backup(kept, file)
    with closing(sqlite3.connect(file)) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.commit()
    return url_of(file)


def test_what_was_sent_before_the_copy_is_never_sent_again(copied: tuple[Path, FakeDestination]) -> None:
    """
    However often it is restored.  What was under way is looked for and found; what the copy has as still to
    be sent is sent once more each time, with the same key: the copy cannot know.
    """
    kept, destination = copied
    for number in range(2):
        destination.arrived[:] = destination.arrived[:3]
        with Ledger.open(restored(kept, number)) as ledger:
            send(ledger, destination)
            assert ledger.open_count() == 0
            (under_way,) = ledger.delivery("under-way").dispatches
        assert destination.arrived_ids[3:] == ["to-do-1"]
        assert destination.arrived[3].key == "key-to-do-1"
        assert (under_way.state, under_way.reason) == (DispatchState.SENT, "already-sent")


def test_a_look_first_finds_what_was_sent_after_the_copy(copied: tuple[Path, FakeDestination]) -> None:
    """
    With each open dispatch in doubt, its run is looked for: what was sent since is not sent again.
    """
    kept, destination = copied
    for number in range(2):
        with Ledger.open(restored(kept, number, LOOK_FIRST)) as ledger:
            send(ledger, destination)
            assert ledger.open_count() == 0
            (to_do,) = ledger.delivery("to-do").dispatches
        assert (to_do.state, to_do.reason) == (DispatchState.SENT, "already-sent")

    assert len(destination.arrived) == 3


def test_a_look_first_sends_what_was_never_sent(copied: tuple[Path, FakeDestination]) -> None:
    """
    Where no run shows the key it goes out, marked as what may be a double.
    """
    kept, destination = copied
    destination.arrived.clear()
    with Ledger.open(restored(kept, 1, LOOK_FIRST)) as ledger:
        send(ledger, destination)
        (to_do,) = ledger.delivery("to-do").dispatches

    assert sorted(destination.arrived_ids) == ["to-do-1", "under-way-1"]
    assert to_do.possibly_duplicated
