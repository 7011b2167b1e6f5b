"""The runs that dispatches started; on SQLite and on PostgreSQL."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from receiver.delivery import DispatchRecord
from receiver.dispatch import DispatchKind, Outcome, OutcomeKind
from receiver.ledger import Ledger
from receiver.retry import Sent
from receiver.run import COMPLETED, NOT_SEEN, Look, Run, Watch, looked
from receiver.telling import Telling, after_look
from receiver.tracker import Watches
from tests.receiver.fakes import LEASE, START, TAKEN, delivery, dispatch

SECOND = timedelta(seconds=1)
KEY = "0123456789abcdef0123"
OTHER_KEY = "f" * 20
WITHIN = timedelta(minutes=2)
TELLING = Telling(
    {"run-finished": ("ml-slack",), "no-run": ("ml-slack",)},
    {"route": "deploy", "destination": "acme/deploy", "delivery": "d1", "artifact": "acme/reg/churn"},
).to_json()
QUEUED = Run(7, "https://github.example/runs/7", "queued", None, f"Deploy v3 {KEY}")
DONE = replace(QUEUED, status=COMPLETED, conclusion="success")


def send(ledger: Ledger, name: str = "d1", *, outcome: Outcome = TAKEN.outcome, **changes: Any) -> None:
    """Accept one whose run is followed, and send it."""
    values: dict[str, Any] = {"key": KEY, "run_within": WITHIN, "telling": TELLING}
    ledger.accept(delivery(name, slot=name), [dispatch(name, **{**values, **changes})])
    claim = ledger.claim(START, LEASE)
    assert claim is not None
    assert claim.dispatch.id == f"{name}-1"
    ledger.record(claim, Sent(), outcome, START)


def watch(ledger: Ledger, now: datetime = START + timedelta(days=1)) -> Watch:
    """What is to be looked for then; left to be taken again."""
    (one,) = ledger.watches(now, 10)
    ledger.postpone_look(one, START)
    return one


def record(ledger: Ledger, name: str = "d1") -> DispatchRecord:
    return ledger.delivery(name).dispatches[0]


def told(ledger: Ledger, name: str = "d1") -> list[str]:
    """What the channels were told."""
    return [each.event_type for each in ledger.delivery(name).dispatches if each.about]


def test_the_ledger_is_what_the_tracker_wants(ledger: Ledger) -> None:
    """
    Every method, with the signature that it calls.
    """
    watches: Watches = ledger

    assert watches.next_look() is None
    assert list(watches.watches(START, 10)) == []


@pytest.mark.parametrize("kind", DispatchKind, ids=lambda kind: kind.value)
def test_a_run_is_looked_for_three_seconds_after_its_dispatch(ledger: Ledger, kind: DispatchKind) -> None:
    """
    Where GitHub starts one; whatever goes elsewhere starts none that could be seen.
    """
    send(ledger, kind=kind)
    github = kind in {DispatchKind.REPOSITORY_DISPATCH, DispatchKind.WORKFLOW_DISPATCH}

    due = START + 3 * SECOND if github else None
    assert ledger.next_look() == due
    assert ledger.watches(START + 3 * SECOND - timedelta(microseconds=1), 10) == []
    assert len(ledger.watches(START + 3 * SECOND, 10)) == github
    assert record(ledger).sent_at == START


def test_a_route_may_want_no_run_looked_for(ledger: Ledger) -> None:
    """
    Its dispatch is sent and that is all.
    """
    send(ledger, run_within=None)

    assert ledger.next_look() is None


def test_a_run_that_is_known_at_once_is_kept(ledger: Ledger) -> None:
    """
    GitHub may name it in its answer: it is followed by its id, not looked for.
    """
    outcome = Outcome(OutcomeKind.SENT, "sent", "200", run_url=QUEUED.url, facts={"run_id": 7})
    send(ledger, outcome=outcome, kind=DispatchKind.WORKFLOW_DISPATCH)

    assert watch(ledger).run == replace(QUEUED, title="")
    assert (record(ledger).run_id, record(ledger).run_url) == (7, QUEUED.url)


def test_watches_come_longest_due_first_and_no_more_than_wanted(ledger: Ledger) -> None:
    """
    Nobody's run is forgotten behind others'.
    """
    for name in ("d1", "d2", "d3"):
        send(ledger, name, repository=f"acme/{name}")
    first, second, third = ledger.watches(START + 3 * SECOND, 10)
    ledger.postpone_look(first, START + 9 * SECOND)
    ledger.postpone_look(second, START + 4 * SECOND)
    ledger.postpone_look(third, START + 5 * SECOND)

    found = [each.dispatch.id for each in ledger.watches(START + 10 * SECOND, 2)]

    assert found == ["d2-1", "d3-1"]
    assert ledger.next_look() == START + 9 * SECOND


def test_what_one_receiver_looks_for_no_other_takes(ledger: Ledger) -> None:
    """
    Several receivers ask GitHub once; what somebody took and did not tell of is taken again after a while.
    """
    send(ledger)
    now = START + 3 * SECOND

    assert len(ledger.watches(now, 10)) == 1
    assert ledger.watches(now, 10) == []
    assert len(ledger.watches(now + 30 * SECOND, 10)) == 1


def test_a_look_is_written_down_with_its_notices(ledger: Ledger) -> None:
    """
    What is known, when to look again, and who hears of it; read back as it was.
    """
    send(ledger)
    now = START + 5 * SECOND
    seen = looked(watch(ledger), QUEUED, now)
    assert ledger.record_look(watch(ledger), seen, ())
    assert ledger.next_look() == seen.next_at
    assert watch(ledger) == Watch(
        watch(ledger).dispatch, START, replace(QUEUED, title=""), "queued", seen.looks
    )

    done = looked(watch(ledger), DONE, now)
    woken: list[bool] = []
    ledger.subscribe(lambda: woken.append(True))
    assert ledger.record_look(watch(ledger), done, after_look(watch(ledger).dispatch, done, now))

    its = record(ledger)
    assert (its.run_id, its.run_url, its.run_status, its.run_conclusion) == (
        7,
        DONE.url,
        COMPLETED,
        "success",
    )
    assert told(ledger) == ["run-finished"]
    assert woken
    assert ledger.next_look() is None


def test_a_run_that_nobody_saw_is_said_and_looked_for_a_while(ledger: Ledger) -> None:
    """
    It is not forgotten at once: GitHub may be late.
    """
    send(ledger)
    now = START + WITHIN
    missing = looked(watch(ledger), None, now)

    assert ledger.record_look(watch(ledger), missing, after_look(watch(ledger).dispatch, missing, now))

    assert (record(ledger).run_status, record(ledger).run_url) == (NOT_SEEN, None)
    assert told(ledger) == ["no-run"]
    assert watch(ledger).status == NOT_SEEN


@pytest.mark.parametrize("meanwhile", ["another-look", "webhook", "its-end", "redelivered"])
def test_a_look_changes_only_what_it_looked_at(ledger: Ledger, meanwhile: str) -> None:
    """
    Who comes second changes nothing and tells nobody: it is told once.
    """
    send(ledger)
    now = START + 5 * SECOND
    if meanwhile == "its-end":
        ledger.record_run("acme/deploy", QUEUED, START)
    late = watch(ledger)
    if meanwhile == "another-look":
        ledger.record_look(late, looked(late, None, now), ())
    elif meanwhile == "webhook":
        ledger.record_run("acme/deploy", QUEUED, now)
    elif meanwhile == "its-end":
        ledger.record_run("acme/deploy", DONE, now)
    else:
        ledger.redeliver("d1", now=now, force=True)
    before, heard = record(ledger), told(ledger)

    look = looked(late, DONE, now)
    assert not ledger.record_look(late, look, after_look(late.dispatch, look, now))
    ledger.postpone_look(late, now + timedelta(days=9))

    assert record(ledger) == before
    assert told(ledger) == heard
    assert ledger.next_look() != now + timedelta(days=9)


def test_what_is_postponed_without_end_is_looked_for_no_more(ledger: Ledger) -> None:
    """
    After days of answers that nobody can read.
    """
    send(ledger)
    ledger.postpone_look(watch(ledger), None)

    assert ledger.next_look() is None


# --- what GitHub tells by itself


def test_what_github_tells_is_written_down_and_told_once(ledger: Ledger) -> None:
    """
    By the key in the run's name, however often it tells.
    """
    send(ledger)
    now = START + 5 * SECOND

    ((before, look),) = ledger.record_run("acme/deploy", QUEUED, now)
    assert (before.status, look.status, told(ledger)) == (None, "queued", [])
    assert ledger.record_run("acme/deploy", QUEUED, now + SECOND) == []
    ((before, look),) = ledger.record_run("acme/deploy", DONE, now + SECOND)
    assert (before.status, look.status) == ("queued", COMPLETED)
    assert ledger.record_run("acme/deploy", DONE, now + 2 * SECOND) == []

    assert told(ledger) == ["run-finished"]
    assert record(ledger).run_conclusion == "success"
    assert ledger.next_look() is None


def test_what_has_ended_stays_ended(ledger: Ledger) -> None:
    """
    Webhooks come in any order: an earlier state that comes late is old news.
    """
    send(ledger)
    ledger.record_run("acme/deploy", DONE, START + SECOND)

    assert ledger.record_run("acme/deploy", QUEUED, START + 2 * SECOND) == []
    assert record(ledger).run_status == COMPLETED


def test_a_run_that_is_run_again_may_end_otherwise(ledger: Ledger) -> None:
    """
    The last conclusion counts; the channels heard that it ended, and hear nothing more.
    """
    send(ledger)
    ledger.record_run("acme/deploy", replace(DONE, conclusion="failure"), START + SECOND)

    assert len(ledger.record_run("acme/deploy", DONE, START + 2 * SECOND)) == 1
    assert record(ledger).run_conclusion == "success"
    assert told(ledger) == ["run-finished"]


def test_a_run_that_comes_late_is_taken_though_nobody_looks_any_more(ledger: Ledger) -> None:
    """
    It was said to be missing; it is there after all.
    """
    send(ledger)
    ledger.record_look(watch(ledger), Look(None, NOT_SEEN, 9, None), ())

    assert len(ledger.record_run("acme/deploy", QUEUED, START + timedelta(hours=3))) == 1
    assert record(ledger).run_status == "queued"


def test_another_workflow_that_shows_the_key_changes_nothing(ledger: Ledger) -> None:
    """
    The first run that was seen is the one that is followed.
    """
    send(ledger)
    ledger.record_run("acme/deploy", QUEUED, START + SECOND)

    assert ledger.record_run("acme/deploy", replace(DONE, id=8), START + SECOND) == []
    assert record(ledger).run_id == 7


@pytest.mark.parametrize(
    ("repository", "title", "changes", "known"),
    [
        ("acme/deploy", KEY, {}, True),
        ("Acme/Deploy", KEY, {}, True),
        ("mallory/deploy", KEY, {}, False),
        ("acme/deploy", OTHER_KEY, {}, False),
        ("acme/deploy", "Deploy v3", {}, False),
        ("acme/deploy", f"{OTHER_KEY} {KEY}", {}, True),
        ("acme/deploy", KEY, {"run_within": None}, False),
    ],
    ids=["its-own", "capitals", "elsewhere", "other-key", "no-key", "two-keys", "not-followed"],
)
def test_a_run_belongs_to_the_dispatch_whose_key_it_shows(
    ledger: Ledger, repository: str, title: str, changes: dict[str, Any], *, known: bool
) -> None:
    """
    At its own repository, which GitHub may write in other capitals.
    """
    send(ledger, "d0", key="0" * 20, repository="zeta/last")
    send(ledger, **changes)

    found = ledger.record_run(repository, replace(QUEUED, title=title), START + SECOND)

    assert [before.dispatch.id for before, _ in found] == (["d1-1"] if known else [])


def test_what_was_not_sent_has_no_run(ledger: Ledger) -> None:
    """
    Whoever shows its key before it went knew it from elsewhere.
    """
    ledger.accept(delivery(), [dispatch(key=KEY, run_within=WITHIN)])

    assert ledger.record_run("acme/deploy", QUEUED, START) == []


def test_what_is_redelivered_is_followed_anew(ledger: Ledger) -> None:
    """
    What is known of the first run is not taken for the second's.
    """
    send(ledger, telling=None)
    ledger.record_run("acme/deploy", DONE, START + SECOND)
    ledger.record_report("d1", None, {"state": "deployed"})
    ledger.redeliver("d1", now=START + 9 * SECOND, force=True)

    its = record(ledger)
    known = (its.sent_at, its.run_id, its.run_url, its.run_status, its.run_conclusion, its.report)
    assert known == (None,) * 6
    claim = ledger.claim(START + 9 * SECOND, LEASE)
    assert claim is not None
    ledger.record(claim, Sent(), TAKEN.outcome, START + 9 * SECOND)
    assert watch(ledger) == Watch(claim.dispatch, START + 9 * SECOND, None, None, 0)
