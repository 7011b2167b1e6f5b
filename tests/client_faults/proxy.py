"""A proxy that spoils answers, and counts what it sends: HTTP/1.1, a thread for each connection."""

from __future__ import annotations

import http.client
import socket
import struct
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass, field, replace
from typing import BinaryIO
from urllib.parse import urlsplit

CHUNK = 256 * 1024
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # SO_LINGER, on, 0 seconds: close() sends RST, not FIN.
_SEND_BUFFER = 256 * 1024  # Small, so that what is counted as sent is about what arrived.
_HOP = {"connection", "keep-alive", "transfer-encoding", "server", "date"}


class ResetConnection(Exception):  # noqa: N818 - an order, not an error
    """Raised by a body: end the connection with a reset."""


class CloseConnection(Exception):  # noqa: N818 - an order, not an error
    """Raised by a body: end the connection as if nothing were missing."""


@dataclass(frozen=True)
class Asked:
    """One request."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes = b""

    @property
    def path(self) -> str:
        """Without the query."""
        return self.target.partition("?")[0]

    def without(self, header: str) -> Asked:
        """The same, less one header."""
        return replace(self, headers={name: each for name, each in self.headers.items() if name != header})


@dataclass(frozen=True)
class Answer:
    """One answer; header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: Iterator[bytes] = field(default_factory=lambda: iter(()))

    def having(self, **headers: str | int | None) -> Answer:
        """The same with other headers (``content_length=…``); None takes one away."""
        changed = {name.replace("_", "-"): value for name, value in headers.items()}
        merged: dict[str, str | int | None] = {**self.headers, **changed}
        return replace(
            self, headers={name: str(value) for name, value in merged.items() if value is not None}
        )


Forward = Callable[[Asked], Answer]
Trick = Callable[[Asked, Forward], Answer]


@dataclass
class Spoiling:
    """A trick, and which answers it is played on."""

    trick: Trick
    where: Callable[[Asked], bool]
    times: int | None
    after: int
    played: int = 0

    def takes(self, asked: Asked) -> bool:
        """Whether this answer is one of them."""
        if not self.where(asked) or (self.times is not None and self.played >= self.times):
            return False
        self.after -= 1
        if self.after >= 0:
            return False
        self.played += 1
        return True


class FaultProxy:
    """Passes requests on to a server, and plays tricks on its answers.

    Attributes:
        requests: Every request so far.
        sent: How many bytes of bodies were sent for each path.
        released: Set when the proxy stops: whatever stalls should wait for it.
    """

    def __init__(self, upstream: Callable[[], str]) -> None:
        self.requests: list[Asked] = []
        self.sent: Counter[str] = Counter()
        self.released = threading.Event()
        self._upstream = upstream
        self._spoilings: list[Spoiling] = []
        self._lock = threading.Lock()
        self._connections: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._listener: socket.socket | None = None

    @property
    def url(self) -> str:
        """Where it listens, without a slash at the end."""
        assert self._listener is not None, "the proxy is not running"
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def spoil(
        self,
        trick: Trick,
        *,
        where: Callable[[Asked], bool] = lambda _: True,
        times: int | None = 1,
        after: int = 0,
    ) -> Spoiling:
        """Play this trick on the next answers: on so many (None: all), after letting some pass."""
        spoiling = Spoiling(trick, where, times, after)
        with self._lock:
            self._spoilings.append(spoiling)
        return spoiling

    def forget(self) -> None:
        """Play no more tricks, and count from nothing."""
        with self._lock:
            self._spoilings.clear()
            self.requests.clear()
            self.sent.clear()

    def __enter__(self) -> FaultProxy:  # noqa: PYI034 - typing.Self is newer than our oldest Python
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)
        self._start(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        assert self._listener is not None
        self.released.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        with self._lock:
            connections = list(self._connections)
        for connection in connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(30)
        self._listener.close()

    def _start(self, work: Callable[[], None]) -> None:
        thread = threading.Thread(target=work, name="fault-proxy", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        assert self._listener is not None
        while not self.released.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._lock:
                self._connections.add(connection)
            self._start(lambda connection=connection: self._serve(connection))  # type: ignore[misc]

    def _serve(self, connection: socket.socket) -> None:
        try:
            with closing(connection), connection.makefile("rb") as reader, suppress(OSError):
                upstream = http.client.HTTPConnection(urlsplit(self._upstream()).netloc, timeout=60)
                with closing(upstream):
                    while (asked := _read_request(reader)) and self._answer(connection, asked, upstream):
                        pass
        finally:
            with self._lock:
                self._connections.discard(connection)

    def _answer(self, connection: socket.socket, asked: Asked, upstream: http.client.HTTPConnection) -> bool:
        """Answer one request; whether the connection lives on."""
        with self._lock:
            self.requests.append(asked)
            spoiling = next((each for each in self._spoilings if each.takes(asked)), None)

        def forward(asked: Asked) -> Answer:
            return _forwarded(asked, upstream)

        try:
            answer = forward(asked) if spoiling is None else spoiling.trick(asked, forward)
            self._send(connection, asked, answer)
        except CloseConnection:
            return False
        except ResetConnection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            socket.close(connection.detach())
            return False
        return "content-length" in answer.headers

    def _send(self, connection: socket.socket, asked: Asked, answer: Answer) -> None:
        lines = [f"HTTP/1.1 {answer.status} {http.client.responses.get(answer.status, 'Unknown')}"]
        lines += [f"{name}: {value}" for name, value in answer.headers.items()]
        lines += [] if "content-length" in answer.headers else ["connection: close"]
        connection.sendall("\r\n".join([*lines, "", ""]).encode("latin-1"))
        for chunk in answer.body:
            connection.sendall(chunk)
            with self._lock:
                self.sent[asked.path] += len(chunk)


def _read_request(reader: BinaryIO) -> Asked | None:
    """The next request of a connection; None when it ends."""
    read_line = reader.readline
    first = read_line().decode("latin-1").split()
    if len(first) != 3:
        return None
    headers = {}
    while line := read_line().decode("latin-1").rstrip("\r\n"):
        name, _, value = line.partition(":")
        headers[name.strip().lower()] = value.strip()
    body = reader.read(int(headers.get("content-length", 0)))
    return Asked(first[0], first[1], headers, body)


def _forwarded(asked: Asked, upstream: http.client.HTTPConnection) -> Answer:
    headers = {name: value for name, value in asked.headers.items() if name not in _HOP}
    upstream.request(asked.method, asked.target, asked.body or None, headers)
    response = upstream.getresponse()
    kept = {name.lower(): value for name, value in response.getheaders() if name.lower() not in _HOP}
    return Answer(response.status, kept, _chunks(response))


def _chunks(response: http.client.HTTPResponse) -> Iterator[bytes]:
    with closing(response):
        while chunk := response.read(CHUNK):
            yield chunk
