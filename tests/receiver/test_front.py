"""Threads see whole requests only; everyone else waits in bounded memory, for a bounded time."""

from __future__ import annotations

import contextlib
import errno
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from receiver import front
from receiver.front import Answer, Begun, Front, Request

LIMIT = 1_000_000
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
BIG = 20_000_000
HEAD = b"POST / HTTP/1.1\r\nHost: x\r\n"


@dataclass(frozen=True)
class Asked:
    """A request that is begun."""

    wait: Callable[[], None] | None
    end: Callable[[], Answer]


class Service:
    """A front in a thread of its own, and what answers behind it."""

    def __init__(self, *, threads: int = 2, connections: int = 100, listener: Any = None) -> None:
        self.listener: Any = listener or socket.create_server(("127.0.0.1", 0), backlog=64)
        self.address: tuple[str, int] = self.listener.getsockname()
        self.asked: list[Request] = []
        self.let_go = threading.Event()
        self.busy = threading.Semaphore(0)
        self.front = Front(
            [self.listener], self.begin, threads=threads, connections=connections, largest_body=LIMIT
        )
        self.running = True
        self.thread = threading.Thread(target=self._run)

    def begin(self, request: Request) -> Begun:
        """Answer by the path: at once, when let go, at length, for the last time, or not at all."""
        self.asked.append(request)
        waits = request.data.split(b" ")[1] == b"/wait"
        return Asked(self.wait if waits else None, lambda: self.answer(request))

    def wait(self) -> None:
        """Until let go."""
        self.busy.release()
        assert self.let_go.wait(20)

    def answer(self, request: Request) -> Answer:
        """What there is to say."""
        path = request.data.split(b" ")[1]
        if path == b"/gone":
            raise OSError("nobody is there")
        data = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % BIG + b"x" * BIG if path == b"/big" else OK
        return Answer(data, keep=path != b"/last")

    def connect(self) -> socket.socket:
        """A client."""
        return socket.create_connection(self.address, timeout=20)

    def _run(self) -> None:
        while self.running:
            self.front.turn(0.05)

    def __enter__(self) -> Service:  # noqa: PYI034 - Self is not in Python 3.10
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.running = False
        self.let_go.set()
        self.thread.join()
        self.front.close(patience=5)
        self.listener.close()


@pytest.fixture
def service() -> Iterator[Service]:
    """A front with two threads."""
    with Service() as running:
        yield running


def ask(client: socket.socket, request: bytes = b"GET / HTTP/1.1\r\n\r\n") -> bytes:
    """Send a request, and read an answer that is ``OK``, or all that comes."""
    client.sendall(request)
    return read(client)


def read(client: socket.socket) -> bytes:
    """One answer that is ``OK``, or all until the end."""
    got = b""
    with contextlib.suppress(ConnectionResetError):
        while got != OK and (piece := client.recv(65_536)):
            got += piece
    return got


def test_requests_on_one_connection(service: Service) -> None:
    """In pieces, one after another or several at once, each is answered once and in order."""
    with service.connect() as client:
        client.sendall(b"GET /a HTTP")
        client.sendall(b"/1.1\r\n\r")
        assert ask(client, b"\n") == OK
        assert ask(client, HEAD.replace(b"/ ", b"/b ") + b"Content-Length: 3\r\n\r\nabc") == OK
        client.sendall(b"GET /c HTTP/1.1\r\n\r\nGET /d HTTP/1.1\r\n\r\nGET /last HTTP/1.1\r\n\r\n")
        assert b"".join(iter(lambda: client.recv(999), b"")) == OK * 3

    paths = [request.data.split(b" ")[1] for request in service.asked]
    assert paths == [b"/a", b"/b", b"/c", b"/d", b"/last"]
    assert service.asked[1].data.endswith(b"\r\n\r\nabc")
    assert service.front._held == 0


def test_a_slow_client_holds_no_thread() -> None:
    """With one thread, whoever is whole is answered while others are still sending. [B3]"""
    with Service(threads=1) as service, contextlib.ExitStack() as slow:
        for start in (b"G", HEAD, HEAD + b"Content-Length: 9\r\n\r\n1", b""):
            slow.enter_context(service.connect()).sendall(start)
        with service.connect() as client:
            assert ask(client) == OK


def test_a_request_has_a_deadline(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """A request that does not come whole in time is told so, however steadily it drips. [B3]"""
    monkeypatch.setattr(front, "PATIENCE", 0.4)
    with service.connect() as client, service.connect() as silent:
        begun = time.monotonic()
        with contextlib.suppress(OSError):
            while time.monotonic() < begun + 5:
                client.sendall(b"A")
                client.settimeout(0.05)
                with contextlib.suppress(TimeoutError):
                    if answer := client.recv(9999):
                        break
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert b'"request-timeout"' in answer
        assert read(silent) == b""
    assert not service.asked


def test_a_request_that_ends_early(service: Service) -> None:
    """Half a request is no request: who still listens is told. [B3]"""
    with service.connect() as client:
        client.sendall(HEAD + b"Content-Length: 9\r\n\r\n12345678")
        client.shutdown(socket.SHUT_WR)
        assert read(client).startswith(b"HTTP/1.1 400 ")
    with service.connect() as client:
        client.shutdown(socket.SHUT_WR)
        assert read(client) == b""
    assert not service.asked


def test_a_client_that_has_said_all_is_answered(service: Service) -> None:
    """A whole request with the end of the connection behind it is answered."""
    with service.connect() as client:
        client.sendall(b"GET / HTTP/1.1\r\n\r\n")
        client.shutdown(socket.SHUT_WR)
        assert read(client) == OK


def test_a_long_head_is_refused(service: Service) -> None:
    """A head over the limit is refused while it comes. [B10]"""
    with service.connect() as client:
        assert ask(client, HEAD + b"A: " + b"x" * 40_000).startswith(b"HTTP/1.1 431 ")


def test_a_large_body_is_not_read(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """The head of a request with too large a body is answered at once, the rest thrown away. [B1]"""
    with service.connect() as client:
        monkeypatch.setattr(front, "LINGER", 60)
        client.sendall(HEAD + b"Content-Length: 1000001\r\n\r\nGET /no-request HTTP/1.1\r\n\r\n")
        assert read(client) == OK
        with pytest.raises(ConnectionError):
            client.sendall(b"x" * 100_000_000)
    assert [(request.too_large, request.data[-4:]) for request in service.asked] == [(True, b"\r\n\r\n")]


def test_who_asks_before_sending(service: Service) -> None:
    """Expect: 100-continue is answered, unless the body is unwelcome."""
    expect = HEAD + b"Expect: 100-continue\r\nContent-Length: "
    with service.connect() as client:
        client.sendall(expect + b"2\r\n\r\n")
        assert client.recv(99) == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.sendall(b"h")
        until = time.monotonic() + 20
        while service.front._held < len(expect) + 6:
            assert time.monotonic() < until
        assert ask(client, b"i") == OK
        assert ask(client, expect + b"9999999\r\n\r\n") == OK
    assert [request.data[-2:] for request in service.asked] == [b"hi", b"\r\n"]


def test_the_longest_wait_makes_room() -> None:
    """Where no more connections fit, whoever has waited longest goes, and the newcomer is answered."""
    with Service(connections=5) as service, contextlib.ExitStack() as open_ones:
        slow = [open_ones.enter_context(service.connect()) for _ in range(8)]
        for client in slow:
            with contextlib.suppress(OSError):
                client.sendall(b"G")
        with service.connect() as client:
            assert ask(client) == OK
        assert read(slow[0]) == b""


def test_those_that_are_answered_are_safe() -> None:
    """Where all are being answered, newcomers wait in the kernel's queue, and are answered then."""
    with Service(connections=2) as service, contextlib.ExitStack() as open_ones:
        clients = []
        for _ in range(2):
            clients.append(open_ones.enter_context(service.connect()))
            clients[-1].sendall(b"GET /wait HTTP/1.1\r\n\r\n")
            assert service.busy.acquire(timeout=20)
        for _ in range(4):
            clients.append(open_ones.enter_context(service.connect()))
            clients[-1].sendall(b"GET / HTTP/1.1\r\n\r\n")
        service.let_go.set()
        for client in clients:
            assert read(client) == OK
            client.close()


def test_who_waits_holds_up_nobody_begun_with_it() -> None:
    """Of requests that one thread begins together, those that need no wait are answered at once."""
    with Service(threads=1) as service, contextlib.ExitStack() as open_ones:
        clients = [open_ones.enter_context(service.connect()) for _ in range(3)]
        with service.front._turn:  # So that all three are there once a thread has its turn.
            for client, path in zip(clients, (b"/", b"/wait", b"/"), strict=True):
                client.sendall(b"GET %s HTTP/1.1\r\n\r\n" % path)
            latest = time.monotonic() + 20
            while service.front._answering < 3:
                assert time.monotonic() < latest
        assert read(clients[0]) == OK
        assert read(clients[2]) == OK
        assert service.busy.acquire(timeout=20)
        service.let_go.set()
        assert read(clients[1]) == OK


def test_while_one_waits_another_has_its_turn() -> None:
    """With two threads, whoever comes while one waits is begun and answered."""
    with Service(threads=2) as service, service.connect() as slow, service.connect() as quick:
        slow.sendall(b"GET /wait HTTP/1.1\r\n\r\n")
        assert service.busy.acquire(timeout=20)
        assert ask(quick) == OK
        service.let_go.set()
        assert read(slow) == OK


def test_one_thread_computes_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two requests that come at once the second is begun after the first, whatever the threads."""
    monkeypatch.setattr(front, "LONGEST_TURN", 20)  # However busy the machine is.
    with Service(threads=8) as service, contextlib.ExitStack() as open_ones:
        at_once = []
        computing = threading.Semaphore(1)
        begin = service.front._begin

        def watched(request: Request) -> Begun:
            at_once.append(not computing.acquire(blocking=False))
            threading.Event().wait(0.001)  # As a system call does, it lets others go on.
            computing.release()
            return begin(request)

        service.front._begin = watched
        clients = [open_ones.enter_context(service.connect()) for _ in range(20)]
        for client in clients:
            client.sendall(b"GET / HTTP/1.1\r\n\r\n")
        assert [read(client) for client in clients] == [OK] * 20
        assert at_once == [False] * 20


def test_the_queue_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Past its bound a request is answered 503, with the time to come again, and nobody is asked. [C7]"""
    monkeypatch.setattr(front, "QUEUE", 2)
    with Service(threads=1) as service, contextlib.ExitStack() as open_ones:
        clients = [open_ones.enter_context(service.connect()) for _ in range(3)]
        for client in clients[:2]:
            client.sendall(b"GET /wait HTTP/1.1\r\n\r\n")
        assert service.busy.acquire(timeout=20)
        until = time.monotonic() + 20
        while service.front._answering < 2:
            assert time.monotonic() < until
        refused = ask(clients[2])
        assert refused.startswith(b"HTTP/1.1 503 ")
        assert b"Retry-After: 30\r\n" in refused
        service.let_go.set()
        assert read(clients[1]) == OK


def test_held_bytes_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """What all clients together have half sent has a bound: the oldest large one goes, small ones stay."""
    monkeypatch.setattr(front, "PATIENCE", 60)  # Else who is slow here goes for being slow.
    with Service() as service, contextlib.ExitStack() as open_ones:
        service.front._most_held = 3 * LIMIT
        small, *large = [open_ones.enter_context(service.connect()) for _ in range(5)]
        small.sendall(b"GET ")
        until = time.monotonic() + 20
        for number, client in enumerate(large):
            while service.front._held < number % 3 * LIMIT:  # Each begins when those before it are held.
                assert time.monotonic() < until
            with contextlib.suppress(ConnectionError):
                client.sendall(HEAD + b"Content-Length: %d\r\n\r\n" % LIMIT + b"x" * (LIMIT - 1))
        assert read(large[0]) == b""
        assert service.front._held <= 3 * LIMIT
        assert ask(small, b"/ HTTP/1.1\r\n\r\n") == OK
        assert ask(large[-1], b"x") == OK


def test_large_requests_do_not_crowd_out_small_ones() -> None:
    """Large requests that wait for a thread have a bound of their own; a small one is taken past it."""
    with Service(threads=1) as service, contextlib.ExitStack() as open_ones:
        first, second, third, small = [open_ones.enter_context(service.connect()) for _ in range(4)]
        whole = HEAD.replace(b"/ ", b"/wait ") + b"Content-Length: %d\r\n\r\n" % LIMIT + b"x" * LIMIT
        service.front._most_held = 2 * len(whole)
        first.sendall(whole)
        assert service.busy.acquire(timeout=20)
        assert ask(second, whole).startswith(b"HTTP/1.1 503 ")
        small.sendall(b"GET / HTTP/1.1\r\n\r\n")
        service.let_go.set()
        assert read(small) == OK
        assert read(first) == OK
        assert ask(third, whole) == OK


class Crowded:
    """A listener of a process without descriptors to spare, for as long as nobody goes."""

    def __init__(self, room: int) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.room = room
        self.accepted: list[socket.socket] = []

    def accept(self) -> tuple[socket.socket, Any]:
        """Accept, or say that there are too many open files."""
        if len([one for one in self.accepted if one.fileno() >= 0]) >= self.room:
            raise OSError(errno.EMFILE, "Too many open files")
        client, address = self._listener.accept()
        self.accepted.append(client)
        return client, address

    def __getattr__(self, name: str) -> Any:
        return getattr(self._listener, name)


def test_no_descriptors_left() -> None:
    """Where accept() has no room, whoever has waited longest makes it; the worker lives."""
    with Service(listener=Crowded(2)) as service, contextlib.ExitStack() as open_ones:
        first = open_ones.enter_context(service.connect())
        first.sendall(b"G")
        others = [open_ones.enter_context(service.connect()) for _ in range(3)]
        for client in others[-2:]:
            assert ask(client) == OK
        assert read(first) == b""


def test_nobody_goes_for_nobody() -> None:
    """Where the last descriptor is taken, all who are here may stay until somebody knocks."""
    with Service(listener=Crowded(2)) as service, service.connect() as first, service.connect() as second:
        for client in (first, second):
            client.sendall(b"GET / HTTP/1.1\r\n")
        until = time.monotonic() + 20
        while len(service.listener.accepted) < 2:
            assert time.monotonic() < until
        for client in (first, second):
            assert ask(client, b"\r\n") == OK


def test_no_descriptors_and_nobody_to_send_away() -> None:
    """Where nothing can make room, it is tried again a second later."""
    crowded = Crowded(0)
    with Service(listener=crowded) as service, service.connect() as client:
        client.sendall(b"GET / HTTP/1.1\r\n\r\n")
        until = time.monotonic() + 20
        while service.front._accepting:
            assert time.monotonic() < until
        crowded.room = 9
        assert read(client) == OK


def test_an_answer_that_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a client does not take at once waits without a thread, and not for ever."""
    with Service(threads=1) as service, service.connect() as late, service.connect() as client:
        late.sendall(b"GET /big HTTP/1.1\r\n\r\n")
        assert ask(client) == OK
        client.close()
        got = 0
        while got < BIG:
            got += len(late.recv(1_000_000))
        monkeypatch.setattr(front, "PATIENCE", 0.1)
        late.sendall(b"GET /big HTTP/1.1\r\n\r\n")
        until = time.monotonic() + 20
        while len(service.asked) < 3 or not service.front.idle:
            assert time.monotonic() < until


def test_each_request_has_a_deadline_of_its_own(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once a further request has begun it has as long as the first one."""
    monkeypatch.setattr(front, "IDLE", 0.2)
    with service.connect() as client:
        assert ask(client, b"GET / HTTP/1.1\r\n\r\nGET") == OK
        time.sleep(1.3)  # Past a sweep.
        assert ask(client, b" / HTTP/1.1\r\n\r\n") == OK


def test_an_idle_connection_ends(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between two requests a connection stays for a while only."""
    monkeypatch.setattr(front, "IDLE", 0.1)
    with service.connect() as client:
        assert ask(client) == OK
        assert client.recv(1) == b""


def test_a_client_that_is_gone(service: Service) -> None:
    """Nobody to answer is no fault, before and while the answer is sent. [B12]"""
    for _ in range(4):
        with service.connect() as client:
            client.sendall(b"GET /gone HTTP/1.1\r\n\r\n")
        with service.connect() as client:
            client.sendall(b"GET /big HTTP/1.1\r\n\r\n")
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    with service.connect() as client:
        assert ask(client) == OK


def test_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """At the end who knocked already is taken in and answered, an idle one goes, and nobody else comes."""
    monkeypatch.setattr(front, "PARTING", 0.1)
    monkeypatch.setattr(front, "IDLE", 60)
    monkeypatch.setattr(front, "PATIENCE", 60)
    monkeypatch.setattr(front, "LINGER", 0.1)
    service = Service()
    with service.listener, contextlib.ExitStack() as open_ones:
        idle, half, waiting = [open_ones.enter_context(service.connect()) for _ in range(3)]
        service.front.turn(1)
        half.sendall(b"GET /last HT")
        service.front.turn(1)
        waiting.sendall(b"GET / HTTP/1.1\r\n\r\n")
        late = open_ones.enter_context(service.connect())
        late.sendall(b"GET /last HTTP/1.1\r\n\r\n")
        service.front.end()
        half.sendall(b"TP/1.1\r\n\r\n")
        until = time.monotonic() + 20
        while not service.front.idle:
            assert time.monotonic() < until
            service.front.turn(0.05)
        service.front.close(patience=5)
        assert read(idle) == b""
        assert read(half) == OK
        assert read(waiting) == OK
        assert read(late) == OK
