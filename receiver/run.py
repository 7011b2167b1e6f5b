"""The run that a dispatch started: what is known of it, and when to look again.  Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from receiver.dispatch import Dispatch

COMPLETED = "completed"
NOT_SEEN = "not-seen"  # Our word, where GitHub has none: no run showed the key in time.
_KEY = re.compile(r"(?<![0-9a-f])[0-9a-f]{20}(?![0-9a-f])")
# Waits between looks until it is seen, and from then until it ends; the last one goes on.
_UNTIL_SEEN = tuple(timedelta(seconds=seconds) for seconds in (3, 5, 8, 12, 20, 30))
_UNTIL_ENDED = tuple(timedelta(seconds=seconds) for seconds in (10, 20, 30, 60, 120, 300))
_AFTER_NOT_SEEN = timedelta(minutes=10)
_NOT_SEEN_FOR = timedelta(hours=2)  # GitHub may be late; a workflow that is not there never comes.
_LONGEST = timedelta(days=3)
_UNREADABLE_PART = (
    4  # Of the time that it has been looked for: a short fault costs little, a long one few looks.
)

NO_RUN = (
    "GitHub took the dispatch and nobody listened. The usual causes: the workflow is not on the default"
    " branch; its types do not list this event type; it, or Actions, is disabled; or its run-name does not"
    " show the key of the dispatch (README has the line), and Handoff cannot tell its run from others."
)


class RunsUnreadableError(Exception):
    """The runs of a repository cannot be read now; ``wait`` is what GitHub asked for, if it did."""

    def __init__(self, why: str, wait: timedelta | None = None) -> None:
        super().__init__(why)
        self.wait = wait


@dataclass(frozen=True)
class Run:
    """A workflow run as GitHub tells of it.

    Attributes:
        status: GitHub's: ``queued``, ``in_progress``, ``completed``, …
        conclusion: Of a completed one: ``success``, ``failure``, ``cancelled``, …
        title: Its ``run-name``.
    """

    id: int
    url: str
    status: str
    conclusion: str | None
    title: str

    @classmethod
    def parse(cls, data: Mapping[str, Any]) -> Run:
        """Read GitHub's object; a KeyError, TypeError or ValueError when it is none."""
        conclusion = data.get("conclusion")
        return cls(
            id=int(data["id"]),
            url=str(data["html_url"]),
            status=str(data["status"]),
            conclusion=None if conclusion is None else str(conclusion),
            title=str(data.get("display_title") or ""),
        )

    @property
    def ended(self) -> bool:
        """Whether nothing more will come of it."""
        return self.status == COMPLETED

    @property
    def keys(self) -> frozenset[str]:
        """All in its title that could be a dispatch's key."""
        return frozenset(_KEY.findall(self.title))


@dataclass(frozen=True)
class Watch:
    """A dispatch that was sent, and whose run is looked for or waited for.

    Attributes:
        run: What is known of it.
        status: GitHub's, or NOT_SEEN; None until anything is known.
        looks: How often it was looked for since the last change.
    """

    dispatch: Dispatch
    sent_at: datetime
    run: Run | None
    status: str | None
    looks: int

    @property
    def seen_by(self) -> datetime:
        """When the run should be seen."""
        return self.sent_at + (self.dispatch.run_within or timedelta(0))


@dataclass(frozen=True)
class Look:
    """What one look came to: what is known now, and when to look again; None is never."""

    run: Run | None
    status: str | None
    looks: int
    next_at: datetime | None

    def news(self, watch: Watch) -> bool:
        """Whether anything is to be told: it ended, or is missing."""
        return self.status != watch.status and self.status in {COMPLETED, NOT_SEEN}


def find(watch: Watch, runs: Iterable[Run]) -> Run | None:
    """The watch's own run among them."""
    for run in runs:
        if (watch.run is not None and run.id == watch.run.id) or watch.dispatch.key in run.keys:
            return run
    return None


def looked(watch: Watch, run: Run | None, now: datetime) -> Look:
    """What follows from a look that found this."""
    if run is not None:
        return _seen(watch, run, now)
    if watch.run is not None:  # Not on the page any more, or deleted: go on from what is known.
        return Look(watch.run, watch.status, watch.looks + 1, _later(_UNTIL_ENDED, watch, now))
    missing = watch.status == NOT_SEEN or now >= watch.seen_by
    if not missing:
        next_at = min(_later(_UNTIL_SEEN, watch, now) or now, watch.seen_by)
        return Look(None, watch.status, watch.looks + 1, max(next_at, now))
    more = now < watch.seen_by + _NOT_SEEN_FOR
    return Look(None, NOT_SEEN, watch.looks + 1, now + _AFTER_NOT_SEEN if more else None)


def unlooked(watch: Watch, now: datetime, wait: timedelta | None) -> datetime | None:
    """When to try again after a look that could not be taken: ever later, for a permission may be missing."""
    if now > watch.sent_at + _LONGEST:
        return None
    part = (now - watch.sent_at) / _UNREADABLE_PART
    later = min(max(part, _UNTIL_ENDED[0]), _AFTER_NOT_SEEN)
    return now + (later if wait is None else max(later, wait))


def _seen(watch: Watch, run: Run, now: datetime) -> Look:
    if run.ended:
        return Look(run, COMPLETED, 0, None)
    looks = watch.looks + 1 if watch.run is not None and run.status == watch.status else 0
    return Look(run, run.status, looks, _later(_UNTIL_ENDED, watch, now, looks))


def _later(
    waits: tuple[timedelta, ...], watch: Watch, now: datetime, looks: int | None = None
) -> datetime | None:
    if now > watch.sent_at + _LONGEST:
        return None
    number = watch.looks if looks is None else looks
    return now + waits[min(number, len(waits) - 1)]
