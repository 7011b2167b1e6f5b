"""The story of a pointer: followed from version to version, to where the bytes are."""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol

from registry_client import references
from registry_client.errors import (
    AccessDeniedError,
    ArtifactNotCommittedError,
    ArtifactNotFoundError,
    ReferenceEntriesError,
)
from registry_client.manifest import Manifest, ManifestEntry
from registry_client.origins import Held, Origins
from registry_client.reference import ArtifactId
from registry_client.references import InArtifact, ReferencePolicy
from registry_client.resolve import Registry as Resolving
from registry_client.resolve import resolve
from registry_client.version import ArtifactVersion

_MOST_VERSIONS = 100  # Each costs three requests; a manifest could name one per file.


class Registry(Resolving, Protocol):
    """What following needs of W&B; WandbApi is one."""

    def manifest(self, version: ArtifactVersion) -> bytes:
        """The manifest's JSON."""
        ...


def find_origins(
    version: ArtifactVersion, manifest: Manifest, policy: ReferencePolicy, registry: Registry
) -> Origins:
    """Sort the files of a (selected) manifest by where they come from.

    Raises:
        ReferenceEntriesError: Some lie elsewhere, and the policy or their kind does not let them be fetched.
        RegistryError: A version that is pointed at could not be asked for.
    """
    own = replace(manifest, entries=manifest.files)
    if policy is ReferencePolicy.LIST:
        return Origins(own, listed=manifest.references)
    if policy is ReferencePolicy.FAIL:
        references.check_none(version, manifest.references)
    return _followed(version, own, manifest.references, registry)


class _Others:
    """The versions that are pointed at, each asked for once."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._known: dict[str, tuple[ArtifactVersion, Manifest, dict[str, ManifestEntry]]] = {}

    def get(self, artifact_id: ArtifactId) -> tuple[ArtifactVersion, Manifest, dict[str, ManifestEntry]]:
        """A version, its manifest, and that by path."""
        if artifact_id.value not in self._known:
            if len(self._known) == _MOST_VERSIONS:
                raise ReferenceEntriesError(
                    f"the files point at more than {_MOST_VERSIONS} other versions, which we do not follow"
                )
            version = resolve(artifact_id, self._registry)
            manifest = Manifest.parse(self._registry.manifest(version))
            manifest.check(version)
            by_path = {entry.path: entry for entry in manifest.entries}
            self._known[artifact_id.value] = version, manifest, by_path
        return self._known[artifact_id.value]


class _LostError(Exception):
    """A pointer leads nowhere; its text says why."""


def _followed(
    version: ArtifactVersion, own: Manifest, pointers: tuple[ManifestEntry, ...], registry: Registry
) -> Origins:
    others, problems = _Others(registry), list[str]()
    followed: list[Held] = []
    outside: list[ManifestEntry] = []
    for pointer in pointers:
        try:
            end = _end(pointer, others)
        except _LostError as lost:  # noqa: PERF203 - each round may ask W&B
            problems.append(f"{pointer.path}: {lost}")
        else:
            if isinstance(end, Held):
                followed.append(end)
            else:
                outside.append(end)
    if problems:
        raise references.refused(version, problems)
    return Origins(own, tuple(followed), tuple(outside))


def _end(pointer: ManifestEntry, others: _Others) -> Held | ManifestEntry:
    """Where a pointer leads in the end, from version to version."""
    entry, seen = pointer, set[tuple[str, str]]()
    while references.kind(entry) == references.IN_ARTIFACT:
        target = InArtifact.parse(entry.reference or "")
        if target is None:
            raise _LostError(f"{entry.reference} names no file of an artifact")
        if (target.artifact_id.value, target.path) in seen:
            raise _LostError(f"{entry.reference} leads back to where it came from")
        seen.add((target.artifact_id.value, target.path))
        try:
            holder, manifest, by_path = others.get(target.artifact_id)
        except (AccessDeniedError, ArtifactNotCommittedError, ArtifactNotFoundError) as error:
            raise _LostError(str(error)) from error
        if target.path not in by_path:
            raise _LostError(f"{holder.name} has no file {target.path!r}")
        entry = by_path[target.path]
        if entry.digest != pointer.digest:
            raise _LostError(f"in {holder.name} it has the digest {entry.digest}, want {pointer.digest}")
        if entry.reference is None:
            return Held(pointer.path, holder, manifest, entry)
    return replace(entry, path=pointer.path)
