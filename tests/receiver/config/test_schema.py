"""The JSON Schema that editors complete with says what the reader says."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest

from receiver.config import json_schema
from receiver.config.document import load, plain
from receiver.config.problems import Problems
from tests.receiver.config.reading import GOOD, SAMPLES
from tests.test_architecture import ROOT

# Wrong by what they mean, or by what is around them: no schema can say so.
BEYOND_A_SCHEMA = {
    *("event-type-from-the-body", "needs-wandb", "no-github", "same-key-twice", "same-name-twice"),
    *("private-address", "secret-not-set", "unknown-source", "unknown-template-name"),
}


def validator() -> Any:
    """What judges documents by the schema."""
    return jsonschema.Draft7Validator(json_schema())


def document(text: str) -> Any:
    """The values of a text, as an editor has them; None where it is no YAML."""
    node = load(text, Problems("x"))
    return None if node is None else plain(node)


def test_it_is_a_schema() -> None:
    """
    It keeps to the rules of JSON Schema, draft 7.
    """
    jsonschema.Draft7Validator.check_schema(json_schema())


def test_the_published_file_is_this_schema() -> None:
    """
    handoff.schema.json is what `handoff schema` prints.
    """
    published = (ROOT / "handoff.schema.json").read_text(encoding="utf-8")

    assert published == json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n"


@pytest.mark.parametrize("text", [GOOD, (SAMPLES / "handoff.yaml").read_text(encoding="utf-8")])
def test_it_takes_what_is_right(text: str) -> None:
    """
    The samples are valid.
    """
    assert [error.message for error in validator().iter_errors(document(text))] == []


@pytest.mark.parametrize(
    "path",
    [path for path in sorted((SAMPLES / "configs").glob("*.yaml")) if path.stem not in BEYOND_A_SCHEMA],
    ids=lambda path: path.stem,
)
def test_it_finds_the_mistakes_that_a_schema_can(path: Any) -> None:
    """
    Of the broken files, those whose form is wrong are invalid.
    """
    value = document(path.read_text(encoding="utf-8"))
    assert value is None or not validator().is_valid(value)


@pytest.mark.parametrize("name", sorted(BEYOND_A_SCHEMA))
def test_what_is_beyond_it_is_named(name: str) -> None:
    """
    The others are valid by their form, or stand in the list in vain.
    """
    text = (SAMPLES / "configs" / f"{name}.yaml").read_text(encoding="utf-8")

    if name not in {"unknown-source", "private-address"}:  # Several mistakes, some within its reach.
        assert validator().is_valid(document(text))


def described(schema: Any) -> list[str]:
    """The path of every property without a description."""
    if isinstance(schema, list):
        return [path for each in schema for path in described(each)]
    if not isinstance(schema, dict):
        return []
    bare = [name for name, inner in schema.get("properties", {}).items() if "description" not in inner]
    return bare + [path for inner in schema.values() for path in described(inner)]


def test_every_key_tells_what_it_is_for() -> None:
    """
    An editor has a sentence to show for each key.
    """
    assert described(json_schema()) == []
