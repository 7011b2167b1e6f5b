"""The stand-ins for Slack, Teams and Launch refuse what the real ones refuse; Slack's SDK is a judge."""

from __future__ import annotations

import json
from typing import Any

import pytest
import requests
from slack_sdk.errors import SlackObjectFormationError
from slack_sdk.models.blocks import Block
from slack_sdk.webhook import WebhookClient

from tests.stand_ins.endpoints import LaunchStandIn, SlackStandIn, TeamsStandIn
from tests.stand_ins.endpoints.launch import KEY

SECTION = {"type": "section", "text": {"type": "mrkdwn", "text": "Hello"}}
FIELD = {"type": "mrkdwn", "text": "x"}


def text(kind: str, length: int) -> dict[str, Any]:
    return {"type": kind, "text": "x" * length}


TOO_MUCH = [
    pytest.param([{"type": "header", "text": text("plain_text", 151)}], id="header"),
    pytest.param([{"type": "section", "text": text("mrkdwn", 3001)}], id="section"),
    pytest.param([{"type": "section", "fields": [FIELD] * 11}], id="fields"),
    pytest.param([{"type": "section"}], id="empty section"),
    pytest.param([{"type": "context", "elements": [FIELD] * 11}], id="context"),
]
NOT_IN_THE_SDK = [
    pytest.param([SECTION] * 51, id="blocks"),
    pytest.param([{"type": "section", "fields": [text("mrkdwn", 2001)]}], id="field"),
    pytest.param([{"type": "section", "text": text("mrkdwn", 0)}], id="no letter"),
    pytest.param([{"type": "header", "text": text("mrkdwn", 5)}], id="header with markup"),
    pytest.param([{"type": "dance"}], id="unknown"),
    pytest.param([{"type": "section", "text": "Hello"}], id="bare text"),
    pytest.param([SECTION | {"colour": "red"}], id="unknown key"),
]


def test_slacks_own_client_is_served() -> None:
    """
    The SDK sends a message, and is told ``ok``.
    """
    with SlackStandIn() as slack:
        response = WebhookClient(slack.url).send(text="Hello", blocks=[SECTION, {"type": "divider"}])

    assert (response.status_code, response.body) == (200, "ok")
    assert slack.posts[0]["blocks"][0] == SECTION


@pytest.mark.parametrize("blocks", [*TOO_MUCH, *NOT_IN_THE_SDK])
def test_slack_refuses_blocks(blocks: list[dict[str, Any]]) -> None:
    """
    What is over a limit, or no block at all, is invalid.
    """
    with SlackStandIn() as slack:
        answer = requests.post(slack.url, json={"text": "x", "blocks": blocks}, timeout=5)

    assert (answer.status_code, answer.text) == (400, "invalid_blocks")


@pytest.mark.parametrize("blocks", TOO_MUCH)
def test_the_sdk_knows_the_same_limits(blocks: list[dict[str, Any]]) -> None:
    """
    Slack's own models refuse them before they are sent.
    """
    [block] = Block.parse_all(blocks)

    with pytest.raises(SlackObjectFormationError):
        block.validate_json()


@pytest.mark.parametrize(
    ("body", "words"),
    [(b"{", "invalid_payload"), (b"[]", "invalid_payload"), (b'{"blocks": []}', "no_text")],
)
def test_slack_refuses_what_is_no_message(body: bytes, words: str) -> None:
    """
    Slack says why in one word.
    """
    with SlackStandIn() as slack:
        answer = requests.post(slack.url, body, headers={"Content-Type": "application/json"}, timeout=5)

    assert (answer.status_code, answer.text) == (400, words)


def card(*body: dict[str, Any]) -> dict[str, Any]:
    content = {"type": "AdaptiveCard", "version": "1.4", "body": list(body)}
    kind = "application/vnd.microsoft.card.adaptive"
    return {"type": "message", "attachments": [{"contentType": kind, "content": content}]}


@pytest.mark.parametrize(
    ("message", "status"),
    [
        pytest.param(card({"type": "TextBlock", "text": "Hello", "wrap": True}), 202, id="good"),
        pytest.param(card({"type": "TextBlock"}), 400, id="no text"),
        pytest.param(card({"type": "Dance"}), 400, id="unknown"),
        pytest.param(card({"type": "TextBlock", "text": "x", "colour": "red"}), 400, id="unknown key"),
        pytest.param(card({"type": "Container", "items": [{"type": "Dance"}]}), 400, id="unknown inside"),
        pytest.param({"text": "Hello"}, 400, id="no card"),
        pytest.param({"type": "message", "attachments": [{"contentType": "x"}]}, 400, id="another card"),
        pytest.param(card({"type": "TextBlock", "text": "x" * 30_000}), 413, id="too large"),
    ],
)
def test_teams_takes_cards_alone(message: dict[str, Any], status: int) -> None:
    """
    A workflow takes a message with an Adaptive Card that Teams can show, up to 28 kB.
    """
    with TeamsStandIn() as teams:
        answer = requests.post(teams.url, json=message, timeout=5)

    assert answer.status_code == status
    assert len(teams.cards) == (status == 202)


def test_a_connector_wants_a_summary() -> None:
    """
    The older form needs one.
    """
    with TeamsStandIn() as teams:
        answers = [
            requests.post(teams.connector_url, json=body, timeout=5) for body in ({}, {"summary": "Hello"})
        ]

    assert [(answer.status_code, answer.text) for answer in answers] == [
        (400, "Summary or Text is required."),
        (200, "1"),
    ]


@pytest.mark.parametrize(
    "body",
    [{"query": "mutation { dance { id } }", "variables": {}}, []],
    ids=["unknown mutation", "no document"],
)
def test_launch_validates_documents(body: Any) -> None:
    """
    A mutation that W&B does not have is refused.
    """
    with LaunchStandIn() as wandb:
        headers = {"Content-Type": "application/json"}
        answer = requests.post(
            f"{wandb.url}/graphql", json.dumps(body), headers=headers, auth=("api", KEY), timeout=5
        )

    assert answer.status_code == 400
    assert wandb.items == []
