"""The way in: a delivery with what is to be sent for it, and the traces of what was not taken.

W&B numbers nothing, and may tell the same twice.  A delivery repeats another when that one is the *latest*
of its slot (the same event, collection, alias or tag), has the same fingerprint (the same version, too) and
came within the window.  Only the latest is compared, so an alias that goes from A to B and back to A within
the window is three deliveries: when A comes again, the latest is B.

One case cannot be told apart: W&B repeats A late, after B.  On the wire that is the alias gone back to A, so
it is dispatched.  Of the two mistakes it is the smaller one: a promotion that is swallowed stays unnoticed,
while a stale one fails its workflow where that says ``expect-alias: event``.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import Connection, bindparam, delete, func, insert, select, update

from receiver.delivery import Delivery, DispatchState, Receipt, Rejection
from receiver.dispatch import Dispatch
from receiver.ledger.records import dispatch_of
from receiver.ledger.schema import deliveries, dispatches, rejections
from receiver.ledger.statements import Prepared

DUPLICATE_WINDOW = timedelta(minutes=10)
REJECTIONS_KEPT = 1_000


class _Latest(NamedTuple):
    id: str
    seq: int
    fingerprint: str
    received_at: datetime


def accept(
    delivery: Delivery, planned: Sequence[Dispatch], window: timedelta, connection: Connection
) -> Receipt:
    """Write down the delivery and all that is planned for it; or, of a repeat, only that it came."""
    _alone_with(delivery.slot, connection)
    if window:
        latest = _latest(delivery.slot, connection)
        if latest is not None and _repeats(delivery, latest, window):
            return _count_repeat(latest, delivery, connection)
    _INSERT_DELIVERY.run(connection, _delivery_row(delivery))
    for dispatch in planned:
        if dispatch.overtakes:
            _supersede(dispatch, delivery, connection)
        _INSERT_DISPATCH.run(connection, _dispatch_row(dispatch))
    return Receipt(
        delivery.id, duplicate=False, first_received_at=delivery.received_at, dispatches=tuple(planned)
    )


def _alone_with(slot: str, connection: Connection) -> None:
    """Until the end of the transaction nobody else accepts for this slot; on SQLite nobody writes at all."""
    if connection.dialect.name == "postgresql":
        digest = hashlib.sha256(slot.encode("utf-8", "replace")).digest()
        connection.execute(_LOCK, {"number": int.from_bytes(digest[:8], "big", signed=True)})


def _latest(slot: str, connection: Connection) -> _Latest | None:
    found = _LATEST.run(connection, {"its_slot": slot})
    return _Latest(*found[0]) if found else None


def _repeats(delivery: Delivery, latest: _Latest, window: timedelta) -> bool:
    apart = abs(delivery.received_at - latest.received_at)  # Who came first need not have looked first.
    return delivery.fingerprint == latest.fingerprint and apart <= window


def _count_repeat(first: _Latest, delivery: Delivery, connection: Connection) -> Receipt:
    connection.execute(_UPDATE_REPEATS, {"its_seq": first.seq, "last_repeat_at": delivery.received_at})
    planned = connection.execute(_DISPATCHES_OF, {"its_id": first.id})
    return Receipt(first.id, True, first.received_at, tuple(map(dispatch_of, planned)))


def _supersede(dispatch: Dispatch, delivery: Delivery, connection: Connection) -> None:
    """End what this one may overtake: of its lane and slot, and waiting for a retry."""
    which = {"its_repository": dispatch.repository, "its_lane": dispatch.lane, "its_slot": delivery.slot}
    what = {"ended_at": delivery.received_at, "detail": superseded_by(delivery.id)}
    connection.execute(_SUPERSEDE, which | what)


def superseded_by(delivery_id: str) -> str:
    """Tell a person why it was not sent."""
    return f"delivery {delivery_id} came while this one waited for a retry, and went first"


_LOCK = select(func.pg_advisory_xact_lock(bindparam("number")))
_LATEST = Prepared(
    select(deliveries.c.id, deliveries.c.seq, deliveries.c.fingerprint, deliveries.c.received_at)
    .where(deliveries.c.slot == bindparam("its_slot"))
    .order_by(deliveries.c.seq.desc())
    .limit(1),
    "its_slot",
)
_UPDATE_REPEATS = (
    update(deliveries)
    .where(deliveries.c.seq == bindparam("its_seq"))
    .values(repeats=deliveries.c.repeats + 1)
)
_DISPATCHES_OF = (
    select(dispatches).where(dispatches.c.delivery_id == bindparam("its_id")).order_by(dispatches.c.seq)
)
_OF_ITS_SLOT = select(deliveries.c.id).where(
    deliveries.c.id == dispatches.c.delivery_id, deliveries.c.slot == bindparam("its_slot")
)
_SUPERSEDE = (
    update(dispatches)
    .where(
        dispatches.c.repository == bindparam("its_repository"),
        dispatches.c.lane == bindparam("its_lane"),
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
    }


def _dispatch_row(dispatch: Dispatch) -> dict[str, Any]:
    return {
        "id": dispatch.id,
        "delivery_id": dispatch.delivery_id,
        "repository": dispatch.repository,
        "event_type": dispatch.event_type,
        "client_payload": dict(dispatch.client_payload),
        "key": dispatch.key,
        "lane": dispatch.lane,
        "accepted_at": dispatch.accepted_at,
        "state": DispatchState.PENDING.value,
        "due_at": dispatch.accepted_at,
        "fence": 0,
        "attempts_begun": 0,
        "attempts_used": 0,
        "doubts": 0,
        "possibly_duplicated": False,
        "overtakes": dispatch.overtakes,
    }


# In the order of the table; what is not named has its default.
_INSERT_DELIVERY = Prepared(
    insert(deliveries).inline(),
    *("id", "source", "received_at", "address", "encoding", "body_sha256", "event", "fields"),
    *("slot", "fingerprint"),
)
_INSERT_DISPATCH = Prepared(
    insert(dispatches).inline(),
    *("id", "delivery_id", "repository", "event_type", "client_payload", "key", "lane", "accepted_at"),
    *("state", "due_at", "fence", "attempts_begun", "attempts_used", "doubts", "possibly_duplicated"),
    "overtakes",
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
