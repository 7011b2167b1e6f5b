"""One HTTP server on 127.0.0.1, in threads, silent, and able to break a connection off."""

from __future__ import annotations

import socket
import struct
import threading
from typing import Any

from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler, make_server

_RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # SO_LINGER, on, 0 seconds: close() sends RST, not FIN.


class _Handler(WSGIRequestHandler):
    def log(self, type: str, message: str, *args: Any) -> None:  # noqa: A002 - werkzeug's name
        """Say nothing."""


class Server:
    """A WSGI application, served from start() to stop()."""

    def __init__(self, application: Any, port: int = 0) -> None:
        self._application = application
        self._port = port
        self._server: BaseWSGIServer | None = None
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        """Where it listens, without a slash at the end."""
        if self._server is None:
            raise RuntimeError("the server is not running: call start(), or use it in a with statement")
        return f"http://127.0.0.1:{self._server.server_port}"

    def start(self) -> None:
        """Listen; on return, connections are accepted."""
        self._server = make_server(
            "127.0.0.1", self._port, self._application, threaded=True, request_handler=_Handler
        )
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop listening; what is being answered is answered to its end."""
        if self._server is not None and self._thread is not None:
            self._server.shutdown()
            self._thread.join()
            self._server.server_close()
            self._server = self._thread = None


def reset_connection(environ: dict[str, Any]) -> None:
    """Break the connection of this request off as a crashed peer would; never returns."""
    connection: socket.socket = environ["werkzeug.socket"]
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
    socket.close(connection.detach())
    raise ConnectionResetError("reset on demand")
