"""GitHub as light as it can be: takes every dispatch, answers 204, notes when it came.  It checks nothing.

For measuring ourselves; what GitHub would say is the business of ``tests/stand_ins/github``.
"""

from __future__ import annotations

import json
import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_HEAD = re.compile(rb"POST /repos/[^ ]+/dispatches HTTP/1.1\r\n")
_LENGTH = re.compile(rb"\r\ncontent-length: *([0-9]+)", re.IGNORECASE)
_NO_CONTENT = b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n"
_NOT_FOUND = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class Sink:
    """A listening socket and one thread that answers one request after the other."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port: int = self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.arrived: list[tuple[float, str]] = []  # When, by perf_counter, and the key.
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._serve, name="sink", daemon=True)
        self._thread.start()

    def wait_for(self, count: int, timeout: float) -> float:
        """Return once so many dispatches have arrived, with the time of the last of these."""
        with self._changed:
            if not self._changed.wait_for(lambda: len(self.arrived) >= count, timeout):
                raise TimeoutError(f"{len(self.arrived)} dispatches arrived in {timeout:g} s, want {count}")
            return self.arrived[count - 1][0]

    def close(self) -> None:
        """Stop listening."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection:
                self._answer(connection)

    def _answer(self, connection: socket.socket) -> None:
        got = b""
        while not _whole(got):
            came = connection.recv(65536)
            if not came:
                return
            got += came
        now = time.perf_counter()
        head, _, content = got.partition(b"\r\n\r\n")
        if not _HEAD.match(head + b"\r\n"):
            connection.sendall(_NOT_FOUND)
            return
        connection.sendall(_NO_CONTENT)
        asked: dict[str, Any] = json.loads(content)
        with self._changed:
            self.arrived.append((now, asked["client_payload"].get("handoff", {}).get("key", "")))
            self._changed.notify_all()


def _whole(got: bytes) -> bool:
    head, found, content = got.partition(b"\r\n\r\n")
    length = _LENGTH.search(head)
    return bool(found) and len(content) >= (int(length[1]) if length else 0)


@contextmanager
def sink() -> Iterator[Sink]:
    """A sink, closed at the end."""
    opened = Sink()
    try:
        yield opened
    finally:
        opened.close()
