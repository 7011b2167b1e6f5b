"""What can happen to an answer on its way: each trick is one way, made to order."""

from __future__ import annotations

import gzip
import re
import time
from collections.abc import Callable, Iterator

from tests.client_faults.proxy import Answer, Asked, CloseConnection, Forward, ResetConnection, Trick

LOGIN_PAGE = b"<!doctype html><html><head><title>Log in</title></head><body>Please log in.</body></html>"


def reset_after(count: int) -> Trick:
    """A reset after so many bytes of the body, if it has more."""
    return _ending(count, ResetConnection)


def closed_after(count: int) -> Trick:
    """A connection that ends politely after so many bytes of the body, though more were promised."""
    return _ending(count, CloseConnection)


def stalled_after(count: int, wait: Callable[[], object]) -> Trick:
    """Nothing more after so many bytes, until ``wait`` returns; then the connection ends."""

    def play(asked: Asked, forward: Forward) -> Answer:
        answer = forward(asked)

        def body() -> Iterator[bytes]:
            yield from _first(answer.body, count)
            wait()
            raise CloseConnection

        return Answer(answer.status, answer.headers, body())

    return play


def unheard(wait: Callable[[], object]) -> Trick:
    """Not even a head, until ``wait`` returns."""

    def play(_asked: Asked, _forward: Forward) -> Answer:
        wait()
        raise CloseConnection

    return play


def throttled(bytes_per_second: float, *, piece: int = 16 * 1024) -> Trick:
    """The right answer, slowly: never silent for long, never fast."""

    def play(asked: Asked, forward: Forward) -> Answer:
        answer = forward(asked)

        def body() -> Iterator[bytes]:
            for chunk in answer.body:
                for start in range(0, len(chunk), piece):
                    yield chunk[start : start + piece]
                    time.sleep(piece / bytes_per_second)

        return Answer(answer.status, answer.headers, body())

    return play


def flipped(place: int) -> Trick:
    """The right length with one bit inverted, so many bytes into this answer."""

    def play(asked: Asked, forward: Forward) -> Answer:
        answer = forward(asked)

        def body() -> Iterator[bytes]:
            here = 0
            for chunk in answer.body:
                at = place - here
                here += len(chunk)
                within = 0 <= at < len(chunk)
                yield chunk[:at] + bytes([chunk[at] ^ 1]) + chunk[at + 1 :] if within else chunk

        return Answer(answer.status, answer.headers, body())

    return play


def login_page(_asked: Asked, _forward: Forward) -> Answer:
    """A page for people, with status 200, as a proxy with a log-in gives to everybody."""
    headers = {"content-type": "text/html", "content-length": str(len(LOGIN_PAGE))}
    return Answer(200, headers, iter([LOGIN_PAGE]))


def refused(status: int, **headers: str) -> Trick:
    """A status, and nothing of the file."""

    def play(_asked: Asked, _forward: Forward) -> Answer:
        body = b"<Error><Code>AccessDenied</Code></Error>"
        answer = Answer(status, {"content-type": "application/xml"}, iter([body]))
        return answer.having(content_length=len(body), **headers)

    return play


def shorter(count: int) -> Trick:
    """So many bytes fewer, and by the server's own word that is all."""

    def play(asked: Asked, forward: Forward) -> Answer:
        answer = forward(asked)
        left = int(answer.headers["content-length"]) - count
        return Answer(answer.status, answer.headers, _first(answer.body, left)).having(content_length=left)

    return play


def longer(count: int) -> Trick:
    """So many bytes more, and by the server's own word they belong to it."""

    def play(asked: Asked, forward: Forward) -> Answer:
        answer = forward(asked)
        length = int(answer.headers["content-length"]) + count
        return Answer(answer.status, answer.headers, _followed(answer.body, b"x" * count)).having(
            content_length=length
        )

    return play


def surplus(count: int) -> Trick:
    """The right answer, and bytes that nobody announced after it, on the same connection."""

    def play(asked: Asked, forward: Forward) -> Answer:
        answer = forward(asked)
        return Answer(answer.status, answer.headers, _followed(answer.body, b"x" * count))

    return play


def unannounced(count: int) -> Trick:
    """No length at all, and the connection ends so many bytes early."""

    def play(asked: Asked, forward: Forward) -> Answer:
        answer = forward(asked)
        left = int(answer.headers["content-length"]) - count
        return Answer(answer.status, answer.headers, _first(answer.body, left)).having(content_length=None)

    return play


def range_ignored(asked: Asked, forward: Forward) -> Answer:
    """The whole file with 200, whatever part was asked for."""
    return forward(asked.without("range"))


def another_range(shift: int) -> Trick:
    """206 with the part that begins so many bytes later, and says so."""

    def play(asked: Asked, forward: Forward) -> Answer:
        first, last = _range(asked)
        moved = f"bytes={first + shift}-{'' if last is None else last + shift}"
        return forward(Asked(asked.method, asked.target, {**asked.headers, "range": moved}))

    return play


def lying_range(shift: int) -> Trick:
    """206 that names the part asked for, and holds another of the same length."""

    def play(asked: Asked, forward: Forward) -> Answer:
        honest = forward(asked)
        for _ in honest.body:
            pass
        other = another_range(-shift)(asked, forward)
        return Answer(other.status, honest.headers, _first(other.body, int(honest.headers["content-length"])))

    return play


def part_unasked(asked: Asked, forward: Forward) -> Answer:
    """206 without saying which part."""
    return forward(asked).having(content_range=None)


def gzipped(asked: Asked, forward: Forward) -> Answer:
    """Compressed, though asked for as it is."""
    answer = forward(asked)
    body = gzip.compress(b"".join(answer.body), 0)
    return Answer(answer.status, answer.headers, iter([body])).having(
        content_encoding="gzip", content_length=len(body)
    )


def garbage(_asked: Asked, _forward: Forward) -> Answer:
    """Something that is hardly HTTP."""
    return Answer(299, {"content-length": "-1", "x": "\x00"}, iter([b"\xff" * 100]))


def dropped(_asked: Asked, _forward: Forward) -> Answer:
    """A connection that ends before the answer begins."""
    raise CloseConnection


def _ending(count: int, how: type[Exception]) -> Trick:
    def play(asked: Asked, forward: Forward) -> Answer:
        answer = forward(asked)

        def body() -> Iterator[bytes]:
            left = count
            for chunk in answer.body:
                if len(chunk) > left:
                    yield chunk[:left]
                    raise how
                yield chunk
                left -= len(chunk)

        return Answer(answer.status, answer.headers, body())

    return play


def _first(chunks: Iterator[bytes], count: int) -> Iterator[bytes]:
    """So many bytes; the rest is read and dropped, so that the connection behind stays in step."""
    for chunk in chunks:
        if count > 0:
            yield chunk[:count]
        count -= len(chunk)


def _followed(chunks: Iterator[bytes], end: bytes) -> Iterator[bytes]:
    yield from chunks
    yield end


def _range(asked: Asked) -> tuple[int, int | None]:
    match = re.fullmatch(r"bytes=([0-9]+)-([0-9]*)", asked.headers.get("range", "bytes=0-"))
    assert match is not None, asked.headers["range"]
    return int(match[1]), int(match[2]) if match[2] else None
