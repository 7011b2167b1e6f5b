"""A load of signed webhooks over keep-alive connections: a small process of its own, told what to do by JSON.

One thread and ``epoll``; every request is built and signed before the clock starts, each promotes another
version.  A connection sends its next request when it has the answer to the one before (a closed loop).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
import selectors
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field

COLLECTIONS = 100
_LENGTH = re.compile(rb"\r\ncontent-length: *([0-9]+)", re.IGNORECASE)
_DELIVERY = re.compile(rb'"delivery": "([0-9A-Z]+)"')


@dataclass(frozen=True)
class Load:
    """What to send, and for how long.

    Attributes:
        first: The number of the first promotion; a server sees each number once.
        most: How many requests are built; the run ends when they are used up.
    """

    port: int
    path: str
    secret: str
    connections: int
    seconds: float
    most: int
    first: int = 0
    token: str = ""


@dataclass(frozen=True)
class Answers:
    """What came back.

    Attributes:
        millis: For each answer with 202, from before sending until it was whole.
        others: The first lines of all other answers.
        deliveries: The ids that the answers with 202 named.
        seconds: How long it took in all.
        busy: How much of that the generator was computing.
    """

    millis: list[float] = field(default_factory=list)
    others: list[str] = field(default_factory=list)
    deliveries: list[str] = field(default_factory=list)
    seconds: float = 0.0
    busy: float = 0.0

    @property
    def per_second(self) -> float:
        """Answers with 202 per second."""
        return len(self.millis) / self.seconds if self.seconds else 0.0

    def percentile(self, percent: float) -> float:
        """The time within which so many percent were answered."""
        ordered = sorted(self.millis)
        return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))] if ordered else float("nan")


def body(number: int) -> bytes:
    """One promotion as README's template renders it, each of another version."""
    collection = f"flowers-{number % COLLECTIONS}"
    artifact = base64.b64encode(f"Artifact:{number}".encode()).decode()
    values = {
        "event_type": "ADD_ARTIFACT_ALIAS",
        "event_author": "ana",
        "alias": "production",
        "artifact_version": f"wandb-artifact://_id/{artifact}",
        "artifact_version_string": f"acme-org/wandb-registry-model/{collection}:v{number}",
        "artifact_collection_name": collection,
        "project_name": "wandb-registry-model",
        "entity_name": "acme-org",
    }
    return json.dumps({"event_type": "BUILD_AND_DEPLOY", "client_payload": values}).encode()


def drive(load: Load) -> Answers:
    """Run the load in another process, and return what came back."""
    ran = subprocess.run(
        [sys.executable, "-m", "benchmarks.load"],
        input=json.dumps(asdict(load)).encode(),
        stdout=subprocess.PIPE,
        check=True,
    )
    return Answers(**json.loads(ran.stdout))


class _Connection:
    """One keep-alive connection, with one request under way."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=30)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._port = port
        self._began = 0.0
        self._got = b""

    def send(self, request: bytes) -> None:
        """Begin a request; it is small, so one call takes it whole."""
        self._got = b""
        self._began = time.perf_counter()
        self.socket.sendall(request)

    def receive(self, answers: Answers) -> bool:
        """Take in what came; True when the answer is whole."""
        came = self.socket.recv(65536)
        if not came:
            raise ConnectionError(f"closed in the middle of an answer: {self._got[:200]!r}")
        self._got += came
        head, found, content = self._got.partition(b"\r\n\r\n")
        length = _LENGTH.search(head)
        if not found or length is None or len(content) < int(length[1]):
            return False
        if head.startswith(b"HTTP/1.1 202"):
            answers.millis.append((time.perf_counter() - self._began) * 1000)
            if delivery := _DELIVERY.search(content):
                answers.deliveries.append(delivery[1].decode())
        else:
            answers.others.append(self._got[:300].decode("utf-8", "replace"))
        return True


def _requests(load: Load) -> Iterator[bytes]:
    token = f"Authorization: Bearer {load.token}\r\n" if load.token else ""
    for number in range(load.first, load.first + load.most):
        content = body(number)
        signature = hmac.new(load.secret.encode(), content, hashlib.sha256).hexdigest()
        head = (
            f"POST {load.path} HTTP/1.1\r\nHost: 127.0.0.1:{load.port}\r\nUser-Agent: load\r\n"
            f"Content-Type: application/json\r\nX-Wandb-Signature: {signature}\r\n{token}"
            f"Content-Length: {len(content)}\r\n\r\n"
        )
        yield head.encode() + content


def run(load: Load) -> Answers:
    """Send until the time is over or the requests are used up; answers under way are waited for."""
    requests = iter(list(_requests(load)))
    answers = Answers()
    connections = [_Connection(load.port) for _ in range(load.connections)]
    began, computed = time.perf_counter(), time.process_time()
    end = began + load.seconds
    with selectors.DefaultSelector() as selector:
        for connection in connections:
            selector.register(connection.socket, selectors.EVENT_READ, connection)
            connection.send(next(requests))
        under_way = len(connections)
        while under_way:
            ready = selector.select(timeout=30)
            if not ready:
                raise TimeoutError(f"no answer for 30 s, {under_way} requests under way")
            for key, _ in ready:
                if not key.data.receive(answers):
                    continue
                request = next(requests, None) if time.perf_counter() < end else None
                if request is None:
                    under_way -= 1
                    selector.unregister(key.data.socket)
                else:
                    key.data.send(request)
    for connection in connections:
        connection.socket.close()
    return Answers(
        answers.millis,
        answers.others,
        answers.deliveries,
        seconds=time.perf_counter() - began,
        busy=time.process_time() - computed,
    )


def main() -> None:
    """Read the load from standard input, write the answers to standard output."""
    json.dump(asdict(run(Load(**json.load(sys.stdin)))), sys.stdout)


if __name__ == "__main__":
    main()
