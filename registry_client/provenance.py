"""Where files come from and how they were proven, for people, machines and image labels: pure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from registry_client.manifest import Manifest, ManifestEntry
from registry_client.references import IN_ARTIFACT, kind, shown
from registry_client.trigger import Trigger
from registry_client.version import ArtifactVersion

_LABELS = "io.github.wandb-handoff"


def provenance(  # noqa: PLR0913 - by keyword, but for the two of the sentence
    version: ArtifactVersion,
    manifest: Manifest | None,
    *,
    verified_at: datetime | None,
    tool: str,
    trigger: Trigger | None = None,
    listed: Sequence[ManifestEntry] = (),
) -> Mapping[str, Any]:
    """What is known of the files in a directory, as plain JSON types.

    Args:
        version: What they are of.
        manifest: The entries that are there, the selected ones perhaps; None if nothing was downloaded.
        verified_at: When the last byte was proven.
        tool: Who did it, like ``wandb-handoff/0.1.0``.
        trigger: The event that asked for them, if one did.
        listed: References that were left out.
    """
    return {
        "artifact": version.name,
        "id": version.id,
        "version": version.version,
        "type": version.type,
        "digest": version.digest,
        "digest_algorithm": version.digest_algorithm.name,
        "collection": str(version.collection),
        "source": version.source_name,
        "url": version.url,
        "created_at": _moment(version.created_at),
        "created_by": version.created_by,
        "run": _run(version),
        "promotion": None if trigger is None else _promotion(trigger),
        "files": None if manifest is None else _files(version, manifest, listed),
        "verified_at": None if verified_at is None else _moment(verified_at),
        "verified_by": tool,
    }


def labels(known: Mapping[str, Any]) -> Mapping[str, str]:
    """Labels for an image with these files in it, out of their provenance.

    Of OCI's own names only ``version`` is used: the others (source, revision, created …) speak of the image
    and the repository that builds it.  Left out, too, is whatever differs between two builds of the same
    version, and who the people were: an image may be public.
    """
    run = known["run"] or {}
    promotion = known["promotion"] or {}
    values = {
        "org.opencontainers.image.version": known["version"],
        f"{_LABELS}.artifact": known["artifact"],
        f"{_LABELS}.id": known["id"],
        f"{_LABELS}.digest": known["digest"],
        f"{_LABELS}.digest-algorithm": known["digest_algorithm"].lower(),
        f"{_LABELS}.source": known["source"],
        f"{_LABELS}.type": known["type"],
        f"{_LABELS}.url": known["url"],
        f"{_LABELS}.created": known["created_at"],
        f"{_LABELS}.run": run.get("path"),
        f"{_LABELS}.run-commit": run.get("commit"),
        f"{_LABELS}.alias": promotion.get("alias"),
    }
    return {name: value for name, value in values.items() if value}


def as_text(known: Mapping[str, Any]) -> str:
    """The text of provenance.json."""
    return json.dumps(known, indent=2) + "\n"


def beside(directory: Path, kind: str) -> Path:
    """Where a file *about* a directory lies: ``model`` has ``model.provenance.json`` beside it.

    Never inside: the directory holds exactly the artifact's files.
    """
    return directory.with_name(f"{directory.name}.{kind}.json")


def _moment(moment: datetime) -> str:
    return moment.astimezone(timezone.utc).isoformat(timespec="seconds").replace("+00:00", "Z")


def _run(version: ArtifactVersion) -> dict[str, Any] | None:
    run = version.source_run
    return None if run is None else {"path": run.path, "name": run.name, "commit": run.commit, "url": run.url}


def _promotion(trigger: Trigger) -> dict[str, Any]:
    return {
        "event": trigger.event,
        "alias": trigger.alias,
        "by": trigger.author,
        "automation": trigger.automation,
        "delivery": trigger.delivery,
    }


def _files(version: ArtifactVersion, manifest: Manifest, listed: Sequence[ManifestEntry]) -> dict[str, Any]:
    """How many there are, and of those that the version only points at, what proved them."""
    return {
        "count": len(manifest.entries),
        "bytes": manifest.total_size,
        "of": version.file_count,
        "from_other_versions": [
            {"path": entry.path, "url": entry.reference, "digest": entry.digest}
            for entry in manifest.references
            if kind(entry) == IN_ARTIFACT
        ],
        "from_elsewhere": [
            {"path": entry.path, "url": shown(entry), "etag": entry.digest, "version_id": entry.version_id}
            for entry in manifest.references
            if kind(entry) != IN_ARTIFACT
        ],
        "left_out": len(listed),
    }
