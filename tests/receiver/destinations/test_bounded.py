"""One POST, whatever the other side does: bounded, never repeated, to the address that was judged."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path

import pytest

from receiver.destinations.addresses import Address
from receiver.destinations.bounded import Bounded, Post, json_of
from receiver.exchange import NoAnswerError, NotSentError
from receiver.secret import Secret
from tests.stand_ins.endpoints import Endpoint, Said

SECRET = Secret("s3cr3t-of-the-endpoint")


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    """An endpoint that takes everything."""
    with Endpoint() as standing:
        yield standing


def there(endpoint: Endpoint) -> tuple[Address, ...]:
    return (Address("127.0.0.1", endpoint.port),)


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


def test_the_body_arrives_as_it_is(endpoint: Endpoint) -> None:
    """
    Body, path, query and headers arrive; the answer comes back with its headers by lower-case name.
    """
    body = json_of({"a": "ä", "b": [1, None]})
    answer = Bounded().send(Post(f"{endpoint.url}/hook?x=1", body, {"X-Ours": "1"}))

    [arrived] = endpoint.arrived
    assert (arrived.method, arrived.target, arrived.body) == (
        "POST",
        "/hook?x=1",
        b'{"a":"\xc3\xa4","b":[1,null]}',
    )
    assert arrived.headers["content-type"] == "application/json; charset=utf-8"
    assert arrived.headers["x-ours"] == "1"
    assert arrived.headers["user-agent"].startswith("wandb-handoff/")
    assert arrived.headers["host"] == f"127.0.0.1:{endpoint.port}"
    assert (answer.status, answer.body, answer.headers["content-type"]) == (200, b"ok", "text/plain")


def test_json_has_no_word_for_nan() -> None:
    """
    What is no JSON is not sent as if it were.
    """
    with pytest.raises(ValueError, match="JSON"):
        json_of({"loss": float("nan")})


def test_the_name_is_not_looked_up_again(endpoint: Endpoint) -> None:
    """
    We connect to the address that was judged, and ask for the name: DNS may say what it likes by now.
    """
    Bounded().send(Post(f"http://rebinds.invalid:{endpoint.port}/", b"{}"), to=there(endpoint))

    assert endpoint.arrived[0].headers["host"] == f"rebinds.invalid:{endpoint.port}"


def test_the_next_address_is_tried_when_one_does_not_answer(endpoint: Endpoint) -> None:
    """
    A name's second address will do.
    """
    dead = Address("127.0.0.1", closed_port())

    answer = Bounded().send(Post("http://two.invalid/", b"{}"), to=(dead, *there(endpoint)))

    assert answer.status == 200


class TestTLS:
    """Certificates are those of the name, not of the address."""

    def test_a_good_certificate(self, certificate: Path) -> None:
        """
        The bundle that REQUESTS_CA_BUNDLE names is trusted.
        """
        with Endpoint(certificate=certificate) as endpoint:
            assert Bounded().send(Post(endpoint.url, b"{}"), to=there(endpoint)).status == 200

    def test_a_bundle_may_be_a_directory(self, certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """
        A directory of certificates without ours trusts nobody, and is no error of ours.
        """
        empty = certificate.parent / "empty"
        empty.mkdir()
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(empty))

        with Endpoint(certificate=certificate) as endpoint, pytest.raises(NotSentError, match="certificate"):
            Bounded().send(Post(endpoint.url, b"{}"))

    def test_another_name(self, certificate: Path) -> None:
        """
        The certificate of 127.0.0.1 does not do for a name that leads there.
        """
        with Endpoint(certificate=certificate) as endpoint:
            post = Post(f"https://rebinds.invalid:{endpoint.port}/", b"{}")
            with pytest.raises(NotSentError, match="certificate does not hold"):
                Bounded().send(post, to=there(endpoint))

        assert endpoint.arrived == []

    def test_nobody_we_know(self, certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """
        A certificate that no authority of ours has signed ends it before anything is sent.
        """
        monkeypatch.delenv("REQUESTS_CA_BUNDLE")

        with Endpoint(certificate=certificate) as endpoint, pytest.raises(NotSentError, match="certificate"):
            Bounded().send(Post(endpoint.url, b"{}"))

        assert endpoint.arrived == []

    def test_a_handshake_that_hangs(self) -> None:
        """
        A server that does not speak TLS and says nothing is given up; nothing was sent.
        """
        with socket.create_server(("127.0.0.1", 0)) as listener:
            url = f"https://127.0.0.1:{listener.getsockname()[1]}/"
            with pytest.raises(NotSentError):
                Bounded(connect_seconds=0.2).send(Post(url, b"{}"))


class TestNoRedirect:
    """A redirect is an answer."""

    @pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
    def test_it_is_not_followed(self, status: int) -> None:
        """
        Wherever it leads, nothing is sent there.
        """
        with Endpoint() as elsewhere:
            told = Said(status, headers={"Location": f"{elsewhere.url}/metadata"})
            with Endpoint(lambda _: told) as endpoint:
                answer = Bounded().send(Post(endpoint.url, b"{}"))

            assert answer.status == status
            assert elsewhere.arrived == []


class TestBounds:
    """What never ends is ended."""

    def test_nobody_there(self) -> None:
        """
        A closed port is told from an answer that did not come, and the URL is not shown.
        """
        with pytest.raises(
            NotSentError, match=r"no connection to 127\.0\.0\.1: Connection refused"
        ) as caught:
            Bounded().send(Post(f"http://127.0.0.1:{closed_port()}/{SECRET.value}", b"{}"))

        assert SECRET.value not in str(caught.value)

    def test_a_connection_that_breaks(self, endpoint: Endpoint) -> None:
        """
        A reset after sending may have done something.
        """
        endpoint.faults.add("POST /", reset_after=True)

        with pytest.raises(NoAnswerError, match="broke off"):
            Bounded().send(Post(f"{endpoint.url}/", b"{}"))

        assert len(endpoint.arrived) == 1

    def test_an_answer_that_does_not_begin(self, endpoint: Endpoint) -> None:
        """
        The reading is given up in the time that the caller gives.
        """
        endpoint.faults.add("POST /", hang=threading.Event())

        with pytest.raises(NoAnswerError, match="no whole answer in time"):
            Bounded().send(Post(f"{endpoint.url}/", b"{}"), read_seconds=0.1)

    def test_headers_that_drip(self, endpoint: Endpoint) -> None:
        """
        A line every moment keeps each reading alive, but not the whole.
        """
        endpoint.faults.add("POST /", raw=dripping(b"HTTP/1.1 200 OK\r\n", b"X-Drip: 1\r\n"))

        with pytest.raises(NoAnswerError, match="no whole answer in time"):
            Bounded(read_seconds=0.3, total_seconds=0.3).send(Post(f"{endpoint.url}/", b"{}"))

    def test_a_body_that_drips(self, endpoint: Endpoint) -> None:
        """
        The status is known by then, and counts.
        """
        head = b"HTTP/1.1 200 OK\r\nContent-Length: 99999\r\n\r\n"
        endpoint.faults.add("POST /", raw=dripping(head, b"x"))

        answer = Bounded(read_seconds=0.3, total_seconds=0.3).send(Post(f"{endpoint.url}/", b"{}"))

        assert answer.status == 200

    def test_an_endless_body(self, endpoint: Endpoint) -> None:
        """
        No more is read than fits an answer.
        """
        served = count()
        endpoint.faults.add("POST /", status=200, body=(b"x" * 5_000 for _ in served))

        answer = Bounded().send(Post(f"{endpoint.url}/", b"{}"))

        assert len(answer.body) == 64 * 1024
        assert next(served) < 10_000

    def test_what_is_no_http(self, endpoint: Endpoint) -> None:
        """
        A server that answers something else has not answered.
        """
        endpoint.faults.add("POST /", raw=[b"220 mail.example ESMTP\r\n"])

        with pytest.raises(NoAnswerError, match="BadStatusLine"):
            Bounded().send(Post(f"{endpoint.url}/", b"{}"))


def test_secrets_do_not_come_back() -> None:
    """
    A server that shows the request in its error shows no secret to us.
    """
    echo = Said(400, f"no {SECRET.value} here".encode(), {"Location": f"https://x/{SECRET.value}"})
    with Endpoint(lambda _: echo) as endpoint:
        answer = Bounded().send(Post(f"{endpoint.url}/{SECRET.value}", b"{}", hide=(SECRET, Secret(""))))

    assert SECRET.value not in repr(answer)
    assert answer.body == b"no *** here"
    assert SECRET.value not in repr(
        Post(f"{endpoint.url}/{SECRET.value}", b"", {"Authorization": SECRET.value})
    )


class TestProxy:
    """The environment's proxy, where we have no address of our own."""

    def test_it_is_asked_to_connect(self, certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """
        TLS goes through it to the far end, and it gets its own credentials alone.
        """
        with Endpoint(certificate=certificate) as endpoint, proxy_to(endpoint.port) as (address, asked):
            monkeypatch.setenv("https_proxy", f"http://us%40er:pass@{address}")
            answer = Bounded().send(Post(f"{endpoint.url}/x", b"{}", {"Authorization": "Bearer t"}))

        assert answer.status == 200
        assert asked[0].startswith(f"CONNECT 127.0.0.1:{endpoint.port} HTTP/1.")
        assert "Proxy-Authorization: Basic dXNAZXI6cGFzcw==" in asked[0]
        assert "Bearer" not in asked[0]
        assert "proxy-authorization" not in endpoint.arrived[0].headers

    def test_a_judged_address_passes_it_by(self, certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """
        A proxy would look the name up anew: with addresses of ours it is not asked.
        """
        monkeypatch.setenv("https_proxy", f"127.0.0.1:{closed_port()}")

        with Endpoint(certificate=certificate) as endpoint:
            assert Bounded().send(Post(endpoint.url, b"{}"), to=there(endpoint)).status == 200
            with pytest.raises(NotSentError):
                Bounded().send(Post(endpoint.url, b"{}"))


def dripping(*parts: bytes) -> Iterator[bytes]:
    """The first part, then the last every twentieth of a second, without end."""
    pause = threading.Event()
    yield parts[0]
    while not pause.wait(0.05):
        yield parts[-1]


@contextmanager
def proxy_to(port: int) -> Iterator[tuple[str, list[str]]]:
    """A proxy for one connection; its address, and what it was asked."""
    asked: list[str] = []

    def pump(source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)

    def serve() -> None:
        client, _ = listener.accept()
        with client, socket.create_connection(("127.0.0.1", port)) as upstream:
            asked.append(client.recv(65536).decode())
            client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            back = threading.Thread(target=pump, args=(upstream, client))
            back.start()
            pump(client, upstream)
            back.join()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        yield f"127.0.0.1:{listener.getsockname()[1]}", asked
        thread.join()
