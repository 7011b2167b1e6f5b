"""The same told again starts what it has not started, and nothing twice: on SQLite and on PostgreSQL."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from receiver.delivery import DispatchState, Receipt
from receiver.dispatch import Dispatch
from receiver.event import RegistryEvent, read_event
from receiver.intake import Accepted, Intake, Repeated
from receiver.ledger import Ledger
from receiver.missed import Missed, event_of
from receiver.plan import Rules, fingerprint, fingerprint_if_missed, slot
from receiver.retry import Ended
from receiver.routing.conditions import Condition
from receiver.routing.route import RepositoryDispatch, Route
from receiver.routing.template import Template
from receiver.secret import Secret
from registry_client.reference import CollectionPath
from tests.receiver.fakes import LEASE, START, TAKEN, Clock, delivery, dispatch
from tests.receiver.test_intake import webhook
from tests.receiver.web_fakes import ARTIFACT, SECRET, TOKEN, body, flat

MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)


def tell(ledger: Ledger, name: str, *routes: str, at: timedelta = MINUTE * 0, **changes: Any) -> Receipt:
    """Have the same told, as a delivery of that name with a dispatch for each route."""
    planned = [
        dispatch(name, number=number, route=route, lane=f"lane/{route}", at=START + at)
        for number, route in enumerate(routes, start=1)
    ]
    values: dict[str, Any] = {"at": START + at, "fingerprint": "same", **changes}
    return ledger.accept(delivery(name, **values), planned)


def started(receipt: Receipt) -> list[str | None]:
    """The routes of what is sent for it."""
    return [] if receipt.duplicate else [each.route for each in receipt.dispatches]


def test_what_nobody_wanted_is_no_reason_to_swallow_what_somebody_wants(ledger: Ledger) -> None:
    """
    Bob may not deploy; when Ana promotes the same version a minute later, hers counts.
    """
    assert tell(ledger, "bobs").dispatches == ()

    anas = tell(ledger, "anas", "deploy", at=MINUTE)

    assert (anas.duplicate, started(anas)) == (False, ["deploy"])
    assert [each.id for each in ledger.deliveries()] == ["anas", "bobs"]
    assert tell(ledger, "again", "deploy", at=2 * MINUTE).duplicate


def test_each_route_takes_the_same_once(ledger: Ledger) -> None:
    """
    Where the second telling is wanted by more routes, those that took the first do not take it again.
    """
    tell(ledger, "first", "evaluate")

    second = tell(ledger, "second", "evaluate", "deploy", at=MINUTE)
    third = tell(ledger, "third", "evaluate", "deploy", at=2 * MINUTE)

    assert started(second) == ["deploy"]
    assert [each.route for each in ledger.delivery("second").dispatches] == ["deploy"]
    assert third.duplicate
    assert started(tell(ledger, "later", "evaluate", "deploy", at=HOUR)) == ["evaluate", "deploy"]


@pytest.mark.parametrize("state", [DispatchState.OUTDATED, DispatchState.UNWANTED], ids=lambda it: it.value)
def test_what_did_not_hold_may_hold_when_it_is_told_again(ledger: Ledger, state: DispatchState) -> None:
    """
    Who forges a promotion before it is made does not have the real one taken for a repetition.
    """
    tell(ledger, "forged", "deploy")
    claim = ledger.claim(START, LEASE)
    assert claim is not None
    ledger.record(claim, Ended(state, state.value, "not sent"), TAKEN.outcome, START)

    assert started(tell(ledger, "real", "deploy", at=MINUTE)) == ["deploy"]
    assert tell(ledger, "again", "deploy", at=2 * MINUTE).duplicate


def test_what_can_never_be_sent_is_no_reason_either(ledger: Ledger) -> None:
    """
    When its route is mended the promotion is made anew, at once, and goes; unmended it is told once.
    """
    wrong = dispatch("first", route="deploy", unsendable="no repository")
    ledger.accept(delivery("first", fingerprint="same"), [wrong])
    again = dispatch("again", route="deploy", unsendable="no repository")

    assert ledger.accept(delivery("again", fingerprint="same"), [again]).duplicate
    assert started(tell(ledger, "mended", "deploy", at=MINUTE)) == ["deploy"]


def test_another_promotion_between_them_begins_anew(ledger: Ledger) -> None:
    """
    An alias that goes to another version and back is promoted anew for every route.
    """
    tell(ledger, "first", "deploy")
    tell(ledger, "other", "deploy", at=MINUTE, fingerprint="other")

    assert started(tell(ledger, "back", "deploy", at=2 * MINUTE)) == ["deploy"]


def test_repeats_that_are_written_together(ledger: Ledger) -> None:
    """
    Two of one batch are told apart like any other two.
    """
    planned = [dispatch(name, route=name, lane=f"lane/{name}") for name in ("one", "two")]
    taking = [
        ledger.hand_in(delivery(name, fingerprint="same"), each)
        for name, each in (("one", planned[:1]), ("two", [*_of("two", planned)]), ("three", planned[:1]))
    ]
    receipts = [each.result() for each in taking]

    assert [started(each) for each in receipts] == [["one"], ["two"], []]


def _of(name: str, planned: Sequence[Dispatch]) -> Sequence[Dispatch]:
    """Those of another delivery, as its own."""
    return [
        replace(each, id=f"{name}-{number}", delivery_id=name, key=f"{name}-{number}")
        for number, each in enumerate(planned, start=1)
    ]


def told(shape: str) -> RegistryEvent:
    """What W&B tells of the promotion, in one of the two shapes of a body."""
    fields = flat()
    github = {"event_type": "BUILD_AND_DEPLOY", "client_payload": fields}
    read = read_event(body({"flat": fields, "github": github}[shape]))
    assert isinstance(read, RegistryEvent)
    return read


@pytest.mark.parametrize("shape", ["flat", "github"])
def test_a_webhook_that_comes_after_all_starts_nothing_twice(ledger: Ledger, shape: str) -> None:
    """
    What was caught up starts only the routes that are not reconciled, however late and in whatever shape.
    """
    place = CollectionPath("acme", "wandb-registry-model", "Churn Model")
    artifact = ARTIFACT.rpartition("/")[2]
    caught = event_of(Missed(place, "production", artifact, "v3", START, ("deploy",), None))
    how: dict[str, Any] = {"slot": slot(caught, "wandb"), "fingerprint": fingerprint(caught, "wandb")}
    tell(ledger, "caught", "deploy", reconciled=True, **how)

    event = told(shape)
    late = tell(
        ledger,
        "late",
        "deploy",
        "announce",
        at=HOUR,
        event=event,
        slot=slot(event, "wandb"),
        fingerprint=fingerprint(event, "wandb"),
        if_missed=fingerprint_if_missed(event, "wandb"),
    )

    assert started(late) == ["announce"]


def test_the_answer_names_what_is_started_and_nothing_else(ledger: Ledger) -> None:
    """
    W&B's history shows of a second telling the dispatches that it really has.
    """
    clock = Clock()
    routes = [
        Route(name, RepositoryDispatch(Template("acme/serving"), Template(name)), when)
        for name, when in (("all", ()), ("anas", (Condition.parse("author", "ana"),)))
    ]
    names = iter(("first", "second", "third"))
    intake = Intake(
        source="wandb",
        secrets=(Secret(SECRET),),
        tokens=(Secret(TOKEN),),
        hidden=(),
        rules=Rules(tuple(routes)),
        store=ledger,
        now=clock,
        new_id=lambda _now: next(names),
    )
    answers = []
    for author in ("bob", "ana", "ana"):
        answers.append(intake.receive(webhook(body(flat(event_author=author)))))
        clock.move(seconds=10)

    first, second, third = answers
    assert isinstance(first, Accepted)
    assert isinstance(second, Accepted)
    assert [each.route for each in first.dispatches] == ["all"]
    assert [each.route for each in second.dispatches] == ["anas"]
    assert isinstance(third, Repeated)
