"""The way in: a delivery with what is to be sent for it, and the traces of what was not taken."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, delete, insert, select

from receiver.delivery import Delivery, DispatchState, Rejection
from receiver.dispatch import Dispatch
from receiver.schema import deliveries, dispatches, rejections

REJECTIONS_KEPT = 1_000

# What every delivery needs is put together once: that takes longer than running it.
_INSERT_DELIVERY, _INSERT_DISPATCH = insert(deliveries), insert(dispatches)


def insert_delivery(delivery: Delivery, planned: Sequence[Dispatch], connection: Connection) -> None:
    """Write down the delivery and all that is planned for it."""
    connection.execute(_INSERT_DELIVERY, _delivery_row(delivery))
    if planned:
        connection.execute(_INSERT_DISPATCH, [_dispatch_row(dispatch) for dispatch in planned])


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
    }


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
