"""What the Action hands to the steps after it, made of a version: pure, no I/O."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from registry_client.manifest import ManifestEntry
from registry_client.version import ArtifactVersion

_LONGEST_TAG = 128
_DIGEST_SHOWN = 12


@dataclass(frozen=True)
class Downloaded:
    """What a step has done beyond resolving.

    Attributes:
        provenance: Where that file is.
        references: Where that file is; empty if no file was left out.
        fetched: Bytes that came over the network.
        reused: Bytes that were here already.
        context: Where the build context is; empty if none was written.
    """

    path: str
    files: tuple[ManifestEntry, ...]
    left_out: int
    provenance: str
    references: str
    fetched: int
    reused: int
    context: str = ""

    @property
    def size(self) -> int:
        """Bytes, of all files together."""
        return sum(entry.size for entry in self.files)


def outputs(
    version: ArtifactVersion, labels: Mapping[str, str], done: Downloaded | None
) -> Mapping[str, str]:
    """The outputs of action.yml, each a string; ``done`` is None when the step resolved only."""
    return {
        "path": "" if done is None else done.path,
        "provenance": "" if done is None else done.provenance,
        "references": "" if done is None else done.references,
        "context": "" if done is None else done.context,
        "fetched": str(done.fetched if done is not None else 0),
        "reused": str(done.reused if done is not None else 0),
        "artifact": version.name,
        "id": version.id,
        "version": version.version,
        "digest": version.digest,
        "collection": str(version.collection),
        "source": version.source_name,
        "type": version.type,
        "aliases": _json(list(version.aliases)),
        "tags": _json(list(version.tags)),
        "metadata": _json(version.metadata),
        "image-tag": image_tag(version),
        "labels": label_lines(labels),
        "size": str(version.size if done is None else done.size),
        "file-count": str(version.file_count if done is None else len(done.files)),
        "url": version.url,
        "reason": "",
    }


def image_tag(version: ArtifactVersion) -> str:
    """A tag for an image with this version in it: the same for the same content, never for another."""
    return _safe(f"{version.version}-{version.digest[:_DIGEST_SHOWN]}")[:_LONGEST_TAG] or "unnamed"


def directory_name(version: ArtifactVersion) -> str:
    """A name for a directory that holds this version, fit for every system."""
    collection = _safe(version.collection.name).rstrip("-.") or "artifact"
    return f"{collection[:_LONGEST_TAG]}-{image_tag(version)}"


def label_lines(labels: Mapping[str, str]) -> str:
    """Labels for the image, a line each, as docker/build-push-action reads them."""
    return "\n".join(f"{key}={_label(value)}" for key, value in labels.items())


def _label(value: str) -> str:
    # docker/metadata-action evaluates {{…}} and takes double quotes and # for its own.
    kept = "".join(char for char in value if char.isprintable())
    while "{{" in kept:
        kept = kept.replace("{{", "{ {")
    return kept.replace('"', "'").replace("#", "")


def _safe(text: str) -> str:
    """The text in the letters of an image's tag, which are those of any file's name too."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", text).lstrip("-.")


def _json(value: Any) -> str:
    """JSON in ASCII that every reader takes: what is no number there becomes text."""
    return json.dumps(_finite(value), separators=(",", ":"), sort_keys=True)


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
