"""Faults on demand: what the stand-in does instead of answering as it should."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any


@dataclass
class Fault:
    """One fault, for some requests.

    Attributes:
        times: How often it strikes; None is always.
        status: Answer with this status, ``headers`` and ``body`` (a JSON value, raw bytes, or chunks of
            bytes that are sent as they come; an endless iterator is an endless answer).
        reset_before: Reset the connection, with nothing done.
        reset_after: Do as asked, then reset the connection.
        hang: Answer nothing until this is set, then close the connection.
        accept_first: Do as asked before ``status`` or ``hang``.
        raw: The whole answer, status line included, in chunks that are sent as they come.
    """

    times: int | None = 1
    status: int | None = None
    reset_before: bool = False
    reset_after: bool = False
    hang: threading.Event | None = None
    accept_first: bool = False
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Any = None
    raw: Iterable[bytes] | None = None

    @property
    def processes(self) -> bool:
        """Whether the request is done as asked, whatever is answered then."""
        return self.accept_first or self.reset_after

    @property
    def chunks(self) -> Iterable[bytes]:
        """The body, ready to be sent."""
        if self.body is None:
            return []
        if isinstance(self.body, bytes):
            return [self.body]
        if isinstance(self.body, (dict, list, str)):
            return [json.dumps(self.body).encode()]
        chunks: Iterable[bytes] = self.body
        return chunks


class Faults:
    """The faults that wait for their requests, in the order in which they were added."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: list[tuple[str, Fault]] = []
        self._hangs: list[threading.Event] = []

    def add(self, where: str, **what: Any) -> Fault:
        """Let requests like ``where`` (``POST /repos/*/dispatches``) meet a ``Fault(**what)``."""
        fault = Fault(**what)
        with self._lock:
            self._waiting.append((where, fault))
            if fault.hang is not None:
                self._hangs.append(fault.hang)
        return fault

    def clear(self) -> None:
        """Forget them all."""
        with self._lock:
            self._waiting.clear()

    def take(self, method: str, path: str) -> Fault | None:
        """Return the first fault that waits for this request."""
        with self._lock:
            for where, fault in self._waiting:
                if fault.times != 0 and fnmatchcase(f"{method} {path}", where):
                    if fault.times is not None:
                        fault.times -= 1
                    return fault
        return None

    def release(self) -> None:
        """Let all that hangs go on."""
        with self._lock:
            for hang in self._hangs:
                hang.set()
