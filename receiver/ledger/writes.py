"""How writes become transactions: what waits together is done and committed together."""

from __future__ import annotations

import math
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar
from urllib.parse import quote

from sqlalchemy import URL, Connection, Engine, QueuePool, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError

from receiver.errors import LedgerError, LedgerSchemaError, ReceiverError
from receiver.ledger.statements import straight

T = TypeVar("T")
Item = TypeVar("Item")
Work = Callable[[Connection], T]
# Does one thing for many at once, and returns the result of each, in their order.
Batch = Callable[[Sequence[Item], Connection], Sequence[T]]
# Returns once what it is given says that it is done.
SeeThrough = Callable[[Callable[[], bool]], None]

BUSY_SECONDS = 5.0  # How long SQLite waits for another process's lock; ours takes none for that long.
IDLE_MILLISECONDS = 10_000  # In the middle of a transaction, which takes us some milliseconds.
GROUP = 50
QUEUE = 1_000


class Writes(Protocol):
    """Runs functions that write, durably."""

    def run(self, work: Work[T]) -> T:
        """Return what ``work`` returned once it is committed and synced; else nothing of it is kept.

        Raises:
            LedgerError: The ledger cannot be written now.
        """
        ...

    def hand_in(self, batch: Batch[Item, T], item: Item) -> Pending[T]:
        """Have ``batch`` done for ``item`` soon, together with whatever waits for the same; never waits.

        Raises:
            LedgerError: It is not taken.
        """
        ...

    def submit(self, work: Work[object]) -> None:
        """Run ``work`` soon, without waiting; it is dropped, and counted, where it cannot be.

        What waits already is not queued twice.
        """
        ...

    def close(self) -> None:
        """Finish what was handed in, take no more."""
        ...


class Pending(Generic[T]):
    """What is handed in: whoever wants to know what came of it waits here."""

    def __init__(self, batch: Batch[Any, T], item: Any, see_through: SeeThrough) -> None:
        self.batch = batch
        self.item = item
        self._see_through = see_through
        self._answered = False
        self._result: Any = None
        self._error: Exception | None = None

    def wait(self) -> None:
        """Wait until it is committed, or has failed."""
        self._see_through(lambda: self._answered)

    def result(self) -> T:
        """Wait, then return what came of it or raise it."""
        if not self._answered:
            self.wait()
        if self._error is not None:
            raise self._error
        result: T = self._result
        return result

    def succeed(self, result: T) -> None:
        """Tell whoever waits."""
        self._result = result
        self._answered = True

    def fail(self, error: Exception) -> None:
        """Tell whoever waits."""
        self._error = error
        self._answered = True


def _one_by_one(works: Sequence[Work[T]], connection: Connection) -> list[T]:
    return [work(connection) for work in works]


class GroupCommit:
    """Whoever waits first writes for all: what is queued goes into one transaction, synced once.

    Who comes meanwhile queues, and one of them writes the next group.  To have a thread that does nothing
    else would cost each of them two switches of threads, which are dearer than the rows.

    What waits for the same is done at once, in the order it came.  One that fails takes nothing of the
    others along: then nothing of the group is kept, and all of it is done again with a savepoint for each.
    So a function may run twice, but only one run of it is kept.  Nobody is answered before the commit; when
    that fails, nobody's work was kept and all are told so.
    """

    def __init__(
        self, engine: Engine, *, group: int = GROUP, queue: int = QUEUE, keep_connection: bool = True
    ) -> None:
        self.dropped = 0
        self._engine = engine
        self._group = group
        self._queue = queue
        self._keep_connection = keep_connection
        self._kept: Connection | None = None
        self._jobs: deque[_Job] = deque()
        self._background: dict[Work[object], None] = {}
        self._changed = threading.Condition()
        self._writing = False  # Somebody is, for all.
        self._closing = False
        self._submitted = threading.Event()
        self._thread = threading.Thread(target=self._write_submitted, name="ledger-writer", daemon=True)
        self._thread.start()

    def run(self, work: Work[T]) -> T:
        """Return what ``work`` returned once its group is committed, or raise what it raised."""
        batch: Batch[Work[T], T] = _one_by_one
        return self.hand_in(batch, work).result()

    def hand_in(self, batch: Batch[Item, T], item: Item) -> Pending[T]:
        """Add it to the next group."""
        job = Pending(batch, item, self._see_through)
        with self._changed:
            if self._closing:
                raise LedgerError("the ledger is closed")
            if len(self._jobs) >= self._queue:
                raise LedgerError(f"the ledger is {self._queue} writes behind, want fewer: try again shortly")
            self._jobs.append(job)
        return job

    def submit(self, work: Work[object]) -> None:
        """Add ``work`` to the next group; what is in it already stays there once."""
        with self._changed:
            if self._closing or len(self._background) >= self._queue:
                self.dropped += 1
                return
            self._background[work] = None
        self._submitted.set()

    def close(self) -> None:
        """Commit what is queued, then let go of the database."""
        self.finish()
        self._engine.dispose()

    def finish(self) -> None:
        """Commit what is queued, and take no more."""
        with self._changed:
            self._closing = True
        self._submitted.set()
        self._thread.join()
        self._see_through(lambda: not (self._jobs or self._background or self._writing))
        self._let_go()

    def _write_submitted(self) -> None:
        """A thread: nobody waits for what is submitted, so somebody has to write it."""
        while not self._closing:
            self._submitted.wait()
            self._submitted.clear()
            self._see_through(lambda: not self._background)

    def _see_through(self, done: Callable[[], bool]) -> None:
        """Return once it is done: by whoever writes, or by us, who then write for all."""
        while self._is_ours(done):
            try:
                self._commit(self._next_group())
            finally:
                with self._changed:
                    self._writing = False
                    self._changed.notify_all()

    def _is_ours(self, done: Callable[[], bool]) -> bool:
        """Wait until it is done or nobody writes, which is then up to us."""
        with self._changed:
            while self._writing and not done():
                self._changed.wait()
            if done():
                return False
            self._writing = True
            return True

    def _next_group(self) -> list[_Job]:
        with self._changed:
            jobs = [self._jobs.popleft() for _ in range(min(self._group, len(self._jobs)))]
            jobs += [Pending(_one_by_one, work, self._see_through) for work in self._background]
            self._background.clear()
            return jobs

    def _commit(self, jobs: list[_Job]) -> None:
        answers = [_failed_with(LedgerError("who wrote to the ledger was interrupted"))] * len(jobs)
        try:
            with ledger_errors():
                answers = self._together(jobs) or self._apart(jobs)
        except Exception as error:  # noqa: BLE001 - whatever it was, each caller must be told
            answers = [_failed_with(error)] * len(jobs)
        finally:
            for job, give in zip(jobs, answers, strict=True):
                give(job)

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        """A transaction that is committed at the end; to fetch a connection for each costs more than it."""
        if not self._keep_connection:
            with self._engine.begin() as connection:
                yield connection
            return
        self._kept = self._kept or self._engine.connect()
        try:
            with self._kept.begin():
                yield self._kept
        except BaseException:
            self._let_go()
            raise

    def _let_go(self) -> None:
        if self._kept is not None:
            kept, self._kept = self._kept, None
            kept.close()

    def _together(self, jobs: Sequence[_Job]) -> list[_Answer] | None:
        """Do them without savepoints, which cost as much as the rows; where one fails, keep none of it."""
        alike: dict[Batch[Any, Any], list[_Job]] = {}
        for job in jobs:
            alike.setdefault(job.batch, []).append(job)
        with self._transaction() as connection:
            try:
                results: dict[_Job, Any] = {}
                for batch, those in alike.items():
                    done = batch([job.item for job in those], connection)
                    results.update(zip(those, done, strict=True))
            except Exception:  # noqa: BLE001 - it comes again, and is then told to whom it belongs
                connection.rollback()
            else:
                return [_succeeded_with(results[job]) for job in jobs]
        return None

    def _apart(self, jobs: Sequence[_Job]) -> list[_Answer]:
        """Do each in a savepoint of its own."""
        with self._transaction() as connection:
            return [_attempt(job, connection) for job in jobs]


class OwnTransaction:
    """Each function in a transaction of its own, on a connection from the pool; batches still in groups."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        # A connection from the pool was asked whether the server is still there.
        self._group = GroupCommit(engine, keep_connection=False)
        self._background = GroupCommit(engine, keep_connection=False)

    def run(self, work: Work[T]) -> T:
        """Return what ``work`` returned once it is committed, or raise what it raised."""
        with ledger_errors(), self._engine.begin() as connection:
            return work(connection)

    def hand_in(self, batch: Batch[Item, T], item: Item) -> Pending[T]:
        """Add it to the next group: a trip to the server then serves many."""
        return self._group.hand_in(batch, item)

    def submit(self, work: Work[object]) -> None:
        """Leave ``work`` to a thread of our own: the caller never waits for the network."""
        self._background.submit(work)

    @property
    def dropped(self) -> int:
        """How many submitted functions were not even tried."""
        return self._background.dropped

    def close(self) -> None:
        """Finish what was handed in and what was submitted."""
        self._group.finish()
        self._background.finish()
        self._engine.dispose()


class NoWrites:
    """Refuses: the ledger was opened to be looked at."""

    def run(self, work: Work[T]) -> T:  # noqa: ARG002 - the Protocol's signature
        """Refuse."""
        raise LedgerError("the ledger was opened to read only")

    def hand_in(self, batch: Batch[Item, T], item: Item) -> Pending[T]:  # noqa: ARG002 - as above
        """Refuse."""
        raise LedgerError("the ledger was opened to read only")

    def submit(self, work: Work[object]) -> None:
        """Refuse."""

    def close(self) -> None:
        """Nothing is open."""


_Job = Pending[Any]
_Answer = Callable[[_Job], None]


def _attempt(job: _Job, connection: Connection) -> _Answer:
    """Do it inside a savepoint; the answer is given only after the commit."""
    straight(connection, "SAVEPOINT work")
    try:
        with ledger_errors():
            (result,) = job.batch([job.item], connection)
    except Exception as error:
        if not _in_transaction(connection):
            raise  # The database gave up the whole transaction: what the others wrote is gone too.
        straight(connection, "ROLLBACK TO SAVEPOINT work")
        return _failed_with(error)
    straight(connection, "RELEASE SAVEPOINT work")
    return _succeeded_with(result)


def _succeeded_with(result: Any) -> _Answer:
    return lambda job: job.succeed(result)


def _failed_with(error: Exception) -> _Answer:
    return lambda job: job.fail(error)


def _in_transaction(connection: Connection) -> bool:
    driver: object = connection.connection.dbapi_connection
    return not isinstance(driver, sqlite3.Connection) or driver.in_transaction


@contextmanager
def ledger_errors() -> Iterator[None]:
    """Turn what the database raises into LedgerError, naming the fault but no parameter of the query."""
    try:
        yield
    except ReceiverError:
        raise
    except DBAPIError as error:
        raise LedgerError(
            f"the ledger cannot be reached or written now: {_first_line(error.orig)}"
        ) from error
    except sqlite3.Error as error:
        raise LedgerError(f"the ledger cannot be reached or written now: {_first_line(error)}") from error
    except SQLAlchemyError as error:
        raise LedgerError(f"the ledger cannot be used now: {type(error).__name__}") from error


def _first_line(error: BaseException | None) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)


def parse_url(url: str) -> URL:
    """Read HANDOFF_DATABASE_URL, or raise LedgerError that says what it may be."""
    want = "want sqlite:///path/of/handoff.db or postgresql+psycopg://user:password@host/database"
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise LedgerError(f"HANDOFF_DATABASE_URL is not a database URL, {want}") from error
    backend = parsed.get_backend_name()
    if backend == "sqlite" and parsed.database not in {None, "", ":memory:"}:
        return parsed
    if backend == "postgresql":
        return parsed.set(drivername="postgresql+psycopg")
    raise LedgerError(f"HANDOFF_DATABASE_URL names {backend} {parsed.database or 'in memory'}, {want}")


def create_sqlite_file(path: Path) -> None:
    """Create the file, for us alone, and put it into WAL mode: once, before there is a second connection."""
    try:
        path.touch(mode=0o600)
    except OSError as error:
        raise LedgerError(f"{path}: cannot be created or opened: {error.strerror}") from error
    deadline = time.monotonic() + BUSY_SECONDS
    while not _entered_wal(path, last_try=time.monotonic() > deadline):
        time.sleep(0.01)


def _entered_wal(path: Path, *, last_try: bool) -> bool:
    """Tell whether it is done; SQLite itself does not wait for another process that is just doing it."""
    try:
        with closing(sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None)) as connection:
            connection.execute("PRAGMA journal_mode = WAL")
    except sqlite3.OperationalError as error:
        if "locked" in str(error) and not last_try:
            return False
        raise LedgerError(f"{path}: cannot be opened: {error}") from error
    except sqlite3.DatabaseError as error:
        raise LedgerSchemaError(
            f"{path} is not a ledger of Handoff ({error}). It was left as it is: "
            "name a file that does not exist yet in HANDOFF_DATABASE_URL."
        ) from error
    return True


def sqlite_engine(path: Path, *, writes: bool) -> Engine:
    """Return the engine that writes (one connection, full sync) or the one that reads and cannot write."""
    address = f"file:{quote(str(path))}?mode=rw"  # Never created by accident: an empty ledger tells nothing.

    def connect() -> sqlite3.Connection:
        connection = sqlite3.connect(
            address, uri=True, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
        )
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute(f"PRAGMA query_only = {'OFF' if writes else 'ON'}")
        return connection

    engine = create_engine(
        "sqlite://",
        creator=connect,
        poolclass=QueuePool,
        pool_size=1 if writes else 4,
        max_overflow=0 if writes else 10,
        hide_parameters=True,
    )
    begin = "BEGIN IMMEDIATE" if writes else "BEGIN"
    # The driver would begin late and by itself; we say when, and take the write lock with it.
    event.listen(engine, "begin", lambda connection: straight(connection, begin))
    return engine


def postgresql_engine(url: URL) -> Engine:
    """Return an engine whose pool notices that the server was away, and that it is back.

    Nobody waits for another's lock for longer than on SQLite; a process that was frozen in the middle of a
    transaction loses it.
    """
    try:
        engine = create_engine(
            url,
            hide_parameters=True,
            pool_pre_ping=True,
            pool_size=16,
            max_overflow=16,
            pool_timeout=BUSY_SECONDS,
            connect_args=reach_postgresql(url),
        )
    except ModuleNotFoundError as error:
        raise LedgerError(
            "PostgreSQL needs its driver: pip install 'wandb-handoff[receiver,postgres]'"
        ) from error
    event.listen(engine, "connect", _limit_waits)
    return engine


def reach_postgresql(url: URL) -> dict[str, str | int]:
    """Return how to connect so that a server that is gone is noticed; the URL may say otherwise."""
    ours: dict[str, str | int] = {
        "application_name": "handoff",
        "connect_timeout": math.ceil(BUSY_SECONDS),
        "keepalives_idle": 5,
        "keepalives_interval": 2,
        "keepalives_count": 3,
        "tcp_user_timeout": 10_000,  # Milliseconds.
    }
    return {name: value for name, value in ours.items() if name not in url.query}


def _limit_waits(connection: Any, _record: object) -> None:
    connection.autocommit = True
    connection.execute(f"SET lock_timeout = {int(BUSY_SECONDS * 1000)}")
    connection.execute(f"SET idle_in_transaction_session_timeout = {IDLE_MILLISECONDS}")
    connection.execute("SET jit = off")  # It takes 100 ms for what runs in one: who is next, of nobody.
    connection.autocommit = False
