"""A destination for notices: channels in Slack and Microsoft Teams."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from enum import Enum
from typing import Any
from urllib.parse import urlsplit

from receiver.answer import Answer
from receiver.destinations import slack, teams
from receiver.destinations.bounded import Bounded, Post, json_of
from receiver.destinations.outcomes import Party, outcome_of
from receiver.dispatch import Dispatch, Outcome, OutcomeKind, RunSearch
from receiver.exchange import NoAnswerError, NotSentError
from receiver.notice import Notice
from receiver.secret import Secret

PREFIX = "notice:"
_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


class Style(Enum):
    """How a channel wants its messages."""

    SLACK = "slack"
    ADAPTIVE = "adaptive"
    MESSAGE_CARD = "messagecard"


@dataclass(frozen=True)
class Channel:
    """Where notices go; who has the address may write there, so it is a secret."""

    url: Secret
    style: Style


def wrong_with_channel_url(url: str) -> str | None:
    """Say what is wrong with a channel's address, and show nothing of it; None when nothing is."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return "is no URL"
    if parts.scheme == "https" or (parts.scheme == "http" and host in _LOOPBACK):
        good = bool(host) and parts.username is None and url.isascii() and re.search(r"\s", url) is None
        return None if good else "is no URL of a webhook"
    return "want an address that begins with https://"


class Channels:
    """Tells channels.  A notice that comes twice does no harm, so where it is unsure it is sent again.

    Args:
        targets: The channel of a name, as the running configuration has it; None when it is gone.
    """

    def __init__(
        self,
        targets: Callable[[str], Channel | None],
        *,
        now: Callable[[], datetime] = lambda: datetime.now(timezone.utc),
        bounded: Bounded | None = None,
    ) -> None:
        self._targets = targets
        self._now = now
        self._bounded = Bounded() if bounded is None else bounded

    def send(self, dispatch: Dispatch) -> Outcome:
        """Try once to tell it.  Raises nothing: whatever happens is an outcome."""
        name = dispatch.repository.removeprefix(PREFIX)
        channel = self._targets(name)
        if channel is None:
            detail = f"the configuration has no channel {name!r} any more: add it and redeliver"
            return Outcome(OutcomeKind.REFUSED, "channel-gone", detail)
        try:
            body = json_of(_shown(Notice.from_message(dispatch.client_payload), channel.style))
        except ValueError as error:
            return Outcome(OutcomeKind.REFUSED, "refused-payload", f"the notice cannot be shown: {error}")
        try:
            answer = self._bounded.send(Post(channel.url.value, body, hide=(channel.url,)))
        except (NotSentError, NoAnswerError) as error:
            return Outcome(OutcomeKind.RETRY, error.reason, str(error))
        return outcome_of(_as_meant(answer, channel.style), _PARTIES[channel.style], self._now())

    def find_run(self, dispatch: Dispatch, since: datetime) -> RunSearch:  # noqa: ARG002 - there is nothing to look at
        """Find none: a channel cannot be asked what was said in it."""
        return RunSearch(why_not="a channel cannot be asked what was said in it")


def _shown(notice: Notice, style: Style) -> dict[str, Any]:
    if style is Style.SLACK:
        return slack.message(notice)
    return teams.adaptive_card(notice) if style is Style.ADAPTIVE else teams.message_card(notice)


def _as_meant(answer: Answer, style: Style) -> Answer:
    """The answer with the status it should have: an older connector says 200 and the failure in words."""
    told = re.search(rb"HTTP error ([45][0-9][0-9])", answer.body)
    if style is Style.MESSAGE_CARD and answer.status == _OK and told is not None:
        return replace(answer, status=int(told[1]))
    return answer


_OK = 200
_SLACK = Party(
    "Slack",
    failed="slack-5xx",
    refused="slack-refused",
    if_unsure=OutcomeKind.RETRY,
    otherwise="is the channel's webhook still good?",
    advice={
        400: "it does not take the message; if it is one of ours, please report it",
        403: "the webhook may not post there: make a new one in the Slack app and set it",
        404: "the webhook is gone, or its app was removed: make a new one and set it",
        410: "the channel is archived: unarchive it, or make a webhook for another",
    },
)
_TEAMS = Party(
    "Teams",
    failed="teams-5xx",
    refused="teams-refused",
    if_unsure=OutcomeKind.RETRY,
    otherwise="is the workflow behind the webhook still good?",
    advice={
        400: "it does not take the message: is the flow the one for webhook requests?",
        401: "the signature in the address (sig=…) is wrong: copy the whole address again",
        403: "the flow takes requests from within the tenant alone: let anyone trigger it",
        404: "the flow is gone or turned off: turn it on, or make a new one and set its address",
        410: "the connector is retired: make a webhook with the Workflows app",
        413: "the message is larger than Teams takes; please report it",
    },
)
_PARTIES = {Style.SLACK: _SLACK, Style.ADAPTIVE: _TEAMS, Style.MESSAGE_CARD: _TEAMS}
