"""Where each file of a version comes from: itself, another version it points at, or elsewhere: types."""

from __future__ import annotations

from dataclasses import dataclass, replace

from registry_client.manifest import Manifest, ManifestEntry
from registry_client.version import ArtifactVersion


@dataclass(frozen=True)
class Held:
    """A file that a version in W&B holds: the one that was asked for, or one that it points at.

    Attributes:
        path: Where it goes here.
        version: The version that holds it.
        manifest: That version's.
        entry: Its entry there, with the path that it has there.
    """

    path: str
    version: ArtifactVersion
    manifest: Manifest
    entry: ManifestEntry

    @property
    def here(self) -> ManifestEntry:
        """Its entry under the path that it gets here."""
        return self.entry if self.entry.path == self.path else replace(self.entry, path=self.path)


@dataclass(frozen=True)
class Origins:
    """The files of one version, sorted by where they come from.

    Attributes:
        manifest: What the version holds itself.
        followed: What other versions hold, proven like its own files.
        outside: What lies elsewhere and is to be fetched by ``Outside``.
        listed: What is left out, for references.json.
    """

    manifest: Manifest
    followed: tuple[Held, ...] = ()
    outside: tuple[ManifestEntry, ...] = ()
    listed: tuple[ManifestEntry, ...] = ()

    def held(self, version: ArtifactVersion) -> tuple[Held, ...]:
        """All that W&B holds, in that version itself or in others."""
        own = (Held(entry.path, version, self.manifest, entry) for entry in self.manifest.entries)
        return (*own, *self.followed)

    @property
    def size(self) -> int:
        """Bytes to have in the end, as far as the manifests tell."""
        return (
            self.manifest.total_size
            + sum(each.entry.size for each in self.followed)
            + sum(entry.size for entry in self.outside)
        )

    @property
    def file_count(self) -> int:
        """Files to have in the end."""
        return len(self.manifest.entries) + len(self.followed) + len(self.outside)
