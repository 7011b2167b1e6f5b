"""What stands in for the ledger and W&B where promotions are compared, and keeps their rules."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from functools import partial

from receiver.config import Source
from receiver.delivery import Baseline, Delivery, Receipt
from receiver.dispatch import Dispatch
from receiver.event import RegistryEvent
from receiver.intake import new_id
from receiver.missed import Missed, event_of
from receiver.plan import fingerprint, slot
from receiver.reconcile import Reconcile
from receiver.routing.conditions import Condition
from receiver.routing.planned import plan_by_routes
from receiver.routing.route import RepositoryDispatch, Route
from receiver.routing.template import Template
from receiver.secret import Secret
from registry_client.errors import FetchError
from registry_client.record import ArtifactRecord
from registry_client.reference import CollectionPath
from tests.fakes import FakeRegistry
from tests.receiver.fakes import Clock

REGISTRY = "acme/wandb-registry-model"
FLOWER = f"{REGISTRY}/flower"


class FakeMemory:
    """A ledger: the latest delivery of each slot counts, and the same is kept but once."""

    def __init__(self) -> None:
        self.deliveries: list[tuple[Delivery, Sequence[Dispatch]]] = []
        self.baselines: dict[tuple[str, str, str], Baseline] = {}
        self.marks: dict[tuple[str, str, str], datetime] = {}

    def last_promoted(self, slots: Collection[str], /) -> tuple[str | None, str] | None:
        """The latest by its id, which begins with the time."""
        found = [delivery for delivery, _ in self.deliveries if delivery.slot in slots]
        last = max(found, key=lambda delivery: delivery.id, default=None)
        return None if last is None else (last.event.artifact_id, last.id)

    def baseline(self, route: str, collection: str, alias: str, /) -> Baseline | None:
        """What was there."""
        return self.baselines.get((route, collection, alias))

    def set_baseline(self, route: str, collection: str, alias: str, baseline: Baseline, /) -> None:
        """Remember what is there."""
        self.baselines[route, collection, alias] = baseline

    def mark_until(self, artifact_id: str, collection: str, name: str, /) -> datetime | None:
        """Until when an event of this counts as ours."""
        return self.marks.get((artifact_id, collection, name))

    def accept(self, delivery: Delivery, planned: Sequence[Dispatch], /, *, window: timedelta) -> Receipt:
        """Keep it, unless it repeats the latest of its slot."""
        last = next((each for each, _ in reversed(self.deliveries) if each.slot == delivery.slot), None)
        same = last is not None and last.fingerprint == delivery.fingerprint
        if (
            last is not None
            and same
            and (last.reconciled or delivery.received_at - last.received_at < window)
        ):
            return Receipt(last.id, True, last.received_at, ())
        self.deliveries.append((delivery, planned))
        return Receipt(delivery.id, False, delivery.received_at, tuple(planned))


class ListingRegistry(FakeRegistry):
    """A W&B that also lists collections.

    Attributes:
        down: Whether it cannot be reached.
        asked: Every alias and every list that was asked for.
    """

    def __init__(self) -> None:
        super().__init__()
        self.down = False
        self.asked: list[str] = []

    def by_name(self, collection: CollectionPath, alias: str) -> ArtifactRecord | None:
        """The version that the alias names."""
        self._ask(f"{collection}:{alias}")
        return super().by_name(collection, alias)

    def collections(self, entity: str, project: str) -> tuple[CollectionPath, ...] | None:
        """Every collection of a project."""
        self._ask(f"{entity}/{project}")
        there = tuple(each for each in self._places if (each.entity, each.project) == (entity, project))
        return there or None

    def _ask(self, what: str) -> None:
        self.asked.append(what)
        if self.down:
            raise FetchError("api.wandb.ai cannot be reached")


class World:
    """W&B, the ledger and the story between them; a clock that stands still until it is moved."""

    def __init__(self, *routes: Route, sources: Sequence[Source] = (Source("wandb"),)) -> None:
        self.clock = Clock()
        self.wandb = ListingRegistry()
        self.memory = FakeMemory()
        planned = partial(plan_by_routes, routes or (route(),), verify=False)
        self.story = Reconcile(
            routes=routes or (route(),),
            plan=planned,
            sources={source.name: source for source in sources},
            registry=self.wandb,
            memory=self.memory,
            now=self.clock,
            new_id=new_id,
            hidden=(Secret("hidden-in-a-name"),),
        )

    def promote(self, path: str = FLOWER, alias: str = "production") -> ArtifactRecord:
        """Log a new version, link it, and give it the alias."""
        record = self.wandb.log()
        self.wandb.link(record, path, alias)
        return record

    def missed(self, *, everything: bool = False, keep: bool = True) -> list[str]:
        """What a look finds, each as ``collection:alias version``."""
        found = self.story.look(everything=everything, keep=keep)
        assert found.problems == []
        return [f"{each.collection.name}:{each.alias} {each.version}" for each in found.missed]

    def webhook(
        self, record: ArtifactRecord, path: str = FLOWER, source: str = "wandb", **changes: object
    ) -> None:
        """Have W&B tell that the version carries production."""
        event = told(record, path)
        fields: dict[str, object] = {**vars(event), **changes}
        event = RegistryEvent(**fields)  # type: ignore[arg-type]
        now = self.clock()
        delivery = Delivery(
            new_id(now), source, now, None, "hex", "", event, slot(event, source), fingerprint(event, source)
        )
        self.memory.accept(delivery, (), window=timedelta(minutes=10))


def told(record: ArtifactRecord, path: str) -> RegistryEvent:
    """The event as W&B tells it."""
    place = CollectionPath(*path.split("/"))
    return event_of(Missed(place, "production", record.id, "v0", record.created_at, (), None))


def route(
    name: str = "deploy",
    artifact: str | Sequence[str] = FLOWER,
    alias: str | Sequence[str] = "production",
    *when: Condition,
    every: timedelta | None = timedelta(minutes=10),
) -> Route:
    """A route that is reconciled."""
    conditions = (Condition.parse("artifact", artifact), Condition.parse("alias", alias), *when)
    return Route(
        name, RepositoryDispatch(Template("acme/serving"), Template("BUILD")), conditions, reconcile=every
    )
