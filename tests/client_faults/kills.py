"""Rounds of SIGKILL: a client is killed at random moments, begun again, left to finish, and looked at."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random

from tests.client_faults import clients, tricks
from tests.client_faults.clients import Account, Command
from tests.client_faults.trees import MIB, pattern, tree, wanted
from tests.client_faults.world import World, a_world, is_file
from tests.stand_ins.wandb import Membership

_LONGEST = 120.0


@dataclass(frozen=True)
class Plan:
    """What is downloaded, and how often the client is killed.

    Attributes:
        large: The size of the large file.
        small: How many small files there are.
        kills: How many times each download is killed before it is left alone.
        rate: Bytes a second of each connection, so that there is a middle to be killed in.
    """

    seed: int
    large: int = 160 * MIB
    small: int = 200
    kills: int = 2
    rate: float = 40e6
    algorithm: str = "MD5"
    signal: int = signal.SIGKILL


@dataclass(frozen=True)
class Found:
    """What came of it.

    Attributes:
        killed: How many were really killed (the others had ended before).
        twice: Bytes of files that were fetched beyond once, of ``size``.
        broken: What is not as it should be.
    """

    killed: int
    size: int
    twice: int
    seconds: float
    broken: tuple[str, ...]

    @property
    def share(self) -> float:
        """How much was fetched twice."""
        return self.twice / self.size


def run(plan: Plan, folder: Path) -> Found:
    """One download, killed and begun again until it is whole; ``folder`` is its own, and empty."""
    began = time.monotonic()
    luck = Random(plan.seed)  # noqa: S311 - chooses moments
    files = _files(plan)
    with a_world() as world:
        version = world.wandb.log_artifact("acme/vision/model", files, algorithm=plan.algorithm)
        world.files.spoil(tricks.throttled(plan.rate), where=is_file(version), times=None)
        into = folder / "model"
        account = Account(world.wandb.url, world.wandb.api_key, {})
        command = clients.ours(account, version.name, into, folder)
        broken: list[str] = []
        killed = 0
        for _ in range(plan.kills):
            killed += _killed(command, world, version, luck, plan)
            broken += _unproven(into, files)
        broken += _finished(command)
        sent = world.sent_of(version)
    if tree(into) != wanted(files):
        broken.append("the tree is not the artifact's")
    size = sum(map(len, files.values()))
    broken += [f"left beside it: {name}" for name in _left(folder, into)]
    return Found(killed, size, sent - size, time.monotonic() - began, tuple(broken))


def _files(plan: Plan) -> Mapping[str, bytes]:
    small = {f"shards/{number:03}.bin": pattern(20_000, number) for number in range(plan.small)}
    return {"model.bin": pattern(plan.large, plan.seed), **small}


def _killed(command: Command, world: World, version: Membership, luck: Random, plan: Plan) -> bool:
    """Start it, and kill it when a random share of all bytes has been sent; whether it still ran."""
    size = plan.large + 20_000 * plan.small
    sent = world.sent_of(version)
    until = sent + luck.uniform(0.05, 0.95) * (size - sent)
    with _running(command) as process:
        _wait(lambda: world.sent_of(version) >= until or process.poll() is not None)
        os.kill(process.pid, plan.signal)
        process.wait(_LONGEST)
        return process.returncode != 0


def _unproven(into: Path, files: Mapping[str, bytes]) -> list[str]:
    """The final name has all of it, or is not there."""
    if into.exists() and tree(into) != wanted(files):
        return ["there is something unproven under the final name"]
    return []


def _finished(command: Command) -> list[str]:
    with _running(command) as process:
        said, _ = process.communicate(timeout=_LONGEST)
        return [] if process.returncode == 0 else [f"exit {process.returncode}: {said[-2000:].decode()}"]


@contextmanager
def _running(command: Command) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        command.argv, env=command.environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(_LONGEST)
        assert process.stdout is not None
        process.stdout.close()


def _wait(ready: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _LONGEST
    while not ready() and time.monotonic() < deadline:
        time.sleep(0.005)


def _left(folder: Path, into: Path) -> list[str]:
    """What is beside the target and not one of the Action's own files."""
    known = Counter([into.name, "output", "step_summary", "workspace"])
    beside = [path.name for path in folder.iterdir() if not path.name.startswith(f"{into.name}.")]
    return sorted((Counter(beside) - known).elements())
