"""W&B Launch as a destination: a job put into a queue, for those who still run agents."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from typing import Any

from receiver.answer import Answer
from receiver.destinations.bounded import Bounded, Post, json_of
from receiver.destinations.outcomes import Party, outcome_of, refusal
from receiver.dispatch import Dispatch, Outcome, OutcomeKind, RunSearch
from receiver.exchange import NoAnswerError, NotSentError
from receiver.secret import Secret

QUEUES_OF = "model-registry"  # The project in which W&B keeps an entity's queues.
MUTATION = (
    "mutation pushToRunQueueByName($entityName: String!, $projectName: String!, $queueName: String!,"
    " $runSpec: JSONString!) {"
    " pushToRunQueueByName(input: {entityName: $entityName, projectName: $projectName,"
    " queueName: $queueName, runSpec: $runSpec}) { runQueueItemId } }"
)
_PARTY = Party(
    "W&B Launch",
    failed="launch-5xx",
    refused="launch-refused",
    if_unsure=OutcomeKind.AMBIGUOUS,
    otherwise="see what it says",
    advice={
        400: "this server knows no Launch queues, or not this way to fill them",
        401: "the API key is wrong or revoked: set a new one (wandb.api_key)",
        403: "the API key's user may not use this queue",
        404: "there is no such entity or project, or the API key's user may not see it",
    },
)


class Launches:
    """Puts jobs into W&B's queues by its GraphQL API.

    The dispatch's ``client_payload`` is ``{"queue", "job", "entity", "project", "overrides"}``.

    Args:
        base_url: Of W&B's API.
        api_key: Whose user may use the queue.
    """

    def __init__(
        self,
        base_url: str,
        api_key: Secret,
        *,
        now: Callable[[], datetime] = lambda: datetime.now(timezone.utc),
        bounded: Bounded | None = None,
    ) -> None:
        self._url = f"{base_url.rstrip('/')}/graphql"
        self._key = api_key
        self._now = now
        self._bounded = Bounded() if bounded is None else bounded

    def send(self, dispatch: Dispatch) -> Outcome:
        """Try once to queue it.  Raises nothing: whatever happens is an outcome."""
        pair = base64.b64encode(b"api:" + bytes(self._key)).decode()
        try:
            body = json_of({"query": MUTATION, "variables": variables(dispatch.client_payload)})
        except (KeyError, ValueError) as error:
            return Outcome(OutcomeKind.REFUSED, "refused-payload", f"the job cannot be written: {error!r}")
        post = Post(self._url, body, {"Authorization": f"Basic {pair}"}, (self._key, Secret(pair)))
        try:
            answer = self._bounded.send(post)
        except NotSentError as error:
            return Outcome(OutcomeKind.RETRY, error.reason, str(error))
        except NoAnswerError as error:
            return Outcome(OutcomeKind.AMBIGUOUS, error.reason, f"{error}; the job may be in the queue")
        return self._outcome(answer, dispatch)

    def find_run(self, dispatch: Dispatch, since: datetime) -> RunSearch:  # noqa: ARG002 - there is nothing to look at
        """Find none: W&B shows the states of a queue's items, not what they were asked to do."""
        return RunSearch(why_not="a queue of W&B Launch cannot be searched for a dispatch")

    def _outcome(self, answer: Answer, dispatch: Dispatch) -> Outcome:
        outcome = outcome_of(answer, _PARTY, self._now())
        if outcome.kind is not OutcomeKind.SENT:
            return outcome
        item = _item(answer.document)
        if item is None:
            queue = f"{dispatch.client_payload['entity']}/{dispatch.client_payload['queue']}"
            return refusal(
                Answer(answer.status, body=_errors(answer.document)),
                _PARTY,
                f"is there a queue {queue}, and may the API key's user fill it?",
            )
        return Outcome(
            OutcomeKind.SENT,
            "sent",
            "W&B Launch has it in the queue",
            answer.status,
            facts={"queue_item": item},
        )


def variables(message: Mapping[str, Any]) -> dict[str, str]:
    """The variables of the mutation: whose queue, and the job as Launch's agents read it."""
    spec = {
        "job": message["job"],
        "entity": message["entity"],
        "project": message["project"],
        "docker": {},
        "resource": None,
        "git": {},
        "overrides": message.get("overrides") or {},
    }
    return {
        "entityName": message["entity"],
        "projectName": QUEUES_OF,
        "queueName": message["queue"],
        "runSpec": json.dumps(spec, ensure_ascii=False, separators=(",", ":"), allow_nan=False),
    }


def _item(document: Any) -> str | None:
    """The id of what is in the queue now; None when nothing is."""
    data = document.get("data") if isinstance(document, dict) else None
    pushed = data.get("pushToRunQueueByName") if isinstance(data, dict) else None
    item = pushed.get("runQueueItemId") if isinstance(pushed, dict) else None
    return item if isinstance(item, str) else None


def _errors(document: Any) -> bytes:
    """What GraphQL says went wrong, in the form that an answer's words are read from."""
    errors = document.get("errors") if isinstance(document, dict) else None
    return json.dumps({"errors": errors}).encode()
