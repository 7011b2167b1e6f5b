"""Which routes an event takes, and what W&B has to be asked before that is sure.  Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from receiver.event import RegistryEvent
from receiver.routing.conditions import FAILS, HOLDS, OPEN, Condition
from receiver.routing.route import Route
from registry_client.version import ArtifactVersion


@dataclass(frozen=True)
class Choice:
    """A route that the event takes, if W&B says what is still open.

    Attributes:
        must: Conditions of its own that only W&B can judge.
        unless: Of each route above it that would end the list: it is not taken where all of one hold.
    """

    route: Route
    must: tuple[Condition, ...] = ()
    unless: tuple[tuple[Condition, ...], ...] = ()

    def why_not(self, subject: Mapping[str, Any]) -> str | None:
        """With what W&B says: why it is not taken after all, or None where it is."""
        return why_not(self.must, self.unless, subject)


def why_not(
    must: Iterable[Condition], unless: Iterable[Iterable[Condition]], subject: Mapping[str, Any]
) -> str | None:
    """Why a choice falls, with all that is known: one of its own fails, or a route above ends the list."""
    for condition in must:
        if condition.verdict(subject) is not HOLDS:
            return condition.why(subject)
    if any(_all_hold(above, subject) for above in unless):
        return "a route above it, which ends the list, is taken"
    return None


def choose(routes: Sequence[Route], subject: Mapping[str, Any]) -> tuple[Choice, ...]:
    """The routes that the subject takes, in their order."""
    chosen: list[Choice] = []
    unless: list[tuple[Condition, ...]] = []
    for route in routes:
        still_open = open_conditions(route, subject)
        if still_open is None:
            continue
        chosen.append(Choice(route, still_open, tuple(unless)))
        if not route.goes_on:
            if not still_open:
                break
            unless.append(still_open)
    return tuple(chosen)


def open_conditions(route: Route, subject: Mapping[str, Any]) -> tuple[Condition, ...] | None:
    """The conditions that only W&B can judge; None where one fails already."""
    still_open: tuple[Condition, ...] = ()
    for condition in route.when:
        verdict = condition.verdict(subject)
        if verdict is FAILS:
            return None
        if verdict is OPEN:
            still_open += (condition,)
    return still_open


def explain(route: Route, subject: Mapping[str, Any]) -> tuple[str, ...]:
    """Why the route is not taken: each condition that fails, in words."""
    return tuple(condition.why(subject) for condition in route.when if condition.verdict(subject) is FAILS)


def subject_of(event: RegistryEvent, source: str) -> dict[str, Any]:
    """What the event itself tells a condition."""
    place = (event.entity, event.project, event.collection)
    return {
        "event": event.event,
        "artifact": "/".join(part for part in place if part) if all(place) else None,
        "alias": event.alias,
        "tag": event.tag,
        "author": event.author,
        "automation": event.automation,
        "source": source,
    }


def subject_in_wandb(version: ArtifactVersion) -> dict[str, Any]:
    """What W&B tells a condition; where the version is, it knows better than the event."""
    return {
        "artifact": str(version.collection),
        "entity": version.collection.entity,
        "type": version.type,
        "tags": version.tags,
        "metadata": version.metadata,
    }


def _all_hold(conditions: Iterable[Condition], subject: Mapping[str, Any]) -> bool:
    return all(condition.verdict(subject) is HOLDS for condition in conditions)
