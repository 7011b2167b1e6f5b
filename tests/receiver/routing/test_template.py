"""Templates are filled in twice, keep types, and never run or reinterpret what comes from outside."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.routing.template import Template, TemplateError

EVENT = {
    "alias": "production",
    "artifact.collection": "flower",
    "payload": {"a": {"b": 7}, "event_type": "GO"},
}


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("acme/${artifact.collection}", "acme/flower"),
        ("${alias}", "production"),
        ("${payload.a.b}", 7),
        ("is ${payload.a.b}", "is 7"),
        ("${payload.a}", {"b": 7}),
        ("${payload.nothing}", None),
        ("$${alias}", "${alias}"),
        ("$5 and {this}", "$5 and {this}"),
        ({"x": ["${alias}", 1, True, None]}, {"x": ["production", 1, True, None]}),
    ],
)
def test_values_keep_their_types(written: object, read: object) -> None:
    """
    A name alone keeps its value's type; in a longer text it becomes text; the rest is left as it is.
    """
    assert Template.parse(written).fill(EVENT).result() == read


def test_what_only_wandb_knows_stays_open_until_it_is_told() -> None:
    """
    The event fills in what it can, JSON keeps the rest, and W&B's answer completes it.
    """
    template = Template.parse({"model": "${alias}: ${metadata.val acc}", "digest": "${artifact.digest}"})

    kept = json.loads(json.dumps(template.fill(EVENT).to_json()))
    rest = Template.from_json(kept)

    assert rest.names == {"metadata.val acc", "artifact.digest"}
    assert rest.asks_wandb
    told = {"metadata": {"val acc": 0.9}, "artifact.digest": "ab12"}
    assert rest.fill(told).result() == {"model": "production: 0.9", "digest": "ab12"}


def test_a_value_from_outside_cannot_become_a_template() -> None:
    """
    A collection named like a variable stays text, though the template is filled in a second time.
    """
    template = Template.parse("${alias} ${artifact.type}").fill({"alias": "${metadata.secret}"})

    assert (
        Template.from_json(template.to_json())
        .fill({"metadata": {"secret": "no"}, "artifact.type": "model"})
        .result()
        == "${metadata.secret} model"
    )


@pytest.mark.parametrize(
    ("written", "hint"),
    [
        ("${artifact.colection}", "did you mean ${artifact.collection}?"),
        ("${collection}", "did you mean ${artifact.collection}?"),
        ("${}", "there is no ${}"),
        ("${metadata.}", "there is no ${metadata.}"),
        ("${__class__}", "there is no"),
        ("${alias", "without its '}'"),
    ],
)
def test_an_unknown_name_is_an_error_with_the_nearest_right_one(written: str, hint: str) -> None:
    """
    What is no name is told when the file is read, not when a model is promoted.
    """
    with pytest.raises(TemplateError) as told:
        Template.parse(["fine", written])

    assert hint in str(told.value)


def test_an_empty_value_in_a_text_is_an_error() -> None:
    """
    ``acme/${artifact.collection}`` never becomes ``acme/``.
    """
    with pytest.raises(TemplateError, match=r"\$\{tag\} is empty"):
        Template.parse("v-${tag}").fill({"tag": None})


def test_an_open_template_has_no_result() -> None:
    """
    Nothing half filled in is ever sent.
    """
    with pytest.raises(TemplateError, match=r"\$\{artifact.digest\} is not known"):
        Template.parse("x${artifact.digest}").fill(EVENT).result()


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)


@given(_JSON)
def test_any_value_without_names_is_its_own_result(value: object) -> None:
    """
    Whatever is written without ``${`` comes out as it went in, through JSON too.
    """
    if "${" in json.dumps(value, ensure_ascii=False):
        return
    kept = json.loads(json.dumps(Template.parse(value).to_json()))

    assert Template.from_json(kept).result() == value
