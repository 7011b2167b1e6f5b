"""The thread that reconciles: when each route is looked at, and when what was missed goes."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from receiver.errors import LedgerError
from receiver.reconcile import Found
from receiver.reconciler import Reconciler, Sightings
from tests.receiver.reconciling import REGISTRY, World, route


def reconciler(world: World, wake: Callable[[], None] = lambda: None) -> Reconciler:
    """One that has taken its first look."""
    one = Reconciler(lambda: world.story, now=world.clock, wake=wake)
    world.clock.move(minutes=1)
    assert one.turn() == []
    return one


def test_what_is_missed_waits_for_a_webhook_under_way() -> None:
    """
    It is caught up when it still seems missed two minutes later, and somebody is woken to send it.
    """
    world, woken = World(), list[bool]()
    one = reconciler(world, lambda: woken.append(True))
    world.promote()
    world.clock.move(minutes=10)

    assert one.turn() == []
    world.clock.move(seconds=119)
    assert one.turn() == []
    assert woken == []
    world.clock.move(seconds=1)
    (caught,) = one.turn()
    assert caught.receipt is not None
    assert woken == [True]
    assert len(world.memory.deliveries) == 1


def test_a_webhook_that_comes_meanwhile() -> None:
    """
    Leaves nothing to catch up; what is missed later waits anew.
    """
    world = World()
    one = reconciler(world)
    record = world.promote()
    world.clock.move(minutes=10)
    one.turn()
    world.webhook(record)
    world.clock.move(minutes=2)
    assert one.turn() == []

    world.promote()
    world.clock.move(minutes=10)
    assert one.turn() == []
    world.promote()
    world.clock.move(minutes=2)
    assert one.turn() == []
    world.clock.move(minutes=2)
    assert len(one.turn()) == 1


def test_each_route_at_its_own_time() -> None:
    """
    And no more often, also when W&B cannot be asked.
    """
    often, seldom = timedelta(minutes=1), timedelta(minutes=10)
    world = World(route("often", every=often), route("seldom", f"{REGISTRY}/leaf", every=seldom))
    one = reconciler(world)
    world.wandb.asked.clear()
    world.wandb.down = True
    for _ in range(10):
        world.clock.move(minutes=1)
        one.turn()

    assert world.wandb.asked.count(f"{REGISTRY}/flower:production") == 10
    assert world.wandb.asked.count(f"{REGISTRY}/leaf:production") == 1


def test_what_came_of_it_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """
    Caught up, come meanwhile, not to be sent, not to be compared: each is a line.
    """
    caplog.set_level(logging.INFO)
    secret = f"{REGISTRY}/hidden-in-a-name"
    world = World(route("one"), route("two"), route("three", secret))
    one = reconciler(world)
    world.promote()
    world.promote(secret)
    world.clock.move(minutes=10)
    one.turn()
    world.clock.move(minutes=2)
    one.turn()
    world.wandb.down = True
    world.clock.move(minutes=10)
    one.turn()

    lines = [message.partition(": ")[2] for message in caplog.messages]
    assert "caught up as delivery" in lines[0]
    assert "not caught up: artifact_collection_name holds a secret" in lines[1]
    assert "cannot be reached" in lines[-1]


def test_a_webhook_that_comes_at_the_same_moment(caplog: pytest.LogCaptureFixture) -> None:
    """
    The ledger knows it is the same; nobody is woken.
    """
    caplog.set_level(logging.INFO)
    world, woken = World(), list[bool]()
    one = reconciler(world, lambda: woken.append(True))
    record = world.promote()
    world.clock.move(minutes=10)
    one.turn()
    look = world.story.look

    def late(*names: Any) -> Found:
        found = look(*names)
        world.webhook(record)
        return found

    object.__setattr__(world.story, "look", late)
    world.clock.move(minutes=2)
    one.turn()
    assert caplog.messages[-1].endswith("missed by deploy: came meanwhile")
    assert woken == []
    assert len(world.memory.deliveries) == 1


def test_a_fault_does_not_end_it(caplog: pytest.LogCaptureFixture) -> None:
    """
    A ledger that cannot be read, a bug: it goes on.
    """

    def broken(_: object) -> Found:
        looks.append(True)
        if len(looks) == 1:
            raise LedgerError("locked")
        if len(looks) == 2:
            raise ZeroDivisionError
        again.set()
        return Found()

    looks: list[bool] = []
    again = threading.Event()
    world = World(route(every=timedelta(0)))
    object.__setattr__(world.story, "look", broken)
    one = Reconciler(lambda: world.story, now=world.clock)
    world.clock.move(minutes=1)
    one._pause = lambda: timedelta(0)  # type: ignore[method-assign]
    one.start()
    assert again.wait(10)
    one.stop(10)

    assert "nothing is reconciled now: locked" in caplog.messages
    assert "reconciling: unexpected ZeroDivisionError" in caplog.text


def test_another_configuration_counts_from_the_next_turn_on() -> None:
    """
    A route that is new is looked at, one that is gone is not; without W&B none is.
    """
    before, after = World(route("gone")), World(route("new"))
    stories = [None, after.story, before.story]
    one = Reconciler(lambda: stories[-1], now=before.clock)
    for _ in range(3):
        before.clock.move(hours=1)
        assert one.turn() == []
        stories = stories[:-1] or [None]

    assert {key[0] for key in before.memory.baselines} == {"gone"}
    assert {key[0] for key in after.memory.baselines} == {"new"}
    assert one._pause() == timedelta(seconds=30)


def test_a_pause_is_neither_nothing_nor_long() -> None:
    """
    At least a second, so that a clock that was set back does no harm; at most half a minute.
    """
    world = World()
    one = reconciler(world)

    world.clock.move(minutes=10, seconds=-7)
    assert one._pause() == timedelta(seconds=7)
    world.clock.move(hours=-1)
    assert one._pause() == timedelta(seconds=30)
    world.clock.move(hours=2)
    assert one._pause() == timedelta(seconds=1)


def test_sightings_of_one_route_do_not_age_with_anothers() -> None:
    """
    A look at one route says nothing of what another has missed.
    """
    world = World()
    world.missed()
    world.promote()
    missed = world.story.look().missed
    sightings = Sightings(timedelta(minutes=2))

    assert sightings.ripe("one", missed, world.clock()) == []
    assert sightings.ripe("two", (), world.clock.move(minutes=2)) == []
    assert sightings.waiting("one")
    assert not sightings.waiting("two")
    assert sightings.ripe("one", missed, world.clock()) == list(missed)
    assert sightings.ripe("one", (), world.clock()) == []
    assert sightings.ripe("one", missed, world.clock.move(minutes=2)) == []
