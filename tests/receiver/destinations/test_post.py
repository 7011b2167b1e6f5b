"""Posts to endpoints of somebody's own: signed, judged, bounded, row by row of what may come back."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from receiver import signature
from receiver.destinations.bounded import Bounded
from receiver.destinations.post import Posts
from receiver.dispatch import Outcome, OutcomeKind
from receiver.routing.route import Post
from receiver.secret import Secret
from tests.receiver.destinations.world import KEY, a_dispatch
from tests.receiver.fakes import START, Clock
from tests.stand_ins.endpoints import Endpoint, StandardWebhooksStandIn

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
TOKEN = "modal-token-0123456789"
MESSAGE = {"alias": "production", "model": "μοντέλο 🐍", "handoff": {"key": KEY}}


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    """An endpoint that takes everything."""
    with Endpoint() as standing:
        yield standing


def target(endpoint: Endpoint, **changes: Any) -> Post:
    return replace(Post(f"{endpoint.url}/ci", allow_private=True), **changes)


def send(to: Post, message: Any = MESSAGE, **others: Any) -> Outcome:
    posts = Posts({"modal": to}.get, **({"now": Clock()} | others))
    return posts.send(a_dispatch("post:modal", message))


class TestSent:
    """What goes right."""

    def test_the_message_arrives_as_it_is(self, endpoint: Endpoint) -> None:
        """
        The body is the message, its key and the bearer token are in the headers.
        """
        outcome = send(target(endpoint, token=Secret(TOKEN)))

        [arrived] = endpoint.arrived
        assert (outcome.kind, outcome.reason, outcome.status) == (OutcomeKind.SENT, "sent", 200)
        assert arrived.json == MESSAGE
        assert arrived.target == "/ci"
        assert arrived.headers["authorization"] == f"Bearer {TOKEN}"
        assert arrived.headers["idempotency-key"] == KEY
        assert "webhook-signature" not in arrived.headers

    @pytest.mark.parametrize("status", [200, 201, 202, 204])
    def test_every_yes_is_one(self, endpoint: Endpoint, status: int) -> None:
        """
        Any 2xx will do.
        """
        endpoint.faults.add("POST *", status=status)

        assert send(target(endpoint)).kind is OutcomeKind.SENT

    def test_a_receiver_of_standard_webhooks_takes_it(self) -> None:
        """
        The specification's library verifies it; sent twice it is the same message.
        """
        with StandardWebhooksStandIn(SECRET) as receiver:
            to = target(receiver, signature="standard", secret=Secret(SECRET))
            outcomes = [send(to, now=lambda: datetime.now(timezone.utc)) for _ in range(2)]

        assert [outcome.status for outcome in outcomes] == [204, 204]
        assert receiver.taken == {KEY: MESSAGE}

    def test_another_secret_is_refused(self) -> None:
        """
        The same receiver refuses what another secret has signed, and we say what to look at.
        """
        with StandardWebhooksStandIn(SECRET) as receiver:
            other = Secret("whsec_" + "A" * 32)
            outcome = send(
                target(receiver, signature="standard", secret=other), now=lambda: datetime.now(timezone.utc)
            )

        assert (outcome.kind, outcome.reason) == (OutcomeKind.REFUSED, "post-401")
        assert "secret of its signature" in outcome.detail

    def test_signed_as_wandb_signs(self, endpoint: Endpoint) -> None:
        """
        Our own check of W&B's signature takes it, under W&B's header.
        """
        send(target(endpoint, signature="wandb", secret=Secret("shared secret")))

        [arrived] = endpoint.arrived
        header = arrived.headers[signature.HEADER.lower()]
        assert signature.check(arrived.body, header, [b"shared secret"]) is signature.Encoding.HEX

    def test_by_tls_to_the_judged_address(self, certificate: Path) -> None:
        """
        A name is looked up once; the connection goes to what was judged.
        """
        looked: list[str] = []

        def lookup(host: str, port: int) -> list[tuple[Any, ...]]:
            looked.append(host)
            return [(0, 0, 0, "", ("127.0.0.1" if len(looked) == 1 else "169.254.169.254", port))]

        with Endpoint(certificate=certificate) as endpoint:
            outcome = send(target(endpoint), lookup=lookup)

        assert outcome.kind is OutcomeKind.SENT
        assert looked == ["127.0.0.1"]


class TestAddresses:
    """Where nothing is sent to."""

    @pytest.mark.parametrize("ip", ["127.0.0.1", "10.1.2.3", "169.254.169.254", "::ffff:127.0.0.1"])
    def test_a_name_for_a_private_address(self, endpoint: Endpoint, ip: str) -> None:
        """
        A public name that leads inside is refused before any connection.
        """
        to = Post(f"https://innocent.example:{endpoint.port}/", token=Secret(TOKEN))

        outcome = send(to, lookup=lambda _, port: [(0, 0, 0, "", (ip, port))])

        assert (outcome.kind, outcome.reason) == (OutcomeKind.REFUSED, "address-refused")
        assert f"innocent.example is {ip}" in outcome.detail
        assert endpoint.arrived == []

    @pytest.mark.parametrize(
        "url", ["http://innocent.example/", "https://u:p@a.example/", "file:///etc/passwd", "https://[x"]
    )
    def test_an_address_that_will_not_do(self, url: str) -> None:
        """
        What is wrong with the URL itself is refused, whoever let it through.
        """
        assert send(Post(url)).reason == "address-refused"

    def test_a_name_goes_where_it_was_judged_to_lead(self, endpoint: Endpoint) -> None:
        """
        The name is not looked up a second time: this one leads nowhere by itself.
        """
        to = Post(f"http://svc.invalid:{endpoint.port}/", allow_private=True)

        outcome = send(to, lookup=lambda _, port: [(0, 0, 0, "", ("127.0.0.1", port))])

        assert outcome.kind is OutcomeKind.SENT

    def test_plain_http_stays_inside(self) -> None:
        """
        Plain http, with allow_private, is for private addresses: a public one is refused.
        """
        outcome = send(
            Post("http://svc.example/", allow_private=True),
            lookup=lambda _, port: [(0, 0, 0, "", ("1.1.1.1", port))],
        )

        assert outcome.reason == "address-refused"
        assert "only https" in outcome.detail

    def test_a_redirect_to_the_inside(self, endpoint: Endpoint) -> None:
        """
        Whoever answers with a redirect does not choose where we go.
        """
        endpoint.faults.add("POST *", status=307, headers={"Location": "http://169.254.169.254/latest/"})

        outcome = send(target(endpoint))

        assert (outcome.kind, outcome.reason) == (OutcomeKind.REFUSED, "redirected")
        assert len(endpoint.arrived) == 1

    @pytest.mark.parametrize("location", ["", "/elsewhere", "https://[x"])
    def test_a_redirect_that_names_no_host(self, endpoint: Endpoint, location: str) -> None:
        """
        It is refused all the same.
        """
        endpoint.faults.add("POST *", status=301, headers={"Location": location})

        outcome = send(target(endpoint))

        assert outcome.reason == "redirected"
        assert "redirects elsewhere (301)" in outcome.detail

    def test_no_name_server(self) -> None:
        """
        A name that cannot be looked up now may be later.
        """
        outcome = send(Post("https://gone.example/"), lookup=lambda *_: [])

        assert (outcome.kind, outcome.reason) == (OutcomeKind.RETRY, "unreachable")


class TestNotSent:
    """What cannot be sent at all."""

    def test_a_route_that_is_gone(self) -> None:
        """
        A route that was taken out of the configuration is refused by its name.
        """
        outcome = Posts(lambda _: None).send(a_dispatch("post:modal", MESSAGE))

        assert (outcome.kind, outcome.reason) == (OutcomeKind.REFUSED, "route-gone")
        assert "'modal'" in outcome.detail

    @pytest.mark.parametrize(
        "message", [{"loss": float("nan")}, {"name": "\ud800"}], ids=["nan", "surrogate"]
    )
    def test_what_is_no_json(self, endpoint: Endpoint, message: Any) -> None:
        """
        What JSON has no word for is refused, not sent as something else.
        """
        assert send(target(endpoint), message).reason == "refused-payload"
        assert endpoint.arrived == []

    @pytest.mark.parametrize(
        "changes",
        [
            {"token": Secret("to ken")},
            {"token": Secret("")},
            {"signature": "standard", "secret": Secret("hunter2!")},
        ],
        ids=["a token with a space", "an empty token", "no base64"],
    )
    def test_a_credential_that_will_not_do(self, endpoint: Endpoint, changes: dict[str, Any]) -> None:
        """
        It is refused with what is wanted, and not shown.
        """
        outcome = send(target(endpoint, **changes))

        assert outcome.reason == "refused-payload"
        assert "hunter2" not in outcome.detail
        assert endpoint.arrived == []


class TestAnswers:
    """What may come back."""

    @pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 410, 413, 418, 422])
    def test_a_no_is_final(self, endpoint: Endpoint, status: int) -> None:
        """
        Each 4xx is refused by its number, in the endpoint's own words beside ours.
        """
        endpoint.faults.add("POST *", status=status, body={"error": f"no {TOKEN}"})

        outcome = send(target(endpoint, token=Secret(TOKEN)))

        assert (outcome.kind, outcome.reason, outcome.status) == (
            *(OutcomeKind.REFUSED, f"post-{status}"),
            status,
        )
        assert outcome.detail.endswith(f"({status}: no ***)")

    @pytest.mark.parametrize("body", [b"<html>no</html>", b"", b"[1]", {"error": {"a": 1}}, {"detail": ""}])
    def test_a_page_is_not_quoted(self, endpoint: Endpoint, body: Any) -> None:
        """
        Where the endpoint says nothing readable, its status is all that is told.
        """
        endpoint.faults.add("POST *", status=404, body=body)

        assert send(target(endpoint)).detail.endswith("(404)")

    def test_words_are_cut(self, endpoint: Endpoint) -> None:
        """
        A long answer is quoted in part, on one line.
        """
        endpoint.faults.add("POST *", status=404, body=b"so\n" * 500)

        detail = send(target(endpoint)).detail
        assert "so so so" in detail
        assert detail.endswith("…)")
        assert len(detail) < 500

    @pytest.mark.parametrize("status", [408, 500, 502, 503, 504])
    def test_a_failure_leaves_doubt(self, endpoint: Endpoint, status: int) -> None:
        """
        It may have acted on it: that is for the dispatcher to weigh.
        """
        endpoint.faults.add("POST *", status=status)

        outcome = send(target(endpoint))

        assert (outcome.kind, outcome.reason) == (OutcomeKind.AMBIGUOUS, "post-5xx")

    def test_neither_yes_nor_no(self, endpoint: Endpoint) -> None:
        """
        A status that means nothing here leaves doubt, too.
        """
        endpoint.faults.add("POST *", status=304)

        assert send(target(endpoint)).kind is OutcomeKind.AMBIGUOUS

    def test_no_answer_in_the_route_s_time(self, endpoint: Endpoint) -> None:
        """
        ``timeout`` is how long the answer may take.
        """
        endpoint.faults.add("POST *", hang=threading.Event())

        outcome = send(target(endpoint, timeout=timedelta(seconds=0.1)))

        assert (outcome.kind, outcome.reason) == (OutcomeKind.AMBIGUOUS, "no-answer")

    def test_asked_to_wait(self, endpoint: Endpoint) -> None:
        """
        Retry-After is heeded.
        """
        endpoint.faults.add("POST *", status=429, headers={"Retry-After": "7"})

        outcome = send(target(endpoint), bounded=Bounded())

        assert (outcome.kind, outcome.wait) == (OutcomeKind.THROTTLED, timedelta(seconds=7))


def test_there_is_no_run_to_find() -> None:
    """
    An endpoint cannot be asked what it has seen.
    """
    search = Posts(lambda _: None).find_run(a_dispatch("post:modal", {}), START)

    assert search.url is None
    assert search.why_not is not None
