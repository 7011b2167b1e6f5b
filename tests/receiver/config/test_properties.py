"""Whatever a person does to a good file: it is read, or each problem has its place; nothing else happens."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
from hypothesis import given, settings
from hypothesis import strategies as st

from receiver.config import Config, ConfigError, json_schema
from receiver.config.document import load, plain
from receiver.config.problems import Problems
from tests.receiver.config.reading import SAMPLES, read

TEXT = (SAMPLES / "handoff.yaml").read_text(encoding="utf-8")
VALIDATOR = jsonschema.Draft7Validator(json_schema())
KEYS = st.sampled_from(
    [
        *("sources", "github", "wandb", "routes", "channels", "ledger", "server", "secrets", "env", "file"),
        *("name", "when", "dispatch", "post", "launch", "notify", "continue", "run", "reconcile", "not"),
        *("event", "artifact", "alias", "metadata", "metadata.x", "type", "workflow", "ref", "inputs", "url"),
        *("event_type", "event_types", "client_payload", "handoff", "slack", "teams", "format", "on", "<<"),
    ]
)
WORDS = st.sampled_from(
    [
        *("acme/serving", "acme/models/*", "${artifact.digest}", "${payload.event_type}", "${", "off", "10m"),
        *(
            "wandb",
            "ml-slack",
            "production",
            "https://example.com",
            "http://127.0.0.1",
            "WANDB_API_KEY",
            ">= 1",
        ),
        *("required", "keep", "failed", "1/s", "sqlite:///x.db", "postgresql://a:b@c/d", "[", "DEPLOY", ""),
    ]
)
SINGLE = st.none() | st.booleans() | st.integers(-3, 10**20) | st.floats() | WORDS | st.text(max_size=12)
VALUES = st.recursive(
    SINGLE, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4), max_leaves=8
)


def outcome(text: str) -> Config | ConfigError:
    """The Config, or what is wrong: each problem at a place in the text."""
    try:
        return read(text)
    except ConfigError as error:
        check_places(error, text)
        return error


def check_places(error: ConfigError, text: str) -> None:
    """Each problem has a line and a column of the text, and words."""
    lines = text.split("\n")
    assert error.problems
    for problem in error.problems:
        assert 1 <= problem.line <= len(text.splitlines()) + 1, problem
        assert 1 <= problem.column <= max(map(len, lines)) + 2, problem
        assert problem.startswith(f"handoff.yaml:{problem.line}:{problem.column}: ")
        assert problem.message


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path of everything in a value."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(each for key, one in inner for each in places(one, (*path, key)))]


@st.composite
def changed(draw: st.DrawFn) -> Any:
    """The sample with one to three of its parts changed, taken away, or joined by others."""
    value = plain(load(TEXT, Problems("x")))  # type: ignore[arg-type]  # it is a tree
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from([path for path in places(value) if path]))
        parent = value
        for key in path[:-1]:
            parent = parent[key]
        deed = draw(st.sampled_from(["replace", "replace", "remove", "add"]))
        if deed == "remove":
            del parent[path[-1]]
        elif deed == "add" and isinstance(parent, dict):
            parent[draw(KEYS)] = draw(VALUES)
        else:
            parent[path[-1]] = draw(VALUES)
    return value


def optional(**keys: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """A mapping with some of the keys."""
    return st.fixed_dictionaries({}, optional=keys)


def joined(*parts: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    """One mapping of several."""
    return st.tuples(*parts).map(lambda each: {key: value for part in each for key, value in part.items()})


GLOBS = st.sampled_from(["a", "a*", "?-[ab]"])
NO_NUL = st.characters(codec="utf-8", exclude_characters="\0")  # Which is no text, and said to be none.
WHEN = joined(
    optional(
        alias=GLOBS | st.lists(GLOBS, min_size=1, max_size=3),
        artifact=st.sampled_from(["acme/models/*", "*/*/x-?"]),
        event=st.sampled_from(["LINK_ARTIFACT", "ADD_*"]),
        source=st.sampled_from(["wandb", "vision-team", "w*"]),
        metadata=st.dictionaries(
            st.text(NO_NUL, min_size=1, max_size=3), st.integers() | st.booleans() | GLOBS, max_size=2
        ),
    ),
    optional(**{"metadata.a.b": st.sampled_from([">= 0.9", 3, True, ["x", 1]]), "not": optional(tag=GLOBS)}),
)
REPOSITORIES = st.sampled_from(["acme/serving", "acme/${artifact.collection}", "${artifact.entity}/x"])
ACTIONS = st.one_of(
    joined(
        st.fixed_dictionaries({"repository": REPOSITORIES, "event_type": st.sampled_from(["A", "${alias}"])}),
        optional(client_payload=st.just({"digest": "${artifact.digest}", "n": 1, "x": [None, {"y": True}]})),
    ).map(lambda value: {"dispatch": value}),
    joined(
        st.fixed_dictionaries(
            {"repository": REPOSITORIES, "workflow": st.just("a.yml"), "ref": st.just("main")}
        ),
        optional(inputs=st.just({"version": "${artifact.version}", "dry": True, "n": 1})),
    ).map(lambda value: {"dispatch": value}),
    joined(
        st.just({"url": "https://example.com:8443/x?y=1"}),
        optional(
            timeout=st.sampled_from(["5s", 10]), allow_private=st.booleans(), body=st.just({"a": "${tag}"})
        ),
    ).map(lambda value: {"post": value}),
)
ROUTES = joined(
    st.fixed_dictionaries({"when": WHEN}),
    ACTIONS,
    optional(
        **{
            "notify": st.sampled_from([[], "ml-slack", ["ml-slack", "ml-teams"]]),
            "continue": st.booleans(),
            "order": st.sampled_from(["keep", "overtake"]),
            "ambiguous": st.sampled_from(["retry", "hold"]),
        }
    ),
)


@settings(max_examples=75, deadline=None)
@given(st.lists(ROUTES, min_size=1, max_size=4))
def test_what_is_right_is_read_and_valid(routes: list[Any]) -> None:
    """
    Routes put together out of right parts make a Config of as many, and the JSON Schema takes them.
    """
    value = plain(load(TEXT, Problems("x")))  # type: ignore[arg-type]  # it is a tree
    value["routes"] = [{"name": f"route-{number}", **route} for number, route in enumerate(routes)]
    config = read(json.dumps(value))

    assert len(config.routes) == len(routes)
    assert [error.message for error in VALIDATOR.iter_errors(value)] == []


@settings(max_examples=150, deadline=None)
@given(changed())
def test_any_change_is_read_or_told_with_its_place(value: Any) -> None:
    """
    A changed value never crashes the reader; what the reader takes, the JSON Schema takes.
    """
    text = json.dumps(value, indent=1)
    document = load(text, Problems("x"))

    if isinstance(outcome(text), Config):
        assert document is not None
        assert [error.message for error in VALIDATOR.iter_errors(plain(document))] == []


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.integers(0, len(TEXT)),
            st.integers(0, 12),
            st.text("{}[]:,-*&!|>'\"#%@` \t\na$é~<?", max_size=4),
        ),
        min_size=1,
        max_size=3,
    )
)
def test_any_slip_of_the_hand_is_told_with_its_place(slips: list[tuple[int, int, str]]) -> None:
    """
    Letters lost and brackets typed, anywhere: a Config, or problems with line and column.
    """
    text = TEXT
    for at, lost, typed in slips:
        text = text[:at] + typed + text[at + lost :]

    outcome(text)


@settings(max_examples=50, deadline=None)
@given(st.text())
def test_any_text_is_told_with_its_place(text: str) -> None:
    """
    What is no configuration at all is told so.
    """
    assert isinstance(outcome(text), ConfigError)
