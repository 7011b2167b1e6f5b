"""What depends on W&B is settled before each attempt; what was sent is kept, and who wants to hears of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, NoReturn

import pytest

from receiver.delivery import DeliveryRecord, DispatchRecord, DispatchState
from receiver.dispatch import Dispatch, DispatchKind, Outcome, OutcomeKind
from receiver.dispatcher import Dispatcher
from receiver.ledger import Ledger
from receiver.notice import Notice, What
from receiver.telling import Telling
from tests.receiver.fakes import (
    BUSY,
    GONE,
    LEASE,
    RESET,
    TAKEN_SILENTLY,
    UNREACHABLE,
    Answer,
    Clock,
    FakeDestination,
    delivery,
    dispatch,
)

QUESTION: dict[str, Any] = {"reference": "wandb-artifact://_id/QXJ0aWZhY3Q6MTIz"}
TELLING = Telling(
    {"accepted": ("ml",), "failed": ("ml", "oncall"), "outdated": ("ml",)},
    {"route": "deploy", "destination": "acme/deploy", "delivery": "d1"},
).to_json()
UNREACHED = Outcome(OutcomeKind.POSTPONED, "wandb-unreachable", "W&B cannot be asked")
MOVED = Outcome(OutcomeKind.OUTDATED, "outdated", "not sent: the alias moved on")


class World:
    """A dispatcher whose turns the test takes, with a W&B that says what it is told to."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.clock = Clock()
        self.destination = FakeDestination()
        self.says: Callable[[Dispatch], Mapping[str, Any] | Outcome] = lambda _: {"version": "v7"}
        self.asked: list[Dispatch] = []
        self.dispatcher = Dispatcher(
            ledger, self.destination, settle=self.settle, now=self.clock, jitter=lambda: 0.5, lease=LEASE
        )

    def settle(self, dispatch: Dispatch) -> Dispatch | Outcome:
        """As W&B would, where there is a question."""
        if dispatch.question is None:
            return dispatch
        self.asked.append(dispatch)
        said = self.says(dispatch)
        return said if isinstance(said, Outcome) else replace(dispatch, client_payload=said)

    def accept(self, **changes: Any) -> None:
        """Take in one dispatch, with a question unless told otherwise."""
        planned = {"client_payload": {}, "question": QUESTION, **changes}
        self.ledger.accept(delivery("d1"), [dispatch("d1", **planned)])

    def turn(self, times: int = 1) -> None:
        """Take so many turns."""
        for _ in range(times):
            self.dispatcher.run_once()

    @property
    def delivery(self) -> DeliveryRecord:
        """The delivery, with its notices."""
        return self.ledger.delivery("d1")

    @property
    def record(self) -> DispatchRecord:
        """The dispatch itself."""
        return next(each for each in self.delivery.dispatches if each.kind is not DispatchKind.NOTICE)

    @property
    def told(self) -> list[tuple[str, What, str | None]]:
        """The notices that were made: to whom, of what, and why."""
        notices = [each for each in self.delivery.dispatches if each.kind is DispatchKind.NOTICE]
        messages = [(each.repository, Notice.from_message(each.client_payload)) for each in notices]
        return [(channel, message.what, message.why) for channel, message in messages]


@pytest.fixture
def world(ledger: Ledger) -> World:
    """It, on either database."""
    return World(ledger)


def test_what_is_sent_is_what_wandb_said_and_is_kept(world: World) -> None:
    """
    The destination gets the settled message, and the ledger shows just that.
    """
    world.accept()

    world.turn()

    assert [each.client_payload for each in world.destination.arrived] == [{"version": "v7"}]
    assert world.record.client_payload == {"version": "v7"}
    assert world.record.state is DispatchState.SENT


def test_what_is_about_to_be_sent_is_kept_before_it_is(world: World) -> None:
    """
    Who dies while sending leaves behind what was sent.
    """
    world.accept()

    def die(_: Dispatch) -> NoReturn:
        raise SystemExit

    world.destination.send = die  # type: ignore[assignment, method-assign]

    with pytest.raises(SystemExit):
        world.turn()

    assert world.record.client_payload == {"version": "v7"}
    assert world.record.state is DispatchState.SENDING


def test_each_attempt_asks_anew(world: World) -> None:
    """
    An alias that moves on between two attempts stops the second.
    """
    world.accept()
    world.destination.answers.append(UNREACHABLE)
    world.turn()
    world.says = lambda _: MOVED
    world.clock.move(minutes=1)

    world.turn()

    assert len(world.asked) == 2
    assert world.destination.arrived == []
    assert (world.record.state, world.record.reason) == (DispatchState.OUTDATED, "outdated")


def test_while_wandb_is_away_it_waits_and_nothing_counts(world: World) -> None:
    """
    However often it is asked in vain, ten attempts are left for sending.
    """
    world.accept()
    world.says = lambda _: UNREACHED
    for _ in range(20):
        world.turn()
        world.clock.move(minutes=11)

    waiting = world.record
    assert (waiting.state, waiting.attempts_used) == (DispatchState.PENDING, 0)
    assert world.destination.arrived == []

    world.says = lambda _: {"version": "v7"}
    world.turn()
    assert world.record.state is DispatchState.SENT


def test_what_may_have_arrived_is_asked_about_before_it_is_marked(world: World) -> None:
    """
    A promotion that no longer holds is not sent again, and not marked as doubled.
    """
    world.accept()
    world.destination.answers.append(RESET)
    world.turn()
    world.says = lambda _: MOVED
    world.clock.move(minutes=5)

    world.turn()

    assert world.destination.looks
    assert world.record.state is DispatchState.OUTDATED
    assert not world.record.possibly_duplicated


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (None, [("notice:ml", What.ACCEPTED, None)]),
        (
            GONE,
            [
                ("notice:ml", What.FAILED, "no such repository"),
                ("notice:oncall", What.FAILED, "no such repository"),
            ],
        ),
        (UNREACHABLE, []),
        (BUSY, []),
    ],
    ids=["sent", "dead", "retried", "throttled"],
)
def test_the_channels_hear_of_the_end_and_of_nothing_else(
    world: World, answer: Answer | None, told: list[tuple[str, What, str | None]]
) -> None:
    """
    A notice is there with the record of what it tells, in one transaction.
    """
    world.accept(telling=TELLING, question=None)
    if answer is not None:
        world.destination.answers.append(answer)

    world.turn()

    assert world.told == told


def test_a_notice_is_sent_like_any_other_and_tells_of_nothing_itself(world: World) -> None:
    """
    It goes its own way after the dispatch, and its end is no news.
    """
    world.accept(telling=TELLING)

    world.turn(3)

    assert [each.kind for each in world.destination.arrived] == [
        DispatchKind.REPOSITORY_DISPATCH,
        DispatchKind.NOTICE,
    ]
    assert len(world.told) == 1


def test_outdated_is_told_to_who_wants_to_know(world: World) -> None:
    """
    The team sees that somebody's promotion started nothing, and why.
    """
    world.accept(telling=TELLING)
    world.says = lambda _: MOVED

    world.turn()

    assert world.told == [("notice:ml", What.OUTDATED, MOVED.detail)]


def test_what_holds_is_not_sent_again_where_nobody_can_look(world: World) -> None:
    """
    An endpoint that cannot be asked whether it has seen it gets it once; a person decides.
    """
    world.accept(
        repository="post:modal", kind=DispatchKind.POST, holds=True, question=None, client_payload={"a": 1}
    )
    world.destination.answers.append(TAKEN_SILENTLY)
    world.destination.may_read = False
    world.turn()
    world.clock.move(hours=3)
    world.turn(2)

    assert (world.record.state, world.record.reason) == (DispatchState.DEAD, "held")
    assert len(world.destination.arrived) == 1
