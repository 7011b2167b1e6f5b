"""A W&B that runs for one test, and the clock it goes by."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

import pytest

from tests.stand_ins.wandb import WandbStandIn


@dataclass
class Clock:
    """A clock that stands still until it is moved."""

    time: datetime = datetime(2026, 3, 4, 5, 6, 7, tzinfo=timezone.utc)

    def __call__(self) -> datetime:
        """The time."""
        return self.time

    def move(self, by: timedelta) -> None:
        """Let time pass."""
        self.time += by


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def wandb(clock: Clock) -> Iterator[WandbStandIn]:
    with WandbStandIn(now=clock) as stand_in:
        stand_in.add_organization("Acme Inc", entity="acme-org", teams=("acme",))
        yield stand_in
