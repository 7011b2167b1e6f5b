"""The story of a report: the end of a job tells what became of it, and which marks in W&B are our own."""

from __future__ import annotations

import hmac
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any, Protocol

from receiver import strict_json
from receiver.errors import BadPayloadError, UnauthorizedError
from receiver.event import RegistryEvent
from receiver.secret import Secret
from registry_client.report import FORMAT, HEADER, MARKING, STATES, signature

TOLERANCE = timedelta(minutes=5)  # Between the job's clock and ours.
HOLD = timedelta(hours=1)  # W&B may tell late of what a job wrote.
REPEATS = timedelta(minutes=2)  # And more than once.
_MOST_MARKS = 200
_LONGEST = 1024
_TEXTS = ("artifact", "digest", "delivery", "key", "repository", "run_url", "image", "url", "problem")
_PAGES = ("run_url", "url")  # People follow them.
_TOLD = ("state", "image", "url", "run_url", "problem", "version", "digest")
_NAMES = {
    "ADD_ARTIFACT_ALIAS": "alias",
    "UPDATE_ARTIFACT_ALIAS": "alias",
    "ADD_ARTIFACT_TAG": "tag",
    "REMOVE_ARTIFACT_TAG": "untag",
    "LINK_ARTIFACT": "link",
}


class MarkStore(Protocol):
    """The ledger, as far as own marks need it."""

    def put_mark(self, artifact_id: str, collection: str, name: str, until: datetime, /) -> None:
        """Keep until when an event of this counts as ours, in the place of what was kept of it."""

    def mark_until(self, artifact_id: str, collection: str, name: str, /) -> datetime | None:
        """Until when an event of this counts as ours; None where it does not."""


class Store(MarkStore, Protocol):
    """The ledger, as far as reports need it."""

    def record_report(self, delivery: str | None, key: str | None, report: Mapping[str, Any], /) -> bool:
        """Keep it with the dispatch of that key, of that delivery; False where there is none."""
        ...


@dataclass(frozen=True)
class Read:
    """A report, read.

    Attributes:
        marks: Collection and name of each that is about to be written.
        withdrawn: The same of each that is not, after all.
        told: What is kept with the dispatch.
    """

    at: datetime
    state: str
    artifact: str
    delivery: str | None
    key: str | None
    marks: tuple[tuple[str, str], ...]
    withdrawn: tuple[tuple[str, str], ...]
    told: Mapping[str, Any]


@dataclass(frozen=True)
class Reports:
    """Takes reports in.

    Attributes:
        secrets: Any of them may have signed; at least one, none of them empty.
    """

    secrets: Sequence[Secret]
    store: Store
    now: Callable[[], datetime]

    def __post_init__(self) -> None:
        if not self.secrets or not all(secret.value for secret in self.secrets):
            raise ValueError("want a secret, and none of them empty")

    def receive(self, body: bytes, header: str | None) -> bool:
        """Keep what it tells; False where it is of no dispatch that is known here.

        Told twice, it changes nothing more.

        Raises:
            RejectedError: It is not signed with our secret, is too old, or is no report.
            LedgerError: It could not be kept.
        """
        check_signature(body, header, [bytes(secret) for secret in self.secrets])
        report = read_report(body)
        check_fresh(report.at, self.now())
        for collection, name in report.marks:
            self.store.put_mark(report.artifact, collection, name, report.at + HOLD)
        for collection, name in report.withdrawn:
            self.store.put_mark(report.artifact, collection, name, report.at - TOLERANCE)
        return self.store.record_report(report.delivery, report.key, report.told)


@dataclass(frozen=True)
class OwnMarks:
    """Tells whether an event is about what our own report wrote, so that nothing follows from it."""

    store: MarkStore

    def __call__(self, event: RegistryEvent, now: datetime) -> bool:
        """Whether it is; each mark counts for the events that follow it closely, never for a later one.

        Raises:
            LedgerError: Nobody knows now.
        """
        mark = mark_of(event)
        if mark is None:
            return False
        until = self.store.mark_until(*mark)
        if until is None or until < now:
            return False
        if until > now + REPEATS:
            self.store.put_mark(*mark, now + REPEATS)
        return True


def mark_of(event: RegistryEvent) -> tuple[str, str, str] | None:
    """Under which artifact, collection and name a mark would be kept that this event tells of."""
    kind = _kind(event)
    if event.artifact_id is None or kind is None:
        return None
    if kind in {"tag", "untag"}:
        return (event.artifact_id, "", f"{kind}:{event.tag}") if event.tag else None
    if not event.project or not event.collection or (kind == "alias" and not event.alias):
        return None
    name = f"alias:{event.alias}" if kind == "alias" else kind
    return event.artifact_id, f"{event.project}/{event.collection}", name


def check_signature(body: bytes, header: str | None, secrets: Sequence[bytes]) -> None:
    """Pass when the body is signed with one of the secrets.

    Raises:
        UnauthorizedError: There is no signature, or it is none of ours.
    """
    if header is None or not header.strip():
        raise UnauthorizedError(f"The header {HEADER} is missing.", reason="missing-signature")
    told = header.strip().encode("utf-8", "replace")
    right = [signature(body, secret).encode("ascii") for secret in secrets]
    if not any([hmac.compare_digest(told, each) for each in right]):  # noqa: C419 - all, whichever fits
        raise UnauthorizedError(
            f"{HEADER} does not match the body: want the same HANDOFF_REPORT_SECRET in the job and here.",
            reason="bad-signature",
        )


def check_fresh(at: datetime, now: datetime) -> None:
    """Pass when it was made within the last minutes.

    Raises:
        UnauthorizedError: It was not, so somebody may have kept it.
    """
    apart = abs(now - at)
    if apart > TOLERANCE:
        raise UnauthorizedError(
            f"at: got a time {apart.total_seconds():.0f} s from ours, want at most "
            f"{TOLERANCE.total_seconds():.0f} s. Is the clock of the job's machine right?",
            reason="stale-report",
        )


def read_report(body: bytes) -> Read:
    """Read the body of a report.

    Raises:
        NotJsonError: It is no JSON.
        BadPayloadError: It is no report; the message says what was sought.
    """
    value = strict_json.load(body)
    if not isinstance(value, dict) or value.get("report") != FORMAT:
        raise _bad("report", f"want {FORMAT}; is the Action of another version than the receiver?")
    texts = {name: _text(value, name) for name in _TEXTS}
    for name in _PAGES:
        if not (texts[name] or "https://").startswith(("https://", "http://")):
            raise _bad(name, "want a URL")
    state = _needed(value, "state")
    if state not in (MARKING, *STATES):
        raise _bad("state", f"want {MARKING}, {', '.join(STATES)}")
    told = {**texts, "state": state, "version": _needed(value, "version")}
    marks, withdrawn = _marks(value, "marks"), _marks(value, "withdrawn")
    return Read(
        at=_moment(_needed(value, "at")),
        state=state,
        artifact=_needed(value, "artifact") if marks or withdrawn else texts["artifact"] or "",
        delivery=texts["delivery"],
        key=texts["key"],
        marks=marks,
        withdrawn=withdrawn,
        told={**{name: told[name] for name in _TOLD if told[name] is not None}, "at": value["at"]},
    )


def _kind(event: RegistryEvent) -> str | None:
    if event.event is not None:
        return _NAMES.get(event.event)
    if event.alias:  # A body may name its dispatch alone; what it carries tells then.
        return "alias"
    return "tag" if event.tag else "link"


def _marks(value: Mapping[str, Any], name: str) -> tuple[tuple[str, str], ...]:
    marks = value.get(name)
    if not isinstance(marks, list) or len(marks) > _MOST_MARKS:
        raise _bad(name, f"want a list of at most {_MOST_MARKS}")
    return tuple(map(_mark, marks))


def _mark(value: Any) -> tuple[str, str]:
    if not isinstance(value, dict) or not isinstance(value.get("collection"), str):
        raise _bad("marks", "want objects with collection and name")
    collection, name = value["collection"], _needed(value, "name")
    if len(collection) > _LONGEST:
        raise _bad("collection", f"want at most {_LONGEST} characters")
    return collection, name


def _text(value: Mapping[str, Any], name: str) -> str | None:
    text = value.get(name)
    if text is not None and (not isinstance(text, str) or len(text) > _LONGEST or not text.isprintable()):
        raise _bad(name, f"want a line of at most {_LONGEST} characters")
    return text or None


def _needed(value: Mapping[str, Any], name: str) -> str:
    text = _text(value, name)
    if text is None:
        raise _bad(name, "is missing")
    return text


def _moment(text: str) -> datetime:
    match = re.fullmatch(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.\d+)?Z", text, re.ASCII)
    try:
        return datetime.fromisoformat(match[1] if match else "").replace(tzinfo=timezone.utc)
    except ValueError:
        raise _bad("at", "want a time like 2026-01-31T12:00:00Z") from None


def _bad(name: str, why: str) -> BadPayloadError:
    return BadPayloadError(f"{name}: {why}.", reason="bad-report")
