"""The file store: answers signed addresses only, with ranges, as S3 does."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from werkzeug.wrappers import Request, Response

from tests.stand_ins.wandb.faults import Fault, Faults
from tests.stand_ins.wandb.manifest import Content
from tests.stand_ins.wandb.spoiling import spoiled


@dataclass(frozen=True)
class Stored:
    """A stored object, and what faults call it."""

    target: str
    content: Content


@dataclass(frozen=True)
class Bucket:
    """A WSGI application over ``find`` (path to object) and ``refusal`` (why an address is not served)."""

    find: Callable[[str], Stored | None]
    refusal: Callable[[str, Mapping[str, str]], str | None]
    record: Callable[[Request, str | None], None]
    faults: Faults

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        """Answer one request."""
        request = Request(environ)
        stored = self.find(request.path)
        self.record(request, stored.target if stored else None)
        return self._answer(request, stored)(environ, start_response)

    def _answer(self, request: Request, stored: Stored | None) -> Response:
        if "Authorization" in request.headers:
            return _error(400, "InvalidArgument", "Only one auth mechanism allowed")
        if request.method != "GET":
            return _error(403, "SignatureDoesNotMatch", "The address was signed for GET")
        refusal = self.refusal(request.path, request.args)
        if refusal is not None:
            return _error(403, "AccessDenied", refusal)
        if stored is None:
            return _error(404, "NoSuchKey", "The specified key does not exist.")
        fault = self.faults.take(stored.target)
        content = stored.content
        if fault is None:
            return _whole_or_part(request, content)

        def honest(fault: Fault) -> Response:
            sent = Content.of(fault.spoil(content.read())) if fault.spoils_content else content
            return _whole_or_part(request, sent, ignore_range=fault.ignore_range)

        return spoiled(request, fault, self.faults, honest)


def _whole_or_part(request: Request, content: Content, *, ignore_range: bool = False) -> Response:
    headers = {"ETag": f'"{content.etag}"', "Accept-Ranges": "bytes"}
    wanted = None if ignore_range else _range(request, content)
    if wanted is None:
        return _respond(200, content, 0, content.size, headers)
    start, stop = wanted
    if start >= content.size:
        headers["Content-Range"] = f"bytes */{content.size}"
        return Response(b"", 416, headers)
    headers["Content-Range"] = f"bytes {start}-{stop - 1}/{content.size}"
    return _respond(206, content, start, stop, headers)


def _range(request: Request, content: Content) -> tuple[int, int] | None:
    """The one range that is asked for.  Like S3, ignore what is malformed, several, or out of date."""
    match = re.fullmatch(r"bytes=([0-9]*)-([0-9]*)", request.headers.get("Range", ""))
    if match is None or match.groups() == ("", ""):
        return None
    if request.headers.get("If-Range", f'"{content.etag}"') != f'"{content.etag}"':
        return None
    first, last = match.groups()
    if first and last and int(last) < int(first):
        return None
    if not first:
        return max(0, content.size - int(last)), content.size
    return int(first), min(content.size, int(last) + 1 if last else content.size)


def _respond(status: int, content: Content, start: int, stop: int, headers: dict[str, str]) -> Response:
    response = Response(
        content.chunks(start, stop), status, headers, mimetype="binary/octet-stream", direct_passthrough=True
    )
    response.content_length = stop - start
    return response


def _error(status: int, code: str, message: str) -> Response:
    fields = f"<Code>{code}</Code><Message>{message}</Message>"
    body = f'<?xml version="1.0" encoding="UTF-8"?>\n<Error>{fields}</Error>'
    return Response(body, status, mimetype="application/xml")
