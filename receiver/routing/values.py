"""What the names in a template stand for: from the event, and from what W&B says.  Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from receiver.event import RegistryEvent
from receiver.moment import iso
from registry_client.reference import ArtifactId
from registry_client.version import ArtifactVersion

# The event may tell these, but not whether of the registry or of the source: W&B does, if it is asked at all.
BETTER_FROM_WANDB = frozenset({"artifact.version", "artifact.name"})


def values_of_event(
    event: RegistryEvent, source: str, delivery_id: str, key: str, received_at: datetime
) -> dict[str, Any]:
    """All that the event tells; what it does not is None."""
    name = event.fields.get("artifact_version_string")
    return {
        "alias": event.alias,
        "tag": event.tag,
        "artifact.id": str(ArtifactId(event.artifact_id)) if event.artifact_id else None,
        "artifact.name": name,
        "artifact.entity": event.entity,
        "artifact.project": event.project,
        "artifact.collection": event.collection,
        "artifact.version": event.version,
        "event.type": event.event,
        "event.author": event.author,
        "event.automation": event.automation,
        "event.source": source,
        "event.delivery": delivery_id,
        "event.key": key,
        "event.received_at": iso(received_at),
        "payload": {**event.others, **event.fields, "event_type": event.dispatch_type},
    }


def without_uncertain(values: Mapping[str, Any]) -> dict[str, Any]:
    """The same, without what W&B tells better."""
    return {name: value for name, value in values.items() if name not in BETTER_FROM_WANDB}


def values_of_version(version: ArtifactVersion) -> dict[str, Any]:
    """All that W&B says of the version."""
    return {
        "artifact.id": str(ArtifactId(version.id)),
        "artifact.name": version.name,
        "artifact.entity": version.collection.entity,
        "artifact.project": version.collection.project,
        "artifact.collection": version.collection.name,
        "artifact.version": version.version,
        "artifact.type": version.type,
        "artifact.digest": version.digest,
        "artifact.size": version.size,
        "artifact.file_count": version.file_count,
        "artifact.source": version.source_name,
        "artifact.url": version.url,
        "artifact.aliases": list(version.aliases),
        "artifact.tags": list(version.tags),
        "artifact.description": version.description,
        "metadata": dict(version.metadata),
    }
