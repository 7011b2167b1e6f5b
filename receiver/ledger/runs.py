"""The runs that dispatches started: which are looked for, and what is known of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, bindparam, func, select, text, update

from receiver.dispatch import Dispatch
from receiver.ledger.accepts import keep_notices
from receiver.ledger.records import dispatch_of
from receiver.ledger.schema import UtcTime, dispatches
from receiver.run import COMPLETED, Look, Run, Watch, looked
from receiver.telling import after_look

_DUE_AT = dispatches.c.run_due_at
_TAKEN_FOR = timedelta(seconds=30)  # A look takes some seconds.


def watches(now: datetime, limit: int, connection: Connection) -> list[Watch]:
    """Take the dispatches whose run is to be looked for now, the longest due first.

    For half a minute nobody else takes them, so that several receivers ask GitHub once; who takes them and
    dies leaves them to the others then.
    """
    rows = connection.execute(_WATCHES, {"now": now, "most": limit}).all()
    if rows:
        taken = {"taken": [row.seq for row in rows], "until": now + _TAKEN_FOR}
        connection.execute(_TAKE, taken)
    return [_watch(row) for row in rows]


def next_look(connection: Connection) -> datetime | None:
    """Tell when the next look is due; None when none is."""
    due: datetime | None = connection.scalar(_NEXT)
    return due


def record_look(watch: Watch, look: Look, notices: Sequence[Dispatch], connection: Connection) -> bool:
    """Write down what a look came to, and have the notices sent; False where others did meanwhile."""
    run = look.run
    known = {
        "run_status": look.status,
        "run_looks": look.looks,
        "run_due_at": look.next_at,
        "run_id": None if run is None else run.id,
        "run_conclusion": None if run is None else run.conclusion,
    }
    if run is not None:
        known["run_url"] = run.url
    if not _write(watch, known, connection):
        return False
    keep_notices(notices, connection)
    return True


def postpone_look(watch: Watch, until: datetime | None, connection: Connection) -> None:
    """Look again then, or never, unless somebody else knows more by now."""
    _write(watch, {"run_due_at": until}, connection)


def record_run(repository: str, run: Run, now: datetime, connection: Connection) -> list[tuple[Watch, Look]]:
    """Write down what GitHub tells of a run, for the dispatches whose key it shows; tell what was news.

    It may be told twice, late and in any order: what has ended stays ended, though a job that is run again
    may end otherwise.
    """
    told = []
    for row in _with_keys(sorted(run.keys), connection):
        if row.repository.lower() != repository.lower() or row.sent_at is None or row.run_within is None:
            continue
        watch = _watch(row)
        look = looked(watch, run, now)
        if not _adds(watch, look):
            continue
        notices = after_look(watch.dispatch, look, now) if look.news(watch) else ()
        if record_look(watch, look, notices, connection):
            told.append((watch, look))
    return told


def with_key(key: str, connection: Connection) -> Sequence[Row[Any]]:
    """Return the dispatches that have this key, wherever they go."""
    return _with_keys([key], connection)


def _adds(watch: Watch, look: Look) -> bool:
    """Whether the look, of a run that was told of, is more than what is known."""
    if watch.run is None or look.run is None or watch.status is None:
        return True
    if watch.run.id != look.run.id:
        return False  # Another workflow shows the same key: the first one that was seen is followed.
    if watch.status == COMPLETED:
        return look.status == COMPLETED and look.run.conclusion != watch.run.conclusion
    return look.status != watch.status


def _watch(row: Row[Any]) -> Watch:
    return Watch(dispatch_of(row), row.sent_at, _run(row), row.run_status, row.run_looks)


def _run(row: Row[Any]) -> Run | None:
    """The run as far as it is known; its title is not kept, for it has the key and nothing else to tell."""
    if row.run_id is None:
        return None
    return Run(row.run_id, row.run_url or "", row.run_status or "queued", row.run_conclusion, "")


def _write(watch: Watch, values: dict[str, Any], connection: Connection) -> bool:
    """Change what is as it was looked at, and nothing else."""
    seen = {
        "its_id": watch.dispatch.id,
        "seen_sent_at": watch.sent_at,
        "seen_run": None if watch.run is None else watch.run.id,
        "seen_status": watch.status,
        "seen_looks": watch.looks,
    }
    return connection.execute(_UPDATE_SEEN, seen | values).rowcount == 1


def _with_keys(keys: Iterable[str], connection: Connection) -> Sequence[Row[Any]]:
    """Find them in the index of repositories and keys, a repository at a step."""
    found = [row for key in keys for row in connection.execute(_WITH_KEY, {"its_key": key})]
    return sorted(found, key=lambda row: row.seq)


def _same(column: ColumnElement[Any], name: str) -> ColumnElement[bool]:
    return column.is_not_distinct_from(bindparam(name, type_=column.type))


_WATCHES = (
    select(dispatches)
    .where(_DUE_AT.is_not(None), bindparam("now", type_=UtcTime) >= _DUE_AT)
    .order_by(_DUE_AT, dispatches.c.seq)
    .limit(bindparam("most"))
    .with_for_update(skip_locked=True)
)
_TAKE = (
    update(dispatches)
    .where(dispatches.c.seq.in_(bindparam("taken", expanding=True)))
    .values(run_due_at=bindparam("until", type_=UtcTime))
)
_NEXT = select(func.min(_DUE_AT)).where(_DUE_AT.is_not(None))
_UPDATE_SEEN = update(dispatches).where(
    dispatches.c.id == bindparam("its_id"),
    _same(dispatches.c.sent_at, "seen_sent_at"),
    _same(dispatches.c.run_id, "seen_run"),
    _same(dispatches.c.run_status, "seen_status"),
    dispatches.c.run_looks == bindparam("seen_looks"),
)
_WITH_KEY = select(dispatches).where(
    dispatches.c.seq.in_(
        text("""
WITH RECURSIVE repositories (name) AS (
    SELECT min(repository) FROM dispatches
    UNION ALL
    SELECT (SELECT min(repository) FROM dispatches WHERE repository > name)
    FROM repositories WHERE name IS NOT NULL
)
SELECT seq FROM repositories JOIN dispatches ON repository = name AND key = :its_key
""").columns(dispatches.c.seq)
    )
)
