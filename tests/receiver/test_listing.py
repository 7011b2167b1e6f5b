"""Deliveries as a person or a program reads them."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from receiver.delivery import AttemptRecord, DeliveryRecord, DispatchRecord, DispatchState
from receiver.dispatch import DispatchKind, Pause
from receiver.listing import overview, overview_json, whole, whole_json
from receiver.run import NO_RUN, NOT_SEEN
from tests.receiver.fakes import START

RUN = "https://github.example/runs/7"


def sent(number: int = 1, **changes: Any) -> DispatchRecord:
    record = DispatchRecord(
        id=f"d1-{number}",
        repository="acme/serving",
        event_type="BUILD",
        key="k",
        client_payload={},
        state=DispatchState.SENT,
        next_attempt_at=None,
        attempts_used=1,
        possibly_duplicated=False,
        reason="sent",
        detail=None,
        run_url=None,
        attempts=(AttemptRecord(1, START, START, "sent", "sent", "204", 204),),
        route="deploy",
    )
    return replace(record, **changes)


def notice(channel: str, what: str, state: DispatchState = DispatchState.SENT) -> DispatchRecord:
    return sent(
        id=f"d1-1-{channel}{what}",
        repository=f"notice:{channel}",
        event_type=what,
        kind=DispatchKind.NOTICE,
        about="d1-1",
        state=state,
        reason=state.value,
        detail="the channel is gone" if state is DispatchState.DEAD else "200",
    )


def received(*dispatches: DispatchRecord, **changes: Any) -> DeliveryRecord:
    record = DeliveryRecord(
        id="d1",
        source="wandb",
        received_at=START,
        address=None,
        encoding=None,
        body_sha256="00",
        event="ADD_ARTIFACT_ALIAS",
        fields={"artifact_version_string": "acme/reg/churn:v3", "alias": "production"},
        dispatches=dispatches,
        unrouted=not dispatches,
    )
    return replace(record, **changes)


HEAD = "d1  2026-03-01 12:00:00Z  ADD_ARTIFACT_ALIAS  acme/reg/churn:v3 (production)"


def test_a_dispatch_is_listed_with_its_route_its_run_and_who_was_told() -> None:
    """
    In a few lines: where it went, how its run ended, what was reported, and a notice that did not arrive.
    """
    dispatch = sent(
        run_url=RUN,
        run_status="completed",
        run_conclusion="success",
        report={"state": "deployed", "url": "https://model.example", "digest": "abc"},
    )
    notices = notice("chat", "accepted"), notice("chat", "run-finished", DispatchState.DEAD)

    assert overview([received(dispatch, *notices)]).splitlines() == [
        HEAD,
        "  → acme/serving BUILD by deploy: sent (1 attempt)",
        f"      run success {RUN}",
        "      reported deployed https://model.example",
        "      told chat: accepted, chat: run-finished (dead)",
    ]


def test_one_delivery_shows_all_of_it() -> None:
    """
    Each notice under its dispatch, and why one did not arrive.
    """
    dispatch = sent(
        run_url=RUN,
        run_status="in_progress",
        report={"state": "failed", "problem": "no room"},
        kind=DispatchKind.WORKFLOW_DISPATCH,
        event_type="evaluate.yml",
    )
    told = whole(received(dispatch, notice("chat", "failed", DispatchState.DEAD), sent(2), reconciled=True))

    assert told.partition("production\n")[2].splitlines() == [
        "reconciled  no webhook told it: it was found by comparing with W&B",
        "",
        "dispatch    acme/serving evaluate.yml by deploy: sent (1 attempt)",
        "kind        workflow_dispatch",
        "key         k",
        f"run         in_progress {RUN}",
        "report      failed",
        "  problem: no room",
        "  attempt 1  2026-03-01 12:00:00Z  sent 204  sent: 204",
        "notice      chat: failed: dead (1 attempt)",
        "            the channel is gone",
        "",
        "dispatch    acme/serving BUILD by deploy: sent (1 attempt)",
        "key         k",
        "  attempt 1  2026-03-01 12:00:00Z  sent 204  sent: 204",
    ]


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"run_status": NOT_SEEN}, "no run was seen"),
        ({"run_url": RUN}, f"run {RUN}"),
        ({"run_status": "queued"}, "run queued"),
        ({"run_status": "completed", "run_conclusion": "failure", "run_url": RUN}, f"run failure {RUN}"),
    ],
    ids=["not-seen", "url-only", "queued", "failure"],
)
def test_a_run_is_told_as_far_as_it_is_known(changes: dict[str, Any], line: str) -> None:
    """
    And a run that nobody saw, with the usual causes where there is room.
    """
    dispatch = sent(**changes)
    longer = NO_RUN if line.startswith("no run") else line.removeprefix("run ")

    assert f"      {line}\n" in overview([received(dispatch)])
    assert f"run         {longer}\n" in whole(received(dispatch))


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ({"route": None}, "acme/serving BUILD:"),
        ({"route": "default"}, "acme/serving BUILD:"),
        ({"route": "modal", "repository": "post:modal", "event_type": "POST"}, "post:modal POST:"),
        ({"event_type": ""}, "acme/serving by deploy:"),
    ],
    ids=["none", "the-only-one", "in-its-destination", "unsendable"],
)
def test_a_route_is_named_where_it_says_more(changes: dict[str, Any], where: str) -> None:
    """
    Nobody without routes reads of any.
    """
    assert f"  → {where} sent" in overview([received(sent(**changes))])


def test_what_no_route_wants_is_said() -> None:
    """
    It is not lost, and nobody looks for its dispatch.
    """
    assert overview([received()]).splitlines() == [HEAD, "  unrouted"]
    assert "unrouted    no route wants it: nothing is sent\n" in whole(received())


def test_what_was_reconciled_is_marked() -> None:
    """
    Beside how often it was told later.
    """
    told = overview([received(sent(), reconciled=True, repeats=2)])

    assert f"{HEAD}, reconciled, repeated 2 times\n" in told


def test_pauses_say_whose_they_are() -> None:
    """
    GitHub's, one that keeps failing, one that asked for patience.
    """
    until = START + timedelta(hours=1)
    paused = [
        Pause("*", until, 1, "rate-limited"),
        Pause("acme/serving", until, 5, "github-502"),
        Pause("notice:chat", until, 0, "rate-limited"),
    ]
    when = "until 2026-03-01 13:00:00Z"

    assert overview([], pauses=paused).splitlines()[-3:] == [
        f"  GitHub  {when}  rate-limited: GitHub asked us to wait",
        f"  acme/serving  {when}  github-502: failed 5 times in a row, then one is tried",
        f"  notice:chat  {when}  rate-limited: it asked us to wait",
    ]


def test_a_program_gets_all_of_it() -> None:
    """
    Kinds and moments as text, notices with what they are about.
    """
    record = received(sent(sent_at=START, run_id=7), notice("chat", "accepted"))
    (told,) = json.loads(overview_json([record]))["deliveries"]

    assert told == json.loads(whole_json(record))
    first, second = told["dispatches"]
    assert (first["kind"], first["route"], first["run_id"]) == ("repository_dispatch", "deploy", 7)
    assert first["sent_at"].startswith("2026-03-01T12:00:00")
    assert (second["kind"], second["about"]) == ("notice", "d1-1")
    assert (told["reconciled"], told["unrouted"]) == (False, False)


def test_nothing_from_outside_moves_the_cursor() -> None:
    """
    A job may report what it likes: it stays in its line.
    """
    told = whole(received(sent(report={"state": "deployed\x1b[2J\nforged", "url": "a\rb"})))

    assert "\x1b" not in told
    assert "\nforged" not in told
    assert "\r" not in told
