"""GitHub as a destination: send a ``repository_dispatch``, find the run that it started."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from http import HTTPStatus
from typing import Any, Protocol
from urllib.parse import quote, urlencode

from receiver.answer import Answer, outcome_of, token_too_new
from receiver.dispatch import Dispatch, Outcome, OutcomeKind, RunSearch
from receiver.exchange import CredentialsError, Exchange, NoAnswerError, NotSentError, Request
from receiver.retry_after import wait_told
from receiver.run import Run, RunsUnreadableError

TO_DISPATCH = {"contents": "write"}
TO_READ_RUNS = {"actions": "read"}
_LARGEST_RUNS = 8 * 1024 * 1024  # A hundred runs, each with its repository twice, are 1.5 MB.
_RUNS_A_PAGE = 100
_MOST_PAGES = 10  # GitHub shows no more than 1,000 when it filters.
_CLOCKS_APART = timedelta(minutes=5)
_NOT_ALLOWED = timedelta(hours=1)  # Until somebody has given the permission.


class Credentials(Protocol):
    """Where tokens come from."""

    def token(self, repository: str, permissions: Mapping[str, str]) -> str:
        """Return a token for the repository with these permissions, or raise CredentialsError."""

    def patience(self, token: str) -> timedelta | None:
        """Return how long to wait with a refused token that is only seconds old; None when it is not."""

    def forget(self, token: str) -> None:
        """Take note that GitHub refused this token."""


class TokenCredentials:
    """One personal access token for everything; nothing replaces it while the program runs."""

    def __init__(self, token: str) -> None:
        if re.fullmatch(r"[!-~]+", token) is None:
            raise ValueError("a GitHub token is printable ASCII without spaces, and not empty")
        self._token = token

    def __repr__(self) -> str:
        return "TokenCredentials(…)"

    def token(self, repository: str, permissions: Mapping[str, str]) -> str:  # noqa: ARG002 - it has what it has
        """Return the token."""
        return self._token

    def patience(self, token: str) -> None:
        """Return None: it has been known for long."""

    def forget(self, token: str) -> None:
        """Do nothing: there is no other."""


@dataclass(frozen=True)
class Reply:
    """GitHub's answer, and what became of the token meanwhile."""

    answer: Answer
    renewed: bool = False  # The first token was refused, and this is the answer to the second.
    too_new: timedelta | None = None  # The token was refused, and will be better in so long.


class GitHub:
    """GitHub's REST API, as far as dispatches go.

    Attributes:
        event: What its dispatches start runs with, in GitHub's word.
    """

    event = "repository_dispatch"

    def __init__(
        self,
        api_url: str,
        credentials: Credentials,
        *,
        now: Callable[[], datetime] = lambda: datetime.now(timezone.utc),
        exchange: Exchange | None = None,
    ) -> None:
        self._api_url = api_url.rstrip("/")
        self._credentials = credentials
        self._now = now
        self._exchange = Exchange() if exchange is None else exchange
        self._refusals = 0  # One after the other that asked us to wait and did not say for how long.

    def send(self, dispatch: Dispatch) -> Outcome:
        """Try once to send it.  Raises nothing: whatever happens is an outcome."""
        try:
            body = _body(dispatch)
        except ValueError as error:
            detail = f"the payload cannot be written as JSON: {type(error).__name__}"
            return Outcome(OutcomeKind.REFUSED, "refused-payload", detail)
        request = Request("POST", f"{self._repository_url(dispatch.repository)}/dispatches", body)
        try:
            reply = self._ask(request, dispatch.repository, TO_DISPATCH)
        except CredentialsError as error:
            return error.outcome
        except NotSentError as error:
            return Outcome(OutcomeKind.RETRY, error.reason, str(error))
        except NoAnswerError as error:
            return Outcome(OutcomeKind.AMBIGUOUS, error.reason, f"{error}; it may have started a run")
        return self._outcome(reply, dispatch.repository)

    def find_run(self, dispatch: Dispatch, since: datetime) -> RunSearch:
        """Look for a run, started after ``since``, whose name shows the dispatch's key."""
        shows_key = re.compile(rf"(?<![\w-]){re.escape(dispatch.key)}(?![\w-])").search
        try:
            for run in self._runs(dispatch.repository, self.event, since):
                if shows_key(str(run.get("display_title"))):
                    return RunSearch(url=str(run.get("html_url")))
        except (CredentialsError, NotSentError, NoAnswerError, _UnreadableError) as error:
            why_not = f"the runs of {dispatch.repository} could not be read: {error}"
            return RunSearch(why_not=why_not, not_now=_not_now(error))
        return RunSearch()

    def runs(self, repository: str, event: str, since: datetime) -> list[Run]:
        """The runs that the event has started since then.

        Raises:
            RunsUnreadableError: They cannot be read now; with what GitHub asked for, if it did.
        """
        try:
            return [Run.parse(run) for run in self._runs(repository, event, since)]
        except (CredentialsError, NotSentError, NoAnswerError, _UnreadableError) as error:
            outcome = _not_now(error)
            wait = _NOT_ALLOWED if outcome is None else outcome.wait
            raise RunsUnreadableError(f"the runs of {repository} could not be read: {error}", wait) from error
        except (KeyError, TypeError, ValueError) as error:
            why = f"the runs of {repository} could not be read: {type(error).__name__}"
            raise RunsUnreadableError(why, _NOT_ALLOWED) from error

    def _runs(self, repository: str, event: str, since: datetime) -> Iterator[dict[str, Any]]:
        for page in range(1, _MOST_PAGES + 1):
            runs = self._page(repository, event, since, page)
            yield from runs
            if len(runs) < _RUNS_A_PAGE:
                return

    def _page(self, repository: str, event: str, since: datetime, page: int) -> list[dict[str, Any]]:
        start = (since - _CLOCKS_APART).astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
        query = {"event": event, "created": f">={start}", "per_page": _RUNS_A_PAGE, "page": page}
        url = f"{self._repository_url(repository)}/actions/runs?{urlencode(query)}"
        request = Request("GET", url, largest=_LARGEST_RUNS)
        reply = self._ask(request, repository, TO_READ_RUNS)
        answer = reply.answer
        if answer.status != HTTPStatus.OK:
            said = f"GitHub said {answer.status} {answer.words}".strip()
            raise _UnreadableError(
                f"{said}; it takes the permission actions=read", self._outcome(reply, repository)
            )
        document = answer.document
        runs = document.get("workflow_runs") if isinstance(document, dict) else None
        if not isinstance(runs, list) or not all(isinstance(run, dict) for run in runs):
            raise _UnreadableError("GitHub's answer is no list of runs")
        return runs

    def _ask(self, request: Request, repository: str, permissions: Mapping[str, str]) -> Reply:
        """Ask; when the token is refused and a new one can be had, once more (a 401 has done nothing)."""
        token = self._credentials.token(repository, permissions)
        answer = self._exchange.send(request, token)
        if answer.status != HTTPStatus.UNAUTHORIZED:
            return Reply(answer)
        wait = self._credentials.patience(token)
        if wait is not None:
            return Reply(answer, too_new=wait)
        self._credentials.forget(token)
        another = self._credentials.token(repository, permissions)
        if another == token:
            return Reply(answer)
        return Reply(self._exchange.send(request, another), renewed=True)

    def _outcome(self, reply: Reply, repository: str) -> Outcome:
        if reply.too_new is not None:
            return token_too_new(reply.answer, reply.too_new)
        now, answer = self._now(), reply.answer
        outcome = outcome_of(answer, repository, now, renewed=reply.renewed, refusals=self._refusals)
        untold = answer.throttled and wait_told(answer.headers, now) is None
        self._refusals = self._refusals + 1 if untold else 0
        return outcome

    def _repository_url(self, repository: str) -> str:
        return f"{self._api_url}/repos/{quote(repository)}"


class _UnreadableError(Exception):
    """The runs could not be read; ``outcome`` is what a dispatch would come to with this answer."""

    def __init__(self, words: str, outcome: Outcome | None = None) -> None:
        super().__init__(words)
        self.outcome = outcome


def _not_now(error: CredentialsError | NotSentError | NoAnswerError | _UnreadableError) -> Outcome | None:
    """Return what a look that failed comes to, where time may cure it."""
    detail = f"the look for its run: {error}"
    if isinstance(error, (NotSentError, NoAnswerError)):
        return Outcome(OutcomeKind.RETRY, error.reason, detail)
    outcome = error.outcome
    if outcome is None or outcome.kind in {OutcomeKind.SENT, OutcomeKind.REFUSED}:
        return None
    kind = OutcomeKind.RETRY if outcome.kind is OutcomeKind.AMBIGUOUS else outcome.kind
    return replace(outcome, kind=kind, detail=detail)


def _body(dispatch: Dispatch) -> bytes:
    """Return the body, as short as JSON can be: a name in Greek is counted as it is, not as escapes."""
    document = {"event_type": dispatch.event_type, "client_payload": dispatch.client_payload}
    text = json.dumps(document, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.encode("utf-8")
