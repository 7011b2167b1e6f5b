"""Senders that promote and promote, each as W&B does it at best: again, until it is acknowledged."""

from __future__ import annotations

import base64
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from random import Random

import requests

from receiver.signature import sign
from tests.receiver.web_fakes import SECRET, body, flat

REPOSITORY = "acme/serving"
BETWEEN_TRIES = 0.05
PATIENCE = 20.0


@dataclass(frozen=True, order=True)
class Promotion:
    """A version of ``model-1``, ``model-2``, … becomes ``production``: no two promotions are the same."""

    collection: str
    number: int

    @property
    def artifact(self) -> str:
        """The version's address."""
        name = f"Artifact:{self.collection.rpartition('-')[2]}{self.number:06}".encode()
        return f"wandb-artifact://_id/{base64.b64encode(name).decode()}"

    @property
    def raw(self) -> bytes:
        """The body that tells of it."""
        names = {"artifact_version": self.artifact, "artifact_collection_name": self.collection}
        version = f"acme/wandb-registry-model/{self.collection}:v{self.number}"
        return body(flat(**names, artifact_version_string=version))


@dataclass
class Told:
    """What the senders were told.

    Attributes:
        begun: Every promotion that was posted at least once.
        acknowledged: The delivery's id that each acknowledgement named, by promotion.
        repeats: Acknowledgements that said ``duplicate``: an earlier post of it had been kept.
        unanswered: Posts that got no answer, or 503.
        wrong: Any other answer; there should be none.
    """

    begun: list[Promotion] = field(default_factory=list)
    acknowledged: dict[Promotion, str] = field(default_factory=dict)
    repeats: int = 0
    unanswered: int = 0
    wrong: list[str] = field(default_factory=list)


class Senders:
    """Some threads that post, each to its own collection, one promotion after the other."""

    def __init__(self, urls: Callable[[], Sequence[str]], count: int, seed: int) -> None:
        self.told = Told()
        self._urls = urls
        self._changed = threading.Condition()
        self._stopping = threading.Event()
        self._threads = [
            threading.Thread(target=self._work, args=(f"model-{number}", Random(seed + number)))  # noqa: S311 - luck that can be repeated
            for number in range(1, count + 1)
        ]

    def start(self) -> None:
        """Begin."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End; what is not acknowledged by now stays so."""
        self._stopping.set()
        for thread in self._threads:
            thread.join()

    def wait_for(self, count: int, timeout: float = 60.0) -> None:
        """Return once so many promotions have been acknowledged."""
        with self._changed:
            self._changed.wait_for(lambda: len(self.told.acknowledged) >= count or self.told.wrong, timeout)
            assert not self.told.wrong, self.told.wrong
            got = len(self.told.acknowledged)
            assert got >= count, f"got {got} acknowledgements, want {count}"

    def _work(self, collection: str, luck: Random) -> None:
        number = 0
        while not self._stopping.is_set():
            number += 1
            self._promote(Promotion(collection, number), luck)

    def _promote(self, promotion: Promotion, luck: Random) -> None:
        with self._changed:
            self.told.begun.append(promotion)
        while not self._stopping.is_set():
            try:
                answer = post(luck.choice(self._urls()), promotion.raw)
            except requests.RequestException:
                answer = None
            if self._take_in(promotion, answer):
                return
            self._stopping.wait(BETWEEN_TRIES)

    def _take_in(self, promotion: Promotion, answer: requests.Response | None) -> bool:
        """Keep what was answered; tell whether that is the end of it."""
        with self._changed:
            if answer is None or answer.status_code == HTTPStatus.SERVICE_UNAVAILABLE:
                self.told.unanswered += 1
                return False
            if answer.status_code not in {HTTPStatus.OK, HTTPStatus.ACCEPTED}:
                self.told.wrong.append(f"{answer.status_code} {answer.text}")
                self._changed.notify_all()
                return False
            self.told.repeats += answer.status_code == HTTPStatus.OK
            self.told.acknowledged[promotion] = answer.json()["delivery"]
            self._changed.notify_all()
            return True


def post(url: str, raw: bytes) -> requests.Response:
    """Post a body, signed as W&B signs it."""
    headers = {"X-Wandb-Signature": sign(raw, SECRET.encode())}
    return requests.post(url, data=raw, headers=headers, timeout=PATIENCE)
