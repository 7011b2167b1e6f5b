"""The GitHub stand-in keeps GitHub's rules, and says so when it does not."""

from __future__ import annotations

import base64
import json
import socket
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import jwt
import pytest
import requests

from tests.receiver.fakes import Clock
from tests.receiver.github_world import CLIENT_ID, private_pem, public_pem
from tests.stand_ins.github import Dispatched, GitHubStandIn, Installation, Workflow, description
from tests.stand_ins.github.api import created_filter
from tests.stand_ins.github.asked import Refused

REPOSITORY = "acme/serving"
PAT = "github_pat_1"
SLICE = Path(description.__file__).with_name("openapi.json")


@pytest.fixture
def clock() -> Clock:
    """A clock that stands still."""
    return Clock()


@pytest.fixture
def github(clock: Clock) -> Iterator[GitHubStandIn]:
    """A GitHub with a repository and a token; no answer of its own may be against the description."""
    with GitHubStandIn(now=clock) as standing:
        standing.add_repository(REPOSITORY, workflows=(Workflow("deploy.yml", types=("BUILD",)),))
        standing.add_token(
            PAT, repositories=(REPOSITORY,), permissions={"contents": "write", "actions": "read"}
        )
        yield standing
    assert [violation for violation in standing.violations if violation.of == "answer"] == []


@pytest.fixture
def installation(github: GitHubStandIn) -> Installation:
    """An App at the account."""
    app = github.add_app(client_id=CLIENT_ID, public_key_pem=public_pem(), permissions={"contents": "write"})
    return github.install(app, account="acme", repositories=(REPOSITORY,))


def ask(
    github: GitHubStandIn, method: str, path: str, token: str | None = PAT, **others: Any
) -> requests.Response:
    """Ask as plainly as can be."""
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    headers |= others.pop("headers", {})
    return requests.request(
        method, f"{github.url}{path}", headers=headers, timeout=5, allow_redirects=False, **others
    )


def dispatch(github: GitHubStandIn, token: str | None = PAT, **body: Any) -> requests.Response:
    """Dispatch to the repository."""
    return ask(github, "POST", f"/repos/{REPOSITORY}/dispatches", token, json={"event_type": "BUILD", **body})


def signed(clock: Clock, **changes: Any) -> str:
    """A JWT of the App."""
    now = int(clock().timestamp())
    return jwt.encode(
        {"iss": CLIENT_ID, "iat": now, "exp": now + 600, **changes}, private_pem(), algorithm="RS256"
    )


class TestDescription:
    """GitHub's own description judges."""

    def test_the_slice_is_small_and_whole(self) -> None:
        """
        It holds our paths, all that they refer to, and is small enough to keep.
        """
        text = SLICE.read_text(encoding="utf-8")
        document = json.loads(text)

        assert len(text) < 160_000
        assert len(document["paths"]) == 11
        for reference in set(_references(document)):
            kind, name = reference.removeprefix("#/components/").split("/")
            assert name in document["components"][kind]

    @pytest.mark.parametrize(
        ("body", "words"),
        [
            pytest.param({"client_payload": {}}, '"event_type" wasn\'t supplied', id="no event type"),
            pytest.param({"event_type": ""}, "should be non-empty", id="an empty event type"),
            pytest.param({"event_type": "x" * 101}, "is too long", id="101 characters"),
            pytest.param(
                {"event_type": "x", "client_payload": {str(n): n for n in range(11)}},
                "No more than 10 properties are allowed; 11 were supplied.",
                id="11 properties",
            ),
            pytest.param({"event_type": "x", "client_payload": "text"}, '"text" is not an object', id="text"),
        ],
    )
    def test_a_request_against_it_is_refused_and_kept(
        self, github: GitHubStandIn, body: dict[str, Any], words: str
    ) -> None:
        """
        422 as GitHub says it, a violation for the test, no dispatch.
        """
        answer = ask(github, "POST", f"/repos/{REPOSITORY}/dispatches", json=body)

        assert answer.status_code == 422
        assert words in answer.json()["message"]
        assert [violation.of for violation in github.violations] == ["request"]
        assert not github.dispatches

    def test_no_json_is_400(self, github: GitHubStandIn) -> None:
        """
        A body that is no JSON is answered, and kept as a violation.
        """
        answer = ask(github, "POST", f"/repos/{REPOSITORY}/dispatches", data=b"{")

        assert (answer.status_code, len(github.violations)) == (400, 1)

    def test_an_unknown_path_is_a_violation(self, github: GitHubStandIn) -> None:
        """
        What the description does not have is 404, and our mistake.
        """
        assert ask(github, "GET", f"/repos/{REPOSITORY}/dispatches").status_code == 404
        assert ask(github, "POST", f"/repos/{REPOSITORY}/dispatches/").status_code == 404
        assert len(github.violations) == 2

    def test_an_answer_against_it_is_kept(
        self, github: GitHubStandIn, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """
        The stand-in is judged as well as the program.
        """
        monkeypatch.setattr("tests.stand_ins.github.documents.full_repository", lambda *_: {"id": "text"})

        ask(github, "GET", f"/repos/{REPOSITORY}")

        assert [violation.of for violation in github.violations] == ["answer"]
        github.violations.clear()

    def test_an_event_against_it_is_kept(self, github: GitHubStandIn, clock: Clock) -> None:
        """
        The event file is judged by GitHub's description of the event.
        """
        broken = Dispatched(REPOSITORY, "BUILD", "text", clock(), "classic")  # type: ignore[arg-type]

        github.event(broken)

        assert "client_payload" in github.violations[0].why
        github.violations.clear()

    @pytest.mark.parametrize("path", ["", "/actions/runs"])
    def test_what_it_shows_is_as_described(self, github: GitHubStandIn, path: str) -> None:
        """
        Repository and runs hold all that the description asks for (the fixture looks for violations).
        """
        dispatch(github)

        assert ask(github, "GET", f"/repos/{REPOSITORY}{path}").status_code == 200

    def test_half_a_request_is_none(self, github: GitHubStandIn) -> None:
        """
        What a killed program had begun to send does nothing, and breaks no description.
        """
        host, _, port = github.url.removeprefix("http://").partition(":")
        head = f"POST /repos/{REPOSITORY}/dispatches HTTP/1.1\r\nHost: x\r\nContent-Length: 50\r\n\r\n"
        with socket.create_connection((host, int(port))) as connection:
            connection.sendall(head.encode() + b'{"event_type": "BU')
            connection.shutdown(socket.SHUT_WR)
            assert connection.recv(1) == b""

        assert not github.requests
        assert github.violations == []

    def test_the_rate_limit_is_as_described(self, github: GitHubStandIn) -> None:
        """
        GET /rate_limit costs nothing and tells what is left.
        """
        dispatch(github)

        assert [ask(github, "GET", "/rate_limit").json()["rate"]["remaining"] for _ in range(2)] == [
            4999,
            4999,
        ]


def _references(node: Any) -> Iterator[str]:
    for value in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from _references(value)
    if isinstance(node, dict) and isinstance(node.get("$ref"), str):
        yield node["$ref"]


class TestWhoAsks:
    """Headers, tokens, permissions."""

    @pytest.mark.parametrize(
        ("token", "headers", "status"),
        [
            pytest.param(None, {}, 401, id="nobody"),
            pytest.param("wrong", {}, 401, id="a token of nobody"),
            pytest.param(PAT, {"User-Agent": ""}, 403, id="no user agent"),
            pytest.param(PAT, {"X-GitHub-Api-Version": "2020-01-01"}, 400, id="no such version"),
            pytest.param(PAT, {"X-GitHub-Api-Version": "2026-03-10"}, 204, id="the next version"),
            pytest.param(PAT, {"Authorization": f"token {PAT}"}, 204, id="the other scheme"),
            pytest.param(PAT, {"Authorization": f"Basic {PAT}"}, 401, id="basic"),
        ],
    )
    def test_a_request_says_who_it_is(
        self, github: GitHubStandIn, token: str | None, headers: dict[str, str], status: int
    ) -> None:
        """
        Token, program and version are looked at, in this order of trouble.
        """
        answer = ask(
            github,
            "POST",
            f"/repos/{REPOSITORY}/dispatches",
            token,
            json={"event_type": "x"},
            headers=headers,
        )

        assert answer.status_code == status

    def test_a_private_repository_is_hidden_a_public_one_is_not(self, github: GitHubStandIn) -> None:
        """
        404 where a token may not see, 403 where it may see and not act; each names what it takes.
        """
        github.add_repository("acme/hidden")
        github.add_repository("acme/shown", private=False)
        body = {"event_type": "x"}
        github.add_token("github_pat_reads", repositories=("acme/shown",), permissions={"contents": "read"})

        assert ask(github, "POST", "/repos/acme/hidden/dispatches", json=body).status_code == 404
        answer = ask(github, "POST", "/repos/acme/shown/dispatches", "github_pat_reads", json=body)
        assert answer.status_code == 403
        assert answer.headers["X-Accepted-GitHub-Permissions"] == "contents=write"

    def test_runs_of_a_private_repository_take_a_permission(self, github: GitHubStandIn) -> None:
        """
        contents: write does not read runs.
        """
        github.add_token("ghp_sends", repositories=(REPOSITORY,), permissions={"contents": "write"})

        assert ask(github, "GET", f"/repos/{REPOSITORY}/actions/runs", "ghp_sends").status_code == 403

    def test_the_contents_of_a_private_repository_take_a_permission(self, github: GitHubStandIn) -> None:
        """
        And its workflows can be read with it, one by one, on the branch that is there.
        """
        github.add_token("blind", repositories=(REPOSITORY,), permissions={"actions": "read"})
        path = f"/repos/{REPOSITORY}/contents/.github/workflows"
        content = ask(github, "GET", f"{path}/deploy.yml?ref=main").json()["content"]

        assert ask(github, "GET", path, "blind").status_code == 403
        assert [each["name"] for each in ask(github, "GET", path).json()] == ["deploy.yml"]
        assert "  repository_dispatch: {types: [BUILD]}\n" in base64.b64decode(content).decode()
        assert ask(github, "GET", f"{path}/deploy.yml?ref=gone").status_code == 404
        assert ask(github, "GET", f"{path}/other.yml").status_code == 404

    def test_a_classic_token_has_scopes(self, github: GitHubStandIn) -> None:
        """
        And each answer names them; other tokens have none.
        """
        github.add_token("ghp_reader", repositories=(REPOSITORY,), permissions={"contents": "read"})
        github.add_token("ghp_writer", repositories=(REPOSITORY,))
        answers = [
            ask(github, "GET", f"/repos/{REPOSITORY}", name) for name in ("ghp_reader", "ghp_writer", PAT)
        ]

        assert [answer.headers.get("X-OAuth-Scopes") for answer in answers] == [
            "read:org",
            "repo, workflow",
            None,
        ]

    def test_the_hourly_limit(self, github: GitHubStandIn, clock: Clock) -> None:
        """
        What is left is told with each answer; nothing left is 403 until the reset.
        """
        github.rate_limit(PAT, remaining=1, reset=clock() + timedelta(minutes=5))

        assert dispatch(github).headers["X-RateLimit-Remaining"] == "0"
        refused = dispatch(github)
        assert (refused.status_code, refused.headers["X-RateLimit-Remaining"]) == (403, "0")
        clock.move(minutes=5)
        assert dispatch(github).status_code == 204


class TestApps:
    """Signatures and installation tokens."""

    def test_a_good_signature(self, github: GitHubStandIn, installation: Installation, clock: Clock) -> None:
        """
        The App sees itself, by client id or by number.
        """
        assert ask(github, "GET", "/app", signed(clock)).json()["client_id"] == CLIENT_ID
        by_number = signed(clock, iss=str(installation.app.id))
        assert ask(github, "GET", "/app", by_number).status_code == 200

    @pytest.mark.parametrize(
        ("changes", "words"),
        [
            pytest.param({"exp": 601}, "too far in the future", id="too long"),
            pytest.param({"exp": 0}, "future time", id="over"),
            pytest.param({"iat": 1}, "'iat'", id="from the future"),
        ],
    )
    def test_times_that_do_not_hold(
        self,
        github: GitHubStandIn,
        installation: Installation,
        clock: Clock,
        changes: dict[str, int],
        words: str,
    ) -> None:
        """
        Ten minutes at most, neither over nor from the future.
        """
        del installation
        now = int(clock().timestamp())
        answer = ask(github, "GET", "/app", signed(clock, **{name: now + by for name, by in changes.items()}))

        assert answer.status_code == 401
        assert words in answer.json()["message"]

    def test_a_signature_by_somebody_else(
        self, github: GitHubStandIn, installation: Installation, clock: Clock
    ) -> None:
        """
        Another key, no key, another algorithm: 401; an unknown App: 404.
        """
        del installation
        now = int(clock().timestamp())
        claims = {"iss": CLIENT_ID, "iat": now, "exp": now + 60}
        forged = [
            jwt.encode(claims, private_pem(name="another"), algorithm="RS256"),
            jwt.encode(claims, "s" * 64, algorithm="HS256"),
            jwt.encode(claims, "", algorithm="none"),
            "no.j.wt",
        ]

        assert [ask(github, "GET", "/app", each).status_code for each in forged] == [401] * 4
        assert ask(github, "GET", "/app", signed(clock, iss="nobody")).status_code == 404
        assert (
            ask(github, "GET", "/app", headers={"Authorization": f"token {signed(clock)}"}).status_code == 401
        )

    def mint(
        self, github: GitHubStandIn, installation: Installation, clock: Clock, **wanted: Any
    ) -> requests.Response:
        """Ask for a token."""
        path = f"/app/installations/{installation.id}/access_tokens"
        return ask(github, "POST", path, signed(clock), json=wanted)

    def test_a_token_lives_an_hour(
        self, github: GitHubStandIn, installation: Installation, clock: Clock
    ) -> None:
        """
        It is long, has dots, and ends on time.
        """
        token = self.mint(github, installation, clock).json()["token"]

        assert token.startswith(f"ghs_{installation.app.id}_")
        assert len(token) > 480
        assert token.count(".") == 2
        clock.move(minutes=59, seconds=59)
        assert dispatch(github, token).status_code == 204
        clock.move(seconds=1)
        assert dispatch(github, token).status_code == 401

    @pytest.mark.parametrize(
        "wanted",
        [
            {"permissions": {"actions": "read"}},
            {"permissions": {"contents": "write", "issues": "read"}},
            {"repositories": ["other"]},
            {"repositories": ["serving", "missing"]},
            {"repository_ids": [1]},
        ],
        ids=str,
    )
    def test_no_token_for_more_than_there_is(
        self, github: GitHubStandIn, installation: Installation, clock: Clock, wanted: dict[str, Any]
    ) -> None:
        """
        422 for a permission or a repository that the installation lacks.
        """
        github.add_repository("acme/other")

        assert self.mint(github, installation, clock, **wanted).status_code == 422

    def test_a_token_does_no_more_than_it_asked_for(
        self, github: GitHubStandIn, installation: Installation, clock: Clock
    ) -> None:
        """
        contents: read does not dispatch.
        """
        token = self.mint(github, installation, clock, permissions={"contents": "read"}).json()["token"]

        assert dispatch(github, token).json()["message"] == "Resource not accessible by integration"

    def test_an_installation_that_ends(
        self, github: GitHubStandIn, installation: Installation, clock: Clock
    ) -> None:
        """
        Suspended: no new token, and the old one is refused; uninstalled: there is nothing.
        """
        token = self.mint(github, installation, clock).json()["token"]
        github.suspend(installation)
        assert self.mint(github, installation, clock).status_code == 403
        assert dispatch(github, token).status_code == 403
        github.uninstall(installation)
        assert self.mint(github, installation, clock).status_code == 404
        assert dispatch(github, token).status_code == 401


class TestRuns:
    """What a dispatch starts."""

    @pytest.mark.parametrize(
        ("workflow", "starts"),
        [
            (Workflow("a.yml"), True),
            (Workflow("a.yml", types=("BUILD", "other")), True),
            (Workflow("a.yml", types=("other",)), False),
            (Workflow("a.yml", enabled=False), False),
        ],
        ids=["every type", "this type", "another type", "disabled"],
    )
    def test_who_listens_runs(self, clock: Clock, workflow: Workflow, starts: bool) -> None:
        """
        A dispatch is accepted either way.
        """
        with GitHubStandIn(now=clock) as github:
            github.add_repository(REPOSITORY, workflows=(workflow,))
            github.add_token(PAT, repositories=(REPOSITORY,))

            assert dispatch(github).status_code == 204
            assert len(github.runs) == starts

    def test_a_name_without_the_key(self, clock: Clock) -> None:
        """
        Without a run-name of its own a run is called by its event type.
        """
        with GitHubStandIn(now=clock) as github:
            github.add_repository(REPOSITORY, workflows=(Workflow("a.yml", run_name_shows_key=False),))
            github.add_token(PAT, repositories=(REPOSITORY,))
            dispatch(github, client_payload={"handoff": {"key": "k"}})

            assert github.runs[0].display_title == "BUILD"

    @pytest.mark.parametrize(
        ("created", "holds"),
        [
            (None, True),
            (">=2026-03-01T12:00:00Z", True),
            (">2026-03-01T12:00:00Z", False),
            ("<=2026-03-01T12:00:00Z", True),
            ("<2026-03-01T12:00:00Z", False),
            ("2026-03-01T11:00:00Z..2026-03-01T13:00:00Z", True),
            ("2026-03-01", True),
            ("2026-03-02", False),
        ],
    )
    def test_the_range_of_times(self, clock: Clock, created: str | None, holds: bool) -> None:
        """
        GitHub's range syntax, which its description does not know.
        """
        assert created_filter(created)(clock()) is holds

    def test_a_range_that_is_none(self) -> None:
        """
        Anything else is 422.
        """
        with pytest.raises(Refused):
            created_filter(">=soon")

    def test_waiting_for_a_dispatch(self, github: GitHubStandIn) -> None:
        """
        Whoever waits is woken by the dispatch, or told that it did not come.
        """
        sender = threading.Thread(target=dispatch, args=(github,))
        sender.start()
        assert len(github.wait_for_dispatches(1, timeout=5)) == 1
        sender.join()

        with pytest.raises(TimeoutError, match="got 1 dispatches"):
            github.wait_for_dispatches(2, timeout=0.01)


class TestLife:
    """The server."""

    def test_it_ends_with_connections_open(self, clock: Clock) -> None:
        """
        Neither a client that says nothing nor one that hangs keeps it up; no thread is left.
        """
        before = threading.active_count()
        with GitHubStandIn(now=clock) as github:
            github.faults.add("GET *", hang=threading.Event())
            port = int(github.url.rpartition(":")[2])
            with (
                socket.create_connection(("127.0.0.1", port)),
                socket.create_connection(("127.0.0.1", port)) as hanging,
            ):
                hanging.sendall(b"GET /app HTTP/1.1\r\nHost: x\r\n\r\n")
                github.stop()

        assert threading.active_count() == before

    def test_it_starts_again_where_it_was(self, github: GitHubStandIn) -> None:
        """
        The address stays, and so does all it knows.
        """
        address = github.url
        github.stop()
        github.start()

        assert github.url == address
        assert dispatch(github).status_code == 204

    def test_faults_pass(self, github: GitHubStandIn) -> None:
        """
        A fault strikes as often as it says, and one that accepts first has accepted.
        """
        where = f"POST /repos/{REPOSITORY}/*"
        github.faults.add(where, times=2, status=503, accept_first=True, headers={"Retry-After": "5"})

        assert [dispatch(github).status_code for _ in range(3)] == [503, 503, 204]
        assert len(github.dispatches) == 3
        github.faults.add(where, times=None, status=500)
        assert dispatch(github).status_code == 500
        github.faults.clear()
        assert dispatch(github).status_code == 204


def test_a_deployment_and_its_states(github: GitHubStandIn) -> None:
    """
    With the permission for it alone; one that waits for the commit's checks is a conflict; a state has a
    deployment, is one of GitHub's, and no long description.
    """
    path = f"/repos/{REPOSITORY}/deployments"
    wanted = {"ref": "main", "environment": "production", "required_contexts": []}
    assert ask(github, "POST", path, json=wanted).status_code == 403
    github.add_token("github_pat_2", repositories=(REPOSITORY,), permissions={"deployments": "write"})

    assert ask(github, "POST", path, "github_pat_2", json={"ref": "main"}).status_code == 409
    made = ask(github, "POST", path, "github_pat_2", json=wanted)
    assert (made.status_code, made.json()["environment"]) == (201, "production")
    for number, state, status in (
        (made.json()["id"], {"state": "success", "log_url": "https://example.com/1"}, 201),
        (made.json()["id"], {"state": "splendid"}, 422),
        (made.json()["id"], {"state": "failure", "description": "x" * 141}, 422),
        (7, {"state": "success"}, 404),
    ):
        answer = ask(github, "POST", f"{path}/{number}/statuses", "github_pat_2", json=state)
        assert answer.status_code == status

    [deployment] = github.deployments
    assert [each["state"] for each in deployment.statuses] == ["success"]
