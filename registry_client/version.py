"""What a name meant when we asked W&B: a version, which never changes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Any

from registry_client.reference import CollectionPath


class DigestAlgorithm(Enum):
    """How W&B digests: the value is GraphQL's."""

    MD5 = "MANIFEST_MD5"
    XXH128 = "MANIFEST_XXH128"


@dataclass(frozen=True)
class SourceRun:
    """The run that logged a version.

    Attributes:
        path: ``entity/project/id``.
        name: As people see it.
        commit: Of its code, where W&B knows it.
        url: Its page in W&B.
    """

    path: str
    name: str
    commit: str | None
    url: str


@dataclass(frozen=True)
class ArtifactVersion:
    """One committed artifact version, pinned by its id and digest.

    Attributes:
        id: GraphQL's global id, base64.
        collection: Where it was found: a registry's collection for a link, else its source.
        version: ``vN`` in that collection.
        source: The collection that it was logged to.
        source_version: ``vN`` there; the two differ for a link.
        digest: Of the manifest, lower-case hex; it covers every path and file digest.
        aliases: In ``collection``, without the ``vN``.
        metadata: Top-level keys as logged.
        size: Bytes, of all files together.
        created_at: When it was logged, UTC.
        url: Its page in W&B.
        source_run: The run that logged it, where one did and the key sees it.
        created_by: The user who logged it, where no run did.
    """

    id: str
    collection: CollectionPath
    version: str
    source: CollectionPath
    source_version: str
    type: str
    digest: str
    digest_algorithm: DigestAlgorithm
    aliases: tuple[str, ...]
    tags: tuple[str, ...]
    metadata: Mapping[str, Any]
    description: str | None
    size: int
    file_count: int
    created_at: datetime
    url: str
    source_run: SourceRun | None = None
    created_by: str | None = None

    @property
    def name(self) -> str:
        """The full pinned name, ``entity/project/collection:vN``."""
        return f"{self.collection}:{self.version}"

    @property
    def source_name(self) -> str:
        """The full pinned name at its source."""
        return f"{self.source}:{self.source_version}"
