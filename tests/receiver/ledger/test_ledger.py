"""What was delivered, what is to be sent, what came of it; on SQLite and on PostgreSQL."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, select, text, update
from sqlalchemy.event import listen

from receiver.budget import Budget
from receiver.delivery import (
    AttemptRecord,
    DeliveryRecord,
    DispatchRecord,
    DispatchState,
    Receipt,
    Rejection,
)
from receiver.dispatch import Claim, Outcome
from receiver.errors import LedgerError, LostLeaseError
from receiver.ledger import Ledger, accepts, turns
from receiver.ledger.records import NoSuchDeliveryError
from receiver.ledger.schema import dispatches
from receiver.retry import Dead, Sent, Wait
from tests.receiver.fakes import (
    BUSY,
    GONE,
    LEASE,
    RESET,
    START,
    TAKEN,
    UNREACHABLE,
    delivery,
    dispatch,
    event,
)
from tests.receiver.waiting import until_blocked

SECOND = timedelta(seconds=1)


def accept(ledger: Ledger, *ids: str, **changes: Any) -> None:
    """Accept deliveries with one dispatch each."""
    for name in ids:
        ledger.accept(delivery(name), [dispatch(name, **changes)])


def claimed(ledger: Ledger, now: datetime = START) -> Claim:
    claim = ledger.claim(now, LEASE)
    assert claim is not None
    return claim


def shown(ledger: Ledger, id_prefix: str = "d1") -> DispatchRecord:
    """Return the only dispatch of a delivery, as the ledger tells of it."""
    (record,) = ledger.delivery(id_prefix).dispatches
    return record


def send(ledger: Ledger, now: datetime = START) -> Claim:
    """Claim what is due and record it as sent."""
    claim = claimed(ledger, now)
    ledger.record(claim, Sent(), TAKEN.outcome, now)
    return claim


# --- accept


def test_what_is_accepted_is_told_as_it_came(ledger: Ledger) -> None:
    """
    A delivery comes back with each of its facts, its dispatches pending and due at once.
    """
    ledger.accept(delivery(), [dispatch(number=1), dispatch(number=2, repository="acme/other")])

    first = DispatchRecord(
        id="d1-1",
        repository="acme/deploy",
        event_type="ADD_ARTIFACT_ALIAS",
        key="key-d1-1",
        client_payload={"zeta": 1, "alias": "production"},
        state=DispatchState.PENDING,
        next_attempt_at=START,
        attempts_used=0,
        possibly_duplicated=False,
        reason=None,
        detail=None,
        run_url=None,
        attempts=(),
    )
    assert ledger.delivery("d1") == DeliveryRecord(
        id="d1",
        source="wandb",
        received_at=START,
        address="192.0.2.7",
        encoding="hex",
        body_sha256="00" * 32,
        event="ADD_ARTIFACT_ALIAS",
        fields={"event_type": "ADD_ARTIFACT_ALIAS", "alias": "production"},
        dispatches=(first, replace(first, id="d1-2", repository="acme/other", key="key-d1-2")),
    )
    assert list(shown_payload(ledger)) == ["zeta", "alias"]


def shown_payload(ledger: Ledger) -> dict[str, Any]:
    return dict(ledger.delivery("d1").dispatches[0].client_payload)


def test_what_is_accepted_survives_reopening(database_url: str) -> None:
    """
    It is in the database, not in us.
    """
    with Ledger.open(database_url) as ledger:
        accept(ledger, "d1")
        before = ledger.delivery("d1")

    with Ledger.open(database_url) as ledger:
        assert ledger.delivery("d1") == before


def test_names_that_databases_dislike_are_kept(ledger: Ledger) -> None:
    """
    Emoji survive; NUL and half surrogate pairs survive in JSON, and elsewhere hinder nothing (B5, B6).
    """
    strange = event(event="LINK\0", fields={"collection": "Größe 🚀 \0 \ud800"})
    ledger.accept(delivery(event=strange, slot="\ud800"), [dispatch(client_payload={"x": "🚀\0\udfff"})])

    record = ledger.delivery("d1")
    assert record.event == "LINK\ufffd"
    assert record.fields == {"collection": "Größe 🚀 \0 \ud800"}
    assert shown_payload(ledger) == {"x": "🚀\0\udfff"}


def test_a_delivery_is_kept_with_all_its_dispatches_or_not_at_all(ledger: Ledger) -> None:
    """
    When one dispatch cannot be kept, nothing of the delivery is.
    """
    accept(ledger, "d1")

    with pytest.raises(LedgerError):
        ledger.accept(delivery("d2"), [dispatch("d2"), dispatch("d2", number=2, key="key-d1-1")])

    assert [record.id for record in ledger.deliveries()] == ["d1"]
    assert ledger.open_count() == 1


def test_a_key_goes_to_a_destination_once(ledger: Ledger) -> None:
    """
    The same key to another repository is another dispatch; to the same one it is refused.
    """
    ledger.accept(
        delivery("d1"),
        [dispatch("d1", key="same"), dispatch("d1", number=2, key="same", repository="acme/other")],
    )

    with pytest.raises(LedgerError):
        ledger.accept(delivery("d2"), [dispatch("d2", key="same")])


def test_whoever_subscribed_is_woken_by_an_acceptance_once_it_is_committed(ledger: Ledger) -> None:
    """
    The dispatcher hears of work when it can claim it, and only then.
    """
    seen: list[Claim | None] = []
    ledger.subscribe(lambda: seen.append(ledger.claim(START, LEASE)))
    accept(ledger, "d1")
    ledger.accept(delivery("d2"), [])

    assert [claim and claim.dispatch.id for claim in seen] == ["d1-1"]


# --- repeats

WINDOW = timedelta(minutes=10)


def tell(
    ledger: Ledger, name: str, what: str = "A", *, after: timedelta = timedelta(0), **more: Any
) -> Receipt:
    """Have it told under a new id that ``what`` happened in the slot."""
    at = START + after
    told = delivery(name, at=at, fingerprint=f"{what}", slot=more.pop("slot", "production"))
    return ledger.accept(told, [dispatch(name, at=at)], window=more.pop("window", WINDOW))


def test_what_is_told_again_is_answered_with_the_first(ledger: Ledger) -> None:
    """
    The receipt names the first delivery and its dispatches; nothing changes but the count (F2).
    """
    first = tell(ledger, "d1")
    tell(ledger, "d2", after=SECOND)
    again = tell(ledger, "d3", after=2 * SECOND)

    assert first == Receipt("d1", False, START, (dispatch("d1"),))
    assert again == Receipt("d1", True, START, (dispatch("d1"),))
    (record,) = ledger.deliveries()
    assert (record.id, record.repeats, record.last_repeat_at) == ("d1", 2, START + 2 * SECOND)
    assert len(record.dispatches) == 1


@pytest.mark.parametrize(
    ("after", "duplicate"),
    [
        (WINDOW, True),
        (WINDOW + timedelta(microseconds=1), False),
        (-SECOND, True),
        (-WINDOW - timedelta(microseconds=1), False),
    ],
    ids=["last-moment", "over", "clock-a-little-back", "clock-far-back"],
)
def test_a_repeat_is_one_within_the_window(ledger: Ledger, after: timedelta, *, duplicate: bool) -> None:
    """
    From the first one on, to the microsecond; a later one is a promotion of its own.
    """
    tell(ledger, "d1")

    assert tell(ledger, "d2", after=after).duplicate is duplicate
    assert len(ledger.deliveries()) == 2 - duplicate


def test_repeats_do_not_make_the_window_longer(ledger: Ledger) -> None:
    """
    It runs from the first one: what is told every nine minutes is not swallowed for ever.
    """
    told = [tell(ledger, f"d{n}", after=n * timedelta(minutes=9)).duplicate for n in range(4)]

    assert told == [False, True, False, True]


def test_back_to_the_first_is_no_repeat(ledger: Ledger) -> None:
    """
    A, then B, then A again within the window: three promotions, sent in their order (F3).
    """
    receipts = [tell(ledger, f"d{n}", what, after=n * SECOND) for n, what in enumerate("ABA")]

    assert [receipt.duplicate for receipt in receipts] == [False, False, False]
    assert [send(ledger, START + WINDOW).dispatch.delivery_id for _ in range(3)] == ["d0", "d1", "d2"]


def test_the_same_in_another_slot_is_no_repeat(ledger: Ledger) -> None:
    """
    One version that gets two aliases is promoted twice.
    """
    tell(ledger, "d1")

    assert not tell(ledger, "d2", slot="staging").duplicate


def test_without_a_window_nothing_is_a_repeat(ledger: Ledger) -> None:
    """
    Off means off, in the same microsecond too.
    """
    tell(ledger, "d1")

    assert not tell(ledger, "d2", window=timedelta(0)).duplicate


def test_a_repeat_wakes_nobody(ledger: Ledger) -> None:
    """
    There is nothing new to send.
    """
    woken: list[bool] = []
    tell(ledger, "d1")
    ledger.subscribe(lambda: woken.append(True))
    tell(ledger, "d2")

    assert woken == []


def test_a_hundred_at_once_are_one_delivery(database_url: str) -> None:
    """
    Told by a hundred at once, to two receivers where there may be two: one is kept, 99 are repeats of it.
    """
    with Ledger.open(database_url) as one, Ledger.open(database_url) as two:
        ledgers = [one, one if one.one_process else two]
        start = threading.Barrier(20)

        def many(thread: int) -> list[Receipt]:
            start.wait(10)
            return [tell(ledgers[thread % 2], f"t{thread}-{n}") for n in range(5)]

        with ThreadPoolExecutor(20) as pool:
            receipts = [receipt for told in pool.map(many, range(20)) for receipt in told]

        (kept,) = one.deliveries()
    assert sorted(receipt.duplicate for receipt in receipts) == [False] + 99 * [True]
    assert {receipt.delivery_id for receipt in receipts} == {kept.id}
    assert (kept.repeats, len(kept.dispatches)) == (99, 1)


def test_what_is_accepted_together_is_told_apart(database_url: str) -> None:
    """
    Of one group that goes A, A, B, A in one slot the second is a repeat of the first, and no other is.
    """
    with Ledger.open(database_url) as ledger, ledger._reads.connect() as connection:
        arrivals = [
            accepts.Arrival.of(
                delivery(f"d{number}", fingerprint=told, slot="production"),
                [dispatch(f"d{number}")],
                WINDOW,
                connection.dialect,
            )
            for number, told in enumerate("AABA", 1)
        ]
        receipts = ledger._writes.hand_in(
            lambda groups, on: [accepts.accept(groups[0], on)], arrivals
        ).result()

        kept = {one.id: (one.repeats, len(one.dispatches)) for one in ledger.deliveries()}
    assert [(one.delivery_id, one.duplicate) for one in receipts] == [
        *(("d1", False), ("d1", True), ("d3", False), ("d4", False))
    ]
    assert [one.id for receipt in receipts for one in receipt.dispatches] == ["d1-1", "d1-1", "d3-1", "d4-1"]
    assert kept == {"d1": (1, 1), "d3": (0, 1), "d4": (0, 1)}


def test_a_receiver_waits_for_another_that_accepts_for_the_slot(new_postgresql: Callable[[], str]) -> None:
    """
    Two receivers cannot both find that they are first: the second waits for the first to commit.
    """
    url = new_postgresql()
    other = create_engine(url)
    with Ledger.open(url) as ledger, ThreadPoolExecutor(1) as pool:
        with other.begin() as connection:
            told = delivery("d1", fingerprint="A", slot="production")
            arrival = accepts.Arrival.of(told, [dispatch("d1")], WINDOW, connection.dialect)
            accepts.accept([arrival], connection)
            ours = pool.submit(tell, ledger, "d2")
            until_blocked(other)
        assert ours.result(10).duplicate
    other.dispose()


# --- overtaking


def test_an_overtaking_dispatch_ends_the_one_that_waits_for_its_retry(ledger: Ledger) -> None:
    """
    Of its lane and slot: that one is superseded, by the one that it names, and never sent.
    """
    accept(ledger, "d1")
    ledger.record(claimed(ledger), Wait(START + SECOND), UNREACHABLE.outcome, START)
    accept(ledger, "d2", overtakes=True)

    assert send(ledger).dispatch.id == "d2-1"
    assert ledger.claim(START + SECOND, LEASE) is None
    record = shown(ledger)
    assert (record.state, record.reason, record.next_attempt_at) == (
        DispatchState.SUPERSEDED,
        "superseded",
        None,
    )
    assert "delivery d2 came while this one waited" in (record.detail or "")
    assert ledger.open_count() == 0


@pytest.mark.parametrize("difference", ["kept-order", "another-slot", "another-lane", "fresh"])
def test_what_may_not_be_overtaken_stays(ledger: Ledger, difference: str) -> None:
    """
    Unless it is said so nothing is; never across slots or lanes, nor what was not tried yet.
    """
    accept(ledger, "d1")
    if difference != "fresh":
        ledger.record(claimed(ledger), Wait(START + SECOND), UNREACHABLE.outcome, START)
    slot = "staging" if difference == "another-slot" else "slot"
    lane = "acme/deploy/other" if difference == "another-lane" else None
    newer = dispatch("d2", lane=lane, overtakes=difference != "kept-order")
    ledger.accept(delivery("d2", slot=slot), [newer])

    assert shown(ledger).state is DispatchState.PENDING


def test_what_is_being_sent_is_not_overtaken(ledger: Ledger) -> None:
    """
    It may arrive any moment, and its record still counts.
    """
    accept(ledger, "d1")
    claim = claimed(ledger)
    accept(ledger, "d2", overtakes=True)

    assert ledger.claim(START, LEASE) is None
    ledger.record(claim, Sent(), TAKEN.outcome, START)
    assert shown(ledger).state is DispatchState.SENT


@pytest.mark.parametrize("may", [True, False], ids=["overtakes", "another-slot"])
def test_what_fails_while_a_newer_one_waits_gives_way(ledger: Ledger, *, may: bool) -> None:
    """
    Once it would wait for its retry, the newer one of its slot that came meanwhile goes instead.
    """
    accept(ledger, "d1")
    claim = claimed(ledger)
    newer = delivery("d2", slot="slot" if may else "staging")
    ledger.accept(newer, [dispatch("d2", overtakes=True)])
    ledger.record(claim, Wait(START + SECOND), UNREACHABLE.outcome, START)

    record = shown(ledger)
    if may:
        assert (record.state, record.reason) == (DispatchState.SUPERSEDED, "superseded")
        assert "delivery d2 came" in (record.detail or "")
        assert (record.attempts_used, record.attempts[0].reason) == (1, "unreachable")
        assert send(ledger).dispatch.id == "d2-1"
    else:
        assert record.state is DispatchState.PENDING
        assert ledger.claim(START, LEASE) is None


# --- claim


def test_a_claim_carries_the_dispatch_as_it_was_planned(ledger: Ledger) -> None:
    """
    What is sent is what was accepted, and its attempt is written down before.
    """
    accept(ledger, "d1")

    claim = claimed(ledger, START + SECOND)

    assert claim == Claim(
        dispatch=dispatch("d1"),
        fence=1,
        attempt=1,
        begun_at=START + SECOND,
        attempts_used=0,
        unanswered=None,
        doubts=0,
        lease_until=START + SECOND + LEASE,
        open_since=START,
    )
    assert shown(ledger).state is DispatchState.SENDING
    assert shown(ledger).next_attempt_at is None
    assert shown(ledger).attempts == (AttemptRecord(1, START + SECOND, None, None, None, None, None),)


def test_nothing_is_claimed_before_it_is_due(ledger: Ledger) -> None:
    """
    A wait is waited for to its end, to the microsecond.
    """
    accept(ledger, "d1")
    ledger.record(claimed(ledger), Wait(START + SECOND), UNREACHABLE.outcome, START)

    assert ledger.claim(START + SECOND - timedelta(microseconds=1), LEASE) is None
    assert ledger.claim(START + SECOND, LEASE) is not None


def test_a_claim_is_one_claimants(ledger: Ledger) -> None:
    """
    While the lease runs nobody else gets it.
    """
    accept(ledger, "d1")
    claimed(ledger)

    assert ledger.claim(START + LEASE - SECOND, LEASE) is None


def test_many_claimants_share_out_the_work(ledger: Ledger) -> None:
    """
    Eight threads that claim at once get forty dispatches, each exactly once.
    """
    for number in range(40):
        accept(ledger, f"d{number:02}", repository=f"acme/r{number}")
    found: list[str] = []

    def take(_: int) -> None:
        while (claim := ledger.claim(START, LEASE)) is not None:
            found.append(claim.dispatch.id)
            ledger.record(claim, Sent(), TAKEN.outcome, START)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(take, range(8)))
        take(0)

    assert sorted(found) == sorted(f"d{number:02}-1" for number in range(40))


def test_a_lane_goes_in_order(ledger: Ledger) -> None:
    """
    While the first of a lane waits for its retry the later ones wait behind it; another lane flows.
    """
    accept(ledger, "d1", "d2")
    accept(ledger, "d3", repository="acme/other")
    ledger.record(claimed(ledger), Wait(START + SECOND), UNREACHABLE.outcome, START)

    assert send(ledger).dispatch.id == "d3-1"
    assert ledger.claim(START, LEASE) is None
    assert send(ledger, START + SECOND).dispatch.id == "d1-1"
    assert send(ledger, START + SECOND).dispatch.id == "d2-1"


@pytest.mark.parametrize("decision", [Sent(), Dead("github-404", "gone")], ids=["sent", "dead"])
def test_an_ended_dispatch_lets_the_next_in_its_lane_go(ledger: Ledger, decision: Sent | Dead) -> None:
    """
    Sent or dead: the lane does not stand still behind it.
    """
    accept(ledger, "d1", "d2")
    ledger.record(claimed(ledger), decision, TAKEN.outcome, START)

    assert claimed(ledger).dispatch.id == "d2-1"


def test_a_repository_gets_one_at_a_time(ledger: Ledger) -> None:
    """
    Two lanes to one repository take turns, and hold up no other; GitHub asks for calls one after another.
    """
    accept(ledger, "d1", lane="one")
    accept(ledger, "d2", lane="two")
    accept(ledger, "d3", repository="acme/other")
    first = claimed(ledger)

    assert send(ledger).dispatch.id == "d3-1"
    assert ledger.claim(START, LEASE) is None
    ledger.record(first, Wait(START + SECOND), UNREACHABLE.outcome, START)
    assert claimed(ledger).dispatch.id == "d2-1"


def test_the_database_itself_refuses_two_to_one_repository(ledger: Ledger) -> None:
    """
    Whoever would claim past the rule, in whatever process, runs into the index.
    """
    accept(ledger, "d1", lane="one")
    accept(ledger, "d2", lane="two")
    claimed(ledger)

    def force(connection: Any) -> None:
        connection.execute(update(dispatches).where(dispatches.c.id == "d2-1").values(state="sending"))

    with pytest.raises(LedgerError, match=r"(?i)unique"):
        ledger._writes.run(force)


def test_a_claim_that_was_seen_but_taken_meanwhile_is_looked_for_again(
    new_postgresql: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Between looking and taking another receiver may be quicker; then the next best is taken.
    """
    look, url, rivals = turns.next_due, new_postgresql(), 1

    def overtaken(*asked: Any, **others: Any) -> turns.Candidate | None:
        nonlocal rivals
        seen = look(*asked, **others)
        while rivals:
            rivals -= 1
            with Ledger.open(url) as rival:
                assert claimed(rival).dispatch.id == "d1-1"
        return seen

    with Ledger.open(url) as ledger:
        accept(ledger, "d1")
        accept(ledger, "d2", repository="acme/other")
        monkeypatch.setattr(turns, "next_due", overtaken)

        assert claimed(ledger).dispatch.id == "d2-1"


@pytest.fixture
def two(new_postgresql: Callable[[], str]) -> Iterator[tuple[Ledger, Engine]]:
    """A ledger on PostgreSQL, and what another receiver has it open with."""
    url = new_postgresql()
    other = create_engine(url)
    with Ledger.open(url) as ledger:
        yield ledger, other
    other.dispose()


def test_two_receivers_at_once_send_one_to_a_repository(two: tuple[Ledger, Engine]) -> None:
    """
    When another claims for the same repository in the very same moment, we get nothing, and no error (E7).
    """
    ledger, other = two
    accept(ledger, "d1", lane="one")
    accept(ledger, "d2", lane="two")
    with ThreadPoolExecutor(1) as pool:
        with other.begin() as connection:
            theirs = update(dispatches).where(dispatches.c.id == "d2-1")
            connection.execute(theirs.values(state="sending", due_at=START + LEASE))
            ours = pool.submit(ledger.claim, START, LEASE)
            until_blocked(other)
        assert ours.result(10) is None

    assert shown(ledger).state is DispatchState.PENDING


def test_what_another_receiver_is_just_taking_is_not_waited_for(two: tuple[Ledger, Engine]) -> None:
    """
    Its row is locked: we go on without it (E7).
    """
    ledger, other = two
    accept(ledger, "d1")
    with other.begin() as connection:
        connection.execute(select(dispatches).with_for_update()).all()
        assert ledger.claim(START, LEASE) is None

    assert claimed(ledger).dispatch.id == "d1-1"


def test_a_lease_that_ended_is_taken_over_as_unanswered(ledger: Ledger) -> None:
    """
    The new claim has a higher fence and knows since when it may have been sent; the old attempt is closed.
    """
    accept(ledger, "d1")
    claimed(ledger)

    later = START + LEASE
    claim = claimed(ledger, later)

    assert (claim.fence, claim.attempt, claim.attempts_used) == (2, 2, 1)
    assert (claim.unanswered, claim.doubts) == (START, 1)
    first, second = shown(ledger).attempts
    assert (first.ended_at, first.outcome, first.reason) == (later, "ambiguous", "no-answer")
    assert (second.started_at, second.ended_at) == (later, None)


def test_doubt_lasts_from_its_first_moment(ledger: Ledger) -> None:
    """
    However many attempts got no answer, a look for the run begins at the first of them.
    """
    accept(ledger, "d1")
    ledger.record(claimed(ledger), Wait(START + SECOND), RESET.outcome, START)
    claimed(ledger, START + SECOND)
    now = START + SECOND + LEASE
    for outcome in (RESET.outcome, UNREACHABLE.outcome):
        ledger.record(claimed(ledger, now), Wait(now + SECOND), outcome, now)
        now += SECOND
    claim = claimed(ledger, now)

    assert (claim.unanswered, claim.doubts, claim.attempts_used) == (START, 3, 4)


def test_what_surely_did_not_arrive_leaves_no_doubt(ledger: Ledger) -> None:
    """
    After a refused connection nothing needs to be looked for.
    """
    accept(ledger, "d1")
    ledger.record(claimed(ledger), Wait(START + SECOND), UNREACHABLE.outcome, START)

    claim = claimed(ledger, START + SECOND)
    assert (claim.unanswered, claim.doubts, claim.attempts_used, claim.attempt) == (None, 0, 1, 2)


def test_a_wait_that_was_asked_for_uses_no_attempt(ledger: Ledger) -> None:
    """
    It is an attempt in the log, not in the count.
    """
    accept(ledger, "d1")
    until = START + 90 * SECOND
    ledger.record(claimed(ledger), Wait(until, counts=False), BUSY.outcome, START)

    assert claimed(ledger, until).attempts_used == 0
    assert len(shown(ledger).attempts) == 2


# --- the fence


@pytest.mark.parametrize("act", ["record", "renew", "mark"])
def test_a_late_claimant_changes_nothing(ledger: Ledger, act: str) -> None:
    """
    Whoever lost the lease may neither record, nor hold on, nor mark: what happened since stays.
    """
    accept(ledger, "d1")
    late = claimed(ledger)
    claimed(ledger, START + LEASE)
    before = ledger.delivery("d1")

    acts: dict[str, Callable[[], object]] = {
        "record": lambda: ledger.record(late, Dead("late", "late"), GONE.outcome, START + LEASE),
        "renew": lambda: ledger.renew(late, START + LEASE, LEASE),
        "mark": lambda: ledger.mark_possibly_duplicated(late),
    }
    with pytest.raises(LostLeaseError, match=r"dispatch d1-1: its lease ended"):
        acts[act]()

    assert ledger.delivery("d1") == before


def test_a_claim_that_was_recorded_is_over(ledger: Ledger) -> None:
    """
    The same result twice is not two results.
    """
    accept(ledger, "d1")
    claim = send(ledger)

    with pytest.raises(LostLeaseError):
        ledger.record(claim, Dead("late", "late"), GONE.outcome, START)

    assert shown(ledger).state is DispatchState.SENT


def test_an_ended_lease_that_nobody_took_is_still_ours(ledger: Ledger) -> None:
    """
    Late but alone: the answer of the server is worth more than the clock.
    """
    accept(ledger, "d1")
    ledger.record(claimed(ledger), Sent(), TAKEN.outcome, START + 10 * LEASE)

    assert shown(ledger).state is DispatchState.SENT


def test_a_renewed_lease_runs_longer(ledger: Ledger) -> None:
    """
    A slow server costs nobody the claim as long as we live (D2).
    """
    accept(ledger, "d1")
    claim = claimed(ledger)
    renewed = ledger.renew(claim, START + 50 * SECOND, LEASE)

    assert renewed.lease_until == START + 50 * SECOND + LEASE
    assert ledger.claim(START + LEASE, LEASE) is None
    ledger.record(claim, Sent(), TAKEN.outcome, START + LEASE)


def test_the_lease_of_a_second_death_in_a_row_is_kept(ledger: Ledger) -> None:
    """
    A process that dies again and again, for a reason of its own, condemns no dispatch within seconds.
    """
    accept(ledger, "d1")
    claimed(ledger)
    ledger.release_leases()
    claimed(ledger)

    assert ledger.release_leases() == 0
    assert ledger.claim(START, LEASE) is None
    assert claimed(ledger, START + LEASE).unanswered == START


def test_leases_of_a_dead_process_end_at_once(ledger: Ledger) -> None:
    """
    Who has the ledger alone need not wait for what its predecessor held; it counts as unanswered.
    """
    accept(ledger, "d1")
    accept(ledger, "d2", repository="acme/other")
    old = claimed(ledger)

    assert ledger.release_leases() == 1

    claim = claimed(ledger)
    assert (claim.dispatch.id, claim.unanswered, claim.fence) == ("d1-1", START, 2)
    with pytest.raises(LostLeaseError):
        ledger.record(old, Sent(), TAKEN.outcome, START)


# --- record


@pytest.mark.parametrize(
    ("decision", "outcome", "state", "reason"),
    [
        (Sent(), replace(TAKEN.outcome, run_url="https://github.example/r/1"), DispatchState.SENT, "sent"),
        (Wait(START + SECOND), UNREACHABLE.outcome, DispatchState.PENDING, "unreachable"),
        (Dead("gave-up", "a day is over"), UNREACHABLE.outcome, DispatchState.DEAD, "gave-up"),
    ],
    ids=["sent", "wait", "dead"],
)
def test_each_end_of_an_attempt_is_told(
    ledger: Ledger, decision: Sent | Wait | Dead, outcome: Outcome, state: DispatchState, reason: str
) -> None:
    """
    The attempt has its answer, the dispatch its state and why.
    """
    accept(ledger, "d1")
    ledger.record(claimed(ledger), decision, outcome, START + SECOND)

    record = shown(ledger)
    assert (record.state, record.reason, record.attempts_used) == (state, reason, 1)
    assert record.detail == (decision.detail if isinstance(decision, Dead) else outcome.detail)
    assert record.run_url == outcome.run_url
    assert record.next_attempt_at == (decision.until if isinstance(decision, Wait) else None)
    assert record.attempts == (
        AttemptRecord(
            1,
            START,
            START + SECOND,
            outcome.kind.value,
            outcome.reason,
            outcome.detail,
            outcome.status,
        ),
    )
    assert ledger.open_count() == (1 if state is DispatchState.PENDING else 0)


def test_the_mark_of_a_possible_double_stays(ledger: Ledger) -> None:
    """
    Written before the second sending, told ever after.
    """
    accept(ledger, "d1")
    claim = claimed(ledger)
    ledger.mark_possibly_duplicated(claim)
    ledger.record(claim, Sent(), TAKEN.outcome, START)

    assert shown(ledger).possibly_duplicated


# --- when next


def test_when_to_look_next(ledger: Ledger) -> None:
    """
    The earliest moment at which something can be claimed: nothing, now, the retry, or the lease's end.
    """
    moments = [ledger.next_due(START)]
    accept(ledger, "d1", "d2")
    moments.append(ledger.next_due(START))
    claim = claimed(ledger)
    moments.append(ledger.next_due(START))
    ledger.record(claim, Wait(START + 5 * SECOND), UNREACHABLE.outcome, START)
    moments.append(ledger.next_due(START))
    send(ledger, START + 5 * SECOND)
    moments.append(ledger.next_due(START))

    assert moments == [None, START, START + LEASE, START + 5 * SECOND, START]


# --- listing


def test_deliveries_are_listed_newest_first_page_by_page(ledger: Ledger) -> None:
    """
    The last id of a page is where the next begins.
    """
    accept(ledger, *[f"d{number}" for number in range(5)])

    first = [record.id for record in ledger.deliveries(limit=2)]
    second = [record.id for record in ledger.deliveries(limit=2, before=first[-1])]
    third = [record.id for record in ledger.deliveries(limit=2, before=second[-1])]

    assert (first, second, third) == (["d4", "d3"], ["d2", "d1"], ["d0"])
    assert ledger.deliveries(before="d0") == []
    assert all(len(record.dispatches) == 1 for record in ledger.deliveries())


def test_a_delivery_is_found_by_the_beginning_of_its_id(ledger: Ledger) -> None:
    """
    As in git: enough of it to be the only one.
    """
    accept(ledger, "abc1", "abd2", "ab", "x_1", "xy2")

    assert ledger.delivery("abc").id == "abc1"
    assert ledger.delivery("ab").id == "ab"
    assert ledger.delivery("x_").id == "x_1"
    with pytest.raises(NoSuchDeliveryError, match="more than one delivery has an id that begins with 'a'"):
        ledger.delivery("a")


@pytest.mark.parametrize("prefix", ["q", "ABC", "%", "_", "abc12"])
def test_what_no_id_begins_with_is_not_found(ledger: Ledger, prefix: str) -> None:
    """
    No pattern, no other case, nothing longer.
    """
    accept(ledger, "abc1")

    with pytest.raises(NoSuchDeliveryError, match="no delivery has an id"):
        ledger.delivery(prefix)


def rejection(number: int) -> Rejection:
    return Rejection(START + number * SECOND, "wandb", "192.0.2.9", f"reason-{number}", 401)


def test_the_newest_rejections_are_kept(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A flood of bad signatures leaves a bounded trace.
    """
    monkeypatch.setattr(accepts, "REJECTIONS_KEPT", 10)
    for number in range(25):
        ledger.note_rejection(rejection(number))
        if number % 7 == 0:
            until_kept(ledger, number)
    until_kept(ledger, 24)

    assert ledger.rejections(100) == [rejection(number) for number in range(24, 14, -1)]
    assert ledger.rejections(1) == [rejection(24)]


def until_kept(ledger: Ledger, number: int) -> None:
    """Wait until the trace of that rejection is there; it is written soon, not at once."""
    for _ in range(10_000):
        if rejection(number) in ledger.rejections(1):
            return
        threading.Event().wait(0.001)
    pytest.fail("the trace was not kept")


def test_a_rejection_never_harms_its_caller(ledger: Ledger) -> None:
    """
    Not even when the ledger cannot be written at all.
    """
    ledger.close()

    ledger.note_rejection(rejection(1))


# --- the database itself


def test_a_check_writes_for_real(ledger: Ledger) -> None:
    """
    Readiness is a write that was committed, and fails when writing does.
    """
    ledger.check_writable()
    ledger._writes.run(lambda connection: connection.execute(text("DROP TABLE meta")).rowcount)

    with pytest.raises(LedgerError):
        ledger.check_writable()


def test_a_ledger_is_looked_at_without_being_made(sqlite_url: str, tmp_path: Path) -> None:
    """
    A mistyped name finds nothing, makes nothing and says so.
    """
    with pytest.raises(LedgerError, match=r"handoff\.db: there is no ledger"):
        Ledger.read_only(sqlite_url)

    assert list(tmp_path.iterdir()) == []


def test_a_ledger_is_looked_at_while_it_is_in_use(ledger: Ledger, database_url: str) -> None:
    """
    The command that lists sees what is committed, and can write nothing.
    """
    accept(ledger, "d1")

    with Ledger.read_only(database_url) as other:
        assert other.deliveries() == ledger.deliveries()
        with pytest.raises(LedgerError, match="read only"):
            accept(other, "d2")


def plans(ledger: Ledger, work: Callable[[], object]) -> list[str]:
    """Return how the database runs each query of that work, where it would rather use an index than not."""
    run: list[tuple[str, Any]] = []
    engines = (ledger._reads, ledger._writes._engine)  # type: ignore[attr-defined]
    for engine in set(engines):
        listen(engine, "before_cursor_execute", lambda *args: run.append((args[2], args[3])))
    work()
    asked = [query for query in run if query[0].lstrip().startswith(("SELECT", "UPDATE", "WITH"))]
    explain = "EXPLAIN QUERY PLAN" if ledger.one_process else "EXPLAIN"
    found = []
    with ledger._reads.connect() as reader:
        if not ledger.one_process:
            reader.exec_driver_sql("SET enable_seqscan = off")
        for sql, parameters in asked:
            found += [row[-1] for row in reader.exec_driver_sql(f"{explain} {sql}", parameters)]
    return found


def test_a_claim_reads_nothing_that_has_ended(database_url: str) -> None:
    """
    Each query of a claim and its record finds its rows through an index of what is open, or by a key;
    nothing is scanned, so a million ended dispatches cost it nothing.
    """
    with Ledger.open(database_url, budget=Budget.parse("10/s,80/m")) as ledger:
        accept(ledger, "d1", overtakes=True)

        def work() -> None:
            claim = claimed(ledger)
            ledger.next_due(START)
            ledger.record(claim, Wait(START + SECOND), UNREACHABLE.outcome, START)
            send(ledger, START + SECOND)
            assert ledger.claim(START + SECOND, LEASE) is None
            ledger.mend(START)
            ledger.dead()
            ledger.redeliver("d1", now=START, force=True)

        found = plans(ledger, work)

    # Scanned is only what the queries make themselves, which is small, and indexes in their order.
    own = (
        "repositories",
        "lanes",
        "heads",
        "unpaused",
        "candidates",
        "due_first",
        "(subquery",
        "CONSTANT ROW",
        "pauses",
    )
    scans = [line for line in found if "SCAN " in line and " INDEX " not in line]
    assert [line for line in scans if not line.split("SCAN ")[1].startswith((*own, "pauses"))] == []
    assert [line for line in found if "Seq Scan" in line and "on pauses" not in line] == []
    assert len(found) > 20
