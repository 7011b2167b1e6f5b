"""action.yml as GitHub runs it: each input through ``env:``, no INPUT_* anywhere, any Python."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.action.serve import DAMAGED, FILES, REGISTRY, served
from tests.stand_ins.runner import CompositeRunner, StepResult

ROOT = Path(__file__).resolve().parents[2]
ACTION: dict[str, Any] = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))
SCRIPT: str = ACTION["runs"]["steps"][0]["run"]


@pytest.fixture
def wandb() -> Iterator[Mapping[str, str]]:
    """The W&B of the self-test."""
    with served() as told:
        yield told


@pytest.fixture
def runner(tmp_path: Path) -> CompositeRunner:
    """A runner that sets no INPUT_*."""
    return CompositeRunner(ROOT, tmp_path / "work")


def run(runner: CompositeRunner, wandb: Mapping[str, str], event: Any = None, **inputs: str) -> StepResult:
    """Run the Action with the key of that W&B."""
    given = {"api-key": wandb["api-key"], "base-url": wandb["base-url"], **inputs}
    return runner.run({name.replace("_", "-"): value for name, value in given.items()}, event=event or {})


def test_inputs_reach_python_without_input_variables(
    runner: CompositeRunner, wandb: Mapping[str, str]
) -> None:
    """By name, into the path that was asked for, with outputs and a summary."""
    done = run(runner, wandb, artifact=f"{REGISTRY}:v0", path="model", concurrency="2")

    assert done.exit_code == 0, done.log
    model = Path(done.outputs["path"])
    assert {
        path.relative_to(model).as_posix(): path.read_bytes() for path in model.rglob("*") if path.is_file()
    } == FILES
    assert done.outputs["digest"] == wandb["first-digest"]
    assert done.outputs["reason"] == ""
    assert "downloaded and verified" in done.summary


def test_xxh128_is_checked_too(runner: CompositeRunner, wandb: Mapping[str, str]) -> None:
    """In the packaged file, with whatever implementation this machine has."""
    done = run(runner, wandb, artifact=f"{REGISTRY}:production")

    assert done.exit_code == 0, done.log
    assert done.outputs["digest"] == wandb["second-digest"]
    assert "XXH128" in done.summary


def test_globs_come_a_line_each(runner: CompositeRunner, wandb: Mapping[str, str], tmp_path: Path) -> None:
    """As a block scalar gives them; and a second step takes from the cache what the first has left there."""
    globs = f"{min(FILES)}\n*no-such-file-is-an-error-unless-excluded*\n"
    refused = run(runner, wandb, artifact=f"{REGISTRY}:v0", include=globs)
    assert (refused.exit_code, refused.outputs["reason"]) == (2, "configuration")

    cache = str(tmp_path / "cache")
    for reused in (0, len(FILES[min(FILES)])):
        done = run(runner, wandb, artifact=f"{REGISTRY}:v0", include=f"\n{min(FILES)}\n", cache_dir=cache)
        assert done.exit_code == 0, done.log
        assert (done.outputs["file-count"], done.outputs["reused"]) == ("1", str(reused))
        assert Path(done.outputs["provenance"]).is_file()


def test_wrong_bytes_end_the_step(runner: CompositeRunner, wandb: Mapping[str, str]) -> None:
    """The error's own exit code, one annotation, the reason, no path."""
    done = run(runner, wandb, artifact=f"{DAMAGED}:latest")

    assert done.exit_code == 10
    assert "::error title=Handoff%3A verification-failed::broken.bin" in done.log
    assert (done.outputs["path"], done.outputs["reason"]) == ("", "verification-failed")
    assert done.summary == ""


@pytest.mark.parametrize(
    "nasty", ['"; touch pwned; "', "$(touch pwned)", "`touch pwned`", "x'\ntouch pwned\n'"]
)
def test_no_input_becomes_a_command(
    runner: CompositeRunner, wandb: Mapping[str, str], nasty: str, tmp_path: Path
) -> None:
    """Whatever an event put into an input stays text."""
    done = run(runner, wandb, artifact=nasty, expect_alias=nasty, path=nasty)

    assert done.exit_code == 2
    assert done.outputs["reason"] == "invalid-reference"
    assert list(tmp_path.rglob("pwned")) == []


class TestPython:
    """Which Python runs it."""

    @staticmethod
    def _run(folder: Path) -> subprocess.CompletedProcess[str]:
        bash = shutil.which("bash")
        assert bash is not None
        return subprocess.run(
            [bash, "--noprofile", "--norc", "-eo", "pipefail", "-c", SCRIPT],
            env={"PATH": str(folder), "GITHUB_ACTION_PATH": str(ROOT), "RAN": str(folder / "ran")},
            cwd=folder,
            capture_output=True,
            encoding="utf-8",
            check=False,
        )

    @staticmethod
    def _program(folder: Path, name: str, script: str) -> None:
        program = folder / name
        program.write_text(f"#!{shutil.which('bash')}\n{script}\n", encoding="utf-8")
        program.chmod(0o755)

    def test_an_old_or_broken_one_is_passed_over(self, tmp_path: Path) -> None:
        """The first that is new enough is taken, under whatever name."""
        self._program(tmp_path, "python3", "exit 1")  # Too old, by its own word.
        self._program(
            tmp_path, "python", "echo 'Python was not found' >&2; exit 9009"
        )  # As on a bare Windows.
        self._program(tmp_path, "python3.12", f'exec "{sys.executable}" "$@"')

        done = self._run(tmp_path)

        assert "names no artifact" in done.stdout
        assert done.returncode == 2
        assert done.stderr == ""

    def test_none_at_all_is_told(self, tmp_path: Path) -> None:
        """One annotation that says which action to add."""
        done = self._run(tmp_path)

        assert done.returncode == 1
        assert done.stdout.startswith("::error title=Handoff::This runner has no Python 3.10")
        assert "actions/setup-python" in done.stdout
        assert done.stdout.count("\n") == 1

    def test_the_oldest_is_the_one_we_promise(self) -> None:
        """The script, the message and the package agree."""
        assert "version_info < (3, 10)" in SCRIPT
        assert 'requires-python = ">=3.10"' in (ROOT / "pyproject.toml").read_text(encoding="utf-8")
        assert json.dumps(ACTION).count("3.10 or newer") == 1
        assert os.access(ROOT / "dist" / "registry_client.pyz", os.R_OK)
