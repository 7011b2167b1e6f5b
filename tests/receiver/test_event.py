"""The body of a webhook becomes an event, a trial of W&B's Test button, or a refusal that says why."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver import strict_json
from receiver.errors import BadPayloadError, NotJsonError, RejectedError
from receiver.event import VARIABLES, RegistryEvent, TrialMessage, read_event
from tests.receiver.web_fakes import ARTIFACT, body, flat, rendered_template, sample

ID = ARTIFACT.removeprefix("wandb-artifact://_id/")


def event_of(fields: object) -> RegistryEvent:
    """The event read from these fields."""
    event = read_event(body(fields))
    assert isinstance(event, RegistryEvent)
    return event


def trial_of(raw: bytes) -> TrialMessage:
    """The trial read from this body."""
    trial = read_event(raw)
    assert isinstance(trial, TrialMessage)
    return trial


def refusal(raw: bytes) -> RejectedError:
    """The error that reading raises."""
    with pytest.raises(RejectedError) as caught:
        read_event(raw)
    return caught.value


def test_a_recorded_flat_delivery() -> None:
    """The delivery of 2023, with a space in its names and a version at its end, is read whole."""
    event = read_event(sample("alias_added_model_registry"))

    assert isinstance(event, RegistryEvent)
    assert (event.event, event.dispatch_type) == ("ADD_ARTIFACT_ALIAS", "ADD_ARTIFACT_ALIAS")
    assert (event.entity, event.project) == ("wandb_course", "model-registry")
    assert (event.collection, event.version, event.alias) == ("Lemon Mold Detector", "v1", "candidate")
    assert (event.artifact_id, event.author) == (ID, "hamelsmu")
    assert event.fields == json.loads(sample("alias_added_model_registry"))


def test_a_recorded_github_shaped_delivery() -> None:
    """The delivery of W&B's demo repository is read; its fields are those of its client_payload."""
    event = read_event(sample("alias_added_project"))

    assert isinstance(event, RegistryEvent)
    assert (event.event, event.dispatch_type) == ("ADD_ARTIFACT_ALIAS", "ADD_ARTIFACT_ALIAS")
    assert (event.project, event.collection, event.version) == ("quantized edge training", "CIFAR_10", "v0")
    assert event.alias is None
    assert event.fields == json.loads(sample("alias_added_project"))["client_payload"]


def test_the_readme_template() -> None:
    """The template to paste, filled in, tells all there is; what is empty is not there."""
    event = event_of(rendered_template())

    assert (event.dispatch_type, event.event) == ("BUILD_AND_DEPLOY", "ADD_ARTIFACT_ALIAS")
    assert (event.alias, event.tag) == ("production", None)
    assert (event.version, event.automation) == ("v3", "build on promotion")
    assert "tag" not in event.fields
    assert not event.others


def test_a_body_may_name_the_dispatch_and_the_event() -> None:
    """event_type outside is the dispatch's; event_type in client_payload is W&B's event."""
    event = event_of({"event_type": "BUILD_AND_DEPLOY", "client_payload": flat()})
    assert (event.dispatch_type, event.event) == ("BUILD_AND_DEPLOY", "ADD_ARTIFACT_ALIAS")

    event = event_of({"event_type": "BUILD", "client_payload": flat(event_type="INVENTED_TOMORROW")})
    assert (event.dispatch_type, event.event) == ("BUILD", "INVENTED_TOMORROW")

    event = event_of({"client_payload": flat()})
    assert (event.dispatch_type, event.event) == ("ADD_ARTIFACT_ALIAS", "ADD_ARTIFACT_ALIAS")

    event = event_of({"event_type": "BUILD_AND_DEPLOY", "client_payload": flat(event_type=None)})
    assert (event.dispatch_type, event.event) == ("BUILD_AND_DEPLOY", None)


@pytest.mark.parametrize("shape", [lambda f: f, lambda f: {"event_type": "LINK_MODEL", "client_payload": f}])
def test_link_model_is_link_artifact(shape: Callable[[object], object]) -> None:
    """W&B's older name for a link means the same event."""
    event = event_of(shape(flat(event_type="LINK_MODEL")))

    assert (event.event, event.dispatch_type) == ("LINK_ARTIFACT", "LINK_ARTIFACT")
    assert event.fields["event_type"] == "LINK_ARTIFACT"


def test_update_artifact_alias_stays() -> None:
    """UPDATE_ARTIFACT_ALIAS is an event of its own."""
    assert event_of(flat(event_type="UPDATE_ARTIFACT_ALIAS")).event == "UPDATE_ARTIFACT_ALIAS"


@pytest.mark.parametrize("stray", ['{}"', '"{}"', '{}""', "'{}'"])
def test_stray_quotes_go(stray: str) -> None:
    """Quotes around a value, as W&B's documented example has them, are not part of it."""
    event = event_of(flat(artifact_version=stray.format(ARTIFACT), alias=stray.format("production")))

    assert (event.artifact_id, event.alias) == (ID, "production")
    assert event.fields["artifact_version"] == ARTIFACT


def test_an_apostrophe_stays() -> None:
    """One apostrophe is part of a name."""
    assert event_of(flat(artifact_collection_name="The Boss'")).collection == "The Boss'"


@pytest.mark.parametrize(
    "name", [" Lemon  Mold ", "模型", "نموذج", "caf\u00e9", "cafe\u0301", "🚀 rocket", "a'b\"c", "<script>"]
)
def test_names_keep_every_byte(name: str) -> None:
    """Spaces, any script, either normal form: the name arrives as it was sent. [B6]"""
    event = event_of(flat(artifact_collection_name=name))

    assert event.collection == name
    assert event.fields["artifact_collection_name"] == name


@pytest.mark.parametrize(
    ("changes", "version", "alias"),
    [
        ({"artifact_version_string": "a/b/c:v12", "alias": None}, "v12", None),
        ({"artifact_version_string": "a/b/c:staging", "alias": None}, None, "staging"),
        ({"artifact_version_string": "a/b/c:staging"}, None, "production"),
        ({"artifact_version_string": "a/b/c:staging", "artifact_version_index": "7"}, "v7", "production"),
        ({"artifact_version_string": "a/b/c:v3", "artifact_version_index": "v7"}, "v3", "production"),
        ({"artifact_version_string": None, "artifact_version_index": "v7"}, "v7", "production"),
        ({"artifact_version_string": None, "artifact_version_index": "seven"}, None, "production"),
        ({"artifact_version": "wandb-registry-m/c:v2", "artifact_version_string": None}, "v2", "production"),
    ],
)
def test_version_and_alias(changes: dict[str, object], version: str | None, alias: str | None) -> None:
    """The version string ends in a version or in an alias; a field of its own comes before the latter."""
    event = event_of(flat(**changes))

    assert (event.version, event.alias) == (version, alias)


def test_a_version_string_fills_in_for_fields() -> None:
    """Entity, project and collection come out of the version string when the body has no fields for them."""
    event = event_of({"event_type": "ADD_ARTIFACT_ALIAS", "artifact_version_string": "acme/prod/Model A:v1"})

    assert (event.entity, event.project, event.collection) == ("acme", "prod", "Model A")


def test_a_good_id_makes_up_for_a_name_in_an_unknown_form() -> None:
    """What W&B renders for a new registry is not recorded anywhere: with the id, it stops nothing."""
    event = event_of(flat(artifact_version_string="org/team/wandb-registry-x/c:v1"))

    assert event.artifact_id == ID
    assert event.fields["artifact_version_string"] == "org/team/wandb-registry-x/c:v1"


def test_events_of_runs_and_collections_need_no_artifact() -> None:
    """An event that is not about a version is read without one."""
    event = event_of({"event_type": "RUN_STATE", "run_name": "happy-sun-1", "run_status": "finished"})
    assert event.fields["run_name"] == "happy-sun-1"

    assert event_of({"event_type": "ADD_COLLECTION_TAG", "tag": "reviewed"}).tag == "reviewed"
    assert event_of({"event_type": "MY_BUILD", "run_name": "happy-sun-1"}).event is None


def test_undocumented_fields_stay_apart() -> None:
    """What W&B does not document is in ``others``, from either shape."""
    payload = {**flat(event_type=None), "note": [1]}
    shaped = event_of({"event_type": "X", "client_payload": payload, "on_top": 1})

    assert shaped.others == {"on_top": 1, "note": [1]}
    assert event_of({**flat(), "note": {"a": "b"}}).others == {"note": {"a": "b"}}


@pytest.mark.parametrize("name", ["docs_build_and_deploy", "readme_template"])
def test_an_unrendered_template_is_a_trial(name: str) -> None:
    """The Test button sends the template as it stands; nothing is wrong with these two. [B11]"""
    trial = trial_of(sample(name))

    assert "artifact_version" in trial.unrendered
    assert (trial.unknown, trial.lacking) == ((), ())


def test_an_empty_object_is_a_trial() -> None:
    """The Test button without a payload sends {}."""
    assert trial_of(b"{}") == TrialMessage((), (), ("event_type", "artifact_version"))


@pytest.mark.parametrize(
    "raw",
    [
        {"event_type": "${event_type}", "artifact_version": ARTIFACT},
        {"event_type": "${event_type}", "client_payload": {}},
        flat(artifact_version="${artifact_version}"),
        flat(artifact_version_string="${entity_name}/${project_name}/x:v1"),
        flat(alias="${artifact_metadata.alias}"),
    ],
)
def test_one_variable_left_makes_a_trial(raw: object) -> None:
    """No variable of W&B's webhook page is left in a real delivery."""
    assert trial_of(body(raw)).unrendered


def test_a_trial_tells_what_its_template_lacks() -> None:
    """What a real delivery would be refused for is said while it can be mended."""
    trial = trial_of(body({"alias": "${alias}", "project_name": "${projct_name}"}))

    assert trial.lacking == ("event_type", "artifact_version")
    assert trial.unknown == ("projct_name",)


def test_a_variable_that_webhooks_may_not_have_makes_no_trial() -> None:
    """W&B documents two of our template's variables elsewhere: left unfilled, they are just not there."""
    event = event_of(
        flat(automation_name="${automation_name}", artifact_version_index="${artifact_version_index}")
    )

    assert event.automation is None
    assert "automation_name" not in event.fields


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b"", "empty"),
        (b" \n", "empty"),
        (b"{", "line 1, column 2"),
        (b'{"a": 1,\n "b": }', "line 2, column 7"),
        (b'{"a": "1"2"}', "line 1, column 10"),
        (b"{'a': 1}", "line 1, column 2"),
        (b'{"a": "x\ny"}', "control character"),
        (b'{"a": 1, "a": 2}', "'a' is there twice"),
        (b'{"x": {"a": 1, "a": 2}}', "'a' is there twice"),
        (b'{"a": NaN}', "NaN"),
        (b'{"a": -Infinity}', "-Infinity"),
        (b'{"a": 1e400}', "too large"),
        (b'{"a": ' + b"9" * 5000 + b"}", "5000 digits"),
        (b'{"a": "\xff"}', "byte 8 is not UTF-8"),
        (b"\xef\xbb\xbf{}", "byte order mark"),
        ('{"a": 1}'.encode("utf-16"), "not UTF-8"),
        (b'{"a": "\\ud800"}', "surrogate"),
        (b'{"\\udc00": 1}', "surrogate"),
        (b'{"a": "\\u0000"}', "U+0000"),
        (b"[" * 10_000 + b"]" * 10_000, "deeper than 32"),
        (b'{"a":' * 5_000, "deeper than 32"),
        (b'"' + b'\\"' * 100_000, "Unterminated"),
    ],
    ids=str,
)
def test_what_is_not_json(raw: bytes, said: str) -> None:
    """Anything that is not JSON for every reader is refused with the place or the reason. [B5]"""
    error = refusal(raw)

    assert (error.status, error.reason) == (400, "not-json")
    assert said in str(error)
    assert len(str(error)) < 300


def test_brackets_in_text_nest_nothing() -> None:
    """Only real nesting counts as depth."""
    assert strict_json.load(body({"a": "[" * 100 + '\\"[{' * 50})) == {"a": "[" * 100 + '\\"[{' * 50}
    assert strict_json.load(b"[" * 32 + b"]" * 32)


@pytest.mark.parametrize("raw", [b"null", b"[]", b'[{"event_type": "X"}]', b'"x"', b"1", b"true"])
def test_what_is_no_object(raw: bytes) -> None:
    """JSON that is no object is refused as such."""
    assert refusal(raw).status == 422
    assert refusal(raw).reason == "not-an-object"


@pytest.mark.parametrize(
    ("fields", "reason", "said"),
    [
        ({"event": "x"}, "no-event", '"event_type"'),
        (flat(event_type=None), "no-event", '"event_type"'),
        (flat(event_type=" "), "no-event", '"event_type"'),
        ({"client_payload": {}}, "no-event", '"event_type"'),
        ({"event_type": "BUILD", "client_payload": {}}, "no-artifact", "artifact_version"),
        ({"event_type": "X", "client_payload": []}, "bad-field", "client_payload: want an object"),
        ({"event_type": "X", "client_payload": "{}"}, "bad-field", "client_payload: want an object"),
        (flat(event_type=1), "bad-field", "event_type: want a string, got a number"),
        (flat(alias=["a"]), "bad-field", "alias: want a string, got an array"),
        ({**flat(), "tag": None}, "bad-field", "tag: want a string, got null"),
        ({**flat(), "tag": True}, "bad-field", "tag: want a string, got true or false"),
        (flat(artifact_collection_name="a\r\nb"), "bad-field", "artifact_collection_name: holds a control"),
        (flat(alias="a\x1b[2J"), "bad-field", "alias: holds a control"),
        (flat(alias="a\u2028b"), "bad-field", "alias: holds a control"),
        (flat(event_author="x" * 1025), "bad-field", "event_author: want at most 1024 characters, got 1025"),
        (flat(event_type="X" * 101), "bad-field", "event_type: GitHub takes 100 characters, got 101"),
        (flat(project_name="${projct}"), "unknown-variable", "project_name: W&B has no variable ${projct}"),
        (flat(artifact_version="123"), "bad-artifact-version", "artifact_version: '123'"),
        (flat(artifact_version="wandb-artifact://_id/!!"), "bad-artifact-version", "not base64"),
        (flat(artifact_version="wandb-artifact://_id/UnVuOjE="), "bad-artifact-version", "artifact"),
        (flat(artifact_version=None, artifact_version_string="a/b"), "bad-artifact-version", "_string"),
        (flat(artifact_version=None, artifact_version_string=None), "no-artifact", "artifact_version_string"),
    ],
    ids=str,
)
def test_what_is_no_event(fields: object, reason: str, said: str) -> None:
    """JSON that tells no event is refused by the field's name, with what was looked for."""
    error = refusal(body(fields))

    assert isinstance(error, BadPayloadError)
    assert (error.status, error.reason) == (422, reason)
    assert said in str(error)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.sampled_from(VARIABLES), inner),
    max_leaves=10,
)


@given(st.binary())
def test_any_bytes_are_read_or_refused(raw: bytes) -> None:
    """Whatever the body holds, nothing but an event, a trial or our own refusal comes out."""
    read_or_refused(raw)


@given(JSON | st.dictionaries(st.sampled_from((*VARIABLES, "client_payload")), st.text() | JSON))
def test_any_json_is_read_or_refused(value: object) -> None:
    """Whatever JSON comes, nothing but an event, a trial or our own refusal comes out."""
    read_or_refused(json.dumps(value).encode())


@given(st.dictionaries(st.sampled_from(VARIABLES), st.text(max_size=40)))
def test_what_is_read_was_sent(changes: dict[str, str]) -> None:
    """Each field that is read is a part of what was sent under this name."""
    fields = {**flat(), **changes}
    event = read_or_refused(body(fields) if all(map(encodable, changes.values())) else b"")

    if isinstance(event, RegistryEvent):
        assert all(text in str(fields[name]) for name, text in event.fields.items() if name != "event_type")


def read_or_refused(raw: bytes) -> RegistryEvent | TrialMessage | None:
    """The event, or None when it is refused."""
    try:
        return read_event(raw)
    except (NotJsonError, BadPayloadError):
        return None


def encodable(text: str) -> bool:
    """Whether the text has a UTF-8."""
    return not any("\ud800" <= character <= "\udfff" for character in text)
