"""What a channel is told, whichever way it shows it: type and wording, pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import Enum
from typing import Any
from urllib.parse import quote, urlsplit

from receiver.run import NO_RUN

LONGEST_VALUE = 300
LONGEST_WHY = 590
LONGEST_LINK = 1_400
_IN_A_URL = "/:?#[]@!$&'()*+,;=%~-._"


class What(Enum):
    """What has happened; a channel's ``on`` names these."""

    ACCEPTED = "accepted"
    FAILED = "failed"
    RUN_FINISHED = "run-finished"
    NO_RUN = "no-run"
    OUTDATED = "outdated"


class Mood(Enum):
    """How the reader should feel about it."""

    GOOD = "good"
    BAD = "bad"
    DOUBTFUL = "doubtful"
    PLAIN = "plain"


@dataclass(frozen=True)
class Notice:
    """One thing that happened to one dispatch.

    Attributes:
        destination: Where the dispatch goes: ``acme/serving``, ``post:modal``, ``launch:train``.
        asked: What it asks for there: an event type, a workflow file, a queue.
        artifact: ``entity/project/collection``.
        conclusion: GitHub's own word for how the run ended, with RUN_FINISHED.
        why: The words of the outcome, with FAILED and OUTDATED.
    """

    what: What
    route: str
    destination: str
    delivery: str
    asked: str | None = None
    artifact: str | None = None
    version: str | None = None
    alias: str | None = None
    tag: str | None = None
    author: str | None = None
    artifact_url: str | None = None
    run_url: str | None = None
    conclusion: str | None = None
    why: str | None = None

    def to_message(self) -> dict[str, Any]:
        """A form that JSON keeps: the ``client_payload`` of the dispatch that carries it."""
        return {**asdict(self), "what": self.what.value}

    @classmethod
    def from_message(cls, message: Mapping[str, Any]) -> Notice:
        """Read that form; what it has beside is left alone.

        Raises:
            ValueError: It is none.
        """
        known = {name: message[name] for name in cls.__dataclass_fields__ if name in message}
        if not all(value is None or isinstance(value, str) for value in known.values()):
            raise ValueError("a notice holds text alone")
        try:
            return cls(**{**known, "what": What(known.get("what"))})
        except TypeError as error:
            raise ValueError("a notice names what happened, its route, destination and delivery") from error


@dataclass(frozen=True)
class Headline:
    """What happened in our own words alone; nothing from outside is in them."""

    symbol: str
    words: str
    mood: Mood


_HEADLINES = {
    What.ACCEPTED: Headline("🚀", "Promotion dispatched", Mood.PLAIN),
    What.FAILED: Headline("❌", "Promotion not dispatched", Mood.BAD),
    What.NO_RUN: Headline("⚠️", "Dispatched, but no workflow run has started", Mood.DOUBTFUL),
    What.OUTDATED: Headline("⏭️", "Not dispatched: the promotion no longer holds", Mood.DOUBTFUL),
}
_RUN_ENDED = {
    "success": Headline("✅", "Run succeeded", Mood.GOOD),
    "failure": Headline("❌", "Run failed", Mood.BAD),
    "startup_failure": Headline("❌", "Run could not start", Mood.BAD),
    "timed_out": Headline("❌", "Run took too long and was ended", Mood.BAD),
    "cancelled": Headline("⚠️", "Run was cancelled", Mood.DOUBTFUL),
    "action_required": Headline("⚠️", "Run waits for somebody's approval", Mood.DOUBTFUL),
    "skipped": Headline("⏭️", "Run was skipped", Mood.DOUBTFUL),
}


def headline(notice: Notice) -> Headline:
    """What happened."""
    if notice.what is What.RUN_FINISHED:
        return _RUN_ENDED.get(notice.conclusion or "", Headline("🏁", "Run finished", Mood.PLAIN))
    return _HEADLINES[notice.what]


def subject(notice: Notice) -> str:
    """The model in a few words: ``nature-100 v3 → production``."""
    name = (notice.artifact or "").rpartition("/")[2] or "an artifact"
    place = notice.alias or notice.tag
    words = f"{name} {notice.version}" if notice.version else name
    return plain(f"{words} → {place}" if place else words)


def facts(notice: Notice) -> tuple[tuple[str, str], ...]:
    """What there is to tell beside the subject: names of ours, values from outside, one line each."""
    to = f"{notice.destination} ({notice.asked})" if notice.asked else notice.destination
    every = (
        ("Artifact", notice.artifact),
        ("By", notice.author),
        ("To", to),
    )
    return tuple((name, plain(value)) for name, value in every if value)


def footer(notice: Notice) -> tuple[tuple[str, str], ...]:
    """Where to look it up in Handoff, as names of ours and values from outside."""
    return ("Route", plain(notice.route)), ("Delivery", plain(notice.delivery))


def hint(notice: Notice) -> str | None:
    """What to look at, in our own words alone."""
    return NO_RUN if notice.what is What.NO_RUN else None


def why(notice: Notice) -> str | None:
    """What was said about it, from outside too."""
    return plain(notice.why, LONGEST_WHY) if notice.why else None


def links(notice: Notice) -> tuple[tuple[str, str], ...]:
    """Where to go on, as words of ours and addresses that no markup can be hidden in."""
    every = (("Open in W&B", notice.artifact_url), ("Workflow run", notice.run_url))
    return tuple((words, safe) for words, url in every if url and (safe := _safe_link(url)))


def plain(text: str, longest: int = LONGEST_VALUE) -> str:
    """One line without controls, invisible marks or letters that turn the direction of writing."""
    line = " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())
    return line if len(line) <= longest else f"{line[: longest - 1]}…"


def _safe_link(url: str) -> str | None:
    """The address with all but its own characters escaped; None where it is no https address."""
    try:
        parts = urlsplit(url)
        fits = parts.scheme == "https" and bool(parts.hostname) and parts.username is None
    except ValueError:
        return None
    escaped = quote(url, safe=_IN_A_URL)
    return escaped if fits and len(escaped) <= LONGEST_LINK else None
