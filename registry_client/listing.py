"""The files of a version as text for people, and as JSON for programs: pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from registry_client.escaping import printable
from registry_client.manifest import Manifest, ManifestEntry
from registry_client.progress import in_words
from registry_client.references import kind, shown
from registry_client.version import ArtifactVersion


def lines(manifest: Manifest) -> Iterator[str]:
    """A line for each file, its size first, then one that counts them; what lies elsewhere says where."""
    for entry in manifest.entries:
        size = in_words(entry.size) if entry.size or entry.reference is None else "?"
        where = "" if entry.reference is None else f"  -> {printable(shown(entry))}"
        yield f"{size:>11}  {printable(entry.path)}{where}"
    count, elsewhere = len(manifest.entries), len(manifest.references)
    told = f", {elsewhere:,} of them elsewhere" if elsewhere else ""
    yield f"{in_words(manifest.total_size):>11}  in {count:,} file{'' if count == 1 else 's'}{told}"


def as_json(version: ArtifactVersion, manifest: Manifest) -> Mapping[str, Any]:
    """The same, with every digest."""
    return {
        "artifact": version.name,
        "id": version.id,
        "digest": version.digest,
        "digest_algorithm": version.digest_algorithm.name,
        "size": manifest.total_size,
        "file_count": len(manifest.entries),
        "files": [_described(entry) for entry in manifest.entries],
    }


def _described(entry: ManifestEntry) -> dict[str, Any]:
    if entry.reference is None:
        return {
            "path": entry.path,
            "size": entry.size,
            "digest": entry.digest,
            "algorithm": entry.algorithm.name,
        }
    return {
        "path": entry.path,
        "size": entry.size,
        "digest": entry.digest,
        "kind": kind(entry),
        "reference": entry.reference,
        "version_id": entry.version_id,
    }
