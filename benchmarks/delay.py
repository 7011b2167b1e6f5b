"""A line that takes its time: what a client says arrives so much later; what it is told comes at once.

A small process of its own, one thread and ``epoll``, blind to what passes (TLS or not).
"""

from __future__ import annotations

import json
import selectors
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

_CHUNK = 256 * 1024


@contextmanager
def delayed(ports: Sequence[int], seconds: float) -> Iterator[list[int]]:
    """A port before each of these, while the block runs."""
    argv = [sys.executable, "-m", "benchmarks.delay", str(seconds), *map(str, ports)]
    process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield json.loads(process.stdout.readline())
    finally:
        process.terminate()
        process.wait()
        process.stdin.close()
        process.stdout.close()


class _Line:
    """One connection with the one behind it."""

    def __init__(self, client: socket.socket, port: int) -> None:
        self.client = client
        self.server = socket.create_connection(("127.0.0.1", port))
        for each in (self.client, self.server):
            each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def close(self) -> None:
        self.client.close()
        self.server.close()


class _Delay:
    def __init__(self, seconds: float, ports: Sequence[int]) -> None:
        self._seconds = seconds
        self._selector = selectors.DefaultSelector()
        self._waiting: deque[tuple[float, _Line, bytes]] = deque()
        self.listeners = [socket.create_server(("127.0.0.1", 0), backlog=1024) for _ in ports]
        for listener, port in zip(self.listeners, ports, strict=True):
            self._selector.register(listener, selectors.EVENT_READ, port)

    def run(self) -> None:
        while True:
            for key, _ in self._selector.select(self._until_next()):
                if isinstance(key.data, int):
                    self._accept(key.fileobj, key.data)  # type: ignore[arg-type]
                else:
                    self._pass_on(key.fileobj, key.data)  # type: ignore[arg-type]
            self._send_what_is_due()

    def _until_next(self) -> float | None:
        return max(self._waiting[0][0] - time.monotonic(), 0.0) if self._waiting else None

    def _accept(self, listener: socket.socket, port: int) -> None:
        line = _Line(listener.accept()[0], port)
        for each in (line.client, line.server):
            self._selector.register(each, selectors.EVENT_READ, line)

    def _pass_on(self, readable: socket.socket, line: _Line) -> None:
        if readable.fileno() < 0:
            return  # Closed in this very round.
        try:
            came = readable.recv(_CHUNK)
        except OSError:
            came = b""
        if not came:
            self._end(line)
        elif readable is line.client:
            self._waiting.append((time.monotonic() + self._seconds, line, came))
        else:
            self._send(line, line.client, came)

    def _send_what_is_due(self) -> None:
        while self._waiting and self._waiting[0][0] <= time.monotonic():
            _, line, said = self._waiting.popleft()
            self._send(line, line.server, said)

    def _send(self, line: _Line, to: socket.socket, content: bytes) -> None:
        try:
            to.sendall(content)
        except OSError:
            self._end(line)

    def _end(self, line: _Line) -> None:
        for each in (line.client, line.server):
            with suppress(KeyError, ValueError):
                self._selector.unregister(each)
        line.close()


def main() -> None:
    """Say the ports, and delay until ended."""
    delay = _Delay(float(sys.argv[1]), [int(port) for port in sys.argv[2:]])
    print(json.dumps([listener.getsockname()[1] for listener in delay.listeners]), flush=True)
    delay.run()


if __name__ == "__main__":
    main()
