"""A download asks the API no more than it must."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.client_faults import clients
from tests.client_faults.clients import Account
from tests.client_faults.trees import tree, wanted
from tests.client_faults.world import World, is_file
from tests.stand_ins.wandb import Membership

REGISTRY = "acme-org/wandb-registry-model/flower"
FILES = {f"{number}/file.bin": bytes([number]) * 1000 for number in range(50)}


@pytest.fixture(scope="module")
def flower(shared_world: World) -> Membership:
    version = shared_world.wandb.log_artifact("acme/vision/flower", FILES)
    shared_world.wandb.link(version, REGISTRY, aliases=("production",))
    return version


def calls(world: World) -> list[str | None]:
    """Every GraphQL question since the test began."""
    return [each.operation for each in world.wandb.requests if each.path == "/graphql"]


def run(world: World, name: str, into: Path, **inputs: str) -> None:
    """What action.yml runs, in a process of its own."""
    home = into.parent
    command = clients.ours(Account(world.wandb.url, world.wandb.api_key, {}), name, into, home, **inputs)
    done = subprocess.run(
        command.argv, env=command.environ, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    "name",
    ["acme/vision/flower:latest", "acme/vision/flower:v0", f"{REGISTRY}:production", "by id"],
)
def test_three_calls_for_a_download(world: World, flower: Membership, tmp_path: Path, name: str) -> None:
    """
    Which version, its manifest, the addresses of its files: whatever the artifact is named by.
    """
    reference = f"wandb-artifact://_id/{flower.id}" if name == "by id" else name

    run(world, reference, tmp_path / "here")

    assert tree(tmp_path / "here") == wanted(FILES)
    assert len(calls(world)) == 3, calls(world)


def test_two_calls_when_all_is_there(world: World, flower: Membership, tmp_path: Path) -> None:
    """
    The second time no address is asked for, and no file.
    """
    run(world, flower.name, tmp_path / "here")
    world.wandb.requests.clear()
    world.files.forget()

    run(world, flower.name, tmp_path / "here")

    assert len(calls(world)) == 2, calls(world)
    assert [asked for asked in world.files.requests if is_file(flower)(asked)] == []


def test_each_file_is_asked_for_once(world: World, flower: Membership, tmp_path: Path) -> None:
    """
    One request for the manifest, one for each file.
    """
    run(world, flower.name, tmp_path / "here")

    assert len(world.files.requests) == 1 + len(FILES)
    assert len({asked.path for asked in world.files.requests}) == 1 + len(FILES)
