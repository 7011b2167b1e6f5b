"""Statements that are put together once; on SQLite and on PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Connection, Engine, bindparam, insert, select, update
from sqlalchemy.exc import IntegrityError

from receiver.ledger.schema import migrate, rejections
from receiver.ledger.statements import Prepared, straight
from receiver.ledger.writes import create_sqlite_file, parse_url, postgresql_engine, sqlite_engine
from tests.receiver.fakes import START

KEEP = Prepared(insert(rejections).inline(), "at", "source", "address", "reason", "status")
FIND = Prepared(
    select(rejections.c.at, rejections.c.address, rejections.c.status)
    .where(rejections.c.reason == bindparam("its_reason"))
    .limit(1),
    "its_reason",
)
RENAME = Prepared(update(rejections).where(rejections.c.reason == bindparam("old")), "old", "reason")


@pytest.fixture
def connection(database_url: str) -> Iterator[Connection]:
    """A transaction in a new ledger."""
    engine = _engine(database_url)
    migrate(engine)
    with engine.begin() as connection:
        yield connection
    engine.dispose()


def _engine(database_url: str) -> Engine:
    url = parse_url(database_url)
    if url.get_backend_name() != "sqlite":
        return postgresql_engine(url)
    create_sqlite_file(Path(str(url.database)))
    return sqlite_engine(Path(str(url.database)), writes=True)


def keep(connection: Connection, reason: str) -> None:
    row = {"at": START, "source": "wandb", "address": "a\0b", "reason": reason, "status": 401}
    assert list(KEEP.run(connection, row)) == []  # An insert has no rows.


def test_the_types_of_the_columns_convert_both_ways(connection: Connection) -> None:
    """
    A time comes back as a time, and what no database holds was replaced.
    """
    keep(connection, "one")
    keep(connection, "two")

    assert [tuple(row) for row in FIND.run(connection, {"its_reason": "two"})] == [(START, "a\ufffdb", 401)]
    assert list(FIND.run(connection, {"its_reason": "three"})) == []


def test_it_is_part_of_the_transaction(connection: Connection) -> None:
    """
    What SQLAlchemy runs beside it sees it, and a savepoint takes it back.
    """
    straight(connection, "SAVEPOINT work")
    keep(connection, "one")
    assert connection.scalars(select(rejections.c.reason)).all() == ["one"]

    straight(connection, "ROLLBACK TO SAVEPOINT work")
    assert connection.scalars(select(rejections.c.reason)).all() == []


def test_an_update_takes_its_parameters_by_name(connection: Connection) -> None:
    """
    The one in the condition and the one that is set are not mixed up.
    """
    keep(connection, "one")
    RENAME.run(connection, {"old": "one", "reason": "new"})

    assert connection.scalars(select(rejections.c.reason)).all() == ["new"]


def test_a_parameter_that_is_missing_is_an_error(connection: Connection) -> None:
    """
    Nothing is written with a hole in it.
    """
    with pytest.raises((KeyError, IntegrityError)):
        KEEP.run(connection, {"at": START, "source": "wandb", "address": None, "status": 401})


def test_many_rows_are_inserted_by_one_statement(connection: Connection) -> None:
    """
    Their types convert as those of one row do; none are no statement at all.
    """
    reasons = ["one", "two", "three"]
    values = {"at": START, "source": "wandb", "address": "a\0b", "status": 401}
    KEEP.insert(connection, [])
    KEEP.insert(connection, [KEEP.row(connection.dialect, values | {"reason": one}) for one in reasons])

    kept = connection.execute(select(rejections.c.reason, rejections.c.at, rejections.c.address)).all()
    assert kept == [(one, START, "a\ufffdb") for one in reasons]
