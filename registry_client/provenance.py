"""Where files come from and how they were proven, for people, machines and image labels: pure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from registry_client.manifest import Manifest, ManifestEntry
from registry_client.trigger import Trigger
from registry_client.version import ArtifactVersion


def provenance(  # noqa: PLR0913 - by keyword, but for the two of the sentence
    version: ArtifactVersion,
    manifest: Manifest,
    *,
    verified_at: datetime,
    tool: str,
    trigger: Trigger | None = None,
    listed: Sequence[ManifestEntry] = (),
) -> Mapping[str, Any]:
    """What is known of the files in a directory, as plain JSON types.

    Args:
        version: What they are of.
        manifest: The entries that are there, the selected ones perhaps.
        verified_at: When the last byte was proven.
        tool: Who did it, like ``wandb-handoff/0.1.0``.
        trigger: The event that asked for them, if one did.
        listed: References that were left out.
    """
    raise NotImplementedError


def labels(known: Mapping[str, Any]) -> Mapping[str, str]:
    """Labels for an image with these files in it, out of their provenance."""
    raise NotImplementedError


def as_text(known: Mapping[str, Any]) -> str:
    """The text of provenance.json."""
    return json.dumps(known, indent=2) + "\n"


def beside(directory: Path, kind: str) -> Path:
    """Where a file *about* a directory lies: ``model`` has ``model.provenance.json`` beside it.

    Never inside: the directory holds exactly the artifact's files.
    """
    return directory.with_name(f"{directory.name}.{kind}.json")
