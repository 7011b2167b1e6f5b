"""What is remembered beside the deliveries: what was compared with W&B, what we marked, what jobs told."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Table, bindparam, delete, func, select, update
from sqlalchemy.dialects import postgresql, sqlite

from receiver.delivery import Baseline
from receiver.dispatch import DispatchKind
from receiver.ledger.runs import with_key
from receiver.ledger.schema import UtcTime, deliveries, dispatches, marks, reconciled
from registry_client.errors import InvalidReferenceError
from registry_client.reference import ArtifactId, parse_reference


def last_promoted(connection: Connection, slots: Collection[str]) -> tuple[str | None, str] | None:
    """Of the latest delivery in any of the slots: the artifact id, where it named one, and its own id."""
    newest = connection.execute(_NEWEST, {"these": sorted(set(slots))}).scalars().all()
    if not newest:
        return None
    row = connection.execute(_DELIVERY, {"its_seq": max(newest)}).one()
    return _artifact_id(row.fields), row.id


def baseline(connection: Connection, route: str, collection: str, alias: str) -> Baseline | None:
    """Return what carried the alias when the route was last compared; None where it never was."""
    which = {"its_route": route, "its_collection": collection, "its_alias": alias}
    row = connection.execute(_BASELINE, which).first()
    return None if row is None else Baseline(row.artifact_id, row.at)


def set_baseline(route: str, collection: str, alias: str, found: Baseline, connection: Connection) -> None:
    """Remember it in the place of what was there."""
    row = {"route": route, "collection": collection, "alias": alias}
    _keep(reconciled, row | {"artifact_id": found.artifact_id, "at": found.at}, connection)


def put_mark(artifact_id: str, collection: str, name: str, until: datetime, connection: Connection) -> None:
    """Keep until when an event of this counts as ours, in the place of what was kept of it."""
    row = {"artifact_id": artifact_id, "collection": collection, "name": name, "until": until}
    _keep(marks, row, connection)


def mark_until(connection: Connection, artifact_id: str, collection: str, name: str) -> datetime | None:
    """Tell until when an event of this counts as ours; None where it never did."""
    which = {"its_artifact": artifact_id, "its_collection": collection, "its_name": name}
    until: datetime | None = connection.scalar(_MARKED, which)
    return until


def forget_marks(before: datetime, connection: Connection) -> int:
    """Forget what counted as ours until before then; tell how much."""
    return connection.execute(_FORGET, {"before": before}).rowcount


def record_report(
    delivery_id: str | None, key: str | None, report: Mapping[str, Any], connection: Connection
) -> bool:
    """Keep what a job told with the dispatch that it is about; False where there is none."""
    ids = _told_of(delivery_id, key, connection)
    for each in ids:
        connection.execute(_REPORT, {"its_id": each, "report": dict(report)})
    return bool(ids)


def _told_of(delivery_id: str | None, key: str | None, connection: Connection) -> Sequence[str]:
    if delivery_id is not None:
        rows = connection.execute(_SENT_FOR, {"its_delivery": delivery_id})
        return [row.id for row in rows if key in {None, row.key}]
    return [] if key is None else [row.id for row in with_key(key, connection)]


def _artifact_id(fields: Mapping[str, str]) -> str | None:
    try:
        found = parse_reference(fields.get("artifact_version", ""))
    except InvalidReferenceError:
        return None
    return found.value if isinstance(found, ArtifactId) else None


def _keep(table: Table, row: Mapping[str, Any], connection: Connection) -> None:
    """Insert the row, or have it replace the one with the same key."""
    of_dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    inserted = of_dialect.insert(table).values(row)
    keys = [column.name for column in table.primary_key]
    changed = {name: inserted.excluded[name] for name in row if name not in keys}
    connection.execute(inserted.on_conflict_do_update(index_elements=keys, set_=changed))


_NEWEST = (
    select(func.max(deliveries.c.seq))
    .where(deliveries.c.slot.in_(bindparam("these", expanding=True)))
    .group_by(deliveries.c.slot)
)
_DELIVERY = select(deliveries.c.id, deliveries.c.fields).where(deliveries.c.seq == bindparam("its_seq"))
_BASELINE = select(reconciled.c.artifact_id, reconciled.c.at).where(
    reconciled.c.route == bindparam("its_route"),
    reconciled.c.collection == bindparam("its_collection"),
    reconciled.c.alias == bindparam("its_alias"),
)
_MARKED = select(marks.c.until).where(
    marks.c.artifact_id == bindparam("its_artifact"),
    marks.c.collection == bindparam("its_collection"),
    marks.c.name == bindparam("its_name"),
)
_FORGET = delete(marks).where(marks.c.until < bindparam("before", type_=UtcTime))
_SENT_FOR = (
    select(dispatches.c.id, dispatches.c.key)
    .where(dispatches.c.delivery_id == bindparam("its_delivery"))
    .where(dispatches.c.kind != DispatchKind.NOTICE.value)
)
_REPORT = update(dispatches).where(dispatches.c.id == bindparam("its_id"))
