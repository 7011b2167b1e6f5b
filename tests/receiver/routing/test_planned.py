"""An event becomes one dispatch for each route that takes it, right in all that GitHub limits."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime, timezone

import pytest

from receiver.dispatch import DispatchKind
from receiver.event import RegistryEvent, read_event
from receiver.routing.conditions import Condition
from receiver.routing.planned import Arrival, plan_by_routes
from receiver.routing.question import NoLongerHoldsError, NotTakenError, Question
from receiver.routing.route import Action, Launch, Post, RepositoryDispatch, Route, WorkflowDispatch
from receiver.routing.template import Template
from registry_client.reference import CollectionPath
from registry_client.version import ArtifactVersion, DigestAlgorithm

NOW = datetime(2026, 11, 20, 12, tzinfo=timezone.utc)
BODY = {
    "event_type": "ADD_ARTIFACT_ALIAS",
    "event_author": "ana",
    "alias": "production",
    "artifact_version": "wandb-artifact://_id/QXJ0aWZhY3Q6MTIz",
    "artifact_version_string": "acme/wandb-registry-model/flower:v3",
    "artifact_collection_name": "flower",
    "project_name": "wandb-registry-model",
    "entity_name": "acme",
}


def event(**changes: object) -> RegistryEvent:
    """What W&B sends, with changes."""
    read = read_event(json.dumps({**BODY, **changes}).encode())
    assert isinstance(read, RegistryEvent)
    return read


def text(value: object) -> Template:
    """A template."""
    return Template.parse(value)


def arrival(**changes: object) -> Arrival:
    """The event, as it came."""
    return Arrival(event(**changes), "wandb", "01DELIVERY", NOW)


def build(**changes: object) -> RepositoryDispatch:
    """A repository_dispatch, with changes."""
    return replace(RepositoryDispatch(text("acme/serving"), text("BUILD")), **changes)  # type: ignore[arg-type]


def version(**changes: object) -> ArtifactVersion:
    """What W&B says of the version."""
    collection = CollectionPath("acme", "wandb-registry-model", "flower")
    said = ArtifactVersion(
        id="QXJ0aWZhY3Q6MTIz",
        collection=collection,
        version="v3",
        source=CollectionPath("acme", "train", "run-7-model"),
        source_version="v0",
        type="model",
        digest="ab" * 16,
        digest_algorithm=DigestAlgorithm.MD5,
        aliases=("production",),
        tags=("eu",),
        metadata={"accuracy": 0.93},
        description=None,
        size=7,
        file_count=1,
        created_at=NOW,
        url="https://wandb.ai/acme",
    )
    return replace(said, **changes)  # type: ignore[arg-type]


def test_a_route_without_a_payload_sends_the_documented_fields_and_ours() -> None:
    """
    The Action finds the artifact in either; the key is the route's own.
    """
    first, second = plan_by_routes([Route("a", build()), Route("b", build())], arrival(), verify=False)

    assert first.client_payload["artifact_version"] == BODY["artifact_version"]
    assert first.client_payload["handoff"]["key"] == first.key
    assert first.key != second.key
    assert (first.id, second.id) == ("01DELIVERY-1", "01DELIVERY-2")
    assert first.lane == "acme/serving/acme/wandb-registry-model/flower"
    assert (first.route, first.kind) == ("a", DispatchKind.REPOSITORY_DISPATCH)


def test_a_route_with_a_payload_sends_that_and_ours() -> None:
    """
    What the route writes is all that goes, beside our own object.
    """
    payload = text({"environment": "production", "model": "${artifact.collection}"})

    (dispatch,) = plan_by_routes([Route("a", build(client_payload=payload))], arrival(), verify=False)

    assert set(dispatch.client_payload) == {"environment", "model", "handoff"}
    assert dispatch.client_payload["model"] == "flower"


@pytest.mark.parametrize(
    ("action", "kind", "destination", "message"),
    [
        (
            WorkflowDispatch(
                text("acme/${artifact.collection}"),
                text("evaluate.yml"),
                text("main"),
                text({"key": "${alias}"}),
            ),
            DispatchKind.WORKFLOW_DISPATCH,
            "acme/flower",
            {"ref": "main", "inputs": {"key": "production"}},
        ),
        (
            Post("https://modal.run", body=text({"v": "${artifact.version}"})),
            DispatchKind.POST,
            "post:a",
            {"v": "v3"},
        ),
        (
            Launch(text("gpu"), text("acme/jobs/eval:latest"), text("acme"), text("jobs")),
            DispatchKind.LAUNCH,
            "launch:a",
            {
                "queue": "gpu",
                "job": "acme/jobs/eval:latest",
                "entity": "acme",
                "project": "jobs",
                "overrides": {},
            },
        ),
    ],
    ids=["workflow", "post", "launch"],
)
def test_each_kind_of_action_becomes_its_message(
    action: Action, kind: DispatchKind, destination: str, message: dict[str, object]
) -> None:
    """
    One shape in the ledger for all of them.
    """
    (dispatch,) = plan_by_routes([Route("a", action)], arrival(), verify=False)

    assert (dispatch.kind, dispatch.repository, dispatch.client_payload) == (kind, destination, message)


@pytest.mark.parametrize(
    ("action", "changes", "why"),
    [
        (build(event_type=text("${payload.event_type}"), event_types=("GO",)), {}, "the route allows GO"),
        (
            build(repository=text("acme/${artifact.collection}")),
            {"artifact_collection_name": ".."},
            "want owner/name",
        ),
        (
            build(repository=text("${artifact.collection}")),
            {"artifact_collection_name": "a/b/c"},
            "want owner/name",
        ),
        (build(repository=text("acme/${tag}")), {}, "${tag} is empty"),
        (
            build(client_payload=text({str(n): n for n in range(10)})),
            {},
            "11 properties, and GitHub takes 10",
        ),
        (build(client_payload=text({"x": "é" * 40_000})), {}, "80"),
        (
            WorkflowDispatch(text("acme/x"), text("../evil.yml"), text("main")),
            {},
            "want a file's name",
        ),
    ],
)
def test_what_can_never_be_sent_is_planned_dead_and_hinders_no_other(
    action: Action, changes: dict[str, object], why: str
) -> None:
    """
    A person hears why; the other routes go their way.
    """
    wrong, good = plan_by_routes(
        [Route("wrong", action), Route("good", build())], arrival(**changes), verify=False
    )

    assert why in (wrong.unsendable or "")
    assert wrong.client_payload == {}
    assert good.unsendable is None


def test_an_allowed_event_type_of_the_body_is_used() -> None:
    """
    The body's own word counts where the route lists it.
    """
    body = {"event_type": "BUILD_AND_DEPLOY", "client_payload": BODY}
    read = read_event(json.dumps(body).encode())
    assert isinstance(read, RegistryEvent)
    route = Route("a", build(event_type=text("${payload.event_type}"), event_types=("BUILD_AND_DEPLOY",)))

    (dispatch,) = plan_by_routes([route], Arrival(read, "wandb", "01D", NOW), verify=False)

    assert dispatch.event_type == "BUILD_AND_DEPLOY"
    assert dispatch.unsendable is None


def asked(route: Route, **changes: object) -> Question:
    """The question of the one dispatch that the route plans."""
    (dispatch,) = plan_by_routes([route], arrival(**changes), verify=True)
    assert dispatch.client_payload == {}
    return Question.from_json(json.loads(json.dumps(dispatch.question)))


def test_a_question_settles_into_what_was_promoted() -> None:
    """
    With W&B's answer the message has the pinned version, its digest, size, type and metadata.
    """
    payload = text({"accuracy": "${metadata.accuracy}", "name": "${artifact.name}"})
    question = asked(Route("a", build(client_payload=payload)))

    message = question.settle(version(version="v12"), NOW)

    assert (question.reference, question.alias) == (BODY["artifact_version"], "production")
    assert question.collection == "acme/wandb-registry-model/flower"
    assert message["accuracy"] == 0.93
    assert message["name"] == "acme/wandb-registry-model/flower:v12"
    handoff = message["handoff"]
    assert (handoff["version"], handoff["digest"], handoff["size"], handoff["type"]) == (
        "v12",
        "ab" * 16,
        7,
        "model",
    )
    assert handoff["metadata"] == {"accuracy": 0.93}
    assert handoff["verified_at"] == "2026-11-20T12:00:00.000Z"


def test_metadata_that_leaves_no_room_stays_in_wandb() -> None:
    """
    A dispatch is never refused for what it need not carry.
    """
    message = asked(Route("a", build())).settle(version(metadata={"x": "y" * 20_000}), NOW)

    assert message["handoff"]["metadata"] is None


@pytest.mark.parametrize(
    ("when", "why"),
    [
        (Condition.parse("metadata.accuracy", ">= 0.95"), "metadata.accuracy: got 0.93, want '>= 0.95'"),
        (Condition.parse("type", "dataset"), "type: got 'model', want 'dataset'"),
    ],
)
def test_a_condition_that_wandb_denies_takes_the_route_away(when: Condition, why: str) -> None:
    """
    The route is decided by what W&B says, not by what the body says of it.
    """
    question = asked(Route("a", build(), (when,)))

    with pytest.raises(NotTakenError) as told:
        question.settle(version(), NOW)

    assert str(told.value) == why


@pytest.mark.parametrize(
    ("kind", "tags", "holds"),
    [
        ("ADD_ARTIFACT_TAG", ("eu",), True),
        ("ADD_ARTIFACT_TAG", (), False),
        ("REMOVE_ARTIFACT_TAG", (), True),
        ("REMOVE_ARTIFACT_TAG", ("eu",), False),
    ],
)
def test_a_tag_must_be_as_the_event_says(kind: str, tags: tuple[str, ...], *, holds: bool) -> None:
    """
    A tag that was taken away since, or came back, is no promotion any more.
    """
    question = asked(Route("a", build()), event_type=kind, alias="", tag="eu")

    if holds:
        assert question.settle(version(tags=tags), NOW)
        return
    with pytest.raises(NoLongerHoldsError, match="the tag 'eu'"):
        question.settle(version(tags=tags), NOW)


def test_an_event_without_a_version_cannot_be_asked_about() -> None:
    """
    With verification required, what cannot be verified is not sent.
    """
    body = {"event_type": "RUN_STATE", "run_name": "r"}
    read = read_event(json.dumps(body).encode())
    assert isinstance(read, RegistryEvent)

    (dispatch,) = plan_by_routes([Route("a", build())], Arrival(read, "wandb", "01D", NOW), verify=True)

    assert dispatch.unsendable == "RUN_STATE names no version to ask W&B about"


def test_what_was_caught_up_says_so() -> None:
    """
    A workflow can tell a promotion that no webhook told from one that it did.
    """
    (told,) = plan_by_routes([Route("a", build())], arrival(), verify=False)
    (caught,) = plan_by_routes([Route("a", build())], replace(arrival(), reconciled=True), verify=False)

    assert "reconciled" not in told.client_payload["handoff"]
    assert caught.client_payload["handoff"]["reconciled"] is True
