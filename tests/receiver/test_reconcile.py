"""What no webhook told is found out and caught up, once and in order."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from receiver.config import Source
from receiver.intake import new_id
from receiver.missed import received_at
from receiver.routing.conditions import Condition
from registry_client.record import ArtifactRecord, ArtifactState, Organization
from registry_client.reference import CollectionPath
from tests.receiver.fakes import START
from tests.receiver.reconciling import FLOWER, REGISTRY, World, route


def test_the_first_look_only_takes_note() -> None:
    """
    What was there before anybody compared is nobody's to catch up; what comes after is.
    """
    world = World()
    world.promote()

    assert world.missed() == []
    world.promote()
    assert world.missed() == ["flower:production v1"]


def test_with_everything_the_first_look_counts() -> None:
    """
    For those who want it so.
    """
    world = World()
    world.promote()

    assert world.missed(everything=True) == ["flower:production v0"]


def test_a_first_look_without_a_version() -> None:
    """
    Takes note of that: the first promotion ever may be missed as well.
    """
    for path in (FLOWER, f"{REGISTRY}/f*"):
        world = World(route(artifact=path))
        world.wandb.link(world.wandb.log(), f"{REGISTRY}/other")

        assert world.missed() == []
        world.promote()
        assert world.missed() == ["flower:production v0"]


def test_what_a_webhook_told_is_not_missed() -> None:
    """
    Whatever it called the event, by whatever door it came; also when the route was not looked at since.
    """
    world = World(sources=(Source("wandb"), Source("vision")))
    world.missed()

    for changes in ({}, {"event": "UPDATE_ARTIFACT_ALIAS"}, {"event": None}):
        world.clock.move(minutes=1)
        world.webhook(world.promote(), source="vision", **changes)
        assert world.missed() == []


def test_a_webhook_that_named_no_version_is_taken_as_it_is() -> None:
    """
    Nobody can tell which it meant: what may have been dispatched is not dispatched once more.
    """
    world = World()
    world.missed()
    world.webhook(world.promote(), artifact_id=None)

    assert world.missed() == []


def test_another_collection_or_alias_told_nothing() -> None:
    """
    Each is by itself.
    """
    world = World(route(artifact=f"{REGISTRY}/*", alias=["production", "staging"]))
    other = world.promote(f"{REGISTRY}/leaf")
    world.missed()
    world.webhook(other, f"{REGISTRY}/leaf")

    world.promote()
    world.promote(alias="staging")
    assert world.missed() == ["flower:production v0", "flower:staging v1"]


def test_an_alias_that_moved_back() -> None:
    """
    A missed step back to an older version is found, also when that one was there at the last look.
    """
    world = World()
    first = world.promote()
    world.missed()
    world.clock.move(minutes=1)
    world.webhook(world.promote())

    world.wandb.name(FLOWER, first.id, "production")
    assert world.missed() == ["flower:production v0"]


def test_what_was_forgotten_is_not_missed() -> None:
    """
    The ledger forgets deliveries in time; what was there at the last look stays known.
    """
    world = World()
    world.missed()
    world.webhook(world.promote())
    world.missed()
    world.memory.deliveries.clear()

    assert world.missed() == []


def test_a_webhook_that_comes_while_wandb_is_asked() -> None:
    """
    It is later than what W&B said: a missed step back from it is found.
    """
    world = World()
    first = world.promote()
    asked = world.wandb.by_name

    def slow(collection: CollectionPath, alias: str) -> ArtifactRecord | None:
        answer = asked(collection, alias)
        world.clock.move(seconds=1)
        world.webhook(world.promote())
        world.clock.move(seconds=1)
        return answer

    world.wandb.by_name = slow  # type: ignore[method-assign]
    world.missed()
    world.wandb.by_name = asked  # type: ignore[method-assign]

    world.wandb.name(FLOWER, first.id, "production")
    assert world.missed() == ["flower:production v0"]


def test_what_a_job_of_ours_marked_is_not_missed() -> None:
    """
    What W&B told of that started nothing, and must not start anything now.
    """
    world = World()
    world.missed()
    record = world.promote()
    world.memory.marks[record.id, "wandb-registry-model/flower", "alias:production"] = world.clock()
    world.clock.move(hours=1)

    assert world.missed() == []
    assert world.memory.baselines["deploy", FLOWER, "production"].artifact_id == record.id


def test_what_is_not_committed_or_gone_is_not_missed() -> None:
    """
    An alias that nothing carries, and an upload that has not ended.
    """
    world = World()
    world.missed()
    record = world.promote()
    world.wandb.records[record.id] = replace(record, state=ArtifactState.PENDING)

    assert world.missed() == []


def test_a_dry_look_remembers_nothing() -> None:
    """
    Not even that it looked.
    """
    world = World()
    world.promote()
    world.missed(keep=False)

    assert world.memory.baselines == {}


def test_catching_up() -> None:
    """
    A delivery that says that nobody told it, with the dispatch that a webhook would have made.
    """
    world = World()
    world.missed()
    record = world.promote()
    (promotion,) = world.story.look().missed
    caught = world.story.catch_up(promotion)

    ((delivery, (dispatch,)),) = world.memory.deliveries
    assert caught.receipt is not None
    assert delivery.reconciled
    assert delivery.source == "wandb"
    assert delivery.event.author is None
    assert dispatch.route == "deploy"
    assert dispatch.client_payload["artifact_version"] == f"wandb-artifact://_id/{record.id}"
    assert dispatch.client_payload["artifact_version_string"] == f"{FLOWER}:v0"
    assert world.missed() == []


def test_it_is_caught_up_once() -> None:
    """
    By two programs at the same time, or when the webhook comes after all, an hour late.
    """
    world = World()
    world.missed()
    record = world.promote()
    (promotion,) = world.story.look().missed
    receipts = [world.story.catch_up(promotion).receipt for _ in range(2)]
    world.clock.move(hours=1)
    world.webhook(record)

    assert [receipt and receipt.duplicate for receipt in receipts] == [False, True]
    assert len(world.memory.deliveries) == 1


def test_every_reconciled_route_takes_it_and_no_other() -> None:
    """
    One delivery for all of them; a route above that ends the list ends it here too.
    """
    first, plain, second = route("first"), route("plain", every=None), route("second")
    world = World(first, plain, second)
    world.missed()
    world.promote()
    (promotion,) = world.story.look().missed

    assert promotion.routes == ("first", "second")
    world.story.catch_up(promotion)
    ((_, planned),) = world.memory.deliveries
    assert [dispatch.route for dispatch in planned] == ["first", "second"]

    world = World(replace(plain, goes_on=False), first)
    world.missed()
    world.promote()
    (promotion,) = world.story.look().missed
    assert world.story.catch_up(promotion).problem is not None
    assert world.memory.deliveries == []
    assert world.missed() == []


def test_the_oldest_first() -> None:
    """
    In the order in which the versions came there.
    """
    world = World(route(artifact=f"{REGISTRY}/*"))
    world.wandb.link(world.wandb.log(), f"{REGISTRY}/zebra")
    world.missed()
    for name, day in (("leaf", 2), ("zebra", 1), ("seed", 3)):
        record = world.promote(f"{REGISTRY}/{name}")
        created_at = record.created_at + timedelta(days=day)
        world.wandb.records[record.id] = replace(record, created_at=created_at)

    assert [name.partition(":")[0] for name in world.missed()] == ["zebra", "leaf", "seed"]


def test_each_question_is_asked_once() -> None:
    """
    However many routes want to know.
    """
    routes = [route(name, artifact=f"{REGISTRY}/*") for name in ("one", "two")]
    world = World(*routes)
    world.promote()
    world.wandb.asked.clear()
    world.missed()

    assert world.wandb.asked == [REGISTRY, f"{FLOWER}:production"]


def test_an_organization_by_its_display_name() -> None:
    """
    As the route writes it, so the event is; W&B is asked by the entity, and either may have been told.
    """
    world = World(route(artifact="Acme Inc/wandb-registry-model/f*"))
    world.wandb.organizations.append(Organization("Acme Inc", "acme"))
    world.promote()
    world.missed()
    record = world.promote()

    (promotion,) = world.story.look().missed
    assert str(promotion.collection) == "Acme Inc/wandb-registry-model/flower"
    world.webhook(record)
    assert world.missed() == []


def test_wandb_that_cannot_be_asked() -> None:
    """
    Is a problem for each that was to be compared, and the look did not count.
    """
    world = World(route(), route("other", artifact=f"{REGISTRY}/*"))
    world.wandb.down = True
    found = world.story.look()

    assert found.missed == ()
    assert found.problems == [
        f"{FLOWER}:production (deploy): api.wandb.ai cannot be reached",
        f"{REGISTRY}/*:production (other): api.wandb.ai cannot be reached",
    ]
    assert world.memory.baselines == {}


def test_a_project_that_is_not_there() -> None:
    """
    Is a problem: nobody would learn otherwise that nothing is compared.
    """
    found = World(route(artifact="acme/gone/*")).story.look()

    assert found.problems == ["acme/gone/*:production (deploy): the key sees no such project"]


@pytest.mark.parametrize(
    ("conditions", "source"),
    [((), "wandb"), ((Condition.parse("source", "o*"),), "other")],
    ids=["any", "o*"],
)
def test_the_first_source_that_may_speak_for_it(conditions: tuple[Condition, ...], source: str) -> None:
    """
    What is caught up counts as told by it, so that a late webhook is known again.
    """
    sources = (Source("vision", entities=("vision",)), Source("wandb"), Source("other"))
    world = World(route("deploy", FLOWER, "production", *conditions), sources=sources)
    world.missed()
    world.promote()
    (promotion,) = world.story.look().missed
    world.story.catch_up(promotion)

    assert world.memory.deliveries[0][0].source == source


def test_a_name_that_holds_a_secret_goes_nowhere() -> None:
    """
    As with a webhook.
    """
    path = f"{REGISTRY}/hidden-in-a-name"
    world = World(route(artifact=f"{REGISTRY}/*"))
    world.promote()
    world.missed()
    world.promote(path)
    (promotion,) = world.story.look().missed
    caught = world.story.catch_up(promotion)

    assert caught.receipt is None
    assert "holds a secret" in str(caught.problem)
    assert world.memory.deliveries == []


def test_an_id_tells_when_it_was_made() -> None:
    """
    To the millisecond.
    """
    assert received_at(new_id(START)) == START


@pytest.mark.parametrize("name", ["deploy", "other"])
def test_one_route_alone(name: str) -> None:
    """
    Each has a time of its own.
    """
    world = World(route(), route("other", artifact=f"{REGISTRY}/leaf"))
    world.story.look({name})

    assert {key[0] for key in world.memory.baselines} == {name}
