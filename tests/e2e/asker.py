"""Somebody who asks for a prediction all the time, and notices every request that fails."""

from __future__ import annotations

import contextlib
import http.client
import json
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

_PATIENCE = 10.0
_BETWEEN = 0.01


@dataclass
class Answers:
    """What came back, in order.

    Attributes:
        failures: What each request that did not get a prediction got instead.
        seen: Each different prediction with the time at which it was first seen.
    """

    count: int = 0
    failures: list[str] = field(default_factory=list)
    seen: list[tuple[float, Any]] = field(default_factory=list)

    def first(self, prediction: Any) -> float | None:
        """When it was first seen, by ``time.time``."""
        return next((at for at, each in self.seen if each == prediction), None)


@contextlib.contextmanager
def asking(url: str, path: str, question: Any, *, connections: int = 2) -> Iterator[Answers]:
    """Ask over and over, nothing twice, from now until the block ends."""
    answers, lock, stopping = Answers(), threading.Lock(), threading.Event()

    def work() -> None:
        while not stopping.wait(_BETWEEN):
            try:
                got, why = ask(url, path, question), None
            except (OSError, http.client.HTTPException, RefusedError) as error:
                got, why = None, f"{time.strftime('%X')} {type(error).__name__}: {error}"
            with lock:
                answers.count += 1
                if why is not None:
                    answers.failures.append(why)
                elif not answers.seen or answers.seen[-1][1] != got:
                    answers.seen.append((time.time(), got))

    threads = [threading.Thread(target=work, name=f"asker {number}") for number in range(connections)]
    for thread in threads:
        thread.start()
    try:
        yield answers
    finally:
        stopping.set()
        for thread in threads:
            thread.join()


class RefusedError(Exception):
    """It answered, but with no prediction."""


def ask(url: str, path: str, question: Any) -> Any:
    """One question on a connection of its own; the numbers that came back, whatever is around them."""
    connection = http.client.HTTPConnection(str(urlsplit(url).netloc), timeout=_PATIENCE)
    try:
        connection.request("POST", path, json.dumps(question), {"Content-Type": "application/json"})
        answer = connection.getresponse()
        body = answer.read()
        if answer.status != http.client.OK:
            raise RefusedError(f"{answer.status} {body[:300]!r}")
        return numbers(json.loads(body))
    finally:
        connection.close()


def numbers(answer: Any) -> Sequence[float]:
    """The prediction in an answer of the Open Inference Protocol or of TorchServe."""
    found = answer
    while isinstance(found, dict):
        found = found["outputs"][0]["data"] if "outputs" in found else found["predictions"]
    while found and isinstance(found[0], list):
        found = found[0]
    return [float(each) for each in found]
