"""What a person has sent anew, with the same key and by the same way out; or not at all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, bindparam, select, update

from receiver.delivery import ByHand, DispatchState
from receiver.dispatch import DispatchKind
from receiver.errors import LedgerError
from receiver.ledger.records import NoSuchDeliveryError, begins_with
from receiver.ledger.schema import deliveries, dispatches

_PENDING, _SENDING = DispatchState.PENDING, DispatchState.SENDING
_DEAD, _DISMISSED = DispatchState.DEAD, DispatchState.DISMISSED

_BUSY = "is being sent just now: wait until that has ended, and look again"
_BUILDS, _ASKS = "starts another build", "asks W&B anew whether it still holds"
# Why it needs force, and what force does.
_ONLY_WITH_FORCE = {
    DispatchState.SENT: ("was sent", _BUILDS),
    DispatchState.SUPERSEDED: ("was superseded by a later promotion", _BUILDS),
    DispatchState.OUTDATED: ("no longer held when it was to be sent", _ASKS),
    DispatchState.UNWANTED: ("is not wanted by its route, by what W&B said", _ASKS),
}


class NotRedeliveredError(LedgerError):
    """Nothing was changed, as things stand; the message says what to do."""

    reason = "not-redelivered"


class NotDismissedError(LedgerError):
    """Nothing was changed: there is nothing to dismiss."""

    reason = "not-dismissed"


def redeliver(
    id_prefix: str, now: datetime, connection: Connection, *, force: bool, only_tell: bool
) -> list[ByHand]:
    """Have the dispatches of a delivery, or one dispatch, sent anew; or only tell what would become of each.

    Raises:
        NoSuchDeliveryError: No id, or more than one, begins like that.
        NotRedeliveredError: None of them can be sent anew; nothing was changed.
    """
    rows = _found(id_prefix, connection, notices=False, lock=not only_tell)
    told = [_by_hand(row, *_will(row, DispatchState(row.state), force=force)) for row in rows]
    if not any(one.changes for one in told):
        raise NotRedeliveredError(_nothing(told))
    for row, one in zip(rows, told, strict=True):
        if one.changes and not only_tell:
            connection.execute(_UPDATE, {"its_seq": row.seq, **_anew(row, now, force=force)})
    return told


def dismiss(id_prefix: str, now: datetime, connection: Connection, *, only_tell: bool) -> list[ByHand]:
    """Have the dead dispatches of a delivery, or one, count as seen to, and those that wait not sent at all.

    Raises:
        NoSuchDeliveryError: No id, or more than one, begins like that.
        NotDismissedError: None of them is dead or waits; nothing was changed.
    """
    rows = _found(id_prefix, connection, notices=True, lock=not only_tell)
    told = [_by_hand(row, *_will_without(row, DispatchState(row.state))) for row in rows]
    if not any(one.changes for one in told):
        raise NotDismissedError(_nothing(told))
    for row, one in zip(rows, told, strict=True):
        if one.changes and not only_tell:
            connection.execute(_UPDATE, {"its_seq": row.seq, **_no_more(row, now)})
    return told


def _found(id_prefix: str, connection: Connection, *, notices: bool, lock: bool) -> Sequence[Row[Any]]:
    """Return the dispatches that are meant: a delivery's, perhaps without notices, or the one of that id."""
    named = _one(connection.scalars(_ids(deliveries, id_prefix)).all(), id_prefix)
    its: ColumnElement[bool] = dispatches.c.delivery_id == named
    if not notices:
        its &= dispatches.c.kind != DispatchKind.NOTICE.value
    if named is None:
        its = dispatches.c.id == _one(connection.scalars(_ids(dispatches, id_prefix)).all(), id_prefix)
    query = select(dispatches).where(its).order_by(dispatches.c.seq)
    rows = connection.execute(query.with_for_update() if lock else query).all()
    if not rows and named is not None:
        error = NotDismissedError if notices else NotRedeliveredError
        raise error(f"delivery {named} has nothing to send")
    if not rows:
        raise NoSuchDeliveryError(f"no delivery and no dispatch has an id that begins with {id_prefix!r}")
    return rows


def _ids(table: Any, id_prefix: str) -> Any:
    return select(table.c.id).where(begins_with(table.c.id, id_prefix)).order_by(table.c.id).limit(2)


def _one(ids: Sequence[str], id_prefix: str) -> str | None:
    if len(ids) > 1 and ids[0] != id_prefix:
        raise NoSuchDeliveryError(f"more than one id begins with {id_prefix!r}")
    return ids[0] if ids else None


def _by_hand(row: Row[Any], will: str, changes: bool) -> ByHand:
    return ByHand(row.id, DispatchState(row.state), will, changes)


def _nothing(told: Sequence[ByHand]) -> str:
    return "; ".join(f"dispatch {one.dispatch_id} {one.will}" for one in told)


def _will(row: Row[Any], was: DispatchState, *, force: bool) -> tuple[str, bool]:
    if was is _SENDING:
        return _BUSY, False
    if row.unsendable is not None:
        return f"can never be sent as it is ({row.unsendable}): mend its route, then promote anew", False
    if was in {_PENDING, _DEAD, _DISMISSED}:
        when = "is sent now instead of later" if was is _PENDING else "is sent again now, with the same key"
        return f"{when}{_after_a_look(row, force=force)}", True
    why, then = _ONLY_WITH_FORCE[was]
    if force:
        return f"is sent again now and {then}, with the same key", True
    return f"{why}: only with force is it sent again, and {then}", False


def _after_a_look(row: Row[Any], *, force: bool) -> str:
    if not row.doubts:
        return ""
    if force:
        return ", without a look for the run that an earlier attempt may have started"
    return ", unless its run is found: an earlier attempt may have arrived"


def _anew(row: Row[Any], now: datetime, *, force: bool) -> Mapping[str, Any]:
    """Return what becomes of the row; of all doubts one is kept, so that its run is looked for first."""
    values: dict[str, Any] = {"state": _PENDING.value, "due_at": now, "ended_at": None}
    values |= dict.fromkeys(_OF_ITS_RUN) | {"run_looks": 0}
    values |= {"redeliveries": row.redeliveries + 1, "redelivered_at": now, "crashes": 0}
    looks = bool(row.doubts) and not force
    if row.state != _PENDING.value:
        values |= {"attempts_used": 0, "doubts": int(looks)}
    if not looks:
        values |= {"doubts": 0, "doubt_since": None}
    return values | {"possibly_duplicated": row.possibly_duplicated or (force and row.doubts > 0)}


def _will_without(row: Row[Any], was: DispatchState) -> tuple[str, bool]:
    if was is _SENDING:
        return _BUSY, False
    if was is _DEAD:
        return "is dismissed: it stays unsent, and counts as dead no more", True
    if was is _PENDING:
        doubt = "; an earlier attempt may have arrived" if row.doubts else ""
        return f"is dismissed, and is not sent{doubt}", True
    return f"is {was.value}: there is nothing to dismiss", False


def _no_more(row: Row[Any], now: datetime) -> Mapping[str, Any]:
    """Return what becomes of the row; why it was dead stays."""
    values: dict[str, Any] = {"state": _DISMISSED.value, "due_at": None}
    if row.state == _PENDING.value:
        values |= {
            "ended_at": now,
            "reason": _DISMISSED.value,
            "detail": "a person said that it is not to be sent",
        }
    return values


_OF_ITS_RUN = ("sent_at", "run_url", "run_id", "run_status", "run_conclusion", "run_due_at", "report")
_UPDATE = update(dispatches).where(dispatches.c.seq == bindparam("its_seq"))
