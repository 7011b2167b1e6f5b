"""W&B in memory, with the rules that the client's stories depend on."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from typing import Any

from registry_client.digest import digester
from registry_client.manifest import Manifest, ManifestEntry
from registry_client.patience import TransientError
from registry_client.record import (
    ArtifactRecord,
    ArtifactState,
    Membership,
    Organization,
    Surroundings,
)
from registry_client.reference import ArtifactId, CollectionPath
from registry_client.resolve import resolve
from registry_client.version import ArtifactVersion, DigestAlgorithm
from registry_client.wire import StaleUrlError

FLOWER = "acme/vision/flower"
LINKED = "acme-org/wandb-registry-model/Flower"
LABELS = {"labels.txt": b"cat dog", "weights/model.bin": bytes(range(256)) * 8}


def collection(path: str) -> CollectionPath:
    """``entity/project/name`` as a CollectionPath."""
    return CollectionPath(*path.split("/"))


@dataclass(eq=False)
class FakeAnswer:
    """The bytes of one connection; ``fault`` comes after them."""

    content: bytes
    offset: int = 0
    announced: bool = True
    length: int | None = None
    total: int | None = None
    status: int = 200
    encoding: str | None = None
    etag: str | None = None
    fault: Exception | None = None
    aborted: bool = False

    def chunks(self) -> Iterator[bytes]:
        """The bytes, a few at a time."""
        step = max(512, len(self.content) // 100)
        for start in range(0, len(self.content), step):
            yield self.content[start : start + step]
        if self.fault is not None:
            raise self.fault

    def abort(self) -> None:
        """Remember it."""
        self.aborted = True


@dataclass
class Place:
    """A collection with its versions; an alias is at one of them."""

    path: CollectionPath
    linked: bool
    versions: list[str] = field(default_factory=list)
    aliases: dict[str, str] = field(default_factory=dict)

    def membership(self, artifact_id: str) -> Membership:
        """How this collection knows the artifact."""
        aliases = tuple(alias for alias, holder in self.aliases.items() if holder == artifact_id)
        return Membership(self.path, f"v{self.versions.index(artifact_id)}", aliases, linked=self.linked)


class FakeRegistry:
    """A W&B that keeps its rules: aliases move, ids stay, URLs are used up.

    Attributes:
        files: What the file store serves for each path of the version logged last, to be spoiled.
        hidden: Paths that W&B gives no URL for.
        broken: For each path the answers, or errors, that come before the real one.
        opened: Every address opened, with the offset.
        renewed: Every path whose URL was asked for anew.
        ranges: Whether the file store knows them.
        page: How many URLs come at a time.
        asked_for_urls: How often all URLs were asked for.
        parts: Every part of a file asked for, as path, offset and length.
    """

    def __init__(self, base_url: str = "https://api.wandb.ai") -> None:
        self.base_url = base_url
        self.organizations: list[Organization] = []
        self.files: dict[str, bytes] = {}
        self.hidden: set[str] = set()
        self.broken: dict[str, list[FakeAnswer | Exception]] = {}
        self.opened: list[tuple[str, int]] = []
        self.renewed: list[str] = []
        self.ranges = True
        self.page = 1000
        self.asked_for_urls = 0
        self.parts: list[tuple[str, int, int | None]] = []
        self.on_open: Callable[[str], object] = lambda _: None
        self.records: dict[str, ArtifactRecord] = {}
        self.manifests: dict[str, bytes] = {}
        self.url_generation = 0
        self._places: dict[CollectionPath, Place] = {}

    # --- what people do in W&B

    def log(
        self,
        path: str = FLOWER,
        files: Mapping[str, bytes] | None = None,
        *,
        aliases: tuple[str, ...] = (),
        algorithm: DigestAlgorithm = DigestAlgorithm.MD5,
        state: ArtifactState = ArtifactState.COMMITTED,
        **more: Any,
    ) -> ArtifactRecord:
        """Log the next version of a collection."""
        self.files = dict(LABELS if files is None else files)
        number = 517889887 + len(self.records)
        artifact_id = base64.b64encode(f"Artifact:{number}".encode()).decode()
        place = self._place(collection(path), linked=False)
        place.versions.append(artifact_id)
        body = manifest_of(self.files, algorithm)
        self.manifests[artifact_id] = body
        self.records[artifact_id] = ArtifactRecord(
            id=artifact_id,
            state=state,
            source=place.path,
            source_version=f"v{len(place.versions) - 1}",
            type="model",
            digest=Manifest.parse(body).digest(algorithm),
            digest_algorithm=algorithm,
            tags=(),
            metadata=more.get("metadata", {}),
            description=None,
            size=sum(map(len, self.files.values())),
            file_count=len(self.files),
            created_at=datetime(2026, 1, 31, 12, tzinfo=timezone.utc),
            memberships=(),
        )
        self.name(path, artifact_id, "latest", *aliases)
        return self.records[artifact_id]

    def link(self, record: ArtifactRecord, path: str, *aliases: str) -> None:
        """Show a version in a registry's collection."""
        self._place(collection(path), linked=True).versions.append(record.id)
        self.name(path, record.id, "latest", *aliases)

    def name(self, path: str, artifact_id: str, *aliases: str) -> None:
        """Give aliases to a version; they leave the one that had them."""
        self._places[collection(path)].aliases.update(dict.fromkeys(aliases, artifact_id))

    def version(self, **more: Any) -> ArtifactVersion:
        """Log a version and pin it."""
        return resolve(ArtifactId(self.log(**more).id), self)

    # --- what the client asks

    def by_name(self, collection: CollectionPath, alias: str) -> ArtifactRecord | None:
        """The version that the alias, or ``vN``, names."""
        place = self._places.get(collection)
        if place is None:
            return None
        numbered = {f"v{index}": each for index, each in enumerate(place.versions)}
        found = {**numbered, **place.aliases}.get(alias)
        if found is None:
            return None
        return replace(self.records[found], memberships=(place.membership(found),))

    def by_id(self, artifact_id: ArtifactId) -> ArtifactRecord | None:
        """The version, with all its places."""
        found = self.records.get(artifact_id.value)
        if found is None:
            return None
        places = [each for each in self._places.values() if found.id in each.versions]
        return replace(found, memberships=tuple(each.membership(found.id) for each in places))

    def surroundings(self, collection: CollectionPath) -> Surroundings:
        """What is there around a collection."""
        place = self._places.get(collection)
        newest = self.by_name(collection, "latest")
        return Surroundings(
            user="ana",
            entity=any(each.entity == collection.entity for each in self._places),
            project=any((each.entity, each.project) == _project(collection) for each in self._places),
            collection=place is not None,
            latest=newest.memberships[0] if newest else None,
        )

    def organization(self, name: str) -> Organization | None:
        """By its display name."""
        return next((each for each in self.organizations if each.name == name), None)

    def own_organizations(self) -> tuple[Organization, ...]:
        """All there are."""
        return tuple(self.organizations)

    def manifest(self, version: ArtifactVersion) -> bytes:
        """The manifest's JSON."""
        return self.manifests[version.id]

    def url_pages(self, version: ArtifactVersion) -> Iterator[dict[str, str]]:
        """A URL for each path that is not hidden, a few at a time."""
        self.asked_for_urls += 1
        entries = Manifest.parse(self.manifests[version.id]).entries
        shown = [each.path for each in entries if each.path not in self.hidden]
        for start in range(0, max(len(shown), 1), self.page):
            yield {path: self._url(path) for path in shown[start : start + self.page]}

    def file_url(self, version: ArtifactVersion, path: str) -> str | None:  # noqa: ARG002 - one version at a time
        """A fresh URL."""
        self.renewed.append(path)
        return None if path in self.hidden else self._url(path)

    def file_endpoints(
        self,
        version: ArtifactVersion,  # noqa: ARG002 - one version at a time
        manifest: Manifest,  # noqa: ARG002
        entry: ManifestEntry,
    ) -> tuple[str, ...]:
        """An address that is no more, then one that works when signed in."""
        return (f"old:{entry.path}", f"endpoint:{entry.path}")

    def open(
        self, url: str, *, offset: int = 0, length: int | None = None, signed_in: bool = False
    ) -> AbstractContextManager[FakeAnswer]:
        """The bytes from ``offset`` on, or what was put in their way."""
        self.opened.append((url, offset))
        kind, _, path = url.partition(":")
        if length is not None:
            self.parts.append((path, offset, length))
        self.on_open(path)
        if (kind == "endpoint") != signed_in or kind in {"old", f"url{self.url_generation - 1}"}:
            raise StaleUrlError(f"files.test answered 403 to {kind}")
        before = self.broken.get(path)
        if before:
            first = before.pop(0)
            if isinstance(first, Exception):
                raise first
            return nullcontext(first)
        return nullcontext(self._answer(self.files[path], offset, length))

    def _answer(self, content: bytes, offset: int, length: int | None) -> FakeAnswer:
        total = len(content)
        if not self.ranges or (length is None and not offset):
            return FakeAnswer(content, length=total, total=total)
        if offset >= total:
            return FakeAnswer(b"", offset, total=total, status=416)
        part = content[offset : None if length is None else offset + length]
        return FakeAnswer(part, offset, length=len(part), total=total, status=206)

    def _url(self, path: str) -> str:
        return f"url{self.url_generation}:{path}"

    def _place(self, path: CollectionPath, *, linked: bool) -> Place:
        return self._places.setdefault(path, Place(path, linked))


def cut(content: bytes, offset: int = 0) -> FakeAnswer:
    """A connection that ends in the middle of the answer."""
    return FakeAnswer(content, offset, fault=TransientError("files.test: cut"))


def manifest_of(files: Mapping[str, bytes], algorithm: DigestAlgorithm = DigestAlgorithm.MD5) -> bytes:
    """The manifest that W&B keeps for these files."""
    extra = {} if algorithm is DigestAlgorithm.MD5 else {"extra": {"alg": algorithm.name}}
    contents = {
        path: {"digest": _digest(content, algorithm), "size": len(content), **extra}
        for path, content in files.items()
    }
    return json.dumps(
        {
            "version": 1,
            "storagePolicy": "wandb-storage-policy-v1",
            "storagePolicyConfig": {"storageLayout": "V2"},
            "contents": contents,
        }
    ).encode()


def _digest(content: bytes, algorithm: DigestAlgorithm) -> str:
    hashing = digester(algorithm)
    hashing.update(content)
    return base64.b64encode(hashing.digest()).decode()


def _project(path: CollectionPath) -> tuple[str, str]:
    return path.entity, path.project
