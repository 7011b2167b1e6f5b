"""What is to be sent for an event: pure, no I/O."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timezone
from typing import Any

from receiver.dispatch import Dispatch
from receiver.errors import BadPayloadError
from receiver.event import EXTRA_VARIABLES, VARIABLES, WEBHOOK_VARIABLES, RegistryEvent
from receiver.secret import Secret, holds_one
from receiver.strict_json import shown, strings
from registry_client.reference import ArtifactId

MOST_PROPERTIES = 10  # GitHub's own limit.
MOST_BYTES = 60_000  # GitHub takes 65,535 characters; a margin for how it counts them.
OWN_FIELD = "handoff"
RESERVED_NAMES = frozenset({*VARIABLES, OWN_FIELD, "client_payload"})
_ONLY_IN_OURS = frozenset({"automation_name", "artifact_version_index"})
_COMPACT = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))


def plan(  # noqa: PLR0913 - all that a dispatch depends on, and nothing else
    event: RegistryEvent,
    delivery_id: str,
    received_at: datetime,
    *,
    repository: str,
    forward: Sequence[str] = (),
    overtakes: bool = False,
) -> tuple[Dispatch, ...]:
    """The messages that the event asks for, each ready to be sent as it is.

    ``client_payload`` holds W&B's documented fields under their documented names, what ``forward``
    names, and our own ``handoff`` object.  What W&B documents for runs fills the room that is left.

    Raises:
        BadPayloadError: GitHub would not take it; the reason is ``too-many-properties`` or
            ``payload-too-large``.
    """
    key = digest(delivery_id, repository)[:20]
    payload = {
        **{name: event.fields[name] for name in WEBHOOK_VARIABLES if name in event.fields},
        **{name: event.others[name] for name in forward if name in event.others},
        OWN_FIELD: _own(event, delivery_id, received_at, key),
    }
    for name in EXTRA_VARIABLES:
        if name in event.fields and name not in _ONLY_IN_OURS and len(payload) < MOST_PROPERTIES:
            payload[name] = event.fields[name]
    _check_size(payload)
    dispatch = Dispatch(
        id=f"{delivery_id}-1",
        delivery_id=delivery_id,
        repository=repository,
        event_type=event.dispatch_type,
        client_payload=payload,
        key=key,
        lane="/".join((repository, event.entity or "", event.project or "", event.collection or "")),
        accepted_at=received_at,
        overtakes=overtakes,
    )
    return (dispatch,)


def slot(event: RegistryEvent, source: str) -> str:
    """What a later promotion of the same kind would replace, as a digest."""
    return digest(*_slot(event, source))


def fingerprint(event: RegistryEvent, source: str) -> str:
    """What happened, exactly, as a digest: the same promotion told twice has the same."""
    version = event.artifact_id or event.fields.get("artifact_version_string")
    return digest(*_slot(event, source), event.dispatch_type, version or event.fields.get("run_name"))


def ignored(event: RegistryEvent, dispatches: Iterable[Dispatch]) -> tuple[str, ...]:
    """The names of what the body carries and no dispatch does."""
    sent = {name for dispatch in dispatches for name in dispatch.client_payload} | _ONLY_IN_OURS
    return tuple(name for name in (*event.fields, *event.others) if name not in sent)


def check_no_secret(
    event: RegistryEvent, dispatches: Iterable[Dispatch], secrets: Collection[Secret]
) -> None:
    """Pass when nothing that is kept, sent or answered holds one of the secrets.

    A body in W&B can hold ``${ACCESS_TOKEN}`` and ``${SECRET_NAME}``, by mistake or by intent.

    Raises:
        BadPayloadError: One does; the message names the field.
    """
    leaving: list[tuple[str, Any]] = [("event_type", event.dispatch_type), *event.fields.items()]
    for dispatch in dispatches:
        leaving += dispatch.client_payload.items()
    everything = [text for pair in leaving for value in pair for text in strings(value)]
    if not holds_one("\n".join([*everything, *event.others]), secrets):
        return  # Nearly always; only then is it worth knowing where.
    for name, value in leaving:
        if any(holds_one(text, secrets) for text in strings(value)):
            raise _secret_in(name)
    if any(holds_one(name, secrets) for name in (*dict(leaving), *event.others)):
        raise _secret_in("the name of a field")


def digest(*parts: str | None) -> str:
    """A digest of the parts in their order, hex."""
    return hashlib.sha256(json.dumps(parts).encode("ascii")).hexdigest()


def iso(moment: datetime) -> str:
    """The moment in UTC, as ISO 8601 with a ``Z``."""
    return moment.astimezone(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _own(event: RegistryEvent, delivery_id: str, received_at: datetime, key: str) -> dict[str, str | None]:
    return {
        "delivery": delivery_id,
        "key": key,
        "event": event.event,
        "artifact": str(ArtifactId(event.artifact_id)) if event.artifact_id else None,
        "version": event.version,
        "entity": event.entity,
        "project": event.project,
        "collection": event.collection,
        "alias": event.alias,
        "tag": event.tag,
        "author": event.author,
        "automation": event.automation,
        "received_at": iso(received_at),
    }


def _slot(event: RegistryEvent, source: str) -> tuple[str | None, ...]:
    return (source, event.event, event.entity, event.project, event.collection, event.alias, event.tag)


def _check_size(payload: Mapping[str, Any]) -> None:
    if len(payload) > MOST_PROPERTIES:
        raise BadPayloadError(
            f"client_payload would have {len(payload)} properties, and GitHub takes {MOST_PROPERTIES}: "
            f"{', '.join(payload)}. Name fewer in HANDOFF_FORWARD_FIELDS.",
            reason="too-many-properties",
        )
    size = len(compact(payload))
    if size > MOST_BYTES:
        largest = max(payload, key=lambda name: len(compact(payload[name])))
        raise BadPayloadError(
            f"client_payload would have {size} bytes; want at most {MOST_BYTES}. "
            f"The largest field is {shown(largest)}.",
            reason="payload-too-large",
        )


def compact(value: Any) -> bytes:
    """The JSON as it is counted and sent: UTF-8, no spaces."""
    return _COMPACT.encode(value).encode("utf-8")


def _secret_in(where: str) -> BadPayloadError:
    return BadPayloadError(
        f"{where} holds a secret of this receiver, and what it holds would be kept and sent on. Take "
        "${ACCESS_TOKEN} or ${SECRET_NAME} out of the automation's payload.",
        reason="secret-in-payload",
    )
