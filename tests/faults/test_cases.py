"""Cases of docs/faults.md that no module answers for alone."""

from __future__ import annotations

from pathlib import Path

import requests

from receiver.ledger import Ledger
from receiver.signature import sign
from tests.faults import databases
from tests.faults.receivers import Receiver
from tests.faults.rounds import a_github, environ
from tests.faults.senders import REPOSITORY, Promotion
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
