"""Which promotions did no webhook tell?  Words and rules; pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone

from receiver.delivery import Baseline
from receiver.event import RegistryEvent
from receiver.plan import slot
from receiver.routing.conditions import glob
from receiver.routing.route import Route
from registry_client.record import ArtifactRecord
from registry_client.reference import ArtifactId, CollectionPath

EVENT = "ADD_ARTIFACT_ALIAS"
# What a webhook may have called the same: a body in GitHub's form may name no event of W&B's at all.
_ALSO_TOLD_AS = (EVENT, "UPDATE_ARTIFACT_ALIAS", None)
_GLOB = frozenset("*?[")
_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
NOTHING = ""  # In a Baseline: looked at, and nothing was there.


@dataclass(frozen=True)
class Watched:
    """What a route wants compared: the collections of one project that fit, and one alias."""

    route: str
    entity: str
    project: str
    collections: str
    alias: str

    @property
    def place(self) -> str:
        """As the route writes it."""
        return f"{self.entity}/{self.project}/{self.collections}"

    @property
    def is_glob(self) -> bool:
        """Whether W&B has to be asked which collections there are."""
        return bool(_GLOB & set(self.collections))

    def fits(self, collection: str) -> bool:
        """Whether this is one of the collections."""
        return glob(self.collections).fullmatch(collection) is not None


@dataclass(frozen=True)
class Missed:
    """A promotion that no webhook told.

    Attributes:
        collection: As the routes write its entity.
        last: The artifact id of the last promotion that came, if any did.
    """

    collection: CollectionPath
    alias: str
    artifact_id: str
    version: str
    since: datetime
    routes: tuple[str, ...]
    last: str | None

    @property
    def name(self) -> str:
        """The alias by its full name."""
        return f"{self.collection}:{self.alias}"

    def __str__(self) -> str:
        last = f"the last that came is {ArtifactId(self.last)}" if self.last else "none came so far"
        return f"{self.name} is {self.version}, and {last}: missed by {', '.join(self.routes)}"


def watched(routes: Sequence[Route]) -> tuple[Watched, ...]:
    """What the routes with ``reconcile`` want compared."""
    return tuple(each for route in routes if route.reconcile is not None for each in _of_route(route))


def _of_route(route: Route) -> Iterator[Watched]:
    named = {condition.key: condition.wants for condition in route.when if not condition.negated}
    for place in named.get("artifact", ()):
        entity, project, collections = place.split("/")
        for alias in named.get("alias", ()):
            yield Watched(route.name, entity, project, collections, alias)


def is_missed(
    current: str, baseline: Baseline | None, last: tuple[str | None, str] | None, *, first: bool
) -> bool:
    """Whether nobody told that this artifact carries the alias.

    Args:
        current: The artifact that does.
        baseline: What did when the route was last compared.
        last: The artifact of the last promotion that came, where it named one, and its delivery.
        first: The route was never compared here.
    """
    if last is not None and last[0] in {current, None}:
        return False
    if baseline is None:
        return not first
    if baseline.artifact_id != current:
        return True
    return last is not None and received_at(last[1]) > baseline.at  # Another one came since: it moved back.


def received_at(delivery_id: str) -> datetime:
    """When the delivery came: its id begins with that."""
    number = 0
    for letter in delivery_id:
        number = number * len(_ALPHABET) + _ALPHABET.index(letter)
    return datetime.fromtimestamp((number >> 80) / 1000, timezone.utc)


def missed(watch: Watched, path: CollectionPath, record: ArtifactRecord, last: str | None) -> Missed:
    """The promotion, as W&B has it now."""
    here = record.memberships[0]
    return Missed(
        collection=path,
        alias=watch.alias,
        artifact_id=record.id,
        version=here.version or "",
        since=here.since or record.created_at,
        routes=(watch.route,),
        last=last,
    )


def joined(found: Sequence[Missed]) -> tuple[Missed, ...]:
    """One for each promotion, with all the routes that missed it; the oldest version first."""
    together: dict[tuple[str, str], Missed] = {}
    for each in found:
        known = together.get((each.name, each.artifact_id))
        routes = (*(known.routes if known else ()), *each.routes)
        together[each.name, each.artifact_id] = replace(each, routes=tuple(dict.fromkeys(routes)))
    return tuple(sorted(together.values(), key=lambda each: (each.since, each.name)))


def event_of(promotion: Missed) -> RegistryEvent:
    """The event as W&B would have told it, as far as it can be known: not who did it."""
    path = promotion.collection
    fields = {
        "event_type": EVENT,
        "alias": promotion.alias,
        "artifact_collection_name": path.name,
        "artifact_version": str(ArtifactId(promotion.artifact_id)),
        "artifact_version_string": f"{path}:{promotion.version}",
        "project_name": path.project,
        "entity_name": path.entity,
    }
    return RegistryEvent(
        event=EVENT,
        dispatch_type=EVENT,
        artifact_id=promotion.artifact_id,
        entity=path.entity,
        project=path.project,
        collection=path.name,
        version=promotion.version or None,
        alias=promotion.alias,
        tag=None,
        author=None,
        automation=None,
        fields=fields,
        others={},
    )


def slots_of(
    path: CollectionPath, alias: str, entities: Sequence[str], sources: Sequence[str]
) -> tuple[str, ...]:
    """Every slot that a webhook of this promotion may be in, by whatever door it comes."""
    event = event_of(Missed(path, alias, "", "", datetime.min.replace(tzinfo=timezone.utc), (), None))
    return tuple(
        slot(replace(event, event=name, entity=entity), source)
        for source in sources
        for name in _ALSO_TOLD_AS
        for entity in dict.fromkeys(entities)
    )


def body_digest(event: RegistryEvent) -> str:
    """In the place of the digest of a body that never came."""
    return hashlib.sha256(json.dumps(event.fields, sort_keys=True).encode()).hexdigest()
