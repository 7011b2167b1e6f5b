"""HTTP with W&B and its file store: the key goes to one host, and no other ever sees it."""

from __future__ import annotations

import json
import random
import re
import ssl
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from types import TracebackType
from typing import Any, NoReturn, TypeVar
from urllib.parse import urljoin, urlsplit

import requests
import urllib3
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase

from registry_client.credentials import ApiKey, is_loopback
from registry_client.errors import FetchError

CHUNK = 1024 * 1024
CONNECTIONS = 64
_CONNECT_TIMEOUT = 10.0
_MOST_REDIRECTS = 5
_LONGEST_PAUSE = 60.0  # Between our own tries.
_LONGEST_ASKED = 120.0  # That a server may ask for before we rather give up and say so.
_STALE = {400, 401, 403, 404, 410}  # What the file stores say to a signed URL whose time is over.
_REDIRECTS = {301, 302, 303, 307, 308}
_NEVER_RETRIED = {501, 505}
_LENGTHS = {"Content-Length", "Transfer-Encoding"}
_TIMEOUTS = (requests.exceptions.Timeout, urllib3.exceptions.TimeoutError, TimeoutError)

T = TypeVar("T")


class TransientError(FetchError):
    """A fault that the next try may not meet; ``asked`` is the pause the server wants, in seconds."""

    def __init__(self, message: str, *, asked: float | None = None) -> None:
        super().__init__(message)
        self.asked = asked


class StaleUrlError(FetchError):
    """A signed URL is not taken (any more)."""


class WrongRangeError(TransientError):
    """A server sent another part of the file than it was asked for."""


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

    def __init__(self, response: requests.Response, *, offset: int, host: str) -> None:
        self.offset = offset
        self.status = response.status_code
        self.etag: str | None = response.headers.get("ETag")
        # Asked to go on where the file ends, a store answers 416; the body of that is not the file's.
        self._ended = response.status_code == requests.codes.requested_range_not_satisfiable
        self.announced = self._ended or bool(_LENGTHS & response.headers.keys())
        length = response.headers.get("Content-Length", "")
        self.length = int(length) if length.isdecimal() else None
        encoding = response.headers.get("Content-Encoding", "").strip().lower()
        self.encoding = None if encoding in {"", "identity"} else encoding
        whole = self.status == requests.codes.ok
        self.total = self.length if whole else _total(response.headers.get("Content-Range", ""))
        self._response = response
        self._host = host

    def chunks(self) -> Iterator[bytes]:
        """The bytes as they came over the wire, never decoded; a cut or stall is a TransientError."""
        if self._ended:
            return
        try:
            yield from self._response.raw.stream(CHUNK, decode_content=False)
        except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:  # ValueError: closed by abort().
            _raise_transient(error, self._host)

    def abort(self) -> None:
        """Wake a thread that waits for bytes here: none will come."""
        with suppress(Exception):  # It may end by itself meanwhile, and older urllib3 cannot do it.
            self._response.raw.shutdown()

    def __enter__(self) -> Body:  # noqa: PYI034 - typing.Self is newer than our oldest Python
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._response.close()


class Wire:
    """One W&B server, and whatever file store its URLs lead to."""

    def __init__(
        self,
        base_url: str,
        api_key: ApiKey | None,
        *,
        user_agent: str,
        session: requests.Session | None = None,
        read_timeout: float = 30.0,
    ) -> None:
        self._base = base_url
        self._key = _KeyFor(base_url, api_key)
        self._owns_session = session is None
        self._session = _session() if session is None else session
        self._user_agent = user_agent
        self._read_timeout = read_timeout

    @property
    def host(self) -> str:
        """The server's name, for messages."""
        return urlsplit(self._base).netloc

    def close(self) -> None:
        """Close the connections, unless the session is the caller's."""
        if self._owns_session:
            self._session.close()

    def ask(self, path: str, question: Mapping[str, Any]) -> tuple[int, bytes]:
        """Post JSON to the server; status and body of its answer, whatever they are but transient."""
        response = self._send(
            "POST",
            f"{self._base}{path}",
            auth=self._key,
            headers={"Content-Type": "application/json", "Accept": "application/json"},
            data=json.dumps(question).encode(),
        )
        with response:
            if response.status_code in _REDIRECTS:
                raise FetchError(
                    f"{self.host} sends us on to {_host(response.headers.get('Location', ''))}; "
                    "the key does not follow: set WANDB_BASE_URL to the server itself"
                )
            _check_transient(response, self.host)
            return response.status_code, self._content(response)

    def open(self, url: str, *, offset: int = 0, length: int | None = None, signed_in: bool = False) -> Body:
        """Get a file from ``offset`` on, or from its start if the server likes that better.

        Args:
            url: Absolute, or relative to the base URL.
            offset: How many bytes are here already.
            length: How many bytes are wanted, at least one; None for all that follow.
            signed_in: Whether to show the key, if the URL is the server's own.

        Raises:
            StaleUrlError: The URL is not taken.
            WrongRangeError: Another part came than was asked for.
            TransientError: Another try may help.
            FetchError: It will not.
        """
        url = urljoin(f"{self._base}/", url)
        for _ in range(_MOST_REDIRECTS + 1):
            self._check_private(url)
            response = self._send(
                "GET",
                url,
                auth=self._key if signed_in else _NO_KEY,
                headers={"Accept-Encoding": "identity", **_range(offset, length)},
            )
            if response.status_code not in _REDIRECTS:
                return _body(response, offset=offset, length=length, host=_host(url))
            response.close()
            url = urljoin(url, response.headers.get("Location", ""))
        raise FetchError(f"{_host(url)} redirects more than {_MOST_REDIRECTS} times")

    def _check_private(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme == "https":
            return
        here = self._base.startswith("http:") and is_loopback(parts.hostname or "")
        if parts.scheme != "http" or not here:
            raise FetchError(
                f"{self.host} sends us to a file at {parts.scheme}://{_host(url)}, in the clear; want https"
            )

    def _send(
        self,
        method: str,
        url: str,
        *,
        auth: AuthBase,
        headers: Mapping[str, str],
        data: bytes | None = None,
    ) -> requests.Response:
        # A question gets more time: there may be thousands of URLs to sign.
        read_timeout = self._read_timeout if data is None else 2 * self._read_timeout
        try:
            return self._session.request(
                method,
                url,
                auth=auth,  # Always one of ours: without, requests would look into the netrc.
                data=data,
                headers={"User-Agent": self._user_agent, **headers},
                timeout=(_CONNECT_TIMEOUT, read_timeout),
                allow_redirects=False,
                stream=True,
            )
        except (requests.exceptions.ConnectionError, requests.exceptions.Timeout) as error:
            _raise_transient(error, _host(url))
        except (requests.exceptions.RequestException, ValueError) as error:
            # `from None` here and below: the foreign text repeats the URL, and that is signed.
            raise FetchError(f"{_host(url)} cannot be asked: {type(error).__name__}") from None

    def _content(self, response: requests.Response) -> bytes:
        try:
            return response.content
        except requests.exceptions.RequestException as error:
            _raise_transient(error, self.host)


def patiently(attempt: Callable[[], T], *, sleep: Callable[[float], object], tries: int = 5) -> T:
    """Call again after a transient fault, each time a little later; the last one is raised."""
    for number in range(1, tries):
        try:
            return attempt()
        except TransientError as fault:  # noqa: PERF203 - each round waits for the network
            sleep(pause(number, fault))
    try:
        return attempt()
    except TransientError as fault:
        raise FetchError(f"{fault} (tried {tries} times)") from fault


def pause(faults: int, fault: TransientError) -> float:
    """How long to wait after that many faults in a row; raise the fault if the server asks for too long."""
    if fault.asked is not None and fault.asked > _LONGEST_ASKED:
        raise FetchError(f"{fault}, and asks to wait {fault.asked:.0f} s: run this again later") from fault
    own = min(2.0 ** (faults - 1), _LONGEST_PAUSE)
    jittered = own * random.uniform(0.5, 1.0)  # noqa: S311 - spreads the load, guards nothing
    return max(jittered, fault.asked or 0.0)


class _KeyFor(AuthBase):
    """Shows the key to one origin; anybody else gets nothing, whatever else would have put there."""

    def __init__(self, base_url: str | None, api_key: ApiKey | None) -> None:
        self._origin = None if base_url is None else _origin(base_url)
        self._api_key = api_key

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers.pop("Authorization", None)
        if self._api_key is not None and self._origin == _origin(request.url or ""):
            requests.auth.HTTPBasicAuth("api", self._api_key.value)(request)
        return request


_NO_KEY = _KeyFor(None, None)


def _session() -> requests.Session:
    session = requests.Session()
    adapter = HTTPAdapter(pool_maxsize=CONNECTIONS, max_retries=0)
    session.mount("https://", adapter)
    session.mount("http://", adapter)
    return session


def _range(offset: int, length: int | None) -> dict[str, str]:
    if length is None:
        return {"Range": f"bytes={offset}-"} if offset else {}
    return {"Range": f"bytes={offset}-{offset + length - 1}"}


def _body(response: requests.Response, *, offset: int, length: int | None, host: str) -> Body:
    try:
        return _checked_body(response, offset, length, host)
    except BaseException:
        response.close()
        raise


def _checked_body(response: requests.Response, offset: int, length: int | None, host: str) -> Body:
    _check_transient(response, host)
    status = response.status_code
    if status in _STALE:
        raise StaleUrlError(f"{host} answered {status} to a file's URL")
    if status == requests.codes.partial_content:
        body = Body(response, offset=offset, host=host)
        _check_range(response.headers.get("Content-Range", ""), body, length, host)
        return body
    if status == requests.codes.requested_range_not_satisfiable and (offset or length is not None):
        return Body(response, offset=offset, host=host)
    if status != requests.codes.ok:
        raise FetchError(f"{host} answered {status} where a file should be")
    return Body(response, offset=0, host=host)


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


def _check_transient(response: requests.Response, host: str) -> None:
    status = response.status_code
    if status in {408, 425, 429} or (status >= 500 and status not in _NEVER_RETRIED):  # noqa: PLR2004 - statuses
        asked = _seconds(response.headers.get("Retry-After", ""))
        raise TransientError(f"{host} answered {status}", asked=asked)


def _seconds(retry_after: str) -> float | None:
    with suppress(ValueError):
        return max(float(int(retry_after)), 0.0)
    with suppress(ValueError, TypeError):
        moment = parsedate_to_datetime(retry_after)
        return max((moment - datetime.now(timezone.utc)).total_seconds(), 0.0)
    return None


def _raise_transient(error: Exception, host: str) -> NoReturn:
    if any(isinstance(each, ssl.SSLCertVerificationError) for each in _chain(error)):
        raise FetchError(
            f"{host}: {_cause(error)}; REQUESTS_CA_BUNDLE names a file of certificates to trust"
        ) from None
    raise TransientError(f"{host}: {_cause(error)}") from None


def _cause(error: BaseException) -> str:
    """What went wrong, without the URL that the libraries write into their own text."""
    for seen in _chain(error):
        # To urllib3 a refused connection is a kind of timeout.
        if isinstance(seen, _TIMEOUTS) and not isinstance(seen, urllib3.exceptions.NewConnectionError):
            return "no answer in time"
        if isinstance(seen, urllib3.exceptions.IncompleteRead):
            return "the connection ended in the middle of the answer"
        if isinstance(seen, OSError) and seen.strerror and not isinstance(seen, requests.RequestException):
            return seen.strerror
    return type(error).__name__


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error and what it was made of, outside in; requests and urllib3 keep that in several places."""
    seen: BaseException | None = error
    while seen is not None:
        yield seen
        inner = [each for each in (*seen.args, getattr(seen, "reason", None)) if isinstance(each, Exception)]
        seen = inner[0] if inner else seen.__cause__ or seen.__context__


def _host(url: str) -> str:
    return urlsplit(url).netloc.rpartition("@")[2] or "an address without a host"


def _origin(url: str) -> tuple[str, str, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname or "", parts.port or {"https": 443, "http": 80}.get(parts.scheme)
