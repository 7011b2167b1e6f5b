"""Two receivers on one PostgreSQL, one of them frozen past its lease, then continued."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from receiver.delivery import DispatchRecord, DispatchState
from receiver.ledger import Ledger
from tests.faults.receivers import Receiver
from tests.faults.rounds import GITHUB_TOKEN, LEASE, a_github, drained, environ
from tests.faults.senders import REPOSITORY, Promotion, post
from tests.receiver.github_world import CLIENT_ID, private_pem, public_pem
from tests.stand_ins.github import GitHubStandIn

TAKEN_OVER = "its lease ended and it was taken over"


@pytest.fixture
def github() -> Iterator[GitHubStandIn]:
    """A GitHub, with the right to be slow."""
    with a_github() as standing:
        yield standing


def dispatch_of(url: str, delivery: str) -> DispatchRecord:
    """The only dispatch of a delivery."""
    with Ledger.read_only(url) as ledger:
        (dispatch,) = ledger.delivery(delivery).dispatches
    return dispatch


@pytest.mark.parametrize("arrived", [True, False], ids=["arrived", "had not arrived"])
def test_frozen_while_it_waits_for_an_answer(
    github: GitHubStandIn, postgresql_url: str, tmp_path: Path, *, arrived: bool
) -> None:
    """
    The other takes over when the lease has ended, and looks first.  The late answer changes nothing; the
    dispatch has arrived once, and it is marked where that could not be known (D2, E7).
    """
    answer = threading.Event()
    github.faults.add("POST /repos/*/dispatches", hang=answer, accept_first=arrived, status=204)
    variables = environ(github, postgresql_url)
    with ExitStack() as ends:
        frozen = ends.enter_context(Receiver(variables, tmp_path, lease=LEASE))
        delivery = post(frozen.webhook_url, Promotion("model-1", 1).raw).json()["delivery"]
        github.wait_for_requests(1, timeout=20)
        frozen.freeze()
        other = ends.enter_context(Receiver(variables, tmp_path, lease=LEASE))
        assert drained(postgresql_url) == 0
        taken_over = dispatch_of(postgresql_url, delivery)
        answer.set()
        frozen.thaw()
        frozen.served.wait_for_log(TAKEN_OVER)
        post(frozen.webhook_url, Promotion("model-2", 1).raw)  # It works on as if nothing had been.
        assert drained(postgresql_url) == 0
        assert [frozen.stop(), other.stop()] == [0, 0]

    assert dispatch_of(postgresql_url, delivery) == taken_over
    assert taken_over.state is DispatchState.SENT
    assert taken_over.possibly_duplicated is not arrived
    assert [attempt.reason for attempt in taken_over.attempts] == [
        "no-answer",
        "already-sent" if arrived else "sent",
    ]
    deliveries = [one.client_payload["handoff"]["delivery"] for one in github.dispatches]
    assert deliveries.count(delivery) == 1
    assert len(deliveries) == 2


def test_frozen_before_it_sends(github: GitHubStandIn, postgresql_url: str, tmp_path: Path) -> None:
    """
    Frozen while it asks for a token, and woken when the other has sent: what it then sends after all was
    marked before the other sent it, and its record changes nothing (D1, D2).
    """
    app = github.add_app(client_id=CLIENT_ID, public_key_pem=public_pem(), permissions=_PERMISSIONS)
    github.install(app, account="acme", repositories=(REPOSITORY,))
    answer, end = threading.Event(), datetime.now(timezone.utc) + timedelta(hours=1)
    token = {"token": GITHUB_TOKEN, "expires_at": end.isoformat()}
    github.faults.add("POST /app/*/access_tokens", hang=answer, status=201, body=token)
    variables = environ(github, postgresql_url)
    del variables["GITHUB_TOKEN"]
    variables |= {"GITHUB_APP_CLIENT_ID": CLIENT_ID, "GITHUB_APP_PRIVATE_KEY": private_pem()}
    with ExitStack() as ends:
        frozen = ends.enter_context(Receiver(variables, tmp_path, lease=LEASE))
        delivery = post(frozen.webhook_url, Promotion("model-1", 1).raw).json()["delivery"]
        github.wait_for_requests(2, timeout=20)
        frozen.freeze()
        other = ends.enter_context(Receiver(variables, tmp_path, lease=LEASE))
        assert drained(postgresql_url) == 0
        taken_over = dispatch_of(postgresql_url, delivery)
        answer.set()
        frozen.thaw()
        frozen.served.wait_for_log(TAKEN_OVER)
        assert [frozen.stop(), other.stop()] == [0, 0]

    assert dispatch_of(postgresql_url, delivery) == taken_over
    assert taken_over.state is DispatchState.SENT
    assert taken_over.possibly_duplicated
    assert 1 <= len(github.dispatches) <= 2


_PERMISSIONS = {"contents": "write", "actions": "read"}
