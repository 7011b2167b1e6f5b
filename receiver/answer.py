"""What GitHub answered to a dispatch, and what follows: pure."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Any

from receiver.dispatch import Outcome, OutcomeKind
from receiver.retry_after import used_up, wait_asked

REDIRECTS = frozenset({301, 302, 307, 308})
_LONGEST_QUOTE = 500
_RATE_LIMIT = re.compile(r"rate limit|abuse detection", re.IGNORECASE)


@dataclass(frozen=True)
class Answer:
    """An HTTP answer.

    Attributes:
        headers: By lower-case name.
        body: As much of it as was read.
        url: Who answered, after redirects.
        moved: A redirect was followed to get here.
    """

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    url: str = ""
    moved: bool = False

    @property
    def document(self) -> Any:
        """The body as JSON; None when it is none."""
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            return None

    @property
    def words(self) -> str:
        """What GitHub says went wrong, fit for a line of a log; empty when it says nothing."""
        document = self.document
        if not isinstance(document, dict):
            return ""
        said = [document.get("message"), *_listed(document.get("errors"))]
        text = "; ".join(part for part in said if isinstance(part, str) and part)
        text = " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())
        return text if len(text) <= _LONGEST_QUOTE else f"{text[:_LONGEST_QUOTE]}…"

    @property
    def throttled(self) -> bool:
        """Whether this is a rate limit, primary or secondary."""
        if self.status == HTTPStatus.TOO_MANY_REQUESTS:
            return True
        if self.status != HTTPStatus.FORBIDDEN:
            return False
        told = "retry-after" in self.headers or used_up(self.headers)
        return told or _RATE_LIMIT.search(self.words) is not None


def _listed(errors: Any) -> list[str]:
    """Return the parts of GitHub's ``errors``, which are words or objects."""
    if not isinstance(errors, list):
        return []
    said = []
    for each in errors:
        if isinstance(each, dict):
            named = (each.get(key) for key in ("resource", "field", "code", "message"))
            each = " ".join(part for part in named if isinstance(part, str))  # noqa: PLW2901 - the same, in words
        said.append(each if isinstance(each, str) else "")
    return said


def outcome_of(
    answer: Answer, repository: str, now: datetime, *, renewed: bool = False, refusals: int = 0
) -> Outcome:
    """Return what an answer to a dispatch means: README's table of reasons, row by row.

    Args:
        answer: What GitHub said.
        repository: Where to.
        now: The time, as we know it.
        renewed: The token was refused, minted anew, and then gave this answer.
        refusals: The answers before this one that asked us to wait and did not say for how long.
    """
    status = answer.status
    if status == HTTPStatus.NO_CONTENT:
        return _sent(answer, repository)
    if answer.throttled:
        return throttling(answer, now, refusals)
    if status == HTTPStatus.UNAUTHORIZED:
        return _unauthorized(answer, renewed=renewed)
    if status == HTTPStatus.FORBIDDEN:
        return _forbidden(answer, repository)
    return _by_status(answer, repository)


def token_too_new(answer: Answer, wait: timedelta) -> Outcome:
    """Return the outcome when a token of a few seconds is refused: not all of GitHub knows it yet."""
    seconds = f"{wait.total_seconds():g} s"
    detail = _said(f"GitHub does not know the App's new token yet: the same one again in {seconds}", answer)
    return Outcome(OutcomeKind.THROTTLED, "fresh-token-refused", detail, answer.status, wait)


def throttling(answer: Answer, now: datetime, refusals: int = 0) -> Outcome:
    """Return the outcome of an answer that asks us to wait; see ``outcome_of``."""
    wait = wait_asked(answer.headers, now, refusals=refusals)
    reason, name = "secondary-rate-limit", "a secondary rate limit"
    if used_up(answer.headers):
        reason, name = "rate-limited", "the hourly rate limit of this token"
    detail = _said(f"GitHub asks to wait {int(wait.total_seconds())} s: {name} is reached", answer)
    return Outcome(OutcomeKind.THROTTLED, reason, detail, answer.status, wait)


_REFUSALS = {
    400: ("bad-request", "GitHub cannot read the request; does this server know the API version?"),
    404: (
        "not-found",
        (
            "either {repository} does not exist, or this token may not see it (GitHub hides private"
            " repositories): check its name in HANDOFF_REPOSITORY or"
            " the route, and that the token or App covers it"
        ),
    ),
    413: ("refused-payload", "the payload is larger than GitHub takes"),
    422: ("refused-payload", "GitHub does not take the payload"),
}


def _sent(answer: Answer, repository: str) -> Outcome:
    if not answer.moved:
        return Outcome(OutcomeKind.SENT, "sent", f"GitHub accepted it for {repository}", answer.status)
    detail = (
        f"GitHub accepted it; {repository} has moved and GitHub redirects for now:"
        " name it anew in HANDOFF_REPOSITORY or the route"
    )
    return Outcome(OutcomeKind.SENT, "sent", detail, answer.status, facts={"moved_to": answer.url})


def _unauthorized(answer: Answer, *, renewed: bool) -> Outcome:
    if renewed:
        detail = _said("GitHub does not know the App's new token yet", answer)
        return Outcome(OutcomeKind.RETRY, "fresh-token-refused", detail, answer.status)
    return _refused(
        answer, "bad-credentials", "the token is wrong, expired or revoked: set a new GITHUB_TOKEN"
    )


def _forbidden(answer: Answer, repository: str) -> Outcome:
    words = answer.words.lower()
    if "resource not accessible" in words:
        needs = _printable(answer.headers.get("x-accepted-github-permissions", "")) or "contents=write"
        advice = f"the token may not dispatch to {repository}; it needs the permission {needs}"
        return _refused(answer, "permission", advice)
    if "archived" in words:
        return _refused(
            answer, "archived", f"{repository} is archived: unarchive it, or choose another repository"
        )
    if "suspended" in words:
        return _refused(answer, "app-suspended", "the App's installation is suspended: unsuspend it")
    if "x-github-sso" in answer.headers:
        return _refused(
            answer, "forbidden", "the token must be authorized for the organization's single sign-on"
        )
    return _refused(answer, "forbidden", f"GitHub forbids it (an IP allow list, a policy) for {repository}")


def _by_status(answer: Answer, repository: str) -> Outcome:
    if answer.status in _REFUSALS:
        reason, advice = _REFUSALS[answer.status]
        return _refused(answer, reason, advice.format(repository=repository))
    if answer.status in REDIRECTS:
        return _refused(answer, "moved", _elsewhere(answer, repository))
    return _unlisted(answer)


def _elsewhere(answer: Answer, repository: str) -> str:
    target = _printable(answer.headers.get("location", "")) or "nowhere"
    return (
        f"GitHub redirects {repository} to {target}: another host, another scheme or one hop too many,"
        " and the token goes to no other host; check the address of the API (GITHUB_API_URL,"
        " github.api_url) and the repository's name"
    )


def _unlisted(answer: Answer) -> Outcome:
    status = answer.status
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        detail = _said("GitHub failed after it had the request; it may have started a run", answer)
        return Outcome(OutcomeKind.AMBIGUOUS, "github-5xx", detail, status)
    if status < HTTPStatus.BAD_REQUEST or status == HTTPStatus.REQUEST_TIMEOUT:
        detail = _said("neither GitHub's yes (204) nor a no: is GITHUB_API_URL really GitHub's API?", answer)
        return Outcome(OutcomeKind.AMBIGUOUS, "unexpected-answer", detail, status)
    return _refused(answer, f"github-{status}", "GitHub refuses it")


def _refused(answer: Answer, reason: str, advice: str) -> Outcome:
    return Outcome(OutcomeKind.REFUSED, reason, _said(advice, answer), answer.status)


def _said(ours: str, answer: Answer) -> str:
    """Our words, then the status and GitHub's."""
    quote = f": {answer.words}" if answer.words else ""
    return f"{ours} (GitHub: {answer.status}{quote})"


def _printable(text: str) -> str:
    return "".join(letter for letter in text if letter.isprintable())[:_LONGEST_QUOTE]
