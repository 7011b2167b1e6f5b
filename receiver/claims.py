"""The way out: what may go now, who has it, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from typing import Any, NamedTuple

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    bindparam,
    exists,
    func,
    insert,
    literal_column,
    select,
    update,
)

from receiver.delivery import DispatchState
from receiver.dispatch import Claim, Outcome, OutcomeKind
from receiver.errors import LostLeaseError
from receiver.records import dispatch_of
from receiver.retry import Decision, Sent, Wait
from receiver.schema import attempts, dispatches

_LONG_AGO = datetime(1970, 1, 1, tzinfo=timezone.utc)


class Candidate(NamedTuple):
    """What may go, as it was seen."""

    seq: int
    due_at: datetime


_OPEN = dispatches.c.ended_at.is_(None)
# Written out, not bound: only so do both databases see that the index of what is being sent fits.
_SENDING_LITERAL: ColumnElement[str] = literal_column(f"'{DispatchState.SENDING.value}'")
_SENDING = dispatches.c.state == _SENDING_LITERAL


def _claimable() -> tuple[ColumnElement[bool], ...]:
    """Open, the first of its lane, and its repository free."""
    earlier, other = dispatches.alias("earlier"), dispatches.alias("other")
    in_line = exists().where(
        earlier.c.repository == dispatches.c.repository,
        earlier.c.lane == dispatches.c.lane,
        earlier.c.seq < dispatches.c.seq,
        earlier.c.ended_at.is_(None),
    )
    busy = exists().where(
        other.c.repository == dispatches.c.repository,
        other.c.state == _SENDING_LITERAL,
        other.c.seq != dispatches.c.seq,
    )
    return _OPEN, ~in_line, ~busy


# What every claim needs is put together once: that takes longer than running it.
_NEXT = (
    select(dispatches.c.seq, dispatches.c.due_at)
    .where(*_claimable())
    .order_by(dispatches.c.due_at, dispatches.c.seq)
    .limit(1)
)
_NEXT_DUE = _NEXT.where(dispatches.c.due_at <= bindparam("due_by"))
_STILL_DUE = (
    select(dispatches)
    .where(dispatches.c.seq == bindparam("seen_seq"))
    .where(dispatches.c.due_at <= bindparam("due_by"), *_claimable())
    .with_for_update(skip_locked=True, of=dispatches)
)
_HELD = (dispatches.c.id == bindparam("its_id")) & (dispatches.c.fence == bindparam("its_fence")) & _SENDING
_ITS_ATTEMPT = (attempts.c.dispatch_id == bindparam("its_id")) & (
    attempts.c.number == bindparam("its_number")
)
_INSERT_ATTEMPT = insert(attempts)
_UPDATE_TAKEN = update(dispatches).where(dispatches.c.seq == bindparam("seen_seq"))
_UPDATE_HELD = update(dispatches).where(_HELD)
_UPDATE_ATTEMPT = update(attempts).where(_ITS_ATTEMPT)


def next_candidate(connection: Connection, due_by: datetime | None = None) -> Candidate | None:
    """Return what may go first, or first of all that is due; None when there is nothing."""
    if due_by is None:
        first = connection.execute(_NEXT).first()
    else:
        first = connection.execute(_NEXT_DUE, {"due_by": due_by}).first()
    return None if first is None else Candidate(*first)


def count_open(connection: Connection) -> int:
    """Tell how many dispatches have not ended."""
    return int(connection.scalar(select(func.count()).select_from(dispatches).where(_OPEN)) or 0)


def release_leases(connection: Connection) -> int:
    """End every lease, and tell how many there were."""
    return connection.execute(update(dispatches).where(_SENDING).values(due_at=_LONG_AGO)).rowcount


def begin_attempt(
    candidate: Candidate, now: datetime, lease: timedelta, connection: Connection
) -> Claim | None:
    """Take the candidate if it may still go, and write its attempt down."""
    row = connection.execute(_STILL_DUE, {"seen_seq": candidate.seq, "due_by": now}).first()
    if row is None:
        return None
    taken: dict[str, Any] = {"seen_seq": row.seq, "state": DispatchState.SENDING.value, "due_at": now + lease}
    taken |= {"fence": row.fence + 1, "attempts_begun": row.attempts_begun + 1}
    taken |= {name: getattr(row, name) for name in ("attempts_used", "doubts", "doubt_since")}
    if row.state == DispatchState.SENDING.value:
        taken |= _close_unanswered(row, now, connection)
    connection.execute(_UPDATE_TAKEN, taken)
    begun = {"dispatch_id": row.id, "number": taken["attempts_begun"], "started_at": now}
    connection.execute(_INSERT_ATTEMPT, begun)
    return _claim(row, taken, now)


def _close_unanswered(row: Row[Any], now: datetime, connection: Connection) -> dict[str, Any]:
    """End the attempt of a claimant that died or stalled; nobody knows whether it arrived."""
    which = {"its_id": row.id, "its_number": row.attempts_begun}
    started_at = connection.scalar(select(attempts.c.started_at).where(_ITS_ATTEMPT), which)
    end = {
        "ended_at": now,
        "outcome": OutcomeKind.AMBIGUOUS.value,
        "reason": "no-answer",
        "detail": "the process that was sending it ended, or stalled, before an answer was recorded",
    }
    connection.execute(_UPDATE_ATTEMPT, which | end)
    return {
        "attempts_used": row.attempts_used + 1,
        "doubts": row.doubts + 1,
        "doubt_since": row.doubt_since or started_at,
    }


def _claim(row: Row[Any], taken: Mapping[str, Any], now: datetime) -> Claim:
    return Claim(
        dispatch=dispatch_of(row),
        fence=taken["fence"],
        attempt=taken["attempts_begun"],
        begun_at=now,
        attempts_used=taken["attempts_used"],
        unanswered=taken["doubt_since"],
        doubts=taken["doubts"],
        lease_until=taken["due_at"],
    )


def write_held(claim: Claim, values: Mapping[str, Any], connection: Connection) -> None:
    """Change the dispatch of a claim that still holds: the fence stands in the statement itself."""
    held = {"its_id": claim.dispatch.id, "its_fence": claim.fence}
    if connection.execute(_UPDATE_HELD, {**held, **values}).rowcount != 1:
        raise LostLeaseError(
            f"dispatch {claim.dispatch.id}: its lease ended and it was taken over; our result is dropped"
        )


def record(claim: Claim, decision: Decision, outcome: Outcome, now: datetime, connection: Connection) -> None:
    """End the attempt, and the dispatch unless it waits for another."""
    write_held(claim, _after(claim, decision, outcome, now), connection)
    which = {"its_id": claim.dispatch.id, "its_number": claim.attempt}
    end = {
        "ended_at": now,
        "outcome": outcome.kind.value,
        "reason": outcome.reason,
        "detail": outcome.detail,
        "status": outcome.status,
    }
    connection.execute(_UPDATE_ATTEMPT, which | end)


def _after(claim: Claim, decision: Decision, outcome: Outcome, now: datetime) -> dict[str, Any]:
    """Return what becomes of the dispatch's row."""
    values: dict[str, Any] = {
        "attempts_used": claim.attempts_used + decision.counts,
        "reason": outcome.reason,
        "detail": outcome.detail,
    }
    if outcome.kind is OutcomeKind.AMBIGUOUS:
        values |= {"doubts": claim.doubts + 1, "doubt_since": claim.unanswered or claim.begun_at}
    if isinstance(decision, Wait):
        return values | {"state": DispatchState.PENDING.value, "due_at": decision.until}
    values |= {"due_at": None, "ended_at": now}
    if isinstance(decision, Sent):
        return values | {"state": DispatchState.SENT.value, "run_url": outcome.run_url}
    return values | {"state": DispatchState.DEAD.value, "reason": decision.reason, "detail": decision.detail}
