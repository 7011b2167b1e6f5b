"""Slack's incoming webhooks, as far as Slack publishes what it takes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from tests.stand_ins.endpoints.endpoint import Arrived, Endpoint, Said, json_of

PATH = "/services/T0000/B0000/slack-webhook-secret"
_MOST_BLOCKS, _LONGEST_HEADER, _LONGEST_TEXT, _MOST_FIELDS, _LONGEST_FIELD = 50, 150, 3000, 10, 2000
_MOST_ELEMENTS = 10
_BLOCKS = {
    "header": {"type", "text", "block_id"},
    "section": {"type", "text", "fields", "accessory", "block_id", "expand"},
    "context": {"type", "elements", "block_id"},
    "divider": {"type", "block_id"},
}


class SlackStandIn(Endpoint):
    """One channel, by ``url``.

    Attributes:
        posts: The messages that were shown.
        archived: Whether the channel is.
    """

    def __init__(self) -> None:
        super().__init__()
        self.posts: list[dict[str, Any]] = []
        self.archived = False

    @property
    def url(self) -> str:
        """The address of the webhook."""
        return f"{super().url}{PATH}"

    def decide(self, arrived: Arrived) -> Said:
        """Slack's answer: ``ok``, or one word in plain text."""
        if arrived.path != PATH:
            return Said(404, b"no_service")
        if self.archived:
            return Said(410, b"channel_is_archived")
        message = json_of(arrived)
        if not isinstance(message, dict):
            return Said(400, b"invalid_payload")
        if not message.get("text") and not message.get("blocks"):
            return Said(400, b"no_text")
        if not blocks_are_good(message.get("blocks", [])):
            return Said(400, b"invalid_blocks")
        self.posts.append(message)
        return Said(200, b"ok")


def blocks_are_good(blocks: Any) -> bool:
    """Whether Slack shows them."""
    return isinstance(blocks, list) and len(blocks) <= _MOST_BLOCKS and all(map(_is_good, blocks))


def _is_good(block: Any) -> bool:
    if not isinstance(block, dict) or not set(block) <= _BLOCKS.get(str(block.get("type")), set()):
        return False
    if block["type"] == "header":
        return _is_text(block["text"], _LONGEST_HEADER) and block["text"]["type"] == "plain_text"
    if block["type"] == "section":
        fields = block.get("fields", [])
        some = bool(fields) or "text" in block
        good = _is_text(block["text"], _LONGEST_TEXT) if "text" in block else True
        return (
            some
            and good
            and len(fields) <= _MOST_FIELDS
            and all(_is_text(each, _LONGEST_FIELD) for each in fields)
        )
    if block["type"] == "context":
        elements = block.get("elements", [])
        return 0 < len(elements) <= _MOST_ELEMENTS and all(_is_text(each, _LONGEST_TEXT) for each in elements)
    return True


def _is_text(text: Any, longest: int) -> bool:
    if not isinstance(text, dict) or text.get("type") not in {"plain_text", "mrkdwn"}:
        return False
    allowed = {"type", "text"} | ({"emoji"} if text["type"] == "plain_text" else {"verbatim"})
    return set(text) <= allowed and isinstance(text.get("text"), str) and 0 < len(text["text"]) <= longest


def everything_read(message: dict[str, Any]) -> Iterator[str]:
    """Every text of a message in which Slack looks for markup."""
    yield message["text"]
    for block in message["blocks"]:
        for text in (block.get("text"), *block.get("fields", []), *block.get("elements", [])):
            if text is not None and text["type"] == "mrkdwn":
                yield text["text"]


def mentions(message: dict[str, Any]) -> list[str]:
    """What would call people or name channels: ``<!here>``, ``<@U1>``, ``<#C1>``."""
    return [found for text in everything_read(message) for found in re.findall(r"<[!@#][^>]*>", text)]


def linked(message: dict[str, Any]) -> list[tuple[str, str]]:
    """The links: address and words."""
    found = [
        pair for text in everything_read(message) for pair in re.findall(r"<([^!@#|>][^|>]*)\|([^>]*)>", text)
    ]
    return [(url.replace("&amp;", "&"), words) for url, words in found]


def emphasised(message: dict[str, Any]) -> str:
    """What is left for Slack's emphasis once code is taken out."""
    texts = (re.sub(r"```.*?```|`[^`]*`", "", text, flags=re.DOTALL) for text in everything_read(message))
    return "\n".join(texts)
