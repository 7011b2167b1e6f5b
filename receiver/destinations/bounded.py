"""One POST to elsewhere than GitHub: bounded in time and size, never repeated, redirects not followed."""

from __future__ import annotations

import base64
import json
import socket
import ssl
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, field
from functools import lru_cache
from http.client import HTTPConnection, HTTPException, HTTPResponse
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

import requests
from requests.utils import DEFAULT_CA_BUNDLE_PATH, select_proxy

from receiver.answer import Answer
from receiver.destinations.addresses import Address
from receiver.exchange import (
    CONNECT_SECONDS,
    LARGEST_ANSWER,
    READ_SECONDS,
    TOTAL_SECONDS,
    USER_AGENT,
    NoAnswerError,
    NotSentError,
)
from receiver.secret import Secret
from receiver.time_limit import TimeLimit

_CHUNK = 8 * 1024
_PORTS = {"https": 443, "http": 80}
_MOST_PLACES = 4  # A name may have hundreds of addresses; each costs a wait.


@dataclass(frozen=True)
class Post:
    """What to send.

    Attributes:
        url: Of http or https; shown nowhere, for it may be a secret by itself.
        hide: What must not be in the answer that is returned: some servers show the request in their errors.
    """

    url: str = field(repr=False)
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    hide: Sequence[Secret] = ()


def json_of(value: Any) -> bytes:
    """The value as short as JSON can be, in UTF-8.

    Raises:
        ValueError: It holds what JSON has no word for.
    """
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()


class Bounded:
    """Sends, over a connection of its own each time.

    Certificates, and without addresses of ours proxies, come from the environment as usual; credentials
    never do.
    """

    def __init__(
        self,
        *,
        connect_seconds: float = CONNECT_SECONDS,
        read_seconds: float = READ_SECONDS,
        total_seconds: float = TOTAL_SECONDS,
    ) -> None:
        self._connect_seconds = connect_seconds
        self._read_seconds = read_seconds
        self._total_seconds = total_seconds

    def send(
        self, post: Post, *, to: Sequence[Address] | None = None, read_seconds: float | None = None
    ) -> Answer:
        """Return the answer, whatever it is.

        Args:
            post: What to send.
            to: Connect to one of these, directly, whatever the name of the host means by now; the
                certificate must be the host's all the same.
            read_seconds: How long to wait for each part of the answer, instead of the usual time.

        Raises:
            NotSentError: The connection never stood.
            NoAnswerError: It did, and no answer came in time.
        """
        url = urlsplit(post.url)
        patience = self._read_seconds if read_seconds is None else read_seconds
        with closing(TimeLimit(max(self._total_seconds, patience))) as limit:
            try:
                opened = self._open(url, to, limit)
            except (HTTPException, OSError) as error:
                raise NotSentError(f"no connection to {url.hostname}: {_cause(error)}") from None
            with closing(opened):
                opened.settimeout(patience)
                try:
                    return _asked(opened, url, post, limit)
                except (HTTPException, OSError) as error:
                    late = limit.over or isinstance(error, TimeoutError)
                    why = "gave no whole answer in time" if late else f"broke off: {_cause(error)}"
                    raise NoAnswerError(f"{url.hostname} {why}") from None

    def _open(self, url: SplitResult, to: Sequence[Address] | None, limit: TimeLimit) -> socket.socket:
        """Return a connection that stands, with TLS where the address says https."""
        host, port = _place(url)
        # Without its path and query: they may be the secret, and choose nothing here.
        settings = requests.Session().merge_environment_settings(
            f"{url.scheme}://{url.netloc}/", {}, None, None, None
        )
        proxy = select_proxy(f"{url.scheme}://{url.netloc}/", settings["proxies"])
        if to is not None:
            opened = self._first([(address.ip, address.port) for address in to])
        elif proxy and url.scheme == "https":
            opened = self._through(proxy, host, port)
        else:
            opened = self._first([(host, port)])
        limit.begin(opened)
        if url.scheme != "https":
            return opened
        with ExitStack() as stack:
            stack.callback(opened.close)
            secured = _context(settings["verify"]).wrap_socket(opened, server_hostname=host)
            stack.pop_all()
        limit.begin(secured)
        return secured

    def _first(self, places: Sequence[tuple[str, int]]) -> socket.socket:
        """Connect to the first that answers."""
        *others, last = places[:_MOST_PLACES]
        for place in others:
            with suppress(OSError):
                return socket.create_connection(place, self._connect_seconds)
        return socket.create_connection(last, self._connect_seconds)

    def _through(self, proxy: str, host: str, port: int) -> socket.socket:
        """Have a proxy connect us."""
        if "://" not in proxy:
            proxy = f"http://{proxy}"
        there = urlsplit(proxy)
        connection = HTTPConnection(*_place(there), timeout=self._connect_seconds)
        connection.set_tunnel(host, port, _for_proxy(there))
        connection.connect()
        opened: socket.socket = connection.sock
        return opened


def _asked(opened: socket.socket, url: SplitResult, post: Post, limit: TimeLimit) -> Answer:
    host, port = _place(url)
    shown = f"[{host}]" if ":" in host else host
    headers = {
        "Host": shown if port == _PORTS[url.scheme] else f"{shown}:{port}",
        "Accept": "*/*",
        "Accept-Encoding": "identity",  # No small answer unpacks to a large one.
        "Connection": "close",
        "User-Agent": USER_AGENT,
        "Content-Type": "application/json; charset=utf-8",
        **post.headers,
    }
    connection = HTTPConnection(host, port)
    connection.sock = opened
    target = (url.path or "/") + (f"?{url.query}" if url.query else "")
    connection.request("POST", target, post.body, headers)
    with closing(connection), connection.getresponse() as response:
        if limit.over:
            raise TimeoutError  # Cut within its headers: those that tell may be missing.
        content = _read(response)
    told = {name.lower(): _without(value, post.hide) for name, value in response.getheaders()}
    return Answer(response.status, told, _without(content.decode("utf-8", "replace"), post.hide).encode())


def _read(response: HTTPResponse) -> bytes:
    """Return the body, or what came of it: the status is known by now, and says more."""
    content = b""
    with suppress(HTTPException, OSError):
        while len(content) < LARGEST_ANSWER and (chunk := response.read1(_CHUNK)):
            content += chunk
    return content[:LARGEST_ANSWER]


def _place(url: SplitResult) -> tuple[str, int]:
    """The host and port of a URL that was found good when the settings were read."""
    return url.hostname or "", url.port or _PORTS.get(url.scheme, 443)


def _for_proxy(proxy: SplitResult) -> dict[str, str]:
    if proxy.username is None:
        return {}
    pair = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}"
    return {"Proxy-Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}


@lru_cache(maxsize=4)
def _context(verify: str | bool) -> ssl.SSLContext:
    """Return what checks certificates: by the bundle that the environment names, else the usual one."""
    where = Path(verify if isinstance(verify, str) else DEFAULT_CA_BUNDLE_PATH)
    if where.is_dir():
        return ssl.create_default_context(capath=where)
    return ssl.create_default_context(cafile=where)


def _without(text: str, secrets: Sequence[Secret]) -> str:
    for secret in secrets:
        text = text.replace(secret.value, "***") if secret.value else text
    return text


def _cause(error: BaseException) -> str:
    """Say why in few words that quote nothing."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return (
            f"its certificate does not hold ({error.verify_message}); REQUESTS_CA_BUNDLE can name another CA"
        )
    if isinstance(error, TimeoutError):
        return "no answer in time"
    words = error.strerror if isinstance(error, OSError) else None
    return words or type(error).__name__
