"""Whose turn it is: which dispatch may go now, and when to look again.

A dispatch may go when it is due, is the first of its lane that has not ended, its repository gets nothing
else just now and is not paused; and one whose claimant let the lease end, as soon as it is due.  None
of GitHub's while the budget is spent, or while GitHub asked our credential to wait; the others go on.
"""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any, NamedTuple

from sqlalchemy import (
    ColumnElement,
    Connection,
    and_,
    bindparam,
    exists,
    func,
    literal_column,
    or_,
    select,
    text,
)
from sqlalchemy.sql.selectable import TextualSelect

from receiver.budget import Budget
from receiver.delivery import DispatchState
from receiver.dispatch import GITHUB_KINDS, DispatchKind
from receiver.ledger import pauses
from receiver.ledger.schema import COUNTS_FOR_GITHUB, ELSEWHERE, UtcTime, attempts, dispatches
from receiver.ledger.statements import Prepared

NEAR = 50  # So many that are due are looked at one by one, before each lane is.
_ANY_TIME = datetime(9999, 1, 1, tzinfo=timezone.utc)
_BUDGET_LOCK = 0x42554447  # "BUDG": one lock for all that share a database.

# Written out, not bound: only so do both databases see that the index of what is being sent fits.
_SENDING: ColumnElement[str] = literal_column(f"'{DispatchState.SENDING.value}'")


class Candidate(NamedTuple):
    """What may go, as it was seen."""

    seq: int
    due_at: datetime
    kind: str

    @property
    def for_github(self) -> bool:
        """Whether the gate holds it up."""
        return DispatchKind(self.kind) in GITHUB_KINDS


def may_go(of: Any) -> ColumnElement[bool]:
    """Whether an open dispatch, from the table or its like, has its turn, whenever it is due."""
    earlier, other = dispatches.alias("earlier"), dispatches.alias("other")
    in_line = exists().where(
        earlier.c.repository == of.c.repository,
        earlier.c.lane == of.c.lane,
        earlier.c.seq < of.c.seq,
        earlier.c.ended_at.is_(None),
    )
    busy = exists().where(other.c.repository == of.c.repository, other.c.state == _SENDING)
    first_and_free = and_(~in_line, ~busy)
    return and_(or_(of.c.state == _SENDING, first_and_free), ~pauses.is_paused(of.c.repository))


def next_due(
    connection: Connection, now: datetime, due_by: datetime = _ANY_TIME, *, elsewhere: bool = False
) -> Candidate | None:
    """Return what may go first of all that is due by then, or of all but GitHub's; None: there is nothing."""
    asked = {"now": now, "due_by": due_by}
    if elsewhere:
        other = connection.execute(_FAR_ELSEWHERE, asked).first()
        return None if other is None else Candidate(*other)
    near = _NEAR.run(connection, asked)
    first = near[0] if near else connection.execute(_FAR, asked).first()
    return None if first is None else Candidate(*first)


def look_again_at(connection: Connection, now: datetime) -> datetime | None:
    """Tell when something may go, but for the budget, as far as is known now; None: nothing waits."""
    candidate = next_due(connection, now)
    moments = [
        moment for moment in (pauses.next_end(connection, now), candidate and candidate.due_at) if moment
    ]
    return min(moments, default=None)


class Gate:
    """What holds up all of GitHub's alike: the budget, and what GitHub asked of our credential."""

    def __init__(self, budget: Budget | None) -> None:
        self._budget = budget
        self._begun = None if budget is None else _begun(budget)

    def opens_at(self, connection: Connection, now: datetime) -> datetime | None:
        """Tell from when on one of GitHub's may go; None: at any time.

        Attempts that began after ``now`` do not count: a clock that was put back must not hold us up.
        """
        moments = [pauses.everything_until(connection)]
        if self._budget is not None and self._begun is not None:
            (begun,) = self._begun.run(connection, {"now": now})
            moments.append(self._budget.free_at(begun))
        return max((moment for moment in moments if moment is not None), default=None)

    def is_open(self, connection: Connection, now: datetime) -> bool:
        """Tell whether one of GitHub's may go now."""
        opens_at = self.opens_at(connection, now)
        return opens_at is None or opens_at <= now

    def lock(self, connection: Connection) -> None:
        """Have nobody else spend from the budget until the end of the transaction."""
        if self._budget is not None and connection.dialect.name == "postgresql":
            connection.execute(_LOCK)


def _begun(budget: Budget) -> Prepared:
    newest = (
        select(attempts.c.started_at)
        .where(COUNTS_FOR_GITHUB, attempts.c.started_at <= bindparam("now", type_=UtcTime))
        .order_by(attempts.c.started_at.desc())
        .limit(1)
    )
    return Prepared(
        select(*[newest.offset(limit.most - 1).scalar_subquery() for limit in budget.limits]), "now"
    )


_LOCK = select(func.pg_advisory_xact_lock(_BUDGET_LOCK))

# The first that are due, one by one: where most of what is due may go, that finds it at once.
_DUE_FIRST = (
    select(*[dispatches.c[name] for name in ("seq", "due_at", "kind", "repository", "lane", "state")])
    .where(dispatches.c.ended_at.is_(None), dispatches.c.due_at <= bindparam("due_by", type_=UtcTime))
    .order_by(dispatches.c.due_at, dispatches.c.seq)
    .limit(NEAR)
    .subquery("due_first")
)
_NEAR = Prepared(
    select(_DUE_FIRST.c.seq, _DUE_FIRST.c.due_at, _DUE_FIRST.c.kind)
    .where(may_go(_DUE_FIRST))
    .order_by(_DUE_FIRST.c.due_at, _DUE_FIRST.c.seq)
    .limit(1),
    *("now", "due_by"),
)
# The first of each lane: where thousands wait behind one, that skips them, a lane at a step.  Each step
# finds the next repository, lane or head through the index dispatches_in_line.
_FAR_SQL = """
WITH RECURSIVE repositories (name) AS (
    SELECT min(repository) FROM dispatches WHERE {waiting}
    UNION ALL
    SELECT (SELECT min(repository) FROM dispatches WHERE {waiting} AND repository > name)
    FROM repositories WHERE name IS NOT NULL
), unpaused (name) AS (
    SELECT name FROM repositories
    WHERE name IS NOT NULL AND NOT EXISTS (SELECT 1 FROM pauses WHERE scope = name AND until > :now)
), lanes (name, which) AS (
    SELECT name, (SELECT min(lane) FROM dispatches WHERE {waiting} AND repository = name)
    FROM unpaused
    WHERE NOT EXISTS (SELECT 1 FROM dispatches WHERE state = 'sending' AND repository = name)
    UNION ALL
    SELECT name, (
        SELECT min(lane) FROM dispatches WHERE {waiting} AND repository = name AND lane > which
    )
    FROM lanes WHERE which IS NOT NULL
), heads (first) AS (
    SELECT (SELECT min(seq) FROM dispatches WHERE {waiting} AND repository = name AND lane = which)
    FROM lanes WHERE which IS NOT NULL
    UNION ALL
    SELECT seq FROM unpaused JOIN dispatches ON repository = name AND state = 'sending'
), candidates (seq, due_at, kind) AS (
    SELECT seq, due_at, kind FROM heads JOIN dispatches ON seq = first
)
SELECT seq, due_at, kind FROM candidates WHERE due_at <= :due_by ORDER BY due_at, seq LIMIT 1
"""


def _far(waiting: str) -> TextualSelect:
    return (
        text(_FAR_SQL.format(waiting=waiting))
        .bindparams(bindparam("now", type_=UtcTime), bindparam("due_by", type_=UtcTime))
        .columns(dispatches.c.seq, dispatches.c.due_at, dispatches.c.kind)
    )


_FAR = _far("ended_at IS NULL")
_FAR_ELSEWHERE = _far(f"ended_at IS NULL AND {ELSEWHERE}")  # By its own index: GitHub's may be many.
