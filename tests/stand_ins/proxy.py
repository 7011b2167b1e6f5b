"""A proxy on 127.0.0.1: tunnels by CONNECT, a password if it wants one, and refusals on demand."""

from __future__ import annotations

import base64
import socket
import ssl
import threading
from contextlib import suppress
from urllib.parse import urlsplit


class Proxy:
    """Passes bytes on, and remembers what it was asked for.

    Attributes:
        asked: The first line of every request.
        headers: Of every request, names in lower case.
        user: ``name:password`` that it wants.
        refuse: A status line that it answers everything with, such as ``403 Forbidden``.
    """

    def __init__(self, *, tls: ssl.SSLContext | None = None) -> None:
        self.asked: list[str] = []
        self.headers: list[dict[str, str]] = []
        self.user: str | None = None
        self.refuse: str | None = None
        self._tls = tls
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept)]

    def __enter__(self) -> Proxy:  # noqa: PYI034 - typing.Self is newer than our oldest Python
        self._threads[0].start()
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for each in self._open[:]:
            _end(each)
        for thread in self._threads[:]:
            thread.join()

    def url(self, user: str | None = None) -> str:
        """What HTTPS_PROXY is set to."""
        scheme, port = "http" if self._tls is None else "https", self._listener.getsockname()[1]
        return f"{scheme}://{f'{user}@' if user else ''}127.0.0.1:{port}"

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self._start(self._serve, client)

    def _start(self, work: object, *arguments: object) -> None:
        thread = threading.Thread(target=work, args=arguments)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()

    def _serve(self, client: socket.socket) -> None:
        with suppress(OSError):
            if self._tls is not None:
                client = self._tls.wrap_socket(client, server_side=True)
            self._open.append(client)
            self._answer(client)
        _end(client)

    def _answer(self, client: socket.socket) -> None:
        lines = _head(client).split("\r\n")
        self.asked.append(lines[0])
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:])}
        self.headers.append(headers)
        refusal = self.refuse or self._wrong_user(headers)
        if refusal:
            client.sendall(f"HTTP/1.1 {refusal}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
            return
        method, target, _ = lines[0].split(" ")
        if method != "CONNECT":
            raise ConnectionError("only tunnels are dug here")
        place = urlsplit(f"//{target}")
        with socket.create_connection((place.hostname or "", place.port or 443)) as server:
            self._open.append(server)
            client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            self._start(_pass_on, server, client)
            _pass_on(client, server)

    def _wrong_user(self, headers: dict[str, str]) -> str | None:
        wanted = f"Basic {base64.b64encode((self.user or '').encode()).decode()}"
        if self.user is None or headers.get("proxy-authorization") == wanted:
            return None
        return "407 Proxy Authentication Required"


def _head(client: socket.socket) -> str:
    got = b""
    while b"\r\n\r\n" not in got:
        chunk = client.recv(65536)
        if not chunk:
            raise ConnectionError("no request came")
        got += chunk
    return got.decode("latin-1").partition("\r\n\r\n")[0]


def _pass_on(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError, ValueError):
        while chunk := source.recv(65536):
            target.sendall(chunk)
    _end(source)
    _end(target)


def _end(one: socket.socket) -> None:
    with suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
    with suppress(OSError):
        one.close()
