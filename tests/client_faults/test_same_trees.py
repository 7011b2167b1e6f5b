"""W&B's own SDK and our client download the same artifacts from the same server: byte for byte the same tree.

HANDOFF_TEST_LARGE=1 adds a file of 2 GiB.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.client_faults import clients
from tests.client_faults.clients import Account
from tests.client_faults.trees import MIB, pattern, tree, wanted, write_pattern
from tests.stand_ins.wandb import Membership, WandbStandIn

LARGE = os.environ.get("HANDOFF_TEST_LARGE", "")
Files = Mapping[str, bytes | Path]
THOUSAND = {f"shard-{number % 10}/{number:04}.bin": pattern(number, number) for number in range(1000)}
NESTED = {
    "a/b/c/d/e/f/g/h/i/j/deep.txt": b"deep",
    "a/b.txt": b"b",
    "a/b/c.txt": b"c",
    "top": b"t",
    ".hidden/.file": b"h",
}
NAMES = {
    "space and ünïcode.txt": b"1",
    "日本語/モデル.bin": b"2",
    "emoji-🌸.txt": b"3",
    "e\u0301-decomposed.txt": b"4",
    "per%cent?and#hash&amp;.txt": b"5",
    "quote'\"s.txt": b"6",
    "plus+comma,semi;equals=.txt": b"7",
    " leading and inner  spaces": b"8",
    "-dash": b"9",
}
TREES: dict[str, tuple[Files, str, str]] = {
    "one file": ({"model.bin": pattern(3 * MIB)}, "MD5", "V2"),
    "1,000 files": (THOUSAND, "MD5", "V2"),
    "nested": (NESTED, "MD5", "V2"),
    "an empty file": ({"empty": b""}, "MD5", "V2"),
    "nothing at all": ({}, "MD5", "V2"),
    "names": (NAMES, "MD5", "V2"),
    "the same content twice": ({"a": b"same", "b/a": b"same"}, "MD5", "V2"),
    "layout V1": ({**NESTED, **NAMES}, "MD5", "V1"),
    "XXH128": ({**NESTED, **NAMES, "empty": b"", "model.bin": pattern(17 * MIB)}, "XXH128", "V2"),
    "XXH128, layout V1": (NESTED, "XXH128", "V1"),
}


@pytest.fixture(scope="module")
def wandb() -> Iterator[WandbStandIn]:
    with WandbStandIn() as standing:
        standing.add_organization("Acme Inc", entity="acme-org", teams=("acme",))
        yield standing


@pytest.fixture(scope="module")
def versions(wandb: WandbStandIn, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Membership]:
    """Every tree, logged."""
    if LARGE:
        file = write_pattern(tmp_path_factory.mktemp("large") / "model.bin", 2048 * MIB)
        for kind in ("MD5", "XXH128"):
            TREES[f"2 GiB, {kind}"] = ({"model.bin": file}, kind, "V2")
    return {
        name: wandb.log_artifact(f"acme/vision/tree-{number}", files, algorithm=kind, layout=layout)
        for number, (name, (files, kind, layout)) in enumerate(TREES.items())
    }


@pytest.fixture(scope="module")
def by_sdk(
    wandb: WandbStandIn, versions: Mapping[str, Membership], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The directory that holds what the SDK made of each, all in one process."""
    home = tmp_path_factory.mktemp("sdk")
    pairs = [part for name, each in versions.items() for part in (each.name, str(home / "trees" / name))]
    command = clients.sdk(Account(wandb.url, wandb.api_key, {}), home, *pairs)
    done = subprocess.run(
        command.argv,
        env=command.environ,
        cwd=home,
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    shutil.rmtree(home / "cache")
    return home / "trees"


@pytest.mark.parametrize("name", [*TREES, *(["2 GiB, MD5", "2 GiB, XXH128"] if LARGE else [])])
def test_the_trees_are_the_same(
    wandb: WandbStandIn, versions: Mapping[str, Membership], by_sdk: Path, tmp_path: Path, name: str
) -> None:
    """
    Every path, every directory, every byte.
    """
    command = clients.ours(
        Account(wandb.url, wandb.api_key, {}), versions[name].name, tmp_path / "here", tmp_path
    )

    done = subprocess.run(
        command.argv, env=command.environ, capture_output=True, text=True, check=False, timeout=300
    )

    assert done.returncode == 0, done.stdout + done.stderr
    theirs = by_sdk / name
    assert tree(tmp_path / "here") == (tree(theirs) if theirs.exists() else {})
    assert tree(tmp_path / "here") == wanted(TREES[name][0])
    if name.startswith("2 GiB"):
        shutil.rmtree(tmp_path / "here")
        shutil.rmtree(theirs)
