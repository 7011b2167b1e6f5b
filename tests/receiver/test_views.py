"""What W&B and a monitor see: the right status, JSON, short, and nothing that is secret."""

from __future__ import annotations

import gc
import io
import json
import logging
from collections.abc import Callable
from typing import Any, NoReturn

import pytest
from flask import Flask
from werkzeug.test import Client, TestResponse

from receiver.doors import Doors
from receiver.errors import LedgerError, RejectedError
from receiver.intake import Intake
from receiver.plan import Rules
from receiver.secret import Secret
from receiver.signature import sign
from receiver.views import TOO_LARGE, web_app
from tests.receiver.web_fakes import SECRET, TOKEN, FakeClock, FakeLedger, body, flat, sample

MAX_BODY = 4096
PATH = "/webhooks/wandb"


@pytest.fixture
def ledger() -> FakeLedger:
    """An empty ledger."""
    return FakeLedger()


@pytest.fixture
def app(ledger: FakeLedger) -> Flask:
    """The application around that ledger."""
    secrets, tokens = (Secret(SECRET),), (Secret(TOKEN),)
    intake = Intake(
        source="wandb",
        secrets=secrets,
        tokens=tokens,
        hidden=secrets + tokens,
        rules=Rules.of_one_repository("acme/serving", forward=()),
        store=ledger,
        now=FakeClock(),
        new_id=lambda _now: "01DELIVERY",
    )
    return web_app(lambda: Doors({"wandb": intake}), {"ledger": ledger.check_writable}, max_body=MAX_BODY)


@pytest.fixture
def client(app: Flask) -> Client:
    """Somebody who talks to it."""
    return Client(app)


def signed(raw: bytes) -> dict[str, str]:
    """The headers that W&B would send."""
    return {
        "Content-Type": "application/json",
        "X-Wandb-Signature": sign(raw, SECRET.encode()),
        "Authorization": f"Bearer {TOKEN}",
    }


def post(client: Client, raw: bytes, **headers: str) -> TestResponse:
    """Post a body, rightly signed."""
    return client.post(PATH, data=raw, headers={**signed(raw), **headers})


def told(response: TestResponse) -> dict[str, Any]:
    """The JSON of an answer, each of which has the same manners."""
    assert response.content_type == "application/json"
    assert response.headers["Cache-Control"] == "no-store"
    answer: dict[str, Any] = json.loads(response.data)
    return answer


def test_an_accepted_delivery(client: Client, ledger: FakeLedger) -> None:
    """202, with the delivery's id and where it goes."""
    response = post(client, sample("alias_added_project"))

    assert response.status_code == 202
    assert told(response) == {
        "delivery": "01DELIVERY",
        "status": "accepted",
        "dispatches": [{"repository": "acme/serving", "event_type": "ADD_ARTIFACT_ALIAS"}],
    }
    assert len(ledger.kept) == 1


def test_a_repetition(client: Client, ledger: FakeLedger) -> None:
    """200, with the first delivery's id and where that one goes; nothing more is kept."""
    first = told(post(client, body(flat())))
    response = post(client, body(flat()))

    assert response.status_code == 200
    assert told(response) == {
        "delivery": first["delivery"],
        "status": "duplicate",
        "dispatches": first["dispatches"],
    }
    assert len(ledger.kept) == 1


def test_ignored_fields_are_named(client: Client) -> None:
    """The answer names what stays behind, when something does."""
    assert told(post(client, body({**flat(), "note": "x"})))["ignored"] == ["note"]


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", "x", ""])
def test_the_content_type_is_not_looked_at(client: Client, content_type: str) -> None:
    """What counts is the signature over the bytes, whatever they are called. [B7]"""
    raw = body(flat())

    assert post(client, raw, **{"Content-Type": content_type}).status_code == 202


@pytest.mark.parametrize(
    ("raw", "headers", "status", "reason"),
    [
        (b"{}", {"X-Wandb-Signature": ""}, 401, "missing-signature"),
        (b"{}", {"X-Wandb-Signature": "zz"}, 401, "malformed-signature"),
        (b"{}", {"X-Wandb-Signature": "0" * 64}, 401, "bad-signature"),
        (b"{}", {"X-Wandb-Signature": "\xff" * 64}, 401, "malformed-signature"),
        (b"{}", {"Authorization": "Basic x"}, 401, "missing-token"),
        (b"{}", {"Authorization": "Bearer \xff"}, 401, "bad-token"),
        (b"{", {}, 400, "not-json"),
        (b"", {}, 400, "not-json"),
        (b"[]", {}, 422, "not-an-object"),
        (b'{"a": 1}', {}, 422, "no-event"),
    ],
    ids=str,
)
def test_refusals(  # noqa: PLR0917 - the table reads best like this
    client: Client, ledger: FakeLedger, raw: bytes, headers: dict[str, str], status: int, reason: str
) -> None:
    """Each refusal has its status, its reason, a message, and leaves a trace without the body."""
    response = post(client, raw, **headers)
    answer = told(response)

    assert (response.status_code, answer["status"], answer["reason"]) == (status, "rejected", reason)
    assert answer["message"]
    assert [(trace.reason, trace.status) for trace in ledger.rejections] == [(reason, status)]
    assert SECRET not in response.text
    assert TOKEN not in response.text


@pytest.mark.parametrize("raw", [b"{}", sample("readme_template"), sample("docs_build_and_deploy")])
def test_the_test_button(client: Client, ledger: FakeLedger, raw: bytes) -> None:
    """200 with a text, and nothing is dispatched."""
    response = post(client, raw)

    assert response.status_code == 200
    assert told(response)["status"] == "test"
    assert "are right" in told(response)["message"]
    assert not ledger.kept


class Unreadable(io.RawIOBase):
    """A body that must not be read."""

    def readable(self) -> bool:
        """It could be."""
        return True

    def readinto(self, _buffer: Any) -> int:
        """But it must not."""
        raise AssertionError("the body was read")


def test_a_refused_request_is_forgotten_with_its_answer(app: Flask) -> None:
    """Whoever sends a flood of them leaves no bodies behind that wait for the garbage collector. [A17]"""
    client = Client(app, use_cookies=False)
    gc.collect()
    gc.disable()
    try:
        post(client, body(flat()), **{"X-Wandb-Signature": "0" * 64}).close()
        left = [one for one in gc.get_objects() if isinstance(one, RejectedError)]
    finally:
        gc.enable()

    assert left == []


def test_a_long_body_is_refused_unread(client: Client, ledger: FakeLedger) -> None:
    """Content-Length alone is enough for a 413. [B1]"""
    response = client.post(
        PATH, environ_overrides={"wsgi.input": Unreadable(), "CONTENT_LENGTH": str(MAX_BODY + 1)}
    )

    assert response.status_code == 413
    assert told(response)["message"] == f"The body: want at most {MAX_BODY} bytes, got {MAX_BODY + 1}."
    assert ledger.rejections[0].reason == "body-too-large"


class Chunks(io.RawIOBase):
    """A body without an end, as a chunked one may be; it counts what was taken."""

    def __init__(self, size: int | None = None) -> None:
        self.left = size
        self.taken = 0

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Give as many spaces as are asked for, while there are any."""
        count = len(buffer) if self.left is None else min(len(buffer), self.left)
        buffer[:count] = b" " * count
        self.taken += count
        self.left = None if self.left is None else self.left - count
        return count


def chunked(client: Client, stream: io.RawIOBase, signature: str = "") -> TestResponse:
    """Post a body of unknown length, as gunicorn hands it on."""
    return client.post(
        PATH,
        environ_overrides={"wsgi.input": stream, "wsgi.input_terminated": True},
        headers={"Transfer-Encoding": "chunked", "X-Wandb-Signature": signature},
    )


def test_a_chunked_body_without_end_is_refused(client: Client) -> None:
    """Reading stops at the limit, and a cut body is never taken for the whole. [B2]"""
    endless = Chunks()
    response = chunked(client, endless, sign(b" " * MAX_BODY, SECRET.encode()))

    assert response.status_code == 413
    assert endless.taken <= MAX_BODY + 1


@pytest.mark.parametrize("size", [MAX_BODY - 1, MAX_BODY])
def test_a_body_at_the_limit_is_read(client: Client, size: int) -> None:
    """The limit itself is allowed, chunked or not."""
    assert post(client, b" " * size).status_code == 400
    assert chunked(client, Chunks(size), sign(b" " * size, SECRET.encode())).status_code == 401  # No token.


def test_a_body_that_the_server_did_not_read(client: Client) -> None:
    """Where the server says that there was too much, the answer says so, whatever part is there. [B2]"""
    response = client.post(PATH, data=b"{}", headers=signed(b"{}"), environ_overrides={TOO_LARGE: True})

    assert (response.status_code, told(response)["reason"]) == (413, "body-too-large")


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "identity, gzip"])
def test_compressed_bodies_are_refused(client: Client, encoding: str) -> None:
    """A compressed body is not unpacked. [B4]"""
    response = post(client, b"{}", **{"Content-Encoding": encoding})

    assert response.status_code == 415
    assert told(response)["reason"] == "unsupported-encoding"
    assert post(client, b"{}", **{"Content-Encoding": "Identity"}).status_code == 200


def test_a_ledger_that_is_down(client: Client, ledger: FakeLedger) -> None:
    """503, with the time to come again, and no detail of ours. [C2]"""
    ledger.down = True
    response = post(client, body(flat()))

    assert (response.status_code, response.headers["Retry-After"]) == (503, "30")
    assert told(response)["reason"] == "ledger-unavailable"
    assert "disk" not in response.text


@pytest.mark.parametrize("method", ["GET", "PUT", "HEAD", "DELETE", "OPTIONS", "PATCH", "TRACE"])
def test_other_methods(client: Client, method: str) -> None:
    """Only POST is taken at the webhook. [B10]"""
    response = client.open(PATH, method=method)

    assert response.status_code == 405
    assert response.headers["Allow"] == "POST"
    assert response.content_type == "application/json"


@pytest.mark.parametrize("path", ["/", "/webhooks/wandb/", "/webhooks", "/static/x", "/%00", "/%ff"])
def test_other_pages(client: Client, path: str) -> None:
    """There is nothing else, and that is said in JSON. [B10]"""
    response = client.post(path)

    assert response.status_code == 404
    assert told(response)["reason"] == "not-found"


def test_health(client: Client, ledger: FakeLedger) -> None:
    """The process lives, whatever becomes of its ledger."""
    ledger.down = True

    assert (client.get("/healthz").status_code, client.get("/readyz").status_code) == (200, 503)


def test_readiness(client: Client, ledger: FakeLedger) -> None:
    """Each check is told, and one that fails makes it 503 without telling more than strangers may know."""
    assert told(client.get("/readyz")) == {"status": "ready", "checks": {"ledger": "ok"}}

    ledger.down = True
    response = client.get("/readyz")
    assert response.status_code == 503
    assert told(response) == {"status": "not ready", "checks": {"ledger": "ledger-unavailable"}}


@pytest.fixture
def broken(app: Flask) -> Callable[[Exception], TestResponse]:
    """Asks an application in which a page raises."""

    def ask(error: Exception) -> TestResponse:
        def page() -> NoReturn:
            raise error

        app.add_url_rule("/broken", view_func=page)
        return Client(app).get("/broken")

    return ask


def test_a_fault_of_ours(
    broken: Callable[[Exception], TestResponse], caplog: pytest.LogCaptureFixture
) -> None:
    """A bug is a 500 in JSON; the log has the place, and neither has the message, which may hold anything."""
    response = broken(KeyError("hunter22"))

    assert (response.status_code, told(response)["reason"]) == (500, "internal-error")
    assert "test_views.py" in caplog.text
    assert "KeyError" in caplog.text
    assert "hunter22" not in response.text + caplog.text


def test_a_fork_is_told_as_unavailable(broken: Callable[[Exception], TestResponse]) -> None:
    """A LedgerError from anywhere is a 503."""
    assert broken(LedgerError("x")).status_code == 503


def test_the_log_has_one_line_for_each_request(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    """The line has neither query nor headers nor body, and nothing in it forges another. [B8]"""
    caplog.set_level(logging.INFO)
    post(client, body(flat(event_author="hunter22")))
    client.post("/x\r\n2026 forged\x1b[2J?token=hunter22", headers={"Authorization": f"Bearer {TOKEN}"})

    lines = [record.getMessage() for record in caplog.records if record.name == "receiver.views"]
    assert len(lines) == 2
    assert " POST /webhooks/wandb 202 01DELIVERY " in lines[0]
    assert all(line.isprintable() for line in lines)
    assert not [line for line in lines if "hunter22" in line or TOKEN in line or SECRET in line]
