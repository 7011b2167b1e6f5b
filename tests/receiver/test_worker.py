"""gunicorn's parser and our front agree on each request, or it is refused; the application sees it whole."""

from __future__ import annotations

import json
import logging
import os
import resource
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest
from gunicorn.config import Config  # type: ignore[import-untyped]  # It has no types.
from gunicorn.glogging import Logger  # type: ignore[import-untyped]  # As above.
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from receiver.framing import Framer, HeadTooLargeError
from receiver.front import Request
from receiver.views import TOO_LARGE
from receiver.worker import Worker, room

CLIENT, SERVER = ("127.0.0.1", 4321), ("127.0.0.1", 80)
LIMIT = 1_000
POST = b"POST /hook?x=1 HTTP/1.1\r\nHost: x\r\n"


class Application:
    """A WSGI application that keeps what it is called with."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, bytes, bool]] = []
        self.error: Exception | None = None
        self.closed = 0
        self.config = {"HANDOFF_MAX_BODY": LIMIT}

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Answer 200 with ``fine``."""
        if self.error is not None:
            raise self.error
        body = environ["wsgi.input"].read()
        self.seen.append((f"{environ['REQUEST_METHOD']} {environ['RAW_URI']}", body, environ[TOO_LARGE]))
        assert environ["wsgi.multithread"]
        start_response("200 OK", [("Content-Length", "4")])
        return self

    def __iter__(self) -> Iterator[bytes]:
        return iter((b"fi", b"ne"))

    def close(self) -> None:
        """What WSGI promises to call."""
        self.closed += 1


@pytest.fixture
def application() -> Application:
    """An application that was not called yet."""
    return Application()


def worker_for(application: Callable[..., Iterable[bytes]], **options: object) -> Worker:
    """A worker as gunicorn makes it, without a process of its own."""
    config = Config()
    for name, value in {"threads": 2, "limit_request_fields": 64, **options}.items():
        config.set(name, value)
    made = Worker(1, os.getppid(), [], None, 30, config, Logger(config))
    made.wsgi = application
    return made


@pytest.fixture
def made(application: Application) -> Iterator[Worker]:
    """A worker with that application."""
    made = worker_for(application)
    yield made
    made.tmp.close()


def answer(made: Worker, data: bytes, *, too_large: bool = False) -> tuple[int, dict[str, Any] | bytes, bool]:
    """The status and body of an answer, and whether the connection goes on."""
    answered = made.respond(Request(data, CLIENT, SERVER, too_large))
    head, _, body = answered.data.partition(b"\r\n\r\n")
    assert (b"Connection: keep-alive" in head) is answered.keep
    status = int(head.split(b" ")[1])
    return status, body if status == 200 else json.loads(body), answered.keep


@pytest.mark.parametrize(
    ("data", "seen", "keep"),
    [
        (b"GET /hook HTTP/1.1\r\n\r\n", ("GET /hook", b""), True),
        (POST + b"Content-Length: 5\r\n\r\nhello", ("POST /hook?x=1", b"hello"), True),
        (
            POST + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
            ("POST /hook?x=1", b"hello"),
            True,
        ),
        (POST + b"Expect: 100-continue\r\nContent-Length: 2\r\n\r\nhi", ("POST /hook?x=1", b"hi"), True),
        (POST + b"Connection: close\r\n\r\n", ("POST /hook?x=1", b""), False),
        (b"GET /hook HTTP/1.0\r\n\r\n", ("GET /hook", b""), False),
        (b"GET http://other/hook HTTP/1.1\r\nHost: x\r\n\r\n", ("GET http://other/hook", b""), True),
    ],
    ids=["get", "length", "chunks", "expect", "close", "http-1.0", "absolute"],
)
def test_a_request_reaches_the_application(
    made: Worker, application: Application, data: bytes, seen: tuple[str, bytes], keep: bool
) -> None:
    """The application gets the body whole, its answer goes out whole, and what it opened is closed."""
    assert answer(made, data) == (200, b"fine", keep)
    assert application.seen == [(*seen, False)]
    assert application.closed == 1


def test_a_body_that_is_not_there(made: Worker, application: Application) -> None:
    """Where the front did not wait for the body, the application is told, and the connection ends."""
    head = POST + b"Content-Length: 9999999\r\n\r\n"

    assert answer(made, head, too_large=True) == (200, b"fine", False)
    assert application.seen == [("POST /hook?x=1", b"", True)]


@pytest.mark.parametrize(
    ("data", "status", "reason"),
    [
        (POST + b"Content-Length: -5\r\n\r\n", 400, "bad-request"),
        (POST + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello", 400, "bad-request"),
        (POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, "bad-request"),
        (POST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", 400, "bad-request"),
        (POST + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhel", 400, "bad-request"),
        (POST + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhelloXX0\r\n\r\n", 400, "bad-request"),
        (POST + b"A: 1\r\n" * 65 + b"\r\n", 431, "request-header-fields-too-large"),
        (POST + b"A: " + b"x" * 9_000 + b"\r\n\r\n", 431, "request-header-fields-too-large"),
        (b"GET /" + b"x" * 5_000 + b" HTTP/1.1\r\n\r\n", 414, "uri-too-long"),
        (b"GET / HTTP/3.0\r\n\r\n", 400, "bad-request"),
        (b"nonsense\r\n\r\n", 400, "bad-request"),
        (b"GET / HTTP/1.1\nHost: x\n\n", 400, "bad-request"),
        (b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", 400, "bad-request"),
        (POST + b"Expect: miracles\r\n\r\n", 417, "expectation-failed"),
    ],
    ids=lambda value: str(value)[-40:],
)
def test_what_is_no_request(
    made: Worker, application: Application, data: bytes, status: int, reason: str
) -> None:
    """What gunicorn's parser does not take is refused in our own shape, and never reaches the application."""
    got, told, keep = answer(made, data)

    assert (got, keep) == (status, False)
    assert isinstance(told, dict)
    assert (told["status"], told["reason"]) == ("rejected", reason)
    assert not application.seen


def test_two_readings_of_one_end(made: Worker, application: Application) -> None:
    """Bytes that the parser leaves over belong to nobody: such a request is refused, not answered."""
    first = POST + b"Content-Length: 2\r\nA: "
    piece = 8_192  # What gunicorn's parser asks for.
    for head in (first, first + b"x" * (piece - len(first) - 6)):
        status, told, keep = answer(made, head + b"\r\n\r\nhi" + b"GET / HTTP/1.1\r\n\r\n")

        assert (status, keep) == (400, False)
        assert isinstance(told, dict)
        assert "not clear" in told["message"]
    assert not application.seen


def test_a_fault_in_the_application(made: Worker, application: Application) -> None:
    """Whatever the application raises, the client gets an answer in our shape, without the reason."""
    application.error = ValueError("hunter22")
    status, told, keep = answer(made, POST + b"\r\n")

    assert (status, keep) == (500, False)
    assert "hunter22" not in str(told)


def test_the_end_of_a_worker(application: Application) -> None:
    """After so many requests a worker ends, and one that ends lets no connection go on."""
    made = worker_for(application, max_requests=2)
    try:
        assert answer(made, POST + b"\r\n")[2] is True
        assert answer(made, POST + b"\r\n")[2] is False
        assert made.alive is False
    finally:
        made.tmp.close()


def test_tls_is_refused() -> None:
    """With a certificate, the master ends with the way out before it listens."""
    config = Config()
    Worker.check_config(config, logging.getLogger())
    config.set("certfile", "cert.pem")

    with pytest.raises(SystemExit, match="want a reverse proxy"):
        Worker.check_config(config, logging.getLogger())


@pytest.mark.parametrize(
    ("limits", "wanted", "got", "raised"),
    [
        ((1_024, 20_000), 10_000, 10_000, 10_100),
        ((1_024, 4_096), 10_000, 3_996, 4_096),
        ((64, 64), 10_000, 8, 64),
        ((65_536, 65_536), 10_000, 10_000, None),
        ((1_024, resource.RLIM_INFINITY), 10_000, 10_000, 10_100),
        ((resource.RLIM_INFINITY, resource.RLIM_INFINITY), 10_000, 10_000, None),
    ],
)
def test_room_for_connections(
    monkeypatch: pytest.MonkeyPatch, limits: tuple[int, int], wanted: int, got: int, raised: int | None
) -> None:
    """The soft limit of open files goes up as far as it may; what is left for us is what we take."""
    set_to: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "getrlimit", lambda _which: limits)
    monkeypatch.setattr(resource, "setrlimit", lambda _which, to: set_to.append(to))

    assert room(wanted) == got
    assert set_to == ([] if raised is None else [(raised, limits[1])])


FRAGMENTS = [
    *(
        b"POST / HTTP/1.1\r\n",
        b"GET http://a/b HTTP/1.1\r\n",
        b"PUT /x HTTP/1.0\r\n",
        b"Host: x\r\n",
        b"\r\n",
    ),
    *(b"Content-Length: 5\r\n", b"Content-Length: 0\r\n", b"Content-Length: 99\r\n", b"content-length:5\r\n"),
    *(b"Transfer-Encoding: chunked\r\n", b"Transfer-Encoding: gzip\r\n", b"Transfer-Encoding:\tchunked \r\n"),
    *(b"Expect: 100-continue\r\n", b"Connection: close\r\n", b"X_Y: 1\r\n", b" folded\r\n", b"A: \x00\r\n"),
    *(
        b"hello",
        b"5\r\nhello\r\n",
        b"0\r\n\r\n",
        b"0\r\nA: b\r\n\r\n",
        b"1;x=y\r\n.\r\n",
        b"\n",
        b"\r",
        b"\xff",
    ),
]


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.sampled_from(FRAGMENTS) | st.binary(max_size=8), max_size=14))
def test_any_connection_is_read_one_way(made: Worker, application: Application, pieces: list[bytes]) -> None:
    """Whatever a client sends, each request is answered once or refused, and no rest is a request."""
    buffer = bytearray(b"".join(pieces))
    for _ in range(20):
        application.seen.clear()
        try:
            whole = Framer(LIMIT).look(buffer)
        except HeadTooLargeError:
            return
        if whole is None:
            return
        status, _, keep = answer(made, bytes(buffer[: whole.end]), too_large=whole.too_large)
        assert status in {200, 400, 417, 431, 501}
        assert len(application.seen) == (status == 200)
        if whole.last or not keep:
            return
        del buffer[: whole.end]
