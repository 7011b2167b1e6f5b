"""What gets nothing for now: who keeps failing or asked us to wait; of GitHub's all, while GitHub did."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, bindparam, delete, func, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite

from receiver.dispatch import GITHUB_KINDS, Dispatch, Outcome, OutcomeKind, Pause
from receiver.ledger.schema import UtcTime, dispatches, pauses
from receiver.ledger.statements import Prepared
from receiver.retry import THROTTLE_LONGEST, throttled_for

EVERYTHING = "*"  # The scope of all that our credential for GitHub reaches; a repository's has a slash.
FAILURES = 5  # So many in a row, and a destination is paused.
SHORTEST = timedelta(seconds=30)
LONGEST = timedelta(minutes=10)


def pause_after(failures: int) -> timedelta | None:
    """Return how long a repository is left alone after so many failures in a row."""
    if failures < FAILURES:
        return None
    doubled: int = 2 ** min(failures - FAILURES, 10)
    return min(SHORTEST * doubled, LONGEST)


def learn(dispatch: Dispatch, outcome: Outcome, now: datetime, connection: Connection) -> None:
    """Begin, lengthen or end a pause, as the outcome of an attempt tells."""
    repository = dispatch.repository
    if outcome.kind is OutcomeKind.THROTTLED:
        scope = EVERYTHING if dispatch.kind in GITHUB_KINDS else repository
        _extend(scope, outcome, now + throttled_for(outcome), connection)
    elif outcome.kind in {OutcomeKind.RETRY, OutcomeKind.AMBIGUOUS}:
        _count_failure(repository, outcome, now, connection)
    elif outcome.kind is OutcomeKind.SENT or outcome.status is not None:  # It answers.
        connection.execute(_CLOSE, {"its_scope": repository})


def listed(connection: Connection) -> list[Pause]:
    """Return every pause that was begun and not closed, also where its time is over; the longest first."""
    rows = connection.execute(
        select(pauses).where(pauses.c.until.is_not(None)).order_by(pauses.c.until.desc())
    )
    return [Pause(row.scope, row.until, row.failures, row.reason) for row in rows]


def everything_until(connection: Connection) -> datetime | None:
    """Tell how long GitHub asked us to send nothing at all."""
    rows = _EVERYTHING.run(connection, {})
    until: datetime | None = rows[0][0] if rows else None
    return until


def next_end(connection: Connection, now: datetime) -> datetime | None:
    """Tell when the first pause ends of a repository for which something waits."""
    end: datetime | None = connection.scalar(_NEXT_END, {"now": now})
    return end


def mend(now: datetime, connection: Connection) -> int:
    """End what lies further ahead than any pause does, and tell how many did."""
    too_far = max(LONGEST, THROTTLE_LONGEST)
    return connection.execute(_MEND, {"latest": now + too_far, "until": now}).rowcount


def is_paused(repository: ColumnElement[str]) -> ColumnElement[bool]:
    """Whether that repository is left alone at ``now``."""
    paused = select(pauses.c.scope).where(pauses.c.scope == repository, pauses.c.until > _NOW)
    return paused.exists()


def _count_failure(repository: str, outcome: Outcome, now: datetime, connection: Connection) -> None:
    # Nobody else counts for this repository meanwhile: it gets one at a time, and this one was it.
    failures = 1 + (connection.scalar(_FAILURES, {"its_scope": repository}) or 0)
    wait = pause_after(failures)
    row = {"scope": repository, "failures": failures, "until": None if wait is None else now + wait}
    _keep(row | {"reason": outcome.reason}, connection, ("failures", "until", "reason"))


def _extend(scope: str, outcome: Outcome, until: datetime, connection: Connection) -> None:
    row = {"scope": scope, "failures": int(scope == EVERYTHING), "until": until, "reason": outcome.reason}
    _keep(row, connection, ("until", "reason"), only_later=True)


def _keep(
    row: Mapping[str, Any], connection: Connection, changed: tuple[str, ...], *, only_later: bool = False
) -> None:
    """Insert the pause, or change the one that is there."""
    of_dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    insert = of_dialect.insert(pauses).values(row)
    connection.execute(
        insert.on_conflict_do_update(
            index_elements=["scope"],
            set_={name: insert.excluded[name] for name in changed},
            where=or_(pauses.c.until.is_(None), pauses.c.until < insert.excluded.until)
            if only_later
            else None,
        )
    )


_NOW = bindparam("now", type_=UtcTime)
_MEND = update(pauses).where(pauses.c.until > bindparam("latest", type_=UtcTime))
_CLOSE = delete(pauses).where(pauses.c.scope == bindparam("its_scope"))
_FAILURES = select(pauses.c.failures).where(pauses.c.scope == bindparam("its_scope"))
_EVERYTHING = Prepared(select(pauses.c.until).where(pauses.c.scope == EVERYTHING))
_WAITED_FOR = select(dispatches.c.seq).where(
    dispatches.c.repository == pauses.c.scope, dispatches.c.ended_at.is_(None)
)
_NEXT_END = select(func.min(pauses.c.until)).where(pauses.c.until > _NOW, _WAITED_FOR.exists())
