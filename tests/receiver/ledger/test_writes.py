"""How writes become transactions."""

from __future__ import annotations

import sqlite3
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Column, Connection, Engine, Integer, MetaData, Table, Text, event, insert, select, text
from sqlalchemy.exc import TimeoutError  # noqa: A004 - its own name

from receiver.errors import LedgerError
from receiver.ledger import writes
from receiver.ledger.writes import (
    GroupCommit,
    NoWrites,
    OwnTransaction,
    Writes,
    create_sqlite_file,
    parse_url,
    postgresql_engine,
    sqlite_engine,
)

notes = Table("notes", MetaData(), Column("number", Integer, primary_key=True), Column("text", Text))


class Mishap(Exception):  # noqa: N818 - what happens to one caller
    """Something that one function raises."""


def note(number: int) -> Callable[[Connection], int]:
    """Return work that writes one row."""

    def work(connection: Connection) -> int:
        connection.execute(insert(notes).values(number=number, text=f"note {number}"))
        return number

    return work


def note_and_fail(number: int) -> Callable[[Connection], int]:
    """Return work that writes one row and then fails."""

    def work(connection: Connection) -> int:
        note(number)(connection)
        raise Mishap(number)

    return work


def kept(engine: Engine) -> set[int]:
    """Return which rows another connection sees."""
    with engine.connect() as connection:
        return set(connection.scalars(select(notes.c.number)))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "notes.db"
    create_sqlite_file(path)
    return path


@pytest.fixture
def engine(file: Path) -> Iterator[Engine]:
    """What the group commit writes with."""
    opened = sqlite_engine(file, writes=True)
    with opened.begin() as connection:
        notes.metadata.create_all(connection)
    yield opened
    opened.dispose()


@pytest.fixture
def reads(file: Path) -> Iterator[Engine]:
    opened = sqlite_engine(file, writes=False)
    yield opened
    opened.dispose()


@pytest.fixture
def group(engine: Engine) -> Iterator[GroupCommit]:
    opened = GroupCommit(engine, queue=40)
    yield opened
    opened.close()


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(50) as opened:
        yield opened


@contextmanager
def held(group: GroupCommit, pool: ThreadPoolExecutor) -> Iterator[None]:
    """Hold up the writer inside a transaction, so that what comes meanwhile goes into one group."""
    begun, go = threading.Event(), threading.Event()

    def work(_: Connection) -> None:
        begun.set()
        go.wait(10)

    blocker = pool.submit(group.run, work)
    assert begun.wait(10)
    try:
        yield
    finally:
        go.set()
        blocker.result(10)


def until_queued(group: GroupCommit, count: int) -> None:
    """Wait until so many wait for the writer."""
    deadline = time.monotonic() + 10
    while len(group._jobs) < count:
        assert time.monotonic() < deadline
        threading.Event().wait(0.001)


def run_together(
    group: GroupCommit, pool: ThreadPoolExecutor, works: list[Callable[[Connection], Any]]
) -> list[Future[Any]]:
    """Run all in one group, and return how each caller fared."""
    with held(group, pool):
        callers = [pool.submit(group.run, work) for work in works]
        until_queued(group, len(works))
    wait(callers, 10)
    return callers


def commits(engine: Engine) -> list[int]:
    """Count transactions from now on."""
    seen: list[int] = []
    event.listen(engine, "commit", lambda _: seen.append(1))
    return seen


def test_a_write_is_there_for_everybody_once_it_returns(group: GroupCommit, reads: Engine) -> None:
    """
    What run returned from is committed, and its result is the work's.
    """
    assert group.run(note(1)) == 1
    assert kept(reads) == {1}


def test_who_waits_together_is_committed_together(
    group: GroupCommit, engine: Engine, pool: ThreadPoolExecutor, reads: Engine
) -> None:
    """
    Twenty callers cost one transaction, that is one sync of the disk.
    """
    seen = commits(engine)
    callers = run_together(group, pool, [note(number) for number in range(20)])

    assert [caller.result() for caller in callers] == list(range(20))
    assert kept(reads) == set(range(20))
    assert len(seen) == 2  # The one that held them up, and theirs.


def test_a_group_is_at_most_so_many(engine: Engine, pool: ThreadPoolExecutor) -> None:
    """
    Whoever is first in the queue is not kept waiting for all that come later.
    """
    group = GroupCommit(engine, group=5)
    seen = commits(engine)
    run_together(group, pool, [note(number) for number in range(20)])
    group.close()

    assert len(seen) == 1 + 4


def test_one_that_fails_takes_no_other_along(
    group: GroupCommit, pool: ThreadPoolExecutor, reads: Engine
) -> None:
    """
    Among twenty in one transaction one fails half-way: it alone hears of it, nothing of it is kept,
    and the rest is kept whole.
    """
    works = [note_and_fail(number) if number == 7 else note(number) for number in range(20)]
    callers = run_together(group, pool, works)

    assert [number for number, caller in enumerate(callers) if caller.exception()] == [7]
    assert isinstance(callers[7].exception(), Mishap)
    assert kept(reads) == set(range(20)) - {7}


def test_a_group_in_which_one_fails_is_done_again(
    group: GroupCommit, pool: ThreadPoolExecutor, reads: Engine
) -> None:
    """
    With a savepoint for each: whose function ran twice has one result and one row, that of the second run.
    """
    runs: list[int] = []

    def count(connection: Connection) -> int:
        runs.append(1)
        note(1)(connection)
        return len(runs)

    counted, failed = run_together(group, pool, [count, note_and_fail(2)])

    assert counted.result() == 2
    assert isinstance(failed.exception(), Mishap)
    assert kept(reads) == {1}


def test_a_group_in_which_none_fails_needs_no_savepoint(group: GroupCommit, engine: Engine) -> None:
    """
    They cost as much as the rows.
    """
    said: list[str] = []
    with engine.connect() as connection:
        driver: object = connection.connection.dbapi_connection
        assert isinstance(driver, sqlite3.Connection)
        driver.set_trace_callback(said.append)
    group.run(note(1))

    assert "COMMIT" in said
    assert [statement for statement in said if "SAVEPOINT" in statement] == []


def note_all(numbers: Sequence[int], connection: Connection) -> list[int]:
    """Write all numbers at once, and tell each how many they were."""
    connection.execute(insert(notes), [{"number": number, "text": "many"} for number in numbers])
    return [len(numbers)] * len(numbers)


def test_what_waits_for_the_same_is_done_at_once(
    group: GroupCommit, pool: ThreadPoolExecutor, reads: Engine
) -> None:
    """
    Ten that hand the same in cost one call, beside others that are done one by one.
    """
    with held(group, pool):
        handed_in = [group.hand_in(note_all, number) for number in range(10)]
        alone = pool.submit(group.run, note(99))
        until_queued(group, 11)

    assert [one.result() for one in handed_in] == [10] * 10
    assert alone.result() == 99
    assert kept(reads) == {*range(10), 99}


def test_one_of_a_batch_that_fails_takes_no_other_along(
    group: GroupCommit, pool: ThreadPoolExecutor, reads: Engine
) -> None:
    """
    Then each is done by itself: the one that is there already fails, and the others are kept.
    """
    group.run(note(7))
    with held(group, pool):
        handed_in = [group.hand_in(note_all, number) for number in (6, 7, 8)]

    assert [handed_in[0].result(), handed_in[2].result()] == [1, 1]
    with pytest.raises(LedgerError, match="UNIQUE"):
        handed_in[1].result()
    assert kept(reads) == {6, 7, 8}


def test_a_broken_rule_of_the_database_is_its_callers_alone(
    group: GroupCommit, pool: ThreadPoolExecutor, reads: Engine
) -> None:
    """
    A row that is there twice fails as LedgerError, which names no value; the others are kept.
    """
    callers = run_together(group, pool, [note(1), note(2), note(2), note(3)])

    (failed,) = [error for caller in callers if (error := caller.exception())]
    assert isinstance(failed, LedgerError)
    assert (
        str(failed) == "the ledger cannot be reached or written now: UNIQUE constraint failed: notes.number"
    )
    assert kept(reads) == {1, 2, 3}


def test_nobody_is_answered_before_the_commit(
    group: GroupCommit, engine: Engine, pool: ThreadPoolExecutor
) -> None:
    """
    While the transaction is not committed, no caller has its answer.
    """
    answered: list[int] = []
    at_commit: list[int] = []
    event.listen(engine, "commit", lambda _: at_commit.append(len(answered)))

    def call(number: int) -> None:
        group.run(note(number))
        answered.append(number)

    with held(group, pool):
        callers = [pool.submit(call, number) for number in range(10)]
        until_queued(group, 10)
    wait(callers, 10)

    assert at_commit == [0, 0]
    assert len(answered) == 10


def test_when_the_commit_fails_nobody_is_acknowledged(
    group: GroupCommit, engine: Engine, pool: ThreadPoolExecutor, reads: Engine
) -> None:
    """
    A commit that the database itself refuses fails everyone in it, keeps nothing, and stops nothing later.
    """
    with engine.begin() as connection:
        connection.execute(
            text("CREATE TABLE replies (id INTEGER REFERENCES notes (number) DEFERRABLE INITIALLY DEFERRED)")
        )

    def dangling(connection: Connection) -> None:
        connection.execute(text("INSERT INTO replies VALUES (99)"))

    callers = run_together(group, pool, [note(1), dangling, note(2)])

    assert all(isinstance(caller.exception(), LedgerError) for caller in callers)
    assert kept(reads) == set()
    assert group.run(note(3)) == 3
    assert kept(reads) == {3}


def test_when_who_writes_is_interrupted_nobody_waits_for_ever(
    group: GroupCommit, pool: ThreadPoolExecutor, reads: Engine
) -> None:
    """
    All of the group are told that nothing of it is kept, and somebody else writes what comes later.
    """

    def interrupted(_: Connection) -> None:
        raise KeyboardInterrupt

    callers = run_together(group, pool, [note(1), interrupted, note(2)])

    fared = [type(caller.exception(10)) for caller in callers]
    assert sorted(kind.__name__ for kind in fared) == ["KeyboardInterrupt", "LedgerError", "LedgerError"]
    assert group.run(note(3)) == 3
    assert kept(reads) == {3}


def test_a_full_disk_acknowledges_nothing_that_is_not_kept(
    group: GroupCommit, pool: ThreadPoolExecutor, reads: Engine
) -> None:
    """
    SQLite gives up a whole transaction when the disk is full: then all in it are told so; with room
    again, writing goes on (C2).
    """

    def big(number: int) -> Callable[[Connection], int]:
        def work(connection: Connection) -> int:
            connection.execute(insert(notes).values(number=number, text="x" * 9000))
            return number

        return work

    def limit(pages: int) -> Callable[[Connection], object]:
        return lambda connection: connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}").scalar()

    group.run(limit(20))
    callers = run_together(group, pool, [big(number) for number in range(20)])

    failed = [error for caller in callers if (error := caller.exception())]
    assert failed
    assert all(isinstance(error, LedgerError) and "full" in str(error) for error in failed)
    assert kept(reads) == {caller.result() for caller in callers if not caller.exception()}
    group.run(limit(10_000))
    assert group.run(big(50)) == 50


def test_when_the_database_drops_the_transaction_nobody_in_it_is_acknowledged(
    group: GroupCommit, pool: ThreadPoolExecutor, reads: Engine
) -> None:
    """
    A fault that makes SQLite roll everything back fails those too who had already written.
    """

    def rolls_back(connection: Connection) -> None:
        connection.exec_driver_sql("INSERT OR ROLLBACK INTO notes VALUES (1, 'again')")

    callers = run_together(group, pool, [note(1), rolls_back, note(2)])

    assert all(isinstance(caller.exception(), LedgerError) for caller in callers)
    assert kept(reads) == set()


def test_a_lock_that_does_not_end_is_an_error_and_then_is_forgotten(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    While another program holds the file, writing fails in bounded time; afterwards it works (C3).
    """
    monkeypatch.setattr(writes, "BUSY_SECONDS", 0.05)
    engine = sqlite_engine(file, writes=True)
    with engine.begin() as connection:
        notes.metadata.create_all(connection)
    group = GroupCommit(engine)
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(LedgerError, match="database is locked"):
            group.run(note(1))
        other.execute("ROLLBACK")

    assert group.run(note(1)) == 1
    group.close()


def test_a_disk_that_became_read_only_is_an_error_and_then_is_forgotten(
    group: GroupCommit, engine: Engine
) -> None:
    """
    Written again as soon as it can be, without a restart (C2).
    """
    with closing(engine.raw_connection()) as connection:
        connection.cursor().execute("PRAGMA query_only = ON")
    with pytest.raises(LedgerError, match="readonly"):
        group.run(note(1))
    with closing(engine.raw_connection()) as connection:
        connection.cursor().execute("PRAGMA query_only = OFF")

    assert group.run(note(1)) == 1


def test_a_corrupt_file_is_an_error(file: Path) -> None:
    """
    Damage is told of; nothing is acknowledged on top of it (C5).
    """
    engine = sqlite_engine(file, writes=True)
    with engine.begin() as connection:
        notes.metadata.create_all(connection)
        connection.execute(insert(notes), [{"number": n, "text": "x" * 500} for n in range(100)])
    engine.dispose()
    content = file.read_bytes()
    file.write_bytes(content[:4096] + b"\xee" * (len(content) - 4096))
    group = GroupCommit(engine)

    with pytest.raises(LedgerError, match="malformed"):
        group.run(note(1000))
    group.close()


def test_a_full_queue_refuses_at_once(group: GroupCommit, pool: ThreadPoolExecutor) -> None:
    """
    Who comes when 40 wait is told to come back; the 40 are written (C7).
    """
    with held(group, pool):
        callers = [pool.submit(group.run, note(number)) for number in range(40)]
        until_queued(group, 40)
        with pytest.raises(LedgerError, match="40 writes behind"):
            group.run(note(99))

    assert sorted(caller.result(10) for caller in callers) == list(range(40))


def test_what_is_submitted_is_written_soon(group: GroupCommit, reads: Engine) -> None:
    """
    It goes with the next group at the latest.
    """
    group.submit(note(1))
    group.run(note(2))

    assert kept(reads) == {1, 2}


def test_what_is_submitted_twice_waits_once(
    group: GroupCommit, pool: ThreadPoolExecutor, reads: Engine
) -> None:
    """
    A flood that asks for the same thing a thousand times asks for one.
    """
    same = note(1)
    with held(group, pool):
        for _ in range(1000):
            group.submit(same)
        assert len(group._background) == 1
    group.run(note(2))

    assert kept(reads) == {1, 2}
    assert group.dropped == 0


def test_what_cannot_be_queued_is_dropped_and_counted(group: GroupCommit, pool: ThreadPoolExecutor) -> None:
    """
    Submitting never waits and never raises, not even at a closed ledger.
    """
    with held(group, pool):
        for number in range(45):
            group.submit(note(number))
        assert group.dropped == 5
    group.close()
    group.submit(note(99))

    assert group.dropped == 6


def test_a_submitted_one_that_fails_harms_nobody(group: GroupCommit, reads: Engine) -> None:
    """
    Its error goes nowhere; the next is written.
    """
    group.submit(note_and_fail(1))
    group.run(note(2))

    assert kept(reads) == {2}


def test_closing_finishes_what_was_handed_in(engine: Engine, pool: ThreadPoolExecutor, reads: Engine) -> None:
    """
    All who waited when it closed are written and answered; later ones are refused.
    """
    group = GroupCommit(engine)
    with held(group, pool):
        callers = [pool.submit(group.run, note(number)) for number in range(30)]
        until_queued(group, 30)
        closer = pool.submit(group.close)
    closer.result(10)

    assert sorted(caller.result(10) for caller in callers) == list(range(30))
    assert kept(reads) == set(range(30))
    with pytest.raises(LedgerError, match="closed"):
        group.run(note(99))


def test_the_writer_syncs_fully_and_the_reader_cannot_write(engine: Engine, reads: Engine) -> None:
    """
    FULL survives the loss of power, not only our own death (C6).
    """
    with engine.connect() as connection:
        pragmas = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("synchronous", "foreign_keys", "journal_mode", "busy_timeout")
        }
    with pytest.raises(LedgerError, match="readonly"), writes.ledger_errors(), reads.begin() as connection:
        connection.execute(insert(notes).values(number=1))

    assert pragmas == {"synchronous": 2, "foreign_keys": 1, "journal_mode": "wal", "busy_timeout": 5000}


def test_there_is_one_connection_that_writes(engine: Engine, pool: ThreadPoolExecutor) -> None:
    """
    Whoever asks for it while it is in use waits, and is given that one, with all that was set on it.
    """

    def driver(connection: Connection) -> object:
        return connection.connection.dbapi_connection

    def ask() -> object:
        with engine.connect() as connection:
            return driver(connection)

    with engine.connect() as connection:
        asked = pool.submit(ask)
        assert not wait([asked], 0.1).done
        ours = driver(connection)
    assert asked.result(10) is ours


def test_a_ledger_that_was_taken_away_is_not_made_anew(file: Path) -> None:
    """
    An empty file in place of the ledger would answer 202 and know of nothing.
    """
    file.unlink()
    engine = sqlite_engine(file, writes=True)

    with pytest.raises(LedgerError, match="unable to open"), writes.ledger_errors(), engine.begin():
        pass

    assert not file.exists()


@contextmanager
def read_from(file: Path) -> Iterator[Callable[[], object]]:
    """Read from a file that is not in WAL mode, and give what ends the reading."""
    with closing(sqlite3.connect(file, isolation_level=None, check_same_thread=False)) as other:
        other.execute("CREATE TABLE notes (number INTEGER)")
        other.execute("BEGIN")
        other.execute("SELECT * FROM notes").fetchall()
        yield lambda: other.execute("ROLLBACK")


def test_entering_wal_mode_waits_for_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    SQLite itself does not wait here: two that start at once must not make one of them fail (C4).
    """
    monkeypatch.setattr(writes, "BUSY_SECONDS", 0.1)
    file = tmp_path / "handoff.db"
    with read_from(file) as finish:
        monkeypatch.setattr("receiver.ledger.writes.time.sleep", lambda _: finish())
        create_sqlite_file(file)

    with closing(sqlite3.connect(file)) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_entering_wal_mode_does_not_wait_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    After some seconds it says what is wrong.
    """
    monkeypatch.setattr(writes, "BUSY_SECONDS", 0.05)
    file = tmp_path / "handoff.db"
    with (
        read_from(file),
        pytest.raises(LedgerError, match=r"handoff\.db: cannot be opened: database is locked"),
    ):
        create_sqlite_file(file)


@pytest.fixture
def own(new_postgresql: Callable[[], str]) -> Iterator[OwnTransaction]:
    """Writes on PostgreSQL."""
    engine = postgresql_engine(parse_url(new_postgresql()))
    with engine.begin() as connection:
        notes.metadata.create_all(connection)
    opened = OwnTransaction(engine)
    yield opened
    opened.close()


def rows(opened: Writes) -> set[int]:
    return opened.run(lambda connection: set(connection.scalars(select(notes.c.number))))


def test_on_postgresql_each_write_is_its_own(own: OwnTransaction) -> None:
    """
    One that fails keeps nothing and disturbs nobody.
    """
    own.run(note(1))
    with pytest.raises(Mishap):
        own.run(note_and_fail(2))
    with pytest.raises(LedgerError, match="duplicate key"):
        own.run(note(1))

    assert rows(own) == {1}


def test_on_postgresql_a_lost_connection_is_replaced(own: OwnTransaction) -> None:
    """
    After the server went away and came back the next write works, without a restart (C3).
    """
    own.run(note(1))
    operator = postgresql_engine(own._engine.url)
    with operator.begin() as connection:
        connection.execute(
            text(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
            )
        ).all()
    operator.dispose()

    assert own.run(note(2)) == 2


def test_on_postgresql_a_connection_lost_midway_keeps_nothing(own: OwnTransaction) -> None:
    """
    When the server dies under a transaction its caller hears LedgerError.
    """

    def dies(connection: Connection) -> None:
        note(1)(connection)
        connection.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))

    with pytest.raises(LedgerError, match="terminating connection"):
        own.run(dies)

    assert rows(own) == set()


def test_on_postgresql_what_is_submitted_is_written(own: OwnTransaction) -> None:
    """
    In the background, and at the latest when it closes.
    """
    done = threading.Event()

    def work(connection: Connection) -> None:
        note(1)(connection)
        done.set()

    own.submit(work)

    assert done.wait(10)
    assert own.dropped == 0


def test_what_was_opened_to_look_at_is_not_written() -> None:
    """
    A command that lists cannot change.
    """
    opened = NoWrites()
    opened.submit(note(1))
    opened.close()

    with pytest.raises(LedgerError, match="read only"):
        opened.run(note(1))


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("nonsense", "is not a database URL, want sqlite:///"),
        ("sqlite://", "names sqlite in memory, want sqlite:///"),
        ("sqlite:///:memory:", "names sqlite :memory:, want sqlite:///"),
        ("mysql://scott:tiger@db/handoff", "names mysql handoff, want sqlite:///"),
    ],
)
def test_a_url_that_names_no_ledger_is_explained(url: str, said: str) -> None:
    """
    The message says what may stand there, and repeats no password.
    """
    with pytest.raises(LedgerError) as caught:
        parse_url(url)

    assert said in str(caught.value)
    assert "tiger" not in str(caught.value)


@pytest.mark.parametrize("url", ["postgresql://db/handoff", "postgresql+psycopg://db/handoff"])
def test_postgresql_always_means_our_driver(url: str) -> None:
    """
    The URL as a provider gives it works as it is.
    """
    assert parse_url(url).drivername == "postgresql+psycopg"


def test_a_server_that_is_not_there_is_an_error_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Its message names the server, not the password.
    """
    monkeypatch.setattr(writes, "BUSY_SECONDS", 1.0)
    engine = postgresql_engine(parse_url("postgresql://scott:tiger@127.0.0.1:1/handoff"))

    with pytest.raises(LedgerError, match=r"127\.0\.0\.1") as caught, writes.ledger_errors(), engine.begin():
        pass

    assert "tiger" not in str(caught.value)


def test_a_directory_that_is_not_there_is_named(tmp_path: Path) -> None:
    """
    The file is made, its directory is not: that may be a mistyped path.
    """
    with pytest.raises(LedgerError, match=r"nowhere/handoff\.db: cannot be created or opened: No such file"):
        create_sqlite_file(tmp_path / "nowhere" / "handoff.db")


def test_a_driver_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    With the command that brings it.
    """
    monkeypatch.setitem(sys.modules, "psycopg", None)

    with pytest.raises(LedgerError, match=r"pip install 'wandb-handoff\[receiver,postgres\]'"):
        postgresql_engine(parse_url("postgresql://db/handoff"))


def test_a_pool_that_is_used_up_is_an_error_of_ours() -> None:
    """
    What SQLAlchemy raises by itself is told of in our words too.
    """
    with pytest.raises(LedgerError, match="cannot be used now: TimeoutError"), writes.ledger_errors():
        raise TimeoutError("QueuePool limit reached")
