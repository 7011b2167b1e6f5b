"""An event becomes a dispatch that GitHub takes, and that holds nothing that was not asked for."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta, timezone
from typing import Any

import pytest

from receiver.dispatch import Dispatch
from receiver.errors import BadPayloadError
from receiver.event import RegistryEvent, read_event
from receiver.plan import check_no_secret, fingerprint, ignored, slot
from receiver.routing.planned import compact
from receiver.secret import Secret
from tests.receiver.web_fakes import ARTIFACT, NOON, body, flat, planned, rendered_template, sample

REPOSITORY = "acme/models"


def event_of(fields: object) -> RegistryEvent:
    """The event read from these fields."""
    event = read_event(body(fields))
    assert isinstance(event, RegistryEvent)
    return event


def dispatch_of(fields: object, *forward: str) -> Dispatch:
    """The one dispatch planned for these fields."""
    (dispatch,) = planned(event_of(fields), repository=REPOSITORY, forward=forward)
    return dispatch


def test_a_workflow_of_the_documentation_runs_unchanged() -> None:
    """A GitHub-shaped delivery is sent on as W&B's page has it, with one object more."""
    recorded = json.loads(sample("alias_added_project"))
    dispatch = dispatch_of({**recorded, "event_type": "BUILD_AND_DEPLOY"})
    payload = dict(dispatch.client_payload)

    assert dispatch.event_type == "BUILD_AND_DEPLOY"
    assert payload.pop("handoff")["key"] == dispatch.key
    assert payload == recorded["client_payload"]


def test_the_handoff_object() -> None:
    """The README's template gives a handoff object with everything in it."""
    dispatch = dispatch_of(rendered_template())

    assert dispatch.client_payload["handoff"] == {
        "delivery": "01DELIVERY",
        "key": dispatch.key,
        "event": "ADD_ARTIFACT_ALIAS",
        "artifact": ARTIFACT,
        "version": "v3",
        "entity": "acme",
        "project": "wandb-registry-model",
        "collection": "Churn Model",
        "alias": "production",
        "tag": None,
        "author": "ada",
        "automation": "build on promotion",
        "received_at": "2026-11-20T12:00:00.000Z",
    }


def test_the_rest_of_a_dispatch() -> None:
    """It names its delivery, its repository, its lane and its time."""
    dispatch = dispatch_of(rendered_template())

    assert (dispatch.id, dispatch.delivery_id) == ("01DELIVERY-1", "01DELIVERY")
    assert dispatch.lane == "acme/models/acme/wandb-registry-model/Churn Model"
    assert (dispatch.repository, dispatch.accepted_at) == (REPOSITORY, NOON)


def test_two_variables_travel_in_our_object_only() -> None:
    """The template with every variable filled in stays within GitHub's ten properties."""
    payload = dispatch_of(rendered_template(tag="approved")).client_payload

    assert len(payload) == 10
    assert not {"automation_name", "artifact_version_index"} & payload.keys()


def test_times_are_told_in_utc() -> None:
    """Whatever zone the clock has, the time goes out in UTC."""
    elsewhere = NOON.astimezone(timezone(timedelta(hours=5, minutes=30)))
    (dispatch,) = planned(event_of(flat()), "1", elsewhere, repository=REPOSITORY)

    assert dispatch.client_payload["handoff"]["received_at"] == "2026-11-20T12:00:00.000Z"


def test_the_key_is_of_the_delivery() -> None:
    """The same delivery has the same key, and no other has it."""
    event = event_of(flat())

    def key(delivery: str) -> str:
        return planned(event, delivery)[0].key

    assert key("a") == key("a")
    assert key("a") != key("b")


def test_unknown_fields_are_forwarded_only_when_named() -> None:
    """What W&B does not document stays behind, and is named, unless a setting asks for it."""
    fields = {**flat(event_type=None), "stage": {"a": [1]}, "note": "x"}
    shaped = {"event_type": "BUILD", "client_payload": fields}

    assert not {"stage", "note"} & dispatch_of(shaped).client_payload.keys()
    assert ignored(event_of(shaped), [dispatch_of(shaped)]) == ("stage", "note")
    assert dispatch_of(shaped, "stage", "absent").client_payload["stage"] == {"a": [1]}
    assert ignored(event_of(shaped), [dispatch_of(shaped, "stage")]) == ("note",)
    assert ignored(event_of(rendered_template()), [dispatch_of(rendered_template())]) == ()


def test_fields_of_runs_fill_the_room_that_is_left() -> None:
    """An event of a run carries its documented fields, as many as GitHub takes; the rest is named."""
    run = {
        "event_type": "RUN_METRIC",
        "event_author": "ada",
        "project_name": "p",
        "entity_name": "e",
        **dict.fromkeys(("run_name", "metric_name", "metric_values", "metric_current_status"), "x"),
        **dict.fromkeys(("metric_filter", "metric_filter_short"), "x"),
    }
    dispatch = dispatch_of(run)

    assert len(dispatch.client_payload) == 10
    assert dispatch.client_payload["run_name"] == "x"
    assert ignored(event_of(run), [dispatch]) == ("metric_filter_short",)


def test_too_many_properties() -> None:
    """An eleventh property is refused before GitHub does it, with all the names."""
    fields = {**flat(tag="approved"), "extra": 1}

    with pytest.raises(BadPayloadError, match=r"11 properties, and GitHub takes 10.*extra") as caught:
        dispatch_of(fields, "extra")
    assert (caught.value.status, caught.value.reason) == (422, "too-many-properties")


def test_the_size_is_counted_in_bytes_of_utf8() -> None:
    """60,000 bytes go; one more is refused with its number and the largest field."""
    room = 60_000 - len(compact(dispatch_of({**flat(), "note": ""}, "note").client_payload))
    fits: dict[str, Any] = {**flat(), "note": "é" * (room // 2) + "x" * (room % 2)}

    assert len(compact(dispatch_of(fits, "note").client_payload)) == 60_000
    with pytest.raises(BadPayloadError, match=r"60001 bytes; want at most 60000.*'note'") as caught:
        dispatch_of({**fits, "note": fits["note"] + "x"}, "note")
    assert caught.value.reason == "payload-too-large"


def test_a_fingerprint_is_what_happened() -> None:
    """The same promotion has the same fingerprint; any other version, alias, kind or source has another."""
    event = event_of(flat())
    others = [
        event_of(flat(artifact_version="wandb-artifact://_id/QXJ0aWZhY3Q6MQ==")),
        event_of(flat(alias="staging")),
        event_of(flat(event_type="LINK_ARTIFACT")),
        event_of(flat(artifact_collection_name="Other")),
        replace(event, dispatch_type="BUILD"),
    ]

    assert fingerprint(event, "wandb") == fingerprint(event_of(flat(event_author="bob")), "wandb")
    assert len({fingerprint(one, "wandb") for one in [event, *others]} | {fingerprint(event, "x")}) == 7


def test_a_slot_is_what_the_next_promotion_replaces() -> None:
    """Another version in the same alias has the same slot; another alias or tag has its own."""
    event = event_of(flat())

    assert slot(event, "wandb") == slot(event_of(flat(artifact_version=None)), "wandb")
    assert slot(event, "wandb") != slot(event_of(flat(alias="staging")), "wandb")
    assert slot(event, "wandb") != slot(event_of(flat(tag="t")), "wandb")


@pytest.mark.parametrize(
    ("fields", "forward", "where"),
    [
        (flat(event_author="by hunter22-hunter22!"), (), "event_author"),
        ({"event_type": "hunter22-hunter22", "client_payload": flat()}, (), "event_type"),
        (rendered_template(automation_name="hunter22-hunter22"), (), "automation_name"),
        ({**flat(), "x": [{"y": "hunter22-hunter22"}]}, ("x",), "x"),
        ({**flat(), "x": {"hunter22-hunter22": 1}}, ("x",), "x"),
        ({**flat(), "hunter22-hunter22": 1}, (), "the name of a field"),
    ],
    ids=["field", "type", "ours-only", "forwarded", "forwarded-key", "name"],
)
def test_a_secret_in_the_payload_is_refused(fields: object, forward: tuple[str, ...], where: str) -> None:
    """Nothing that is kept, sent or answered holds a secret; the refusal names the field, not the value."""
    event = event_of(fields)
    dispatches = planned(event, repository=REPOSITORY, forward=forward)

    with pytest.raises(BadPayloadError, match=f"^{where} holds a secret") as caught:
        check_no_secret(event, dispatches, [Secret("hunter22-hunter22")])
    assert caught.value.reason == "secret-in-payload"
    assert "hunter22" not in str(caught.value)


def test_a_secret_in_an_ignored_field_goes_nowhere() -> None:
    """A field that stays behind may hold anything."""
    event = event_of({**flat(), "x": "hunter22-hunter22"})
    dispatches = planned(event, repository=REPOSITORY)

    check_no_secret(event, dispatches, [Secret("hunter22-hunter22")])
    assert b"hunter22" not in compact(dispatches[0].client_payload)


def test_a_secret_of_a_few_letters_is_not_sought() -> None:
    """A secret under eight characters would be found in innocent names."""
    event = event_of(flat())

    check_no_secret(event, planned(event, repository=REPOSITORY), [Secret("ada")])


def test_a_secret_hides_itself() -> None:
    """Neither repr nor str shows the value."""
    assert "hunter22" not in f"{Secret('hunter22')} {Secret('hunter22')!r} {[Secret('hunter22')]}"
