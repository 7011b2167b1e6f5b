"""The story of a mark: what a key may not write is said before anything is changed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol

from registry_client.errors import (
    AccessDeniedError,
    ArtifactNotFoundError,
    InvalidReferenceError,
    RegistryError,
)
from registry_client.mark import LATEST, Changes, Linking, Marks, needed
from registry_client.record import ArtifactRecord, Membership, Organization, Surroundings
from registry_client.reference import ArtifactId, ArtifactRef, CollectionPath
from registry_client.version import ArtifactVersion

_WRITERS = ("admin", "member")
_NAMED = ("alias ", "no alias ", "link ")  # How the lines begin that tell of aliases.


class Changing(Protocol):
    """What marking changes in W&B, and asks of a key's rights; MarkApi is one."""

    def read_only(self, entity: str, project: str) -> bool:
        """Whether nothing there can be changed with this key."""
        ...

    def role(self, entity: str, project: str) -> str | None:
        """What the key's user is in a registry; None when W&B does not tell."""

    def add_aliases(self, artifact_id: str, collection: CollectionPath, aliases: Iterable[str]) -> None:
        """Give them to the version there, all or none."""

    def remove_aliases(self, artifact_id: str, collection: CollectionPath, aliases: Iterable[str]) -> None:
        """Take them from the version there."""

    def link(self, artifact_id: str, collection: CollectionPath, aliases: Sequence[str]) -> None:
        """Show the version there too."""

    def update(
        self,
        artifact_id: str,
        *,
        tags: Iterable[str] = (),
        without_tags: Iterable[str] = (),
        metadata: Mapping[str, Any] | None = None,
    ) -> None:
        """Change what belongs to the version in every collection."""


class Registry(Protocol):
    """W&B as marking needs it; WandbApi is one."""

    @property
    def marks(self) -> Changing:
        """What can be changed."""
        ...

    def by_id(self, artifact_id: ArtifactId) -> ArtifactRecord | None:
        """The version with that id, with all its places."""

    def surroundings(self, collection: CollectionPath) -> Surroundings:
        """What is there at and around a collection."""
        ...

    def organization(self, name: str) -> Organization | None:
        """The organization with that display name."""

    def own_organizations(self) -> tuple[Organization, ...]:
        """The organizations that a registry without one may mean."""
        ...


def prepare(version: ArtifactVersion, marks: Marks, registry: Registry) -> Changes:
    """What has to be changed; nothing is yet.

    Raises:
        AccessDeniedError: The key may not change all of it; each part is named, with what to do.
        ArtifactNotFoundError: A registry to link to is not there, or the version is gone.
        InvalidReferenceError: A registry to link to leaves open which organization it means.
    """
    record = registry.by_id(ArtifactId(version.id))
    if record is None:
        raise ArtifactNotFoundError(f"{version.name} is not there any more, or the key may not see it")
    here = _place(record, version.collection)
    changes = needed(
        marks,
        aliases=here.aliases if here else version.aliases,
        tags=record.tags,
        metadata=record.metadata,
        links=list(_linkings(marks.links, record, registry)),
    )
    problems = list(_forbidden(changes, version, record.source, registry.marks))
    if problems:
        raise AccessDeniedError("; ".join([*problems, "nothing was changed"]))
    return changes


def write(
    changes: Changes,
    version: ArtifactVersion,
    registry: Registry,
    made: Callable[[Changes], object] = lambda _: None,
) -> None:
    """Make the changes, in the order of ``Changes.lines``; a second time changes nothing more.

    Args:
        changes: As ``prepare`` told them.
        version: What is marked.
        registry: Where.
        made: Is told each part when it is made.

    Raises:
        RegistryError: W&B refused one, or could not be asked; the message says what is done and what is not.
    """
    left = list(changes.lines())
    for part in changes.parts():
        try:
            _write(part, version, registry.marks)
        except RegistryError as error:
            raise _stopped(error, changes.lines(), left) from error
        made(part)
        del left[: len(part.lines())]


def _write(part: Changes, version: ArtifactVersion, marks: Changing) -> None:
    if part.aliases:
        marks.add_aliases(version.id, version.collection, part.aliases)
    if part.without_aliases:
        marks.remove_aliases(version.id, version.collection, part.without_aliases)
    for linking in part.links:
        marks.link(version.id, linking.collection, linking.aliases)
    if part.of_the_source:
        whole = part.whole_metadata if part.metadata else None
        marks.update(version.id, tags=part.tags, without_tags=part.without_tags, metadata=whole)


def _stopped(error: RegistryError, lines: Sequence[str], left: Sequence[str]) -> RegistryError:
    """The same error, and how far it came."""
    done = lines[: len(lines) - len(left)]
    told = [str(error)]
    if isinstance(error, AccessDeniedError) and left[0].startswith(_NAMED):
        told.append(
            "in a registry, only admins may give and take the aliases that its settings protect: "
            "make the key's user one, or use another alias"
        )
    told.append(f"done: {', '.join(done)}" if done else "nothing was changed")
    told.append(f"not done: {', '.join(left)}")
    return type(error)("; ".join(told))


def _forbidden(
    changes: Changes, version: ArtifactVersion, source: CollectionPath | None, marks: Changing
) -> Iterator[str]:
    """What the key may not change, as far as W&B tells: which aliases are protected, it does not."""
    places = [version.collection] if changes.aliases or changes.without_aliases else []
    places += [each.collection for each in changes.links]
    for place in {(each.entity, each.project): each for each in places}.values():
        yield from _forbidden_in(place, marks)
    if changes.of_the_source and (source is None or marks.read_only(source.entity, source.project)):
        where = f"in {source.entity}/{source.project}" if source else "where the key sees nothing"
        yield (
            "the key may not change tags and metadata: they belong to the version where it was logged, "
            f"{where}: give its user access to that project, or leave them out"
        )


def _forbidden_in(place: CollectionPath, marks: Changing) -> Iterator[str]:
    where = f"{place.entity}/{place.project}"
    if not place.in_registry:
        if marks.read_only(place.entity, place.project):
            yield f"the key may only read {where}: give its user access to write"
        return
    role = marks.role(place.entity, place.project)
    if role is not None and role not in _WRITERS:
        yield (
            f"the key's user is {role} in {where}, and aliases and links there are for members and admins: "
            "change its role in the registry's settings"
        )


def _linkings(links: Iterable[ArtifactRef], record: ArtifactRecord, registry: Registry) -> Iterator[Linking]:
    """The collections to link to, but for those that the version is in already, with that alias."""
    for target in links:
        collection, is_new = _target(target, registry)
        aliases = () if target.alias == LATEST else (target.alias,)
        here = _place(record, collection)
        if here is None or not set(aliases) <= set(here.aliases):
            yield Linking(collection, aliases, is_new)


def _target(target: ArtifactRef, registry: Registry) -> tuple[CollectionPath, bool]:
    """The collection, and whether W&B will make it."""
    entity = target.entity or _only_organization(target, registry)
    there = registry.surroundings(CollectionPath(entity, target.project, target.collection))
    organization = None if there.project else registry.organization(entity)
    if organization is not None:
        entity = organization.entity
        there = registry.surroundings(CollectionPath(entity, target.project, target.collection))
    if not there.project:
        raise ArtifactNotFoundError(
            f"{entity}/{target.project}, to link to, is not there, or the key may not see it"
        )
    return CollectionPath(entity, target.project, target.collection), not there.collection


def _only_organization(target: ArtifactRef, registry: Registry) -> str:
    own = registry.own_organizations()
    if len(own) != 1:
        names = ", ".join(map(str, own)) or "none that the key sees"
        path = f"{target.project}/{target.collection}"
        raise InvalidReferenceError(f"{path}: want ORGANIZATION/{path}, with one of {names}")
    return own[0].entity


def _place(record: ArtifactRecord, collection: CollectionPath) -> Membership | None:
    return next((each for each in record.memberships if each.collection == collection), None)
