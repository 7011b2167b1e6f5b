"""Faults on demand: each names what it spoils, how, and how often."""

from __future__ import annotations

import fnmatch
import gzip
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Fault:
    """One way in which an answer goes wrong.

    Attributes:
        target: ``file:PATH`` (the signed URL), ``manifest``, ``graphql:OPERATION`` or
            ``download:PATH`` (the endpoint that redirects); ``*`` and ``?`` are wildcards.
        times: How many answers it spoils; None for all.
        after: How many answers it lets pass first.
        status: Answer with this status and a short error instead.
        headers: Sent beside the others.
        retry_after: The ``Retry-After`` header.
        body: Sent instead of the real content.
        longer: Bytes sent after the real content, and counted in its length.
        flip_byte: The position of one byte whose bits are all inverted.
        cut_after: Close the connection after so many bytes of the promised body.
        stall: Seconds to wait after ``cut_after`` bytes (0 without it); stopping the server ends it.
        reset: Reset the connection instead of answering.
        ignore_range: Answer a range request with the whole file.
        gzip: Compress the body, asked or not.
        then: Called when the fault strikes, to change the world between two requests.
    """

    target: str
    times: int | None = 1
    after: int = 0
    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    retry_after: str | int | None = None
    body: bytes | None = None
    longer: bytes = b""
    flip_byte: int | None = None
    cut_after: int | None = None
    stall: float | None = None
    reset: bool = False
    ignore_range: bool = False
    gzip: bool = False
    then: Callable[[], object] | None = None
    struck: int = 0

    @property
    def extra_headers(self) -> dict[str, str]:
        """All headers that it adds."""
        retry_after = {} if self.retry_after is None else {"Retry-After": str(self.retry_after)}
        return {**self.headers, **retry_after}

    @property
    def refuses(self) -> bool:
        """Whether it answers with another status instead of the content."""
        return self.status is not None

    @property
    def spoils_content(self) -> bool:
        """Whether it changes the bytes themselves."""
        return self.body is not None or bool(self.longer) or self.flip_byte is not None

    def spoil(self, content: bytes) -> bytes:
        """The content as it is sent."""
        spoiled = bytearray(content if self.body is None else self.body)
        if self.flip_byte is not None:
            spoiled[self.flip_byte] ^= 0xFF
        return bytes(spoiled) + self.longer

    def encode(self, content: bytes) -> bytes:
        """The content under the ``Content-Encoding`` that the fault sets."""
        return gzip.compress(content) if self.gzip else content


class Faults:
    """The faults that wait to strike, oldest first."""

    def __init__(self) -> None:
        self._waiting: list[Fault] = []
        self._lock = threading.Lock()
        self.released = threading.Event()

    def add(self, target: str, **how: Any) -> Fault:
        """Spoil the next answer (or ``times`` answers) for this target; see Fault for how."""
        fault = Fault(target, **how)
        with self._lock:
            self._waiting.append(fault)
        return fault

    def take(self, target: str) -> Fault | None:
        """The fault that strikes this answer, if any."""
        with self._lock:
            fault = next((each for each in self._waiting if self._strikes(each, target)), None)
            if fault is None:
                return None
            fault.struck += 1
            if fault.times is not None and fault.struck >= fault.times:
                self._waiting.remove(fault)
        if fault.then is not None:
            fault.then()
        return fault

    def clear(self) -> None:
        """Take back every fault that has not struck yet."""
        with self._lock:
            self._waiting.clear()

    def wait(self, fault: Fault) -> None:
        """Stall as the fault says, but never longer than the server lives."""
        if fault.stall is not None:
            self.released.wait(fault.stall)

    @staticmethod
    def _strikes(fault: Fault, target: str) -> bool:
        if target != fault.target and not fnmatch.fnmatchcase(target, fault.target):
            return False
        fault.after -= 1
        return fault.after < 0
