"""What was promoted is what is sent: W&B is asked, and nothing unverified goes out."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime, timedelta, timezone

import pytest

from receiver.dispatch import Dispatch, Outcome, OutcomeKind
from receiver.event import RegistryEvent, read_event
from receiver.promotion import Promotions, Settled, Settling
from receiver.routing.conditions import Condition
from receiver.routing.planned import Arrival, plan_by_routes
from receiver.routing.question import Question
from receiver.routing.route import RepositoryDispatch, Route
from receiver.routing.template import Template
from receiver.secret import Secret
from registry_client.errors import AccessDeniedError, FetchError, RegistryError
from registry_client.record import ArtifactRecord, ArtifactState
from registry_client.reference import ArtifactId
from tests.fakes import FakeRegistry

NOW = datetime(2026, 11, 20, 12, tzinfo=timezone.utc)
REGISTRY = "acme/wandb-registry-model/flower"


class World:
    """A W&B with one version in a registry, in production, and a clock."""

    def __init__(self) -> None:
        self.wandb = FakeRegistry()
        self.record = self.wandb.log("acme/train/flower")
        self.wandb.link(self.record, REGISTRY, "production")
        self.now = NOW
        self.promotions = Promotions(self.wandb, now=lambda: self.now)

    def question(
        self,
        *when: Condition,
        entities: tuple[str, ...] = (),
        record: ArtifactRecord | None = None,
        **told: str,
    ) -> Question:
        """What is asked about an event that tells the version, and more or other than it does by itself."""
        entity, project, name = REGISTRY.split("/")
        body = {
            "event_type": "ADD_ARTIFACT_ALIAS",
            "artifact_version": str(ArtifactId((record or self.record).id)),
            "entity_name": entity,
            "project_name": project,
            "artifact_collection_name": name,
            "alias": "production",
        }
        event = read_event(json.dumps({**body, **told}).encode())
        assert isinstance(event, RegistryEvent)
        route = Route("a", RepositoryDispatch(Template.parse("acme/serving"), Template.parse("GO")), when)
        arrival = Arrival(event, "wandb", "01D", NOW, entities=entities)
        (dispatch,) = plan_by_routes([route], arrival, verify=True)
        assert dispatch.question is not None
        return Question.from_json(dispatch.question)

    def outcome(self, question: Question) -> Outcome:
        """Of a question that does not end in a message."""
        answer = self.promotions.settle(question)
        assert isinstance(answer, Outcome)
        return answer


def test_what_still_holds_is_sent_as_wandb_has_it() -> None:
    """
    The dispatch carries the version that is in the collection now, and its digest.
    """
    world = World()

    settled = world.promotions.settle(world.question())

    assert isinstance(settled, Settled)
    assert settled.message["handoff"]["version"] == "v0"
    assert settled.message["handoff"]["digest"] == world.record.digest
    assert settled.message["handoff"]["collection"] == "flower"


def test_an_alias_that_moved_on_is_outdated() -> None:
    """
    The older promotion deploys nothing after the newer one.
    """
    world = World()
    question = world.question()
    newer = world.wandb.log("acme/train/flower", {"x": b"y"})
    world.wandb.link(newer, REGISTRY, "production")

    outcome = world.outcome(question)

    assert (outcome.kind, outcome.reason) == (OutcomeKind.OUTDATED, "outdated")
    assert "v1 carries it now" in outcome.detail


def test_a_deleted_version_is_outdated() -> None:
    """
    Nobody deploys what is gone.
    """
    world = World()
    world.wandb.records[world.record.id] = replace(world.record, state=ArtifactState.DELETED)

    assert world.outcome(world.question()).kind is OutcomeKind.OUTDATED


def test_a_forged_alias_deploys_nothing() -> None:
    """
    A signed body that claims what nobody did in W&B is not sent.
    """
    world = World()

    assert world.outcome(world.question(alias="approved")).kind is OutcomeKind.OUTDATED


def test_a_version_of_another_collection_deploys_nothing() -> None:
    """
    A real version that was never linked there does not pass for one that was.
    """
    world = World()
    other = world.wandb.log("acme/train/weeds", {"x": b"y"}, aliases=("production",))

    outcome = world.outcome(world.question(record=other))

    assert (outcome.kind, outcome.reason) == (OutcomeKind.REFUSED, "not-in-wandb")


def test_a_version_that_wandb_does_not_know_deploys_nothing() -> None:
    """
    An id out of thin air ends dead, and a person sees it.
    """
    world = World()

    outcome = world.outcome(world.question(artifact_version="wandb-artifact://_id/QXJ0aWZhY3Q6MQ=="))

    assert (outcome.kind, outcome.reason) == (OutcomeKind.REFUSED, "not-in-wandb")


@pytest.mark.parametrize(
    ("when", "entities"),
    [((Condition.parse("artifact", "vision/*/*"),), ()), ((), ("vision",))],
    ids=["the route's place", "the source's entities"],
)
def test_where_the_version_is_wandb_says_not_the_body(
    when: tuple[Condition, ...], entities: tuple[str, ...]
) -> None:
    """
    A body that names one entity and the version of another takes neither its routes nor its rights.
    """
    world = World()

    outcome = world.outcome(world.question(*when, entities=entities, entity_name="vision"))

    assert (outcome.kind, outcome.reason) == (OutcomeKind.UNWANTED, "unwanted")
    assert "acme" in outcome.detail


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (FetchError("api.wandb.ai: no answer in time"), "wandb-unreachable"),
        (AccessDeniedError("api.wandb.ai does not know the key"), "wandb-denied"),
    ],
)
def test_while_wandb_cannot_be_asked_nothing_is_sent(error: RegistryError, reason: str) -> None:
    """
    It waits, however long that takes, and never goes out unverified.
    """
    world = World()

    def fail(_: ArtifactId) -> None:
        raise error

    world.wandb.by_id = fail  # type: ignore[method-assign, assignment]

    outcome = world.outcome(world.question())

    assert (outcome.kind, outcome.reason) == (OutcomeKind.POSTPONED, reason)


def test_a_version_that_is_still_uploaded_waits() -> None:
    """
    It is not there yet, and will be.
    """
    world = World()
    world.wandb.records[world.record.id] = replace(world.record, state=ArtifactState.PENDING)

    assert world.outcome(world.question()).reason == "not-committed"


def test_an_unlinked_version_need_not_be_there_any_more() -> None:
    """
    An event that takes something away is asked about where the version was logged.
    """
    world = World()

    question = world.question(event_type="UNLINK_ARTIFACT", alias="")

    assert isinstance(world.promotions.settle(question), Settled)


def test_the_same_question_within_moments_is_asked_once_and_later_anew() -> None:
    """
    Ten routes of one event are one question; an attempt a minute later asks what holds then.
    """
    world = World()
    question = world.question()
    asked: list[ArtifactId] = []
    by_id = world.wandb.by_id

    def counted(artifact_id: ArtifactId) -> ArtifactRecord | None:
        asked.append(artifact_id)
        return by_id(artifact_id)

    world.wandb.by_id = counted  # type: ignore[method-assign]
    world.promotions.settle(question)
    world.promotions.settle(question)
    assert len(asked) == 1
    world.now += timedelta(minutes=1)
    world.wandb.link(world.wandb.log("acme/train/flower", {"x": b"y"}), REGISTRY, "production")

    assert world.outcome(question).kind is OutcomeKind.OUTDATED
    assert len(asked) == 2


def asking(world: World, **changes: object) -> Dispatch:
    """A dispatch with the world's question."""
    made = Dispatch(
        id="d",
        delivery_id="D",
        repository="acme/serving",
        event_type="GO",
        client_payload={},
        key="k",
        lane="l",
        accepted_at=NOW,
        question=world.question().to_json(),
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def test_a_dispatch_without_a_question_is_sent_as_it_is() -> None:
    """
    Nobody is asked what nobody wants to know.
    """
    world = World()
    dispatch = asking(world, question=None, client_payload={"a": 1})

    assert Settling(None).message(dispatch) == {"a": 1}


def test_without_a_key_a_question_waits() -> None:
    """
    A configuration that lost its key sends nothing unverified.
    """
    answer = Settling(None).message(asking(World()))

    assert isinstance(answer, Outcome)
    assert answer.kind is OutcomeKind.POSTPONED


def test_a_secret_that_wandb_tells_does_not_leave() -> None:
    """
    Metadata is from outside, too.
    """
    world = World()
    world.wandb.records[world.record.id] = replace(world.record, metadata={"note": "it is hunter2-hunter2"})

    answer = Settling(world.promotions, hidden=[Secret("hunter2-hunter2")]).message(asking(world))

    assert isinstance(answer, Outcome)
    assert answer.reason == "secret-in-payload"
    assert "hunter2" not in answer.detail


def test_what_wandb_says_may_make_it_too_large_to_send() -> None:
    """
    GitHub's limits are checked on what is really sent.
    """
    world = World()
    world.wandb.records[world.record.id] = replace(world.record, metadata={"note": "x" * 70_000})
    payload = RepositoryDispatch(
        Template.parse("acme/serving"), Template.parse("GO"), (), Template.parse({"n": "${metadata.note}"})
    )
    event = read_event(
        json.dumps(
            {"event_type": "CREATE_ARTIFACT", "artifact_version": str(ArtifactId(world.record.id))}
        ).encode()
    )
    assert isinstance(event, RegistryEvent)
    (dispatch,) = plan_by_routes([Route("a", payload)], Arrival(event, "wandb", "01D", NOW), verify=True)

    answer = Settling(world.promotions).message(dispatch)

    assert isinstance(answer, Outcome)
    assert (answer.kind, answer.reason) == (OutcomeKind.REFUSED, "unsendable")
