"""Which artifact an event means: ours first, then W&B's own fields, and a clear word when there is none."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from registry_client.errors import ConfigurationError, InvalidReferenceError
from registry_client.reference import ArtifactId, ArtifactRef, CollectionPath
from registry_client.trigger import Trigger, artifact_from_event

SAMPLES = Path(__file__).resolve().parent.parent / "samples"
HANDOFF = {
    "delivery": "0c6c",
    "key": "9a41",
    "event": "ADD_ARTIFACT_ALIAS",
    "artifact": "wandb-artifact://_id/QXJ0aWZhY3Q6NTE3ODg5ODg3",
    "version": "v3",
    "entity": "acme-org",
    "project": "wandb-registry-model",
    "collection": "Lemon Mold Detector",
    "alias": "production",
    "tag": None,
    "author": "ana",
    "automation": "Deploy",
    "received_at": "2026-11-20T08:00:00Z",
}
COLLECTION = CollectionPath("acme-org", "wandb-registry-model", "Lemon Mold Detector")


def dispatched(**payload: Any) -> Mapping[str, Any]:
    """The event of a repository_dispatch."""
    return {"action": "BUILD_AND_DEPLOY", "branch": "main", "client_payload": payload}


def test_the_receivers_object_says_it_all() -> None:
    """The ``handoff`` object is read whole."""
    assert artifact_from_event(dispatched(handoff=HANDOFF)) == Trigger(
        reference=ArtifactId("QXJ0aWZhY3Q6NTE3ODg5ODg3"),
        collection=COLLECTION,
        alias="production",
        event="ADD_ARTIFACT_ALIAS",
        author="ana",
        automation="Deploy",
        delivery="0c6c",
        key="9a41",
    )


def test_the_receivers_object_comes_first() -> None:
    """The documented fields beside it do not count."""
    event = dispatched(
        handoff=HANDOFF, artifact_version="wandb-artifact://_id/QXJ0aWZhY3Q6MQ==", event_author="eve"
    )
    assert artifact_from_event(event).reference == ArtifactId("QXJ0aWZhY3Q6NTE3ODg5ODg3")
    assert artifact_from_event(event).author == "ana"


@pytest.mark.parametrize(
    ("changes", "want"),
    [
        ({"artifact": None}, "v3"),
        ({"artifact": None, "version": None}, "production"),
        ({"artifact": "", "version": "${x}", "alias": "  "}, None),
    ],
)
def test_without_an_id_the_name_counts(changes: dict[str, Any], want: str | None) -> None:
    """The version in its collection, else the alias; a template that was not filled in is told."""
    event = dispatched(handoff={**HANDOFF, **changes})
    if want is None:
        with pytest.raises(InvalidReferenceError, match="template variable"):
            artifact_from_event(event)
    else:
        reference = ArtifactRef("acme-org", "wandb-registry-model", "Lemon Mold Detector", want)
        assert artifact_from_event(event).reference == reference


@pytest.mark.parametrize(
    ("sample", "reference"),
    [
        ("alias_added_model_registry", ArtifactId("QXJ0aWZhY3Q6MTU0NzI5Nzg2")),
        ("alias_added_project", ArtifactId("QXJ0aWZhY3Q6NjI0OTY3Mzkw")),
    ],
)
def test_recorded_deliveries_are_read(sample: str, reference: ArtifactId) -> None:
    """What W&B really sent, passed straight to GitHub, names its artifact and collection."""
    body = json.loads((SAMPLES / f"{sample}.json").read_text(encoding="utf-8"))
    payload = body.get("client_payload", body)
    trigger = artifact_from_event(dispatched(**payload))
    assert trigger.reference == reference
    assert trigger.author == payload["event_author"]
    assert str(trigger.collection) == payload["artifact_version_string"].rpartition(":")[0]


def test_stray_quotes_around_documented_fields_go() -> None:
    """W&B's own template leaves some."""
    trigger = artifact_from_event(
        dispatched(artifact_version='wandb-artifact://_id/QXJ0aWZhY3Q6NTE3ODg5ODg3""', event_author=' "ana" ')
    )
    assert trigger == Trigger(reference=ArtifactId("QXJ0aWZhY3Q6NTE3ODg5ODg3"), author="ana")


@pytest.mark.parametrize(
    "payload",
    [
        {"artifact_version_string": "acme/models/cats:production"},
        {
            "entity_name": "acme",
            "project_name": "models",
            "artifact_collection_name": "cats",
            "alias": "production",
        },
    ],
)
def test_documented_names_are_enough(payload: dict[str, str]) -> None:
    """Without an id, the full name or its parts are taken."""
    want = ArtifactRef("acme", "models", "cats", "production")
    assert artifact_from_event(dispatched(**payload)).reference == want


def test_a_person_may_start_the_workflow() -> None:
    """Inputs of a workflow_dispatch under the same names are read."""
    trigger = artifact_from_event(
        {"inputs": {"artifact_version_string": "acme/models/cats:v3", "other": "x"}}
    )
    assert trigger.reference == ArtifactRef("acme", "models", "cats", "v3")


@pytest.mark.parametrize(
    "event",
    [
        {},
        {"ref": "refs/heads/main"},
        {"client_payload": None, "inputs": None},
        {"client_payload": []},
        dispatched(),
        dispatched(handoff="x", artifact_version=7),
        dispatched(handoff={"event": "RUN_STATE", "artifact": None}),
        dispatched(artifact_collection_name="cats", alias="production"),
    ],
)
def test_an_event_without_an_artifact_is_told(event: dict[str, Any]) -> None:
    """The message says what was looked for and what can be done."""
    with pytest.raises(ConfigurationError) as caught:
        artifact_from_event(event)
    for words in ("client_payload.handoff", "artifact_version", "inputs", "`artifact:`"):
        assert words in str(caught.value)


def test_an_unrendered_template_is_told() -> None:
    """W&B's Test button sends the template as it stands."""
    body = json.loads((SAMPLES / "docs_build_and_deploy.json").read_text(encoding="utf-8"))
    with pytest.raises(InvalidReferenceError):
        artifact_from_event(dispatched(**body["client_payload"]))


def test_a_collection_that_is_none_is_left_out() -> None:
    """The id alone is enough; a broken name beside it does not stop the run."""
    trigger = artifact_from_event(dispatched(handoff={**HANDOFF, "collection": "a/b"}))
    assert trigger.collection is None
    assert trigger.reference == ArtifactId("QXJ0aWZhY3Q6NTE3ODg5ODg3")
