"""The words of the way in: Delivery, Rejection, and what the ledger tells of them.  Types only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Any

from receiver.dispatch import Dispatch, DispatchKind
from receiver.event import RegistryEvent


@dataclass(frozen=True)
class Delivery:
    """One webhook, verified and read.

    Attributes:
        id: Ours; W&B sends none.
        source: The door it came in by (``wandb``).
        encoding: How the signature was written (``hex``, ``base64``, ``sha256=hex``); None without a secret.
        body_sha256: Of the raw body, hex; the body itself is not kept.
        slot: What a later promotion of the same kind would replace: source, event, collection, alias or tag.
        fingerprint: What happened, exactly: the slot and the artifact version.
        reconciled: Nobody told it: W&B was asked, and it had been missed.
        if_missed: The fingerprint that it would have if it had been; None where that is its own.
    """

    id: str
    source: str
    received_at: datetime
    address: str | None
    encoding: str | None
    body_sha256: str
    event: RegistryEvent
    slot: str
    fingerprint: str
    reconciled: bool = False
    if_missed: str | None = None


@dataclass(frozen=True)
class Receipt:
    """What the ledger answers to a delivery: what it keeps of it, on disk.

    Attributes:
        delivery_id: Of the delivery that is kept: this one, or the first one that this one repeats.
        duplicate: It repeats that one; nothing else was kept, nothing more will be sent.
    """

    delivery_id: str
    duplicate: bool
    first_received_at: datetime
    dispatches: tuple[Dispatch, ...]


@dataclass(frozen=True)
class Rejection:
    """The trace of a webhook that was not taken: never its body."""

    at: datetime
    source: str
    address: str | None
    reason: str
    status: int


class DispatchState(Enum):
    """Where a dispatch stands."""

    PENDING = "pending"
    SENDING = "sending"
    SENT = "sent"
    DEAD = "dead"
    SUPERSEDED = "superseded"
    OUTDATED = "outdated"  # What it was for no longer held when it was to be sent.
    UNWANTED = "unwanted"  # By what W&B said then, its route does not want it.
    DISMISSED = "dismissed"  # By a person: it is not sent, and nobody need act any more.


@dataclass(frozen=True)
class Baseline:
    """What carried the alias when a route was last compared with W&B, and when that was."""

    artifact_id: str
    at: datetime


@dataclass(frozen=True)
class ByHand:
    """What becomes of one dispatch that a person wants sent anew, or not at all.

    Attributes:
        will: In words, what will happen, or why nothing will and what to do.
        changes: Whether anything does.
    """

    dispatch_id: str
    was: DispatchState
    will: str
    changes: bool


@dataclass(frozen=True)
class AttemptRecord:
    """One try at sending, as the ledger has it; ``ended_at`` and ``outcome`` are None while it runs."""

    number: int
    started_at: datetime
    ended_at: datetime | None
    outcome: str | None
    reason: str | None
    detail: str | None
    status: int | None


@dataclass(frozen=True)
class DispatchRecord:
    """One dispatch, as the ledger has it.

    Attributes:
        attempts_used: Tries that count; a wait that a rate limit asked for does not.
        possibly_duplicated: An earlier try got no answer and no run of it was found; it was sent again.
        redeliveries: How often a person had it sent anew.
        about: Of a notice, the id of the dispatch that it tells of.
        run_status: Of the run that it started: GitHub's, or ``not-seen``; None where none is known.
        report: What the job that it started told in the end.
    """

    id: str
    repository: str
    event_type: str
    key: str
    client_payload: Mapping[str, Any]
    state: DispatchState
    next_attempt_at: datetime | None
    attempts_used: int
    possibly_duplicated: bool
    reason: str | None
    detail: str | None
    run_url: str | None
    attempts: Sequence[AttemptRecord]
    redeliveries: int = 0
    kind: DispatchKind = DispatchKind.REPOSITORY_DISPATCH
    route: str | None = None
    about: str | None = None
    sent_at: datetime | None = None
    run_id: int | None = None
    run_status: str | None = None
    run_conclusion: str | None = None
    report: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class DeliveryRecord:
    """One delivery with all that came of it, as the ledger has it.

    Attributes:
        dispatches: All that was sent for it, the notices about others among them.
        repeats: How often the same was told again, and changed nothing.
        reconciled: No webhook told it: it was found by comparing with W&B.
        unrouted: No route wanted it: it is kept, and nothing is sent.
    """

    id: str
    source: str
    received_at: datetime
    address: str | None
    encoding: str | None
    body_sha256: str
    event: str | None
    fields: Mapping[str, str]
    dispatches: Sequence[DispatchRecord]
    repeats: int = 0
    last_repeat_at: datetime | None = None
    reconciled: bool = False
    unrouted: bool = False
