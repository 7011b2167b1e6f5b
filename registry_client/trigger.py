"""Which artifact the event that started a workflow run means: pure, no I/O."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from registry_client.errors import ConfigurationError, InvalidReferenceError
from registry_client.reference import ArtifactId, ArtifactRef, CollectionPath, parse_reference

_LOOKED_FOR = (
    "client_payload.handoff (from the Handoff receiver), or client_payload or inputs with artifact_version, "
    "artifact_version_string, or entity_name, project_name, artifact_collection_name and alias"
)


@dataclass(frozen=True)
class Trigger:
    """What an event says of an artifact.

    Attributes:
        reference: What to resolve; an id where the event has one, because it never names another version.
        collection: Where the event took place, a registry's collection perhaps.
        alias: The alias that was given, for an alias event.
        event: W&B's word for what happened, like ``ADD_ARTIFACT_ALIAS``.
        author: Who did it, as W&B says.
        automation: The automation that told of it.
        delivery: The receiver's id of the webhook.
        key: The receiver's idempotency key.
        digest: The version's, as the receiver asked W&B before it dispatched.
    """

    reference: ArtifactRef | ArtifactId
    collection: CollectionPath | None = None
    alias: str | None = None
    event: str | None = None
    author: str | None = None
    automation: str | None = None
    delivery: str | None = None
    key: str | None = None
    digest: str | None = None


def artifact_from_event(event: Mapping[str, Any]) -> Trigger:
    """Read the event of a ``repository_dispatch``, or of a ``workflow_dispatch`` with inputs of those names.

    The receiver's ``handoff`` object comes first, then the fields that W&B documents.

    Raises:
        ConfigurationError: The event names no artifact; the message says what was looked for.
        InvalidReferenceError: It names one in a form that is none.
    """
    payload = _object(event.get("client_payload"))
    fields = (
        _of_handoff(_object(payload.get("handoff"))),
        _documented(payload),
        _documented(_object(event.get("inputs"))),
    )
    trigger = next((found for found in map(_trigger, fields) if found is not None), None)
    if trigger is None:
        raise ConfigurationError(
            f"the event that started this run names no artifact: looked for {_LOOKED_FOR}. "
            "Say which one with the input `artifact:`"
        )
    return trigger


@dataclass(frozen=True)
class _Fields:
    """The two spellings of an event, made one."""

    artifact: str | None
    name: str | None
    entity: str | None
    project: str | None
    collection: str | None
    version: str | None
    alias: str | None
    event: str | None
    author: str | None
    automation: str | None
    delivery: str | None = None
    key: str | None = None
    digest: str | None = None


def _of_handoff(data: Mapping[str, Any]) -> _Fields:
    return _Fields(
        artifact=_text(data, "artifact"),
        name=None,
        entity=_text(data, "entity"),
        project=_text(data, "project"),
        collection=_text(data, "collection"),
        version=_text(data, "version"),
        alias=_text(data, "alias"),
        event=_text(data, "event"),
        author=_text(data, "author"),
        automation=_text(data, "automation"),
        delivery=_text(data, "delivery"),
        key=_text(data, "key"),
        digest=_digest(data),
    )


def _documented(data: Mapping[str, Any]) -> _Fields:
    return _Fields(
        artifact=_text(data, "artifact_version"),
        name=_text(data, "artifact_version_string"),
        entity=_text(data, "entity_name"),
        project=_text(data, "project_name"),
        collection=_text(data, "artifact_collection_name"),
        version=None,
        alias=_text(data, "alias"),
        event=_text(data, "event_type"),
        author=_text(data, "event_author"),
        automation=_text(data, "automation_name"),
    )


def _trigger(fields: _Fields) -> Trigger | None:
    collection = _collection(fields)
    pinned = fields.version or fields.alias
    text = fields.artifact or fields.name or (f"{collection}:{pinned}" if collection and pinned else None)
    if text is None:
        return None
    return Trigger(
        reference=parse_reference(text),
        collection=collection,
        alias=fields.alias,
        event=fields.event,
        author=fields.author,
        automation=fields.automation,
        delivery=fields.delivery,
        key=fields.key,
        digest=fields.digest,
    )


def _collection(fields: _Fields) -> CollectionPath | None:
    if not (fields.entity and fields.project and fields.collection):
        return None
    try:
        parse_reference(f"{fields.entity}/{fields.project}/{fields.collection}:v0")
    except InvalidReferenceError:  # An unfilled template, say; the reference itself will tell.
        return None
    return CollectionPath(fields.entity, fields.project, fields.collection)


def _digest(data: Mapping[str, Any]) -> str | None:
    found = _text(data, "digest")
    return found.lower() if found and re.fullmatch(r"[0-9A-Fa-f]{32}", found) else None


def _object(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _text(data: Mapping[str, Any], name: str) -> str | None:
    """The field without the stray quotes that W&B's templates may leave; None if empty."""
    value = data.get(name)
    return value.strip().strip("\"'").strip() or None if isinstance(value, str) else None
