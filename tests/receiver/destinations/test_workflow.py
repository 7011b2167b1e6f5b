"""Workflows started by name; GitHub's own description judges every request."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest

from receiver.destinations.workflow import Workflows
from receiver.dispatch import Dispatch, OutcomeKind, RunSearch
from receiver.exchange import CredentialsError, Exchange
from receiver.github import TokenCredentials
from tests.receiver.destinations import world
from tests.receiver.destinations.world import KEY
from tests.receiver.fakes import Clock
from tests.stand_ins.github import GitHubStandIn, Started, Workflow

PAT = "github_pat_11AAAAAAA_secret"
REPOSITORY = "acme/nature-100"
STARTS = f"POST /repos/{REPOSITORY}/actions/workflows/evaluate.yml/dispatches"
DECLARES_KEY = Workflow("evaluate.yml", inputs=("environment", "handoff_key"))
PLAIN = Workflow("evaluate.yml", inputs=("environment",))


@contextmanager
def github_with(workflow: Workflow, clock: Clock, **others: Any) -> Iterator[GitHubStandIn]:
    """A GitHub with one workflow; in the end, nothing may have broken its description."""
    with GitHubStandIn(now=clock, **others) as github:
        github.add_repository(REPOSITORY, workflows=(workflow,))
        github.add_token(PAT, repositories=(REPOSITORY,), permissions={"actions": "write"})
        yield github
    assert github.violations == []


@pytest.fixture
def clock() -> Clock:
    """A clock that stands still."""
    return Clock()


@pytest.fixture
def github(clock: Clock) -> Iterator[GitHubStandIn]:
    """A GitHub whose workflow declares our key."""
    with github_with(DECLARES_KEY, clock) as standing:
        yield standing


def client_of(github: GitHubStandIn, clock: Clock, **others: Any) -> Workflows:
    return Workflows(github.url, TokenCredentials(PAT), now=clock, **others)


def a_dispatch(inputs: Any = None, *, ref: str = "main", **changes: Any) -> Dispatch:
    message = {"ref": ref, "inputs": {"environment": "production"} if inputs is None else inputs}
    return world.a_dispatch(REPOSITORY, message, **{"event_type": "evaluate.yml", **changes})


class TestStarted:
    """What goes right."""

    def test_the_run_is_known_at_once(self, github: GitHubStandIn, clock: Clock) -> None:
        """
        The workflow gets the inputs and our key; its run's id and address come back.
        """
        outcome = client_of(github, clock).send(a_dispatch())

        [run] = github.runs
        assert (outcome.kind, outcome.reason, outcome.status) == (OutcomeKind.SENT, "sent", 200)
        assert outcome.run_url == f"https://github.com/{REPOSITORY}/actions/runs/{run.id}"
        assert outcome.facts["run_id"] == run.id
        assert github.started == (
            Started(REPOSITORY, "evaluate.yml", "main", {"environment": "production", "handoff_key": KEY}),
        )
        assert len(github.requests) == 1

    def test_inputs_are_text(self, clock: Clock) -> None:
        """
        Numbers, truth and lists come as JSON, nothing as nothing, text as it is.
        """
        workflow = Workflow("evaluate.yml", inputs=("a", "b", "c", "d", "e"))
        with github_with(workflow, clock) as github:
            client_of(github, clock).send(a_dispatch({"a": True, "b": 0.9, "c": None, "d": ["é"], "e": "x"}))

        assert github.started[0].inputs == {"a": "true", "b": "0.9", "c": "", "d": '["é"]', "e": "x"}

    def test_no_inputs(self, clock: Clock) -> None:
        """
        A workflow without inputs is started with none.
        """
        with github_with(Workflow("evaluate.yml"), clock) as github:
            outcome = client_of(github, clock).send(
                world.a_dispatch(REPOSITORY, {"ref": "main"}, event_type="evaluate.yml")
            )

        assert outcome.run_url is not None
        assert b"inputs" not in github.requests[-1].body

    def test_an_input_of_the_route_is_left_alone(self, github: GitHubStandIn, clock: Clock) -> None:
        """
        A route that fills handoff_key itself keeps its value.
        """
        client_of(github, clock).send(a_dispatch({"handoff_key": "mine"}))

        assert github.started[0].inputs == {"handoff_key": "mine"}

    def test_the_last_input_is_the_route_s(self, clock: Clock) -> None:
        """
        Where the route fills all that GitHub takes, ours is left out.
        """
        names = tuple(f"i{number}" for number in range(25))
        with github_with(Workflow("evaluate.yml", inputs=names), clock) as github:
            client_of(github, clock).send(a_dispatch(dict.fromkeys(names, "x")))

        assert len(github.started[0].inputs) == 25


class TestOlder:
    """Servers and workflows that do not know all we send."""

    def test_a_workflow_that_does_not_declare_our_key(self, clock: Clock) -> None:
        """
        It is started without, and the next time at once; an hour later it may have learnt.
        """
        with github_with(PLAIN, clock) as github:
            client = client_of(github, clock)
            outcomes = [client.send(a_dispatch()) for _ in range(2)]
            assert len(github.requests) == 3
            clock.move(hours=1)
            client.send(a_dispatch())

        assert [outcome.kind for outcome in outcomes] == [OutcomeKind.SENT] * 2
        assert {tuple(each.inputs) for each in github.started} == {("environment",)}
        assert len(github.requests) == 5

    def test_a_server_that_does_not_tell_the_run(self, clock: Clock) -> None:
        """
        An older GitHub Enterprise Server starts it and says no more; it is not asked for more again.
        """
        with github_with(DECLARES_KEY, clock, knows_run_details=False) as github:
            client = client_of(github, clock)
            outcomes = [client.send(a_dispatch()) for _ in range(2)]

        assert [(each.kind, each.status, each.run_url) for each in outcomes] == [
            (OutcomeKind.SENT, 204, None)
        ] * 2
        assert len(github.requests) == 3

    def test_both_at_once(self, clock: Clock) -> None:
        """
        One is left out after the other.
        """
        with github_with(PLAIN, clock, knows_run_details=False) as github:
            assert client_of(github, clock).send(a_dispatch()).kind is OutcomeKind.SENT

        assert len(github.started) == 1

    def test_a_newer_api_is_not_asked(self, github: GitHubStandIn, clock: Clock) -> None:
        """
        From 2026-03-10 on GitHub always tells, and the question is gone.
        """
        client_of(github, clock, api_version="2026-03-10").send(a_dispatch())

        assert b"return_run_details" not in github.requests[0].body

    @pytest.mark.parametrize(
        "body", [{"workflow_run_id": "7"}, {"html_url": 3, "workflow_run_id": 3}, [], None]
    )
    def test_a_yes_in_other_words(self, github: GitHubStandIn, clock: Clock, body: Any) -> None:
        """
        A 200 without a readable run is still a yes.
        """
        github.faults.add(STARTS, status=200, body=body)

        outcome = client_of(github, clock).send(a_dispatch())

        assert (outcome.kind, outcome.run_url) == (OutcomeKind.SENT, None)


class TestRefused:
    """What no waiting cures."""

    @pytest.mark.parametrize(
        ("workflow", "changes", "words"),
        [
            pytest.param(
                DECLARES_KEY, {"event_type": "other.yml"}, "has no workflow other.yml", id="no file"
            ),
            pytest.param(DECLARES_KEY, {"ref": "gone"}, "check the route's ref", id="no ref"),
            pytest.param(Workflow("evaluate.yml", inputs=None), {}, "add it there", id="no trigger"),
            pytest.param(Workflow("evaluate.yml", enabled=False), {}, "enable it", id="disabled"),
            pytest.param(DECLARES_KEY, {"inputs": {"x": 1}}, "compare them with the route's", id="inputs"),
        ],
    )
    def test_it_says_what_to_do(
        self, clock: Clock, workflow: Workflow, changes: dict[str, Any], words: str
    ) -> None:
        """
        GitHub's words stand beside ours, and no setting is named that this route does not use.
        """
        with github_with(workflow, clock) as github:
            outcome = client_of(github, clock).send(a_dispatch(**changes))

        assert outcome.kind is OutcomeKind.REFUSED
        assert words in outcome.detail
        assert "HANDOFF_REPOSITORY" not in outcome.detail
        assert github.started == ()

    @pytest.mark.parametrize("body", [{"message": "Something new"}, None])
    def test_a_refusal_that_we_do_not_know(self, github: GitHubStandIn, clock: Clock, body: Any) -> None:
        """
        It is told in GitHub's words.
        """
        github.faults.add(STARTS, status=422, body=body)

        assert client_of(github, clock).send(a_dispatch()).reason == "refused-payload"

    def test_a_token_that_may_only_read(self, clock: Clock) -> None:
        """
        The permission that is missing is named.
        """
        with github_with(PLAIN, clock) as github:
            github.add_token(PAT, repositories=(REPOSITORY,), permissions={"actions": "read"})
            outcome = client_of(github, clock).send(a_dispatch())

        assert outcome.reason == "permission"
        assert "actions=write" in outcome.detail

    def test_what_is_no_json(self, github: GitHubStandIn, clock: Clock) -> None:
        """
        A number that JSON does not have is refused.
        """
        outcome = client_of(github, clock).send(a_dispatch({"environment": float("inf")}))

        assert outcome.reason == "refused-payload"
        assert github.requests == []


class TestUnsure:
    """What may have arrived."""

    def test_no_answer_and_the_run_is_found(self, github: GitHubStandIn, clock: Clock) -> None:
        """
        The key in the run's name finds it, among the runs that were started by name.
        """
        github.faults.add(STARTS, reset_after=True)
        client = client_of(github, clock)

        outcome = client.send(a_dispatch())
        search = client.find_run(a_dispatch(), clock())

        assert (outcome.kind, outcome.reason) == (OutcomeKind.AMBIGUOUS, "no-answer")
        assert search == RunSearch(url=f"https://github.com/{REPOSITORY}/actions/runs/{github.runs[0].id}")
        assert "event=workflow_dispatch" in github.requests[-1].target

    def test_silence(self, github: GitHubStandIn, clock: Clock) -> None:
        """
        A server that says nothing leaves doubt.
        """
        github.faults.add(STARTS, hang=threading.Event())

        outcome = client_of(github, clock, exchange=Exchange(read_seconds=0.1)).send(a_dispatch())

        assert (outcome.kind, outcome.reason) == (OutcomeKind.AMBIGUOUS, "no-answer")

    def test_nobody_there(self, clock: Clock) -> None:
        """
        What never left is sent again.
        """
        client = Workflows("http://127.0.0.1:1", TokenCredentials(PAT), now=clock)

        assert client.send(a_dispatch()).kind is OutcomeKind.RETRY

    def test_a_rate_limit(self, github: GitHubStandIn, clock: Clock) -> None:
        """
        GitHub's limits are heeded as with every dispatch.
        """
        github.secondary_limit(retry_after="30")

        outcome = client_of(github, clock).send(a_dispatch())

        assert (outcome.kind, outcome.wait) == (OutcomeKind.THROTTLED, timedelta(seconds=30))

    def test_no_token(self, github: GitHubStandIn, clock: Clock) -> None:
        """
        Where there is no token to be had, that is the outcome.
        """

        class NoToken(TokenCredentials):
            """Credentials without one."""

            def token(self, *_: Any) -> str:
                """Return none."""
                raise CredentialsError.retry("unreachable", "no token")

        outcome = Workflows(github.url, NoToken(PAT), now=clock).send(a_dispatch())

        assert (outcome.kind, outcome.detail) == (OutcomeKind.RETRY, "no token")
