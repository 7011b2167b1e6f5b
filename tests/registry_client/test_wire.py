"""Who sees the key, what a status means, how long to wait."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from registry_client.connections import Connections
from registry_client.credentials import ApiKey
from registry_client.errors import CertificateError, FetchError
from registry_client.patience import TransientError
from registry_client.wire import StaleUrlError, Wire, WrongRangeError
from tests.registry_client.origin import Authority, Origin, serving

KEY = ApiKey.parse("k" * 40, "test")


@pytest.fixture
def server() -> Iterator[Origin]:
    with serving() as origin:
        yield origin


@pytest.fixture
def store() -> Iterator[Origin]:
    with serving() as origin:
        yield origin


@pytest.fixture
def wire(server: Origin) -> Iterator[Wire]:
    wire = Wire(server.url, KEY, Connections({}, user_agent="test", read_timeout=5))
    yield wire
    wire.close()


def got(wire: Wire, url: str, *, offset: int = 0, signed_in: bool = False) -> bytes:
    with wire.open(url, offset=offset, signed_in=signed_in) as body:
        return b"".join(body.chunks())


def test_the_key_is_for_its_server(wire: Wire, server: Origin, store: Origin) -> None:
    """
    Signed in or not: another origin, even on the same host, sees nothing.
    """
    assert got(wire, server.url, signed_in=True) == b"hello"
    assert got(wire, server.url) == b"hello"
    assert got(wire, store.url, signed_in=True) == b"hello"

    assert ["authorization" in each for each in server.seen] == [True, False]
    assert "authorization" not in store.seen[0]


def test_a_redirect_home_keeps_the_key_and_one_abroad_loses_it(
    wire: Wire, server: Origin, store: Origin
) -> None:
    """
    Each hop is judged by where it leads.
    """
    server.answer = (307, {"Location": f"{store.url}/x", "Content-Length": "0"}, b"")

    assert got(wire, server.url, signed_in=True) == b"hello"
    assert "authorization" in server.seen[0]
    assert "authorization" not in store.seen[0]

    store.answer = (307, {"Location": f"{server.url}/x", "Content-Length": "0"}, b"")
    with pytest.raises(FetchError, match="redirects more than 5 times"):
        got(wire, server.url)
    assert not [each for each in server.seen[1:] if "authorization" in each]


def test_a_password_in_a_url_is_not_sent(wire: Wire, store: Origin) -> None:
    """
    Requests would make a header of it.
    """
    assert got(wire, store.url.replace("http://", "http://user:password@")) == b"hello"
    assert "authorization" not in store.seen[0]


def test_a_relative_url_is_the_servers(wire: Wire, server: Origin) -> None:
    """
    Servers of one's own may give paths.
    """
    assert got(wire, "/files/x") == b"hello"
    assert len(server.seen) == 1


@pytest.mark.parametrize("url", ["http://files.test/x", "ftp://files.test/x", "file:///etc/passwd"])
def test_files_in_the_clear_are_refused(wire: Wire, url: str) -> None:
    """
    Only https, or this machine.
    """
    with pytest.raises(FetchError, match="in the clear; want https"):
        wire.open(url)


def test_a_scheme_may_be_in_capitals(wire: Wire, tmp_path: Path) -> None:
    """
    It is https all the same: it comes as far as the certificate.
    """
    with serving(Authority(tmp_path).server()) as store, pytest.raises(CertificateError):
        wire.open(store.url.replace("https", "HTTPS"))


def test_a_server_elsewhere_does_not_send_us_to_this_machine(store: Origin) -> None:
    """
    What listens here in the clear is nobody's file store, unless W&B itself is here too.
    """
    wire = Wire("https://api.wandb.ai", KEY, Connections({}, user_agent="test"))

    with pytest.raises(FetchError, match="in the clear; want https"):
        wire.open(store.url)

    wire.close()
    assert store.seen == []


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "identity", ""])
def test_bytes_are_never_decoded(wire: Wire, store: Origin, encoding: str) -> None:
    """
    They come as they are; what the store says of them is told.
    """
    sent = b"\x1f\x8b\x08\x00"
    store.answer = (200, {"Content-Encoding": encoding, "Content-Length": "4"}, sent)

    with wire.open(store.url) as body:
        assert b"".join(body.chunks()) == sent
        assert body.length == 4
        assert body.encoding == (encoding if encoding in {"gzip", "deflate"} else None)

    assert store.seen[0]["accept-encoding"] == "identity"


WHOLE = {"Content-Length": "5", "ETag": '"e"'}
PAST = {"Content-Range": "bytes */5", "Content-Length": "5"}


def part(content_range: str, length: int) -> dict[str, str]:
    return {"Content-Range": content_range, "Content-Length": str(length)}


@pytest.mark.parametrize(
    ("answer", "offset", "length", "asked", "wanted"),
    [
        ((206, part("bytes 2-4/5", 3), b"llo"), 2, None, "bytes=2-", (2, b"llo", 5, 206)),
        ((206, part("bytes 2-4/*", 3), b"llo"), 2, None, "bytes=2-", (2, b"llo", None, 206)),
        ((206, part("bytes 0-0/5", 1), b"h"), 0, 1, "bytes=0-0", (0, b"h", 5, 206)),
        ((206, part("bytes 1-2/5", 2), b"el"), 1, 3, "bytes=1-3", (1, b"el", 5, 206)),
        ((200, WHOLE, b"hello"), 2, None, "bytes=2-", (0, b"hello", 5, 200)),
        ((200, WHOLE, b"hello"), 2, 2, "bytes=2-3", (0, b"hello", 5, 200)),
        ((200, WHOLE, b"hello"), 0, None, None, (0, b"hello", 5, 200)),
        ((416, PAST, b"<xml>"), 5, None, "bytes=5-", (5, b"", 5, 416)),
        ((416, PAST, b"<xml>"), 5, 2, "bytes=5-6", (5, b"", 5, 416)),
    ],
    ids=["rest", "total unknown", "first byte", "fewer", "all", "all for a part", "plain", "past", "past 2"],
)
def test_a_range_is_answered_in_one_of_three_ways(  # noqa: PLR0917 - fixtures and cases
    wire: Wire,
    store: Origin,
    answer: tuple[int, dict[str, str], bytes],
    offset: int,
    length: int | None,
    asked: str | None,
    wanted: tuple[int, bytes, int | None, int],
) -> None:
    """
    ``offset`` says where the bytes begin, ``total`` how long the whole file is, ``status`` which way it was.
    """
    store.answer = answer

    with wire.open(store.url, offset=offset, length=length) as body:
        assert (body.offset, b"".join(body.chunks()), body.total, body.status) == wanted
        assert body.announced
        assert body.etag == answer[1].get("ETag")

    assert store.seen[0].get("range") == asked


@pytest.mark.parametrize(
    ("headers", "length"),
    [
        (part("bytes 1-4/5", 4), None),
        (part("bytes 3-4/5", 2), None),
        (part("bytes 2-4/5", 4), None),
        (part("bytes 2-4/5", 3), 2),
        (part("bytes 4-2/5", 3), None),
        (part("2-4", 3), None),
        ({"Content-Length": "3"}, None),
    ],
    ids=["before", "after", "more than it says", "more than asked", "backwards", "malformed", "untold"],
)
def test_another_range_than_asked_for_is_refused(
    wire: Wire, store: Origin, headers: dict[str, str], length: int | None
) -> None:
    """
    Bytes from somewhere else must not be joined to ours; the server may be asked once more.
    """
    store.answer = (206, headers, b"ello"[: int(headers["Content-Length"])])

    with pytest.raises(WrongRangeError, match="of a file, want bytes 2-"):
        wire.open(store.url, offset=2, length=length)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410])
def test_a_url_that_is_not_taken_is_stale(wire: Wire, store: Origin, status: int) -> None:
    """
    File stores say it in many ways; host and status are told, never the URL.
    """
    store.answer = (status, {"Content-Length": "0"}, b"")

    with pytest.raises(StaleUrlError, match=f"answered {status}") as caught:
        wire.open(f"{store.url}/x?X-Amz-Signature=abc")

    assert "abc" not in str(caught.value)


@pytest.mark.parametrize(
    ("retry_after", "asked"),
    [
        ("7", 7.0),
        ("-7", 0.0),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0),
        ("soon", None),
        ("", None),
        ("1.5", None),
    ],
)
def test_retry_after_is_read(wire: Wire, store: Origin, retry_after: str, asked: float | None) -> None:
    """
    Seconds or a date; what is neither counts as nothing.
    """
    store.answer = (503, {"Retry-After": retry_after, "Content-Length": "0"}, b"")

    with pytest.raises(TransientError) as caught:
        wire.open(store.url)

    assert caught.value.asked == asked


def test_a_body_that_is_cut_is_a_transient_fault(wire: Wire, store: Origin) -> None:
    """
    The server said five bytes and gave three.
    """
    store.answer = (200, {"Content-Length": "5"}, b"hel")

    with pytest.raises(TransientError, match="ended in the middle of the answer"):
        got(wire, store.url)


def test_a_body_of_unannounced_length_says_so(wire: Wire, store: Origin) -> None:
    """
    Its end cannot be told from a cut.
    """
    store.answer = (200, {}, b"hel")

    with wire.open(store.url) as body:
        assert b"".join(body.chunks()) == b"hel"
        assert not body.announced


def test_a_url_of_nonsense_is_an_error_of_ours(wire: Wire) -> None:
    """
    Whatever requests thinks of it, and without repeating it.
    """
    with pytest.raises(FetchError) as caught:
        wire.open("https://files.test:port/secret")

    assert "secret" not in str(caught.value)


def test_connections_are_used_again(wire: Wire) -> None:
    """
    Thousands of small files come over a few connections.
    """
    with serving(protocol="HTTP/1.1") as store:
        for _ in range(3):
            assert got(wire, store.url) == b"hello"
        wire.close()

    assert (len(store.seen), store.connections) == (3, 1)


def test_a_broken_handshake_may_be_tried_again(wire: Wire, store: Origin) -> None:
    """
    A server that speaks no TLS: perhaps it is only starting.
    """
    with pytest.raises(TransientError, match=r"^127\.0\.0\.1:\d+: \[SSL"):
        wire.open(store.url.replace("http:", "https:"))


def test_a_certificate_that_is_not_trusted_is_final(wire: Wire, tmp_path: Path) -> None:
    """
    The message says how to trust it.
    """
    authority = Authority(tmp_path)

    with (
        serving(authority.server()) as store,
        pytest.raises(
            CertificateError, match=r"not trusted: .*; if an authority .*REQUESTS_CA_BUNDLE"
        ) as caught,
    ):
        wire.open(store.url)

    assert not isinstance(caught.value, TransientError)
    assert store.seen == []


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
def test_who_waits_for_bytes_can_be_woken(tmp_path: Path, *, secure: bool) -> None:
    """
    At once, from another thread: the rest will not come.
    """
    authority, release, ended = Authority(tmp_path), threading.Event(), list[bool]()
    environ = {"REQUESTS_CA_BUNDLE": str(authority.file)}
    with serving(authority.server() if secure else None) as store:
        store.answer = (200, {"Content-Length": "9"}, b"hello")
        store.before_end = lambda: ended.append(release.wait(20))
        with closing(Wire(store.url, KEY, Connections(environ, user_agent="test"))) as wire:
            body = wire.open(store.url)
            waiting = threading.Timer(0.1, body.abort)
            waiting.start()
            with body, pytest.raises(FetchError, match=r"^127\.0\.0\.1:\d+: "):
                list(body.chunks())
            assert ended == []
            waiting.join()
        release.set()


def test_a_body_that_is_closed_while_it_is_read_is_a_transient_fault(wire: Wire, store: Origin) -> None:
    """
    Whoever did it: the transfer decides whether to go on.
    """
    with wire.open(store.url) as body:
        body._response._fp.fp.close()  # type: ignore[attr-defined]  # As another thread might.
        with pytest.raises(TransientError, match="closed"):
            list(body.chunks())


def test_a_server_that_sends_the_question_elsewhere_is_not_followed(wire: Wire, server: Origin) -> None:
    """
    The question holds the key.
    """
    server.answer = (308, {"Location": "https://[elsewhere", "Content-Length": "0"}, b"")

    with pytest.raises(FetchError, match="sends us on to an address that is no URL; the key does not follow"):
        wire.ask("/graphql", {})


def test_a_status_that_no_store_gives_is_final(wire: Wire, store: Origin) -> None:
    """
    Neither file nor refusal.
    """
    store.answer = (204, {}, b"")

    with pytest.raises(FetchError, match="answered 204 where a file should be"):
        wire.open(store.url)
