"""Dispatches to GitHub, row by row of what may come back; GitHub's own description judges every request."""

from __future__ import annotations

import json
import socket
import ssl
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from receiver.dispatch import Outcome, OutcomeKind, RunSearch
from receiver.exchange import CredentialsError, Exchange
from receiver.github import GitHub, TokenCredentials
from receiver.run import RunsUnreadableError
from tests.receiver.fakes import Clock
from tests.receiver.github_world import (
    DISPATCHES,
    KEY,
    PAT,
    REPOSITORY,
    WORKFLOW,
    a_dispatch,
    github_at,
    seconds,
    self_signed,
)
from tests.stand_ins.github import GitHubStandIn, Workflow

BAD_GATEWAY = {"message": "Server Error"}


@pytest.fixture
def clock() -> Clock:
    """A clock that stands still."""
    return Clock()


@pytest.fixture
def github(clock: Clock) -> Iterator[GitHubStandIn]:
    """A GitHub with our repository and our token."""
    with github_at(clock) as standing:
        yield standing


@pytest.fixture
def client(github: GitHubStandIn, clock: Clock) -> GitHub:
    """What is under test."""
    return client_of(github, clock)


def client_of(github: GitHubStandIn, clock: Clock, token: str = PAT, **limits: float) -> GitHub:
    """A client with a token."""
    return GitHub(github.url, TokenCredentials(token), now=clock, exchange=Exchange(**limits))


class TestSent:
    """What goes right."""

    def test_a_dispatch_arrives_as_it_is(self, github: GitHubStandIn, client: GitHub, clock: Clock) -> None:
        """
        204 is sent; event type and payload arrive unchanged, and a listening workflow runs.
        """
        outcome = client.send(a_dispatch())

        assert (outcome.kind, outcome.reason, outcome.status) == (OutcomeKind.SENT, "sent", 204)
        [arrived] = github.dispatches
        assert (arrived.repository, arrived.event_type) == (REPOSITORY, "BUILD_AND_DEPLOY")
        assert arrived.client_payload == a_dispatch().client_payload
        assert arrived.at == clock()
        assert KEY in github.runs[0].display_title

    def test_the_request_says_who_asks_and_for_which_version(
        self, github: GitHubStandIn, client: GitHub
    ) -> None:
        """
        User-Agent, API version and media type are sent, the body as short as JSON can be, in UTF-8.
        """
        client.send(a_dispatch())

        [asked] = github.requests
        assert asked.headers["user-agent"].startswith("wandb-handoff/")
        assert asked.headers["x-github-api-version"] == "2022-11-28"
        assert asked.headers["accept"] == "application/vnd.github+json"
        assert asked.headers["authorization"] == f"Bearer {PAT}"
        assert "μοντέλο 🐍".encode() in asked.body
        assert b'","client_payload":{"' in asked.body

    def test_no_workflow_is_no_failure(self, clock: Clock) -> None:
        """
        GitHub takes a dispatch that nobody listens to, and so do we.
        """
        with github_at(clock) as github:
            github.add_repository("acme/quiet", workflows=(Workflow("ci.yml", types=("other",)),))
            github.add_token("ghp_classic", repositories=("acme/quiet",))

            outcome = client_of(github, clock, "ghp_classic").send(a_dispatch(repository="acme/quiet"))

            assert outcome.kind is OutcomeKind.SENT
            assert not github.runs

    def test_an_enterprise_server_has_a_path_of_its_own(self, clock: Clock) -> None:
        """
        A base URL with a path (GHES: /api/v3) works, with or without a slash at its end.
        """
        with GitHubStandIn(now=clock, base_path="/api/v3") as github:
            github.add_repository(REPOSITORY)
            github.add_token(PAT, repositories=(REPOSITORY,))
            client = GitHub(f"{github.url}/", TokenCredentials(PAT), now=clock)

            assert client.send(a_dispatch()).kind is OutcomeKind.SENT
            assert github.violations == []


class TestRefused:
    """What no waiting cures."""

    @pytest.mark.parametrize(
        ("fault", "reason", "words"),
        [
            pytest.param({"status": 400, "body": {"message": "Bad"}}, "bad-request", "API version", id="400"),
            pytest.param({"status": 413}, "refused-payload", "larger", id="413"),
            pytest.param({"status": 410, "body": {"message": "Gone"}}, "github-410", "Gone", id="410"),
            pytest.param({"status": 451, "body": b"<html>"}, "github-451", "451", id="451 with no JSON"),
            pytest.param(
                {"status": 403, "body": {"message": "Although you appear to have the correct authorization"}},
                "forbidden",
                "IP allow list",
                id="403 by a policy",
            ),
            pytest.param(
                {
                    "status": 403,
                    "headers": {"X-GitHub-SSO": "required; url=https://…".encode().decode("latin-1")},
                },
                "forbidden",
                "single sign-on",
                id="403 by single sign-on",
            ),
            pytest.param(
                {"status": 403, "body": {"message": "This installation has been suspended"}},
                "app-suspended",
                "unsuspend",
                id="403 suspended",
            ),
            pytest.param({"status": 302}, "moved", "nowhere", id="a redirect to nowhere"),
        ],
    )
    def test_what_cannot_be_cured_by_time(
        self, github: GitHubStandIn, client: GitHub, fault: dict[str, Any], reason: str, words: str
    ) -> None:
        """
        An answer that says no is refused, with a reason and what to do (D5).
        """
        github.faults.add(DISPATCHES, **fault)

        outcome = client.send(a_dispatch())

        assert (outcome.kind, outcome.reason) == (OutcomeKind.REFUSED, reason)
        assert words in outcome.detail
        assert outcome.status == fault["status"]
        assert len(github.requests) == 1

    def test_a_wrong_token(self, github: GitHubStandIn, clock: Clock) -> None:
        """
        A plain token that GitHub does not know is refused at once: there is no other to try.
        """
        outcome = client_of(github, clock, "github_pat_wrong").send(a_dispatch())

        assert (outcome.kind, outcome.reason) == (OutcomeKind.REFUSED, "bad-credentials")
        assert "GITHUB_TOKEN" in outcome.detail
        assert "github_pat_wrong" not in repr(outcome)
        assert len(github.requests) == 1

    def test_not_there_or_not_seen(self, client: GitHub) -> None:
        """
        GitHub says 404 for both, so we say both.
        """
        outcome = client.send(a_dispatch(repository="acme/missing"))

        assert (outcome.kind, outcome.reason) == (OutcomeKind.REFUSED, "not-found")
        assert "acme/missing does not exist" in outcome.detail
        assert "may not see it" in outcome.detail

    def test_a_missing_permission_is_named(self, github: GitHubStandIn, clock: Clock) -> None:
        """
        403 for a permission names the one that GitHub names.
        """
        github.add_token("github_pat_reader", repositories=(REPOSITORY,), permissions={"contents": "read"})

        outcome = client_of(github, clock, "github_pat_reader").send(a_dispatch())

        assert (outcome.kind, outcome.reason) == (OutcomeKind.REFUSED, "permission")
        assert "contents=write" in outcome.detail
        assert "Resource not accessible by personal access token" in outcome.detail

    def test_an_archived_repository(self, github: GitHubStandIn, clock: Clock) -> None:
        """
        403 because of the archive says so.
        """
        github.add_repository("acme/old", archived=True)
        github.add_token("github_pat_old", repositories=("acme/old",))

        outcome = client_of(github, clock, "github_pat_old").send(a_dispatch(repository="acme/old"))

        assert (outcome.kind, outcome.reason) == (OutcomeKind.REFUSED, "archived")

    @pytest.mark.parametrize(
        ("payload", "words"),
        [
            pytest.param({str(n): n for n in range(13)}, "13 were supplied", id="13 properties"),
            pytest.param(["a", "list"], "is not an object", id="no object"),
        ],
    )
    def test_a_payload_against_the_description(
        self, github: GitHubStandIn, client: GitHub, payload: Any, words: str
    ) -> None:
        """
        422 keeps GitHub's own words.
        """
        outcome = client.send(a_dispatch(client_payload=payload))

        assert (outcome.kind, outcome.reason, outcome.status) == (OutcomeKind.REFUSED, "refused-payload", 422)
        assert words in outcome.detail
        assert len(github.violations) == 1  # The description says the same.
        github.violations.clear()

    def test_a_payload_that_is_too_large(self, client: GitHub) -> None:
        """
        65,536 characters are one too many; the description does not know, GitHub does.
        """
        fits = {"x": "é" * (65_535 - len('{"x":""}'))}

        assert client.send(a_dispatch(client_payload=fits)).kind is OutcomeKind.SENT
        outcome = client.send(a_dispatch(client_payload={"x": fits["x"] + "é"}))
        assert (outcome.reason, "client_payload is too large" in outcome.detail) == ("refused-payload", True)

    @pytest.mark.parametrize("value", [float("nan"), "\ud800"], ids=["NaN", "lone surrogate"])
    def test_a_payload_that_json_cannot_write(
        self, github: GitHubStandIn, client: GitHub, value: object
    ) -> None:
        """
        What has no JSON in UTF-8 is refused before anything is sent.
        """
        outcome = client.send(a_dispatch(client_payload={"x": value}))

        assert (outcome.kind, outcome.reason) == (OutcomeKind.REFUSED, "refused-payload")
        assert not github.requests

    def test_githubs_words_are_kept_short_and_printable(self, github: GitHubStandIn, client: GitHub) -> None:
        """
        A message may hold anything; a log line and a page get a bounded, printable piece of it.
        """
        said = {
            "message": "no\x1b[31m\n\u202e::error::",
            "errors": ["a" * 900, {"field": "f", "code": "c"}, 7],
        }
        github.faults.add(DISPATCHES, status=422, body=said)

        detail = client.send(a_dispatch()).detail

        assert "no [31m ::error::; aaa" in detail
        assert len(detail) < 700
        assert detail.isprintable()


class TestThrottled:
    """What asks us to wait."""

    @pytest.mark.parametrize(
        ("header", "wait"), [("7", 7), ("120.1", 121), ("Sun, 01 Mar 2026 12:01:30 GMT", 90), (None, 60)]
    )
    def test_a_secondary_limit(
        self, github: GitHubStandIn, client: GitHub, header: str | None, wait: int
    ) -> None:
        """
        The wait is what Retry-After says, to the second; a minute when it says nothing (D3).
        """
        github.secondary_limit(retry_after=header)

        outcome = client.send(a_dispatch())

        assert (outcome.kind, outcome.reason) == (OutcomeKind.THROTTLED, "secondary-rate-limit")
        assert outcome.wait == seconds(wait)
        assert not github.dispatches
        assert client.send(a_dispatch()).kind is OutcomeKind.SENT

    def test_the_hourly_limit(self, github: GitHubStandIn, client: GitHub, clock: Clock) -> None:
        """
        With nothing left we wait until the reset, and then it goes through (D4).
        """
        github.rate_limit(PAT, remaining=1, reset=clock() + timedelta(minutes=20))
        assert client.send(a_dispatch()).kind is OutcomeKind.SENT

        outcome = client.send(a_dispatch())

        assert (outcome.kind, outcome.reason) == (OutcomeKind.THROTTLED, "rate-limited")
        assert outcome.wait == timedelta(minutes=20)
        clock.time += outcome.wait
        assert client.send(a_dispatch()).kind is OutcomeKind.SENT

    @pytest.mark.parametrize(
        "fault",
        [
            pytest.param({"status": 429}, id="429 alone"),
            pytest.param({"status": 403, "body": {"message": "API rate limit exceeded"}}, id="403 in words"),
            pytest.param(
                {"status": 403, "headers": {"X-RateLimit-Remaining": "0"}}, id="403 with nothing left"
            ),
            pytest.param({"status": 403, "headers": {"Retry-After": "60"}}, id="403 with Retry-After"),
        ],
    )
    def test_a_limit_that_says_little(
        self, github: GitHubStandIn, client: GitHub, fault: dict[str, Any]
    ) -> None:
        """
        One sign of a limit is enough; one that names no time is a minute.
        """
        github.faults.add(DISPATCHES, **fault)

        outcome = client.send(a_dispatch())

        assert (outcome.kind, outcome.wait) == (OutcomeKind.THROTTLED, seconds(60))


class TestAmbiguous:
    """What may have arrived."""

    @pytest.mark.parametrize("status", [500, 502, 503, 504, 599])
    @pytest.mark.parametrize("accept_first", [True, False], ids=["after it was accepted", "before"])
    def test_githubs_own_failure(
        self, github: GitHubStandIn, client: GitHub, status: int, accept_first: bool
    ) -> None:
        """
        After a 5xx nobody knows whether a run started, and nothing is sent twice by itself (D1).
        """
        github.faults.add(DISPATCHES, status=status, accept_first=accept_first, body=BAD_GATEWAY)

        outcome = client.send(a_dispatch())

        assert (outcome.kind, outcome.reason, outcome.status) == (OutcomeKind.AMBIGUOUS, "github-5xx", status)
        assert "Server Error" in outcome.detail
        assert len(github.requests) == 1
        assert len(github.dispatches) == accept_first

    @pytest.mark.parametrize(
        "fault", [{"reset_before": True}, {"reset_after": True}], ids=["before", "after"]
    )
    def test_a_reset_connection(self, github: GitHubStandIn, client: GitHub, fault: dict[str, bool]) -> None:
        """
        A connection that breaks once it stood may have carried the dispatch: it looks the same either way.
        """
        github.faults.add(DISPATCHES, **fault)

        outcome = client.send(a_dispatch())

        assert (outcome.kind, outcome.reason) == (OutcomeKind.AMBIGUOUS, "no-answer")
        assert "Connection reset by peer" in outcome.detail
        assert len(github.requests) == 1

    def test_an_answer_that_never_comes(self, github: GitHubStandIn, clock: Clock) -> None:
        """
        The wait for an answer ends (D7).
        """
        github.faults.add(DISPATCHES, hang=threading.Event(), accept_first=True)

        outcome = client_of(github, clock, read_seconds=0.1).send(a_dispatch())

        assert (outcome.kind, outcome.reason) == (OutcomeKind.AMBIGUOUS, "no-answer")
        assert "gave no answer in 0.1 s" in outcome.detail
        assert len(github.requests) == 1

    def test_an_answer_that_drips(self, github: GitHubStandIn, clock: Clock) -> None:
        """
        A byte now and then satisfies every read, but not the deadline for the whole (D7).
        """
        go_on = threading.Event()
        dripping = drip(b"HTTP/1.1 204 No Content\r\nServer: github.com\r\n" + b"X: y\r\n" * 10_000, go_on)
        github.faults.add(DISPATCHES, raw=dripping)

        outcome = client_of(github, clock, total_seconds=0.2).send(a_dispatch())
        go_on.set()

        assert (outcome.kind, outcome.reason) == (OutcomeKind.AMBIGUOUS, "no-answer")
        assert "did not finish its answer in 0.2 s" in outcome.detail

    def test_hops_share_one_deadline(self, github: GitHubStandIn, clock: Clock) -> None:
        """
        A chain of slow redirects takes no longer than one slow answer.
        """
        redirect = f"HTTP/1.1 307 Moved\r\nLocation: /repos/{REPOSITORY}/dispatches\r\n\r\n".encode()
        for _ in range(2):
            github.faults.add(DISPATCHES, raw=late(redirect, 0.2))

        outcome = client_of(github, clock, total_seconds=0.3).send(a_dispatch())

        assert (outcome.kind, outcome.reason) == (OutcomeKind.AMBIGUOUS, "no-answer")

    def test_an_answer_from_somebody_else(self, github: GitHubStandIn, client: GitHub) -> None:
        """
        200 with a page is not GitHub's yes.
        """
        github.faults.add(DISPATCHES, status=200, body=b"<html>Welcome to the hotel</html>")

        outcome = client.send(a_dispatch())

        assert (outcome.kind, outcome.reason) == (OutcomeKind.AMBIGUOUS, "unexpected-answer")
        assert "GITHUB_API_URL" in outcome.detail


def drip(content: bytes, go_on: threading.Event) -> Iterator[bytes]:
    """Give one byte every hundredth of a second, until told to be quick."""
    for value in content:
        go_on.wait(0.01)
        yield bytes([value])


def late(content: bytes, seconds: float) -> Iterator[bytes]:
    """Give it all, after a while."""
    threading.Event().wait(seconds)
    yield content


class TestAnswersOutOfMeasure:
    """Answers that are too long, too slow or no answer at all."""

    @pytest.mark.parametrize(
        ("status", "headers", "reason"),
        [
            pytest.param(422, {}, "refused-payload", id="a refusal"),
            pytest.param(301, {"Location": "http://127.0.0.2/x"}, "moved", id="a redirect"),
        ],
    )
    def test_an_endless_body(
        self, github: GitHubStandIn, client: GitHub, status: int, headers: dict[str, str], reason: str
    ) -> None:
        """
        Of an endless answer 64 kB are read; its status counts all the same (D8).
        """
        sent: list[int] = []

        def endless() -> Iterator[bytes]:
            while len(sent) < 10_000:
                sent.append(1)
                yield b"x" * 65_536

        github.faults.add(DISPATCHES, status=status, headers=headers, body=endless())

        outcome = client.send(a_dispatch())

        assert (outcome.kind, outcome.reason) == (OutcomeKind.REFUSED, reason)
        assert len(sent) < 10_000

    def test_a_body_that_drips(self, github: GitHubStandIn, clock: Clock) -> None:
        """
        When the status is known, a body that does not end is left.
        """
        go_on = threading.Event()
        github.faults.add(DISPATCHES, status=404, body=drip(b" " * 60_000, go_on))

        outcome = client_of(github, clock, total_seconds=0.2).send(a_dispatch())
        go_on.set()

        assert (outcome.kind, outcome.reason) == (OutcomeKind.REFUSED, "not-found")

    @pytest.mark.parametrize(
        "body", [b"\xff\xfe\x00", b"[" * 50_000, b'"text"', b"null"], ids=["bytes", "deep", "text", "null"]
    )
    def test_a_body_that_is_no_object(self, github: GitHubStandIn, client: GitHub, body: bytes) -> None:
        """
        Whatever the body is, the status decides.
        """
        github.faults.add(DISPATCHES, status=404, body=body)

        assert client.send(a_dispatch()).reason == "not-found"

    def test_a_proxy_that_shows_the_request(self, github: GitHubStandIn, client: GitHub) -> None:
        """
        A token that comes back in an error page goes no further.
        """
        github.faults.add(
            DISPATCHES, status=400, body={"message": f"cannot read Authorization: Bearer {PAT}"}
        )

        outcome = client.send(a_dispatch())

        assert "cannot read Authorization: Bearer ***" in outcome.detail


class TestUnreachable:
    """What surely did not arrive."""

    def test_a_closed_door(self, github: GitHubStandIn, client: GitHub) -> None:
        """
        What was never connected surely did not arrive: it may be sent again.
        """
        github.stop()

        outcome = client.send(a_dispatch())

        assert (outcome.kind, outcome.reason, outcome.status) == (OutcomeKind.RETRY, "unreachable", None)
        assert "Connection refused" in outcome.detail

    def test_a_door_that_closes_behind_a_redirect(self, clock: Clock) -> None:
        """
        A redirect has done nothing; when the next hop cannot be reached, nothing has arrived.
        """
        redirect = f"HTTP/1.1 307 Moved\r\nLocation: /repos/{REPOSITORY}/dispatches\r\n\r\n".encode()

        def serve() -> None:
            connection, _ = listener.accept()
            listener.close()
            with connection:
                give(connection, [redirect])

        with socket.create_server(("127.0.0.1", 0)) as listener:
            client = GitHub(f"http://127.0.0.1:{listener.getsockname()[1]}", TokenCredentials(PAT), now=clock)
            thread = threading.Thread(target=serve)
            thread.start()
            outcome = client.send(a_dispatch())
            thread.join()

        assert (outcome.kind, outcome.reason) == (OutcomeKind.RETRY, "unreachable")

    def test_tls_that_does_not_hold(self, github: GitHubStandIn, clock: Clock) -> None:
        """
        No TLS, no request: nothing was sent, and the token least of all.
        """
        client = GitHub(github.url.replace("http:", "https:"), TokenCredentials(PAT), now=clock)

        outcome = client.send(a_dispatch())

        assert (outcome.kind, outcome.reason) == (OutcomeKind.RETRY, "unreachable")
        assert not github.requests

    def test_a_certificate_of_nobody(self, clock: Clock, tmp_path: Path) -> None:
        """
        A certificate that no authority signed is named as what it is.
        """
        with tls_server(self_signed(tmp_path)) as url:
            outcome = GitHub(url, TokenCredentials(PAT), now=clock).send(a_dispatch())

        assert (outcome.kind, outcome.reason) == (OutcomeKind.RETRY, "unreachable")
        assert "certificate" in outcome.detail
        assert "REQUESTS_CA_BUNDLE" in outcome.detail

    def test_an_authority_of_our_own(
        self, clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """
        REQUESTS_CA_BUNDLE names who may sign, as for every program that uses requests (D19).
        """
        certificate = self_signed(tmp_path)
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))

        with tls_server(certificate, [b"HTTP/1.1 204 No Content\r\n\r\n"]) as url:
            outcome = GitHub(url, TokenCredentials(PAT), now=clock).send(a_dispatch())

        assert outcome.kind is OutcomeKind.SENT

    def test_tls_that_drips(self, clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """
        The deadline for the whole holds behind TLS as well (D7).
        """
        certificate = self_signed(tmp_path)
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
        dripping = drip(b"HTTP/1.1 204 No Content\r\n" + b"X: y\r\n" * 10_000, threading.Event())

        with tls_server(certificate, dripping) as url:
            client = GitHub(url, TokenCredentials(PAT), now=clock, exchange=Exchange(total_seconds=0.2))
            outcome = client.send(a_dispatch())

        assert (outcome.kind, outcome.reason) == (OutcomeKind.AMBIGUOUS, "no-answer")

    def test_a_proxy_that_is_not_there(
        self, client: GitHub, github: GitHubStandIn, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """
        Proxies come from the environment as usual; one that cannot be reached has passed nothing on (D19).
        """
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
        monkeypatch.setenv("http_proxy", f"http://user:proxy-password@127.0.0.1:{port}")
        monkeypatch.setenv("no_proxy", "")

        outcome = client.send(a_dispatch())

        assert (outcome.kind, outcome.reason) == (OutcomeKind.RETRY, "unreachable")
        assert "proxy-password" not in repr(outcome)
        assert not github.requests


def give(connection: socket.socket, answer: Iterable[bytes]) -> None:
    """Read one dispatch and answer it."""
    asked = b""
    while not asked.endswith(b"}}}"):  # All of it: a close with more to read would be a reset.
        asked += connection.recv(65_536)
    for chunk in answer:
        connection.sendall(chunk)


@contextmanager
def tls_server(certificate: Path, answer: Iterable[bytes] = ()) -> Iterator[str]:
    """A server behind TLS that gives one connection this answer; its URL."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)

    def serve() -> None:
        connection, _ = listener.accept()
        with connection, suppress(OSError), context.wrap_socket(connection, server_side=True) as secured:
            give(secured, answer)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        yield f"https://127.0.0.1:{listener.getsockname()[1]}"
        thread.join()


class TestMoved:
    """Repositories that are elsewhere now."""

    @pytest.mark.parametrize("status", [301, 302, 307, 308])
    def test_a_renamed_repository(self, github: GitHubStandIn, client: GitHub, status: int) -> None:
        """
        A redirect is followed with the same method and body, and the outcome says that the name is old (D6).
        """
        github.move_repository(REPOSITORY, "acme/serving2", status=status)

        outcome = client.send(a_dispatch())

        assert outcome.kind is OutcomeKind.SENT
        assert "name it anew in HANDOFF_REPOSITORY or the route" in outcome.detail
        assert [asked.method for asked in github.requests] == ["POST", "POST"]
        assert github.requests[0].body == github.requests[1].body
        assert [arrived.repository for arrived in github.dispatches] == ["acme/serving2"]

    @pytest.mark.parametrize(("status", "asked"), [(301, 3), (308, 3), (302, 4), (307, 4)])
    def test_what_is_permanent_is_remembered(
        self, github: GitHubStandIn, client: GitHub, status: int, asked: int
    ) -> None:
        """
        After 301 and 308 the next dispatch goes straight to the new place; after 302 and 307 it does not.
        """
        github.move_repository(REPOSITORY, "acme/serving2", status=status)

        assert [client.send(a_dispatch()).kind for _ in range(2)] == [OutcomeKind.SENT] * 2

        assert len(github.requests) == asked

    def test_a_place_that_is_gone_is_forgotten(self, github: GitHubStandIn, client: GitHub) -> None:
        """
        When the remembered place answers 404, the name is asked again: it may be in use anew.
        """
        github.move_repository(REPOSITORY, "acme/serving2")
        client.send(a_dispatch())
        github.move_repository("acme/serving2", REPOSITORY)
        github.faults.add("POST /repositories/*", status=404, body={"message": "Not Found"})

        outcome = client.send(a_dispatch())

        assert outcome.kind is OutcomeKind.SENT
        assert github.dispatches[-1].repository == REPOSITORY

    @pytest.mark.parametrize(
        "where", ["http://{other}/x", "https://{same}/x", "//{other}/x", "http://u@{same}/x", "http://["]
    )
    def test_no_token_goes_elsewhere(
        self, github: GitHubStandIn, client: GitHub, clock: Clock, where: str
    ) -> None:
        """
        Another host, port, scheme or user is not followed, and never sees our token (D6).
        """
        with GitHubStandIn(now=clock) as other:
            location = where.format(
                other=other.url.removeprefix("http://"), same=github.url.removeprefix("http://")
            )
            github.faults.add(DISPATCHES, status=307, headers={"Location": location})

            outcome = client.send(a_dispatch())

            assert (outcome.kind, outcome.reason) == (OutcomeKind.REFUSED, "moved")
            assert location in outcome.detail
            assert not other.requests
        assert len(github.requests) == 1

    def test_a_circle_ends(self, github: GitHubStandIn, client: GitHub) -> None:
        """
        Three hops are followed, a fourth is not.
        """
        location = f"{github.url}/repos/{REPOSITORY}/dispatches"
        github.faults.add(DISPATCHES, times=None, status=301, headers={"Location": location})

        outcome = client.send(a_dispatch())

        assert (outcome.kind, outcome.reason) == (OutcomeKind.REFUSED, "moved")
        assert len(github.requests) == 4


class TestCredentials:
    """What we say who we are with."""

    def test_netrc_is_never_read(
        self, github: GitHubStandIn, client: GitHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """
        A ~/.netrc for GitHub's host, as many developers have it, changes nothing.
        """
        netrc = tmp_path / "netrc"
        netrc.write_text("machine 127.0.0.1 login ada password hunter2\n")
        netrc.chmod(0o600)
        monkeypatch.setenv("NETRC", str(netrc))

        assert client.send(a_dispatch()).kind is OutcomeKind.SENT

        assert [asked.headers["authorization"] for asked in github.requests] == [f"Bearer {PAT}"]

    @pytest.mark.parametrize("token", ["", "two words", "line\n", "ключ", "\x7f"])
    def test_a_token_that_no_header_can_carry(self, token: str) -> None:
        """
        It is refused where it comes in, and not shown.
        """
        with pytest.raises(ValueError, match="printable ASCII") as caught:
            TokenCredentials(token)

        assert not token.strip() or token.strip() not in str(caught.value)

    def test_a_token_is_not_shown(self) -> None:
        """
        Neither repr nor str holds it.
        """
        assert PAT not in f"{TokenCredentials(PAT)!r} {TokenCredentials(PAT)}"

    def test_a_renewed_token_is_tried_once(self, github: GitHubStandIn, clock: Clock) -> None:
        """
        When the credentials have another token after a 401, it is tried, and the dispatch goes out once.
        """
        client = GitHub(github.url, Renewing("ghs_old", PAT), now=clock)

        assert client.send(a_dispatch()).kind is OutcomeKind.SENT
        assert len(github.requests) == 2
        assert len(github.dispatches) == 1

    def test_a_new_token_that_is_refused_too(self, github: GitHubStandIn, clock: Clock) -> None:
        """
        A token seconds old may not be known everywhere yet: that is for a retry, not for a sleep here.
        """
        client = GitHub(github.url, Renewing("ghs_old", "ghs_new"), now=clock)

        outcome = client.send(a_dispatch())

        assert (outcome.kind, outcome.reason) == (OutcomeKind.RETRY, "fresh-token-refused")
        assert len(github.requests) == 2

    def test_no_token_to_be_had(self, github: GitHubStandIn, clock: Clock) -> None:
        """
        What the credentials say becomes the outcome, and nothing is sent.
        """
        client = GitHub(github.url, Lacking(), now=clock)

        assert client.send(a_dispatch()) == Outcome(OutcomeKind.REFUSED, "app-suspended", "suspended", 403)
        assert client.find_run(a_dispatch(), clock()).why_not is not None
        assert not github.requests


class Renewing:
    """Has another token when the first is refused."""

    def __init__(self, *tokens: str) -> None:
        self._tokens = list(tokens)

    def token(self, repository: str, permissions: Mapping[str, str]) -> str:  # noqa: ARG002 - the Protocol's
        """Return the token that has not been refused."""
        return self._tokens[0]

    def patience(self, token: str) -> None:
        """None of them is new."""

    def forget(self, token: str) -> None:
        """Go on to the next."""
        self._tokens.remove(token)


class Lacking:
    """Has no token."""

    def token(self, repository: str, permissions: Mapping[str, str]) -> str:  # noqa: ARG002 - the Protocol's
        """Say why there is none."""
        raise CredentialsError.refused("app-suspended", "suspended", 403)

    def patience(self, token: str) -> None:
        """Nothing to wait for."""

    def forget(self, token: str) -> None:
        """Nothing to forget."""


class TestFindRun:
    """The look for the run of a dispatch."""

    def test_the_run_of_a_dispatch(self, github: GitHubStandIn, client: GitHub, clock: Clock) -> None:
        """
        The run that shows the key is found, by its page for people.
        """
        client.send(a_dispatch(key="another", client_payload={"handoff": {"key": "another"}}))
        client.send(a_dispatch())

        found = client.find_run(a_dispatch(), clock())

        assert found == RunSearch(url=f"https://github.com/{REPOSITORY}/actions/runs/{github.runs[1].id}")

    @pytest.mark.parametrize("key", [f"{KEY}0", f"0{KEY}", f"{KEY}-2", KEY[:-1]])
    def test_a_longer_key_is_another(
        self, github: GitHubStandIn, client: GitHub, clock: Clock, key: str
    ) -> None:
        """
        A key inside a longer one is not found.
        """
        client.send(a_dispatch(key=key, client_payload={"handoff": {"key": key}}))

        assert client.find_run(a_dispatch(), clock()) == RunSearch()
        assert len(github.runs) == 1

    def test_older_runs_do_not_count(self, client: GitHub, clock: Clock) -> None:
        """
        A run from before the attempt is not its run; clocks may be a few minutes apart.
        """
        client.send(a_dispatch())
        sent = clock()

        assert client.find_run(a_dispatch(), sent + timedelta(minutes=4)).url is not None
        assert client.find_run(a_dispatch(), sent + timedelta(minutes=6)) == RunSearch()

    def test_a_run_behind_many(self, github: GitHubStandIn, client: GitHub, clock: Clock) -> None:
        """
        All pages are looked through.
        """
        client.send(a_dispatch())
        for _ in range(100):
            github.start_run(REPOSITORY, WORKFLOW, "somebody else's")

        assert client.find_run(a_dispatch(), clock()).url is not None

    def test_after_the_repository_moved(self, github: GitHubStandIn, client: GitHub, clock: Clock) -> None:
        """
        The look follows a redirect as the dispatch does.
        """
        client.send(a_dispatch())
        github.move_repository(REPOSITORY, "acme/serving2")

        assert client.find_run(a_dispatch(), clock()).url is not None

    def test_without_the_permission(self, github: GitHubStandIn, clock: Clock) -> None:
        """
        A token that may dispatch but not read runs cannot look, which is not the same as finding nothing.
        """
        github.add_token("github_pat_sender", repositories=(REPOSITORY,), permissions={"contents": "write"})
        client = client_of(github, clock, "github_pat_sender")

        found = client.find_run(a_dispatch(), clock())

        assert found.url is None
        assert found.why_not is not None
        assert "403 Resource not accessible by personal access token" in found.why_not
        assert "actions=read" in found.why_not

    @pytest.mark.parametrize(
        ("fault", "not_now"),
        [
            pytest.param({"status": 404}, None, id="404"),
            pytest.param({"status": 422}, None, id="422"),
            pytest.param({"status": 204}, None, id="204"),
            pytest.param({"status": 500}, OutcomeKind.RETRY, id="500"),
            pytest.param({"status": 429}, OutcomeKind.THROTTLED, id="429"),
            pytest.param({"status": 200, "body": b"{"}, None, id="no JSON"),
            pytest.param({"status": 200, "body": {"workflow_runs": [1]}}, None, id="no runs"),
            pytest.param({"status": 200, "body": []}, None, id="no object"),
            pytest.param({"reset_before": True}, OutcomeKind.RETRY, id="reset"),
        ],
    )
    def test_a_look_that_fails(
        self,
        github: GitHubStandIn,
        client: GitHub,
        clock: Clock,
        fault: dict[str, Any],
        not_now: OutcomeKind | None,
    ) -> None:
        """
        Whatever goes wrong, the look could not be taken; what time may cure is told apart, and is no doubt.
        """
        github.faults.add("GET *", **fault)

        found = client.find_run(a_dispatch(), clock())

        assert found.url is None
        assert found.why_not is not None
        assert (found.not_now.kind if found.not_now else None) is not_now

    def test_nobody_there_to_look_at(self, github: GitHubStandIn, client: GitHub, clock: Clock) -> None:
        """
        Without a connection the look is for later.
        """
        github.stop()

        found = client.find_run(a_dispatch(), clock())

        assert found.not_now is not None
        assert (found.not_now.kind, found.not_now.reason) == (OutcomeKind.RETRY, "unreachable")

    def test_what_is_asked(self, github: GitHubStandIn, client: GitHub, clock: Clock) -> None:
        """
        Only runs of dispatches since then, in GitHub's own range syntax, a hundred at a time.
        """
        client.find_run(a_dispatch(), clock())

        assert github.requests[0].query == {
            "event": "repository_dispatch",
            "created": ">=2026-03-01T11:55:00Z",
            "per_page": "100",
            "page": "1",
        }


def test_the_event_that_a_runner_gets(github: GitHubStandIn, client: GitHub) -> None:
    """
    The payload reaches the event file unchanged, and the file is as GitHub describes it.
    """
    client.send(a_dispatch())

    event = github.event(github.dispatches[0])

    assert (event["action"], event["client_payload"]) == ("BUILD_AND_DEPLOY", a_dispatch().client_payload)
    assert json.loads(json.dumps(event)) == event


class TestRuns:
    """All runs of a repository, for those who follow them."""

    def test_what_dispatches_started(self, github: GitHubStandIn, client: GitHub, clock: Clock) -> None:
        """
        Each run with its state and the name that shows its key; those of another event are left out.
        """
        client.send(a_dispatch())

        (run,) = client.runs(REPOSITORY, "repository_dispatch", clock())

        assert run.id == github.runs[0].id
        assert (run.url, run.status) == (f"https://github.com/{REPOSITORY}/actions/runs/{run.id}", "queued")
        assert KEY in run.title
        assert client.runs(REPOSITORY, "workflow_dispatch", clock()) == []

    def test_what_cannot_be_read_says_when_to_ask_again(self, github: GitHubStandIn, clock: Clock) -> None:
        """
        Without the permission nobody asks again for an hour.
        """
        github.add_token("github_pat_sender", repositories=(REPOSITORY,), permissions={"contents": "write"})

        with pytest.raises(RunsUnreadableError, match="actions=read") as told:
            client_of(github, clock, "github_pat_sender").runs(REPOSITORY, "repository_dispatch", clock())

        assert told.value.wait == timedelta(hours=1)
