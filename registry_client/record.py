"""What W&B says of a version and its places, read from its answers: pure, valid once built."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from enum import Enum
from typing import Any

from registry_client.reference import CollectionPath
from registry_client.version import DigestAlgorithm

_VERSION = re.compile(r"v\d+", re.ASCII)


class ArtifactState(Enum):
    """Where a version is in its life: the value is GraphQL's."""

    COMMITTED = "COMMITTED"
    PENDING = "PENDING"
    DELETED = "DELETED"


@dataclass(frozen=True)
class Organization:
    """An organization: the name that people see, and the entity that paths are made of."""

    name: str
    entity: str

    def __str__(self) -> str:
        return self.entity if self.name == self.entity else f"{self.entity} ({self.name})"

    @classmethod
    def parse(cls, data: Mapping[str, Any] | None) -> Organization | None:
        """Read an answer's organization; None when it is not there or has no entity."""
        if data is None or data["orgEntity"] is None:
            return None
        return cls(data["name"], data["orgEntity"]["name"])


@dataclass(frozen=True)
class Membership:
    """A version's place in one collection.

    Attributes:
        version: ``vN`` there; None while W&B has not counted it.
        aliases: There, without the ``vN``.
        linked: Whether it was linked there, as into a registry, not logged.
        organization: The display name of the organization that owns the collection, when W&B tells.
        since: When it came there, when W&B tells.
    """

    collection: CollectionPath
    version: str | None
    aliases: tuple[str, ...]
    linked: bool
    organization: str | None = None
    since: datetime | None = None

    @classmethod
    def parse(cls, data: Mapping[str, Any] | None) -> Membership | None:
        """Read an answer's membership; None when this key may not see the collection."""
        collection = data and data["artifactCollection"]
        path = _path(collection)
        if not data or not collection or path is None:
            return None
        version = _version(data["versionIndex"])
        return cls(
            collection=path,
            version=version,
            aliases=tuple(each["alias"] for each in data["aliases"] if each["alias"] != version),
            linked=collection["__typename"] == "ArtifactPortfolio",
            organization=_organization(collection),
            since=_moment(data["createdAt"]) if data.get("createdAt") else None,
        )


@dataclass(frozen=True)
class RunRecord:
    """The run that logged a version; ``name`` as people see it."""

    entity: str
    project: str
    id: str
    name: str
    commit: str | None

    @classmethod
    def parse(cls, data: Mapping[str, Any] | None) -> RunRecord | None:
        """Read an answer's creator; None when it is no run, or its project is not to be seen."""
        if not data or data.get("__typename") != "Run" or not data.get("project"):
            return None
        project = data["project"]
        return cls(
            entity=project["entity"]["name"],
            project=project["name"],
            id=data["name"],
            name=data.get("displayName") or data["name"],
            commit=data.get("commit") or None,
        )


@dataclass(frozen=True)
class ArtifactRecord:
    """One version in any state, with the places it was looked up by.

    Attributes:
        source: The collection it was logged to; None when this key may not see that.
        source_version: ``vN`` there.
        memberships: The one that a name led to, or all that an id has and this key sees.
        run: The run that logged it, where one did and this key sees it.
        user: Who logged it, where no run did.
    """

    id: str
    state: ArtifactState
    source: CollectionPath | None
    source_version: str | None
    type: str
    digest: str
    digest_algorithm: DigestAlgorithm
    tags: tuple[str, ...]
    metadata: Mapping[str, Any]
    description: str | None
    size: int
    file_count: int
    created_at: datetime
    memberships: tuple[Membership, ...]
    run: RunRecord | None = None
    user: str | None = None

    @classmethod
    def parse(cls, data: Mapping[str, Any], memberships: tuple[Membership, ...]) -> ArtifactRecord:
        """Read an answer's artifact; a missing or misshapen field is a KeyError, TypeError or ValueError."""
        creator = data.get("createdBy") or {}
        return cls(
            id=str(data["id"]),
            state=ArtifactState(data["state"]),
            source=_path(data["artifactSequence"]),
            source_version=_version(data["versionIndex"]),
            type=data["artifactType"]["name"],
            digest=data["digest"],
            digest_algorithm=DigestAlgorithm(data.get("digestAlgorithm") or DigestAlgorithm.MD5.value),
            tags=tuple(tag["name"] for tag in data.get("tags") or ()),
            metadata=_metadata(data["metadata"]),
            description=data["description"],
            size=int(data["size"]),
            file_count=int(data["fileCount"]),
            created_at=_moment(data["createdAt"]),
            memberships=memberships,
            run=RunRecord.parse(creator),
            user=creator.get("username"),
        )


@dataclass(frozen=True)
class Surroundings:
    """What is there where a version was not found: for a message that helps.

    Attributes:
        user: Whom the key belongs to.
        latest: What ``latest`` names in the collection, if anything.
        aliases: All there are in the collection, without the ``vN``, as far as W&B tells.
    """

    user: str | None
    entity: bool
    project: bool
    collection: bool
    latest: Membership | None
    aliases: tuple[str, ...] = ()

    @classmethod
    def parse(cls, data: Mapping[str, Any]) -> Surroundings:
        """Read an answer; an older server does not tell of collections, and is taken to have it."""
        project = data.get("project") or {}
        there = project.get("artifactCollection") or {}
        edges = (there.get("aliases") or {}).get("edges") or ()
        names = [edge["node"]["alias"] for edge in edges]
        return cls(
            user=(data.get("viewer") or {}).get("username"),
            entity=bool(data.get("entity")),
            project=bool(project),
            collection=bool(there) or (bool(project) and "artifactCollection" not in project),
            latest=Membership.parse(there.get("artifactMembership")),
            aliases=tuple(sorted({name for name in names if not _VERSION.fullmatch(name)})),
        )


def by_aliases(artifact: Mapping[str, Any]) -> tuple[Membership, ...]:
    """The places of a version as its aliases tell them, where W&B counts ``vN`` among these."""
    found: dict[CollectionPath, tuple[Mapping[str, Any], list[str]]] = {}
    for each in artifact.get("aliases") or ():
        path = _path(each["artifactCollection"])
        if path is not None:
            found.setdefault(path, (each["artifactCollection"], []))[1].append(each["alias"])
    source, index = _path(artifact.get("artifactSequence")), artifact.get("versionIndex")
    return tuple(
        Membership(
            collection=path,
            version=next(filter(_VERSION.fullmatch, names), _version(index) if path == source else None),
            aliases=tuple(name for name in names if not _VERSION.fullmatch(name)),
            linked=collection["__typename"] == "ArtifactPortfolio",
            organization=_organization(collection),
        )
        for path, (collection, names) in found.items()
    )


def _organization(collection: Mapping[str, Any]) -> str | None:
    organization = collection["project"]["entity"].get("organization") or {}
    name: str | None = organization.get("name")
    return name


def _path(collection: Mapping[str, Any] | None) -> CollectionPath | None:
    project = collection and collection["project"]
    if not collection or not project:
        return None
    return CollectionPath(project["entity"]["name"], project["name"], collection["name"])


def _version(index: int | None) -> str | None:
    return None if index is None else f"v{int(index)}"


def _metadata(text: str | None) -> Mapping[str, Any]:
    metadata = json.loads(text) if text else {}
    return metadata if isinstance(metadata, dict) else {}


def _moment(text: str) -> datetime:
    """W&B writes UTC, with or without a ``Z``, with any number of decimals."""
    whole = re.match(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d", text)
    if whole is None:
        raise ValueError(f"want a time like 2026-01-31T12:00:00, got {text!r}")
    return datetime.fromisoformat(whole[0]).replace(tzinfo=timezone.utc)
