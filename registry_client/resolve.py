"""The story of a resolve: a name that may move becomes a version that never changes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol
from urllib.parse import quote, urlsplit

from registry_client.errors import (
    AliasMovedError,
    ArtifactDeletedError,
    ArtifactNotCommittedError,
    ArtifactNotFoundError,
    InvalidReferenceError,
)
from registry_client.record import (
    ArtifactRecord,
    ArtifactState,
    Membership,
    Organization,
    RunRecord,
    Surroundings,
)
from registry_client.reference import (
    REGISTRY_PREFIX,
    ArtifactId,
    ArtifactRef,
    CollectionPath,
    parse_reference,
)
from registry_client.version import ArtifactVersion, SourceRun

_PAGES = {"api.wandb.ai": "https://wandb.ai", "api.forge.coreweave.com": "https://wandb.ai"}

_MOST_NAMES = 20  # In a message.


class Registry(Protocol):
    """What resolving needs of W&B; WandbApi is one."""

    base_url: str

    def by_name(self, collection: CollectionPath, alias: str) -> ArtifactRecord | None:
        """The version that the alias names now, with its place there; None when there is none."""

    def by_id(self, artifact_id: ArtifactId) -> ArtifactRecord | None:
        """The version with that id, with all its places; None when there is none."""

    def surroundings(self, collection: CollectionPath) -> Surroundings:
        """What is there at and around a collection."""
        ...

    def organization(self, name: str) -> Organization | None:
        """The organization with that display name."""

    def own_organizations(self) -> tuple[Organization, ...]:
        """The organizations that a registry without one may mean."""
        ...


def resolve(
    reference: str | ArtifactRef | ArtifactId,
    registry: Registry,
    *,
    collection: CollectionPath | None = None,
    expect_alias: str | None = None,
) -> ArtifactVersion:
    """Pin what a reference means now.

    Args:
        reference: A name or an id; text is parsed.
        registry: Where to ask.
        collection: For an id, which of its collections to see it in; else where it was logged.
        expect_alias: The alias that the version must carry in that collection.

    Raises:
        InvalidReferenceError: The reference cannot be read, or leaves open which organization it means.
        AccessDeniedError: The key is wrong, or may not read this.
        ArtifactNotFoundError: It is not there; the message says what is.
        ArtifactDeletedError: It was there, and is deleted.
        ArtifactNotCommittedError: Its upload has not ended.
        AliasMovedError: It does not carry ``expect_alias`` any more.
        FetchError: W&B could not be asked.
    """
    if isinstance(reference, str):
        reference = parse_reference(reference)
    if isinstance(reference, ArtifactId):
        record = _by_id(reference, registry)
        place = _place(record, collection)
    else:
        record = _by_name(reference, registry)
        place = next(iter(record.memberships), None) or _source_place(record)
    version = _pinned(record, place, registry.base_url)
    if expect_alias is not None:
        _check_alias(version, expect_alias, registry)
    return version


def _by_id(artifact_id: ArtifactId, registry: Registry) -> ArtifactRecord:
    record = registry.by_id(artifact_id)
    if record is None:
        raise ArtifactNotFoundError(
            f"{artifact_id} is not at {_host(registry)}, or the key may not see it; "
            "was it made on another W&B server?"
        )
    _check_state(record, str(artifact_id))
    return record


def _by_name(ref: ArtifactRef, registry: Registry) -> ArtifactRecord:
    tried: list[CollectionPath] = []
    for path in _paths(ref, registry):
        tried.append(path)
        record = registry.by_name(path, ref.alias)
        if record is not None:
            _check_state(record, f"{path}:{ref.alias}")
            return record
    raise ArtifactNotFoundError(_nothing_there(tried[-1], ref, registry))


def _paths(ref: ArtifactRef, registry: Registry) -> Iterator[CollectionPath]:
    """The path as written, then with its organization's name turned into its entity."""
    if ref.entity is None:
        yield CollectionPath(_only_organization(ref, registry).entity, ref.project, ref.collection)
        return
    yield CollectionPath(ref.entity, ref.project, ref.collection)
    if ref.project.startswith(REGISTRY_PREFIX):
        organization = registry.organization(ref.entity)
        if organization is not None:
            yield CollectionPath(organization.entity, ref.project, ref.collection)


def _only_organization(ref: ArtifactRef, registry: Registry) -> Organization:
    candidates = registry.own_organizations()
    if len(candidates) == 1:
        return candidates[0]
    if not candidates:
        raise InvalidReferenceError(
            f"{ref} leaves out its organization, and the key belongs to none: want ORGANIZATION/{ref}"
        )
    names = ", ".join(str(each) for each in candidates)
    raise InvalidReferenceError(
        f"{ref} could be in any organization of the key; want one of {names} before it: "
        f"{candidates[0].entity}/{ref}"
    )


def _nothing_there(path: CollectionPath, ref: ArtifactRef, registry: Registry) -> str:
    there = registry.surroundings(path)
    whose = f"the key, which is {there.user}'s," if there.user else "the key"
    if not there.project:
        missing = f"entity {path.entity!r}" if not there.entity else f"project {path.entity}/{path.project}"
        return f"{missing} is not at {_host(registry)}, or {whose} may not see it{_hint(path, registry)}"
    if not there.collection:
        return f"{path.entity}/{path.project} has no collection {path.name!r} that {whose} may see"
    missing = f"{path} has no version or alias {ref.alias!r}"
    aliases = there.aliases or (there.latest.aliases if there.latest else ())
    if aliases:
        missing += f"; its aliases: {_some(aliases)}"
    return f"{missing}; its newest is {there.latest.version}" if there.latest else missing


def _some(names: Sequence[str]) -> str:
    more = len(names) - _MOST_NAMES
    return ", ".join(names[:_MOST_NAMES]) + (f" and {more} more" if more > 0 else "")


def _hint(path: CollectionPath, registry: Registry) -> str:
    if not path.project.startswith(REGISTRY_PREFIX):
        return ""
    names = ", ".join(str(each) for each in registry.own_organizations())
    return f"; the key's own organizations: {names or 'none'}"


def _check_state(record: ArtifactRecord, name: str) -> None:
    if record.state is ArtifactState.DELETED:
        raise ArtifactDeletedError(f"{name} was deleted in W&B; promote another version")
    if record.state is ArtifactState.PENDING:
        raise ArtifactNotCommittedError(
            f"{name} is still being uploaded; try again when its run has logged it to the end"
        )


def _place(record: ArtifactRecord, wanted: CollectionPath | None) -> Membership:
    """Where to see a version from that was found by its id."""
    if wanted is None:
        logged = [each for each in record.memberships if each.collection == record.source]
        return next(iter((*logged, *record.memberships)), None) or _source_place(record)
    exact = [each for each in record.memberships if each.collection == wanted]
    # An organization's display name may stand where its entity should: the rest decides if it can.
    alike = [each for each in record.memberships if _inner(each.collection) == _inner(wanted)]
    if len(exact or alike) == 1:
        return (exact or alike)[0]
    names = ", ".join(f"{each.collection}:{each.version}" for each in record.memberships)
    raise ArtifactNotFoundError(
        f"{ArtifactId(record.id)} is not in {wanted}; the key sees it in {names or 'no collection'}"
    )


def _inner(path: CollectionPath) -> tuple[str, str]:
    return path.project, path.name


def _source_place(record: ArtifactRecord) -> Membership:
    if record.source is None:
        raise ArtifactNotFoundError(
            f"{ArtifactId(record.id)} is there, but in no collection that the key sees"
        )
    return Membership(record.source, record.source_version, (), linked=False)


def _pinned(record: ArtifactRecord, place: Membership, base_url: str) -> ArtifactVersion:
    if place.version is None:
        raise ArtifactNotCommittedError(f"{ArtifactId(record.id)} has no version in {place.collection} yet")
    visible = record.source is not None and record.source_version is not None
    return ArtifactVersion(
        id=record.id,
        collection=place.collection,
        version=place.version,
        # Who sees a registry alone does not see where its versions come from.
        source=record.source if visible and record.source else place.collection,
        source_version=record.source_version if visible and record.source_version else place.version,
        type=record.type,
        digest=record.digest,
        digest_algorithm=record.digest_algorithm,
        aliases=place.aliases,
        tags=record.tags,
        metadata=record.metadata,
        description=record.description,
        size=record.size,
        file_count=record.file_count,
        created_at=record.created_at,
        url=_page(record, place, base_url),
        source_run=_source_run(record.run, base_url),
        created_by=record.user,
    )


def _source_run(run: RunRecord | None, base_url: str) -> SourceRun | None:
    if run is None:
        return None
    path = (run.entity, run.project, "runs", run.id)
    return SourceRun(
        path=f"{run.entity}/{run.project}/{run.id}",
        name=run.name,
        commit=run.commit,
        url="/".join((_site(base_url), *map(_quoted, path))),
    )


def _check_alias(version: ArtifactVersion, alias: str, registry: Registry) -> None:
    if alias in version.aliases or alias == version.version:
        return
    now = registry.by_name(version.collection, alias)
    raise AliasMovedError(
        f"{version.name} does not carry the alias {alias!r} (any more): {_carrier(now)}; "
        f"{version.version} has {', '.join(version.aliases) or 'no alias'}"
    )


def _carrier(now: ArtifactRecord | None) -> str:
    place = next(iter(now.memberships), None) if now else None
    if place is None:
        return "no version there carries it now"
    since = f" (in the collection since {place.since:%Y-%m-%d %H:%M} UTC)" if place.since else ""
    return f"{place.version} carries it now{since}"


def _site(base_url: str) -> str:
    """Where people look at what that API knows."""
    return _PAGES.get(urlsplit(base_url).hostname or "", base_url)


def _page(record: ArtifactRecord, place: Membership, base_url: str) -> str:
    """The version's page, in the forms that W&B's own client builds."""
    site = _site(base_url)
    path, version = place.collection, quote(place.version or "", safe="")
    selection = f"?selectionPath={quote(str(path), safe='')}&view=membership&version={version}"
    if path.project == "model-registry":
        return f"{site}/{_quoted(path.entity)}/registry/model{selection}"
    if path.project.startswith(REGISTRY_PREFIX) and place.organization:
        name = path.project.removeprefix(REGISTRY_PREFIX)
        return f"{site}/orgs/{_quoted(place.organization)}/registry/{_quoted(name)}{selection}"
    return "/".join(
        (site, *map(_quoted, (path.entity, path.project, "artifacts", record.type, path.name)), version)
    )


def _quoted(part: str) -> str:
    return quote(part, safe="")


def _host(registry: Registry) -> str:
    return urlsplit(registry.base_url).netloc
