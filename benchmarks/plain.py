"""What accepting is measured against: the same gunicorn and Flask, a 202 after the HMAC, nothing kept."""

from __future__ import annotations

import argparse
import logging
import os
from typing import Any

from flask import Flask, Response, request

from receiver import serve, signature
from receiver.config.from_settings import SOURCE, config_of
from receiver.errors import RejectedError
from receiver.log import log_to_stderr
from receiver.secret import Secret
from receiver.settings import Settings

_log = logging.getLogger(__name__)


def plain_app(secret: bytes) -> Flask:
    """Verify, log a line, answer."""
    app = Flask(__name__, static_folder=None)

    @app.post(f"/webhooks/{SOURCE}")
    def wandb() -> Response:
        try:
            signature.check(request.get_data(), request.headers.get(signature.HEADER), [secret])
        except RejectedError as error:
            return Response(f"{error}\n", status=error.status)
        _log.info("%s %s %s 202", request.remote_addr, request.method, request.path)
        return Response('{"status": "accepted"}\n', status=202, mimetype="application/json")

    return app


class _Plain(serve._Gunicorn):  # noqa: SLF001 - the very same server is the point
    def load(self) -> Any:
        return plain_app(bytes(self._told.sources[SOURCE].secrets[0]))


def main() -> None:
    """Serve until SIGTERM."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bind", default="127.0.0.1:0")
    parser.add_argument("--threads", type=int, default=8)
    told = parser.parse_args()
    log_to_stderr()
    secret = Secret(os.environ["WANDB_WEBHOOK_SECRET"])
    config = config_of(Settings(secrets=(secret,)))
    options = {name: value for name, value in serve._OPTIONS.items() if name != "worker_exit"}  # noqa: SLF001 - as above
    _Plain(config, {**options, "bind": told.bind, "workers": 1, "threads": told.threads}).run()


if __name__ == "__main__":
    main()
