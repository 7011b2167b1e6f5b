"""What somebody with a webhook's secret may try, and W&B's answer forbids."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from receiver.dispatch import Outcome, OutcomeKind
from receiver.ledger import Ledger
from receiver.promotion import Settled, Settling
from receiver.routing.conditions import Condition
from tests.receiver.fakes import LEASE, START, delivery, dispatch
from tests.receiver.test_promotion import REGISTRY, World, asking

ALIAS = Condition("alias", ("production",))
TAKEN_AWAY = ["REMOVE_ARTIFACT_TAG", "UNLINK_ARTIFACT"]


@pytest.mark.parametrize("kind", TAKEN_AWAY)
def test_an_alias_is_looked_at_whatever_the_event_is_called(kind: str) -> None:
    """
    A forged body that calls itself the end of something does not carry an alias past W&B.
    """
    world = World()
    never_promoted = world.wandb.log("acme/train/flower", {"x": b"y"})

    outcome = world.outcome(world.question(ALIAS, record=never_promoted, event_type=kind))

    assert outcome.kind in {OutcomeKind.OUTDATED, OutcomeKind.REFUSED}


@pytest.mark.parametrize("kind", TAKEN_AWAY)
def test_a_source_speaks_for_its_entities_whatever_the_event_is_called(kind: str) -> None:
    """
    Nor does it show one team's version to another team's route.
    """
    world = World()
    forged: dict[str, Any] = {"event_type": kind, "alias": "", "entity_name": "vision", "tag": "eu"}

    outcome = world.outcome(world.question(entities=("vision",), **forged))

    assert outcome.kind in {OutcomeKind.UNWANTED, OutcomeKind.OUTDATED}


def test_a_removed_tag_is_asked_about_in_its_collection() -> None:
    """
    A version that was never there lost no tag there.
    """
    world = World()
    elsewhere = world.wandb.log("acme/train/weeds", {"x": b"y"})
    told: dict[str, Any] = {"event_type": "REMOVE_ARTIFACT_TAG", "alias": "", "tag": "eu"}

    outcome = world.outcome(world.question(record=elsewhere, **told))

    assert (outcome.kind, outcome.reason) == (OutcomeKind.REFUSED, "not-in-wandb")
    assert isinstance(world.promotions.settle(world.question(**told)), Settled)


def test_an_unlinked_version_has_the_tag_that_it_is_told_to_have() -> None:
    """
    Only an event that takes a tag away is about a version without it.
    """
    world = World()

    outcome = world.outcome(world.question(event_type="UNLINK_ARTIFACT", alias="", tag="approved"))

    assert outcome.kind is OutcomeKind.OUTDATED


def test_a_name_is_of_the_collection_that_the_body_tells() -> None:
    """
    A version that is named, and not told by its id, must be in the collection that the route judged.
    """
    world = World()
    world.wandb.link(world.wandb.log("acme/train/toy", {"x": b"y"}), "acme/wandb-registry-model/toy")
    told: dict[str, Any] = {"artifact_version": "", "event_type": "LINK_ARTIFACT", "alias": ""}

    wrong = world.question(**told, artifact_version_string="acme/wandb-registry-model/toy:v0")
    right = world.question(**told, artifact_version_string="acme/wandb-registry-model/flower:v0")

    outcome = world.outcome(wrong)
    assert (outcome.kind, outcome.reason) == (OutcomeKind.REFUSED, "not-in-wandb")
    assert "is not in acme/wandb-registry-model/flower" in outcome.detail
    assert isinstance(world.promotions.settle(right), Settled)


def test_a_metric_that_is_no_number_hinders_no_dispatch(ledger: Ledger) -> None:
    """
    Metadata with NaN in it, which no JSON has a word for, is sent and kept with nothing in its place.
    """
    world = World()
    metadata = json.loads('{"loss": NaN, "best": {"of": [1, 1e999]}, "accuracy": 0.9}')
    world.wandb.records[world.record.id] = replace(world.record, metadata=metadata)
    ledger.accept(delivery(), [dispatch(question=world.question().to_json())])
    claim = ledger.claim(START, LEASE)
    assert claim is not None

    message = Settling(world.promotions).message(asking(world))
    assert isinstance(message, dict)
    ledger.keep_message(claim, replace(claim.dispatch, client_payload=message))

    assert message["handoff"]["metadata"] == {"loss": None, "best": {"of": [1, None]}, "accuracy": 0.9}


def test_what_is_no_number_fits_no_comparison() -> None:
    """
    A loss that is NaN is not other than 5: it is missing.
    """
    world = World()
    world.wandb.records[world.record.id] = replace(world.record, metadata={"loss": float("nan")})

    outcome = world.outcome(world.question(Condition.parse("metadata.loss", "!= 5")))

    assert outcome.kind is OutcomeKind.UNWANTED


def test_what_was_answered_for_one_webhook_lets_no_other_pass() -> None:
    """
    A replay that comes within moments of the promotion after it is judged by W&B as it is now.
    """
    world = World()
    settling = Settling(world.promotions)
    first = asking(world)
    assert isinstance(settling.message(first), dict)
    world.wandb.link(world.wandb.log("acme/train/flower", {"x": b"y"}), REGISTRY, "production")

    again = settling.message(replace(first, delivery_id="REPLAYED"))

    assert isinstance(again, Outcome)
    assert again.kind is OutcomeKind.OUTDATED
