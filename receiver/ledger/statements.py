"""Statements that every delivery needs: put together once, and on SQLite handed straight to its driver."""

from __future__ import annotations

import sqlite3
from collections import namedtuple
from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from typing import Any, NamedTuple

from sqlalchemy import Connection, Dialect, Insert, Select, Update

Convert = Callable[[Any], Any]
# As a driver takes it: SQLite's in the order of the placeholders, PostgreSQL's by name.
Row = Any


class Prepared:
    """One statement of SQLAlchemy Core with the names of its parameters.

    SQLAlchemy spends several times as long on handing a statement over as SQLite on running it; what
    happens for each delivery skips that.  The types of the columns convert as they always do.
    """

    def __init__(self, statement: Insert | Update | Select[Any], *names: str) -> None:
        self._statement = statement
        self._names = list(names)
        self._sqlite: _Compiled | None = None

    def run(self, connection: Connection, values: Mapping[str, Any]) -> Sequence[Any]:
        """Run it, and return its rows, which have their columns by name too; none where it returns none."""
        driver: object = connection.connection.dbapi_connection
        if isinstance(driver, sqlite3.Connection):
            return self._straight(driver, connection.dialect, values)
        result = connection.execute(self._statement, values)
        return result.all() if result.returns_rows else ()

    def row(self, dialect: Dialect, values: Mapping[str, Any]) -> Row:
        """The values as ``insert`` takes them, converted by whoever calls and not by whoever writes."""
        if dialect.name != "sqlite":
            return values
        return self._compiled(dialect).bound(values)

    def insert(self, connection: Connection, rows: Sequence[Row]) -> None:
        """Insert them all by one statement, which is one step for the database."""
        driver: object = connection.connection.dbapi_connection
        if not rows:
            return
        if not isinstance(driver, sqlite3.Connection):
            connection.execute(self._statement, rows if len(rows) > 1 else rows[0])  # One is cheaper as one.
            return
        one, values, placeholders = self._compiled(connection.dialect).sql.rpartition(" VALUES ")
        all_of_them = ", ".join([placeholders] * len(rows))
        driver.execute(f"{one}{values}{all_of_them}", [*chain.from_iterable(rows)])

    def _straight(
        self, driver: sqlite3.Connection, dialect: Dialect, values: Mapping[str, Any]
    ) -> Sequence[Any]:
        compiled = self._compiled(dialect)
        return [
            compiled.named(
                *(
                    value if convert is None else convert(value)
                    for convert, value in zip(compiled.columns, row, strict=True)
                )
            )
            for row in driver.execute(compiled.sql, compiled.bound(values))
        ]

    def _compiled(self, dialect: Dialect) -> _Compiled:
        compiled = self._sqlite = self._sqlite or _compile(self._statement, self._names, dialect)
        return compiled


class _Compiled(NamedTuple):
    sql: str
    constants: Mapping[str, Any]
    binds: Sequence[tuple[str, Convert | None]]
    columns: Sequence[Convert | None]
    named: Callable[..., Any]

    def bound(self, values: Mapping[str, Any]) -> list[Any]:
        """The values in the order of the placeholders, as the driver takes them."""
        given = {**self.constants, **values} if self.constants else values
        return [given[name] if convert is None else convert(given[name]) for name, convert in self.binds]


def _compile(statement: Insert | Update | Select[Any], names: list[str], dialect: Dialect) -> _Compiled:
    compiled = statement.compile(dialect=dialect, column_keys=names)
    binds = [compiled.binds[name] for name in compiled.positiontup or ()]
    chosen = statement.selected_columns if isinstance(statement, Select) else ()
    return _Compiled(
        str(compiled),
        {bind.key: bind.value for bind in binds if bind.key not in names},
        [(bind.key, bind.type.bind_processor(dialect)) for bind in binds],
        [column.type.result_processor(dialect, None) for column in chosen],
        namedtuple("Row", [column.key or "" for column in chosen], rename=True),  # noqa: PYI024 - known only here
    )


def straight(connection: Connection, sql: str) -> None:
    """Run what has neither parameters nor rows."""
    driver: object = connection.connection.dbapi_connection
    if isinstance(driver, sqlite3.Connection):
        driver.execute(sql)
    else:
        connection.exec_driver_sql(sql)
