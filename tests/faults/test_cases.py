"""Cases of docs/faults.md that no single module answers for."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import requests

from receiver.delivery import DispatchState
from receiver.dispatcher import Dispatcher
from receiver.ledger import Ledger
from receiver.signature import sign
from tests.faults import databases
from tests.faults.receivers import Receiver
from tests.faults.rounds import a_github, drained, environ
from tests.faults.senders import REPOSITORY, Promotion, Senders
from tests.receiver.fakes import Clock, FakeDestination
from tests.receiver.web_fakes import SECRET


def test_nothing_unsigned_has_a_say(tmp_path: Path) -> None:
    """
    A query and headers that name another repository, event or address change nothing (A15, A16).
    """
    url = databases.new_sqlite(tmp_path)
    raw = Promotion("model-1", 1).raw
    headers = {
        "X-Wandb-Signature": sign(raw, SECRET.encode()),
        "X-Forwarded-For": "198.51.100.7",
        "X-Real-IP": "198.51.100.7",
        "X-GitHub-Event": "push",
        "X-Repository": "evil/repository",
    }
    with a_github() as github:
        github.add_repository("evil/repository")
        with Receiver(environ(github, url), tmp_path) as receiver:
            query = {"repository": "evil/repository", "event_type": "EVIL", "alias": "evil"}
            answer = requests.post(receiver.webhook_url, params=query, data=raw, headers=headers, timeout=20)
            assert answer.status_code == 202
            (dispatched,) = github.wait_for_dispatches(1, timeout=20)
            receiver.stop()

    assert (dispatched.repository, dispatched.event_type) == (REPOSITORY, "ADD_ARTIFACT_ALIAS")
    assert "evil" not in str(dispatched.client_payload)
    with Ledger.read_only(url) as ledger:
        assert ledger.delivery(answer.json()["delivery"]).address == "127.0.0.1"


def test_a_copy_that_is_put_back(tmp_path: Path) -> None:
    """
    A copy that SQLite makes under load is whole; put back, once or twice, it sends nothing that had been
    sent by then (E6).
    """
    url = databases.new_sqlite(tmp_path)
    copies = [tmp_path / name / "handoff.db" for name in ("once", "twice")]
    with a_github() as github, Receiver(environ(github, url), tmp_path) as receiver:
        senders = Senders(lambda: [receiver.webhook_url], 2, seed=1)
        senders.start()
        try:
            senders.wait_for(20)
            before = set(senders.told.acknowledged.values())
            for copy in copies:
                copy.parent.mkdir()
                with (
                    closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as here,
                    closing(sqlite3.connect(copy)) as there,
                ):
                    here.backup(there)
        finally:
            senders.stop()
        assert drained(url) == 0
        receiver.stop()

    for copy in copies:
        restored = f"sqlite:///{copy}"
        assert databases.is_sound(restored)
        with Ledger.open(restored) as ledger:
            kept = {record.id: record.dispatches[0].state for record in ledger.deliveries(limit=1000)}
            assert before <= set(kept)
            destination, clock = FakeDestination(), Clock()
            clock.time = ledger.deliveries(limit=1)[0].received_at + timedelta(hours=1)
            dispatcher = Dispatcher(ledger, destination, now=clock)
            while dispatcher.run_once():
                pass
        sent_before = {f"{one}-1" for one, state in kept.items() if state is DispatchState.SENT}
        assert sent_before
        assert not sent_before & set(destination.arrived_ids)
