"""A notice as Slack shows it, in Block Kit: pure."""

from __future__ import annotations

from typing import Any

from receiver import notice as wording
from receiver.notice import Notice

Block = dict[str, Any]
_QUOTE = "'"
_SPACED = "  ·  "


def message(notice: Notice) -> dict[str, Any]:
    """The body for an incoming webhook.

    What comes from outside stands in code spans alone: no mention, link, emoji or emphasis begins there.
    ``text`` is what a notification shows.
    """
    head = wording.headline(notice)
    return {
        "text": f"{head.symbol} {head.words}: {code(wording.subject(notice))}",
        "blocks": _blocks(notice, f"{head.symbol} {head.words}"),
        "unfurl_links": False,
        "unfurl_media": False,
    }


def escaped(text: str) -> str:
    """The text without anything that Slack reads as a mention, a channel or a link."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def code(text: str) -> str:
    """The text as a code span, out of which no text can break."""
    return f"`{escaped(text.replace('`', _QUOTE))}`"


def _blocks(notice: Notice, head: str) -> list[Block]:
    blocks: list[Block] = [
        {"type": "header", "text": {"type": "plain_text", "text": head, "emoji": True}},
        {
            "type": "section",
            "text": _text(f"*{code(wording.subject(notice))}*"),
            "fields": [_text(f"*{name}*\n{code(value)}") for name, value in wording.facts(notice)],
        },
    ]
    texts = (wording.hint(notice), _quoted(wording.why(notice)), _links(notice))
    blocks += [{"type": "section", "text": _text(text)} for text in texts if text]
    foot = _SPACED.join(f"{name} {code(value)}" for name, value in wording.footer(notice))
    return [*blocks, {"type": "context", "elements": [_text(foot)]}]


def _quoted(text: str | None) -> str | None:
    return f"```{escaped(text.replace('`', _QUOTE))}```" if text else None


def _links(notice: Notice) -> str:
    """Links, not buttons: a button asks the app behind it for an answer, and there is none."""
    links = [(escaped(words), escaped(url)) for words, url in wording.links(notice)]
    return _SPACED.join(f"<{url}|{words}>" for words, url in links if len(url) <= wording.LONGEST_LINK)


def _text(text: str) -> Block:
    """Text that Slack takes as it stands: what looks like a link or a name stays text."""
    return {"type": "mrkdwn", "text": text, "verbatim": True}
