"""Of all routes, those that an event takes, in their order."""

from __future__ import annotations

import pytest

from receiver.routing.choose import choose, explain
from receiver.routing.conditions import Condition
from receiver.routing.route import RepositoryDispatch, Route
from receiver.routing.template import Template

SUBJECT = {
    "event": "ADD_ARTIFACT_ALIAS",
    "artifact": "acme/reg/flower",
    "alias": "production",
    "author": "ana",
}
ACTION = RepositoryDispatch(Template.parse("acme/serving"), Template.parse("BUILD"))


def route(name: str, *, goes_on: bool = True, **when: object) -> Route:
    """One whose conditions are given by name; ``accuracy`` is metadata's."""
    conditions = tuple(
        Condition.parse("metadata.accuracy" if key == "accuracy" else key, want) for key, want in when.items()
    )
    return Route(name, ACTION, conditions, goes_on=goes_on)


def names(*routes: Route) -> list[str]:
    """Of the routes that are chosen."""
    return [choice.route.name for choice in choose(routes, SUBJECT)]


def test_all_routes_whose_conditions_hold_are_taken_in_order() -> None:
    """
    One event may start several things.
    """
    assert names(route("a", alias="production"), route("b", alias="staging"), route("c")) == ["a", "c"]


def test_a_route_that_ends_the_list_hides_those_below() -> None:
    """
    With ``continue: false`` the first that matches is the last.
    """
    assert names(route("a", alias="x", goes_on=False), route("b", goes_on=False), route("c")) == ["b"]


def test_no_route_is_no_choice_and_says_why() -> None:
    """
    What nobody wants is known to be so, and why.
    """
    unwanted = route("b", alias="staging", author="bob")

    assert choose([unwanted], SUBJECT) == ()
    assert explain(unwanted, SUBJECT) == (
        "alias: got 'production', want 'staging'",
        "author: got 'ana', want 'bob'",
    )


@pytest.mark.parametrize(("accuracy", "taken"), [(0.95, "best"), (0.5, "rest"), (None, "rest")])
def test_what_wandb_says_decides_between_routes(accuracy: float | None, taken: str) -> None:
    """
    A route that ends the list by what only W&B knows hides those below when W&B says so, and only then.
    """
    routes = [route("best", accuracy=">= 0.9", goes_on=False), route("rest", alias="production")]
    told = {**SUBJECT, "metadata": {} if accuracy is None else {"accuracy": accuracy}}

    choices = choose(routes, SUBJECT)

    assert [choice.route.name for choice in choices] == ["best", "rest"]
    assert [choice.route.name for choice in choices if choice.why_not(told) is None] == [taken]
    assert [choice.route.name for choice in choose(routes, told)] == [taken]
