"""gunicorn's worker: a thread gets a request when all of it is here, and its answer is small.

gunicorn's own threads read from the socket, so that eight clients that send a byte a second hold eight of
them.  Here only ``front`` reads.  The parser is gunicorn's; it sees one request's bytes, all of them.
"""

from __future__ import annotations

import gc
import io
import os
import resource
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from gunicorn.http import wsgi  # type: ignore[import-untyped]  # It has no types.
from gunicorn.http.errors import NoMoreData  # type: ignore[import-untyped]  # As above.
from gunicorn.http.parser import RequestParser  # type: ignore[import-untyped]  # As above.
from gunicorn.workers.base import Worker as GunicornWorker  # type: ignore[import-untyped]  # As above.

from receiver.front import Answer, Begun, Front, Request, refusal
from receiver.settings import LARGEST_MAX_BODY
from receiver.views import MAX_BODY, TOO_LARGE

CONNECTIONS = 10_000
_RESERVED = 100  # Descriptors, for the ledger, GitHub and the rest.
_FEWEST = 8
_CUT = refusal("400 Bad Request", "bad-request", "The request ended before its end.")
_UNCLEAR = refusal("400 Bad Request", "bad-request", "It is not clear where the request ends.")


class Worker(GunicornWorker):  # type: ignore[misc]  # As above.
    """Answers small requests with small answers, however slow or hostile the other clients are.

    Bodies up to the application's limit are held in memory, as are answers.  TLS is a proxy's business.
    """

    alive: bool
    _front: Front | None = None

    @classmethod
    def check_config(cls, cfg: Any, _log: Any) -> None:
        """Refuse what does not work here, before anything listens."""
        if cfg.is_ssl:
            raise SystemExit("receiver.worker.Worker: TLS is not served here; want a reverse proxy before it")

    def run(self) -> None:
        """Serve until told to end, then finish what is there."""
        largest = getattr(self.wsgi, "config", {}).get(MAX_BODY, LARGEST_MAX_BODY)
        self._front = front = Front(
            self.sockets,
            self.begin,
            threads=self.cfg.threads,
            connections=room(self.cfg.worker_connections),
            largest_body=largest,
        )
        gc.collect()
        gc.freeze()  # What is here now stays to the end: nobody need look through it again and again.
        while self.alive and self.ppid == os.getppid():
            self.notify()
            front.turn(1.0)
        self.alive = False
        front.end()
        until = time.monotonic() + self.cfg.graceful_timeout
        while not front.idle and time.monotonic() < until:
            self.notify()
            front.turn(0.1)
        front.close()
        for listener in self.sockets:
            listener.close()

    def handle_exit(self, sig: int, frame: Any) -> None:
        """On SIGTERM, end soon."""
        super().handle_exit(sig, frame)
        if self._front is not None:
            self._front.wake()

    def respond(self, received: Request) -> Answer:
        """Answer one request, whatever there is to wait for."""
        return self.begin(received).end()

    def begin(self, received: Request) -> Begun:
        """Have the application do what needs no wait; called in a thread."""
        wire = _Wire(received.data)
        request = None
        try:
            parser = RequestParser(self.cfg, wire, received.client)
            request = next(parser)
            if not received.too_large:
                request.body = io.BytesIO(request.body.read())
                if wire.left or parser.unreader.buf.getvalue():  # Two readings of one end: trust neither.
                    return _Known(Answer(_UNCLEAR, keep=False))
        except (StopIteration, NoMoreData):
            return _Known(Answer(_CUT, keep=False))
        except Exception as error:  # noqa: BLE001 - none of the parser's errors is our fault
            return _Known(self._error(request, received, error, at_worst="400 Bad Request"))
        try:
            return self._serve(request, wire, received)
        except Exception as error:  # noqa: BLE001 - whatever it is, the client gets an answer
            return _Known(self._error(request, received, error, at_worst="500 Internal Server Error"))

    def _serve(self, request: Any, wire: _Wire, received: Request) -> Begun:
        """Call the application."""
        self.cfg.pre_request(self, request)
        began = datetime.now()  # noqa: DTZ005 - gunicorn's log wants the difference of two such
        response, environ = wsgi.create(request, wire, received.client, received.server, self.cfg)
        wire.sent.clear()  # Of ``100 Continue``, which is long sent.
        environ.update({"wsgi.multithread": True, TOO_LARGE: received.too_large})
        self._count()
        if received.too_large or not self.alive or not self.cfg.keepalive:
            response.force_close()
        parts = self.wsgi(environ, response.start_response)

        def end() -> Answer:
            try:
                self._write(parts, response)
            except Exception as error:  # noqa: BLE001 - as in begin
                return self._error(request, received, error, at_worst="500 Internal Server Error")
            finally:
                self.log.access(response, request, environ, datetime.now() - began)  # noqa: DTZ005 - as above
            self.cfg.post_request(self, request, environ, response)
            return Answer(b"".join(wire.sent), keep=not response.should_close())

        return _Begun(getattr(parts, "wait", None), end)

    @staticmethod
    def _write(parts: Iterable[bytes], response: Any) -> None:
        """Take the answer from the application."""
        try:
            for part in parts:
                response.write(part)
            response.close()
        finally:
            if hasattr(parts, "close"):
                parts.close()

    def _count(self) -> None:
        self.nr += 1
        if self.nr >= self.max_requests and self.alive:
            self.log.info("Autorestarting worker after current request.")
            self.alive = False

    def _error(self, request: Any, received: Request, error: Exception, *, at_worst: str) -> Answer:
        """Have gunicorn log it and choose the status, and tell it in our own shape."""
        wire = _Wire(b"")
        self.handle_error(request, wire, received.client, error)
        status = b"".join(wire.sent).partition(b"\r\n")[0].decode("ascii").partition(" ")[2]
        if not status.startswith("4"):
            status = at_worst
        name = status.partition(" ")[2]
        return Answer(refusal(status, name.lower().replace(" ", "-"), name), keep=False)


@dataclass(frozen=True)
class _Begun:
    wait: Callable[[], None] | None
    end: Callable[[], Answer]


class _Known:
    """An answer that is there already."""

    wait = None

    def __init__(self, answer: Answer) -> None:
        self._answer = answer

    def end(self) -> Answer:
        """Give it."""
        return self._answer


class _Wire:
    """A socket for gunicorn's parser and response: it gives one request's bytes, and gathers the answer's."""

    def __init__(self, data: bytes) -> None:
        self.sent: list[bytes] = []
        self._data = data
        self._at = 0

    @property
    def left(self) -> int:
        """The bytes that nobody asked for."""
        return len(self._data) - self._at

    def recv(self, size: int) -> bytes:
        """The next bytes; none at their end."""
        piece = self._data[self._at : self._at + size]
        self._at += len(piece)
        return piece

    def sendall(self, data: bytes) -> None:
        """Keep for the answer."""
        self.sent.append(bytes(data))

    send = sendall

    def gettimeout(self) -> float:
        """As of a socket that never waits."""
        return 0.0


def room(connections: int) -> int:
    """How many connections the limit of open files has room for; it is raised as far as we may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections + _RESERVED
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return connections if soft == resource.RLIM_INFINITY else max(_FEWEST, min(connections, soft - _RESERVED))
