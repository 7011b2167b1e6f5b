"""Deliveries by the thousand, put into a ledger: as they are accepted, or as they are when all is over."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta, timezone
from itertools import islice
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, insert, text

from benchmarks.load import COLLECTIONS, body
from benchmarks.servers import REPOSITORY
from receiver import plan
from receiver.config.from_settings import SOURCE
from receiver.delivery import Delivery
from receiver.dispatch import Dispatch
from receiver.event import RegistryEvent, read_event
from receiver.intake import new_id
from receiver.ledger import Ledger
from receiver.ledger.schema import attempts, deliveries, dispatches
from receiver.routing.planned import Arrival

_BATCH = 5_000
_EVERY = timedelta(seconds=1)


def delivery(number: int, now: datetime) -> tuple[Delivery, Sequence[Dispatch]]:
    """The delivery that the intake would make of promotion ``number``, and what it would plan."""
    content = body(number)
    event = read_event(content)
    assert isinstance(event, RegistryEvent)
    delivery_id = new_id(now)
    made = Delivery(
        id=delivery_id,
        source=SOURCE,
        received_at=now,
        address="127.0.0.1",
        encoding="hex",
        body_sha256=hashlib.sha256(content).hexdigest(),
        event=event,
        slot=plan.slot(event, SOURCE),
        fingerprint=plan.fingerprint(event, SOURCE),
    )
    arrival = Arrival(event, SOURCE, delivery_id, now)
    return made, plan.plan(arrival, plan.Rules.of_one_repository(REPOSITORY))


def fill_pending(database_url: str, count: int) -> None:
    """Have so many dispatches wait in a new ledger, accepted as ever."""
    with Ledger.open(database_url) as ledger:
        for number in range(count):
            ledger.accept(*delivery(number, datetime.now(timezone.utc)))


def fill_ended(database_url: str, count: int) -> None:
    """Have so many deliveries in a new ledger, each with a dispatch that was sent at the first attempt."""
    Ledger.open(database_url).close()
    engine = create_engine(database_url)
    try:
        if engine.dialect.name == "sqlite":
            _insert_quickly(engine, count)
        else:
            with engine.begin() as connection:
                _insert(connection, count)
                connection.execute(text("ANALYZE"))  # As autovacuum does within a minute.
    finally:
        engine.dispose()


def _insert_quickly(engine: Engine, count: int) -> None:
    with engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA synchronous = OFF")  # Only while it is filled.
        connection.exec_driver_sql("PRAGMA cache_size = -1000000")
        _insert(connection, count)
        connection.commit()
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")


def _insert(connection: Connection, count: int) -> None:
    rows = _rows(count)
    while batch := list(islice(rows, _BATCH)):
        connection.execute(insert(deliveries), [row[0] for row in batch])
        connection.execute(insert(dispatches), [row[1] for row in batch])
        connection.execute(insert(attempts), [row[2] for row in batch])


def _rows(count: int) -> Iterator[tuple[dict[str, Any], dict[str, Any], dict[str, Any]]]:
    """The three rows of each, the oldest first; read and planned once for each collection, then varied."""
    last = datetime.now(timezone.utc) - timedelta(days=1)
    samples = [delivery(number, last) for number in range(COLLECTIONS)]
    for number in range(count):
        told, planned = samples[number % COLLECTIONS]
        yield _row(number, last - (count - number) * _EVERY, told, planned[0])


def _row(
    number: int, at: datetime, told: Delivery, dispatch: Dispatch
) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    delivery_id, fingerprint = new_id(at), hashlib.sha256(b"%d" % number).hexdigest()
    key, sent = fingerprint[:20], at + timedelta(milliseconds=250)
    fields = {**told.event.fields, "artifact_version": f"wandb-artifact://_id/{fingerprint[:24]}"}
    own = {**dispatch.client_payload["handoff"], "delivery": delivery_id, "key": key}
    return (
        {
            "id": delivery_id,
            "source": told.source,
            "received_at": at,
            "address": told.address,
            "encoding": told.encoding,
            "body_sha256": hashlib.sha256(b"body %d" % number).hexdigest(),
            "event": told.event.event,
            "fields": fields,
            "slot": told.slot,
            "fingerprint": fingerprint,
        },
        {
            "id": f"{delivery_id}-1",
            "delivery_id": delivery_id,
            "repository": dispatch.repository,
            "event_type": dispatch.event_type,
            "client_payload": {**dispatch.client_payload, **fields, "handoff": own},
            "key": key,
            "lane": dispatch.lane,
            "accepted_at": at,
            "state": "sent",
            "ended_at": sent,
            "fence": 1,
            "attempts_begun": 1,
            "attempts_used": 1,
            "doubts": 0,
            "possibly_duplicated": False,
            "reason": "sent",
            "detail": "GitHub took it",
        },
        {
            "dispatch_id": f"{delivery_id}-1",
            "number": 1,
            "started_at": at,
            "ended_at": sent,
            "outcome": "sent",
            "reason": "sent",
            "detail": "GitHub took it",
            "status": 204,
        },
    )
