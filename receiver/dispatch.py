"""The words of the way out: Dispatch, Claim, Outcome.  Types only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum
from typing import Any


class DispatchKind(Enum):
    """How a message is sent."""

    REPOSITORY_DISPATCH = "repository_dispatch"
    WORKFLOW_DISPATCH = "workflow_dispatch"
    POST = "post"
    LAUNCH = "launch"
    NOTICE = "notice"


GITHUB_KINDS = frozenset({DispatchKind.REPOSITORY_DISPATCH, DispatchKind.WORKFLOW_DISPATCH})


@dataclass(frozen=True)
class Dispatch:
    """One message to send, to one destination.

    Attributes:
        repository: Where it goes: ``owner/name``, or ``post:ROUTE``, ``launch:ROUTE``, ``notice:CHANNEL``.
        event_type: GitHub's, or the workflow's file, or a word for what it is.
        client_payload: The message; empty while W&B has to be asked first.
        key: The idempotency key.  The same promotion has the same key at the same destination, however
            often it is sent; it travels in ``client_payload.handoff.key``.
        lane: What must go out in order: destination and collection.
        overtakes: Whether an earlier one of the same lane and slot that waits for a retry gives way to it.
        route: The route that planned it; None without routes.
        holds: Whether it is not sent again when nobody knows whether it arrived.
        question: What W&B is asked before it is sent (``Question.to_json``), if anything.
        unsendable: Why it can never be sent; None where it can.
        telling: Who hears what of it (``Telling.to_json``), if anybody.
        run_within: How soon its run should be seen; None where none is looked for.
    """

    id: str
    delivery_id: str
    repository: str
    event_type: str
    client_payload: Mapping[str, Any]
    key: str
    lane: str
    accepted_at: datetime
    overtakes: bool = False
    kind: DispatchKind = DispatchKind.REPOSITORY_DISPATCH
    route: str | None = None
    holds: bool = False
    question: Mapping[str, Any] | None = None
    unsendable: str | None = None
    telling: Mapping[str, Any] | None = None
    run_within: timedelta | None = None


@dataclass(frozen=True)
class Claim:
    """The right to send one dispatch, until ``lease_until`` or until somebody holds a higher fence.

    Attributes:
        attempt: The number of the attempt that the ledger has as begun; it counts every try.
        attempts_used: Tries before this one that count.
        unanswered: When the first try began that may have arrived though its answer is not known.
        doubts: How many such tries there were.
        open_since: When it was accepted, or the last time that a person had it sent anew.
    """

    dispatch: Dispatch
    fence: int
    attempt: int
    begun_at: datetime
    attempts_used: int
    unanswered: datetime | None
    doubts: int
    lease_until: datetime
    open_since: datetime


class OutcomeKind(Enum):
    """What one attempt came to, by what to do next."""

    SENT = "sent"
    RETRY = "retry"  # It surely did not arrive: safe to send again.
    THROTTLED = "throttled"  # GitHub asked us to wait: does not count as an attempt.
    AMBIGUOUS = "ambiguous"  # It may have arrived: look for its run before sending again.
    REFUSED = "refused"  # It can never succeed as it is.
    POSTPONED = "postponed"  # Not tried: who has to be asked first does not answer.  Does not count.
    OUTDATED = "outdated"  # What it was for no longer holds: not sent, and nobody need act.
    UNWANTED = "unwanted"  # By what W&B says, its route does not want it: not sent either.


@dataclass(frozen=True)
class Outcome:
    """The end of one attempt.

    Attributes:
        reason: A slug (``sent``, ``github-404``, ``rate-limited``, …); README's table explains each.
        detail: For a person: what came back and what to do; holds no secret.
        status: The HTTP status, where there was one.
        wait: What the server asked for, with THROTTLED.
    """

    kind: OutcomeKind
    reason: str
    detail: str
    status: int | None = None
    wait: timedelta | None = None
    run_url: str | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Pause:
    """Why some or all dispatches wait though they are due.

    Attributes:
        scope: The repository that keeps failing, or ``*`` where GitHub asked our credential to wait.
        until: From then on one more is tried; where that fails the pause begins anew, and longer.
        failures: How often it failed in a row.
        reason: Of the last failure.
    """

    scope: str
    until: datetime
    failures: int
    reason: str


@dataclass(frozen=True)
class RunSearch:
    """What a look for the run of a dispatch found.

    Nothing set: the look was taken, and no run shows the key.  ``why_not``: the look could not be taken;
    ``not_now`` is what came of it where time may cure that.
    """

    url: str | None = None
    why_not: str | None = None
    not_now: Outcome | None = None
