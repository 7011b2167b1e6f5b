"""Teams' webhooks, of Workflows and of the older connectors, as far as Microsoft publishes what they take."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from tests.stand_ins.endpoints.endpoint import Arrived, Endpoint, Said, json_of

PATH = "/workflows/0123/triggers/manual/paths/invoke"
QUERY = "api-version=2016-06-01&sig=teams-webhook-secret"
CONNECTOR = "/webhookb2/0123@4567/IncomingWebhook/teams-webhook-secret"
LARGEST = 28 * 1024
_CARD = "application/vnd.microsoft.card.adaptive"
# Of version 1.4: what each element must have, and may have beside.
_SHARED = {"type", "id", "separator", "spacing", "isVisible", "height", "fallback", "requires"}
_ELEMENTS = {
    "TextBlock": ({"text"}, {"size", "weight", "wrap", "color", "isSubtle", "maxLines", "fontType", "style"}),
    "RichTextBlock": ({"inlines"}, {"horizontalAlignment"}),
    "TextRun": ({"text"}, {"size", "weight", "color", "isSubtle", "italic", "strikethrough", "fontType"}),
    "Container": ({"items"}, {"style", "bleed", "selectAction", "minHeight"}),
    "ColumnSet": (set[str](), {"columns", "style", "bleed", "selectAction"}),
    "Column": (set[str](), {"items", "width", "style", "bleed"}),
    "FactSet": ({"facts"}, set[str]()),
}
_PARTS = ("items", "columns", "inlines")


class TeamsStandIn(Endpoint):
    """One channel, by ``url`` of a workflow or ``connector_url`` of an older connector.

    Attributes:
        cards: The cards that were shown.
        in_words: A failure that the connector tells in words, with the status 200, as they do.
    """

    def __init__(self) -> None:
        super().__init__()
        self.cards: list[dict[str, Any]] = []
        self.in_words: list[bytes] = []

    @property
    def url(self) -> str:
        """The address of the workflow."""
        return f"{super().url}{PATH}?{QUERY}"

    @property
    def connector_url(self) -> str:
        """The address of the connector."""
        return f"{super().url}{CONNECTOR}"

    def decide(self, arrived: Arrived) -> Said:
        """Teams' answer."""
        if arrived.target == CONNECTOR:
            return self._connector(arrived)
        if arrived.path != PATH:
            return _failed(404, "WorkflowNotFound", "The workflow could not be found.")
        if arrived.target != f"{PATH}?{QUERY}":
            return _failed(401, "DirectApiAuthorizationRequired", "The signature does not fit.")
        message = json_of(arrived)
        if len(arrived.body) > LARGEST:
            return _failed(413, "RequestEntityTooLarge", "The message is too large.")
        cards = list(_cards(message))
        if not cards or not all(card_is_good(card) for card in cards):
            return _failed(400, "TriggerInputSchemaMismatch", "The input does not fit.")
        self.cards += cards
        return Said(202)

    def _connector(self, arrived: Arrived) -> Said:
        if self.in_words:
            return Said(200, self.in_words.pop(0))
        message = json_of(arrived)
        if not isinstance(message, dict) or not (message.get("summary") or message.get("text")):
            return Said(400, b"Summary or Text is required.")
        self.cards.append(message)
        return Said(200, b"1")


def card_is_good(card: Any) -> bool:
    """Whether it is an Adaptive Card that Teams shows."""
    if not isinstance(card, dict) or card.get("type") != "AdaptiveCard" or card.get("version", "9") > "1.5":
        return False
    actions = card.get("actions", [])
    return all(map(_element_is_good, card["body"])) and all(
        action["type"] == "Action.OpenUrl" and action["url"].startswith("https://") for action in actions
    )


def _element_is_good(element: dict[str, Any]) -> bool:
    must, may = _ELEMENTS.get(element.get("type", ""), ({"?"}, set[str]()))
    inner = [part for name in _PARTS for part in element.get(name, ())]
    text = element.get("text", "-")
    fits = must <= set(element) <= must | may | _SHARED and isinstance(text, str) and text != ""
    return fits and all(map(_element_is_good, inner))


def _cards(message: Any) -> Iterator[Any]:
    if isinstance(message, dict) and message.get("type") == "message":
        for attachment in message.get("attachments", ()):
            if attachment.get("contentType") == _CARD:
                yield attachment.get("content")


def _failed(status: int, code: str, words: str) -> Said:
    body = json.dumps({"error": {"code": code, "message": words}}).encode()
    return Said(status, body, {"Content-Type": "application/json"})


def runs(element: Any) -> Iterator[str]:
    """The texts that Teams shows letter for letter."""
    if isinstance(element, dict):
        if element.get("type") == "TextRun":
            yield element["text"]
        for part in element.values():
            yield from runs(part)
    elif isinstance(element, list):
        for part in element:
            yield from runs(part)


def markdown(element: Any) -> Iterator[str]:
    """The texts in which Teams reads Markdown."""
    if isinstance(element, dict):
        if element.get("type") == "TextBlock":
            yield element["text"]
        for part in element.values():
            yield from markdown(part)
    elif isinstance(element, list):
        for part in element:
            yield from markdown(part)
