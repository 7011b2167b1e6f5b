"""The way out: what may go now, who has it, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta, timezone
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    bindparam,
    func,
    insert,
    literal_column,
    select,
    update,
)

from receiver.delivery import DispatchState
from receiver.dispatch import GITHUB_KINDS, Claim, Dispatch, Outcome, OutcomeKind
from receiver.errors import LostLeaseError
from receiver.ledger import pauses, turns
from receiver.ledger.accepts import keep_notices, superseded_by
from receiver.ledger.records import dispatch_of
from receiver.ledger.schema import UtcTime, attempts, deliveries, dispatches
from receiver.ledger.statements import Prepared
from receiver.ledger.turns import Candidate, Gate, may_go
from receiver.retry import Decision, Ended, Sent, Wait
from receiver.telling import after_attempt

_LONG_AGO = datetime(1970, 1, 1, tzinfo=timezone.utc)


SKEW = timedelta(seconds=10)  # So far the clocks of receivers may be apart and nobody says so.
FIRST_LOOK = timedelta(seconds=3)  # GitHub shows a run a moment after it took the dispatch.
CRASHES = 3  # So many claimants in a row died over it, and it is not claimed again.

# W&B was asked and not GitHub: that costs nothing of GitHub's budget.
_NOT_TRIED = frozenset({OutcomeKind.POSTPONED, OutcomeKind.OUTDATED, OutcomeKind.UNWANTED})

_OPEN = dispatches.c.ended_at.is_(None)
# Written out, not bound: only so do both databases see that the index of what is being sent fits.
_SENDING: ColumnElement[bool] = dispatches.c.state == literal_column(f"'{DispatchState.SENDING.value}'")

# What every claim needs is put together once: that takes longer than running it.
_STILL_DUE = Prepared(
    select(dispatches)
    .where(dispatches.c.seq == bindparam("seen_seq"), _OPEN)
    .where(dispatches.c.due_at <= bindparam("now", type_=UtcTime), may_go(dispatches))
    .with_for_update(skip_locked=True, of=dispatches),
    *("seen_seq", "now"),
)
_HELD = (dispatches.c.id == bindparam("its_id")) & (dispatches.c.fence == bindparam("its_fence")) & _SENDING
_ITS_ATTEMPT = (attempts.c.dispatch_id == bindparam("its_id")) & (
    attempts.c.number == bindparam("its_number")
)
_INSERT_ATTEMPT = Prepared(
    insert(attempts).inline(), "dispatch_id", "number", "started_at", "counts_for_github"
)
_UPDATE_TAKEN = update(dispatches).where(dispatches.c.seq == bindparam("seen_seq"))
_TAKE = Prepared(
    _UPDATE_TAKEN,
    *("seen_seq", "state", "due_at", "fence", "attempts_begun", "attempts_used", "doubts", "doubt_since"),
    "crashes",
)
_UPDATE_HELD = update(dispatches).where(_HELD)
_UPDATE_ATTEMPT = update(attempts).where(_ITS_ATTEMPT)
_UPDATE_BY_ID = update(dispatches).where(dispatches.c.id == bindparam("its_id"))
_MAKE_DUE = update(dispatches).where(
    _OPEN, dispatches.c.attempts_begun == 0, dispatches.c.due_at > bindparam("too_late", type_=UtcTime)
)
_THIS, _ITS_DELIVERY = dispatches.alias("this"), deliveries.alias("its_delivery")
_OVERTAKER = (
    select(dispatches.c.delivery_id)
    .select_from(dispatches.join(deliveries))
    .join(_THIS, _THIS.c.id == bindparam("its_id"))
    .join(_ITS_DELIVERY, _ITS_DELIVERY.c.id == _THIS.c.delivery_id)
    .where(
        dispatches.c.repository == bindparam("its_repository"),
        dispatches.c.lane == bindparam("its_lane"),
        dispatches.c.seq > _THIS.c.seq,
        dispatches.c.overtakes.is_(True),
        dispatches.c.route.is_not_distinct_from(_THIS.c.route),
        deliveries.c.slot == _ITS_DELIVERY.c.slot,
        _OPEN,
    )
    .order_by(dispatches.c.seq)
    .limit(1)
)


def count_open(connection: Connection) -> int:
    """Tell how many dispatches have not ended."""
    return int(connection.scalar(select(func.count()).select_from(dispatches).where(_OPEN)) or 0)


def release_leases(connection: Connection) -> int:
    """End the leases of those that died, and tell how many there were.

    A dispatch over which two in a row died keeps its lease to the end: were it due at once, processes that
    die for a reason of their own would soon have it taken for what kills them.
    """
    freed = update(dispatches).where(_SENDING, dispatches.c.crashes == 0).values(due_at=_LONG_AGO)
    return connection.execute(freed).rowcount


def mend(now: datetime, connection: Connection) -> int:
    """Make due what is new and yet lies ahead, and end pauses later than any can; tell how many were."""
    fresh = connection.execute(_MAKE_DUE, {"too_late": now + SKEW, "due_at": now}).rowcount
    return fresh + pauses.mend(now, connection)


def begin_next(
    gate: Gate, now: datetime, lease: timedelta, connection: Connection
) -> tuple[bool, Claim | None]:
    """Take what may go first; tell whether there was something, and the claim on it if it still might."""
    candidate = turns.next_due(connection, now, now, elsewhere=not gate.is_open(connection, now))
    if candidate is None:
        return False, None
    return True, _begin_attempt(candidate, gate, now, lease, connection)


def _begin_attempt(
    candidate: Candidate, gate: Gate, now: datetime, lease: timedelta, connection: Connection
) -> Claim | None:
    """Take the candidate if it may still go, and write its attempt down."""
    if candidate.for_github:
        gate.lock(connection)
        if not gate.is_open(connection, now):
            return None
    rows = _STILL_DUE.run(connection, {"seen_seq": candidate.seq, "now": now})
    if not rows:
        return None
    row = rows[0]
    taken: dict[str, Any] = {"state": DispatchState.SENDING.value, "due_at": now + lease}
    taken |= {"fence": row.fence + 1, "attempts_begun": row.attempts_begun + 1}
    taken |= {name: getattr(row, name) for name in ("attempts_used", "doubts", "doubt_since", "crashes")}
    if row.state == DispatchState.SENDING.value:
        taken |= _close_unanswered(row, now, connection)
    if taken["crashes"] >= CRASHES:
        _give_up(row, taken, now, connection)
        return None
    _TAKE.run(connection, {"seen_seq": row.seq, **taken})
    begun = {"dispatch_id": row.id, "number": taken["attempts_begun"], "started_at": now}
    begun["counts_for_github"] = candidate.for_github
    _INSERT_ATTEMPT.run(connection, begun)
    return _claim(row, taken, now)


def _give_up(row: Row[Any], taken: Mapping[str, Any], now: datetime, connection: Connection) -> None:
    """End what its claimants do not survive, before it ends one more."""
    end = {
        "attempts_begun": row.attempts_begun,
        "state": DispatchState.DEAD.value,
        "due_at": None,
        "ended_at": now,
        "reason": "crashed",
        "detail": f"{CRASHES} processes in a row ended, or stalled, while they sent it; it may have arrived. "
        "See in their logs why, and whether it ran, then redeliver it",
    }
    connection.execute(_UPDATE_TAKEN, {"seen_seq": row.seq, **taken, **end})
    crashed = Outcome(OutcomeKind.REFUSED, str(end["reason"]), str(end["detail"]))
    keep_notices(after_attempt(dispatch_of(row), crashed, dead=True, now=now), connection)


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
        "crashes": row.crashes + 1,
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
        open_since=row.redelivered_at or row.accepted_at,
    )


def write_held(claim: Claim, values: Mapping[str, Any], connection: Connection) -> None:
    """Change the dispatch of a claim that still holds: the fence stands in the statement itself."""
    held = {"its_id": claim.dispatch.id, "its_fence": claim.fence}
    if connection.execute(_UPDATE_HELD, {**held, **values}).rowcount != 1:
        raise LostLeaseError(
            f"dispatch {claim.dispatch.id}: its lease ended and it was taken over; our result is dropped"
        )


def record(  # noqa: PLR0913 - what happened, whole
    claim: Claim,
    decision: Decision,
    outcome: Outcome,
    now: datetime,
    connection: Connection,
    *,
    also: Sequence[Dispatch],
) -> None:
    """End the attempt, and the dispatch unless it waits for another; learn from it; have ``also`` sent."""
    write_held(claim, _after(claim, decision, outcome, now), connection)
    which = {"its_id": claim.dispatch.id, "its_number": claim.attempt}
    end = {
        "ended_at": now,
        "outcome": outcome.kind.value,
        "reason": outcome.reason,
        "detail": outcome.detail,
        "status": outcome.status,
    }
    if outcome.kind in _NOT_TRIED:
        end["counts_for_github"] = False
    connection.execute(_UPDATE_ATTEMPT, which | end)
    keep_notices(also, connection)
    if isinstance(decision, Wait):
        _give_way(claim, now, connection)
    pauses.learn(claim.dispatch, outcome, now, connection)


def _give_way(claim: Claim, now: datetime, connection: Connection) -> None:
    """Where a later one of the same route, lane and slot may overtake, it does so now that this one waits."""
    lane = {"its_id": claim.dispatch.id, "its_repository": claim.dispatch.repository}
    newer = connection.scalar(_OVERTAKER, lane | {"its_lane": claim.dispatch.lane})
    if newer is not None:
        values = {"state": DispatchState.SUPERSEDED.value, "due_at": None, "ended_at": now}
        why = {"reason": DispatchState.SUPERSEDED.value, "detail": superseded_by(newer)}
        connection.execute(_UPDATE_BY_ID, {"its_id": claim.dispatch.id, **values, **why})


def _after(claim: Claim, decision: Decision, outcome: Outcome, now: datetime) -> dict[str, Any]:
    """Return what becomes of the dispatch's row."""
    values: dict[str, Any] = {
        "attempts_used": claim.attempts_used + decision.counts,
        "crashes": 0,
        "reason": outcome.reason,
        "detail": outcome.detail,
    }
    if outcome.kind is OutcomeKind.AMBIGUOUS:
        values |= {"doubts": claim.doubts + 1, "doubt_since": claim.unanswered or claim.begun_at}
    if isinstance(decision, Wait):
        return values | {"state": DispatchState.PENDING.value, "due_at": decision.until}
    values |= {"due_at": None, "ended_at": now}
    if isinstance(decision, Sent):
        return values | {"state": DispatchState.SENT.value, **_sent(claim.dispatch, outcome, now)}
    if isinstance(decision, Ended):
        values["state"] = decision.state.value
        return values | {"reason": decision.reason, "detail": decision.detail}
    return values | {"state": DispatchState.DEAD.value, "reason": decision.reason, "detail": decision.detail}


def _sent(dispatch: Dispatch, outcome: Outcome, now: datetime) -> dict[str, Any]:
    """Return what is known of its run, and when to look for it first."""
    followed = dispatch.kind in GITHUB_KINDS and dispatch.run_within is not None
    return {
        "sent_at": now,
        "run_url": outcome.run_url,
        "run_id": outcome.facts.get("run_id"),
        "run_due_at": now + FIRST_LOOK if followed else None,
    }
