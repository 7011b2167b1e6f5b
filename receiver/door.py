"""The page that W&B posts to, before the framework: what is accepted is answered here, all else behind it.

Most of the time of a request was the framework's.  Nothing is decided here: whatever is not a plain post that
was accepted goes on to the pages as it came, or with what the intake said of it.
"""

from __future__ import annotations

import io
import os
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from receiver.intake import Accepted, Intake, Webhook

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

RECEIVED = "handoff.received"  # In the environ: what the intake answered or raised.
TOO_LARGE = "handoff.body_too_large"  # In the environ, by the worker: it did not read all of the body.

# Makes the whole answer to what was accepted: status, headers, body.
Tell = Callable[[Accepted, "WSGIEnvironment", float], tuple[str, list[tuple[str, str]], bytes]]


class Door:
    """A WSGI application before another."""

    def __init__(
        self, behind: WSGIApplication, intake: Intake, tell: Tell, *, path: str, max_body: int
    ) -> None:
        self._behind = behind
        self._intake = intake
        self._tell = tell
        self._path = path
        self._max_body = max_body
        self._process = os.getpid()

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer, or pass on."""
        began = time.monotonic()
        length = self._length(environ)
        if length is None:
            return self._behind(environ, start_response)
        body = environ["wsgi.input"].read(length)
        if len(body) != length:
            environ["wsgi.input"] = io.BytesIO(body)
            return self._behind(environ, start_response)
        received = self._receive(body, environ)
        if not isinstance(received, Accepted):
            environ[RECEIVED] = received
            return self._behind(environ, start_response)
        status, headers, content = self._tell(received, environ, began)
        start_response(status, headers)
        return (content,)

    def _length(self, environ: WSGIEnvironment) -> int | None:
        """The length of a plain post to our page; None for all else, and in a fork, where nobody writes."""
        plain = (
            environ["REQUEST_METHOD"] == "POST"
            and environ.get("PATH_INFO") == self._path
            and not environ.get("SCRIPT_NAME")
            and "HTTP_CONTENT_ENCODING" not in environ
            and "HTTP_TRANSFER_ENCODING" not in environ
            and not environ.get(TOO_LARGE)
            and os.getpid() == self._process
        )
        told = environ.get("CONTENT_LENGTH") or ""
        if not plain or not (told.isascii() and told.isdecimal() and len(told) <= len(str(self._max_body))):
            return None
        length = int(told)
        return length if length <= self._max_body else None

    def _receive(self, body: bytes, environ: WSGIEnvironment) -> Any:
        webhook = Webhook(
            body=body,
            signature=environ.get("HTTP_X_WANDB_SIGNATURE"),
            authorization=environ.get("HTTP_AUTHORIZATION"),
            address=environ.get("REMOTE_ADDR"),
        )
        try:
            return self._intake.receive(webhook)
        except Exception as error:  # noqa: BLE001 - the pages raise it again, and answer it as ever
            return error
