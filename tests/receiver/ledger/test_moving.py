"""Moves a ledger to another database: every row is there, read back and compared, or none is."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, text

from receiver.delivery import Baseline, Rejection
from receiver.dispatch import DispatchKind
from receiver.errors import LedgerError, LedgerSchemaError
from receiver.ledger import Ledger, moving, schema
from receiver.ledger.moving import Moved, MoveError, move
from receiver.ledger.writes import parse_url
from receiver.process_lock import ProcessLock
from receiver.retry import Dead, Decision, Sent, Wait
from receiver.run import Run, looked
from tests.receiver.fakes import GONE, LEASE, RESET, START, TAKEN, Answer, delivery, dispatch
from tests.receiver.fakes import event as happening

SECOND = timedelta(seconds=1)
ROOT = Path(__file__).resolve().parent.parent.parent.parent
COUNTED = 8  # Deliveries of a ledger that was lived in: these,
KEPT = COUNTED + 2  # and two that are apart.

# From which kind of database to which.
WAYS = [("sqlite", "postgresql"), ("postgresql", "sqlite"), ("sqlite", "sqlite")]


def live(url: str) -> None:
    """Let a ledger be lived in: all that can become of a dispatch, strange names, a pruned row, a trace."""
    strange = happening(event="LINK\0", fields={"collection": "Größe 🚀 \0 \ud800", "n": "1e3"})
    with Ledger.open(url) as ledger:
        live_by_routes(ledger)
        for number in range(COUNTED):
            name = f"d{number}"
            planned = [dispatch(name, client_payload={"é🚀\0": [1.5, None, True, 10**30]})] if number else []
            ledger.accept(
                delivery(name, slot=name, event=strange, address=None if number % 2 else "192.0.2.7"), planned
            )
        ends: list[tuple[Decision, Answer]] = [
            (Dead("gone", "gone"), GONE),
            (Sent(), TAKEN),
            (Wait(START + 30 * SECOND), RESET),
        ]
        for decision, answer in ends:
            claim = ledger.claim(START, LEASE)
            assert claim is not None
            ledger.mark_possibly_duplicated(claim)
            ledger.record(claim, decision, answer.outcome, START + SECOND)
        ledger.accept(delivery("other", slot="other"), [dispatch("other", repository="acme/other")])
        assert ledger.claim(START, LEASE) is not None  # And is never heard of again.
        ledger.accept(delivery("last", slot="last"), [])
        ledger._writes.run(
            lambda connection: connection.execute(text("DELETE FROM deliveries WHERE id = 'last'")).rowcount
        )
        ledger.note_rejection(Rejection(START, "wandb", None, "unauthorized", 401))


def live_by_routes(ledger: Ledger) -> None:
    """What routes add: kinds, a run that is followed, a report, marks, and what was compared."""
    told = {"é": [None, 1.5]}
    planned = dispatch("routed", repository="acme/routed", question=told, telling=None, holds=True)
    planned = replace(planned, route="deploy\0", run_within=120 * SECOND, kind=DispatchKind.WORKFLOW_DISPATCH)
    never = replace(planned, id="routed-2", key="never", unsendable="too large")
    ledger.accept(delivery("routed", slot="routed", reconciled=True), [planned, never])
    claim = ledger.claim(START, LEASE)
    assert claim is not None
    ledger.record(claim, Sent(), TAKEN.outcome, START)
    (watch,) = ledger.watches(START + 60 * SECOND, 10)
    run = Run(2**40, "https://github.example/runs/1", "in_progress", None, "")
    ledger.record_look(watch, looked(watch, run, START + 60 * SECOND), ())
    ledger.record_report("routed", None, told)
    ledger.put_mark("QTox", "reg/churn", "alias:Größe 🚀", START)
    ledger.set_baseline("deploy", "acme/reg/churn", "production", Baseline("QTox", START))


def everything(url: str) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of every table, as it is read."""
    with Ledger.read_only(url) as ledger, ledger._reads.connect() as connection:
        return {
            table.name: sorted(tuple(row) for row in connection.execute(select(table)))
            for table in schema.metadata.sorted_tables
        }


@pytest.fixture
def new_url(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[str], str]:
    """Names an empty database of that kind."""

    def new(kind: str) -> str:
        if kind == "postgresql":
            made: Callable[[], str] = request.getfixturevalue("new_postgresql")
            return made()
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        folder.mkdir()
        return f"sqlite:///{folder / 'handoff.db'}"

    return new


@pytest.fixture(params=WAYS, ids="-to-".join)
def way(request: pytest.FixtureRequest, new_url: Callable[[str], str]) -> tuple[str, str]:
    """A ledger that was lived in, and where it is to go."""
    source, target = (new_url(kind) for kind in request.param)
    live(source)
    return source, target


def moved(source: str, target: str) -> Moved:
    return move(source, target, report=lambda _: None)


def test_everything_is_there(way: tuple[str, str]) -> None:
    """
    Every row of every table, value for value, and the count that is told.
    """
    source, target = way
    before = everything(source)

    told = moved(source, target)

    assert everything(target) == before
    assert everything(source) == before
    assert told.rows == {name: len(rows) for name, rows in before.items()}
    assert told.rows["deliveries"] == KEPT
    assert told.open_dispatches == 6
    assert len(told.digest) == 64


def test_the_work_goes_on_there(way: tuple[str, str]) -> None:
    """
    What is open is claimed in its order, with its attempts and doubts; what was being sent is looked for.
    """
    source, target = way
    moved(source, target)

    with Ledger.open(target) as ledger:
        now = START + 2 * LEASE
        first, second = ledger.claim(now, LEASE), ledger.claim(now, LEASE)
        assert first is not None
        assert second is not None
        assert {(c.dispatch.id, c.attempt, c.doubts, c.unanswered) for c in (first, second)} == {
            ("d3-1", 2, 1, START),
            ("other-1", 2, 1, START),
        }
        for claim in (first, second):
            ledger.record(claim, Sent(), TAKEN.outcome, now)
        assert ledger.open_count() == 4
        with pytest.raises(LedgerError):
            ledger.accept(delivery("again", slot="again"), [dispatch("d1")])


def test_no_number_is_given_twice(way: tuple[str, str]) -> None:
    """
    Counting goes on after the highest number ever given, that of a pruned row too.
    """
    source, target = way
    moved(source, target)

    with Ledger.open(target) as ledger:
        ledger.accept(delivery("new", slot="new"), [dispatch("new", repository="acme/new")])
        numbers = {}
        with ledger._reads.connect() as connection:
            for table in (schema.deliveries, schema.dispatches):
                numbers[table.name] = list(connection.scalars(select(table.c.seq).order_by(table.c.seq)))
    assert numbers["deliveries"][-2:] == [KEPT, KEPT + 2]
    assert numbers["dispatches"][-2:] == [KEPT, KEPT + 1]


def test_there_and_back_is_the_same(new_url: Callable[[str], str]) -> None:
    """
    From SQLite to PostgreSQL and back: the same rows with the same digest.
    """
    first, second, third = new_url("sqlite"), new_url("postgresql"), new_url("sqlite")
    live(first)

    there, back = moved(first, second), moved(second, third)

    assert there == back
    assert everything(third) == everything(first)


def test_an_empty_ledger_can_be_moved(new_url: Callable[[str], str]) -> None:
    """
    Nothing is moved, and counting starts at one.
    """
    source, target = new_url("sqlite"), new_url("postgresql")
    Ledger.open(source).close()

    assert moved(source, target).rows["deliveries"] == 0

    with Ledger.open(target) as ledger:
        ledger.accept(delivery(), [dispatch()])


# --- the old file


def beside(file: Path) -> dict[str, bytes]:
    """What is in the directory, but the lock and SQLite's index into its log."""
    return {
        path.name: path.read_bytes()
        for path in sorted(file.parent.iterdir())
        if path.suffix != ".lock" and not path.name.endswith("-shm")
    }


def file_of(url: str) -> Path:
    return Path(str(parse_url(url).database))


def test_the_old_file_stays_as_it_was(new_url: Callable[[str], str]) -> None:
    """
    Byte for byte, with no other file beside it than the lock.
    """
    source = new_url("sqlite")
    live(source)
    before = beside(file_of(source))

    moved(source, new_url("sqlite"))

    assert beside(file_of(source)) == before
    assert list(before) == ["handoff.db"]


def test_what_a_crash_left_in_the_log_is_moved_and_left(new_url: Callable[[str], str]) -> None:
    """
    What was committed before kill -9 is in the log beside the file: it comes along, and both stay.
    """
    source, target = new_url("sqlite"), new_url("sqlite")
    program = (
        "import os, sys\n"
        "from tests.receiver.ledger.test_moving import live\n"
        "from receiver.ledger import Ledger\n"
        "Ledger.close = lambda self: None\n"
        "live(sys.argv[1])\n"
        "os._exit(9)\n"
    )
    died = subprocess.run([sys.executable, "-c", program, source], cwd=ROOT, check=False)
    before = beside(file_of(source))
    assert died.returncode == 9
    assert len(before["handoff.db-wal"]) > len(before["handoff.db"])

    told = moved(source, target)

    assert beside(file_of(source)) == before
    assert told.rows["deliveries"] == KEPT


def test_a_file_that_nobody_may_write_can_be_moved(new_url: Callable[[str], str]) -> None:
    """
    Reading is enough.
    """
    source = new_url("sqlite")
    live(source)
    file_of(source).chmod(0o400)

    assert moved(source, new_url("sqlite")).rows["deliveries"] == KEPT


# --- what is refused


def test_a_ledger_that_is_in_use_is_not_moved(new_url: Callable[[str], str]) -> None:
    """
    A receiver has the file: what it accepts meanwhile would be lost.
    """
    source, target = new_url("sqlite"), new_url("sqlite")
    live(source)
    lock = ProcessLock.hold(Path(f"{file_of(source)}.lock"))
    with pytest.raises(MoveError, match=r"nothing was moved; .* stop the receiver"):
        moved(source, target)
    lock.release()

    assert not file_of(target).exists()
    assert moved(source, target).rows["deliveries"] == KEPT


def test_a_target_that_is_in_use_is_not_moved_to(new_url: Callable[[str], str]) -> None:
    """
    On SQLite only one process works with a file.
    """
    source, target = new_url("sqlite"), new_url("sqlite")
    live(source)
    lock = ProcessLock.hold(Path(f"{file_of(target)}.lock"))
    with pytest.raises(MoveError, match="stop the receiver that uses it"):
        moved(source, target)
    lock.release()


def test_a_postgresql_that_somebody_listens_at_is_not_moved(new_url: Callable[[str], str]) -> None:
    """
    As with the lock of a file, as far as its server knows.
    """
    source, target = new_url("postgresql"), new_url("sqlite")
    with Ledger.open(source) as ledger:
        ledger.accept(delivery(), [])
        connected = threading.Event()
        ledger.subscribe(connected.set)
        ledger.listen()
        assert connected.wait(20)
        with pytest.raises(MoveError, match="a receiver works with it; stop it first"):
            moved(source, target)

    assert moved(source, target).rows["deliveries"] == 1


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_a_target_with_deliveries_is_refused(new_url: Callable[[str], str], kind: str) -> None:
    """
    Two ledgers are never mixed; what is in the target stays.
    """
    source, target = new_url("sqlite"), new_url(kind)
    live(source)
    with Ledger.open(target) as ledger:
        ledger.accept(delivery("theirs"), [dispatch("theirs")])
    before = everything(target)

    with pytest.raises(MoveError, match="holds 1 deliveries; want a database without any"):
        moved(source, target)

    assert everything(target) == before


def test_a_ledger_is_not_moved_onto_itself(new_url: Callable[[str], str]) -> None:
    """
    That would be a mistake of the caller's.
    """
    source = new_url("sqlite")
    live(source)

    with pytest.raises(MoveError, match="is the source and the target; want two"):
        moved(source, source)


def test_a_source_that_is_not_there_is_named(new_url: Callable[[str], str]) -> None:
    """
    And neither it nor the target is made.
    """
    source, target = new_url("sqlite"), new_url("sqlite")

    with pytest.raises(MoveError, match=r"handoff\.db: there is no ledger"):
        moved(source, target)

    assert not file_of(source).exists()
    assert not file_of(target).exists()


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
@pytest.mark.parametrize("version", ["0", "99"])
def test_a_source_of_another_version_is_refused(
    new_url: Callable[[str], str], kind: str, version: str
) -> None:
    """
    An older one is migrated by the receiver first; a newer one is for a newer Handoff.
    """
    source, target = new_url(kind), new_url("sqlite")
    with Ledger.open(source) as ledger:
        ledger._writes.run(
            lambda connection: (
                connection.execute(
                    text(f"UPDATE meta SET value = '{version}' WHERE name = 'handoff-schema-version'")  # noqa: S608 - ours
                ).rowcount
            )
        )

    with pytest.raises(
        LedgerSchemaError, match=f"nothing was moved: the ledger has schema version {version}"
    ):
        moved(source, target)


def test_a_file_that_is_no_database_is_refused(new_url: Callable[[str], str]) -> None:
    """
    In our words, and it is left.
    """
    source = new_url("sqlite")
    file_of(source).write_bytes(b"Dear diary, " * 1000)

    with pytest.raises(MoveError, match=r"nothing was moved: .*not a database"):
        moved(source, new_url("sqlite"))

    assert file_of(source).read_bytes() == b"Dear diary, " * 1000


def test_a_damaged_ledger_is_not_moved_in_part(new_url: Callable[[str], str]) -> None:
    """
    What cannot be read to its end is not moved at all.
    """
    source, target = new_url("sqlite"), new_url("sqlite")
    live(source)
    with closing(sqlite3.connect(file_of(source))) as connection:
        (page,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'attempts'").fetchone()
    content = bytearray(file_of(source).read_bytes())
    content[(page - 1) * 4096 : (page - 1) * 4096 + 100] = b"\xff" * 100
    file_of(source).write_bytes(content)

    with pytest.raises((MoveError, LedgerSchemaError), match="nothing was moved"):
        moved(source, target)

    assert everything(target)["deliveries"] == []


def test_a_server_that_is_not_there_is_named_without_its_password(new_url: Callable[[str], str]) -> None:
    """
    The message names the side that failed.
    """
    source = new_url("sqlite")
    live(source)

    with pytest.raises(
        MoveError, match=r"postgresql\+psycopg://scott:\*\*\*@127\.0\.0\.1:1/db: nothing"
    ) as caught:
        moved(source, "postgresql://scott:tiger@127.0.0.1:1/db?application_name=tiger")

    assert "tiger" not in str(caught.value)


# --- what is checked


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        ("UPDATE deliveries SET address = 'elsewhere' WHERE id = 'd3'", "deliveries: got 10 rows with"),
        ("DELETE FROM attempts WHERE seq = 2", "attempts: got 4 rows with digest .*, want 5 with"),
    ],
    ids=["changed", "lost"],
)
@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_what_is_not_the_same_is_not_committed(
    new_url: Callable[[str], str], kind: str, spoil: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    A row that the target holds otherwise, or not at all, undoes all of it.
    """
    source, target = new_url("sqlite"), new_url(kind)
    live(source)
    run = moving._Side.run

    def spoiled(side: moving._Side, statement: Any, values: Any = None) -> Any:
        result = run(side, statement, values)
        if values and "fence" not in values and "INSERT" in str(statement):
            side.connection.execute(text(spoil))
        return result

    monkeypatch.setattr(moving._Side, "run", spoiled)
    with pytest.raises(MoveError, match=f"nothing was moved: {said}"):
        moved(source, target)

    assert everything(target)["deliveries"] == []


def test_a_failure_half_way_leaves_an_empty_ledger(new_url: Callable[[str], str]) -> None:
    """
    And a second try succeeds.
    """
    source, target = new_url("sqlite"), new_url("postgresql")
    live(source)
    told: list[str] = []

    def interrupt(line: str) -> None:
        told.append(line)
        if line.startswith("dispatches"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        move(source, target, report=interrupt)

    assert everything(target)["deliveries"] == []
    assert moved(source, target).rows["deliveries"] == KEPT


def test_many_rows_are_moved_in_batches(
    new_url: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    The lines tell how far it is, and how each table ended.
    """
    monkeypatch.setattr(moving, "BATCH", 2)
    monkeypatch.setattr(moving, "_TOLD_EVERY", 2)
    source, target = new_url("sqlite"), new_url("postgresql")
    live(source)
    told: list[str] = []

    move(source, target, report=told.append)

    assert [line for line in told if line.startswith("deliveries")] == [
        "deliveries: 4 rows copied",
        "deliveries: 8 rows copied",
        "deliveries: 10 rows copied, read back and compared",
    ]
