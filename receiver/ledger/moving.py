"""Moves a ledger to another database: every row is there, read back and compared, or none is."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import (
    URL,
    Boolean,
    Connection,
    Engine,
    Row,
    TableClause,
    column,
    create_engine,
    delete,
    event,
    func,
    insert,
    select,
    table,
    text,
)

from receiver.errors import LedgerError, LedgerSchemaError, ReceiverError, SettingsError
from receiver.ledger import schema
from receiver.ledger.notices import is_unused
from receiver.ledger.writes import (
    create_sqlite_file,
    ledger_errors,
    parse_url,
    postgresql_engine,
    sqlite_engine,
)
from receiver.process_lock import ProcessLock

BATCH = 1_000
_TOLD_EVERY = 100  # Batches.

Report = Callable[[str], None]


class MoveError(ReceiverError):
    """The ledger was not moved: the source is as it was, and nothing is in the target."""

    reason = "not-moved"


@dataclass(frozen=True)
class Moved:
    """What is in the target now.

    Attributes:
        rows: How many, by table.
        open_dispatches: How many dispatches have not ended: they go on from there.
        digest: Of every row in its order, the same on both sides.
    """

    rows: Mapping[str, int]
    open_dispatches: int
    digest: str


def move(source_url: str, target_url: str, *, report: Report) -> Moved:
    """Copy a ledger that nobody works with into a database that holds no delivery, in one transaction.

    What is in the target is read back and compared, row for row, before it is committed.  The source is
    only read.  ``report`` is given a line for a person now and then.

    Raises:
        MoveError: A receiver works with the source, the target is not empty, or one of them failed.
        LedgerSchemaError: The source is no ledger, or one of another version.
        LedgerError: One of the URLs names no database that we know.
    """
    source, target = parse_url(source_url), parse_url(target_url)
    if source == target:
        raise MoveError(f"{_shown(source)}: is the source and the target; want two")
    with _reading(source) as reading, _writing(target) as writing:
        _check_empty(writing)
        for each in reversed(_TABLES):
            writing.run(delete(each))  # The version, and traces of no delivery.
        tallies = {each.name: _copy(each, reading, writing, report) for each in _TABLES}
        _go_on_counting(reading, writing)
        open_dispatches = writing.count(schema.dispatches.c.ended_at.is_(None))
    return Moved(
        rows={name: tally.rows for name, tally in tallies.items()},
        open_dispatches=open_dispatches,
        digest=hashlib.sha256(json.dumps([t.digest for t in tallies.values()]).encode()).hexdigest(),
    )


def _raw(name: str) -> TableClause:
    """The table with its values as they lie in the database, neither read nor written anew."""
    columns = schema.metadata.tables[name].columns
    kinds = {c.name: Boolean() if isinstance(c.type, Boolean) else None for c in columns}
    return table(name, *(column(of, kind) if kind else column(of) for of, kind in kinds.items()))


_TABLES = [_raw(each.name) for each in schema.metadata.sorted_tables]
_NUMBERED = [each.name for each in schema.metadata.sorted_tables if "seq" in each.columns]
_LOCKED = ", ".join(each.name for each in _TABLES)


@dataclass(frozen=True)
class _Side:
    """One of the two databases, inside a transaction; its errors say which of the two it was."""

    name: str
    connection: Connection

    @property
    def on_sqlite(self) -> bool:
        return self.connection.dialect.name == "sqlite"

    def run(self, statement: Any, values: Any = None) -> Any:
        with _named(self.name):
            return self.connection.execute(statement, values)

    def count(self, where: Any) -> int:
        with _named(self.name):
            counted = select(func.count()).select_from(schema.dispatches).where(where)
            return int(self.connection.scalar(counted) or 0)

    def batches(self, of: TableClause) -> Iterator[Sequence[Row[Any]]]:
        """Every row, in an order that is the same in both databases."""
        collation = "BINARY" if self.on_sqlite else "C"
        keys = schema.metadata.tables[of.name].primary_key.columns
        order = [key if key.name == "seq" else key.collate(collation) for key in keys]
        with _named(self.name):
            rows = self.connection.execute(
                select(*of.columns).order_by(*order), execution_options={"yield_per": BATCH}
            )
            yield from rows.partitions()


@contextmanager
def _named(name: str) -> Iterator[None]:
    """Say whose error it is, and that nothing was moved."""
    try:
        with ledger_errors():
            yield
    except LedgerError as error:
        raise MoveError(f"{name}: nothing was moved: {error}") from error


class _Tally:
    """How many rows went by, and what was in them."""

    def __init__(self) -> None:
        self.rows = 0
        self._hash = hashlib.sha256()

    def add(self, rows: Sequence[Row[Any]]) -> None:
        self.rows += len(rows)
        for row in rows:
            self._hash.update(json.dumps(list(row), separators=(",", ":")).encode() + b"\n")

    @property
    def digest(self) -> str:
        return self._hash.hexdigest()


def _copy(of: TableClause, source: _Side, target: _Side, report: Report) -> _Tally:
    read, written = _Tally(), _Tally()
    for number, rows in enumerate(source.batches(of), start=1):
        read.add(rows)
        target.run(insert(of), [dict(row._mapping) for row in rows])  # noqa: SLF001 - SQLAlchemy's public name
        if number % _TOLD_EVERY == 0:
            report(f"{of.name}: {read.rows} rows copied")
    for rows in target.batches(of):
        written.add(rows)
    if (read.rows, read.digest) != (written.rows, written.digest):
        raise MoveError(
            f"{target.name}: nothing was moved: {of.name}: got {written.rows} rows with digest "
            f"{written.digest[:12]}, want {read.rows} with {read.digest[:12]}"
        )
    report(f"{of.name}: {read.rows} rows copied, read back and compared")
    return read


def _check_empty(target: _Side) -> None:
    if found := int(target.run(select(func.count()).select_from(schema.deliveries)).scalar()):
        raise MoveError(f"{target.name}: holds {found} deliveries; want a database without any")


def _go_on_counting(source: _Side, target: _Side) -> None:
    """Have the target give no number that the source ever gave, that of a pruned row neither."""
    for name in _NUMBERED:
        last = source.run(_LAST_GIVEN[source.on_sqlite], {"name": name}).scalar()
        if last is not None:
            for statement in _GIVEN[target.on_sqlite]:
                target.run(statement, {"name": name, "last": last})


_SEQUENCE = "pg_get_serial_sequence(:name, 'seq')"
# By whether it is SQLite.
_LAST_GIVEN = {
    True: text("SELECT seq FROM sqlite_sequence WHERE name = :name"),
    False: text(f"SELECT pg_sequence_last_value(CAST({_SEQUENCE} AS regclass))"),
}
_GIVEN = {
    True: (
        text("DELETE FROM sqlite_sequence WHERE name = :name"),
        text("INSERT INTO sqlite_sequence (name, seq) VALUES (:name, :last)"),
    ),
    False: (text(f"SELECT setval(CAST({_SEQUENCE} AS regclass), :last)"),),
}


@contextmanager
def _reading(url: URL) -> Iterator[_Side]:
    """Open the source so that it cannot be written; it stays as it was even where a receiver had crashed."""
    name = _shown(url)
    with ExitStack() as opened:
        if url.get_backend_name() == "sqlite":
            path = Path(str(url.database)).absolute()
            if not path.is_file():
                raise MoveError(f"{name}: there is no ledger")
            _hold(path, name, opened)
            engine = _unwritable(path)
        else:
            engine = postgresql_engine(url)
        opened.callback(engine.dispose)
        with _named(name):
            connection = opened.enter_context(engine.connect())
            if connection.dialect.name == "postgresql":
                snapshot = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
                connection = connection.execution_options(**snapshot)
                _check_unused(connection, name)
            _check_version(connection, name)
        yield _Side(name, connection)


def _unwritable(path: Path) -> Engine:
    """Read with what a crash left in the log beside the file; without a log, leave no trace at all."""
    log = Path(f"{path}-wal")
    how = "mode=ro" if log.is_file() and log.stat().st_size else "immutable=1"
    address = f"file:{quote(str(path))}?{how}"
    engine = create_engine(
        "sqlite://",
        creator=lambda: sqlite3.connect(address, uri=True, isolation_level=None),
        hide_parameters=True,
    )
    event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN"))
    return engine


def _check_unused(connection: Connection, name: str) -> None:
    if not is_unused(connection):
        raise MoveError(f"{name}: nothing was moved: a receiver works with it; stop it first")


def _check_version(connection: Connection, name: str) -> None:
    try:
        schema.check_version(connection)
    except LedgerSchemaError as error:
        raise LedgerSchemaError(f"{name}: nothing was moved: {error}") from error


@contextmanager
def _writing(url: URL) -> Iterator[_Side]:
    """Open the target, made or migrated where it must be, with one transaction for all that is written."""
    name = _shown(url)
    with ExitStack() as opened:
        with _named(name):
            if url.get_backend_name() == "sqlite":
                path = Path(str(url.database)).absolute()
                create_sqlite_file(path)
                _hold(path, name, opened)
                engine = sqlite_engine(path, writes=True)
            else:
                engine = postgresql_engine(url)
            opened.callback(engine.dispose)
            schema.migrate(engine)
        with _named(name), engine.begin() as connection:
            if connection.dialect.name == "postgresql":
                connection.execute(text(f"LOCK TABLE {_LOCKED} IN EXCLUSIVE MODE"))
            yield _Side(name, connection)


def _hold(path: Path, name: str, opened: ExitStack) -> None:
    """Take the lock that a receiver holds while it works with the file."""
    try:
        opened.callback(ProcessLock.hold(Path(f"{path}.lock"), patience=0.0).release)
    except SettingsError as error:
        raise MoveError(
            f"{name}: nothing was moved; want it for us alone, so stop the receiver that uses it: {error}"
        ) from error


def _shown(url: URL) -> str:
    """The URL without its password and options."""
    return url.set(query={}).render_as_string(hide_password=True)
