"""What W&B remembers, and its rules: versions count up, an alias is unique in its collection and moves."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from itertools import count
from typing import Any

from tests.stand_ins.wandb.manifest import Manifest

ADMIN = "admin"
_ROLES = (ADMIN, "member", "viewer", "restricted_viewer")  # The first means most.


class RefusedError(Exception):
    """W&B would not do this, and says why."""


def global_id(kind: str, number: object) -> str:
    """GraphQL's id of an object."""
    return base64.b64encode(f"{kind}:{number}".encode()).decode()


@dataclass(eq=False)
class Organization:
    """A company: its own entity holds the registries, its teams hold projects."""

    number: int
    name: str
    entity: str
    teams: tuple[str, ...]


@dataclass(eq=False)
class User:
    """A person or service account; ``entities`` None means all.

    Attributes:
        roles: Of their own in a project or registry (``entity/project``).
    """

    number: int
    name: str
    api_key: str
    entities: frozenset[str] | None = None
    roles: Mapping[str, str] = field(default_factory=dict)

    graphql_type = "User"

    def sees(self, entity: str) -> bool:
        """Whether what this entity owns is there for them."""
        return self.entities is None or entity in self.entities


@dataclass(eq=False)
class Run:
    """The training run that logged a version."""

    name: str
    display_name: str = "glad-sun-1"
    commit: str | None = None
    state: str = "finished"
    project: Project | None = None
    created_at: datetime | None = None

    graphql_type = "Run"


@dataclass(eq=False)
class Project:
    """A project of an entity; a registry is one too.

    Attributes:
        protected: Aliases that only admins may give and take.
        team_roles: What the members of a team are here.
    """

    number: int
    entity: str
    name: str
    collections: dict[str, Collection] = field(default_factory=dict)
    protected: set[str] = field(default_factory=set)
    team_roles: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.entity}/{self.name}"


@dataclass(eq=False)
class Collection:
    """Versions under one name, numbered from v0: logged here (a sequence) or linked here (a portfolio)."""

    number: int
    project: Project
    name: str
    graphql_type: str
    memberships: list[Membership] = field(default_factory=list)
    next_index: int = 0

    def __str__(self) -> str:
        return f"{self.project.entity}/{self.project.name}/{self.name}"

    @property
    def id(self) -> str:
        """GraphQL's global id."""
        return global_id("ArtifactCollection", self.number)

    @property
    def created_at(self) -> datetime | None:
        """When its first version came."""
        return self.memberships[0].created_at if self.memberships else None

    @property
    def type(self) -> str:
        """What its versions are."""
        return self.memberships[0].artifact.type if self.memberships else "model"

    def find(self, alias: str) -> Membership | None:
        """The version that this alias, or ``vN``, names now."""
        return next((each for each in self.memberships if alias in (each.version, *each.aliases)), None)

    def show(self, artifact: Artifact) -> Membership | None:
        """This version as it is here, if it is."""
        return next((each for each in self.memberships if each.artifact is artifact), None)


@dataclass(eq=False)
class Artifact:
    """One version's content.  It is the same in every collection that it is linked to."""

    number: int
    type: str
    manifest: Manifest
    metadata: dict[str, Any]
    description: str | None
    tags: list[str]
    state: str
    created_at: datetime
    created_by: User | Run
    memberships: list[Membership] = field(default_factory=list)
    aliases_when_committed: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        """GraphQL's global id."""
        return global_id("Artifact", self.number)

    @property
    def source(self) -> Membership:
        """Where it was logged."""
        return self.memberships[0]

    @cached_property
    def manifest_file(self) -> bytes:
        """The manifest as it is stored."""
        return self.manifest.to_bytes(self.id)


@dataclass(eq=False)
class Membership:
    """One version as one collection knows it, with its number and aliases there."""

    number: int
    collection: Collection
    artifact: Artifact
    index: int
    created_at: datetime
    aliases: list[str] = field(default_factory=list)

    @property
    def entity(self) -> str:
        """Who owns the collection."""
        return self.collection.project.entity

    @property
    def version(self) -> str:
        """``vN`` in this collection."""
        return f"v{self.index}"

    @property
    def id(self) -> str:
        """The artifact's global id: the same for every link to it."""
        return self.artifact.id

    @property
    def digest(self) -> str:
        """The digest of the manifest."""
        return self.artifact.manifest.digest

    @property
    def reference(self) -> str:
        """What ``${artifact_version}`` renders to."""
        return f"wandb-artifact://_id/{self.id}"

    @property
    def name(self) -> str:
        """``entity/project/collection:vN``."""
        return f"{self.collection}:{self.version}"


@dataclass(frozen=True)
class Event:
    """Something that an automation may wait for."""

    kind: str
    collection: Collection
    membership: Membership
    alias: str = ""
    tag: str = ""
    author: str | None = None


@dataclass
class State:
    """Everything W&B remembers.  Not thread-safe: the server takes its lock around each call."""

    now: Callable[[], datetime]
    announce: Callable[[Event], None]
    projects: dict[tuple[str, str], Project] = field(default_factory=dict)
    organizations: list[Organization] = field(default_factory=list)
    users: list[User] = field(default_factory=list)
    artifacts: dict[int, Artifact] = field(default_factory=dict)
    numbers: Iterator[int] = field(default_factory=lambda: count(517889887))

    def log(
        self,
        path: str,
        manifest: Manifest,
        *,
        type: str,  # noqa: A002 - W&B's own word
        metadata: Mapping[str, Any],
        description: str | None,
        tags: Iterable[str],
        aliases: Iterable[str],
        state: str,
        created_by: User | Run,
    ) -> Membership:
        """Add the next version; one that is still pending takes its aliases when it is committed."""
        collection = self.collection(path, "ArtifactSequence")
        artifact = Artifact(
            number=next(self.numbers),
            type=type,
            manifest=manifest,
            metadata=dict(metadata),
            description=description,
            tags=list(tags),
            state="PENDING",
            created_at=self.now(),
            created_by=created_by,
            aliases_when_committed=tuple(dict.fromkeys(["latest", *aliases])),
        )
        self.artifacts[artifact.number] = artifact
        if isinstance(created_by, Run):
            created_by.project = collection.project
            created_by.created_at = artifact.created_at
        membership = self._join(collection, artifact)
        if state == "COMMITTED":
            self.commit(artifact)
        return membership

    def commit(self, artifact: Artifact) -> None:
        """End the upload: the version becomes usable and takes its aliases."""
        if artifact.state != "PENDING":
            raise RefusedError(f"artifact {artifact.id} is {artifact.state}, not PENDING")
        artifact.state = "COMMITTED"
        self.announce(Event("CREATE_ARTIFACT", artifact.source.collection, artifact.source))
        for alias in artifact.aliases_when_committed:
            self.add_alias(artifact.source, alias)

    def link(
        self, artifact: Artifact, path: str, aliases: Iterable[str], author: str | None = None
    ) -> Membership:
        """Show a version in another collection, under that collection's own numbers."""
        if artifact.state != "COMMITTED":
            raise RefusedError(f"artifact {artifact.id} is {artifact.state}; only a committed one is linked")
        collection = self.collection(path, "ArtifactPortfolio")
        membership = collection.show(artifact)
        if membership is None:
            membership = self._join(collection, artifact)
            self.announce(Event("LINK_ARTIFACT", collection, membership, author=author))
            self.add_alias(membership, "latest", author)
        for alias in aliases:
            self.add_alias(membership, alias, author)
        return membership

    def unlink(self, membership: Membership, author: str | None = None) -> None:
        """Take a version out of a registry's collection; the version itself stays."""
        if membership.collection.graphql_type != "ArtifactPortfolio":
            raise RefusedError(f"{membership.name} is where the artifact was logged, not a link")
        membership.collection.memberships.remove(membership)
        membership.artifact.memberships.remove(membership)
        self.announce(Event("UNLINK_ARTIFACT", membership.collection, membership, author=author))

    def add_alias(self, membership: Membership, alias: str, author: str | None = None) -> None:
        """Name a version; the alias leaves the version of this collection that had it."""
        if not alias or set(alias) & set(":/") or re.fullmatch(r"v[0-9]+", alias):
            raise RefusedError(f"{alias!r} cannot be an alias")
        if alias in membership.aliases:
            return
        holder = membership.collection.find(alias)
        if holder is not None:
            holder.aliases.remove(alias)
        membership.aliases.append(alias)
        self.announce(
            Event("ADD_ARTIFACT_ALIAS", membership.collection, membership, alias=alias, author=author)
        )

    def remove_alias(self, membership: Membership, alias: str) -> None:
        """Take the name away; nobody is told, as W&B has no such event."""
        if alias not in membership.aliases:
            raise RefusedError(f"{membership.name} has no alias {alias!r}")
        membership.aliases.remove(alias)

    def tag(self, artifact: Artifact, tag: str, author: str | None = None) -> None:
        """Add a tag to a version."""
        if tag not in artifact.tags:
            artifact.tags.append(tag)
            for each in artifact.memberships:
                self.announce(Event("ADD_ARTIFACT_TAG", each.collection, each, tag=tag, author=author))

    def untag(self, artifact: Artifact, tag: str, author: str | None = None) -> None:
        """Remove a tag from a version."""
        if tag in artifact.tags:
            artifact.tags.remove(tag)
            for each in artifact.memberships:
                self.announce(Event("REMOVE_ARTIFACT_TAG", each.collection, each, tag=tag, author=author))

    def delete(self, artifact: Artifact) -> None:
        """Delete a version: no name leads to it any more, its id still tells that it was there."""
        artifact.state = "DELETED"
        for membership in artifact.memberships:
            membership.aliases.clear()
            membership.collection.memberships.remove(membership)

    def collection(self, path: str, graphql_type: str) -> Collection:
        """The collection of this path, made with its project when new."""
        entity, project_name, name = path.split("/")
        project = self.projects.get((entity, project_name))
        if project is None:
            project = self.projects[entity, project_name] = Project(next(self.numbers), entity, project_name)
        if name not in project.collections:
            project.collections[name] = Collection(next(self.numbers), project, name, graphql_type)
        found = project.collections[name]
        if found.graphql_type != graphql_type:
            raise RefusedError(f"{path} is an {found.graphql_type}, not an {graphql_type}")
        return found

    def membership(self, path: str, version: Membership | str) -> Membership:
        """A version, or what ``vN`` or an alias names, as that collection knows it; else an error."""
        entity, project, name = path.split("/")
        known = self.projects.get((entity, project))
        collection = known.collections.get(name) if known else None
        if collection is not None:
            found = (
                collection.find(version) if isinstance(version, str) else collection.show(version.artifact)
            )
            if found is not None:
                return found
        raise RefusedError(f"{version if isinstance(version, str) else version.name} is not in {path}")

    def find_artifact(self, artifact_id: str) -> Artifact | None:
        """The version of this global id, deleted ones included."""
        return next((each for each in self.artifacts.values() if each.id == artifact_id), None)

    def committed_in(self, entity: str) -> list[Artifact]:
        """The usable versions that a collection of this entity shows."""
        return [
            each
            for each in self.artifacts.values()
            if each.state == "COMMITTED" and any(seen.entity == entity for seen in each.memberships)
        ]

    def organization_of(self, entity: str) -> Organization | None:
        """The organization that this entity is, or is a team of."""
        return next((each for each in self.organizations if entity in (each.entity, *each.teams)), None)

    def user_with_key(self, api_key: str) -> User | None:
        """Whose key this is."""
        return next((each for each in self.users if each.api_key == api_key), None)

    def role(self, user: User, path: str) -> str | None:
        """What they are in a project or registry: by themselves or through a team, else an admin."""
        entity, _, name = path.partition("/")
        if not user.sees(entity):
            return None
        known = self.projects.get((entity, name))
        through = known.team_roles.items() if known else ()
        held = {role for team, role in through if user.entities is not None and team in user.entities}
        held |= {user.roles[path]} if path in user.roles else set()
        return min(held, key=_ROLES.index, default=ADMIN)

    def writes(self, user: User, path: str) -> bool:
        """Whether they may change what is there."""
        return self.role(user, path) in _ROLES[:2]

    def entities(self) -> set[str]:
        """The name of every entity there is."""
        owners = {entity for entity, _ in self.projects}
        companies = {name for each in self.organizations for name in (each.entity, *each.teams)}
        return owners | companies | {user.name for user in self.users}

    def _join(self, collection: Collection, artifact: Artifact) -> Membership:
        membership = Membership(next(self.numbers), collection, artifact, collection.next_index, self.now())
        collection.next_index += 1
        collection.memberships.append(membership)
        artifact.memberships.append(membership)
        return membership
