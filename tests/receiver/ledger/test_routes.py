"""What routes plan: kinds, questions, what can never be sent, notices; on SQLite and on PostgreSQL."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from receiver.delivery import Delivery, DispatchState
from receiver.dispatch import Claim, DispatchKind, Outcome, OutcomeKind
from receiver.errors import LostLeaseError
from receiver.ledger import Ledger
from receiver.ledger.claims import CRASHES
from receiver.retry import Dead, Ended, Sent, Wait
from receiver.telling import Telling, after_attempt
from tests.receiver.fakes import GONE, LEASE, RESET, START, TAKEN, UNREACHABLE, delivery, dispatch

SECOND = timedelta(seconds=1)
TELLING = Telling(
    {"accepted": ("ml-slack",), "failed": ("ml-slack", "ml-teams")},
    {"route": "deploy", "destination": "acme/deploy", "delivery": "d1", "artifact": "acme/reg/churn"},
).to_json()
POSTPONED = Outcome(OutcomeKind.POSTPONED, "wandb-unreachable", "W&B cannot be asked")


def claimed(ledger: Ledger, now: Any = START) -> Claim:
    claim = ledger.claim(now, LEASE)
    assert claim is not None
    return claim


def notices_of(ledger: Ledger, name: str = "d1") -> list[tuple[str, str, str | None]]:
    """Where each notice of a delivery goes, what it tells, and of which dispatch."""
    return [
        (each.repository, each.event_type, each.about)
        for each in ledger.delivery(name).dispatches
        if each.kind is DispatchKind.NOTICE
    ]


@pytest.mark.parametrize("kind", DispatchKind, ids=lambda kind: kind.value)
def test_a_dispatch_comes_back_as_it_was_planned(ledger: Ledger, kind: DispatchKind) -> None:
    """
    Whatever kind, with its question, its telling and all else that its route says of it.
    """
    planned = dispatch(
        kind=kind,
        route="deploy",
        holds=True,
        question={"asks": [1, {"é": None}]},
        telling=TELLING,
        run_within=timedelta(minutes=2, microseconds=7),
    )
    ledger.accept(delivery(), [planned])

    assert claimed(ledger).dispatch == planned
    (record,) = ledger.delivery("d1").dispatches
    assert (record.kind, record.route) == (kind, "deploy")


def test_a_plain_dispatch_has_none_of_it(ledger: Ledger) -> None:
    """
    Nothing that was not planned comes back as an empty something.
    """
    ledger.accept(delivery(), [dispatch()])

    assert claimed(ledger).dispatch == dispatch()


def test_what_no_route_wants_is_kept_and_shown_as_unrouted(ledger: Ledger) -> None:
    """
    It is not lost, and nobody takes it for one that was sent.
    """
    ledger.accept(delivery(), [])
    ledger.accept(delivery("d2"), [dispatch("d2")])

    routed, unrouted = ledger.deliveries()
    assert (routed.unrouted, unrouted.unrouted) == (False, True)


def test_what_can_never_be_sent_is_dead_from_the_start_and_told(ledger: Ledger) -> None:
    """
    With its reason, beside the others that go; and each channel that hears of failures is told, at once.
    """
    why = "repository: got 'x', want owner/name"
    planned = [
        dispatch(unsendable=why, telling=TELLING, route="deploy", lane="one"),
        dispatch(number=2, lane="two"),
    ]
    receipt = ledger.accept(delivery(), planned)

    first = ledger.delivery("d1").dispatches[0]
    assert (first.state, first.reason, first.detail) == (DispatchState.DEAD, "unsendable", why)
    assert (first.attempts, first.next_attempt_at) == ((), None)
    assert receipt.dispatches == tuple(planned)
    assert notices_of(ledger) == [
        ("notice:ml-slack", "failed", "d1-1"),
        ("notice:ml-teams", "failed", "d1-1"),
    ]
    assert [record.id for record in ledger.dead()] == ["d1"]
    went = {claimed(ledger).dispatch.repository for _ in range(3)}
    assert went == {"acme/deploy", "notice:ml-slack", "notice:ml-teams"}
    assert ledger.claim(START, LEASE) is None


def test_what_can_never_be_sent_overtakes_nothing(ledger: Ledger) -> None:
    """
    The earlier one that waits for its retry is all that there is to send.
    """
    ledger.accept(delivery(), [dispatch()])
    ledger.record(claimed(ledger), Wait(START + SECOND), UNREACHABLE.outcome, START)

    ledger.accept(delivery("d2"), [dispatch("d2", overtakes=True, unsendable="too large")])

    assert ledger.delivery("d1").dispatches[0].state is DispatchState.PENDING


@pytest.mark.parametrize("comes", ["before", "after"], ids="comes-{}-it-waits".format)
@pytest.mark.parametrize(
    ("route", "state"), [("one", DispatchState.SUPERSEDED), ("other", DispatchState.PENDING)]
)
def test_one_overtakes_what_its_own_route_planned_and_nothing_else(
    ledger: Ledger, route: str, state: DispatchState, comes: str
) -> None:
    """
    Another route's dispatch to the same repository keeps its place, though its slot is the same.
    """
    later = delivery("d2"), [dispatch("d2", route=route, overtakes=True)]
    ledger.accept(delivery(), [dispatch(route="one")])
    claim = claimed(ledger)
    if comes == "before":
        ledger.accept(*later)
    ledger.record(claim, Wait(START + SECOND), UNREACHABLE.outcome, START)
    if comes == "after":
        ledger.accept(*later)

    assert ledger.delivery("d1").dispatches[0].state is state


def test_the_notices_of_an_attempt_are_kept_with_its_end(ledger: Ledger) -> None:
    """
    In the same transaction; they go to their channels, and are no dispatch that a repeat tells of.
    """
    planned = dispatch(telling=TELLING)
    ledger.accept(delivery(), [planned])
    claim = claimed(ledger)
    woken: list[bool] = []
    ledger.subscribe(lambda: woken.append(True))

    ledger.record(
        claim,
        Sent(),
        TAKEN.outcome,
        START,
        also=after_attempt(claim.dispatch, TAKEN.outcome, dead=False, now=START),
    )

    assert notices_of(ledger) == [("notice:ml-slack", "accepted", "d1-1")]
    assert woken
    repeat = ledger.accept(delivery("d2", fingerprint="fingerprint-d1"), [dispatch("d2")])
    assert (repeat.duplicate, repeat.dispatches) == (True, (planned,))
    assert claimed(ledger).dispatch.kind is DispatchKind.NOTICE


def test_who_lost_the_claim_tells_nobody(ledger: Ledger) -> None:
    """
    Whoever took over tells what came of it; two would tell two things.
    """
    ledger.accept(delivery(), [dispatch(telling=TELLING)])
    late = claimed(ledger)
    claimed(ledger, START + LEASE)
    notices = after_attempt(late.dispatch, TAKEN.outcome, dead=False, now=START)

    with pytest.raises(LostLeaseError):
        ledger.record(late, Sent(), TAKEN.outcome, START, also=notices)

    assert notices_of(ledger) == []


def test_a_notice_that_is_there_already_stays_as_it_is(ledger: Ledger) -> None:
    """
    No notice is worth failing for: what happened is recorded.
    """
    ledger.accept(delivery(), [dispatch(telling=TELLING)])
    claim = claimed(ledger)
    notices = after_attempt(claim.dispatch, TAKEN.outcome, dead=False, now=START)

    ledger.record(claim, Sent(), TAKEN.outcome, START, also=[*notices, *notices])

    assert len(notices_of(ledger)) == 1
    assert ledger.delivery("d1").dispatches[0].state is DispatchState.SENT


def test_what_its_claimants_do_not_survive_is_told(ledger: Ledger) -> None:
    """
    Nobody records the end of a dispatch that kills; the channels hear of it all the same.
    """
    ledger.accept(delivery(), [dispatch(telling=TELLING)])
    for number in range(CRASHES):
        claimed(ledger, START + number * LEASE)

    assert claimed(ledger, START + CRASHES * LEASE).dispatch.kind is DispatchKind.NOTICE
    assert ledger.delivery("d1").dispatches[0].reason == "crashed"
    assert [what for _, what, _ in notices_of(ledger)] == ["failed", "failed"]


@pytest.mark.parametrize("state", [DispatchState.OUTDATED, DispatchState.UNWANTED], ids=lambda s: s.value)
def test_what_is_not_sent_ends_in_a_state_of_its_own(ledger: Ledger, state: DispatchState) -> None:
    """
    It is not among the dead, uses no attempt, and its lane goes on.
    """
    ledger.accept(delivery(), [dispatch()])
    ledger.accept(delivery("d2"), [dispatch("d2")])
    outcome = Outcome(OutcomeKind(state.value), "outdated", "the alias moved")

    ledger.record(claimed(ledger), Ended(state, "outdated", "the alias moved"), outcome, START)

    (record,) = ledger.delivery("d1").dispatches
    assert (record.state, record.reason, record.detail) == (state, "outdated", "the alias moved")
    assert (record.attempts_used, record.sent_at, record.next_attempt_at) == (0, None, None)
    assert ledger.dead() == []
    assert claimed(ledger).dispatch.id == "d2-1"


def test_what_w_and_b_made_of_the_message_is_written_down(ledger: Ledger) -> None:
    """
    Before it is sent, so that the ledger shows what went; its question stays, to be asked before a retry.
    """
    ledger.accept(delivery(), [dispatch(client_payload={}, question={"about": "v3"})])
    claim = claimed(ledger)

    ledger.keep_message(
        claim, replace(claim.dispatch, client_payload={"version": "v3", "digest": "abc"}, telling={"a": 1})
    )

    ledger.record(claim, Wait(START), UNREACHABLE.outcome, START)
    again = claimed(ledger).dispatch
    assert again.client_payload == {"version": "v3", "digest": "abc"}
    assert again.question == {"about": "v3"}
    assert again.telling == {"a": 1}
    with pytest.raises(LostLeaseError):
        ledger.keep_message(claim, replace(claim.dispatch, client_payload={"version": "v4"}))


def compared(name: str, **changes: Any) -> Delivery:
    return delivery(name, fingerprint="same", reconciled=True, **changes)


@pytest.mark.parametrize("window", [timedelta(0), timedelta(minutes=10)], ids=["no-window", "window"])
def test_a_webhook_for_what_was_reconciled_is_a_repeat_however_late(
    ledger: Ledger, window: timedelta
) -> None:
    """
    What was found by comparing is sent once: neither the webhook nor another who compares sends it anew.
    """
    ledger.accept(compared("d1"), [dispatch()], window=window)
    later = START + timedelta(days=5)
    webhook = delivery("d2", at=later, fingerprint="same")

    assert ledger.accept(webhook, [dispatch("d2")], window=window).duplicate
    assert ledger.accept(compared("d3", at=later), [dispatch("d3")], window=window).duplicate
    (record,) = ledger.deliveries()
    assert (record.id, record.reconciled, record.repeats) == ("d1", True, 2)


def test_what_was_reconciled_and_then_replaced_is_new_again(ledger: Ledger) -> None:
    """
    A, B and A once more are three promotions, also where the first was found by comparing.
    """
    ledger.accept(compared("d1"), [dispatch()])
    ledger.accept(delivery("d2", fingerprint="other"), [dispatch("d2")])

    assert not ledger.accept(delivery("d3", fingerprint="same"), [dispatch("d3")]).duplicate
    assert [record.reconciled for record in ledger.deliveries()] == [False, False, True]


def test_a_wait_for_w_and_b_is_no_failure_of_the_destination(ledger: Ledger) -> None:
    """
    However often it is postponed, nobody's repository is paused for it.
    """
    ledger.accept(delivery(), [dispatch()])
    for _ in range(10):
        ledger.record(claimed(ledger), Wait(START, counts=False), POSTPONED, START)

    assert ledger.pauses() == []
    assert ledger.delivery("d1").dispatches[0].attempts_used == 0


def test_the_last_failure_is_dead_as_ever(ledger: Ledger) -> None:
    """
    Any kind has dead letters.
    """
    ledger.accept(delivery(), [dispatch(kind=DispatchKind.POST, repository="post:modal")])
    ledger.record(claimed(ledger), Dead("post-404", "gone"), GONE.outcome, START)

    assert ledger.delivery("d1").dispatches[0].state is DispatchState.DEAD


def test_what_may_have_arrived_keeps_its_doubt_while_it_is_postponed(ledger: Ledger) -> None:
    """
    A wait for W&B in between does not make anybody forget to look first.
    """
    ledger.accept(delivery(), [dispatch()])
    ledger.record(claimed(ledger), Wait(START), RESET.outcome, START)
    ledger.record(claimed(ledger), Wait(START, counts=False), POSTPONED, START)

    assert (claimed(ledger).unanswered, claimed(ledger, START + LEASE).doubts) == (START, 2)
