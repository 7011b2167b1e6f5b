"""Jobs put into a queue of W&B Launch; W&B's SDK is asked what it would have sent."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from graphql import parse
from wandb.sdk.launch.api import LaunchApi
from wandb.sdk.launch.utils import construct_launch_spec

from receiver.destinations.bounded import Bounded
from receiver.destinations.launch import MUTATION, Launches, variables
from receiver.dispatch import Outcome, OutcomeKind
from receiver.secret import Secret
from tests.receiver.destinations.world import a_dispatch
from tests.receiver.fakes import START, Clock
from tests.stand_ins.endpoints import LaunchStandIn
from tests.stand_ins.endpoints.launch import KEY

JOB: dict[str, Any] = {
    "queue": "gpu",
    "job": "acme/jobs/evaluate:latest",
    "entity": "acme",
    "project": "evaluations",
    "overrides": {"run_config": {"model": "μοντέλο"}},
}


@pytest.fixture
def wandb() -> Iterator[LaunchStandIn]:
    """A W&B with one queue."""
    with LaunchStandIn() as standing:
        yield standing


def send(wandb: LaunchStandIn, message: Any = JOB, **limits: float) -> Outcome:
    launches = Launches(wandb.url, Secret(KEY), now=Clock(), bounded=Bounded(**limits))
    return launches.send(a_dispatch("launch:evaluate", message))


def test_the_job_is_in_the_queue(wandb: LaunchStandIn) -> None:
    """
    The queue has the job with what it overrides, and the item's id is kept.
    """
    outcome = send(wandb)

    [item] = wandb.items
    assert (outcome.kind, outcome.reason) == (OutcomeKind.SENT, "sent")
    assert outcome.facts == {"queue_item": "UnVuUXVldWVJdGVtOjE=1"}
    assert (item["job"], item["project"], item["overrides"]) == (JOB["job"], "evaluations", JOB["overrides"])


def test_it_is_what_the_sdk_sends() -> None:
    """
    The mutation and the job are those of ``wandb launch``.
    """
    sent: list[tuple[str, dict[str, Any]]] = []

    class Service:
        """The SDK's way out, which keeps what goes by."""

        def execute_graphql(self, query: str, given: dict[str, Any]) -> dict[str, Any]:
            """Keep it."""
            sent.append((query, given))
            return {"pushToRunQueueByName": {"runQueueItemId": "1"}}

    api = LaunchApi.__new__(LaunchApi)
    api._service_api = Service()
    spec = construct_launch_spec(
        *(None, JOB["job"], api, None, JOB["project"], JOB["entity"], None, None, None, None, None),
        *({"overrides": JOB["overrides"]}, None, None, None),
    )
    api.push_to_run_queue("gpu", spec, None, "model-registry")
    [(query, given)] = sent
    ours = variables(JOB)

    assert json.loads(ours.pop("runSpec")) == json.loads(given.pop("runSpec"))
    assert ours == given
    assert _shape(MUTATION) == _shape(query.replace("runSpec\n            }", "}"))


def _shape(document: str) -> Any:
    return parse(document, no_location=True).to_dict()


def test_no_overrides(wandb: LaunchStandIn) -> None:
    """
    They may be left out.
    """
    send(wandb, {name: value for name, value in JOB.items() if name != "overrides"})

    assert wandb.items[0]["overrides"] == {}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"queue": "tpu"}, "is there a queue acme/tpu"),
        ({"entity": "elsewhere"}, "queue gpu not found"),
    ],
)
def test_a_queue_that_is_not_there(wandb: LaunchStandIn, change: dict[str, str], words: str) -> None:
    """
    GraphQL says no with the status 200: its words are quoted.
    """
    outcome = send(wandb, JOB | change)

    assert (outcome.kind, outcome.reason) == (OutcomeKind.REFUSED, "launch-refused")
    assert words in outcome.detail


@pytest.mark.parametrize(
    "body",
    [{"data": None}, {"data": {"pushToRunQueueByName": None}}, {}, [], b"<html>"],
    ids=["no data", "nothing", "empty", "a list", "a page"],
)
def test_an_answer_without_an_item(wandb: LaunchStandIn, body: Any) -> None:
    """
    Nothing in the queue is no success, whatever the status.
    """
    wandb.faults.add("POST /graphql", status=200, body=body)

    assert send(wandb).reason == "launch-refused"


def test_a_key_that_is_wrong(wandb: LaunchStandIn) -> None:
    """
    The message says which setting, and shows no key.
    """
    wandb.key = "another"

    outcome = send(wandb)

    assert (outcome.kind, outcome.reason, outcome.status) == (OutcomeKind.REFUSED, "launch-refused", 401)
    assert "wandb.api_key" in outcome.detail
    assert KEY not in outcome.detail


def test_a_key_that_comes_back_is_not_shown(wandb: LaunchStandIn) -> None:
    """
    Nor is one that a proxy shows, plain or as the header has it.
    """
    wandb.faults.add("POST /graphql", status=403, body=f"no {KEY}".encode())

    assert send(wandb).detail.endswith("(403: no ***)")


@pytest.mark.parametrize("message", [{}, JOB | {"overrides": {"a": float("nan")}}], ids=["empty", "nan"])
def test_what_cannot_be_written(wandb: LaunchStandIn, message: Any) -> None:
    """
    A job that is none is refused.
    """
    assert send(wandb, message).reason == "refused-payload"
    assert wandb.arrived == []


def test_a_failure_leaves_doubt(wandb: LaunchStandIn) -> None:
    """
    A job that may be in the queue is not put there again without a thought.
    """
    wandb.faults.add("POST /graphql", status=502)
    wandb.faults.add("POST /graphql", hang=threading.Event())

    outcomes = [send(wandb), send(wandb, read_seconds=0.1)]

    assert [(each.kind, each.reason) for each in outcomes] == [
        (OutcomeKind.AMBIGUOUS, "launch-5xx"),
        (OutcomeKind.AMBIGUOUS, "no-answer"),
    ]


def test_later(wandb: LaunchStandIn) -> None:
    """
    A rate limit is waited for; where nobody is there it is tried again.
    """
    wandb.faults.add("POST /graphql", status=429, headers={"Retry-After": "9"})
    away = Launches("http://127.0.0.1:1/", Secret(KEY)).send(a_dispatch("launch:evaluate", JOB))

    assert send(wandb).wait == timedelta(seconds=9)
    assert (away.kind, away.reason) == (OutcomeKind.RETRY, "unreachable")


def test_there_is_no_run_to_find() -> None:
    """
    A queue cannot be searched for our key.
    """
    search = Launches("http://127.0.0.1:1", Secret(KEY)).find_run(a_dispatch("launch:x", JOB), START)

    assert search.url is None
    assert search.why_not is not None
