"""The ledger's tables, the version they are at, and the way there from each earlier one."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta, timezone
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Connection,
    Dialect,
    Engine,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    and_,
    false,
    insert,
    inspect,
    select,
    text,
    true,
    update,
)
from sqlalchemy.types import TypeDecorator

from receiver.dispatch import GITHUB_KINDS, DispatchKind
from receiver.errors import LedgerSchemaError

VERSION = 3

Step = Callable[[Connection], None]

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_MICROSECOND = timedelta(microseconds=1)
_ADVISORY_LOCK = 0x48414E444F4646  # "HANDOFF": one lock for all that migrate one database.


_COMPACT = json.JSONEncoder(separators=(",", ":"), allow_nan=False)


class UtcTime(TypeDecorator[datetime]):
    """A moment, kept as whole microseconds since 1970 in UTC: exact, and ordered alike in each database."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> int | None:  # noqa: ARG002 - SQLAlchemy's signature
        """Count the microseconds; a time without its zone is a mistake of ours."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"want a time with its zone, got {value!r}")
        return (value - _EPOCH) // _MICROSECOND

    def process_result_value(self, value: int | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002 - SQLAlchemy's signature
        """Give the moment back, in UTC."""
        return None if value is None else _EPOCH + value * _MICROSECOND


class AnyText(TypeDecorator[str]):
    """Text from outside; what a database cannot hold (NUL, half a surrogate pair) becomes U+FFFD."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:  # noqa: ARG002 - SQLAlchemy's signature
        """Replace what would make the whole row fail."""
        if value is None or (value.isascii() and "\0" not in value):
            return value
        return "".join("\ufffd" if c == "\0" or "\ud800" <= c <= "\udfff" else c for c in value)


class JsonText(TypeDecorator[Any]):
    """JSON, compact, in ASCII (so that any string fits any database), its keys in the order given."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> str:  # noqa: ARG002 - SQLAlchemy's signature
        """Write it."""
        return _COMPACT.encode(value)

    def process_result_value(self, value: str | None, dialect: Dialect) -> Any:  # noqa: ARG002 - SQLAlchemy's signature
        """Read it."""
        return None if value is None else json.loads(value)


class OptionalJson(TypeDecorator[Any]):
    """JSON like that, or NULL for None."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:  # noqa: ARG002 - SQLAlchemy's signature
        """Write it."""
        return None if value is None else _COMPACT.encode(value)

    def process_result_value(self, value: str | None, dialect: Dialect) -> Any:  # noqa: ARG002 - SQLAlchemy's signature
        """Read it."""
        return None if value is None else json.loads(value)


class Span(TypeDecorator[timedelta]):
    """A length of time, kept as whole microseconds."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: timedelta | None, dialect: Dialect) -> int | None:  # noqa: ARG002 - SQLAlchemy's signature
        """Count the microseconds."""
        return None if value is None else value // _MICROSECOND

    def process_result_value(self, value: int | None, dialect: Dialect) -> timedelta | None:  # noqa: ARG002 - SQLAlchemy's signature
        """Give the length back."""
        return None if value is None else value * _MICROSECOND


# SQLite gives a row its number only where the type is plain INTEGER.
_Seq = BigInteger().with_variant(Integer, "sqlite")
# Ours, in ASCII; compared byte by byte, so that an index serves the look-up by prefix.
_Id = Text().with_variant(Text(collation="C"), "postgresql")

_DEFAULT_KIND = DispatchKind.REPOSITORY_DISPATCH.value

metadata = MetaData()

meta = Table(
    "meta",
    metadata,
    Column("name", Text, primary_key=True),
    Column("value", Text, nullable=False),
)

deliveries = Table(
    "deliveries",
    metadata,
    Column("seq", _Seq, primary_key=True),
    Column("id", _Id, nullable=False, unique=True),
    Column("source", AnyText, nullable=False),
    Column("received_at", UtcTime, nullable=False),
    Column("address", AnyText),
    Column("encoding", AnyText),
    Column("body_sha256", Text, nullable=False),
    Column("event", AnyText),
    Column("fields", JsonText, nullable=False),
    Column("slot", AnyText, nullable=False),
    Column("fingerprint", AnyText, nullable=False),
    # How often the same was told again while it was the latest of its slot, and when last.
    Column("repeats", Integer, nullable=False, server_default="0"),
    Column("last_repeat_at", UtcTime),
    # No webhook told it: it was found by comparing with W&B.
    Column("reconciled", Boolean, nullable=False, server_default=false()),
    Index("deliveries_by_slot", "slot", "seq"),
    sqlite_autoincrement=True,  # A pruned delivery's number is not given again.
)

dispatches = Table(
    "dispatches",
    metadata,
    Column("seq", _Seq, primary_key=True),
    Column("id", _Id, nullable=False, unique=True),
    Column("delivery_id", _Id, ForeignKey("deliveries.id"), nullable=False, index=True),
    Column("repository", AnyText, nullable=False),
    Column("event_type", AnyText, nullable=False),
    Column("client_payload", JsonText, nullable=False),
    Column("key", AnyText, nullable=False),
    Column("lane", AnyText, nullable=False),
    Column("accepted_at", UtcTime, nullable=False),
    Column("state", Text, nullable=False),
    # When it may be claimed: pending, its next attempt; sending, the end of the lease.  NULL once ended.
    Column("due_at", UtcTime),
    Column("ended_at", UtcTime),
    # Moves on with every claim: who holds an older one may no longer write.
    Column("fence", Integer, nullable=False),
    Column("attempts_begun", Integer, nullable=False),
    Column("attempts_used", Integer, nullable=False),
    # Attempts that may have arrived though no answer was recorded, and when the first of them began.
    Column("doubts", Integer, nullable=False),
    Column("doubt_since", UtcTime),
    Column("possibly_duplicated", Boolean, nullable=False),
    Column("reason", AnyText),
    Column("detail", AnyText),
    Column("run_url", AnyText),
    # Whether it may go before an earlier one of its slot that waits for a retry.
    Column("overtakes", Boolean, nullable=False, server_default=false()),
    # Claimants in a row that ended, or stalled, before they recorded an end.
    Column("crashes", Integer, nullable=False, server_default="0"),
    # How often a person had it sent anew, and when last.
    Column("redeliveries", Integer, nullable=False, server_default="0"),
    Column("redelivered_at", UtcTime),
    # What it is, and what its route says of it (receiver.dispatch.Dispatch).
    Column("kind", Text, nullable=False, server_default=_DEFAULT_KIND),
    Column("route", AnyText),
    Column("holds", Boolean, nullable=False, server_default=false()),
    Column("question", OptionalJson),
    Column("telling", OptionalJson),
    Column("unsendable", AnyText),
    Column("run_within", Span),
    # When it was sent, and the run that it started, as far as it is known.
    Column("sent_at", UtcTime),
    Column("run_id", BigInteger),
    Column("run_status", AnyText),
    Column("run_conclusion", AnyText),
    Column("run_looks", Integer, nullable=False, server_default="0"),
    # When its run is looked for next; NULL when it is not.
    Column("run_due_at", UtcTime),
    # What the job that it started told in the end.
    Column("report", OptionalJson),
    UniqueConstraint("repository", "key"),
    sqlite_autoincrement=True,
)

# Whatever has ended is outside these: a claim costs the same beside a thousand ended ones or a million.
_OPEN = dispatches.c.ended_at.is_(None)
_SENDING = text("state = 'sending'")
_DEAD = text("state = 'dead'")
Index("dispatches_due", dispatches.c.due_at, dispatches.c.seq, sqlite_where=_OPEN, postgresql_where=_OPEN)
Index(
    "dispatches_in_line",
    *(dispatches.c.repository, dispatches.c.lane, dispatches.c.seq),
    sqlite_where=_OPEN,
    postgresql_where=_OPEN,
)
# Apart from GitHub's, which wait for the budget and for what GitHub asks of us: the others do not.
ELSEWHERE = f"kind NOT IN ({', '.join(sorted(repr(kind.value) for kind in GITHUB_KINDS))})"
_OPEN_ELSEWHERE = and_(_OPEN, text(ELSEWHERE))
Index(
    "dispatches_elsewhere",
    *(dispatches.c.repository, dispatches.c.lane, dispatches.c.seq),
    sqlite_where=_OPEN_ELSEWHERE,
    postgresql_where=_OPEN_ELSEWHERE,
)
_FOLLOWED = dispatches.c.run_due_at.is_not(None)
Index("dispatches_followed", dispatches.c.run_due_at, sqlite_where=_FOLLOWED, postgresql_where=_FOLLOWED)
Index("dispatches_dead", dispatches.c.seq, sqlite_where=_DEAD, postgresql_where=_DEAD)
# The guard of "one at a time per repository", whoever claims.
Index(
    "dispatches_sending",
    dispatches.c.repository,
    unique=True,
    sqlite_where=_SENDING,
    postgresql_where=_SENDING,
)

attempts = Table(
    "attempts",
    metadata,
    Column("seq", _Seq, primary_key=True),
    Column("dispatch_id", _Id, ForeignKey("dispatches.id"), nullable=False),
    Column("number", Integer, nullable=False),
    Column("started_at", UtcTime, nullable=False),
    Column("ended_at", UtcTime),
    Column("outcome", Text),
    Column("reason", AnyText),
    Column("detail", AnyText),
    Column("status", Integer),
    # Whether it is one of those that GitHub's limits are about.
    Column("counts_for_github", Boolean, nullable=False, server_default=true()),
    UniqueConstraint("dispatch_id", "number"),
    sqlite_autoincrement=True,
)

COUNTS_FOR_GITHUB = text("counts_for_github")
Index(
    "attempts_by_start",
    attempts.c.started_at,
    sqlite_where=COUNTS_FOR_GITHUB,
    postgresql_where=COUNTS_FOR_GITHUB,
)

# What gets nothing for now: a repository that keeps failing, or all that our credential reaches.
pauses = Table(
    "pauses",
    metadata,
    Column("scope", AnyText, primary_key=True),
    Column("until", UtcTime),  # NULL: it failed, but not often enough yet.
    Column("failures", Integer, nullable=False),
    Column("reason", AnyText, nullable=False),
)

rejections = Table(
    "rejections",
    metadata,
    Column("seq", _Seq, primary_key=True),
    Column("at", UtcTime, nullable=False),
    Column("source", AnyText, nullable=False),
    Column("address", AnyText),
    Column("reason", AnyText, nullable=False),
    Column("status", Integer, nullable=False),
    sqlite_autoincrement=True,
)

# What carried the alias when a route was last compared with W&B; the artifact is empty where nothing did.
reconciled = Table(
    "reconciled",
    metadata,
    Column("route", AnyText, primary_key=True),
    Column("collection", AnyText, primary_key=True),
    Column("alias", AnyText, primary_key=True),
    Column("artifact_id", AnyText, nullable=False),
    Column("at", UtcTime, nullable=False),
)

# Aliases and tags that a job of ours announced: until then, what W&B tells of them starts nothing.
marks = Table(
    "marks",
    metadata,
    Column("artifact_id", AnyText, primary_key=True),
    Column("collection", AnyText, primary_key=True),
    Column("name", AnyText, primary_key=True),
    Column("until", UtcTime, nullable=False),
)


def _to_2(connection: Connection) -> None:
    """Repeats, overtaking, crashes, redeliveries, pauses; and the indexes that they need."""
    for statement in (
        "ALTER TABLE deliveries ADD COLUMN repeats INTEGER NOT NULL DEFAULT 0",
        "ALTER TABLE deliveries ADD COLUMN last_repeat_at BIGINT",
        "DROP INDEX deliveries_by_fingerprint",
        "ALTER TABLE dispatches ADD COLUMN overtakes BOOLEAN NOT NULL DEFAULT FALSE",
        "ALTER TABLE dispatches ADD COLUMN crashes INTEGER NOT NULL DEFAULT 0",
        "ALTER TABLE dispatches ADD COLUMN redeliveries INTEGER NOT NULL DEFAULT 0",
        "ALTER TABLE dispatches ADD COLUMN redelivered_at BIGINT",
        "DROP INDEX dispatches_lane",
        "CREATE INDEX dispatches_in_line ON dispatches (repository, lane, seq) WHERE ended_at IS NULL",
        "CREATE INDEX dispatches_dead ON dispatches (seq) WHERE state = 'dead'",
        "CREATE INDEX attempts_by_start ON attempts (started_at)",
        (
            "CREATE TABLE pauses (scope TEXT PRIMARY KEY NOT NULL, until BIGINT,"
            " failures INTEGER NOT NULL, reason TEXT NOT NULL)"
        ),
    ):
        connection.execute(text(statement))


def _to_3(connection: Connection) -> None:
    """Routes: kinds of dispatches, runs followed, reports; what was compared, and what we marked."""
    others = "kind NOT IN ('repository_dispatch', 'workflow_dispatch')"
    for statement in (
        "ALTER TABLE deliveries ADD COLUMN reconciled BOOLEAN NOT NULL DEFAULT FALSE",
        "ALTER TABLE dispatches ADD COLUMN kind TEXT NOT NULL DEFAULT 'repository_dispatch'",
        "ALTER TABLE dispatches ADD COLUMN route TEXT",
        "ALTER TABLE dispatches ADD COLUMN holds BOOLEAN NOT NULL DEFAULT FALSE",
        "ALTER TABLE dispatches ADD COLUMN question TEXT",
        "ALTER TABLE dispatches ADD COLUMN telling TEXT",
        "ALTER TABLE dispatches ADD COLUMN unsendable TEXT",
        "ALTER TABLE dispatches ADD COLUMN run_within BIGINT",
        "ALTER TABLE dispatches ADD COLUMN sent_at BIGINT",
        "ALTER TABLE dispatches ADD COLUMN run_id BIGINT",
        "ALTER TABLE dispatches ADD COLUMN run_status TEXT",
        "ALTER TABLE dispatches ADD COLUMN run_conclusion TEXT",
        "ALTER TABLE dispatches ADD COLUMN run_looks INTEGER NOT NULL DEFAULT 0",
        "ALTER TABLE dispatches ADD COLUMN run_due_at BIGINT",
        "ALTER TABLE dispatches ADD COLUMN report TEXT",
        (
            "CREATE INDEX dispatches_elsewhere ON dispatches (repository, lane, seq)"
            f" WHERE ended_at IS NULL AND {others}"
        ),
        "CREATE INDEX dispatches_followed ON dispatches (run_due_at) WHERE run_due_at IS NOT NULL",
        "ALTER TABLE attempts ADD COLUMN counts_for_github BOOLEAN NOT NULL DEFAULT TRUE",
        "DROP INDEX attempts_by_start",
        "CREATE INDEX attempts_by_start ON attempts (started_at) WHERE counts_for_github",
        (
            "CREATE TABLE reconciled (route TEXT NOT NULL, collection TEXT NOT NULL, alias TEXT NOT NULL,"
            " artifact_id TEXT NOT NULL, at BIGINT NOT NULL, PRIMARY KEY (route, collection, alias))"
        ),
        (
            "CREATE TABLE marks (artifact_id TEXT NOT NULL, collection TEXT NOT NULL, name TEXT NOT NULL,"
            " until BIGINT NOT NULL, PRIMARY KEY (artifact_id, collection, name))"
        ),
    ):
        connection.execute(text(statement))


# From a version to the next.  A ledger that is new gets the tables above at once and takes no step.
STEPS: Mapping[int, Step] = {1: _to_2, 2: _to_3}

_VERSION_ROW = "handoff-schema-version"
CHECKED_ROW = "last-write-check"


def migrate(engine: Engine, *, version: int = VERSION, steps: Mapping[int, Step] = STEPS) -> None:
    """Bring the ledger to ``version``, all or nothing, one process at a time.

    Raises:
        LedgerSchemaError: It is newer than we are, or no ledger at all; it is left as it was.
    """
    with engine.begin() as connection:  # On SQLite that is BEGIN IMMEDIATE: the lock.
        if connection.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ADVISORY_LOCK})
        _bring_to(connection, version, steps)


def check_version(connection: Connection) -> None:
    """Raise LedgerSchemaError unless the ledger is at the version that we read and write."""
    found = _version(connection)
    if found != VERSION:
        raise _newer(found, VERSION) if found > VERSION else _older(found)


def _bring_to(connection: Connection, version: int, steps: Mapping[int, Step]) -> None:
    if not inspect(connection).get_table_names():
        metadata.create_all(connection)
        rows = [{"name": _VERSION_ROW, "value": str(version)}, {"name": CHECKED_ROW, "value": ""}]
        connection.execute(insert(meta), rows)
        return
    found = _version(connection)
    if found > version:
        raise _newer(found, version)
    for step in range(found, version):
        steps[step](connection)
    if found < version:
        connection.execute(update(meta).where(meta.c.name == _VERSION_ROW).values(value=str(version)))


def _version(connection: Connection) -> int:
    inspector = inspect(connection)
    if not inspector.has_table("meta") or {c["name"] for c in inspector.get_columns("meta")} != {
        "name",
        "value",
    }:
        raise _no_ledger("it holds other tables, or none")
    found = connection.scalar(select(meta.c.value).where(meta.c.name == _VERSION_ROW))
    if found is None or not found.isdecimal():
        raise _no_ledger(f"its table meta has {found!r} as {_VERSION_ROW}")
    return int(found)


def _no_ledger(why: str) -> LedgerSchemaError:
    return LedgerSchemaError(
        f"HANDOFF_DATABASE_URL does not name a ledger of Handoff ({why}). It was left as it is: "
        "name an empty database, or a file that does not exist yet."
    )


def _newer(found: int, version: int) -> LedgerSchemaError:
    return LedgerSchemaError(
        f"the ledger has schema version {found}, this Handoff knows versions up to {version}. "
        "It was left as it is: run the newer Handoff that wrote it, or restore a copy from before."
    )


def _older(found: int) -> LedgerSchemaError:
    return LedgerSchemaError(
        f"the ledger has schema version {found}, want {VERSION}: start `handoff serve`, it brings it there."
    )
