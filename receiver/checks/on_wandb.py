"""The checks of W&B: is the key good, and does it see what the routes name?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from receiver.checks.finding import Finding
from receiver.routing.route import Launch, Route
from registry_client.errors import AccessDeniedError, RegistryError
from registry_client.record import Organization, Surroundings
from registry_client.reference import REGISTRY_PREFIX, CollectionPath

_GLOB = frozenset("*?[")


class Registry(Protocol):
    """W&B, as far as it is needed here; WandbApi is one."""

    def surroundings(self, collection: CollectionPath) -> Surroundings:
        """What is there at and around a collection."""
        ...

    def organization(self, name: str) -> Organization | None:
        """The organization with that display name."""

    def own_organizations(self) -> tuple[Organization, ...]:
        """The organizations of the key."""
        ...


def on_wandb(routes: Sequence[Route], registry: Registry) -> Iterator[Finding]:
    """What W&B says to the key, and to each place that a route names."""
    try:
        organizations = ", ".join(str(each) for each in registry.own_organizations())
    except AccessDeniedError as error:
        yield Finding.bad("wandb.api_key", str(error))
        return
    except RegistryError as error:
        yield Finding.bad("wandb.base_url", str(error))
        return
    yield Finding.good("wandb.api_key", f"W&B takes it; its organizations: {organizations or 'none'}")
    for place, names in _places(routes).items():
        yield from _place(place, names, registry)


def _places(routes: Sequence[Route]) -> dict[CollectionPath, list[str]]:
    """Each place that conditions and launches name, with the routes that do."""
    named: dict[CollectionPath, list[str]] = {}
    for route in routes:
        for condition in route.when:
            if condition.key == "artifact" and not condition.negated:
                for want in condition.wants:
                    named.setdefault(CollectionPath(*want.split("/")), []).append(route.name)
        if isinstance(route.action, Launch):
            parts = (route.action.entity.tree, route.action.project.tree)
            if all(isinstance(part, str) for part in parts):
                named.setdefault(CollectionPath(*parts, "*"), []).append(route.name)
    return named


def _place(place: CollectionPath, names: Sequence[str], registry: Registry) -> Iterator[Finding]:
    project, of = f"{place.entity}/{place.project}", f"of route {', '.join(names)}"
    if _GLOB & set(project):
        yield Finding.open(project, f"a glob may mean many ({of})")
        return
    try:
        there = _surroundings(place, registry)
    except RegistryError as error:
        yield Finding.bad(project, str(error))
        return
    who = f"the key, which is {there.user}'s," if there.user else "the key"
    if not there.project:
        missing = "project" if there.entity else "entity"
        yield Finding.bad(
            project, f"{who} sees no such {missing} ({of}): check the name, or give that user access to it"
        )
    elif _GLOB & set(place.name):
        yield Finding.good(project, f"{who} sees it")
    elif there.collection:
        yield Finding.good(str(place), f"{who} sees it")
    else:
        yield Finding.warning(str(place), f"{who} sees no such collection yet ({of})")


def _surroundings(place: CollectionPath, registry: Registry) -> Surroundings:
    """Of the place as it is written, else with its organization's name turned into its entity."""
    there = registry.surroundings(place)
    if there.project or not place.project.startswith(REGISTRY_PREFIX):
        return there
    organization = registry.organization(place.entity)
    if organization is None:
        return there
    return registry.surroundings(CollectionPath(organization.entity, place.project, place.name))
