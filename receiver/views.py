"""HTTP ↔ calls, errors ↔ status: the pages that W&B and a monitor reach, JSON whatever happens."""

from __future__ import annotations

import logging
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from flask import Blueprint, Flask, Response, current_app, g, json, request
from werkzeug.exceptions import HTTPException

from receiver import signature
from receiver.dispatch import Dispatch
from receiver.errors import BodyTooLargeError, LedgerError, RejectedError
from receiver.intake import Accepted, Intake, Repeated, Trial, Webhook

WEBHOOK_PATH = "/webhooks/wandb"
RETRY_AFTER = 30
MAX_BODY = "HANDOFF_MAX_BODY"  # In the application's config.
TOO_LARGE = "handoff.body_too_large"  # In the environ, by the worker: it did not read all of the body.
_LONGEST_LOGGED = 100

_log = logging.getLogger(__name__)

# Raises what is wrong, or returns.
Check = Callable[[], None]


class UnsupportedEncodingError(RejectedError):
    """The body is compressed."""

    reason = "unsupported-encoding"
    status = 415


def web_app(intake: Intake, checks: Mapping[str, Check], *, max_body: int) -> Flask:
    """The WSGI application around one intake; ``checks`` are what /readyz tells of."""
    app = Flask(__name__, static_folder=None)
    app.config[MAX_BODY] = max_body
    app.config["MAX_CONTENT_LENGTH"] = max_body + 1  # Werkzeug cuts a chunked body there: one too many tells.
    app.config["PROVIDE_AUTOMATIC_OPTIONS"] = False
    app.json.sort_keys = False  # type: ignore[attr-defined]  # The default provider has it.
    app.register_blueprint(_pages(intake, checks))
    app.before_request(_start)
    app.after_request(_finish)
    app.register_error_handler(HTTPException, _http_error)
    app.register_error_handler(LedgerError, _unavailable)
    app.register_error_handler(Exception, _bug)
    return app


def _pages(intake: Intake, checks: Mapping[str, Check]) -> Blueprint:
    pages = Blueprint("pages", __name__)

    @pages.post(WEBHOOK_PATH)
    def wandb() -> Response:
        try:
            answer = intake.receive(_webhook(intake))
        except RejectedError as error:
            return _answer(
                error.status, {"status": "rejected", "reason": error.reason, "message": str(error)}
            )
        if isinstance(answer, Trial):
            return _answer(200, {"status": "test", "message": answer.text}, log="test")
        return _repeated(answer) if isinstance(answer, Repeated) else _accepted(answer)

    @pages.get("/healthz")
    def healthz() -> Response:
        return _answer(200, {"status": "alive"})

    @pages.get("/readyz")
    def readyz() -> Response:
        told = {name: _tell(name, check) for name, check in checks.items()}
        ready = all(one == "ok" for one in told.values())
        return _answer(200 if ready else 503, {"status": "ready" if ready else "not ready", "checks": told})

    return pages


def _accepted(answer: Accepted) -> Response:
    told: dict[str, Any] = {
        "delivery": answer.delivery.id,
        "status": "accepted",
        "dispatches": _dispatches(answer.dispatches),
    }
    if answer.ignored:
        told["ignored"] = answer.ignored
    return _answer(202, told, log=answer.delivery.id)


def _repeated(answer: Repeated) -> Response:
    first = answer.first
    told = {
        "delivery": first.delivery_id,
        "status": "duplicate",
        "dispatches": _dispatches(first.dispatches),
    }
    return _answer(200, told, log=f"duplicate of {first.delivery_id}")


def _dispatches(dispatches: Sequence[Dispatch]) -> list[dict[str, str]]:
    return [{"repository": one.repository, "event_type": one.event_type} for one in dispatches]


def _webhook(intake: Intake) -> Webhook:
    try:
        body = _body()
    except RejectedError as error:
        raise intake.rejected(error, request.remote_addr) from None
    return Webhook(
        body=body,
        signature=request.headers.get(signature.HEADER),
        authorization=request.headers.get("Authorization"),
        address=request.remote_addr,
    )


def _body() -> bytes:
    """The raw bytes: re-written JSON has another signature.  The type that they claim is not looked at."""
    if request.headers.get("Content-Encoding", "identity").strip().lower() != "identity":
        raise UnsupportedEncodingError("Content-Encoding: want none, the body as it was signed.")
    limit: int = current_app.config[MAX_BODY]
    if (request.content_length or 0) > limit:
        raise BodyTooLargeError(f"The body: want at most {limit} bytes, got {request.content_length}.")
    too_large = request.environ.get(TOO_LARGE, False)
    body = b"" if too_large else request.get_data(cache=False)
    if too_large or len(body) > limit:
        raise BodyTooLargeError(f"The body: want at most {limit} bytes, got more.")
    return body


def _tell(name: str, check: Check) -> str:
    """``ok``, or what is wrong as far as strangers may know it; the log has it all."""
    try:
        check()
    except LedgerError as error:
        _log.error("not ready: %s: %s", name, error)
        return error.reason
    except RuntimeError as error:
        _log.error("not ready: %s: %s", name, error)
        return str(error)
    return "ok"


def _unavailable(error: LedgerError) -> Response:
    _log.error("a webhook could not be stored: %s", error)
    message = "The receiver cannot write its ledger now; nothing was kept. Its log has the reason."
    response = _answer(503, {"status": "unavailable", "reason": error.reason, "message": message})
    response.headers["Retry-After"] = str(RETRY_AFTER)
    return response


def _answer(status: int, body: Mapping[str, Any], *, log: str = "") -> Response:
    g.told = log or str(body.get("reason", ""))
    response = Response(json.dumps(body) + "\n", status=status, mimetype="application/json")
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Content-Type-Options"] = "nosniff"
    return response


def _http_error(error: HTTPException) -> Response:
    """What Flask and Werkzeug raise by themselves: no such page, no such method, half a request."""
    status = error.code or 500
    name = error.name.lower()
    response = _answer(
        status, {"status": "rejected", "reason": name.replace(" ", "-"), "message": error.name}
    )
    for header, value in error.get_headers():
        if header == "Allow":
            response.headers[header] = value
    return response


def _bug(error: Exception) -> Response:
    """Log where it happened, but not the message: nobody knows what it holds."""
    where = "".join(traceback.format_tb(error.__traceback__))
    _log.error("unexpected %s\n%s", type(error).__name__, where)
    message = "Handoff has a fault; its log has more. Nothing is known to be kept."
    return _answer(500, {"status": "error", "reason": "internal-error", "message": message})


def _start() -> None:
    g.began = time.monotonic()


def _finish(response: Response) -> Response:
    """One line for each request, without its query, headers or body."""
    took = (time.monotonic() - g.began) * 1000 if "began" in g else 0.0
    path = ascii(request.path[:_LONGEST_LOGGED])[1:-1]
    method = ascii(request.method[:_LONGEST_LOGGED])[1:-1]
    _log.info(
        "%s %s %s %s %s %.0fms",
        request.remote_addr,
        method,
        path,
        response.status_code,
        g.get("told") or "-",
        took,
    )
    return response
