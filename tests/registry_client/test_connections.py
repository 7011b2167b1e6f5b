"""Through real proxies, past real certificates; whatever goes wrong there is one of our errors."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from registry_client.connections import Connections, content, discard
from registry_client.credentials import ApiKey
from registry_client.errors import CertificateError, FetchError, ProxyError
from registry_client.patience import TransientError
from registry_client.wire import Wire
from tests.registry_client.origin import Authority, Origin, serving
from tests.stand_ins.proxy import Proxy

KEY = ApiKey.parse("k" * 40, "test")


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def secure(authority: Authority) -> Iterator[Origin]:
    with serving(authority.server(), "HTTP/1.1") as origin:
        yield origin


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    with Proxy() as stand_in:
        yield stand_in


@contextmanager
def connecting(environ: dict[str, str], read_timeout: float = 5) -> Iterator[Connections]:
    with closing(Connections(environ, user_agent="test", read_timeout=read_timeout)) as connections:
        yield connections


def got(environ: dict[str, str], url: str) -> bytes:
    with connecting(environ) as connections:
        response = connections.request("GET", url, headers={})
        try:
            return content(response, url, most=100)
        finally:
            discard(response)


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


# --- certificates


@pytest.mark.parametrize("variable", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"])
def test_an_authority_of_ones_own_is_trusted(authority: Authority, secure: Origin, variable: str) -> None:
    """
    By any of the variables that others read.
    """
    assert got({variable: str(authority.file)}, secure.url) == b"hello"


def test_an_unknown_authority_is_not(tmp_path: Path, secure: Origin) -> None:
    """
    Not the usual ones alone, and not a directory that holds nobody; the message says how to trust it.
    """
    empty = tmp_path / "empty"
    empty.mkdir()
    for environ in ({}, {"SSL_CERT_FILE": str(empty)}):
        with pytest.raises(CertificateError, match=r"^the certificate of 127\.0\.0\.1:\d+ is not") as caught:
            got(environ, secure.url)
        assert "name its file in REQUESTS_CA_BUNDLE or SSL_CERT_FILE" in str(caught.value)

    assert secure.seen == []
    assert not caught.value.retryable


@pytest.mark.parametrize(
    ("address", "days", "reason"),
    [("127.0.0.2", 1, "not valid for '127.0.0.1'"), ("127.0.0.1", -1, "certificate has expired")],
    ids=["another server's", "expired"],
)
def test_a_certificate_must_be_right_as_well(
    authority: Authority, address: str, days: int, reason: str
) -> None:
    """
    Its name and its time, whoever signed it.
    """
    with (
        serving(authority.server(address, days=days)) as origin,
        pytest.raises(CertificateError, match=reason),
    ):
        got({"REQUESTS_CA_BUNDLE": str(authority.file)}, origin.url)


# --- proxies


def test_a_proxy_passes_on_what_it_cannot_read(authority: Authority, secure: Origin, proxy: Proxy) -> None:
    """
    The key is for W&B: the proxy sees a host, once, for all that is asked there.
    """
    environ = {"HTTPS_PROXY": proxy.url(), "REQUESTS_CA_BUNDLE": str(authority.file)}
    with connecting(environ) as connections:
        wire = Wire(secure.url, KEY, connections)
        for _ in range(3):
            with wire.open(secure.url, signed_in=True) as body:
                assert b"".join(body.chunks()) == b"hello"

    assert [each.rpartition(" ")[0] for each in proxy.asked] == [
        f"CONNECT {secure.url.removeprefix('https://')}"
    ]
    assert not {"authorization", "proxy-authorization"} & proxy.headers[0].keys()
    assert all("authorization" in each and "proxy-authorization" not in each for each in secure.seen)
    assert len(secure.seen) == 3


def test_no_proxy_leads_past_it(authority: Authority, secure: Origin, proxy: Proxy) -> None:
    """
    For the hosts that it names.
    """
    environ = {"HTTPS_PROXY": proxy.url(), "REQUESTS_CA_BUNDLE": str(authority.file)}

    assert got({**environ, "NO_PROXY": "127.0.0.1"}, secure.url) == b"hello"
    assert proxy.asked == []


def test_a_proxy_may_itself_be_behind_tls(authority: Authority, secure: Origin) -> None:
    """
    With a certificate that is checked like any other.
    """
    with Proxy(tls=authority.server()) as proxy:
        environ = {"HTTPS_PROXY": proxy.url(), "REQUESTS_CA_BUNDLE": str(authority.file)}
        assert got(environ, secure.url) == b"hello"
        with pytest.raises(CertificateError):
            got({"HTTPS_PROXY": proxy.url()}, secure.url)

    assert len(proxy.asked) == 1


def test_what_is_in_the_clear_does_not_leave_this_machine(proxy: Proxy) -> None:
    """
    Plain http is for this machine alone, and a proxy would read the key.
    """
    with serving() as origin:
        assert got({"HTTP_PROXY": proxy.url(), "ALL_PROXY": proxy.url()}, origin.url) == b"hello"

    assert proxy.asked == []


def test_a_proxy_gets_its_own_password(authority: Authority, secure: Origin, proxy: Proxy) -> None:
    """
    As the variable holds it, percent signs decoded; the server does not see it.
    """
    proxy.user = "ana:p@ss"
    environ = {"HTTPS_PROXY": proxy.url("ana:p%40ss"), "REQUESTS_CA_BUNDLE": str(authority.file)}

    assert got(environ, secure.url) == b"hello"
    assert "proxy-authorization" not in secure.seen[0]


@pytest.mark.parametrize(
    ("user", "message"),
    [(None, "wants a user and password"), ("ana:hunter2", "does not take the user and password")],
)
def test_a_proxy_that_wants_another_password_says_so(
    secure: Origin, proxy: Proxy, user: str | None, message: str
) -> None:
    """
    Which proxy, and where to write the password; not what it was.
    """
    proxy.user = "ana:p@ss"

    with pytest.raises(
        ProxyError, match=rf"^the proxy 127\.0\.0\.1:\d+ {message} \(407\).*HTTPS_PROXY"
    ) as caught:
        got({"HTTPS_PROXY": proxy.url(user)}, secure.url)

    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("refusal", "error", "message"),
    [
        ("403 Forbidden", ProxyError, "answered 403 when asked for .*: allow that host there, or name it in"),
        ("503 Service Unavailable", TransientError, "answered 503 when asked for 127"),
    ],
)
def test_a_proxy_that_refuses_is_told_from_the_server(
    secure: Origin, proxy: Proxy, refusal: str, error: type[FetchError], message: str
) -> None:
    """
    Its own fault may pass; its own rule will not.
    """
    proxy.refuse = refusal

    with pytest.raises(error, match=rf"^the proxy 127\.0\.0\.1:\d+ {message}") as caught:
        got({"HTTPS_PROXY": proxy.url()}, secure.url)

    assert isinstance(caught.value, TransientError) == (error is TransientError)


def test_a_proxy_that_is_not_there_is_told(secure: Origin) -> None:
    """
    With the variables that name it, and the one that leads past it.
    """
    with pytest.raises(ProxyError, match=r"cannot be reached: Connection refused.*NO_PROXY") as caught:
        got({"HTTPS_PROXY": f"http://ana:hunter2@127.0.0.1:{closed_port()}"}, secure.url)

    assert "hunter2" not in str(caught.value)


def test_a_proxy_that_says_nothing_may_be_asked_again(secure: Origin) -> None:
    """
    It is a fault of the way, with both ends named.
    """
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        connecting({"HTTPS_PROXY": f"http://127.0.0.1:{silent.getsockname()[1]}"}, 0.2) as connections,
        pytest.raises(TransientError, match="no answer in time"),
    ):
        connections.request("GET", secure.url, headers={})


# --- connections


def test_a_silent_server_is_left() -> None:
    """
    After the time that was given, whether it was silent from the start or in the middle.
    """
    release = threading.Event()

    def half(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(65536)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel")
            release.wait(10)

    with socket.create_server(("127.0.0.1", 0)) as listener, connecting({}, 0.2) as connections:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        thread = threading.Thread(target=half, args=(listener,))
        thread.start()
        response = connections.request("GET", url, headers={})
        with pytest.raises(TransientError, match=r"^127\.0\.0\.1:\d+: no answer in time$"):
            content(response, url, most=100)
        release.set()
        thread.join()
        with pytest.raises(TransientError, match="no answer in time"):
            connections.request("GET", url, headers={})


@pytest.mark.parametrize("patience", [1, 2])
def test_bytes_have_the_whole_time_that_was_given(patience: int) -> None:
    """
    However long or short the connection took; a question has more of it.
    """
    with serving(protocol="HTTP/1.1") as origin, connecting({}, 30) as connections:
        response = connections.request("GET", origin.url, headers={}, patience=patience)
        used: Any = response.connection
        assert used.sock.gettimeout() == 30 * patience
        response.close()


@pytest.mark.parametrize(("size", "connections_made"), [(1000, 1), (100_000, 2)], ids=["small", "large"])
def test_a_connection_is_kept_where_that_is_cheap(size: int, connections_made: int) -> None:
    """
    A small body that nobody wants is read to its end; a large one is not.
    """
    with serving(protocol="HTTP/1.1") as origin, connecting({}) as connections:
        origin.answer = (307, {"Content-Length": str(size)}, bytes(size))
        for _ in range(2):
            discard(connections.request("GET", origin.url, headers={}))
        made = origin.connections

    assert made == connections_made


def test_an_answer_that_never_ends_is_left() -> None:
    """
    No more is kept than was asked for.
    """
    with serving() as origin:
        origin.answer = (200, {}, bytes(1000))
        with pytest.raises(FetchError, match="answered with more than 100 bytes"):
            got({}, origin.url)


@pytest.mark.parametrize("url", ["https://files.test:port/secret", "https://[secret", "https:///secret"])
def test_nonsense_is_an_error_of_ours(url: str) -> None:
    """
    Whatever the libraries think of it, and without repeating it.
    """
    with pytest.raises(FetchError) as caught:
        got({}, url)

    assert "secret" not in str(caught.value)
