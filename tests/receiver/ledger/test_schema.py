"""The ledger's tables, the version they are at, and the way there."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Connection, Engine, insert, inspect, select, text
from sqlalchemy.dialects.sqlite import dialect as sqlite_dialect

from receiver.budget import Budget
from receiver.delivery import DispatchState
from receiver.dispatch import DispatchKind
from receiver.errors import LedgerError, LedgerSchemaError
from receiver.ledger import Ledger, schema
from receiver.ledger.schema import AnyText, JsonText, OptionalJson, Span, UtcTime, meta, metadata, migrate
from receiver.ledger.writes import create_sqlite_file, parse_url, postgresql_engine, sqlite_engine
from tests.receiver.fakes import START

SQLITE = sqlite_dialect()
LEDGERS = Path(__file__).parent / "ledgers"  # As earlier versions made them.


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    """An engine on an empty database, as the ledger opens it."""
    url = parse_url(database_url)
    if url.get_backend_name() == "sqlite":
        create_sqlite_file(Path(str(url.database)))
        opened = sqlite_engine(Path(str(url.database)), writes=True)
    else:
        opened = postgresql_engine(url)
    yield opened
    opened.dispose()


def version_of(engine: Engine) -> str:
    with engine.connect() as connection:
        return str(connection.scalar(select(meta.c.value).where(meta.c.name == "handoff-schema-version")))


def add_a_column(connection: Connection) -> None:
    connection.execute(text("ALTER TABLE deliveries ADD COLUMN mood TEXT"))


def add_a_column_and_fail(connection: Connection) -> None:
    add_a_column(connection)
    raise RuntimeError


@given(
    st.datetimes(
        datetime(1900, 1, 1),  # noqa: DTZ001 - the zone comes with timezones
        datetime(9000, 1, 1),  # noqa: DTZ001 - as above
        timezones=st.just(timezone(timedelta(hours=5, minutes=30))),
    )
)
def test_a_moment_survives_exactly(moment: datetime) -> None:
    """
    To the microsecond, before 1970 too, whatever its zone.
    """
    kept = UtcTime().process_bind_param(moment, SQLITE)
    back = UtcTime().process_result_value(kept, SQLITE)

    assert back == moment
    assert back is not None
    assert back.tzinfo is timezone.utc


def test_a_time_without_its_zone_is_refused() -> None:
    """
    Whoever forgets the zone hears of it at once, not at the next change of the clocks.
    """
    with pytest.raises(ValueError, match="want a time with its zone"):
        UtcTime().process_bind_param(datetime(2026, 3, 1), SQLITE)  # noqa: DTZ001 - the mistake under test


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists))
def test_json_survives_any_string(value: object) -> None:
    """
    NUL and half surrogate pairs too, which no text column takes as they are.
    """
    kept = JsonText().process_bind_param(value, SQLITE)

    assert kept.isascii()
    assert JsonText().process_result_value(kept, SQLITE) == value


@given(st.timedeltas())
def test_a_length_of_time_survives_exactly(span: timedelta) -> None:
    """
    To the microsecond, whichever way it goes.
    """
    kept = Span().process_bind_param(span, SQLITE)

    assert Span().process_result_value(kept, SQLITE) == span


def test_nothing_is_nothing() -> None:
    """
    What may be missing is NULL in the database, where it is looked for as such.
    """
    for kind in (Span(), OptionalJson()):
        assert kind.process_bind_param(None, SQLITE) is None
        assert kind.process_result_value(None, SQLITE) is None


def test_json_keeps_the_order_of_keys() -> None:
    """
    What is sent reads as it was planned.
    """
    assert JsonText().process_bind_param({"zeta": 1, "alpha": 2}, SQLITE) == '{"zeta":1,"alpha":2}'


@pytest.mark.parametrize(
    ("given_text", "kept"),
    [
        ("plain", "plain"),
        ("Größe 🚀", "Größe 🚀"),
        ("a\0b", "a\ufffdb"),
        ("\ud800x", "\ufffdx"),
        (None, None),
    ],
    ids=["ascii", "unicode", "nul", "surrogate", "none"],
)
def test_text_that_no_database_holds_is_replaced(given_text: str | None, kept: str | None) -> None:
    """
    A name with NUL in it must not make a delivery impossible to keep.
    """
    assert AnyText().process_bind_param(given_text, SQLITE) == kept


def test_an_empty_database_gets_every_table(engine: Engine) -> None:
    """
    One migration makes all of it, and says at which version.
    """
    migrate(engine)

    assert set(inspect(engine).get_table_names()) == set(metadata.tables)
    assert version_of(engine) == str(schema.VERSION)


def test_migrating_again_changes_nothing(engine: Engine) -> None:
    """
    Every start migrates; what is there stays.
    """
    migrate(engine)
    with engine.begin() as connection:
        connection.execute(insert(meta).values(name="mark", value="kept"))

    migrate(engine)

    with engine.connect() as connection:
        assert connection.scalar(select(meta.c.value).where(meta.c.name == "mark")) == "kept"


def test_many_that_start_at_once_make_one_ledger(database_url: str) -> None:
    """
    Eight that open an empty database at the same moment all get the same ledger (C4).
    """

    def start(_: int) -> int:
        with Ledger.open(database_url) as ledger:
            ledger.check_writable()
            return ledger.open_count()

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(start, range(8))) == [0] * 8


def test_an_older_ledger_takes_each_step(engine: Engine) -> None:
    """
    From version 1 to 3, one step after the other, in one go.
    """
    migrate(engine, version=1)
    steps: list[int] = []

    def second(_: Connection) -> None:
        steps.append(2)

    migrate(engine, version=3, steps={1: add_a_column, 2: second})

    assert version_of(engine) == "3"
    assert steps == [2]
    assert "mood" in {column["name"] for column in inspect(engine).get_columns("deliveries")}


def test_a_step_that_fails_leaves_the_ledger_as_it_was(engine: Engine) -> None:
    """
    A migration is whole or not at all.
    """
    migrate(engine, version=1)

    with pytest.raises(RuntimeError):
        migrate(engine, version=2, steps={1: add_a_column_and_fail})

    assert version_of(engine) == "1"
    assert "mood" not in {column["name"] for column in inspect(engine).get_columns("deliveries")}


def make_old(engine: Engine, version: int) -> None:
    """Make a ledger as that version made it, with rows of its time."""
    with engine.begin() as connection:
        for name in (f"v{version}-{engine.dialect.name}", f"v{version}-rows"):
            for statement in (LEDGERS / f"{name}.sql").read_text(encoding="utf-8").split(";\n"):
                connection.exec_driver_sql(statement)


def shape(engine: Engine) -> dict[str, object]:
    """Return all that decides how a ledger behaves: columns, keys, indexes."""
    inspector = inspect(engine)
    shown: dict[str, object] = {}
    for table in inspector.get_table_names():
        columns = [
            (
                c["name"],
                str(c["type"]),
                c["nullable"],
                str(c["default"]).strip("'").lower().replace("false", "0").replace("true", "1"),
            )
            for c in inspector.get_columns(table)
        ]
        shown[table] = (
            [column for column in columns if column[0] != "seq"],
            inspector.get_pk_constraint(table)["constrained_columns"],
            sorted(c["column_names"] for c in inspector.get_unique_constraints(table)),
            sorted(map(_index, inspector.get_indexes(table))),
            [(c["constrained_columns"], c["referred_table"]) for c in inspector.get_foreign_keys(table)],
        )
    return shown


def _index(found: Any) -> str:
    """All that decides which rows an index serves, and how."""
    where = {str(told) for name, told in found["dialect_options"].items() if name.endswith("_where")}
    return str((found["name"], found["column_names"], found["unique"], where))


@pytest.mark.parametrize("version", [1, 2])
def test_an_old_ledger_becomes_one_of_today(
    database_url: str, engine: Engine, tmp_path: Path, request: pytest.FixtureRequest, version: int
) -> None:
    """
    It has the tables and indexes of a new one, and every row that it had.
    """
    make_old(engine, version)
    with Ledger.open(database_url) as ledger:
        old2, old1 = ledger.deliveries()
        (rejected,) = ledger.rejections()

    if engine.dialect.name == "sqlite":
        new_url = f"sqlite:///{tmp_path / 'new.db'}"
    else:
        new_url = request.getfixturevalue("new_postgresql")()
    with Ledger.open(new_url) as new:
        assert shape(engine) == shape(new._reads)
    assert version_of(engine) == str(schema.VERSION)
    repeated = (0, None) if version == 1 else (2, START + timedelta(seconds=20))
    assert (old1.id, old1.repeats, old1.last_repeat_at, dict(old1.fields)) == (
        "old1",
        *repeated,
        {"alias": "production"},
    )
    states = [
        (one.state, one.redeliveries, len(one.attempts), one.kind, one.route, one.run_status, one.report)
        for one in (*old1.dispatches, *old2.dispatches)
    ]
    plain = (DispatchKind.REPOSITORY_DISPATCH, None, None, None)
    assert states == [
        (DispatchState.SENT, 0, 2, *plain),
        (DispatchState.DEAD, 0, 1, *plain),
        (DispatchState.PENDING, version - 1, 1, *plain),
        (DispatchState.SENDING, 0, 1, *plain),
    ]
    assert (old1.reconciled, old1.unrouted) == (False, False)
    assert rejected.reason == "unauthorized"


@pytest.mark.parametrize("version", [1, 2])
def test_what_an_old_version_left_open_is_sent_by_today(
    database_url: str, engine: Engine, version: int
) -> None:
    """
    What waited goes when it is due; what was being sent is taken over as unanswered; attempts count on.
    """
    make_old(engine, version)
    budget = Budget.parse("6/h")
    with Ledger.open(database_url, budget=budget) as ledger:
        assert ledger.closed_until(START + timedelta(minutes=2)) is None
    with Ledger.open(database_url, budget=Budget.parse("5/h")) as ledger:
        assert ledger.closed_until(START + timedelta(minutes=2)) == START + timedelta(hours=1)
    with Ledger.open(database_url) as ledger:
        claims = [ledger.claim(START + timedelta(days=1), timedelta(seconds=60)) for _ in range(3)]

    assert [claim and (claim.dispatch.id, claim.attempt, claim.doubts) for claim in claims] == [
        ("old2-1", 2, 0),
        ("old2-2", 2, 1),
        None,
    ]


def test_a_newer_ledger_is_refused(database_url: str, engine: Engine) -> None:
    """
    An old Handoff does not touch what a newer one wrote, and says what to do (C5).
    """
    newer = schema.VERSION + 1
    migrate(engine, version=newer)

    with pytest.raises(
        LedgerSchemaError, match=rf"has schema version {newer}, .* up to {newer - 1}\..*newer Handoff"
    ):
        Ledger.open(database_url)
    with pytest.raises(LedgerSchemaError, match="newer Handoff"):
        Ledger.read_only(database_url)

    assert version_of(engine) == str(newer)


def test_an_older_ledger_cannot_be_looked_at_before_it_is_migrated(database_url: str, engine: Engine) -> None:
    """
    Looking migrates nothing; it says who does.
    """
    migrate(engine, version=0)

    with pytest.raises(LedgerSchemaError, match=r"has schema version 0, want 3: .*handoff serve"):
        Ledger.read_only(database_url)

    assert version_of(engine) == "0"


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TABLE recipes (name TEXT)",
        "CREATE TABLE meta (id INTEGER)",
        "CREATE TABLE meta (name TEXT, value TEXT)",
    ],
    ids=["other-tables", "another-meta", "meta-without-version"],
)
def test_a_database_of_something_else_is_refused(database_url: str, engine: Engine, statement: str) -> None:
    """
    Handoff makes no tables among somebody else's.
    """
    with engine.begin() as connection:
        connection.execute(text(statement))
    before = inspect(engine).get_table_names()

    with pytest.raises(LedgerSchemaError, match=r"does not name a ledger.*left as it is"):
        Ledger.open(database_url)

    assert inspect(engine).get_table_names() == before


def test_a_file_that_is_no_database_is_refused_and_left(sqlite_url: str, tmp_path: Path) -> None:
    """
    A path that was mistyped costs nobody a file (C5).
    """
    file = tmp_path / "handoff.db"
    file.write_bytes(b"Dear diary, " * 1000)

    with pytest.raises(LedgerSchemaError, match=r"handoff\.db is not a ledger of Handoff"):
        Ledger.open(sqlite_url)

    assert file.read_bytes() == b"Dear diary, " * 1000


def test_a_truncated_ledger_is_an_error_of_ours(sqlite_url: str, tmp_path: Path) -> None:
    """
    A damaged file is told of in our words, with no traceback of the driver's (C5).
    """
    Ledger.open(sqlite_url).close()
    file = tmp_path / "handoff.db"
    file.write_bytes(file.read_bytes()[:5000])

    with pytest.raises((LedgerError, LedgerSchemaError)):
        Ledger.open(sqlite_url)


def test_the_file_is_ours_alone_and_in_wal_mode(sqlite_url: str, tmp_path: Path) -> None:
    """
    Nobody else on the machine reads who promoted what; readers do not hold up the writer.
    """
    Ledger.open(sqlite_url).close()

    assert (tmp_path / "handoff.db").stat().st_mode & 0o777 == 0o600
    with closing(sqlite3.connect(tmp_path / "handoff.db")) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
