"""What the Action hands to the steps after it, made of a version: pure, no I/O."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any

from registry_client.version import ArtifactVersion

_LABELS = "io.github.wandb-handoff"
_LONGEST_TAG = 128
_DIGEST_SHOWN = 12


def outputs(version: ArtifactVersion, *, path: str) -> Mapping[str, str]:
    """The outputs of action.yml, each a string; ``path`` is empty when nothing was downloaded."""
    return {
        "path": path,
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
        "labels": labels(version),
        "size": str(version.size),
        "file-count": str(version.file_count),
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


def labels(version: ArtifactVersion) -> str:
    """Labels for the image, a line each, as docker/build-push-action reads them."""
    values = {
        "org.opencontainers.image.version": version.version,
        f"{_LABELS}.artifact": version.name,
        f"{_LABELS}.id": version.id,
        f"{_LABELS}.digest": version.digest,
        f"{_LABELS}.digest-algorithm": version.digest_algorithm.name.lower(),
        f"{_LABELS}.source": version.source_name,
        f"{_LABELS}.type": version.type,
        f"{_LABELS}.url": version.url,
    }
    return "\n".join(f"{key}={_label(value)}" for key, value in values.items())


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
