"""GitHub's ``workflow_dispatch`` as a destination: one workflow file on one ref, and its run at once."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

from receiver.answer import Answer
from receiver.destinations.bounded import json_of
from receiver.dispatch import Dispatch, Outcome, OutcomeKind
from receiver.exchange import CredentialsError, Exchange, NoAnswerError, NotSentError, Request
from receiver.github import Credentials, GitHub, Reply

TO_START = {"actions": "write"}
KEY_INPUT = "handoff_key"
MOST_INPUTS = 25  # GitHub's own limit.
ALWAYS_TELLS = "2026-03-10"  # From this version of the API on, the answer always names the run.
_FORGET_AFTER = timedelta(hours=1)  # A workflow may declare the input by then.


@dataclass(frozen=True)
class _Extras:
    """What a request carries beside what the route says, where the server and the workflow know it."""

    details: bool  # Ask for the run's id and address.
    key: bool  # Our key, as an input.


class Workflows(GitHub):
    """GitHub's REST API, as far as starting workflows goes.

    The dispatch's ``event_type`` is the workflow's file, its ``client_payload`` ``{"ref", "inputs"}``.
    Where the workflow declares an input ``handoff_key`` it gets the dispatch's key; shown in its
    ``run-name``, that finds the run when no answer came.
    """

    event = "workflow_dispatch"

    def __init__(
        self,
        api_url: str,
        credentials: Credentials,
        *,
        now: Callable[[], datetime] = lambda: datetime.now(timezone.utc),
        exchange: Exchange | None = None,
        api_version: str = "2022-11-28",
    ) -> None:
        super().__init__(api_url, credentials, now=now, exchange=exchange)
        self._asks_for_details = api_version < ALWAYS_TELLS
        self._undeclared: dict[tuple[str, str, str], datetime] = {}

    def send(self, dispatch: Dispatch) -> Outcome:
        """Try once to start it.  Raises nothing: whatever happens is an outcome."""
        try:
            reply = self._start(dispatch)
        except ValueError as error:
            detail = f"the inputs cannot be written as JSON: {type(error).__name__}"
            return Outcome(OutcomeKind.REFUSED, "refused-payload", detail)
        except CredentialsError as error:
            return error.outcome
        except NotSentError as error:
            return Outcome(OutcomeKind.RETRY, error.reason, str(error))
        except NoAnswerError as error:
            return Outcome(OutcomeKind.AMBIGUOUS, error.reason, f"{error}; it may have started a run")
        return self._result(reply, dispatch)

    def _start(self, dispatch: Dispatch) -> Reply:
        """Ask for the run; what GitHub does not know is left out and asked again: a refusal did nothing."""
        workflows = f"{self._repository_url(dispatch.repository)}/actions/workflows"
        url = f"{workflows}/{quote(dispatch.event_type, safe='')}/dispatches"
        extras = self._extras(dispatch)
        while True:
            request = Request("POST", url, _body(dispatch, extras))
            reply = self._ask(request, dispatch.repository, TO_START)
            fewer = _fewer(extras, reply.answer)
            if fewer is None:
                return reply
            self._learn(
                dispatch,
                lost_key=extras.key and not fewer.key,
                lost_details=extras.details and not fewer.details,
            )
            extras = fewer

    def _extras(self, dispatch: Dispatch) -> _Extras:
        inputs = dispatch.client_payload.get("inputs") or {}
        refused = self._undeclared.get(_place(dispatch))
        known_without = refused is not None and self._now() < refused + _FORGET_AFTER
        return _Extras(
            details=self._asks_for_details,
            key=KEY_INPUT not in inputs and len(inputs) < MOST_INPUTS and not known_without,
        )

    def _learn(self, dispatch: Dispatch, *, lost_key: bool, lost_details: bool) -> None:
        """Remember it: GitHub blocks those who send again and again what it refuses."""
        if lost_key:
            self._undeclared[_place(dispatch)] = self._now()
        if lost_details:
            self._asks_for_details = False

    def _result(self, reply: Reply, dispatch: Dispatch) -> Outcome:
        answer = reply.answer
        if answer.status != HTTPStatus.OK:
            outcome = self._outcome(reply, dispatch.repository)
            advice = _advice(answer, dispatch)
            said = f"GitHub: {answer.status}: {answer.words}"
            return outcome if advice is None else replace(outcome, detail=f"{advice} ({said})")
        accepted = replace(reply, answer=replace(answer, status=HTTPStatus.NO_CONTENT))
        outcome = replace(self._outcome(accepted, dispatch.repository), status=answer.status)
        run = answer.document if isinstance(answer.document, dict) else {}
        number, url = run.get("workflow_run_id"), run.get("html_url")
        if not isinstance(number, int) or not isinstance(url, str):
            return outcome
        return replace(outcome, run_url=url, facts={**outcome.facts, "run_id": number})


def _place(dispatch: Dispatch) -> tuple[str, str, str]:
    return dispatch.repository, dispatch.event_type, str(dispatch.client_payload.get("ref"))


def _fewer(extras: _Extras, answer: Answer) -> _Extras | None:
    """What to ask with instead; None when the answer is not about our extras.

    GitHub Enterprise Server up to 3.20 knows no ``return_run_details`` and says so with a 400.
    """
    if answer.status not in {HTTPStatus.BAD_REQUEST, HTTPStatus.UNPROCESSABLE_ENTITY}:
        return None
    words = answer.words
    if extras.details and "return_run_details" in words:
        return replace(extras, details=False)
    if extras.key and KEY_INPUT in words:
        return replace(extras, key=False)
    return None


def _body(dispatch: Dispatch, extras: _Extras) -> bytes:
    given = dispatch.client_payload.get("inputs") or {}
    inputs = {name: _as_text(value) for name, value in given.items()}
    if extras.key:
        inputs[KEY_INPUT] = dispatch.key
    document: dict[str, Any] = {"ref": dispatch.client_payload.get("ref")}
    if inputs:
        document["inputs"] = inputs
    if extras.details:
        document["return_run_details"] = True
    return json_of(document)


def _as_text(value: Any) -> str:
    """An input as workflows see it: text stays, everything else is written as JSON, nothing as nothing."""
    if isinstance(value, str):
        return value
    return "" if value is None else json.dumps(value, ensure_ascii=False, allow_nan=False)


def _advice(answer: Answer, dispatch: Dispatch) -> str | None:
    """What to do about it, where that is another thing than with a repository_dispatch."""
    words, file = answer.words.lower(), dispatch.event_type
    if answer.status == HTTPStatus.NOT_FOUND:
        return (
            f"{dispatch.repository} has no workflow {file} on its default branch, or this token may see"
            " neither: check the route's workflow and repository"
        )
    if answer.status != HTTPStatus.UNPROCESSABLE_ENTITY:
        return None
    return next((advice.format(file=file) for part, advice in _UNPROCESSABLE if part in words), None)


_UNPROCESSABLE = (
    ("disabled", "{file} is disabled there: enable it"),
    ("'workflow_dispatch' trigger", "{file} has no on: workflow_dispatch on that ref: add it there"),
    ("no ref found", "there is no such branch or tag: check the route's ref"),
    ("input", "the inputs are not those that {file} declares: compare them with the route's"),
)
