"""One request to GitHub and its answer: bounded in time and size, never repeated by itself."""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, replace
from http import HTTPStatus
from http.client import HTTPException
from typing import Any
from urllib.parse import urljoin, urlsplit

import requests
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError

import registry_client
from receiver.answer import REDIRECTS, Answer
from receiver.dispatch import Outcome, OutcomeKind
from receiver.errors import ReceiverError
from receiver.time_limit import TimeLimit

API_VERSION = "2022-11-28"
USER_AGENT = f"wandb-handoff/{getattr(registry_client, '__version__', '0')}"
CONNECT_SECONDS = 5.0
READ_SECONDS = 15.0  # GitHub gives up after 10 s; with more than that we still see its answer.
TOTAL_SECONDS = 30.0
LARGEST_ANSWER = 64 * 1024
MOST_HOPS = 3
_PERMANENT = frozenset({301, 308})
_CHUNK = 8 * 1024


class NotSentError(ReceiverError):
    """The connection never stood: GitHub has seen nothing, and the same request may be sent again."""

    reason = "unreachable"


class NoAnswerError(ReceiverError):
    """The request went out and no answer came back: GitHub may have acted on it."""

    reason = "no-answer"


class CredentialsError(ReceiverError):
    """There is no token to send with; ``outcome`` is what that means for the attempt."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome.detail)
        self.reason = outcome.reason
        self.outcome = outcome

    @classmethod
    def retry(cls, reason: str, detail: str) -> CredentialsError:
        """Return one that time may cure."""
        return cls(Outcome(OutcomeKind.RETRY, reason, detail))

    @classmethod
    def refused(cls, reason: str, detail: str, status: int | None = None) -> CredentialsError:
        """Return one that only a person can cure."""
        return cls(Outcome(OutcomeKind.REFUSED, reason, detail, status))


@dataclass(frozen=True)
class Request:
    """What to ask; of the answer's body no more than ``largest`` bytes are read."""

    method: str
    url: str
    body: bytes | None = None
    largest: int = LARGEST_ANSWER


class Exchange:
    """Sends requests to GitHub, one connection each, and follows it to where a repository has moved.

    Nothing is retried: a dispatch that was sent twice builds twice.  Redirects are followed with the same
    method and body, to the same host only; permanent ones are remembered.  Proxies and certificates come
    from the environment as usual, credentials never do.
    """

    def __init__(self, *, read_seconds: float = READ_SECONDS, total_seconds: float = TOTAL_SECONDS) -> None:
        self._read_seconds = read_seconds
        self._total_seconds = total_seconds
        self._moved: dict[str, str] = {}
        self._around: dict[tuple[str, str], Mapping[str, Any]] = {}

    def send(self, request: Request, bearer: str) -> Answer:
        """Return GitHub's answer, whatever it is.

        Raises:
            NotSentError: The connection never stood.
            NoAnswerError: It did, and no answer came in time.
        """
        with contextlib.closing(TimeLimit(self._total_seconds)) as limit:
            known = self._moved.get(request.url)
            if known is not None:
                answer = self._follow(replace(request, url=known), bearer, limit)
                if answer.status != HTTPStatus.NOT_FOUND:
                    return replace(answer, moved=True)
                self._moved.pop(request.url, None)  # Gone from there; its old name may be in use again.
            return self._follow(request, bearer, limit)

    def _follow(self, request: Request, bearer: str, limit: TimeLimit) -> Answer:
        here, permanent = request, True
        for _ in range(MOST_HOPS):
            answer = self._once(here, bearer, limit)
            target = _redirect(answer, here.url)
            if target is None:
                break
            here, permanent = replace(here, url=target), permanent and answer.status in _PERMANENT
        else:
            answer = self._once(here, bearer, limit)
        if here is request:
            return answer
        if permanent and not urlsplit(request.url).query:
            self._moved[request.url] = here.url
        return replace(answer, moved=True)

    def _once(self, request: Request, bearer: str, limit: TimeLimit) -> Answer:
        try:
            with _Session(limit) as session:
                return self._ask(session, request, bearer, limit)
        except (requests.RequestException, HTTPError, OSError) as error:
            raise self._failure(error, limit, request.url) from None  # Its words may quote the token.
        finally:
            limit.end()

    def _ask(self, session: requests.Session, request: Request, bearer: str, limit: TimeLimit) -> Answer:
        asked = requests.Request(
            request.method,
            request.url,
            data=request.body,
            headers=_headers(request.body),
            auth=_Bearer(bearer),
        )
        response = session.send(
            session.prepare_request(asked),
            timeout=(CONNECT_SECONDS, self._read_seconds),
            allow_redirects=False,
            **self._surroundings(session, request.url),
        )
        with response:
            if limit.over:
                raise requests.Timeout  # Cut within its headers: those that tell may be missing.
            content = _read(response, request.largest)
        headers = {name.lower(): value for name, value in response.headers.items()}
        return Answer(response.status_code, headers, _without(content, bearer), request.url)

    def _surroundings(self, session: requests.Session, url: str) -> Mapping[str, Any]:
        """Proxy and certificates for this host, as the environment has them when it is first asked."""
        host = urlsplit(url)[:2]
        if host not in self._around:
            self._around[host] = session.merge_environment_settings(url, {}, True, None, None)
        return self._around[host]

    def _failure(self, error: Exception, limit: TimeLimit, url: str) -> ReceiverError:
        host = urlsplit(url).netloc.rpartition("@")[2]
        if not limit.begun:
            return NotSentError(f"no connection to {host}: {_cause(error)}")
        if limit.over:
            return NoAnswerError(f"{host} did not finish its answer in {self._total_seconds:g} s")
        if isinstance(error, requests.Timeout):
            return NoAnswerError(f"{host} gave no answer in {self._read_seconds:g} s")
        return NoAnswerError(f"the connection to {host} broke before its answer: {_cause(error)}")


class _PlainConnection(HTTPConnection):
    def __init__(self, *args: Any, limit: TimeLimit, **others: Any) -> None:
        super().__init__(*args, **others)
        self._limit = limit

    def connect(self) -> None:
        super().connect()
        self._limit.begin(self.sock)


class _TLSConnection(HTTPSConnection):
    def __init__(self, *args: Any, limit: TimeLimit, **others: Any) -> None:
        super().__init__(*args, **others)
        self._limit = limit

    def connect(self) -> None:
        super().connect()
        self._limit.begin(self.sock)


class _LimitedAdapter(HTTPAdapter):
    def __init__(self, limit: TimeLimit) -> None:
        self._limit = limit
        super().__init__(max_retries=0)

    def get_connection_with_tls_context(self, *args: Any, **others: Any) -> Any:
        pool: Any = super().get_connection_with_tls_context(*args, **others)
        pool.ConnectionCls = _TLSConnection if pool.scheme == "https" else _PlainConnection
        pool.conn_kw["limit"] = self._limit
        return pool


class _Session(requests.Session):
    """A session for one request that leaves redirects to us."""

    def __init__(self, limit: TimeLimit) -> None:
        super().__init__()
        self.mount("https://", _LimitedAdapter(limit))
        self.mount("http://", _LimitedAdapter(limit))

    def get_redirect_target(self, resp: requests.Response) -> None:
        """See none: even told not to follow, the base reads the whole body and prepares the next request."""


class _Bearer(AuthBase):
    """Sets our token.  Being there at all, it keeps requests from looking into ~/.netrc."""

    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._token}"
        return request


def _headers(body: bytes | None) -> Mapping[str, str]:
    headers = {
        "Accept": "application/vnd.github+json",
        "Accept-Encoding": "identity",  # No small answer unpacks to a large one.
        "Connection": "close",  # A connection kept too long breaks after sending: we would not know whether.
        "User-Agent": USER_AGENT,
        "X-GitHub-Api-Version": API_VERSION,
    }
    return headers if body is None else {**headers, "Content-Type": "application/json; charset=utf-8"}


def _read(response: requests.Response, largest: int) -> bytes:
    """Return the body, or what came of it: the status is known by now, and says more."""
    content = bytearray()
    with contextlib.suppress(HTTPError, OSError):
        for chunk in response.raw.stream(_CHUNK, decode_content=False):
            content += chunk
            if len(content) >= largest:
                break
    return bytes(content[:largest])


def _redirect(answer: Answer, url: str) -> str | None:
    """Return where the answer sends us, when that is the same host by the same scheme."""
    location = answer.headers.get("location")
    if answer.status not in REDIRECTS or not location:
        return None
    try:
        target, here = urlsplit(urljoin(url, location)), urlsplit(url)
    except ValueError:
        return None
    same = (target.scheme, target.netloc.lower()) == (here.scheme, here.netloc.lower())
    return target.geturl() if same else None


def _without(content: bytes, token: str) -> bytes:
    """Return the content without the token: some proxies show the request in their error pages."""
    return content.replace(token.encode(), b"***")


def _cause(error: BaseException) -> str:
    """Name the innermost cause in its own short words; the outer ones quote URLs and headers."""
    inner: BaseException | None = error
    while isinstance(inner, (requests.RequestException, HTTPError, HTTPException, OSError)):
        error, inner = inner, inner.__cause__ or inner.__context__
    if isinstance(error, ssl.SSLCertVerificationError):
        return (
            f"its certificate does not hold ({error.verify_message}); REQUESTS_CA_BUNDLE can name another CA"
        )
    if isinstance(error, TimeoutError):
        return f"no answer in {CONNECT_SECONDS:g} s"
    words = error.strerror if isinstance(error, OSError) else None
    return words or type(error).__name__
