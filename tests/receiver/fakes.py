"""What stands in for the world around the ledger and the dispatcher, and keeps its rules."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any

from receiver.delivery import Delivery
from receiver.dispatch import Dispatch, Outcome, OutcomeKind, RunSearch
from receiver.event import RegistryEvent

START = datetime(2026, 3, 1, 12, 0, tzinfo=timezone.utc)
LEASE = timedelta(seconds=60)


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self, start: datetime = START) -> None:
        self.time = start

    def __call__(self) -> datetime:
        """Tell the time."""
        return self.time

    def move(self, **by: float) -> datetime:
        """Move on (or back) and tell the time."""
        self.time += timedelta(**by)
        return self.time


@dataclass(frozen=True)
class Answer:
    """What a send comes to: what we are told, and whether it arrived – which need not be the same."""

    outcome: Outcome
    arrives: bool


TAKEN = Answer(Outcome(OutcomeKind.SENT, "sent", "204", status=204), arrives=True)
TAKEN_SILENTLY = Answer(Outcome(OutcomeKind.AMBIGUOUS, "github-502", "Bad Gateway", status=502), arrives=True)
RESET = Answer(Outcome(OutcomeKind.AMBIGUOUS, "no-answer", "connection reset"), arrives=False)
UNREACHABLE = Answer(Outcome(OutcomeKind.RETRY, "unreachable", "connection refused"), arrives=False)
GONE = Answer(Outcome(OutcomeKind.REFUSED, "github-404", "no such repository", status=404), arrives=False)
BUSY = Answer(
    Outcome(OutcomeKind.THROTTLED, "rate-limited", "slow down", status=429, wait=timedelta(seconds=90)),
    arrives=False,
)


class FakeDestination:
    """Takes dispatches as GitHub does: what arrives starts a run, though its answer may get lost.

    Attributes:
        answers: What the next sends come to; TAKEN once there are no more.  An exception is raised.
        arrived: What arrived, in order.
        looks: Each look for a run: the key, and since when.
        may_read: Whether our token may read runs.
        shows_keys: Whether the workflow shows the key in its run's name.
    """

    def __init__(self) -> None:
        self.answers: deque[Answer | Exception] = deque()
        self.arrived: list[Dispatch] = []
        self.looks: list[tuple[str, datetime]] = []
        self.may_read = True
        self.shows_keys = True

    def send(self, dispatch: Dispatch) -> Outcome:
        """Take it, or not, and answer."""
        answer = self.answers.popleft() if self.answers else TAKEN
        if isinstance(answer, Exception):
            raise answer
        if answer.arrives:
            self.arrived.append(dispatch)
        return answer.outcome

    def find_run(self, dispatch: Dispatch, since: datetime) -> RunSearch:
        """Find the run of what arrived, where that can be seen."""
        self.looks.append((dispatch.key, since))
        if not self.may_read:
            return RunSearch(why_not="the token may not read runs")
        seen = self.shows_keys and any(other.key == dispatch.key for other in self.arrived)
        return RunSearch(url=f"https://github.example/{dispatch.repository}/runs/1" if seen else None)

    @property
    def arrived_ids(self) -> list[str]:
        """The ids of what arrived, in order."""
        return [dispatch.id for dispatch in self.arrived]


def event(**changes: Any) -> RegistryEvent:
    """Make an event: an alias was added."""
    values: dict[str, Any] = {
        "event": "ADD_ARTIFACT_ALIAS",
        "dispatch_type": "ADD_ARTIFACT_ALIAS",
        "artifact_id": "QXJ0aWZhY3Q6MQ==",
        "entity": "acme",
        "project": "wandb-registry-model",
        "collection": "Churn Model",
        "version": "v3",
        "alias": "production",
        "tag": None,
        "author": "ada",
        "automation": None,
        "fields": {"event_type": "ADD_ARTIFACT_ALIAS", "alias": "production"},
        "others": {},
    }
    return RegistryEvent(**{**values, **changes})


def delivery(id: str = "d1", *, at: datetime = START, **changes: Any) -> Delivery:  # noqa: A002 - its own name
    """Make a delivery."""
    values: dict[str, Any] = {
        "source": "wandb",
        "address": "192.0.2.7",
        "encoding": "hex",
        "body_sha256": "00" * 32,
        "event": event(),
        "slot": "slot",
        "fingerprint": f"fingerprint-{id}",
    }
    return Delivery(id=id, received_at=at, **{**values, **changes})


def dispatch(
    delivery_id: str = "d1",
    *,
    number: int = 1,
    repository: str = "acme/deploy",
    lane: str | None = None,
    at: datetime = START,
    **changes: Any,
) -> Dispatch:
    """Make a dispatch of that delivery."""
    values: dict[str, Any] = {
        "event_type": "ADD_ARTIFACT_ALIAS",
        "client_payload": {"zeta": 1, "alias": "production"},
        "key": f"key-{delivery_id}-{number}",
    }
    return Dispatch(
        id=f"{delivery_id}-{number}",
        delivery_id=delivery_id,
        repository=repository,
        lane=lane or f"{repository}/churn",
        accepted_at=at,
        **{**values, **changes},
    )
