"""A large file is no slow one."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.routing.choose import choose
from receiver.routing.conditions import Condition, Verdict, glob
from receiver.routing.route import RepositoryDispatch, Route
from receiver.routing.template import Template

SUBJECT = {
    "event": "ADD_ARTIFACT_ALIAS",
    "artifact": "acme/wandb-registry-model/team7-nature",
    "alias": "production",
    "tag": None,
    "author": "release-bot",
    "automation": None,
    "source": "wandb",
}
SHAPES = {
    "a collection each": ("acme/wandb-registry-model/team{}-*", "bob-*", ["route-7"]),
    "all but the last condition holds for all": ("acme/*/team*", "bob-*", ["route-7", "route-500"]),
}


def routes(artifact: str, author: str) -> list[Route]:
    """A thousand, of which number 500 wants the author of the event."""
    return [
        Route(
            f"route-{number}",
            RepositoryDispatch(Template("acme/serving"), Template("BUILD")),
            (
                Condition.parse("event", "ADD_ARTIFACT_ALIAS"),
                Condition.parse("artifact", artifact.format(number)),
                Condition.parse("alias", ["production", "staging"]),
                Condition.parse("author", ["ana", "release-*" if number in {7, 500} else author]),
            ),
        )
        for number in range(1000)
    ]


@pytest.mark.parametrize(("artifact", "author", "taken"), SHAPES.values(), ids=SHAPES)
def test_a_thousand_routes_are_told_apart(artifact: str, author: str, taken: list[str]) -> None:
    """
    Whether the first conditions fail or the last; ``benchmarks/routes.py`` measures the same.
    """
    assert [choice.route.name for choice in choose(routes(artifact, author), SUBJECT)] == taken


@pytest.mark.parametrize("wants", [["*a*a*a*a*a*a*a*a*b"], ["x", "*?*?*?*?*?*?*?*b", "*a*a*a*a*a*[c-d]"]])
def test_no_text_is_long_enough_to_hold_us_up(wants: list[str]) -> None:
    """
    Whoever may post a thousand letters that nearly fit a glob with many stars waits for no answer longer.
    """
    condition = Condition.parse("alias", wants)

    assert condition.verdict({"alias": "a" * 1024}) is Verdict.FAILS
    assert condition.verdict({"alias": "a" * 1023 + ("b" if "b" in wants[-1] else "c")}) is Verdict.HOLDS


LETTERS = "ab/-"


@given(
    pattern=st.lists(st.sampled_from(["*", "?", "[ab]", "[!a]", *LETTERS]), min_size=1, max_size=8),
    text=st.text(LETTERS, max_size=10),
)
def test_a_glob_is_what_it_says(pattern: list[str], text: str) -> None:
    """
    However many stars: the same as trying everything, letter by letter.
    """
    assert (glob("".join(pattern)).fullmatch(text) is not None) is fits(pattern, text)


def fits(pattern: Sequence[str], text: str) -> bool:
    """The slow and obvious way."""
    if not pattern:
        return not text
    first, rest = pattern[0], pattern[1:]
    if first == "*":
        return fits(rest, text) or (text[:1] not in {"", "/"} and fits(pattern, text[1:]))
    singles = {"?": "ab-", "[ab]": "ab", "[!a]": "b-"}
    return text[:1] != "" and text[0] in singles.get(first, first) and fits(rest, text[1:])
