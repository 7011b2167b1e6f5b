"""A real runner: ``act`` in host mode, alone with a home of its own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = shutil.which("act", path=f"{ROOT / '.tools' / 'bin'}{os.pathsep}{os.environ['PATH']}")
WHY_NOT = "act, the runner, is a Go program, and `make tools` could not install it here"


@dataclass(frozen=True)
class ActRun:
    """What one run of a workflow left in act's own log."""

    exit_code: int
    entries: Sequence[Mapping[str, Any]]

    @property
    def log(self) -> str:
        """Everything that was printed, secrets hidden."""
        return "\n".join(str(entry.get("msg", "")).rstrip() for entry in self.entries)

    @property
    def annotations(self) -> Mapping[str, str]:
        """Errors and warnings by title, as the runner read them."""
        said = [entry for entry in self.entries if entry.get("command") in {"error", "warning"}]
        return {str(entry["kvPairs"].get("title", "")): str(entry["arg"]) for entry in said}

    @property
    def results(self) -> Mapping[str, str]:
        """The result of each step by its name, and of the job under ``job``."""
        steps = [entry for entry in self.entries if "stepResult" in entry and entry.get("stage") == "Main"]
        jobs = [entry for entry in self.entries if "jobResult" in entry]
        found = {str(entry["step"]): str(entry["stepResult"]) for entry in steps}
        return found | {"job": str(jobs[-1]["jobResult"]) if jobs else "never ran"}


class Act:
    """Runs workflows in a repository of their own, with local folders in the place of other repositories."""

    def __init__(self, folder: Path, repositories: Mapping[str, Path], patience: float = 120) -> None:
        self._patience = patience
        self.repository = folder / "repository"
        self.recorded = folder / "recorded"
        self._home = folder / "home"
        self._repositories = repositories
        for each in (self.repository / ".github" / "workflows", self.recorded, self._home):
            each.mkdir(parents=True)

    def run(
        self,
        workflow: str,
        event: Mapping[str, Any],
        *arguments: str,
        event_name: str = "repository_dispatch",
        secrets: Mapping[str, str] | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> ActRun:
        """Run the workflow for the event; each step finds ``RECORD``, a folder that stays."""
        (self.repository / ".github" / "workflows" / "build.yml").write_text(workflow, encoding="utf-8")
        self._commit()
        event_file = self._home / "event.json"
        event_file.write_text(json.dumps(event), encoding="utf-8")
        command = [
            *(
                PROGRAM or "act",
                event_name,
                "--eventpath",
                str(event_file),
                "--json",
                "--action-offline-mode",
            ),
            *("--artifact-server-addr", "127.0.0.1", "--cache-server-addr", "127.0.0.1"),
            *("-P", "ubuntu-latest=-self-hosted", "-P", "ubuntu-24.04=-self-hosted"),
            *(f"--local-repository={name}={folder}" for name, folder in self._repositories.items()),
            *(f"--secret={name}={value}" for name, value in (secrets or {}).items()),
            *arguments,
        ]
        own = {"HOME": str(self._home), "PATH": self._path, "RECORD": str(self.recorded)}
        done = subprocess.run(
            command,
            cwd=self.repository,
            env=own | dict(environ or {}),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            check=False,
            timeout=self._patience,
        )
        entries = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
        return ActRun(done.returncode, [*entries, {"msg": done.stderr}])

    @property
    def _path(self) -> str:
        return f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"

    def _commit(self) -> None:
        author = ("-c", "user.name=Ana", "-c", "user.email=ana@example.org", "-c", "commit.gpgsign=false")
        for words in (
            ["init", "-q", "-b", "main"],
            ["add", "-A"],
            ["commit", "-q", "--allow-empty", "-m", "x"],
        ):
            subprocess.run(
                ["git", *author, *words],
                cwd=self.repository,
                env={"HOME": str(self._home), "PATH": self._path},
                check=True,
            )


def packaged(folder: Path) -> Path:
    """A folder with what GitHub would fetch for ``uses:`` and no more: both actions and the packaged file."""
    for name in ("dist", "report"):
        (folder / name).mkdir(parents=True)
    shutil.copy(ROOT / "action.yml", folder)
    shutil.copy(ROOT / "report" / "action.yml", folder / "report")
    shutil.copy(ROOT / "dist" / "registry_client.pyz", folder / "dist")
    return folder


def stub(folder: Path, inputs: Sequence[str]) -> Path:
    """An action in the place of one that is not under test: it records its inputs as JSON."""
    step = {
        "shell": "bash",
        "env": {"INPUTS": "${{ toJSON(inputs) }}", "NAME": folder.name},
        "run": 'printf %s "$INPUTS" > "$RECORD/$NAME.json"',
    }
    action = {
        "name": folder.name,
        "description": "Records its inputs",
        "inputs": {name: {"description": name} for name in inputs},
        "runs": {"using": "composite", "steps": [step]},
    }
    folder.mkdir(parents=True)
    (folder / "action.yml").write_text(json.dumps(action), encoding="utf-8")  # JSON is YAML too.
    return folder
