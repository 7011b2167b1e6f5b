"""What the tests of the way in share: samples, bodies, and a ledger that keeps its promises in memory."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from receiver.delivery import Delivery, Receipt, Rejection
from receiver.dispatch import Dispatch
from receiver.errors import LedgerError
from receiver.event import RegistryEvent
from receiver.plan import Rules, plan
from receiver.routing.planned import Arrival

SAMPLES = Path(__file__).parent.parent / "samples"
SECRET = "wandb-secret-for-tests"
TOKEN = "access-token-for-tests"
NOON = datetime(2026, 11, 20, 12, 0, tzinfo=timezone.utc)
ARTIFACT = "wandb-artifact://_id/QXJ0aWZhY3Q6MTU0NzI5Nzg2"


def sample(name: str) -> bytes:
    """One recorded body, byte for byte."""
    return (SAMPLES / f"{name}.json").read_bytes()


def flat(**changes: object) -> dict[str, object]:
    """The fields of a flat delivery; a change to None takes a field away."""
    fields: dict[str, object] = {
        "event_type": "ADD_ARTIFACT_ALIAS",
        "event_author": "ada",
        "alias": "production",
        "artifact_version": ARTIFACT,
        "artifact_version_string": "acme/wandb-registry-model/Churn Model:v3",
        "artifact_collection_name": "Churn Model",
        "project_name": "wandb-registry-model",
        "entity_name": "acme",
    }
    fields.update(changes)
    return {name: value for name, value in fields.items() if value is not None}


def body(fields: object) -> bytes:
    """The fields as JSON."""
    return json.dumps(fields, ensure_ascii=False).encode()


def rendered_template(**changes: str) -> dict[str, Any]:
    """The README's template as W&B would fill it in when an alias is added."""
    template = sample("readme_template").decode()
    values = {
        "event_type": "ADD_ARTIFACT_ALIAS",
        "event_author": "ada",
        "alias": "production",
        "tag": "",
        "artifact_version": ARTIFACT,
        "artifact_version_string": "acme/wandb-registry-model/Churn Model:v3",
        "artifact_version_index": "3",
        "artifact_collection_name": "Churn Model",
        "project_name": "wandb-registry-model",
        "entity_name": "acme",
        "automation_name": "build on promotion",
    } | changes
    for name, value in values.items():
        template = template.replace(f"${{{name}}}", value)
    rendered: dict[str, Any] = json.loads(template)
    return rendered


def planned(
    event: RegistryEvent,
    delivery_id: str = "01DELIVERY",
    now: datetime = NOON,
    *,
    repository: str = "acme/serving",
    forward: Sequence[str] = (),
) -> tuple[Dispatch, ...]:
    """What the receiver of one repository plans for an event."""
    arrival = Arrival(event, "wandb", delivery_id, now, forward=forward)
    return plan(arrival, Rules.of_one_repository(repository, forward=forward))


class FakeClock:
    """A clock that moves when it is told to."""

    def __init__(self, now: datetime = NOON) -> None:
        self.now = now

    def __call__(self) -> datetime:
        """The time."""
        return self.now

    def advance(self, **by: float) -> None:
        """Let time pass."""
        self.now += timedelta(**by)


class FakeTaking:
    """A delivery on its way into a ledger in memory."""

    def __init__(self, accept: Callable[[], Receipt]) -> None:
        self.result = accept
        self.waited = False

    def wait(self) -> None:
        """There is nothing to wait for."""
        self.waited = True


class FakeLedger:
    """A ledger in memory: it keeps a delivery with all its dispatches, or, while ``down``, nothing at all."""

    def __init__(self) -> None:
        self.down = False
        self.kept: list[tuple[Delivery, tuple[Dispatch, ...]]] = []
        self.rejections: list[Rejection] = []

    def hand_in(
        self, delivery: Delivery, dispatches: Sequence[Dispatch], /, *, window: timedelta
    ) -> FakeTaking:
        """Keep both when the result is asked for, or raise LedgerError then and keep neither."""
        return FakeTaking(lambda: self._accept(delivery, dispatches, window))

    def _accept(self, delivery: Delivery, dispatches: Sequence[Dispatch], window: timedelta) -> Receipt:
        """A repetition of the slot's latest is not kept."""
        self._check_up()
        for first, planned in reversed(self.kept):
            if first.slot == delivery.slot:
                age = delivery.received_at - first.received_at
                if first.fingerprint == delivery.fingerprint and age <= window and window:
                    return Receipt(
                        first.id, duplicate=True, first_received_at=first.received_at, dispatches=planned
                    )
                break
        self.kept.append((delivery, tuple(dispatches)))
        return Receipt(delivery.id, False, delivery.received_at, tuple(dispatches))

    def note_rejection(self, rejection: Rejection) -> None:
        """Keep the trace of a webhook that was not taken; it never raises."""
        self.rejections.append(rejection)

    def check_writable(self) -> None:
        """Raise LedgerError while it could keep nothing."""
        self._check_up()

    def _check_up(self) -> None:
        if self.down:
            raise LedgerError("the disk is full")
