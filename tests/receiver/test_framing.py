"""The end of a request is found wherever the bytes are cut, and only where there is one reading of it."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver import framing
from receiver.framing import LARGEST_HEAD, Framer, HeadTooLargeError, Whole

LIMIT = 100
POST = b"POST / HTTP/1.1\r\nHost: x\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"


def look(pieces: Iterable[bytes], framer: Framer | None = None) -> Whole | None:
    """What is found first, while the bytes come in pieces."""
    framer = framer or Framer(LIMIT)
    buffer = bytearray()
    for piece in pieces:
        buffer += piece
        whole = framer.look(buffer)
        if whole is not None:
            return whole
    return None


def singly(request: bytes) -> list[bytes]:
    """The same, byte for byte."""
    return [request[at : at + 1] for at in range(len(request))]


REQUESTS = {
    "no-body": POST + b"\r\n",
    "empty-body": POST + b"Content-Length: 0\r\n\r\n",
    "body": POST + b"Content-Length: 5\r\n\r\nhello",
    "body-with-an-end-in-it": POST + b"content-length:\t7 \r\n\r\na\r\n\r\nbc",
    "at-the-limit": POST + b"Content-Length: 100\r\n\r\n" + b"x" * 100,
    "chunks": CHUNKED + b"5\r\nhello\r\n1;a=b\r\n!\r\n0\r\n\r\n",
    "chunks-with-trailers": CHUNKED + b"5\r\nhello\r\n0\r\nA: b\r\nC: d\r\n\r\n",
    "no-chunk": CHUNKED + b"0\r\n\r\n",
    "chunks-at-the-limit": CHUNKED + b"64\r\n" + b"x" * 100 + b"\r\n0\r\n\r\n",
    "no-header": b"GET / HTTP/1.0\r\n\r\n",
}


@pytest.mark.parametrize("request_bytes", REQUESTS.values(), ids=REQUESTS)
def test_the_end_is_found(request_bytes: bytes) -> None:
    """A request ends at its last byte, whether it comes at once, singly or with the next one behind it."""
    for pieces in (
        [request_bytes],
        singly(request_bytes),
        [request_bytes + POST],
        singly(request_bytes + POST),
    ):
        assert look(pieces) == Whole(len(request_bytes))
    assert look([request_bytes[:-1]]) is None


UNCLEAR = {
    "negative": b"Content-Length: -5\r\n",
    "plus": b"Content-Length: +5\r\n",
    "list": b"Content-Length: 5, 5\r\n",
    "words": b"Content-Length: five\r\n",
    "nothing": b"Content-Length:\r\n",
    "two": b"Content-Length: 5\r\nContent-Length: 5\r\n",
    "both": b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
    "both-turned": b"transfer-encoding: chunked\r\ncontent-length: 5\r\n",
    "other-coding": b"Transfer-Encoding: gzip, chunked\r\n",
    "two-codings": b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
    "space-before-colon": b"Transfer-Encoding : chunked\r\nContent-Length: 5\r\n",
}


@pytest.mark.parametrize("headers", UNCLEAR.values(), ids=UNCLEAR)
def test_an_unclear_length_is_not_waited_for(headers: bytes) -> None:
    """Where a length has no one reading, the head alone goes to the parser, and nothing after it counts."""
    head = POST + headers + b"\r\n"

    assert look([head + b"hello" + POST]) == Whole(len(head), last=True)


def test_a_body_over_the_limit_is_not_waited_for() -> None:
    """A length over the limit, or chunks that grow past it, end it where it stands. [B1, B2]"""
    head = POST + b"Content-Length: 101\r\n\r\n"

    assert look([head]) == Whole(len(head), last=True, too_large=True)
    for chunks in (b"65\r\n", b"FFFFFFFFFFFFFFFF\r\n", (b"a\r\n" + b"x" * 10 + b"\r\n") * 11):
        assert look(singly(CHUNKED + chunks)) == Whole(len(CHUNKED), last=True, too_large=True)


@pytest.mark.parametrize(
    "chunks",
    [b"x\r\n", b"\r\n", b"-1\r\n", b"0x5\r\n", b"5 5\r\n", b"1" * 300, b"0\r\n" + b"a" * 9_000],
    ids=["word", "empty", "negative", "prefix", "two", "endless", "endless-trailers"],
)
def test_bad_chunks_are_not_waited_for(chunks: bytes) -> None:
    """What is no size, or a line without end, goes to the parser as it is."""
    whole = look([CHUNKED + chunks])

    assert whole == Whole(len(CHUNKED + chunks), last=True)


def test_chunks_cost_little_more_than_their_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many tiny chunks are not gathered for ever."""
    monkeypatch.setattr(framing, "LARGEST_OVERHEAD", 40)
    whole = look(singly(CHUNKED + b"1\r\nx\r\n" * 20))

    assert whole is not None
    assert (whole.last, whole.too_large) == (True, False)
    assert whole.end < len(CHUNKED) + 60


@pytest.mark.parametrize(
    "text", [POST + b"A: b\n\n", b"GET / HTTP/1.1\n", b"\n"], ids=["head", "line", "lone"]
)
def test_a_bare_line_feed_is_not_waited_for(text: bytes) -> None:
    """A head with a bare line feed in it, which others read as an end, goes to the parser."""
    assert look([text]) == Whole(len(text), last=True)
    assert look(singly(text)) == Whole(text.replace(b"\r\n", b"__").index(b"\n") + 1, last=True)


def test_a_head_has_a_limit() -> None:
    """A head over the limit is refused, with its end in sight or not. [B10]"""
    for request in (b"x" * (LARGEST_HEAD + 1), POST + b"A: " + b"x" * LARGEST_HEAD + b"\r\n\r\n"):
        with pytest.raises(HeadTooLargeError):
            look([request])


@pytest.mark.parametrize(
    ("head", "expects"),
    [
        (POST + b"Expect: 100-Continue\r\nContent-Length: 5\r\n\r\n", True),
        (POST + b"Expect: something\r\nContent-Length: 5\r\n\r\n", False),
        (b"POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n", False),
        (POST + b"Content-Length: 5\r\n\r\n", False),
    ],
)
def test_who_waits_for_a_word(head: bytes, expects: bool) -> None:
    """Expect: 100-continue is seen where HTTP/1.1 has it."""
    framer = Framer(LIMIT)

    assert look([head], framer) is None
    assert framer.expects_continue is expects


@given(
    st.lists(st.sampled_from([*REQUESTS.values(), *UNCLEAR.values(), b"\r\n", b"\n", b"5", b":"]), max_size=8)
)
def test_any_bytes_have_an_end_or_wait(pieces: list[bytes]) -> None:
    """Whatever comes, the end is within what came, and the same for one reader as for a slow one."""
    at_once, slowly = look([b"".join(pieces)]), look(singly(b"".join(pieces)))

    if at_once is None:
        assert slowly is None
        return
    assert slowly is not None
    assert 0 < slowly.end <= at_once.end <= len(b"".join(pieces))
    assert (slowly.last, slowly.too_large) == (at_once.last, at_once.too_large)
    assert at_once.last or slowly.end == at_once.end


@given(st.lists(st.binary(max_size=60), max_size=10))
def test_any_noise_is_survived(pieces: list[bytes]) -> None:
    """Bytes without sense raise nothing."""
    look(pieces)
    look([CHUNKED, *pieces])
