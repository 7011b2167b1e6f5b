"""W&B and its file store over HTTP: what signs us in goes to one origin, and no other ever sees it."""

from __future__ import annotations

import http.client
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from types import TracebackType
from typing import Any, Protocol
from urllib.parse import urljoin, urlsplit

import urllib3
from urllib3.exceptions import HTTPError

from registry_client.base_url import is_loopback, origin, shown_host
from registry_client.connections import Connections, check_transient, content, discard, raise_ours
from registry_client.errors import FetchError
from registry_client.patience import TransientError

CHUNK = 256 * 1024  # Of up to 64 connections at a time: memory is bounded by it.
_LONGEST_ANSWER = 256 * 1024 * 1024
_MOST_REDIRECTS = 5
_OK, _PARTIAL, _PAST_THE_END = 200, 206, 416
_STALE = {400, 401, 403, 404, 410}  # What the file stores say to a signed URL whose time is over.
_REDIRECTS = {301, 302, 303, 307, 308}


class StaleUrlError(FetchError):
    """A signed URL is not taken (any more)."""


class WrongRangeError(TransientError):
    """A server sent another part of the file than it was asked for."""


class Credential(Protocol):
    """What signs us in."""

    def authorization(self) -> str:
        """The value of the ``Authorization`` header, good for now."""
        ...

    def refused(self) -> bool:
        """Take note that the server did not know it; whether asking once more may help."""
        ...

    def __str__(self) -> str:
        """What it is and where it came from, for messages; never the secret."""
        ...


class Body:
    """The bytes of an answer while they arrive.

    Attributes:
        offset: Where in the file they begin.
        announced: Whether the server said how long they are, so that a cut connection shows.
        length: How many they are, if it said so beforehand.
        total: How many the whole file has, if the server said so.
        etag: What the server calls this content, quotes and all.
        status: 206 for a part, 200 for the whole file though a part was asked for, 416 for past its end.
        encoding: How the server says they are compressed, if it does; they are passed on as they are.
    """

    def __init__(self, response: urllib3.BaseHTTPResponse, url: str, *, offset: int) -> None:
        headers = response.headers
        self.offset = offset
        self.status = response.status
        self.etag: str | None = headers.get("ETag")
        # Asked to go on where the file ends, a store answers 416; the body of that is not the file's.
        self._ended = self.status == _PAST_THE_END
        length = headers.get("Content-Length", "")
        self.announced = self._ended or bool(length) or "Transfer-Encoding" in headers
        self.length = int(length) if length.isdecimal() else None
        encoding = headers.get("Content-Encoding", "").strip().lower()
        self.encoding = None if encoding in {"", "identity"} else encoding
        self.total = self.length if self.status == _OK else _total(headers.get("Content-Range", ""))
        self._response = response
        self._url = url

    def chunks(self) -> Iterator[bytes]:
        """The bytes as they came over the wire, never decoded; a cut or stall is a TransientError."""
        if self._ended:
            return
        try:
            yield from self._response.stream(CHUNK, decode_content=False)
        except (HTTPError, OSError, ValueError, http.client.HTTPException) as error:
            if isinstance(error, ValueError):  # Closed by abort().
                raise TransientError(f"{shown_host(self._url)}: closed") from None
            raise_ours(error, self._url)

    def abort(self) -> None:
        """Wake a thread that waits for bytes here: none will come."""
        with suppress(Exception):  # It may end by itself meanwhile, and older urllib3 cannot do it.
            self._response.shutdown()

    def __enter__(self) -> Body:  # noqa: PYI034 - typing.Self is newer than our oldest Python
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._response.close()


class Wire:
    """One W&B server, and whatever file store its URLs lead to."""

    def __init__(self, base_url: str, credential: Credential | None, connections: Connections) -> None:
        self._base = base_url
        self._origin = origin(base_url)
        self._credential = credential
        self._connections = connections

    @property
    def host(self) -> str:
        """The server's name, for messages."""
        return urlsplit(self._base).netloc

    def close(self) -> None:
        """Close the connections."""
        self._connections.close()

    def ask(self, path: str, question: Mapping[str, Any]) -> tuple[int, bytes]:
        """Post JSON to the server; status and body of its answer, whatever they are but transient."""
        url = f"{self._base}{path}"
        response = self._connections.request(
            "POST",
            url,
            headers={
                "Content-Type": "application/json",
                "Accept": "application/json",
                **self._signature(url, signed_in=True),
            },
            body=json.dumps(question).encode(),
            patience=2,  # There may be thousands of URLs to sign.
        )
        try:
            self._check_stays(response)
            check_transient(response, self.host)
            return response.status, content(response, url, most=_LONGEST_ANSWER)
        finally:
            discard(response)

    def open(self, url: str, *, offset: int = 0, length: int | None = None, signed_in: bool = False) -> Body:
        """Get a file from ``offset`` on, or from its start if the server likes that better.

        Args:
            url: Absolute, or relative to the base URL.
            offset: How many bytes are here already.
            length: How many bytes are wanted, at least one; None for all that follow.
            signed_in: Whether to show the credential, if the URL is the server's own.

        Raises:
            StaleUrlError: The URL is not taken.
            WrongRangeError: Another part came than was asked for.
            TransientError: Another try may help.
            FetchError: It will not.
        """
        if not url.startswith("https://"):
            url = urljoin(f"{self._base}/", url)
        asked = _range(offset, length)
        for _ in range(_MOST_REDIRECTS + 1):
            self._check_private(url)
            response = self._connections.request(
                "GET", url, headers={**asked, **self._signature(url, signed_in=signed_in)}
            )
            if response.status not in _REDIRECTS:
                return _body(response, url, offset=offset, length=length)
            discard(response)
            url = urljoin(url, response.headers.get("Location", ""))
        raise FetchError(f"{shown_host(url)} redirects more than {_MOST_REDIRECTS} times")

    def _signature(self, url: str, *, signed_in: bool) -> dict[str, str]:
        """What to show to that URL: each hop is judged by where it leads."""
        if not signed_in or self._credential is None or origin(url) != self._origin:
            return {}
        return {"Authorization": self._credential.authorization()}

    def _check_stays(self, response: urllib3.BaseHTTPResponse) -> None:
        if response.status in _REDIRECTS:
            raise FetchError(
                f"{self.host} sends us on to {shown_host(response.headers.get('Location', ''))}; "
                "the key does not follow: set WANDB_BASE_URL to the server itself"
            )

    def _check_private(self, url: str) -> None:
        if url.startswith("https://"):
            return
        parts = urlsplit(url)
        if parts.scheme == "https":  # In capitals.
            return
        here = self._base.startswith("http:") and is_loopback(parts.hostname or "")
        if parts.scheme != "http" or not here:
            raise FetchError(
                f"{self.host} sends us to a file at {parts.scheme}://{shown_host(url)}, in the clear; "
                "want https"
            )


def _range(offset: int, length: int | None) -> dict[str, str]:
    if length is None:
        return {"Range": f"bytes={offset}-"} if offset else {}
    return {"Range": f"bytes={offset}-{offset + length - 1}"}


def _body(response: urllib3.BaseHTTPResponse, url: str, *, offset: int, length: int | None) -> Body:
    try:
        return _checked_body(response, url, offset, length)
    except BaseException:
        discard(response)
        raise


def _checked_body(response: urllib3.BaseHTTPResponse, url: str, offset: int, length: int | None) -> Body:
    status, host = response.status, shown_host(url)
    if status == _OK:
        return Body(response, url, offset=0)
    check_transient(response, host)
    if status in _STALE:
        raise StaleUrlError(f"{host} answered {status} to a file's URL")
    if status == _PARTIAL:
        body = Body(response, url, offset=offset)
        _check_range(response.headers.get("Content-Range", ""), body, length, host)
        return body
    if status == _PAST_THE_END and (offset or length is not None):
        return Body(response, url, offset=offset)
    raise FetchError(f"{host} answered {status} where a file should be")


def _check_range(content_range: str, body: Body, length: int | None, host: str) -> None:
    """Bytes from somewhere else must not be joined to ours; fewer than asked for are welcome."""
    wanted = f"{body.offset}-" if length is None else f"{body.offset}-{body.offset + length - 1}"
    sent = re.fullmatch(r"bytes (\d+)-(\d+)/(?:\d+|\*)", content_range.strip(), re.ASCII)
    first, last = (int(sent[1]), int(sent[2])) if sent else (-1, -1)
    known = body.length is None or body.length == last - first + 1
    if first != body.offset or (length is not None and last >= first + length) or not known:
        raise WrongRangeError(f"{host} sent {content_range[:60]!r} of a file, want bytes {wanted}")


def _total(content_range: str) -> int | None:
    total = content_range.rpartition("/")[2].strip()
    return int(total) if total.isdecimal() else None
