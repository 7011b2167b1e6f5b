"""Notices on their way to Slack and Teams, row by row of what may come back."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest

from receiver.destinations.bounded import Bounded
from receiver.destinations.channels import Channel, Channels, Style, wrong_with_channel_url
from receiver.dispatch import Outcome, OutcomeKind
from receiver.secret import Secret
from tests.receiver.destinations.world import a_dispatch, a_notice
from tests.receiver.fakes import START, Clock
from tests.stand_ins.endpoints import SlackStandIn, TeamsStandIn

SECRET = "webhook-secret"


@pytest.fixture
def slack() -> Iterator[SlackStandIn]:
    """A Slack with one channel."""
    with SlackStandIn() as standing:
        yield standing


@pytest.fixture
def teams() -> Iterator[TeamsStandIn]:
    """A Teams with one channel."""
    with TeamsStandIn() as standing:
        yield standing


def send(url: str, style: Style = Style.SLACK, **limits: float) -> Outcome:
    channel = Channel(Secret(url), style)
    channels = Channels({"ml": channel}.get, now=Clock(), bounded=Bounded(**limits))
    return channels.send(a_dispatch("notice:ml", a_notice().to_message()))


def test_slack_is_told(slack: SlackStandIn) -> None:
    """
    Slack takes the message and shows it.
    """
    outcome = send(slack.url)

    assert (outcome.kind, outcome.reason, outcome.status) == (OutcomeKind.SENT, "sent", 200)
    assert "Promotion dispatched" in slack.posts[0]["text"]


def test_teams_is_told(teams: TeamsStandIn) -> None:
    """
    A workflow takes the Adaptive Card and says 202; a connector takes the older form where that is asked for.
    """
    assert (send(teams.url, Style.ADAPTIVE).kind, send(teams.url, Style.ADAPTIVE).status) == (
        OutcomeKind.SENT,
        202,
    )
    assert send(teams.connector_url, Style.MESSAGE_CARD).kind is OutcomeKind.SENT
    assert [card.get("type") or card["@type"] for card in teams.cards] == [
        *("AdaptiveCard", "AdaptiveCard", "MessageCard")
    ]


def test_a_channel_that_is_gone() -> None:
    """
    A channel that was taken out of the configuration is refused by its name.
    """
    outcome = Channels(lambda _: None).send(a_dispatch("notice:ml", a_notice().to_message()))

    assert (outcome.kind, outcome.reason) == (OutcomeKind.REFUSED, "channel-gone")
    assert "'ml'" in outcome.detail


@pytest.mark.parametrize("message", [{}, {"what": 3}, {**a_notice().to_message(), "author": "\ud800"}])
def test_what_cannot_be_shown_is_refused(slack: SlackStandIn, message: dict[str, object]) -> None:
    """
    A row that holds no notice is refused; a letter that is none is shown as a space.
    """
    channels = Channels({"ml": Channel(Secret(slack.url), Style.SLACK)}.get)

    outcome = channels.send(a_dispatch("notice:ml", message))

    wanted = "sent" if "author" in message else "refused-payload"
    assert outcome.reason == wanted


class TestRefused:
    """What only a person can cure, told by what to do."""

    @pytest.mark.parametrize(
        ("spoil", "status", "words"),
        [
            pytest.param(lambda slack: setattr(slack, "archived", True), 410, "unarchive", id="archived"),
            pytest.param(
                lambda slack: slack.faults.add("POST *", status=403, body=b"invalid_token"),
                403,
                "make a new one",
                id="403",
            ),
            pytest.param(
                lambda slack: slack.faults.add("POST *", status=400, body=b"invalid_blocks"),
                400,
                "invalid_blocks",
                id="400",
            ),
            pytest.param(
                lambda slack: slack.faults.add("POST *", status=418),
                418,
                "still good",
                id="never seen before",
            ),
        ],
    )
    def test_slack_says_no(
        self, slack: SlackStandIn, spoil: Callable[[SlackStandIn], None], status: int, words: str
    ) -> None:
        """
        Slack's word is quoted beside what to do.
        """
        spoil(slack)

        outcome = send(slack.url)

        assert (outcome.kind, outcome.reason, outcome.status) == (
            OutcomeKind.REFUSED,
            "slack-refused",
            status,
        )
        assert words in outcome.detail
        assert SECRET not in outcome.detail

    def test_the_webhook_is_gone(self, slack: SlackStandIn) -> None:
        """
        Another path is a webhook that Slack does not know.
        """
        outcome = send(slack.url.replace("B0000", "B9999"))

        assert outcome.reason == "slack-refused"
        assert outcome.detail.endswith("(404: no_service)")

    @pytest.mark.parametrize(
        ("change", "status", "words"),
        [
            (("sig=", "sig=x"), 401, "copy the whole address"),
            (("/workflows/", "/workflowz/"), 404, "turn it on"),
        ],
    )
    def test_teams_says_no(
        self, teams: TeamsStandIn, change: tuple[str, str], status: int, words: str
    ) -> None:
        """
        So are Microsoft's.
        """
        outcome = send(teams.url.replace(*change), Style.ADAPTIVE)

        assert (outcome.kind, outcome.reason, outcome.status) == (
            OutcomeKind.REFUSED,
            "teams-refused",
            status,
        )
        assert words in outcome.detail
        assert SECRET not in outcome.detail

    def test_an_address_that_comes_back_is_not_shown(self, slack: SlackStandIn) -> None:
        """
        Some servers show the address in their errors: it is the secret.
        """
        slack.faults.add("POST *", status=400, body=f"no {slack.url}".encode())

        assert send(slack.url).detail.endswith("(400: no ***)")

    def test_a_redirect_goes_nowhere(self, slack: SlackStandIn) -> None:
        """
        It is told by the host alone.
        """
        slack.faults.add("POST *", status=302, headers={"Location": f"https://other.example/{SECRET}?x"})

        outcome = send(slack.url)

        assert (outcome.kind, outcome.reason) == (OutcomeKind.REFUSED, "redirected")
        assert "redirects to other.example" in outcome.detail
        assert SECRET not in outcome.detail


class TestLater:
    """What time may cure: a notice that comes twice does no harm."""

    @pytest.mark.parametrize(
        ("status", "headers", "wait"),
        [
            (429, {"Retry-After": "30"}, timedelta(seconds=30)),
            (429, {}, timedelta(seconds=60)),
            (503, {"Retry-After": "5"}, timedelta(seconds=5)),
        ],
    )
    def test_a_rate_limit_is_waited_for(
        self, slack: SlackStandIn, status: int, headers: dict[str, str], wait: timedelta
    ) -> None:
        """
        As long as the server asks for, else a minute.
        """
        slack.faults.add("POST *", status=status, headers=headers)

        outcome = send(slack.url)

        assert (outcome.kind, outcome.reason, outcome.wait) == (OutcomeKind.THROTTLED, "asked-to-wait", wait)

    @pytest.mark.parametrize("status", [408, 500, 502, 503, 504])
    def test_a_failure_is_tried_again(self, slack: SlackStandIn, status: int) -> None:
        """
        Also where nobody knows whether it was shown.
        """
        slack.faults.add("POST *", status=status, accept_first=True)

        outcome = send(slack.url)

        assert (outcome.kind, outcome.reason) == (OutcomeKind.RETRY, "slack-5xx")

    def test_no_answer_is_tried_again(self, slack: SlackStandIn) -> None:
        """
        A message that Slack is silent about is sent again.
        """
        slack.faults.add("POST *", hang=threading.Event())

        outcome = send(slack.url, read_seconds=0.1)

        assert (outcome.kind, outcome.reason) == (OutcomeKind.RETRY, "no-answer")

    def test_nobody_there(self) -> None:
        """
        So is one that never left, and the address stays a secret.
        """
        outcome = send(f"http://127.0.0.1:1/{SECRET}")

        assert (outcome.kind, outcome.reason) == (OutcomeKind.RETRY, "unreachable")
        assert SECRET not in outcome.detail

    @pytest.mark.parametrize(
        ("told", "kind"),
        [
            (b"returned HTTP error 429 with ContextId x", OutcomeKind.THROTTLED),
            (b"returned HTTP error 413 with ContextId x", OutcomeKind.REFUSED),
            (b"returned HTTP error 502 with ContextId x", OutcomeKind.RETRY),
        ],
    )
    def test_a_connector_fails_in_words(self, teams: TeamsStandIn, told: bytes, kind: OutcomeKind) -> None:
        """
        An older connector says 200 and means something else.
        """
        teams.in_words.append(b"Webhook message delivery failed with error: Microsoft Teams endpoint " + told)

        assert send(teams.connector_url, Style.MESSAGE_CARD).kind is kind


def test_there_is_no_run_to_find() -> None:
    """
    A channel cannot be asked whether it was told.
    """
    search = Channels(lambda _: None).find_run(a_dispatch("notice:ml", {}), START)

    assert search.url is None
    assert search.why_not is not None


@pytest.mark.parametrize(
    ("url", "good"),
    [
        ("https://hooks.slack.com/services/T/B/x", True),
        ("http://127.0.0.1:8080/services", True),
        ("http://hooks.slack.com/services", False),
        ("https://user@hooks.slack.com/", False),
        ("https://hooks.slack.com/a b", False),
        ("https://", False),
        ("https://[x", False),
        ("hooks.slack.com/services", False),
    ],
)
def test_a_channel_has_an_https_address(url: str, good: bool) -> None:
    """
    What is wrong with one is said without showing it.
    """
    wrong = wrong_with_channel_url(url)

    assert (wrong is None) is good
    assert url not in (wrong or "")
