"""Who hears what is planned with the dispatch, and each of them hears it as a dispatch of its own."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime, timezone

import pytest

from receiver.dispatch import Dispatch, DispatchKind, Outcome, OutcomeKind
from receiver.event import RegistryEvent, read_event
from receiver.notice import Notice, What
from receiver.run import COMPLETED, NOT_SEEN, Look, Run
from receiver.telling import Telling, after_attempt, after_look

NOW = datetime(2026, 11, 20, 12, tzinfo=timezone.utc)
CHANNELS = {"ml-slack": ("accepted", "failed", "run-finished"), "ml-teams": ("failed",)}
DISPATCH = Dispatch(
    id="01D-1",
    delivery_id="01D",
    repository="acme/serving",
    event_type="BUILD",
    client_payload={},
    key="k",
    lane="l",
    accepted_at=NOW,
    route="deploy",
)


def told_dispatch() -> Dispatch:
    """The dispatch of a promotion, with its telling as the ledger keeps it."""
    body = {
        "event_type": "ADD_ARTIFACT_ALIAS",
        "artifact_version_string": "acme/wandb-registry-model/flower:v3",
        "alias": "production",
        "event_author": "ana",
    }
    event = read_event(json.dumps(body).encode())
    assert isinstance(event, RegistryEvent)
    telling = Telling.plan(CHANNELS, event, DISPATCH)
    assert telling is not None
    return replace(DISPATCH, telling=json.loads(json.dumps(telling.to_json())))


def outcome(kind: OutcomeKind) -> Outcome:
    """The end of an attempt."""
    return Outcome(kind, "some-reason", "the words of it")


@pytest.mark.parametrize(
    ("kind", "dead", "what", "channels"),
    [
        (OutcomeKind.SENT, False, What.ACCEPTED, ["notice:ml-slack"]),
        (OutcomeKind.REFUSED, True, What.FAILED, ["notice:ml-slack", "notice:ml-teams"]),
        (OutcomeKind.RETRY, True, What.FAILED, ["notice:ml-slack", "notice:ml-teams"]),
        (OutcomeKind.RETRY, False, None, []),
        (OutcomeKind.POSTPONED, False, None, []),
        (OutcomeKind.OUTDATED, False, What.OUTDATED, []),
    ],
)
def test_the_end_of_an_attempt_is_told_to_those_who_want_to_know(
    kind: OutcomeKind, *, dead: bool, what: What | None, channels: list[str]
) -> None:
    """
    Sent, dead and outdated are news; a retry is none.
    """
    notices = after_attempt(told_dispatch(), outcome(kind), dead=dead, now=NOW)

    assert [notice.repository for notice in notices] == channels
    assert {Notice.from_message(notice.client_payload).what for notice in notices} <= {what}


def test_a_notice_says_what_was_promoted_by_whom_and_why_it_failed() -> None:
    """
    A person needs no second look.
    """
    notices = after_attempt(told_dispatch(), outcome(OutcomeKind.REFUSED), dead=True, now=NOW)

    assert Notice.from_message(notices[0].client_payload) == Notice(
        what=What.FAILED,
        route="deploy",
        destination="acme/serving",
        delivery="01D",
        asked="BUILD",
        artifact="acme/wandb-registry-model/flower",
        version="v3",
        alias="production",
        author="ana",
        why="the words of it",
    )


def test_a_notice_is_a_dispatch_of_its_own() -> None:
    """
    It has its own key, so a second failure after a redelivery is told again, and nobody is told of a notice.
    """
    first = after_attempt(told_dispatch(), outcome(OutcomeKind.REFUSED), dead=True, now=NOW)
    second = after_attempt(told_dispatch(), outcome(OutcomeKind.REFUSED), dead=True, now=NOW.replace(hour=13))

    assert len({notice.key for notice in (*first, *second)}) == 4
    assert len({notice.id for notice in (*first, *second)}) == 4
    assert all(notice.kind is DispatchKind.NOTICE and notice.telling is None for notice in first)
    assert after_attempt(first[0], outcome(OutcomeKind.REFUSED), dead=True, now=NOW) == ()


def test_the_end_of_a_run_is_told_with_its_link_and_conclusion() -> None:
    """
    Whoever only wants failures of the dispatch hears nothing of it.
    """
    run = Run(7, "https://github.com/acme/serving/actions/runs/7", COMPLETED, "failure", "t")

    (notice,) = after_look(told_dispatch(), Look(run, COMPLETED, 0, None), NOW)

    said = Notice.from_message(notice.client_payload)
    assert (said.what, said.run_url, said.conclusion) == (What.RUN_FINISHED, run.url, "failure")
    assert after_look(told_dispatch(), Look(None, NOT_SEEN, 0, None), NOW) == ()


def test_without_channels_there_is_nothing_to_keep() -> None:
    """
    Nobody hears, nothing is stored.
    """
    event = read_event(b'{"event_type": "RUN_STATE", "run_name": "r"}')
    assert isinstance(event, RegistryEvent)

    assert Telling.plan({}, event, DISPATCH) is None
    assert Telling.plan({"x": ()}, event, DISPATCH) is None
    assert after_attempt(DISPATCH, outcome(OutcomeKind.REFUSED), dead=True, now=NOW) == ()
