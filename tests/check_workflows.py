"""Lint both action.yml, the workflows and the shell scripts: ``python -m tests.check_workflows``."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.examples.workflows import example_workflows

ROOT = Path(__file__).resolve().parent.parent
ACTIONS = ("action.yml", "report/action.yml")
SCRIPTS = (".ci/run", ".ci/install-go-tools", ".ci/install-kubernetes", "tests/action/start-stand-in")


@dataclass(frozen=True)
class Check:
    """One linter over some files; ``missing`` says why it cannot run here, if so."""

    name: str
    command: Sequence[str]
    stdin: str | None = None
    missing: str | None = None

    def run(self, root: Path = ROOT) -> bool:
        """Run it in that tree, say one line (and what it found), return whether all is well."""
        if self.missing is not None:
            _say(f"skipped  {self.name}: {self.missing}")
            return True
        done = subprocess.run(
            self.command, cwd=root, input=self.stdin, capture_output=True, encoding="utf-8", check=False
        )
        _say(f"{'ok' if done.returncode == 0 else 'FAILED':8} {self.name}")
        if done.returncode != 0:
            _say(done.stdout + done.stderr)
        return done.returncode == 0


def checks(root: Path = ROOT) -> Iterator[Check]:
    """All of them, over what lies in that tree."""
    every = workflow_files(root)
    zizmor = (_tool("zizmor"), "--offline", "--no-progress", "--quiet", "--strict-collection")
    yield Check("zizmor, pedantic", [*zizmor, "--persona=pedantic", *ACTIONS, *every])
    schema = (_tool("check-jsonschema"), "--builtin-schema")
    yield Check("schema of action.yml", [*schema, "vendor.github-actions", *ACTIONS])
    yield Check("schema of workflows", [*schema, "vendor.github-workflows", *every])
    yield _actionlint(every)
    if dockerfiles := _below(root, "Dockerfile"):
        yield Check("hadolint", [_tool("hadolint"), *dockerfiles])
    if manifests := _below(root, "kubernetes/**/*.yaml"):
        yield Check("schema of Kubernetes manifests", [_tool("kubernetes-validate"), "--strict", *manifests])
    yield Check("shellcheck of scripts", [_tool("shellcheck"), *SCRIPTS])
    for file in map(Path, (*ACTIONS, *every)):
        for name, script in run_blocks(yaml.safe_load((root / file).read_text(encoding="utf-8"))):
            command = [_tool("shellcheck"), "--shell=bash", "--severity=style", "-"]
            yield Check(f"shellcheck of {file}: {name}", command, stdin=script)


def workflow_files(root: Path) -> list[str]:
    """Ours and those of the examples, relative to the root."""
    ours = sorted(str(path.relative_to(root)) for path in root.glob(".github/workflows/*.yml"))
    return [*ours, *(str(found.path.relative_to(root)) for found in example_workflows(root))]


def _below(root: Path, pattern: str) -> list[str]:
    """Such files of the examples and the build contexts; kustomizations are no objects of a cluster's."""
    found = [
        path for top in ("examples", "registry_client/build_contexts") for path in (root / top).rglob(pattern)
    ]
    return sorted(str(path.relative_to(root)) for path in found if path.name != "kustomization.yaml")


def run_blocks(document: Any) -> Iterator[tuple[str, str]]:
    """Every ``run:`` in an action or workflow, with the name of its step."""
    steps = document.get("runs", {}).get("steps", [])
    for job in document.get("jobs", {}).values():
        steps = [*steps, *job.get("steps", [])]
    for number, step in enumerate(steps, 1):
        if "run" in step:
            yield step.get("name") or step.get("id") or f"step {number}", step["run"]


def _actionlint(files: Sequence[str]) -> Check:
    program = shutil.which("actionlint", path=f"{ROOT / '.tools' / 'bin'}{os.pathsep}{os.environ['PATH']}")
    missing = None if program else "it is a Go program, and `make tools` could not install it here"
    return Check(
        "actionlint", [program or "actionlint", f"-shellcheck={_tool('shellcheck')}", *files], missing=missing
    )


def _tool(name: str) -> str:
    """The program that pip put beside this Python."""
    return shutil.which(name, path=Path(sys.executable).parent) or name


def _say(text: str) -> None:
    sys.stdout.write(text.rstrip() + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(0 if all([check.run() for check in checks()]) else 1)  # noqa: C419 - each one runs
