"""Connections: whole requests go to threads, and whoever is slow holds nothing but a little memory.

One loop accepts, reads and waits for all; a thread sees a request only when all of it is here, and never
reads from a socket.  Every wait has an end, and all that is held has a bound: where it is reached, whoever
has waited longest goes.  A sender in good order is done in milliseconds and is never that one.
"""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import os
import queue
import selectors
import socket
import threading
import time
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, Protocol

from receiver.framing import Framer, HeadTooLargeError, Whole

PATIENCE = 10.0  # Seconds for a request, all of it; and for an answer to be taken.
IDLE = 5.0  # Seconds between two requests on one connection.
LINGER = 2.0  # Seconds for a client to read its last answer, before the connection is reset.
PARTING = 1.0  # Seconds between two requests, once we end: the next may be on its way.
QUEUE = 2_048  # Requests that wait for a thread.
LARGE = 16_384  # Bytes; requests above it are bounded by their sum as well.
HELD = 67_108_864  # Bytes of requests in all; at least eight of the largest.
TOGETHER = 16  # Requests that a thread answers in one turn.
LONGEST_TURN = 0.02  # Seconds; whoever has it for longer waits for a disk or a network.
_MOST_DRAINED = 1_048_576
_RECEIVE = 65_536
_ACCEPTS = 128  # In a row, before others have their turn.
_NO_ROOM = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
_NOBODY = {errno.EAGAIN, errno.EWOULDBLOCK, errno.ECONNABORTED, errno.EINTR}

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Request:
    """The bytes of one request, from its first to its last, and between whom.

    Attributes:
        too_large: The body is over the limit and not here.
    """

    data: bytes
    client: Any
    server: Any
    too_large: bool = False


@dataclass(frozen=True)
class Answer:
    """The bytes of an answer; ``keep`` when another request may follow on the connection."""

    data: bytes
    keep: bool


class Begun(Protocol):
    """A request of which all is done that needs no wait."""

    @property
    def wait(self) -> Callable[[], None] | None:
        """Returns when ``end`` has nothing to wait for; None where that is so already."""
        ...

    @property
    def end(self) -> Callable[[], Answer]:
        """Gives the answer."""
        ...


Begin = Callable[[Request], Begun]


class _Stage(Enum):
    READING = auto()  # Or idle, while nothing has come.
    ANSWERING = auto()
    WRITING = auto()  # What the client did not take at once.
    LINGERING = auto()  # Answered; what it still sends is thrown away.


class _Connection:
    """A client, and how far it is; while ANSWERING it belongs to a thread, else to the loop."""

    __slots__ = (
        *("answer", "buffer", "client", "deadline", "drained", "framer", "idle", "keep", "last"),
        *("listening", "request", "server", "socket", "stage"),
    )

    def __init__(self, accepted: socket.socket, client: Any, server: Any, deadline: float) -> None:
        self.socket = accepted
        self.client = client
        self.server = server
        self.stage = _Stage.READING
        self.deadline = deadline
        self.listening = 0  # The events that the loop is told of.
        self.buffer = bytearray()
        self.framer: Framer | None = None
        self.idle = False  # Between two requests.
        self.request: Request | None = None
        self.last = False
        self.answer = b""
        self.keep = False
        self.drained = 0


def refusal(status: str, reason: str, message: str, *more: str) -> bytes:
    """An answer that ends the connection, in the shape of all our answers."""
    body = json.dumps({"status": "rejected", "reason": reason, "message": message}) + "\n"
    headers = (
        *("Connection: close", "Content-Type: application/json", f"Content-Length: {len(body)}"),
        *("Cache-Control: no-store", "X-Content-Type-Options: nosniff", *more),
    )
    return "\r\n".join((f"HTTP/1.1 {status}", *headers, "", body)).encode("ascii")


_SLOW = refusal("408 Request Timeout", "request-timeout", "The request did not arrive whole in time.")
_CUT = refusal("400 Bad Request", "bad-request", "The request ended before its end.")
_LONG_HEAD = refusal(
    "431 Request Header Fields Too Large", "headers-too-large", "The request line and headers are too long."
)
_BUSY = refusal(
    "503 Service Unavailable",
    "overloaded",
    "Too many requests wait already; nothing of this one was kept.",
    "Retry-After: 30",
)
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Front:
    """All connections of a process.  Its owner calls ``turn`` again and again; others only ``wake``."""

    def __init__(
        self, listeners: Sequence[Any], begin: Begin, *, threads: int, connections: int, largest_body: int
    ) -> None:
        self._begin = begin
        self._connections = connections
        self._largest_body = largest_body
        self._most_held = max(HELD, 8 * largest_body)
        self._listeners = {listener: listener.getsockname() for listener in listeners}
        self._selector = selectors.DefaultSelector()
        self._space = memoryview(bytearray(_RECEIVE))
        self._open: OrderedDict[_Connection, None] = OrderedDict()  # The loop's; who waited longest is first.
        self._large: OrderedDict[_Connection, None] = OrderedDict()  # Those of them that hold much.
        self._answering = 0
        self._answering_large = 0  # Bytes.
        self._held = 0  # Bytes.
        self._closed: Counter[str] = Counter()
        self._accepting = False
        self._ending = False
        self._swept = time.monotonic()
        self._ready: queue.SimpleQueue[_Connection | None] = queue.SimpleQueue()
        self._next = threading.Lock()  # Of the one thread that takes what is ready.
        self._turn = threading.Lock()  # Of the one thread that computes.
        self._done: deque[_Connection] = deque()
        self._woken = False
        self._hears, self._calls = os.pipe()
        os.set_blocking(self._hears, False)
        os.set_blocking(self._calls, False)
        self._selector.register(self._hears, selectors.EVENT_READ)
        self._threads = [threading.Thread(target=self._work, daemon=True) for _ in range(threads)]
        for thread in self._threads:
            thread.start()
        self._accept_more(True)

    # --- for the owner

    @property
    def idle(self) -> bool:
        """Whether nobody is connected."""
        return not self._open and not self._answering

    def turn(self, longest: float) -> None:
        """Wait for something to do, at most so many seconds, and do it."""
        for key, _ in self._selector.select(longest):
            if isinstance(key.data, _Connection):
                self._attend(key.data)
            elif key.fd == self._hears:
                os.read(self._hears, 64)
                self._woken = False
            else:
                self._accept(key.fileobj)
        while self._done:
            self._finish(self._done.popleft())
        self._sweep()

    def wake(self) -> None:
        """End the wait of ``turn``; from any thread or signal handler."""
        if not self._woken:
            self._woken = True
            with contextlib.suppress(OSError):
                os.write(self._calls, b"\0")

    def end(self) -> None:
        """Take in who knocks already, then nobody; who is between two requests may stay for a moment."""
        for listener in self._listeners:
            self._accept(listener)
        self._ending = True
        self._accept_more(False)
        latest = time.monotonic() + PARTING
        for connection in self._open:
            if connection.stage is _Stage.READING and not connection.buffer:
                connection.deadline = min(connection.deadline, latest)

    def close(self, patience: float = 0.0) -> None:
        """Close all that is open, and have the threads end; the patience is for what they are at."""
        self._accept_more(False)
        for connection in list(self._open):
            self._close(connection)
        for _ in self._threads:
            self._ready.put(None)
        until = time.monotonic() + patience
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))
        self._selector.close()
        while self._done:
            self._done.popleft().socket.close()
        if not any(thread.is_alive() for thread in self._threads):
            os.close(self._hears)
            os.close(self._calls)

    # --- connections come

    def _accept_more(self, accepting: bool) -> None:
        if accepting == self._accepting:
            return
        self._accepting = accepting
        for listener in self._listeners:
            if accepting:
                listener.setblocking(False)
                self._selector.register(listener, selectors.EVENT_READ)
            else:
                self._selector.unregister(listener)

    def _accept(self, listener: Any) -> None:
        for number in range(_ACCEPTS):
            try:
                accepted, client = listener.accept()
            except OSError as error:
                if error.errno in _NO_ROOM:
                    # Said even where nobody knocks: only the first time it is known that somebody does.
                    if not number and not self._make_room(self._open):
                        self._accept_more(False)  # Until the next sweep.
                elif error.errno not in _NOBODY:
                    raise
                return
            full = len(self._open) + self._answering >= self._connections
            crowded = full and not self._make_room(self._open)
            self._welcome(accepted, client, self._listeners[listener])
            if crowded:
                self._accept_more(False)  # Until an answer is done.
                return

    def _welcome(self, accepted: socket.socket, client: Any, server: Any) -> None:
        accepted.setblocking(False)
        connection = _Connection(accepted, client, server, time.monotonic() + PATIENCE)
        self._open[connection] = None
        self._read(connection)  # Many have sent all of it by now.

    def _make_room(self, among: OrderedDict[_Connection, None]) -> bool:
        """Close who has waited longest; no if nobody waits."""
        if not among:
            return False
        self._closed["to make room"] += 1
        self._close(next(iter(among)))
        return True

    # --- requests come

    def _attend(self, connection: _Connection) -> None:
        if connection.stage is _Stage.ANSWERING:
            self._listen(connection, 0)  # It sent more, or is gone: that can wait.
        elif connection not in self._open:
            return  # Closed a moment ago.
        elif connection.stage is _Stage.LINGERING:
            self._drain(connection)
        elif connection.stage is _Stage.WRITING:
            self._write(connection)
        else:
            self._read(connection)

    def _read(self, connection: _Connection) -> None:
        try:
            count = connection.socket.recv_into(self._space)
        except BlockingIOError:
            self._listen(connection, selectors.EVENT_READ)
        except OSError:
            self._close(connection)
        else:
            if count:
                connection.buffer += self._space[:count]
                self._held += count
                self._advance(connection)
            elif connection.buffer:
                self._refuse(connection, _CUT, "cut off")
            else:
                self._close(connection)

    def _advance(self, connection: _Connection) -> None:
        """Look whether a whole request is there, and have it answered or wait on."""
        if connection.framer is None:
            connection.framer = Framer(self._largest_body)
            if connection.idle:
                connection.idle = False
                connection.deadline = time.monotonic() + PATIENCE
        try:
            whole = connection.framer.look(connection.buffer)
        except HeadTooLargeError:
            self._refuse(connection, _LONG_HEAD, "with too long a head")
            return
        if whole is None:
            self._wait_on(connection, connection.framer)
        else:
            self._hand_over(connection, whole)

    def _wait_on(self, connection: _Connection, framer: Framer) -> None:
        if framer.expects_continue:
            framer.expects_continue = False
            with contextlib.suppress(OSError):
                connection.socket.send(_CONTINUE)
        self._listen(connection, selectors.EVENT_READ)
        if len(connection.buffer) > LARGE:
            self._large.setdefault(connection)
        while self._held > self._most_held and self._make_room(self._large or self._open):
            pass

    def _hand_over(self, connection: _Connection, whole: Whole) -> None:
        size = whole.end
        too_much = size > LARGE and self._answering_large + size > self._most_held // 2
        if self._answering >= QUEUE or too_much:
            self._refuse(connection, _BUSY, "for want of time")
            return
        data = bytes(memoryview(connection.buffer)[:size])
        del connection.buffer[:size]
        connection.request = Request(data, connection.client, connection.server, whole.too_large)
        connection.last = whole.last
        connection.stage = _Stage.ANSWERING
        del self._open[connection]
        self._large.pop(connection, None)
        self._answering += 1
        self._answering_large += size if size > LARGE else 0
        self._ready.put(connection)

    # --- answers go

    def _work(self) -> None:
        """A thread: answer what is ready together, again and again.

        Python lets one thread compute at a time.  So we have them take turns: one begins all that is ready,
        waits for the ledger, once for all, and answers.  Left to themselves they would take Python from each
        other at every system call, which costs as much as the answers.
        """
        while True:
            together, in_turn = self._take()
            if not together:
                return
            try:
                self._see_through(together)
            finally:
                if in_turn:
                    self._turn.release()

    def _see_through(self, together: Sequence[_Connection]) -> None:
        """Answer those that have to wait once none of them has to: they wait for the same thing."""
        waiting = [started for connection in together if (started := self._start(connection))]
        if len(waiting) < len(together):
            self.wake()
        for _, begun in waiting:
            if begun.wait is not None:
                begun.wait()
        for connection, begun in waiting:
            self._answer(connection, begun)
        if waiting:
            self.wake()

    def _take(self) -> tuple[list[_Connection], bool]:
        """Wait for requests and for our turn, and take some of those that are ready; none at the end.

        Whether it is our turn is told too: what waits long must not hold up what need not.
        """
        with self._next:
            first = self._ready.get()
            if first is None:
                return [], False
            in_turn = self._turn.acquire(timeout=LONGEST_TURN)
            together = [first]
            while len(together) < TOGETHER and not self._ready.empty():
                another = self._ready.get()  # Nobody else takes any.
                if another is None:
                    self._ready.put(None)
                    break
                together.append(another)
            return together, in_turn

    def _start(self, connection: _Connection) -> tuple[_Connection, Begun] | None:
        """Begin it, and answer it where nothing has to be waited for."""
        assert connection.request is not None
        begun = self._begin(connection.request)
        if begun.wait is not None:
            return connection, begun
        self._answer(connection, begun)
        return None

    def _answer(self, connection: _Connection, begun: Begun) -> None:
        try:
            answer = begun.end()
            sent = _send(connection.socket, answer.data)
        except OSError:  # The client is gone.
            answer, sent = Answer(b"", keep=False), 0
        connection.answer = answer.data[sent:]
        connection.keep = answer.keep and not connection.last
        self._done.append(connection)

    def _finish(self, connection: _Connection) -> None:
        assert connection.request is not None
        size = len(connection.request.data)
        connection.request = None
        self._held -= size
        self._answering -= 1
        self._answering_large -= size if size > LARGE else 0
        self._open[connection] = None
        if connection.answer:
            connection.stage = _Stage.WRITING
            connection.deadline = time.monotonic() + PATIENCE
            self._listen(connection, selectors.EVENT_WRITE)
        else:
            self._go_on(connection)
        self._accept_more(not self._ending)

    def _write(self, connection: _Connection) -> None:
        try:
            sent = _send(connection.socket, connection.answer)
        except OSError:
            self._close(connection)
            return
        connection.answer = connection.answer[sent:]
        if not connection.answer:
            self._go_on(connection)

    def _go_on(self, connection: _Connection) -> None:
        """After an answer: the next request, or the end."""
        if not connection.keep:
            self._linger(connection)
            return
        connection.stage = _Stage.READING
        connection.framer = None
        connection.idle = True
        connection.deadline = time.monotonic() + (PARTING if self._ending else IDLE)
        if connection.buffer:
            self._advance(connection)
        else:
            self._listen(connection, selectors.EVENT_READ)

    def _refuse(self, connection: _Connection, answer: bytes, why: str) -> None:
        self._closed[why] += 1
        with contextlib.suppress(OSError):
            _send(connection.socket, answer)
        self._linger(connection)

    def _linger(self, connection: _Connection) -> None:
        """Say that there is no more, and wait for the client to go: a reset could overtake the answer."""
        self._forget_bytes(connection)
        try:
            connection.socket.shutdown(socket.SHUT_WR)
        except OSError:
            self._close(connection)
            return
        connection.stage = _Stage.LINGERING
        connection.deadline = time.monotonic() + LINGER
        self._listen(connection, selectors.EVENT_READ)

    def _drain(self, connection: _Connection) -> None:
        try:
            count = connection.socket.recv_into(self._space)
        except BlockingIOError:
            return
        except OSError:
            count = 0
        connection.drained += count
        if not count or connection.drained > _MOST_DRAINED:
            self._close(connection)

    # --- the end of a wait

    def _sweep(self) -> None:
        now = time.monotonic()
        if now < self._swept + (0.0 if self._ending else 1.0):
            return
        self._swept = now
        for connection in [one for one in self._open if one.deadline <= now]:
            if connection.stage is _Stage.READING and connection.buffer:
                self._refuse(connection, _SLOW, "too slow")
            else:
                self._close(connection)
        self._accept_more(not self._ending)
        if self._closed:
            told = ", ".join(f"{count} {why}" for why, count in sorted(self._closed.items()))
            _log.warning("connections closed early: %s", told)
            self._closed.clear()

    def _close(self, connection: _Connection) -> None:
        self._listen(connection, 0)
        self._forget_bytes(connection)
        self._open.pop(connection, None)
        connection.socket.close()

    def _forget_bytes(self, connection: _Connection) -> None:
        self._held -= len(connection.buffer)
        connection.buffer = bytearray()
        self._large.pop(connection, None)

    def _listen(self, connection: _Connection, events: int) -> None:
        if events == connection.listening:
            return
        if not events:
            self._selector.unregister(connection.socket)
        elif connection.listening:
            self._selector.modify(connection.socket, events, connection)
        else:
            self._selector.register(connection.socket, events, connection)
        connection.listening = events


def _send(to: socket.socket, data: bytes) -> int:
    """Send what the client takes at once; how much that was."""
    try:
        return to.send(data)
    except BlockingIOError:
        return 0
