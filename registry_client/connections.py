"""HTTP over connections that are used again; every fault on the way becomes one of our errors."""

from __future__ import annotations

import http.client
import re
import ssl
import threading
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from typing import NoReturn
from urllib.parse import unquote, urlsplit

import urllib3
from urllib3.exceptions import HTTPError

from registry_client import environment
from registry_client.base_url import shown_host
from registry_client.errors import CertificateError, FetchError, ProxyError
from registry_client.patience import TransientError

CONNECTIONS = 64  # Connections to one host that are kept for the next request.
_CONNECT_TIMEOUT = 10.0
_NEVER_RETRIED = {501, 505}
_PROXY_AUTHENTICATION = 407
_TIMEOUTS = (urllib3.exceptions.TimeoutError, TimeoutError)
_SMALL = 64 * 1024  # A body that is quicker read to its end than a new connection is made.


class Connections:
    """Requests as they are given: no redirect followed, no netrc read, nothing decoded, nothing repeated.

    Args:
        environ: Names proxies, and certificates to trust.
        user_agent: Who we say we are.
        read_timeout: Seconds without a byte after which a connection counts as dead.
    """

    def __init__(self, environ: Mapping[str, str], *, user_agent: str, read_timeout: float = 30.0) -> None:
        self._environ = environ
        self._headers = {"User-Agent": user_agent, "Accept-Encoding": "identity"}
        self._read_timeout = read_timeout
        self._connect_timeout = min(_CONNECT_TIMEOUT, read_timeout)
        self._lock = threading.Lock()
        self._context: ssl.SSLContext | None = None
        self._places: dict[tuple[str, str], _Place] = {}

    def close(self) -> None:
        """Close the connections that nobody uses."""
        with self._lock:
            for place in self._places.values():
                place.pool.close()
            self._places.clear()

    def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        body: bytes | None = None,
        patience: float = 1.0,
    ) -> urllib3.BaseHTTPResponse:
        """The answer, its body still to be read; ``patience`` times the usual timeout is waited for it.

        Raises:
            TransientError: Another try may help.
            FetchError: It will not; CertificateError and ProxyError say why.
        """
        proxy: str | None = None
        try:
            parts = urlsplit(url)
            place = self._places.get((parts.scheme, parts.netloc)) or self._place(url)
            proxy = place.proxy
            return place.pool.urlopen(
                method,
                f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/",
                body=body,
                headers={**self._headers, **headers},
                timeout=urllib3.Timeout(connect=self._connect_timeout, read=patience * self._read_timeout),
                retries=False,
                redirect=False,
                preload_content=False,
            )
        except (HTTPError, OSError, ValueError, http.client.HTTPException) as error:
            raise_ours(error, url, proxy)

    def _place(self, url: str) -> _Place:
        """The connections to that URL's scheme, host and port."""
        parts = urlsplit(url)
        secure = parts.scheme == "https"
        # What is in the clear is for this machine: a proxy would read the key.
        proxy = environment.proxy_for(url, self._environ) if secure else None
        with self._lock:
            if secure and self._context is None:
                self._context = environment.trust(self._environ)
            place = _Place(_manager(proxy, self._context if secure else None).connection_from_url(url), proxy)
            return self._places.setdefault((parts.scheme, parts.netloc), place)


@dataclass(frozen=True)
class _Place:
    """One server, and the proxy on the way there."""

    pool: urllib3.HTTPConnectionPool
    proxy: str | None


def discard(response: urllib3.BaseHTTPResponse) -> None:
    """Do without the body; the connection is kept where that is cheap."""
    with suppress(HTTPError, OSError, ValueError):
        if 0 <= _length(response) <= _SMALL:
            response.drain_conn()
    response.close()


def check_transient(response: urllib3.BaseHTTPResponse, host: str) -> None:
    """Raise TransientError for a status that another try may not meet."""
    status = response.status
    if status in {408, 425, 429} or (status >= 500 and status not in _NEVER_RETRIED):  # noqa: PLR2004 - statuses
        asked = _seconds(response.headers.get("Retry-After", ""))
        raise TransientError(f"{host} answered {status}", asked=asked)


def content(response: urllib3.BaseHTTPResponse, url: str, *, most: int) -> bytes:
    """The whole body of an answer that is small; a TransientError when it is cut."""
    try:
        body = response.read(most + 1, decode_content=False)
    except (HTTPError, OSError, ValueError, http.client.HTTPException) as error:
        raise_ours(error, url)
    if len(body) > most:
        raise FetchError(f"{shown_host(url)} answered with more than {most} bytes")
    return body


def raise_ours(error: BaseException, url: str, proxy: str | None = None) -> NoReturn:
    """Say what went wrong without the foreign text: it repeats the URL, and that may be signed."""
    host = shown_host(url)
    refused = next((each for each in _chain(error) if isinstance(each, ssl.SSLCertVerificationError)), None)
    if refused is not None:
        raise _distrusted(refused, host) from None
    if isinstance(error, urllib3.exceptions.ProxyError) and proxy is not None:
        raise _proxy_fault(error, host, proxy) from None
    if isinstance(error, (ValueError, http.client.InvalidURL)):
        raise FetchError(f"{host} cannot be asked: {type(error).__name__}") from None
    raise TransientError(f"{host}: {_cause(error)}") from None


def _manager(proxy: str | None, context: ssl.SSLContext | None) -> urllib3.PoolManager:
    if proxy is None:
        return urllib3.PoolManager(maxsize=CONNECTIONS, ssl_context=context)
    parts = urlsplit(proxy)
    secret = f"{unquote(parts.username or '')}:{unquote(parts.password or '')}"
    headers = urllib3.make_headers(proxy_basic_auth=secret) if parts.username else None
    bare = f"{parts.scheme}://{shown_host(proxy)}"
    return urllib3.ProxyManager(
        bare, maxsize=CONNECTIONS, proxy_headers=headers, ssl_context=context, proxy_ssl_context=context
    )


def _length(response: urllib3.BaseHTTPResponse) -> int:
    length = response.headers.get("Content-Length", "")
    return int(length) if length.isdecimal() else -1


def _distrusted(error: ssl.SSLCertVerificationError, host: str) -> CertificateError:
    reason = getattr(error, "verify_message", "") or "certificate verify failed"
    return CertificateError(
        f"the certificate of {host} is not trusted: {reason}; if an authority of your own signed it, "
        "name its file in REQUESTS_CA_BUNDLE or SSL_CERT_FILE"
    )


def _proxy_fault(error: urllib3.exceptions.ProxyError, host: str, proxy: str) -> FetchError:
    cause, name = _cause(error), shown_host(proxy)
    tunnel = re.search(r"Tunnel connection failed: (\d{3})", " ".join(map(str, _chain(error))))
    if tunnel and int(tunnel[1]) == _PROXY_AUTHENTICATION:
        return _wants_authentication(proxy)
    if tunnel and int(tunnel[1]) < 500:  # noqa: PLR2004 - a status
        return ProxyError(
            f"the proxy {name} answered {tunnel[1]} when asked for {host}: allow that host there, "
            "or name it in NO_PROXY if it can be reached without"
        )
    if tunnel:
        return TransientError(f"the proxy {name} answered {tunnel[1]} when asked for {host}")
    if any(isinstance(each, urllib3.exceptions.NewConnectionError) for each in _chain(error)):
        return ProxyError(
            f"the proxy {name} cannot be reached: {cause}; HTTPS_PROXY or HTTP_PROXY names it, "
            f"and NO_PROXY what is reached without, such as {host}"
        )
    return TransientError(f"the proxy {name}, on the way to {host}: {cause}")


def _wants_authentication(proxy: str) -> ProxyError:
    given = "does not take the user and password" if urlsplit(proxy).username else "wants a user and password"
    return ProxyError(
        f"the proxy {shown_host(proxy)} {given} (407): want http://USER:PASSWORD@HOST:PORT in HTTPS_PROXY"
    )


def _seconds(retry_after: str) -> float | None:
    with suppress(ValueError):
        return max(float(int(retry_after)), 0.0)
    with suppress(ValueError, TypeError):
        moment = parsedate_to_datetime(retry_after)
        return max((moment - datetime.now(timezone.utc)).total_seconds(), 0.0)
    return None


def _cause(error: BaseException) -> str:
    """What went wrong, without the URL that the libraries write into their own text."""
    for seen in _chain(error):
        # To urllib3 a refused connection is a kind of timeout.
        if isinstance(seen, _TIMEOUTS) and not isinstance(seen, urllib3.exceptions.NewConnectionError):
            return "no answer in time"
        if isinstance(seen, (urllib3.exceptions.IncompleteRead, http.client.IncompleteRead)):
            return "the connection ended in the middle of the answer"
        if isinstance(seen, OSError) and seen.strerror:
            return seen.strerror
    return type(error).__name__


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error and what it was made of, outside in; urllib3 keeps that in several places."""
    seen: BaseException | None = error
    while seen is not None:
        yield seen
        inner = [each for each in (*seen.args, getattr(seen, "reason", None)) if isinstance(each, Exception)]
        seen = inner[0] if inner else seen.__cause__ or seen.__context__
