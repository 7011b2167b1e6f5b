"""From the ledger's rows to its records: what people look at."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, Connection, Row, literal_column, select

from receiver.delivery import AttemptRecord, DeliveryRecord, DispatchRecord, DispatchState, Rejection
from receiver.dispatch import Dispatch, DispatchKind
from receiver.errors import LedgerError
from receiver.ledger.schema import attempts, deliveries, dispatches, rejections

R = TypeVar("R")


class NoSuchDeliveryError(LedgerError):
    """No delivery, or more than one, has an id that begins like that."""

    reason = "no-such-delivery"


def newest(connection: Connection, limit: int, before: str | None) -> list[DeliveryRecord]:
    """Return the newest deliveries, newest first; ``before`` is the id where the last page ended."""
    query = select(deliveries).order_by(deliveries.c.seq.desc()).limit(limit)
    if before is not None:
        edge = select(deliveries.c.seq).where(deliveries.c.id == before).scalar_subquery()
        query = query.where(deliveries.c.seq < edge)
    return _delivery_records(connection, connection.execute(query).all())


def by_prefix(connection: Connection, id_prefix: str) -> DeliveryRecord:
    """Return the one delivery whose id begins like that, or raise NoSuchDeliveryError."""
    begins = begins_with(deliveries.c.id, id_prefix)
    query = select(deliveries).where(begins).order_by(deliveries.c.id).limit(2)
    found = connection.execute(query).all()
    if not found:
        raise NoSuchDeliveryError(f"no delivery has an id that begins with {id_prefix!r}")
    if len(found) > 1 and found[0].id != id_prefix:
        raise NoSuchDeliveryError(f"more than one delivery has an id that begins with {id_prefix!r}")
    return _delivery_records(connection, found[:1])[0]


def begins_with(column: ColumnElement[str], id_prefix: str) -> ColumnElement[bool]:
    """Whether an id begins like that, so that an index serves; our ids have nothing over the letters."""
    return (column >= id_prefix) & (column < id_prefix + "\x7f")


def dead(connection: Connection, limit: int) -> list[DeliveryRecord]:
    """Return the newest deliveries of which a dispatch is dead, newest first."""
    # Written out, not bound: only so do both databases see that the index of what is dead fits.
    state: ColumnElement[str] = literal_column(f"'{DispatchState.DEAD.value}'")
    return _of_dispatches(connection, dispatches.c.state == state, limit)


def unfinished(connection: Connection, limit: int) -> list[DeliveryRecord]:
    """Return the newest deliveries of which a dispatch has not ended, newest first."""
    return _of_dispatches(connection, dispatches.c.ended_at.is_(None), limit)


def _of_dispatches(connection: Connection, which: ColumnElement[bool], limit: int) -> list[DeliveryRecord]:
    newest_of_them = (
        select(dispatches.c.delivery_id).where(which).order_by(dispatches.c.seq.desc()).limit(limit)
    )
    found = select(deliveries).where(deliveries.c.id.in_(newest_of_them)).order_by(deliveries.c.seq.desc())
    rows = connection.execute(found).all()  # Far from each other, maybe: what lies between is not read.
    return [record for row in rows for record in _delivery_records(connection, [row])]


def newest_rejections(connection: Connection, limit: int) -> list[Rejection]:
    """Return the newest traces of what was not taken, newest first."""
    query = select(rejections).order_by(rejections.c.seq.desc()).limit(limit)
    return [
        Rejection(row.at, row.source, row.address, row.reason, row.status)
        for row in connection.execute(query)
    ]


def dispatch_of(row: Row[Any]) -> Dispatch:
    """Return the message itself, as it was accepted."""
    return Dispatch(
        id=row.id,
        delivery_id=row.delivery_id,
        repository=row.repository,
        event_type=row.event_type,
        client_payload=row.client_payload,
        key=row.key,
        lane=row.lane,
        accepted_at=row.accepted_at,
        overtakes=row.overtakes,
        kind=DispatchKind(row.kind),
        route=row.route,
        holds=row.holds,
        question=row.question,
        unsendable=row.unsendable,
        telling=row.telling,
        run_within=row.run_within,
    )


def _delivery_records(connection: Connection, rows: Sequence[Row[Any]]) -> list[DeliveryRecord]:
    """Put each delivery's dispatches and their attempts with it: three queries, however many rows."""
    if not rows:
        return []
    seqs = [row.seq for row in rows]  # Neighbours: what belongs to them is found between the outermost.
    here = deliveries.c.seq.between(min(seqs), max(seqs))
    sent = dispatches.join(deliveries)
    of_these = select(dispatches).select_from(sent).where(here).order_by(dispatches.c.seq)
    of_those = select(attempts).select_from(sent.join(attempts)).where(here).order_by(attempts.c.number)
    attempts_of = _grouped(connection.execute(of_those).all(), "dispatch_id", _attempt_record)
    dispatches_of = _grouped(
        connection.execute(of_these).all(),
        "delivery_id",
        lambda row: _dispatch_record(row, attempts_of.get(row.id, ())),
    )
    return [_delivery_record(row, dispatches_of.get(row.id, ())) for row in rows]


def _grouped(rows: Iterable[Row[Any]], by: str, read: Callable[[Row[Any]], R]) -> dict[str, tuple[R, ...]]:
    groups: dict[str, list[R]] = defaultdict(list)
    for row in rows:
        groups[getattr(row, by)].append(read(row))
    return {name: tuple(group) for name, group in groups.items()}


def _attempt_record(row: Row[Any]) -> AttemptRecord:
    return AttemptRecord(
        row.number, row.started_at, row.ended_at, row.outcome, row.reason, row.detail, row.status
    )


def _dispatch_record(row: Row[Any], tried: Sequence[AttemptRecord]) -> DispatchRecord:
    state, kind = DispatchState(row.state), DispatchKind(row.kind)
    return DispatchRecord(
        id=row.id,
        repository=row.repository,
        event_type=row.event_type,
        key=row.key,
        client_payload=row.client_payload,
        state=state,
        next_attempt_at=row.due_at if state is DispatchState.PENDING else None,
        attempts_used=row.attempts_used,
        possibly_duplicated=row.possibly_duplicated,
        reason=row.reason,
        detail=row.detail,
        run_url=row.run_url,
        attempts=tried,
        redeliveries=row.redeliveries,
        kind=kind,
        route=row.route,
        about=row.id.rpartition("-")[0] if kind is DispatchKind.NOTICE else None,
        sent_at=row.sent_at,
        run_id=row.run_id,
        run_status=row.run_status,
        run_conclusion=row.run_conclusion,
        report=row.report,
    )


def _delivery_record(row: Row[Any], planned: Sequence[DispatchRecord]) -> DeliveryRecord:
    return DeliveryRecord(
        id=row.id,
        source=row.source,
        received_at=row.received_at,
        address=row.address,
        encoding=row.encoding,
        body_sha256=row.body_sha256,
        event=row.event,
        fields=row.fields,
        dispatches=planned,
        repeats=row.repeats,
        last_repeat_at=row.last_repeat_at,
        reconciled=row.reconciled,
        unrouted=not planned,
    )
