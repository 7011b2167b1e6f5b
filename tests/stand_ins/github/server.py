"""The stand-in on a socket: requests in, faults, answers out, each judged by the description."""

from __future__ import annotations

import os
import socket
import struct
import threading
from collections.abc import Iterable
from http.client import responses
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Protocol

from tests.stand_ins.github.asked import Answer, Asked
from tests.stand_ins.github.faults import Fault

_IDLE_SECONDS = 30


class Backend(Protocol):
    """What answers."""

    def take_fault(self, asked: Asked) -> Fault | None:
        """Return the fault that this request is to meet."""

    def answer(self, asked: Asked) -> Answer:
        """Do as asked."""

    def date(self) -> str:
        """Return the Date header of an answer that goes out now."""


class Server(ThreadingHTTPServer):
    """Listens on 127.0.0.1; ``close`` ends every connection and every thread."""

    daemon_threads = False
    request_queue_size = 128

    def __init__(self, port: int, backend: Backend) -> None:
        self.backend = backend
        self._live: set[socket.socket] = set()
        self._live_lock = threading.Lock()
        super().__init__(("127.0.0.1", port), _Handler)

    def server_bind(self) -> None:
        """Bind without asking a name server who 127.0.0.1 is."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = "127.0.0.1", self.server_address[1]

    def process_request(self, request: Any, client_address: Any) -> None:
        """Remember the connection, so that it can be ended."""
        with self._live_lock:
            self._live.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Forget the connection, then close it."""
        with self._live_lock:
            self._live.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: a client that went away is no news."""

    def close(self) -> None:
        """Stop listening and end every connection."""
        self.shutdown()
        with self._live_lock:
            for connection in self._live:
                _quietly(connection.shutdown, socket.SHUT_RDWR)
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"
    timeout = _IDLE_SECONDS
    disable_nagle_algorithm = True

    def log_message(self, *_: Any) -> None:
        """Say nothing."""

    def _handle(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        headers = {name.lower(): value for name, value in self.headers.items()}
        body = self.rfile.read(length)
        if len(body) < length:
            self.close_connection = True  # Whoever sent it died meanwhile: half a request is none.
            return
        asked = Asked(self.command, self.path, headers, body)
        fault = self.server.backend.take_fault(asked)
        if fault is None:
            answer = self.server.backend.answer(asked)
            self._send(answer.status, answer.headers, [answer.body], len(answer.body))
        else:
            self._fail(fault, asked)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = _handle  # noqa: N815 - the base's names

    def _fail(self, fault: Fault, asked: Asked) -> None:
        if fault.processes:
            self.server.backend.answer(asked)
        if fault.hang is not None:
            fault.hang.wait()
        if fault.raw is not None:
            self._write(fault.raw)
        elif fault.status is not None:
            whole = fault.body is None or isinstance(fault.body, (bytes, dict, list, str))
            chunks = list(fault.chunks) if whole else fault.chunks
            length = sum(len(chunk) for chunk in chunks) if isinstance(chunks, list) else None
            self._send(fault.status, dict(fault.headers), chunks, length)
        elif fault.hang is None:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            os.close(self.connection.detach())  # At once: a shutdown would say good-bye first.
        if fault.status is None or fault.raw is not None:
            self.close_connection = True

    def _send(
        self, status: int, headers: dict[str, str], chunks: Iterable[bytes], length: int | None
    ) -> None:
        shown = {"Date": self.server.backend.date(), "Content-Type": "application/json; charset=utf-8"}
        shown.update(headers)
        if length is None:
            shown["Connection"] = "close"
        elif status != 204:
            shown["Content-Length"] = str(length)
        lines = [f"HTTP/1.1 {status} {responses.get(status, 'Unknown')}"]
        lines += [f"{name}: {value}" for name, value in shown.items()]
        head = "\r\n".join([*lines, "", ""]).encode("latin-1")
        self.close_connection = self.close_connection or length is None
        self._write([head, *chunks] if length is not None else _chained(head, chunks))

    def _write(self, chunks: Iterable[bytes]) -> None:
        try:
            for chunk in chunks:
                self.wfile.write(chunk)
        except OSError:
            self.close_connection = True


def _chained(head: bytes, chunks: Iterable[bytes]) -> Iterable[bytes]:
    yield head
    yield from chunks


def _quietly(action: Any, *values: Any) -> None:
    try:
        action(*values)
    except OSError:
        return
