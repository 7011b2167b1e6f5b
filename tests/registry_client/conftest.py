"""A W&B in memory, and one over HTTP with a client signed in."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from registry_client.api import WandbApi
from registry_client.credentials import ApiKey
from tests.fakes import FakeRegistry
from tests.stand_ins.wandb import WandbStandIn


@pytest.fixture
def registry() -> FakeRegistry:
    return FakeRegistry()


@pytest.fixture
def wandb() -> Iterator[WandbStandIn]:
    with WandbStandIn() as stand_in:
        stand_in.add_organization("Acme Inc", entity="acme-org", teams=["acme"])
        yield stand_in


@pytest.fixture
def naps() -> list[float]:
    """How long the client waited, each time; nobody really sleeps."""
    return []


@pytest.fixture
def api(wandb: WandbStandIn, naps: list[float]) -> Iterator[WandbApi]:
    key = ApiKey.parse(wandb.api_key, "WANDB_API_KEY")
    with WandbApi(wandb.url, key, sleep=naps.append, read_timeout=5) as client:
        yield client
