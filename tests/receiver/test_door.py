"""What is answered before the framework, and that it is the answer that the framework would give."""

from __future__ import annotations

import io
import os
from typing import Any

import pytest
from werkzeug.test import Client

from receiver.door import RECEIVED, TOO_LARGE, Door
from receiver.intake import Accepted, Webhook

PATH = "/hook"
MAX_BODY = 100
ACCEPTED = Accepted(delivery=None, dispatches=(), ignored=())  # type: ignore[arg-type]  # Nobody looks.


class FakeIntake:
    """Says of every webhook what it is told to say."""

    def __init__(self) -> None:
        self.seen: list[Webhook] = []
        self.answer: Any = ACCEPTED

    def receive(self, webhook: Webhook) -> Any:
        """Answer or raise."""
        self.seen.append(webhook)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


class Behind:
    """What stands behind the door, and what came to it."""

    def __init__(self) -> None:
        self.came: list[dict[str, Any]] = []

    def __call__(self, environ: dict[str, Any], start_response: Any) -> list[bytes]:
        """Take note; there is no such page."""
        self.came.append(environ)
        start_response("404 NOT FOUND", [])
        return [b""]


@pytest.fixture
def intake() -> FakeIntake:
    return FakeIntake()


@pytest.fixture
def behind() -> Behind:
    return Behind()


@pytest.fixture
def door(intake: FakeIntake, behind: Behind) -> Door:
    return Door(
        behind,
        intake,  # type: ignore[arg-type]
        lambda *_: ("202 ACCEPTED", [("Content-Length", "2")], b"ok"),
        path=PATH,
        max_body=MAX_BODY,
    )


def test_what_is_accepted_is_answered_at_the_door(door: Door, intake: FakeIntake, behind: Behind) -> None:
    """
    The intake gets the raw body and what vouches for it; nothing behind the door hears of it.
    """
    headers = {"X-Wandb-Signature": "abc", "Authorization": "Bearer x"}

    answer = Client(door).post(PATH, data=b"{}", headers=headers, environ_base={"REMOTE_ADDR": "192.0.2.1"})

    assert (answer.status_code, answer.data) == (202, b"ok")
    assert intake.seen == [Webhook(b"{}", "abc", "Bearer x", "192.0.2.1")]
    assert behind.came == []


@pytest.mark.parametrize(
    "other",
    [
        {"REQUEST_METHOD": "PUT"},
        {"PATH_INFO": "/hook/"},
        {"SCRIPT_NAME": "/below"},
        {"HTTP_CONTENT_ENCODING": "gzip"},
        {"HTTP_TRANSFER_ENCODING": "chunked"},
        {TOO_LARGE: True},
        {"CONTENT_LENGTH": str(MAX_BODY + 1)},
        {"CONTENT_LENGTH": ""},
        {"CONTENT_LENGTH": "-1"},
        {"CONTENT_LENGTH": "\u0662"},
    ],
    ids=lambda other: next(iter(other)),
)
def test_all_else_goes_on_untouched(
    door: Door, intake: FakeIntake, behind: Behind, other: dict[str, Any]
) -> None:
    """
    What is not a plain post of a body within the limit is the pages' business, its body unread.
    """
    Client(door).post(PATH, data=b"{}", environ_overrides=other)

    assert intake.seen == []
    assert behind.came[0]["wsgi.input"].read() == b"{}"


def test_a_body_that_is_cut_goes_on_as_it_came(door: Door, intake: FakeIntake, behind: Behind) -> None:
    """
    Fewer bytes than were told are read by nobody here.
    """
    cut = {"CONTENT_LENGTH": "9", "wsgi.input": io.BytesIO(b"{}")}

    Client(door).post(PATH, environ_overrides=cut)

    assert intake.seen == []
    assert behind.came[0]["wsgi.input"].read() == b"{}"


def test_in_a_fork_nothing_is_taken_at_the_door(
    door: Door, intake: FakeIntake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    There no thread writes the ledger, and who waited for it would wait for ever.
    """
    child = os.getpid() + 1
    monkeypatch.setattr("receiver.door.os.getpid", lambda: child)

    Client(door).post(PATH, data=b"{}")

    assert intake.seen == []


@pytest.mark.parametrize("answer", [RuntimeError("a bug"), object()], ids=["raised", "not accepted"])
def test_what_else_the_intake_says_is_told_behind(
    door: Door, intake: FakeIntake, behind: Behind, answer: Any
) -> None:
    """
    It is asked once; its answer or its error goes along.
    """
    intake.answer = answer

    Client(door).post(PATH, data=b"{}")

    assert len(intake.seen) == 1
    assert behind.came[0][RECEIVED] is answer
