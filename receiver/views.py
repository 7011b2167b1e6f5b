"""HTTP ↔ calls, errors ↔ status: the pages that W&B and a monitor reach, JSON whatever happens."""

from __future__ import annotations

import json
import logging
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from flask import Blueprint, Flask, Response, current_app, request
from werkzeug.exceptions import HTTPException

from receiver import github_webhook, signature
from receiver.dispatch import Dispatch, DispatchKind
from receiver.doors import Doors, GitHubDoor
from receiver.errors import BodyTooLargeError, LedgerError, RejectedError
from receiver.intake import Accepted, Begun, Intake, OwnMark, Repeated, Trial, Webhook
from receiver.plan import DEFAULT_ROUTE
from receiver.reports import Reports
from receiver.strict_json import shown
from registry_client.report import HEADER as REPORT_HEADER

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

WEBHOOK_PATH = "/webhooks/wandb"
RETRY_AFTER = 30
MAX_BODY = "HANDOFF_MAX_BODY"  # In the application's config.
TOO_LARGE = "handoff.body_too_large"  # In the environ, by the worker: it did not read all of the body.
_LONGEST_LOGGED = 100
_BEGAN = "handoff.began"  # In the environ: when, by a clock that nobody sets.
_SIGNATURE = f"HTTP_{signature.HEADER.upper().replace('-', '_')}"
_JSON = ("Content-Type", "application/json")
_HEADERS = (("Cache-Control", "no-store"), ("X-Content-Type-Options", "nosniff"))

_NO_REPORTS = {
    "status": "rejected",
    "reason": "no-reports",
    "message": "This receiver takes no reports: it has no HANDOFF_REPORT_SECRET.",
}
_log = logging.getLogger(__name__)

# Raises what is wrong, or returns.
Check = Callable[[], None]


class UnsupportedEncodingError(RejectedError):
    """The body is compressed."""

    reason = "unsupported-encoding"
    status = 415


class _App(Flask):
    """Flask, which notes when a request began, and asks of no page whether it is asynchronous: none is."""

    def wsgi_app(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        environ[_BEGAN] = time.monotonic()
        return super().wsgi_app(environ, start_response)

    def ensure_sync(self, func: Callable[..., Any]) -> Callable[..., Any]:
        return func


@dataclass(frozen=True)
class _Told:
    """What an answer says; ``log`` is its word in the log, where it is not the reason."""

    status: int
    body: Mapping[str, Any]
    log: str = ""
    headers: Sequence[tuple[str, str]] = ()


class _Answer(Response):
    """An answer in JSON, worked out as it goes out, and one line of the log.

    Where there is something to ``wait`` for, whoever serves may do other things first: the answer begins
    when its body is asked for, as WSGI allows.
    """

    def __init__(self, tell: Callable[[], _Told], wait: Callable[[], None] | None = None) -> None:
        super().__init__()
        self._tell = tell
        self._wait = wait

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if self._wait is None:
            return [self._begin(environ, start_response)]
        return Waiting(self._wait, lambda: self._begin(environ, start_response))

    def _begin(self, environ: WSGIEnvironment, start_response: StartResponse) -> bytes:
        told = self._told()
        body = (json.dumps(told.body) + "\n").encode("ascii")
        _log_line(environ, told)
        length = ("Content-Length", str(len(body)))
        start_response(_status(told.status), [_JSON, length, *_HEADERS, *told.headers])
        return b"" if environ["REQUEST_METHOD"] == "HEAD" else body

    def _told(self) -> _Told:
        try:
            return self._tell()
        except LedgerError as error:
            return _unavailable(error)
        except Exception as error:  # noqa: BLE001 - as Flask does where it still looks
            return _bug(error)


def _said(told: _Told) -> _Answer:
    """The answer that says it; an error is told before, for with its traceback it would hold its answer."""
    return _Answer(lambda: told)


@dataclass(frozen=True)
class Waiting:
    """The body of an answer for which ``wait`` waits; iterating over it waits as well."""

    wait: Callable[[], None]
    begin: Callable[[], bytes]

    def __iter__(self) -> Iterator[bytes]:
        """The one part that there is."""
        yield self.begin()


@cache
def _status(code: int) -> str:
    return f"{code} {HTTPStatus(code).phrase}"


def _log_line(environ: WSGIEnvironment, told: _Told) -> None:
    """One line for each request, without its query, headers or body."""
    _log.info(
        "%s %s %s %s %s %.0fms",
        environ.get("REMOTE_ADDR"),
        _printable(environ["REQUEST_METHOD"]),
        _printable(environ.get("PATH_INFO", "")),
        told.status,
        told.log or told.body.get("reason") or "-",
        (time.monotonic() - environ[_BEGAN]) * 1000,
    )


def _printable(text: str) -> str:
    """The text as a line of the log may hold it."""
    return ascii(text[:_LONGEST_LOGGED])[1:-1]


def web_app(doors: Callable[[], Doors], checks: Mapping[str, Check], *, max_body: int) -> Flask:
    """The WSGI application around the doors that are open; ``checks`` are what /readyz tells of."""
    app = _App(__name__, static_folder=None)
    app.config[MAX_BODY] = max_body
    app.config["MAX_CONTENT_LENGTH"] = max_body + 1  # Werkzeug cuts a chunked body there: one too many tells.
    app.config["PROVIDE_AUTOMATIC_OPTIONS"] = False
    app.register_blueprint(_pages(doors, checks))
    for kind, tell in ((HTTPException, _http_error), (LedgerError, _unavailable), (Exception, _bug)):
        app.register_error_handler(kind, _answering(tell))
    return app


def _answering(tell: Callable[[Any], _Told]) -> Callable[[Any], _Answer]:
    return lambda error: _said(tell(error))


def _add_webhooks(pages: Blueprint, doors: Callable[[], Doors]) -> None:
    """What W&B posts to."""

    @pages.post("/webhooks/<source>")
    def webhook(source: str) -> Response:
        intake = doors().intakes.get(source)
        if intake is None:
            return _said(_unknown(source))
        try:
            begun = intake.begin(_webhook(intake))
        except RejectedError as error:
            return _said(_rejected(error))
        if isinstance(begun, Begun):
            return _Answer(lambda: _kept(begun.end()), begun.wait)
        return _Answer(_own_mark if isinstance(begun, OwnMark) else partial(_tried, begun))


def _add_tellings(pages: Blueprint, doors: Callable[[], Doors]) -> None:
    """What GitHub and the jobs themselves tell of a dispatch post to."""

    @pages.post("/webhooks/github")
    def github() -> Response:
        door = doors().github
        if door is None:
            return _said(_unknown("github"))
        try:
            body = _body(request.environ)
        except RejectedError as error:
            return _said(_rejected(error))
        signed_as = request.headers.get(github_webhook.HEADER)
        event = request.headers.get(github_webhook.EVENT_HEADER)
        later = _Later(partial(_of_github, door, body, signed_as, event))
        return _Answer(later.tell, later.wait)

    @pages.post("/reports")
    def reports() -> Response:
        door = doors().reports
        if door is None:
            return _Answer(lambda: _Told(404, _NO_REPORTS))
        try:
            body = _body(request.environ)
        except RejectedError as error:
            return _said(_rejected(error))
        later = _Later(partial(_of_report, door, body, request.headers.get(REPORT_HEADER)))
        return _Answer(later.tell, later.wait)


def _pages(doors: Callable[[], Doors], checks: Mapping[str, Check]) -> Blueprint:
    pages = Blueprint("pages", __name__)
    _add_webhooks(pages, doors)
    _add_tellings(pages, doors)

    @pages.get("/healthz")
    def healthz() -> Response:
        return _Answer(lambda: _Told(200, {"status": "alive"}))

    @pages.get("/readyz")
    def readyz() -> Response:
        readiness = _Readiness(checks)
        return _Answer(readiness.tell, readiness.wait)

    return pages


class _Readiness:
    """What /readyz tells: the checks may wait for a disk or a network."""

    def __init__(self, checks: Mapping[str, Check]) -> None:
        self._checks = checks
        self._found: dict[str, str] = {}

    def wait(self) -> None:
        """Check, which may take a while."""
        self._found = {name: _tell(name, check) for name, check in self._checks.items()}

    def tell(self) -> _Told:
        """Tell what is wrong."""
        if not self._found:
            self.wait()
        ready = all(one == "ok" for one in self._found.values())
        status = "ready" if ready else "not ready"
        return _Told(200 if ready else 503, {"status": status, "checks": self._found})


class _Later:
    """An answer that takes a wait for a disk: whoever serves may do other things meanwhile."""

    def __init__(self, work: Callable[[], _Told]) -> None:
        self._work = work
        self._done: Callable[[], _Told] | None = None

    def wait(self) -> None:
        """Do the work, whatever comes of it."""
        try:
            told = self._work()
        except Exception as error:  # noqa: BLE001 - it is raised again where the answer is told
            self._done = partial(_raise, error)
        else:
            self._done = lambda: told

    def tell(self) -> _Told:
        """Tell what came of it."""
        if self._done is None:
            return self._work()
        return self._done()


def _raise(error: Exception) -> _Told:
    raise error


def _rejected(error: RejectedError) -> _Told:
    return _Told(error.status, {"status": "rejected", "reason": error.reason, "message": str(error)})


def _unknown(source: str) -> _Told:
    message = f"There is no source {shown(source)} here: the address is /webhooks/ and a source's name."
    return _Told(404, {"status": "rejected", "reason": "unknown-source", "message": message})


def _of_github(door: GitHubDoor, body: bytes, signed_as: str | None, event: str | None) -> _Told:
    try:
        noted = door.receive(body, signed_as, event)
    except RejectedError as error:
        return _rejected(error)
    return _Told(200, {"status": "noted" if noted else "nothing to note"}, log="noted" if noted else "-")


def _of_report(door: Reports, body: bytes, signed_as: str | None) -> _Told:
    try:
        known = door.receive(body, signed_as)
    except RejectedError as error:
        return _rejected(error)
    status = "noted" if known else "unknown"
    return _Told(200, {"status": status}, log=f"report {status}")


def _own_mark() -> _Told:
    message = "Our own report wrote this alias or tag: nothing is dispatched for it."
    return _Told(200, {"status": "own-mark", "message": message}, log="own-mark")


def _tried(trial: Trial) -> _Told:
    return _Told(200, {"status": "test", "message": trial.text}, log="test")


def _kept(answer: Accepted | Repeated) -> _Told:
    return _repeated(answer) if isinstance(answer, Repeated) else _accepted(answer)


def _accepted(answer: Accepted) -> _Told:
    told: dict[str, Any] = {
        "delivery": answer.delivery.id,
        "status": "accepted" if answer.dispatches else "unrouted",
        "dispatches": _dispatches(answer.dispatches),
    }
    if not answer.dispatches:
        told["message"] = "It is kept, and no route wants it: `handoff route` says why not."
    if answer.ignored:
        told["ignored"] = answer.ignored
    return _Told(202, told, log=answer.delivery.id)


def _repeated(answer: Repeated) -> _Told:
    first = answer.first
    told = {
        "delivery": first.delivery_id,
        "status": "duplicate",
        "dispatches": _dispatches(first.dispatches),
    }
    return _Told(200, told, log=f"duplicate of {first.delivery_id}")


def _dispatches(dispatches: Sequence[Dispatch]) -> list[dict[str, str]]:
    return [_dispatch(one) for one in dispatches if one.kind is not DispatchKind.NOTICE]


def _dispatch(one: Dispatch) -> dict[str, str]:
    route = {} if one.route in {None, DEFAULT_ROUTE} else {"route": str(one.route)}
    wrong = {} if one.unsendable is None else {"unsendable": one.unsendable}
    return {**route, "repository": one.repository, "event_type": one.event_type, **wrong}


def _webhook(intake: Intake) -> Webhook:
    environ = request.environ
    try:
        body = _body(environ)
    except RejectedError as error:
        raise intake.rejected(error, environ.get("REMOTE_ADDR")) from None
    return Webhook(
        body=body,
        signature=environ.get(_SIGNATURE),
        authorization=environ.get("HTTP_AUTHORIZATION"),
        address=environ.get("REMOTE_ADDR"),
    )


def _body(environ: WSGIEnvironment) -> bytes:
    """The raw bytes: re-written JSON has another signature.  The type that they claim is not looked at."""
    if environ.get("HTTP_CONTENT_ENCODING", "identity").strip().lower() != "identity":
        raise UnsupportedEncodingError("Content-Encoding: want none, the body as it was signed.")
    limit: int = current_app.config[MAX_BODY]
    length = request.content_length
    if (length or 0) > limit:
        raise BodyTooLargeError(f"The body: want at most {limit} bytes, got {length}.")
    too_large = environ.get(TOO_LARGE, False)
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


def _unavailable(error: LedgerError) -> _Told:
    _log.error("a webhook could not be stored: %s", error)
    message = "The receiver cannot write its ledger now; nothing was kept. Its log has the reason."
    body = {"status": "unavailable", "reason": error.reason, "message": message}
    return _Told(503, body, headers=[("Retry-After", str(RETRY_AFTER))])


def _http_error(error: HTTPException) -> _Told:
    """What Flask and Werkzeug raise by themselves: no such page, no such method, half a request."""
    name = error.name.lower()
    body = {"status": "rejected", "reason": name.replace(" ", "-"), "message": error.name}
    allowed = [(header, value) for header, value in error.get_headers() if header == "Allow"]
    return _Told(error.code or 500, body, headers=allowed)


def _bug(error: Exception) -> _Told:
    """Log where it happened, but not the message: nobody knows what it holds."""
    where = "".join(traceback.format_tb(error.__traceback__))
    _log.error("unexpected %s\n%s", type(error).__name__, where)
    message = "Handoff has a fault; its log has more. Nothing is known to be kept."
    return _Told(500, {"status": "error", "reason": "internal-error", "message": message})
