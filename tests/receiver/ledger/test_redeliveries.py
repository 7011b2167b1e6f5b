"""What a person has sent anew, or not at all; on SQLite and on PostgreSQL."""

from __future__ import annotations

from datetime import timedelta

import pytest

from receiver.delivery import ByHand, DispatchRecord, DispatchState
from receiver.dispatch import Claim, DispatchKind, Outcome, OutcomeKind
from receiver.ledger import Ledger
from receiver.ledger.records import NoSuchDeliveryError
from receiver.ledger.redeliveries import NotDismissedError, NotRedeliveredError
from receiver.retry import Dead, Decision, Ended, Sent, Wait
from tests.receiver.fakes import GONE, LEASE, RESET, START, TAKEN, UNREACHABLE, delivery, dispatch

NOW = START + timedelta(hours=1)
DEAD, PENDING, SENT = DispatchState.DEAD, DispatchState.PENDING, DispatchState.SENT


def one(ledger: Ledger, name: str = "d1") -> DispatchRecord:
    (record,) = ledger.delivery(name).dispatches
    return record


def ended(ledger: Ledger, decision: Decision, outcome: Outcome, times: int = 1) -> None:
    """Accept one and have its attempts come to that."""
    ledger.accept(delivery("d1"), [dispatch("d1")])
    for number in range(times):
        claim = ledger.claim(START, LEASE)
        assert claim is not None
        last = number == times - 1
        ledger.record(claim, decision if last else Wait(START), outcome, START)


def again(ledger: Ledger) -> Claim:
    claim = ledger.claim(NOW, LEASE)
    assert claim is not None
    return claim


def test_what_is_dead_is_sent_again_with_its_key(ledger: Ledger) -> None:
    """
    Now, with all its attempts before it and three new days; the redelivery shows.
    """
    ended(ledger, Dead("github-404", "gone"), GONE.outcome)
    key = one(ledger).key

    told = ledger.redeliver("d1", now=NOW)

    assert told == [ByHand("d1-1", DEAD, "is sent again now, with the same key", changes=True)]
    assert (one(ledger).state, one(ledger).redeliveries, one(ledger).next_attempt_at) == (PENDING, 1, NOW)
    claim = again(ledger)
    assert (claim.dispatch.key, claim.attempts_used, claim.attempt, claim.unanswered) == (key, 0, 2, None)
    assert (claim.open_since, claim.dispatch.accepted_at) == (NOW, START)
    ledger.record(claim, Sent(), TAKEN.outcome, NOW)
    assert one(ledger).state is SENT


def test_a_redelivery_wakes_the_dispatcher(ledger: Ledger) -> None:
    """
    It goes at once, not with the next look.
    """
    ended(ledger, Dead("github-404", "gone"), GONE.outcome)
    woken: list[bool] = []
    ledger.subscribe(lambda: woken.append(True))
    ledger.redeliver("d1", now=NOW)

    assert woken


def test_of_many_doubts_one_is_kept(ledger: Ledger) -> None:
    """
    Its run is looked for first, since the first attempt that may have arrived; and it may be resent.
    """
    ended(ledger, Dead("gave-up", "no answer"), RESET.outcome, times=4)

    (told,) = ledger.redeliver("d1", now=NOW)

    assert told.will.endswith("unless its run is found: an earlier attempt may have arrived")
    claim = again(ledger)
    assert (claim.doubts, claim.unanswered) == (1, START)


def test_force_skips_the_look_and_marks_it(ledger: Ledger) -> None:
    """
    Who forces it may build twice, and the ledger says so.
    """
    ended(ledger, Dead("gave-up", "no answer"), RESET.outcome, times=2)

    (told,) = ledger.redeliver("d1", now=NOW, force=True)

    assert "without a look for the run" in told.will
    assert (again(ledger).doubts, again_unanswered(ledger)) == (0, None)
    assert one(ledger).possibly_duplicated


def again_unanswered(ledger: Ledger) -> object:
    claim = ledger.claim(NOW + LEASE, LEASE)
    assert claim is not None
    return None if claim.unanswered == NOW else claim.unanswered


def test_what_waits_for_a_retry_is_sent_once_and_now(ledger: Ledger) -> None:
    """
    A redelivery while an automatic retry is pending is one sending, not two; what it used stays used.
    """
    ended(ledger, Wait(NOW + timedelta(hours=5)), UNREACHABLE.outcome)

    (told,) = ledger.redeliver("d1", now=NOW)

    assert told.will == "is sent now instead of later"
    claim = again(ledger)
    assert claim.attempts_used == 1
    ledger.record(claim, Sent(), TAKEN.outcome, NOW)
    assert ledger.claim(NOW + timedelta(days=1), LEASE) is None


def test_what_is_being_sent_is_left_alone(ledger: Ledger) -> None:
    """
    Forced or not: it says what to do.
    """
    ended(ledger, Wait(START), UNREACHABLE.outcome)
    held = ledger.claim(START, LEASE)
    assert held is not None

    for force in (False, True):
        with pytest.raises(NotRedeliveredError, match="d1-1 is being sent just now: wait until"):
            ledger.redeliver("d1", now=NOW, force=force)
    ledger.record(held, Sent(), TAKEN.outcome, NOW)


@pytest.mark.parametrize("state", ["sent", "superseded"])
def test_what_was_sent_or_superseded_needs_force(ledger: Ledger, state: str) -> None:
    """
    It would start another build, and says so; then it does.
    """
    if state == "sent":
        ended(ledger, Sent(), TAKEN.outcome)
    else:
        ended(ledger, Wait(START), UNREACHABLE.outcome)
        ledger.accept(delivery("d2"), [dispatch("d2", overtakes=True)])
        ledger.redeliver("d2-1", now=NOW)
        newer = ledger.claim(NOW, LEASE)
        assert newer is not None
        ledger.record(newer, Sent(), TAKEN.outcome, NOW)
    before = one(ledger)
    assert before.state.value == state

    with pytest.raises(NotRedeliveredError, match="only with force is it sent again, and starts"):
        ledger.redeliver("d1", now=NOW)
    assert one(ledger) == before

    (told,) = ledger.redeliver("d1", now=NOW, force=True)
    assert "starts another build" in told.will
    assert again(ledger).dispatch.id == "d1-1"


def test_of_a_delivery_only_what_needs_it_is_sent_again(ledger: Ledger) -> None:
    """
    One dispatch was sent, one is dead: the first stays as it is, and the answer says why.
    """
    planned = [dispatch("d1"), dispatch("d1", number=2, repository="acme/other")]
    ledger.accept(delivery("d1"), planned)
    for decision, answer in ((Sent(), TAKEN), (Dead("github-404", "gone"), GONE)):
        claim = ledger.claim(START, LEASE)
        assert claim is not None
        ledger.record(claim, decision, answer.outcome, START)

    told = ledger.redeliver("d1", now=NOW)

    assert [(redelivery.was, redelivery.changes) for redelivery in told] == [(SENT, False), (DEAD, True)]
    assert [record.state for record in ledger.delivery("d1").dispatches] == [SENT, PENDING]


def test_telling_changes_nothing(ledger: Ledger, database_url: str) -> None:
    """
    What would happen is told first, in the same words, to who may only look as well.
    """
    ended(ledger, Dead("github-404", "gone"), GONE.outcome)
    before = ledger.delivery("d1")

    with Ledger.read_only(database_url) as looking:
        told = looking.redeliver("d1", now=NOW, only_tell=True)

    assert ledger.delivery("d1") == before
    assert ledger.redeliver("d1", now=NOW) == told


def test_ids_are_found_by_how_they_begin(ledger: Ledger) -> None:
    """
    A delivery's before a dispatch's; more than one or none is an error that changes nothing.
    """
    for name in ("abc1", "abd2"):
        ledger.accept(delivery(name), [dispatch(name), dispatch(name, number=2, repository="acme/other")])
    ledger.accept(delivery("empty"), [])

    assert [told.dispatch_id for told in ledger.redeliver("abc", now=NOW)] == ["abc1-1", "abc1-2"]
    assert [told.dispatch_id for told in ledger.redeliver("abd2-2", now=NOW)] == ["abd2-2"]
    with pytest.raises(NoSuchDeliveryError, match="more than one id begins with 'ab'"):
        ledger.redeliver("ab", now=NOW)
    with pytest.raises(NoSuchDeliveryError, match="more than one id begins with 'abc1-'"):
        ledger.redeliver("abc1-", now=NOW)
    with pytest.raises(NoSuchDeliveryError, match=r"no delivery and no dispatch has an id .* 'x'"):
        ledger.redeliver("x", now=NOW)
    with pytest.raises(NotRedeliveredError, match="delivery empty has nothing to send"):
        ledger.redeliver("empty", now=NOW)


def test_what_killed_its_senders_gets_three_more(ledger: Ledger) -> None:
    """
    The count of crashes begins anew with a redelivery.
    """
    ledger.accept(delivery("d1"), [dispatch("d1")])
    for number in range(3):
        assert ledger.claim(START + number * LEASE, LEASE) is not None
    assert ledger.claim(START + 3 * LEASE, LEASE) is None
    assert one(ledger).reason == "crashed"

    ledger.redeliver("d1", now=NOW)
    claims = [ledger.claim(NOW + number * LEASE, LEASE) for number in range(4)]

    assert [claim and claim.doubts for claim in claims] == [1, 2, 3, None]


def test_an_answer_starts_the_count_of_crashes_anew(ledger: Ledger) -> None:
    """
    Three in a row are one thing, three over a day of restarts another.
    """
    ledger.accept(delivery("d1"), [dispatch("d1")])
    now = START
    for _ in range(4):
        assert ledger.claim(now, LEASE) is not None
        now += LEASE
        claim = ledger.claim(now, LEASE)
        assert claim is not None
        ledger.record(claim, Wait(now), UNREACHABLE.outcome, now)
        now += timedelta(minutes=11)

    assert one(ledger).state is PENDING


def test_the_dead_and_the_unfinished_are_listed(ledger: Ledger) -> None:
    """
    Newest first, each delivery once, no other.
    """
    for name in ("a", "b", "c"):
        ledger.accept(
            delivery(name), [dispatch(name, repository=f"acme/{name}{n}", number=n) for n in (1, 2)]
        )
    for _ in range(4):
        claim = ledger.claim(START, LEASE)
        assert claim is not None
        ledger.record(claim, Dead("github-404", "gone"), GONE.outcome, START)

    assert [record.id for record in ledger.dead()] == ["b", "a"]
    assert [len(record.dispatches) for record in ledger.dead()] == [2, 2]
    assert [record.id for record in ledger.dead(1)] == ["b"]
    assert [record.id for record in ledger.unfinished()] == ["c"]


@pytest.mark.parametrize("kind", DispatchKind, ids=lambda kind: kind.value)
def test_any_kind_is_sent_anew(ledger: Ledger, kind: DispatchKind) -> None:
    """
    A notice by its own id, for who redelivers a delivery means what was sent for it.
    """
    ledger.accept(delivery(), [dispatch(kind=kind)])
    claim = ledger.claim(START, LEASE)
    assert claim is not None
    ledger.record(claim, Dead("gone", "gone"), GONE.outcome, START)
    if kind is DispatchKind.NOTICE:
        with pytest.raises(NotRedeliveredError, match="has nothing to send"):
            ledger.redeliver("d1", now=NOW)

    (told,) = ledger.redeliver("d1-1", now=NOW)

    assert told.changes
    assert again(ledger).dispatch.kind is kind


@pytest.mark.parametrize("state", [DispatchState.OUTDATED, DispatchState.UNWANTED], ids=lambda s: s.value)
def test_what_no_longer_held_needs_force_and_is_asked_about_anew(
    ledger: Ledger, state: DispatchState
) -> None:
    """
    Force never sends what W&B does not confirm: the question is still there.
    """
    question = {"about": "v3"}
    ledger.accept(delivery(), [dispatch(question=question)])
    claim = ledger.claim(START, LEASE)
    assert claim is not None
    outcome = Outcome(OutcomeKind(state.value), "outdated", "the alias moved")
    ledger.record(claim, Ended(state, "outdated", "the alias moved"), outcome, START)
    with pytest.raises(NotRedeliveredError, match=r"only with force .* asks W&B anew"):
        ledger.redeliver("d1", now=NOW)

    (told,) = ledger.redeliver("d1", now=NOW, force=True)

    assert "asks W&B anew" in told.will
    assert again(ledger).dispatch.question == question


@pytest.mark.parametrize("force", [False, True])
def test_what_can_never_be_sent_is_not_redelivered(ledger: Ledger, *, force: bool) -> None:
    """
    There is no message: its route has to be mended, and the promotion to come anew.
    """
    ledger.accept(delivery(), [dispatch(unsendable="repository: got 'x', want owner/name")])

    with pytest.raises(NotRedeliveredError, match=r"can never be sent as it is \(repository: got 'x'"):
        ledger.redeliver("d1", now=NOW, force=force)
    assert ledger.delivery("d1").dispatches[0].state is DispatchState.DEAD


def test_what_is_dead_can_be_dismissed(ledger: Ledger) -> None:
    """
    It is dead no more, still tells why it was, and can be sent after all.
    """
    ended(ledger, Dead("github-404", "gone"), GONE.outcome)

    told = ledger.dismiss("d1", now=NOW)

    assert told == [ByHand("d1-1", DEAD, "is dismissed: it stays unsent, and counts as dead no more", True)]
    assert ledger.dead() == []
    assert (one(ledger).state, one(ledger).reason) == (DispatchState.DISMISSED, "github-404")
    assert ledger.claim(NOW, LEASE) is None
    ledger.redeliver("d1", now=NOW)
    assert again(ledger).dispatch.id == "d1-1"


def test_what_waits_can_be_dismissed_and_lets_the_next_go(ledger: Ledger) -> None:
    """
    It is not sent; what came behind it in its lane goes at once.
    """
    ended(ledger, Wait(NOW + timedelta(days=1)), UNREACHABLE.outcome)
    ledger.accept(delivery("d2"), [dispatch("d2")])
    assert ledger.claim(NOW, LEASE) is None
    woken: list[bool] = []
    ledger.subscribe(lambda: woken.append(True))

    assert [each.will for each in ledger.dismiss("d1", now=NOW)] == ["is dismissed, and is not sent"]

    assert woken
    assert (one(ledger).state, one(ledger).reason) == (DispatchState.DISMISSED, "dismissed")
    assert again(ledger).dispatch.id == "d2-1"


def test_an_attempt_that_may_have_arrived_is_told_of(ledger: Ledger) -> None:
    """
    Who dismisses it should know that it may run all the same.
    """
    ended(ledger, Wait(NOW), RESET.outcome)

    (told,) = ledger.dismiss("d1", now=NOW, only_tell=True)

    assert told.will == "is dismissed, and is not sent; an earlier attempt may have arrived"
    assert one(ledger).state is PENDING


def test_a_notice_is_dismissed_with_its_delivery(ledger: Ledger) -> None:
    """
    One that no channel took would otherwise raise the alarm until it is pruned.
    """
    notice = dispatch("d1", number=2, kind=DispatchKind.NOTICE, repository="channel:ml", lane="ml")
    ledger.accept(delivery("d1"), [dispatch("d1"), notice])
    for _ in range(2):
        claim = ledger.claim(START, LEASE)
        assert claim is not None
        ledger.record(claim, Dead("gone", "gone"), GONE.outcome, START)

    assert len(ledger.dismiss("d1", now=NOW)) == 2
    assert ledger.dead() == []


@pytest.mark.parametrize(
    ("decision", "why"),
    [(Sent(), "is sent: there is nothing to dismiss"), (None, "is being sent just now")],
)
def test_what_cannot_be_dismissed(ledger: Ledger, decision: Decision | None, why: str) -> None:
    """
    What is sent, or just being sent, stays as it is.
    """
    if decision is None:
        ledger.accept(delivery("d1"), [dispatch("d1")])
        ledger.claim(START, LEASE)
    else:
        ended(ledger, decision, TAKEN.outcome)
    before = one(ledger)

    with pytest.raises(NotDismissedError, match=why):
        ledger.dismiss("d1", now=NOW)

    assert one(ledger) == before
