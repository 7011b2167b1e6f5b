"""What the tests of faults run on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults import databases


@pytest.fixture(scope="session")
def faulty_postgresql() -> Iterator[str]:
    """A PostgreSQL for these tests."""
    with databases.postgresql_server() as server:
        yield server


@pytest.fixture
def postgresql_url(faulty_postgresql: str) -> str:
    """An empty database on PostgreSQL."""
    return databases.new_postgresql(faulty_postgresql)


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database of each kind."""
    if request.param == "sqlite":
        return databases.new_sqlite(tmp_path)
    url: str = request.getfixturevalue("postgresql_url")
    return url
