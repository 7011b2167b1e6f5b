"""One W&B behind proxies for all of these tests, clean for each."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.client_faults.trees import MIB, pattern
from tests.client_faults.world import World, a_world
from tests.stand_ins.wandb import Membership

# One file of several parts, some small ones.
FILES = {
    "weights/model.bin": pattern(17 * MIB + 4321),
    "weights/bias.bin": pattern(100_000, 1),
    "labels.txt": b"cat\ndog\n",
    "empty": b"",
}


@pytest.fixture(scope="module")
def shared_world() -> Iterator[World]:
    with a_world() as world:
        world.wandb.add_organization("Acme Inc", entity="acme-org", teams=("acme",))
        yield world


@pytest.fixture(scope="module")
def model(shared_world: World) -> Membership:
    return shared_world.wandb.log_artifact("acme/vision/model", FILES)


@pytest.fixture
def world(shared_world: World) -> Iterator[World]:
    yield shared_world
    shared_world.files.forget()
    shared_world.api.forget()
    shared_world.naps.clear()
    shared_world.wandb.requests.clear()
