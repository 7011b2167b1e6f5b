"""A notice as Microsoft Teams shows it, as an Adaptive Card or an older MessageCard: pure."""

from __future__ import annotations

from typing import Any

from receiver import notice as wording
from receiver.notice import Mood, Notice

Card = dict[str, Any]
_STYLES = {
    Mood.GOOD: "good",
    Mood.BAD: "attention",
    Mood.DOUBTFUL: "warning",
    Mood.PLAIN: "accent",
}
_COLOURS = {Mood.GOOD: "2EB67D", Mood.BAD: "D13438", Mood.DOUBTFUL: "F2C744", Mood.PLAIN: "4F6BED"}
_NAME_WIDTH = "80px"


def adaptive_card(notice: Notice) -> Card:
    """The body for a webhook of Teams Workflows.

    What comes from outside stands in text runs alone, the one kind of text where Teams reads no Markdown.
    """
    content = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "msteams": {"width": "Full"},
        "fallbackText": wording.headline(notice).words,
        "body": _body(notice),
        "actions": [
            {"type": "Action.OpenUrl", "title": words, "url": url} for words, url in wording.links(notice)
        ],
    }
    attachment = {"contentType": "application/vnd.microsoft.card.adaptive", "contentUrl": None}
    return {"type": "message", "attachments": [{**attachment, "content": content}]}


def message_card(notice: Notice) -> Card:
    """The body for an older connector.

    What comes from outside stands in a section without Markdown, and no HTML can begin there.
    """
    head = wording.headline(notice)
    facts = [{"name": name, "value": _without_html(value)} for name, value in wording.facts(notice)]
    section: Card = {
        "activityTitle": _without_html(wording.subject(notice)),
        "facts": facts,
        "markdown": False,
    }
    texts = [text for text in (wording.hint(notice), wording.why(notice)) if text]
    if texts:
        section["text"] = _without_html(" ".join(texts))
    return {
        "@type": "MessageCard",
        "@context": "https://schema.org/extensions",
        "summary": f"{head.words}: {_without_html(wording.subject(notice))}",
        "themeColor": _COLOURS[head.mood],
        "title": f"{head.symbol} {head.words}",
        "sections": [section, {"text": _without_html(_foot(notice)), "markdown": False}],
        "potentialAction": [
            {"@type": "OpenUri", "name": words, "targets": [{"os": "default", "uri": url}]}
            for words, url in wording.links(notice)
        ],
    }


def _body(notice: Notice) -> list[Card]:
    head = wording.headline(notice)
    title = {
        "type": "TextBlock",
        "text": f"{head.symbol} {head.words}",
        "size": "Medium",
        "weight": "Bolder",
        "wrap": True,
    }
    subject = _literally(wording.subject(notice), size="Large", weight="Bolder")
    body: list[Card] = [
        {"type": "Container", "style": _STYLES[head.mood], "bleed": True, "items": [title, subject]},
        *(_row(name, value) for name, value in wording.facts(notice)),
    ]
    texts = (wording.hint(notice), wording.why(notice))
    body += [{**_literally(text), "separator": True} for text in texts if text]
    return [*body, {**_literally(_foot(notice), size="Small", isSubtle=True), "separator": True}]


def _foot(notice: Notice) -> str:
    return "  ·  ".join(f"{name} {value}" for name, value in wording.footer(notice))


def _row(name: str, value: str) -> Card:
    """A name and its value, in columns that stand below those of the row above."""
    left = {"type": "Column", "width": _NAME_WIDTH, "items": [_literally(name, isSubtle=True)]}
    right = {"type": "Column", "width": "stretch", "items": [_literally(value)]}
    return {"type": "ColumnSet", "spacing": "Small", "columns": [left, right]}


def _literally(text: str, **look: Any) -> Card:
    return {"type": "RichTextBlock", "inlines": [{"type": "TextRun", "text": text, **look}]}


def _without_html(text: str) -> str:
    return text.replace("<", "‹").replace(">", "›")
