"""The story of reconciling: what W&B has now, beside what came; what was missed is caught up, once."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Protocol

from receiver import plan
from receiver.config import Config, Source
from receiver.delivery import Baseline, Delivery, Receipt
from receiver.dispatch import Dispatch
from receiver.errors import BadPayloadError
from receiver.intake import new_id
from receiver.missed import (
    NOTHING,
    Missed,
    Watched,
    body_digest,
    event_of,
    is_missed,
    joined,
    missed,
    slots_of,
    watched,
)
from receiver.plan import Rules
from receiver.reports import mark_of
from receiver.routing.planned import Arrival
from receiver.routing.route import Route
from receiver.routing.speaking import may_speak
from receiver.secret import Secret
from registry_client.errors import RegistryError
from registry_client.record import ArtifactRecord, ArtifactState, Organization
from registry_client.reference import REGISTRY_PREFIX, CollectionPath


class Registry(Protocol):
    """W&B, as far as it is needed here; WandbApi is one."""

    def by_name(self, collection: CollectionPath, alias: str) -> ArtifactRecord | None:
        """The version that carries the alias there."""

    def collections(self, entity: str, project: str) -> tuple[CollectionPath, ...] | None:
        """Every collection of a project; None when the key sees no such project."""

    def organization(self, name: str) -> Organization | None:
        """The organization with that display name."""


class Memory(Protocol):
    """The ledger, as far as it is needed here."""

    def last_promoted(self, slots: Collection[str], /) -> tuple[str | None, str] | None:
        """Of the latest delivery in any of the slots: the artifact id, where it named one, and its own id."""

    def baseline(self, route: str, collection: str, alias: str, /) -> Baseline | None:
        """What was there when the route was last compared."""

    def set_baseline(self, route: str, collection: str, alias: str, baseline: Baseline, /) -> None:
        """Remember what is there."""

    def mark_until(self, artifact_id: str, collection: str, name: str, /) -> datetime | None:
        """Until when an event of this counted as one of our own jobs'; None where it never did."""

    def accept(self, delivery: Delivery, planned: Sequence[Dispatch], /, *, window: timedelta) -> Receipt:
        """Keep it, unless it repeats the latest of its slot."""
        ...


@dataclass
class Found:
    """What a look came to.

    Attributes:
        compared: How many aliases of how many collections are as they were told.
        noted: How many were only noted, for their route was never compared before.
        problems: What could not be compared, and why.
    """

    missed: tuple[Missed, ...] = ()
    compared: int = 0
    noted: int = 0
    problems: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Caught:
    """What came of catching up with one promotion: its receipt, or why there is none."""

    promotion: Missed
    receipt: Receipt | None = None
    problem: str | None = None


@dataclass(frozen=True)
class Reconcile:
    """Compares W&B with the ledger, for the routes that want it.

    Attributes:
        routes: All routes: those above may end the list.
        sources: By name; what is caught up counts as told by the first that may speak for it.
        plan: What an event would start, by all routes.
        window: How long the same, told again, is a repetition.
        hidden: Secrets that must be in nothing that is kept or sent.
    """

    routes: Sequence[Route]
    sources: Mapping[str, Source]
    registry: Registry
    memory: Memory
    now: Callable[[], datetime]
    new_id: Callable[[datetime], str]
    plan: Callable[[Arrival], Sequence[Dispatch]]
    window: timedelta = timedelta(minutes=10)
    hidden: tuple[Secret, ...] = ()

    @classmethod
    def of(
        cls, config: Config, rules: Rules, registry: Registry, memory: Memory, now: Callable[[], datetime]
    ) -> Reconcile:
        """The story by a configuration; ``rules`` are what it says of planning."""
        return cls(
            routes=config.routes,
            sources=config.sources,
            registry=registry,
            memory=memory,
            now=now,
            new_id=new_id,
            plan=partial(plan.plan, rules=rules),
            window=config.ledger.duplicate_window,
            hidden=config.all_secrets,
        )

    def look(
        self, names: Collection[str] | None = None, *, everything: bool = False, keep: bool = True
    ) -> Found:
        """Compare, and remember what is there.

        Args:
            names: The routes to compare; None is all that want it.
            everything: Also count as missed what was there before a route was ever compared.
            keep: Whether to remember anything.
        """
        look = _Look(self, everything=everything, keep=keep)
        for watch in watched(self.routes):
            if names is None or watch.route in names:
                try:
                    look.at(watch)
                except RegistryError as error:
                    look.found.problems.append(f"{watch.place}:{watch.alias} ({watch.route}): {error}")
        look.found.missed = joined(look.missed)
        return look.found

    def catch_up(self, promotion: Missed) -> Caught:
        """Accept what W&B never told, for every route that is reconciled; the same is accepted but once."""
        event, received_at = event_of(promotion), self.now()
        for source in self.sources.values():
            arrival = Arrival(
                event, source.name, self.new_id(received_at), received_at, source.entities, reconciled=True
            )
            planned = self._planned(arrival)
            if not planned or not may_speak(source.entities, event.entity):
                continue
            try:
                plan.check_no_secret(event, planned, self.hidden)
            except BadPayloadError as error:
                return Caught(promotion, problem=str(error))
            receipt = self.memory.accept(_delivery(arrival), planned, window=self.window)
            return Caught(promotion, receipt)
        self._remember(promotion, received_at)
        return Caught(promotion, problem="no route takes it, by whatever source it comes: it is only noted")

    def _planned(self, arrival: Arrival) -> tuple[Dispatch, ...]:
        """Of all that the event would start, what the routes want that are reconciled."""
        reconciled = {route.name for route in self.routes if route.reconcile is not None}
        return tuple(dispatch for dispatch in self.plan(arrival) if dispatch.route in reconciled)

    def _remember(self, promotion: Missed, at: datetime) -> None:
        for route in promotion.routes:
            baseline = Baseline(promotion.artifact_id, at)
            self.memory.set_baseline(route, str(promotion.collection), promotion.alias, baseline)


class _Look:
    """One look: each project is listed once, each alias asked for once."""

    def __init__(self, story: Reconcile, *, everything: bool, keep: bool) -> None:
        self._story = story
        self._everything = everything
        self._keep = keep
        self._entities: dict[tuple[str, str], str] = {}
        self._collections: dict[tuple[str, str], Sequence[str]] = {}
        self._records: dict[tuple[CollectionPath, str], tuple[ArtifactRecord | None, datetime]] = {}
        self.found = Found()
        self.missed: list[Missed] = []

    def at(self, watch: Watched) -> None:
        """Compare all that is watched; that it was done is remembered when nothing failed."""
        began = self._story.now()
        first = self._story.memory.baseline(watch.route, watch.place, watch.alias) is None
        for name in self._names(watch):
            self._compare(watch, CollectionPath(watch.entity, watch.project, name), first=first)
        if self._story.memory.baseline(watch.route, watch.place, watch.alias) is None:
            self._set(watch, watch.place, Baseline(NOTHING, began))

    def _compare(self, watch: Watched, path: CollectionPath, *, first: bool) -> None:
        record, asked_at = self._record(path, watch.alias)
        if record is None or record.state is not ArtifactState.COMMITTED:
            return
        memory = self._story.memory
        baseline = memory.baseline(watch.route, str(path), watch.alias)
        entities = (watch.entity, self._entity(watch.entity, watch.project))
        last = memory.last_promoted(slots_of(path, watch.alias, entities, tuple(self._story.sources)))
        first = first and not self._everything
        promotion = missed(watch, path, record, last[0] if last else None)
        if is_missed(record.id, baseline, last, first=first) and not self._ours(promotion):
            self.missed.append(promotion)
            return
        self.found.compared += 1
        self.found.noted += baseline is None and last is None
        if baseline is None or baseline.artifact_id != record.id:
            self._set(watch, str(path), Baseline(record.id, asked_at))

    def _ours(self, promotion: Missed) -> bool:
        """Whether a job of ours gave the alias: what was told of that started nothing, and was not kept."""
        mark = mark_of(event_of(promotion))
        return mark is not None and self._story.memory.mark_until(*mark) is not None

    def _names(self, watch: Watched) -> Iterator[str]:
        if not watch.is_glob:
            yield watch.collections
            return
        key = (watch.entity, watch.project)
        if key not in self._collections:
            there = self._story.registry.collections(self._entity(*key), watch.project)
            if there is None:
                raise RegistryError("the key sees no such project")
            self._collections[key] = [path.name for path in there]
        yield from filter(watch.fits, self._collections[key])

    def _record(self, path: CollectionPath, alias: str) -> tuple[ArtifactRecord | None, datetime]:
        """What carries the alias, and when that was asked: a webhook that came later knows better."""
        if (path, alias) not in self._records:
            asked_at = self._story.now()
            there = CollectionPath(self._entity(path.entity, path.project), path.project, path.name)
            self._records[path, alias] = self._story.registry.by_name(there, alias), asked_at
        return self._records[path, alias]

    def _entity(self, entity: str, project: str) -> str:
        """The entity of an organization whose display name the route may have written."""
        if (entity, project) not in self._entities:
            in_registry = project.startswith(REGISTRY_PREFIX)
            organization = self._story.registry.organization(entity) if in_registry else None
            self._entities[entity, project] = organization.entity if organization else entity
        return self._entities[entity, project]

    def _set(self, watch: Watched, collection: str, baseline: Baseline) -> None:
        if self._keep:
            self._story.memory.set_baseline(watch.route, collection, watch.alias, baseline)


def _delivery(arrival: Arrival) -> Delivery:
    event = arrival.event
    return Delivery(
        id=arrival.delivery_id,
        source=arrival.source,
        received_at=arrival.received_at,
        address=None,
        encoding=None,
        body_sha256=body_digest(event),
        event=event,
        slot=plan.slot(event, arrival.source),
        fingerprint=plan.fingerprint(event, arrival.source),
        reconciled=True,
    )
