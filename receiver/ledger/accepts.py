"""The way in: a delivery with what is to be sent for it, and the traces of what was not taken.

W&B numbers nothing, and may tell the same twice.  A delivery repeats another when that one is the *latest*
of its slot (the same event, collection, alias or tag), has the same fingerprint (the same version, too) and
came within the window.  Only the latest is compared, so an alias that goes from A to B and back to A within
the window is three deliveries: when A comes again, the latest is B.

One case cannot be told apart: W&B repeats A late, after B.  On the wire that is the alias gone back to A, so
it is dispatched.  Of the two mistakes it is the smaller one: a promotion that is swallowed stays unnoticed,
while a stale one fails its workflow where that says ``expect-alias: event``.

What was found by comparing with W&B is not told anew: a webhook that comes for it later, or a second one who
compares, repeats it however late that is.

A repeat starts what the same, told before, has not started: another author, or another configuration, may
have more routes take it, and what did not hold or could not be written then is no reason to swallow it now.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import Any, NamedTuple

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Connection,
    Dialect,
    Text,
    bindparam,
    delete,
    func,
    insert,
    select,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite

from receiver.delivery import Delivery, DispatchState, Receipt, Rejection
from receiver.dispatch import Dispatch, DispatchKind, Outcome, OutcomeKind
from receiver.ledger.records import dispatch_of
from receiver.ledger.schema import deliveries, dispatches, rejections
from receiver.ledger.statements import Prepared, Row
from receiver.telling import after_attempt

DUPLICATE_WINDOW = timedelta(minutes=10)
REJECTIONS_KEPT = 1_000
UNSENDABLE = "unsendable"
_MOST_LOOKED_BACK = 20


@dataclass(frozen=True)
class Arrival:
    """A delivery with what is planned for it, as rows for the database: ready to be written by any thread."""

    delivery: Delivery
    planned: Sequence[Dispatch]
    window: timedelta
    delivery_row: Row
    dispatch_rows: Sequence[Row]

    @classmethod
    def of(
        cls, delivery: Delivery, planned: Sequence[Dispatch], window: timedelta, dialect: Dialect
    ) -> Arrival:
        """Make the rows, in the thread that brings it: the one that writes has enough to do."""
        notices = [notice for dispatch in planned for notice in _notices(dispatch)]
        rows = [_INSERT_DISPATCHES.row(dialect, dispatch_row(each)) for each in (*planned, *notices)]
        row = _INSERT_DELIVERIES.row(dialect, _delivery_row(delivery))
        return cls(delivery, planned, window, row, rows)

    @property
    def receipt(self) -> Receipt:
        """What it is answered with once it is kept."""
        return Receipt(self.delivery.id, False, self.delivery.received_at, tuple(self.planned))


class _Latest(NamedTuple):
    slot: str
    id: str
    fingerprint: str
    received_at: datetime
    reconciled: bool


def accept(arrivals: Sequence[Arrival], connection: Connection) -> list[Receipt]:
    """Write down each delivery and all that is planned for it; or, of a repeat, only that it came."""
    slots = sorted({arrival.delivery.slot for arrival in arrivals})
    _alone_with(slots, connection)
    latest = _latest_of(slots, connection)
    new: list[Arrival] = []
    repeats: dict[int, _Latest] = {}
    receipts: dict[int, Receipt] = {}
    for number, arrival in enumerate(arrivals):
        before = latest.get(arrival.delivery.slot)
        rest = arrival
        if before is not None and _repeats(arrival, before):
            rest = _not_started(arrival, new, connection)
            if not rest.planned:
                repeats[number] = before
                continue
        latest[arrival.delivery.slot] = _as_latest(arrival.delivery)
        new.append(rest)
        receipts[number] = rest.receipt
    for arrival in new:
        _supersede(arrival, connection)
    _INSERT_DELIVERIES.insert(connection, [arrival.delivery_row for arrival in new])
    _INSERT_DISPATCHES.insert(connection, [row for arrival in new for row in arrival.dispatch_rows])
    for number, first in repeats.items():
        receipts[number] = _count_repeat(first, arrivals[number].delivery, connection)
    return [receipts[number] for number in range(len(arrivals))]


def _not_started(arrival: Arrival, together: Sequence[Arrival], connection: Connection) -> Arrival:
    """The arrival with what the same, told before it, has not started; ``together`` is not written yet."""
    begun = _begun(arrival, together, connection)
    fewer = [
        dispatch
        for dispatch in arrival.planned
        if not begun & {(dispatch.route, True), (dispatch.route, dispatch.unsendable is None)}
    ]
    if len(fewer) == len(arrival.planned):
        return arrival
    return Arrival.of(arrival.delivery, fewer, arrival.window, connection.dialect)


def _begun(
    arrival: Arrival, together: Sequence[Arrival], connection: Connection
) -> set[tuple[str | None, bool]]:
    """The routes that took the same just before, and whether what they made of it could be sent."""
    begun: set[tuple[str | None, bool]] = set()
    slot = arrival.delivery.slot
    for other in reversed([each for each in together if each.delivery.slot == slot]):
        if not _repeats(arrival, _as_latest(other.delivery)):
            return begun
        begun |= {(each.route, each.unsendable is None) for each in other.planned}
    for row in connection.execute(_BEFORE, {"its_slot": slot}).all():
        if not _repeats(arrival, _Latest(*row)):
            break
        took = connection.execute(_TOOK, {"its_id": row.id})
        begun |= {(each.route, each.unsendable is None) for each in took}
    return begun


def _alone_with(slots: Sequence[str], connection: Connection) -> None:
    """Until the end of the transaction nobody else accepts for these; on SQLite nobody writes at all."""
    if connection.dialect.name == "postgresql":
        digests = [hashlib.sha256(slot.encode("utf-8", "replace")).digest() for slot in slots]
        numbers = sorted(int.from_bytes(digest[:8], "big", signed=True) for digest in digests)
        connection.execute(_LOCK, {"numbers": numbers})  # In one order for all: nobody waits in a ring.


def _latest_of(slots: Sequence[str], connection: Connection) -> dict[str, _Latest]:
    found = _latest(len(slots)).run(connection, {f"slot_{number}": slot for number, slot in enumerate(slots)})
    return {row[0]: _Latest(*row) for row in found}


def _as_latest(delivery: Delivery) -> _Latest:
    of_it = (delivery.id, delivery.fingerprint, delivery.received_at, delivery.reconciled)
    return _Latest(delivery.slot, *of_it)


def _repeats(arrival: Arrival, latest: _Latest) -> bool:
    delivery = arrival.delivery
    apart = abs(delivery.received_at - latest.received_at)  # Who came first need not have looked first.
    near = bool(arrival.window) and apart <= arrival.window
    if latest.reconciled:
        return latest.fingerprint in {delivery.fingerprint, delivery.if_missed}
    return near and delivery.fingerprint == latest.fingerprint


def _count_repeat(first: _Latest, delivery: Delivery, connection: Connection) -> Receipt:
    connection.execute(_UPDATE_REPEATS, {"its_id": first.id, "last_repeat_at": delivery.received_at})
    planned = connection.execute(_DISPATCHES_OF, {"its_id": first.id})
    return Receipt(first.id, True, first.received_at, tuple(map(dispatch_of, planned)))


def _supersede(arrival: Arrival, connection: Connection) -> None:
    """End what it may overtake: of its route, lane and slot, and waiting for a retry."""
    delivery = arrival.delivery
    for dispatch in arrival.planned:
        if dispatch.overtakes and dispatch.unsendable is None:
            lane: dict[str, Any] = {"its_repository": dispatch.repository, "its_lane": dispatch.lane}
            lane["its_route"] = dispatch.route
            what = {"ended_at": delivery.received_at, "detail": superseded_by(delivery.id)}
            connection.execute(_SUPERSEDE, {**lane, "its_slot": delivery.slot, **what})


def superseded_by(delivery_id: str) -> str:
    """Tell a person why it was not sent."""
    return f"delivery {delivery_id} came while this one waited for a retry, and went first"


_LOCK = select(func.pg_advisory_xact_lock(func.unnest(bindparam("numbers", type_=ARRAY(BigInteger)))))


@cache
def _latest(slots: int) -> Prepared:
    """The latest delivery of each of so many slots, each found at the end of its part of the index."""
    names = [f"slot_{number}" for number in range(slots)]
    newest = [
        select(func.max(deliveries.c.seq)).where(deliveries.c.slot == bindparam(name)).scalar_subquery()
        for name in names
    ]
    told = [deliveries.c[name] for name in _Latest._fields]
    return Prepared(select(*told).where(deliveries.c.seq.in_(newest)), *names)


_BEFORE = (
    select(*[deliveries.c[name] for name in _Latest._fields])
    .where(deliveries.c.slot == bindparam("its_slot"))
    .order_by(deliveries.c.seq.desc())
    .limit(_MOST_LOOKED_BACK)
)
# What ended because W&B said otherwise may hold by now: W&B is asked anew.
_TOOK = (
    select(dispatches.c.route, dispatches.c.unsendable)
    .where(dispatches.c.delivery_id == bindparam("its_id"))
    .where(dispatches.c.kind != DispatchKind.NOTICE.value)
    .where(dispatches.c.state.not_in([DispatchState.OUTDATED.value, DispatchState.UNWANTED.value]))
)
_UPDATE_REPEATS = (
    update(deliveries).where(deliveries.c.id == bindparam("its_id")).values(repeats=deliveries.c.repeats + 1)
)
_DISPATCHES_OF = (
    select(dispatches)
    .where(dispatches.c.delivery_id == bindparam("its_id"))
    .where(dispatches.c.kind != DispatchKind.NOTICE.value)
    .order_by(dispatches.c.seq)
)
_OF_ITS_SLOT = select(deliveries.c.id).where(
    deliveries.c.id == dispatches.c.delivery_id, deliveries.c.slot == bindparam("its_slot")
)
_SUPERSEDE = (
    update(dispatches)
    .where(
        dispatches.c.repository == bindparam("its_repository"),
        dispatches.c.lane == bindparam("its_lane"),
        dispatches.c.route.is_not_distinct_from(bindparam("its_route", type_=Text)),
        dispatches.c.ended_at.is_(None),
        dispatches.c.state == DispatchState.PENDING.value,
        dispatches.c.attempts_begun > 0,
        _OF_ITS_SLOT.exists(),
    )
    .values(state=DispatchState.SUPERSEDED.value, due_at=None, reason=DispatchState.SUPERSEDED.value)
)


def _delivery_row(delivery: Delivery) -> dict[str, Any]:
    return {
        "id": delivery.id,
        "source": delivery.source,
        "received_at": delivery.received_at,
        "address": delivery.address,
        "encoding": delivery.encoding,
        "body_sha256": delivery.body_sha256,
        "event": delivery.event.event,
        "fields": dict(delivery.event.fields),
        "slot": delivery.slot,
        "fingerprint": delivery.fingerprint,
        "reconciled": delivery.reconciled,
    }


def _notices(dispatch: Dispatch) -> tuple[Dispatch, ...]:
    """Who hears that it can never be sent, where that is so."""
    if dispatch.unsendable is None:
        return ()
    refused = Outcome(OutcomeKind.REFUSED, UNSENDABLE, dispatch.unsendable)
    return after_attempt(dispatch, refused, dead=True, now=dispatch.accepted_at)


def dispatch_row(dispatch: Dispatch) -> dict[str, Any]:
    """The row of a new dispatch; one that can never be sent has ended already."""
    ended = dispatch.unsendable is not None
    return {
        "id": dispatch.id,
        "delivery_id": dispatch.delivery_id,
        "repository": dispatch.repository,
        "event_type": dispatch.event_type,
        "client_payload": dict(dispatch.client_payload),
        "key": dispatch.key,
        "lane": dispatch.lane,
        "accepted_at": dispatch.accepted_at,
        "state": DispatchState.DEAD.value if ended else DispatchState.PENDING.value,
        "due_at": None if ended else dispatch.accepted_at,
        "ended_at": dispatch.accepted_at if ended else None,
        "reason": UNSENDABLE if ended else None,
        "detail": dispatch.unsendable,
        "fence": 0,
        "attempts_begun": 0,
        "attempts_used": 0,
        "doubts": 0,
        "possibly_duplicated": False,
        "overtakes": dispatch.overtakes,
        "kind": dispatch.kind.value,
        "route": dispatch.route,
        "holds": dispatch.holds,
        "question": dispatch.question,
        "telling": dispatch.telling,
        "unsendable": dispatch.unsendable,
        "run_within": dispatch.run_within,
    }


def keep_notices(notices: Sequence[Dispatch], connection: Connection) -> None:
    """Have notices sent too; one that is there already stays as it is."""
    if notices:
        of_dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
        inserted = of_dialect.insert(dispatches).on_conflict_do_nothing()
        connection.execute(inserted, [dispatch_row(notice) for notice in notices])


# In the order of the table; what is not named has its default.
_INSERT_DELIVERIES = Prepared(
    insert(deliveries).inline(),
    *("id", "source", "received_at", "address", "encoding", "body_sha256", "event", "fields"),
    *("slot", "fingerprint", "reconciled"),
)
_INSERT_DISPATCHES = Prepared(
    insert(dispatches).inline(),
    *("id", "delivery_id", "repository", "event_type", "client_payload", "key", "lane", "accepted_at"),
    *("state", "due_at", "ended_at", "fence", "attempts_begun", "attempts_used", "doubts"),
    *("possibly_duplicated", "reason", "detail", "overtakes", "kind", "route", "holds", "question"),
    *("telling", "unsendable", "run_within"),
)


def keep_traces(traces: deque[Rejection], connection: Connection) -> None:
    """Write the traces down, and let go of the oldest beyond REJECTIONS_KEPT."""
    rows = [_trace_row(traces.popleft()) for _ in range(len(traces))]
    if rows:
        connection.execute(insert(rejections), rows)
    newest = select(rejections.c.seq).order_by(rejections.c.seq.desc())
    too_old = newest.offset(REJECTIONS_KEPT).limit(1).scalar_subquery()
    connection.execute(delete(rejections).where(rejections.c.seq <= too_old))


def _trace_row(rejection: Rejection) -> dict[str, Any]:
    return {
        "at": rejection.at,
        "source": rejection.source,
        "address": rejection.address,
        "reason": rejection.reason,
        "status": rejection.status,
    }
