"""An endpoint on 127.0.0.1 that keeps what arrives and answers as it is told, behind TLS if it is to be."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email.utils import formatdate
from pathlib import Path
from types import TracebackType
from typing import Any, cast

from typing_extensions import Self

from tests.stand_ins.github.asked import Answer, Asked
from tests.stand_ins.github.faults import Fault, Faults
from tests.stand_ins.github.server import Server

Arrived = Asked


@dataclass(frozen=True)
class Said:
    """An answer, byte for byte."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=lambda: {"Content-Type": "text/plain"})


class Endpoint:
    """Answers 200 to everything, or what ``rule`` says; what it is to do wrong is in ``faults``."""

    def __init__(
        self, rule: Callable[[Arrived], Said] | None = None, *, certificate: Path | None = None
    ) -> None:
        self._rule = rule
        self._certificate = certificate
        self.arrived: list[Arrived] = []
        self.faults = Faults()

    def decide(self, arrived: Arrived) -> Said:
        """The answer."""
        return Said(200, b"ok") if self._rule is None else self._rule(arrived)

    @property
    def port(self) -> int:
        """Where it listens."""
        return self._server.server_port

    @property
    def url(self) -> str:
        """Its address."""
        return f"{'http' if self._certificate is None else 'https'}://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self._server = Server(0, self)
        if self._certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(self._certificate)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.faults.release()
        self._server.close()
        self._thread.join()

    # What the server asks of us.

    def take_fault(self, asked: Asked) -> Fault | None:
        """Keep the request; return what is to go wrong with it."""
        self.arrived.append(asked)
        return self.faults.take(asked.method, asked.path)

    def answer(self, asked: Asked) -> Answer:
        """Do as asked."""
        return cast("Answer", self.decide(asked))

    def date(self) -> str:
        """The time, as a header has it."""
        return formatdate(usegmt=True)


def json_of(arrived: Arrived) -> Any:
    """The body, where it is JSON and says so; else None."""
    if not arrived.headers.get("content-type", "").startswith("application/json"):
        return None
    try:
        return arrived.json
    except ValueError:
        return None
