"""What an answer from elsewhere than GitHub comes to: pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

from receiver.answer import REDIRECTS, Answer
from receiver.dispatch import Outcome, OutcomeKind
from receiver.retry_after import wait_asked

_LONGEST_QUOTE = 300


@dataclass(frozen=True)
class Party:
    """Who answers.

    Attributes:
        name: For a person: ``Slack``, ``the endpoint of route modal``.
        failed: The reason when it failed after it had the message.
        refused: The reason of a refusal; ``{status}`` in it is filled in.
        if_unsure: What follows when it may have arrived: RETRY where a second one does no harm.
        advice: What to do about a refusal, by status.
        otherwise: What to do about any other.
    """

    name: str
    failed: str
    refused: str
    if_unsure: OutcomeKind
    otherwise: str
    advice: Mapping[int, str] = field(default_factory=dict)


def outcome_of(answer: Answer, party: Party, now: datetime) -> Outcome:
    """What the answer means for the attempt: README's table of reasons, row by row."""
    status = answer.status
    if HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
        return Outcome(OutcomeKind.SENT, "sent", f"{party.name} took it", status)
    if throttled(answer):
        wait = wait_asked(answer.headers, now)
        detail = said(f"{party.name} asks to wait {int(wait.total_seconds())} s", answer)
        return Outcome(OutcomeKind.THROTTLED, "asked-to-wait", detail, status, wait)
    if status in REDIRECTS or status == HTTPStatus.SEE_OTHER:
        return Outcome(OutcomeKind.REFUSED, "redirected", _elsewhere(answer, party), status)
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status == HTTPStatus.REQUEST_TIMEOUT:
        detail = said(f"{party.name} failed after it had the message", answer)
        return Outcome(party.if_unsure, party.failed, detail, status)
    if status < HTTPStatus.BAD_REQUEST:
        detail = said(f"{party.name} said neither yes (2xx) nor no", answer)
        return Outcome(party.if_unsure, party.failed, detail, status)
    return refusal(answer, party, party.advice.get(status, party.otherwise))


def refusal(answer: Answer, party: Party, advice: str) -> Outcome:
    """No waiting cures this."""
    reason = party.refused.format(status=answer.status)
    detail = said(f"{party.name} refuses it: {advice}", answer)
    return Outcome(OutcomeKind.REFUSED, reason, detail, answer.status)


def throttled(answer: Answer) -> bool:
    """Whether the server asks us to wait."""
    busy = answer.status == HTTPStatus.SERVICE_UNAVAILABLE and "retry-after" in answer.headers
    return busy or answer.status == HTTPStatus.TOO_MANY_REQUESTS


def said(ours: str, answer: Answer) -> str:
    """Our words, then the status and the server's."""
    words = answer.words or _other_words(answer.document) or _line(answer.body.decode("utf-8", "replace"))
    return f"{ours} ({answer.status}: {words})" if words else f"{ours} ({answer.status})"


def _other_words(document: Any) -> str:
    """What an object says under the other usual names."""
    if not isinstance(document, dict):
        return ""
    found = next((document[name] for name in ("error", "detail") if document.get(name)), "")
    return _line(found) if isinstance(found, str) else ""


def _line(text: str) -> str:
    """The text fit for a line of a log; nothing of a page or a document."""
    if text.lstrip().startswith(("<", "{", "[")):
        return ""
    line = " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())
    return line if len(line) <= _LONGEST_QUOTE else f"{line[:_LONGEST_QUOTE]}…"


def _elsewhere(answer: Answer, party: Party) -> str:
    """Name the host alone: what follows it may be a secret."""
    try:
        host = urlsplit(answer.headers.get("location", "")).hostname
    except ValueError:
        host = None
    where = f"to {host}" if host else "elsewhere"
    return (
        f"{party.name} redirects {where} ({answer.status}), which is not followed: set the address it has now"
    )
