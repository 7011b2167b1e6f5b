"""SIGTERM: what was acknowledged stays, what is being sent is finished, the rest is sent next time."""

from __future__ import annotations

import threading
import time
from pathlib import Path

from receiver.delivery import DispatchState
from receiver.ledger import Ledger
from receiver.serve import GRACE
from tests.faults.receivers import Receiver
from tests.faults.rounds import SENDERS, a_github, broken, drained, environ
from tests.faults.senders import Promotion, Senders, post


def test_under_load(database_url: str, tmp_path: Path) -> None:
    """
    It ends with 0 within its grace period; every acknowledged delivery is in the ledger by then, and the next
    start sends what is left, once and in order (E1).
    """
    with a_github() as github:
        receiver = Receiver(environ(github, database_url), tmp_path)
        senders = Senders(lambda: [receiver.webhook_url], SENDERS, seed=1)
        try:
            with receiver:
                senders.start()
                senders.wait_for(60)
                began = time.monotonic()
                assert receiver.stop() == 0
                took = time.monotonic() - began
            acknowledged = set(senders.told.acknowledged.values())
            with Ledger.read_only(database_url) as ledger:
                assert acknowledged <= {record.id for record in ledger.deliveries(limit=10**6)}
            with receiver:
                senders.wait_for(len(acknowledged) + 20)
                senders.stop()
                assert drained(database_url) == 0
                assert receiver.stop() == 0
        finally:
            senders.stop()
        arrived = [one.client_payload["handoff"]["delivery"] for one in github.dispatches]
    with Ledger.read_only(database_url) as ledger:
        kept = ledger.deliveries(limit=10**6)

    assert list(broken(senders.told, kept, arrived)) == []
    assert not any(each.possibly_duplicated for record in kept for each in record.dispatches)
    assert took < GRACE


def test_what_is_being_sent_is_finished(database_url: str, tmp_path: Path) -> None:
    """
    A dispatch that GitHub is slow to answer is waited for, and its answer kept: one attempt, sent (E1).
    """
    answer = threading.Event()
    with a_github() as github, Receiver(environ(github, database_url), tmp_path) as receiver:
        github.faults.add("POST /repos/*/dispatches", hang=answer, accept_first=True, status=204)
        delivery = post(receiver.webhook_url, Promotion("model-1", 1).raw).json()["delivery"]
        github.wait_for_requests(1, timeout=20)
        receiver.served.process.terminate()
        receiver.served.wait_for_log("Handling signal: term")
        answer.set()
        assert receiver.stop() == 0

    with Ledger.read_only(database_url) as ledger:
        (dispatch,) = ledger.delivery(delivery).dispatches
    assert dispatch.state is DispatchState.SENT
    assert [attempt.reason for attempt in dispatch.attempts] == ["sent"]
    assert len(github.dispatches) == 1
