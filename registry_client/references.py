"""Files that an artifact only points at: what to do about them, and what is said of them."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any
from urllib.parse import urlsplit

from registry_client.errors import ConfigurationError, ReferenceEntriesError
from registry_client.manifest import ManifestEntry
from registry_client.reference import ArtifactId
from registry_client.version import ArtifactVersion

IN_ARTIFACT = "wandb-artifact"  # A kind: W&B's own.
_SHOWN = 10
_AZURE_HOST = ".blob.core.windows.net"


class ReferencePolicy(Enum):
    """What to do about files that lie elsewhere.

    FAIL refuses the artifact and lists them; LIST leaves them out and writes them to references.json;
    FETCH fetches them, each checked by what the artifact knows of it.
    """

    FAIL = "fail"
    LIST = "list"
    FETCH = "fetch"

    @classmethod
    def parse(cls, text: str) -> ReferencePolicy:
        """Read a setting, or raise ConfigurationError."""
        try:
            return cls(text.strip().lower())
        except ValueError:
            raise ConfigurationError(f"references: got {text!r}, want fail, list or fetch") from None


@dataclass(frozen=True)
class InArtifact:
    """A file of another artifact version."""

    artifact_id: ArtifactId
    path: str

    @classmethod
    def parse(cls, reference: str) -> InArtifact | None:
        """Read ``wandb-artifact://<the id in hex>/<path>``; None when it is another form."""
        match = re.fullmatch(rf"{IN_ARTIFACT}://([0-9a-fA-F]+)/(.+)", reference, re.DOTALL)
        if match is None or len(match[1]) % 2:
            return None
        raw = bytes.fromhex(match[1])
        if re.fullmatch(rb"Artifact:[0-9]+", raw) is None:
            return None
        return cls(ArtifactId(base64.b64encode(raw).decode("ascii")), match[2])


def kind(entry: ManifestEntry) -> str:
    """Who keeps it: ``wandb-artifact``, ``https``, ``s3``, ``gs``, ``az``, or what its URL begins with."""
    try:
        parts = urlsplit(entry.reference or "")
    except ValueError:
        return "unknown"
    if parts.scheme == "https" and (parts.hostname or "").endswith(_AZURE_HOST):
        return "az"
    return parts.scheme or "unknown"


def pinned(entry: ManifestEntry) -> bool:
    """Whether the artifact knows anything of the content; without a checksum the digest is the URL again."""
    return bool(entry.digest) and entry.digest != entry.reference


def shown(entry: ManifestEntry) -> str:
    """Its URL for a message: without what may sign somebody in."""
    url = entry.reference or ""
    if kind(entry) in {"s3", "gs", IN_ARTIFACT}:
        return url
    scheme, slashes, rest = re.split(r"[?#]", url, maxsplit=1)[0].partition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme}{slashes}{host.rpartition('@')[2]}{slash}{path}"


def check_none(version: ArtifactVersion, references: Sequence[ManifestEntry]) -> None:
    """Check that nothing lies elsewhere, or raise ReferenceEntriesError with the list."""
    if references:
        raise ReferenceEntriesError(
            f"{version.name} points at {len(references)} file(s) that it does not hold:"
            + _list([f"{each.path}: {shown(each)}" for each in references])
            + "\nreferences: list leaves them out and writes them to a file, references: fetch fetches them"
        )


def refused(version: ArtifactVersion, problems: Sequence[str]) -> ReferenceEntriesError:
    """The error that says why some cannot be fetched."""
    return ReferenceEntriesError(
        f"{version.name} points at {len(problems)} file(s) that cannot be fetched:{_list(problems)}"
        "\nreferences: list leaves them out and writes them to a file"
    )


def as_json(version: ArtifactVersion, references: Sequence[ManifestEntry]) -> Mapping[str, Any]:
    """What references.json holds: enough to fetch each with its storage's own tool."""
    return {
        "artifact": version.name,
        "digest": version.digest,
        "references": [_described(entry) for entry in references],
    }


def as_text(version: ArtifactVersion, references: Sequence[ManifestEntry]) -> str:
    """The same as the text of the file."""
    return json.dumps(as_json(version, references), indent=2) + "\n"


def _described(entry: ManifestEntry) -> dict[str, Any]:
    known: dict[str, Any] = {"path": entry.path, "kind": kind(entry), "url": entry.reference}
    if pinned(entry):
        known["etag" if kind(entry) != IN_ARTIFACT else "digest"] = entry.digest
    if entry.version_id is not None:
        known["version_id"] = entry.version_id
    if entry.size:
        known["size"] = entry.size
    return known


def _list(lines: Sequence[str]) -> str:
    more = len(lines) - _SHOWN
    return "".join(f"\n- {line}" for line in lines[:_SHOWN]) + (f"\n… and {more} more" if more > 0 else "")
