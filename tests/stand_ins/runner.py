"""A stand-in for GitHub's runner: the bash steps of one composite action, as a job would run them."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

_EXPRESSION = re.compile(r"\$\{\{\s*(.*?)\s*\}\}")
# What GitHub gives to every step; the machine's own variables stay outside.
_PASSED_ON = ("PATH", "HOME", "LANG", "SYSTEMROOT")


@dataclass(frozen=True)
class StepResult:
    """What a run of the action left behind."""

    exit_code: int
    outputs: Mapping[str, str]
    summary: str
    log: str


class CompositeRunner:
    """Runs a composite action whose expressions are ``inputs.*``, ``github.action_path`` and ``steps.*``.

    As on GitHub, and unlike some other runners, ``INPUT_*`` variables are not set.
    """

    def __init__(self, action: Path, workspace: Path) -> None:
        self._action_path = action
        self._action: dict[str, Any] = yaml.safe_load((action / "action.yml").read_text(encoding="utf-8"))
        self._workspace = workspace

    def run(
        self,
        inputs: Mapping[str, str],
        *,
        event: Mapping[str, Any],
        event_name: str = "repository_dispatch",
        repository: str = "acme/serving",
    ) -> StepResult:
        """Run every step in its order; the first that fails ends the run."""
        unknown = set(inputs) - set(self._action["inputs"])
        if unknown:
            raise ValueError(f"action.yml knows no input {sorted(unknown)}")
        shutil.rmtree(self._workspace, ignore_errors=True)
        (self._workspace / "temp").mkdir(parents=True)
        environ = self._environment(event, event_name, repository)
        values = {name: str(each.get("default", "")) for name, each in self._action["inputs"].items()}
        names = {f"inputs.{name}": value for name, value in (values | dict(inputs)).items()}
        names["github.action_path"] = str(self._action_path)
        log, exit_code = "", 0
        for step in self._action["runs"]["steps"]:
            exit_code, said = self._step(step, names, environ)
            log += said
            if exit_code:
                break
        outputs = {
            name: _filled(each["value"], names, missing="") for name, each in self._action["outputs"].items()
        }
        return StepResult(exit_code, outputs, self._file("summary").read_text(encoding="utf-8"), log)

    def _step(
        self, step: Mapping[str, Any], names: dict[str, str], environ: dict[str, str]
    ) -> tuple[int, str]:
        if step["shell"] != "bash":
            raise ValueError(f"this runner knows bash alone, got {step['shell']}")
        self._file("output").write_text("", encoding="utf-8")
        script = self._file("script.sh")
        script.write_text(_filled(step["run"], names), encoding="utf-8")
        own = {name: _filled(str(value), names) for name, value in step.get("env", {}).items()}
        done = subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", str(script)],
            cwd=self._workspace,
            env=environ | own,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            check=False,
        )
        for name, value in _heredocs(self._file("output").read_text(encoding="utf-8")).items():
            names[f"steps.{step.get('id', '')}.outputs.{name}"] = value
        return done.returncode, done.stdout

    def _file(self, name: str) -> Path:
        return self._workspace / f"_{name}"

    def _environment(self, event: Mapping[str, Any], event_name: str, repository: str) -> dict[str, str]:
        self._file("event.json").write_text(json.dumps(event), encoding="utf-8")
        self._file("summary").touch()
        return {name: os.environ[name] for name in _PASSED_ON if name in os.environ} | {
            "CI": "true",
            "GITHUB_ACTIONS": "true",
            "GITHUB_ACTION_PATH": str(self._action_path),
            "GITHUB_EVENT_NAME": event_name,
            "GITHUB_EVENT_PATH": str(self._file("event.json")),
            "GITHUB_OUTPUT": str(self._file("output")),
            "GITHUB_REPOSITORY": repository,
            "GITHUB_STEP_SUMMARY": str(self._file("summary")),
            "GITHUB_WORKSPACE": str(self._workspace),
            "RUNNER_TEMP": str(self._workspace / "temp"),
        }


def _filled(text: str, names: Mapping[str, str], *, missing: str | None = None) -> str:
    def value(match: re.Match[str]) -> str:
        found = names.get(match[1], missing)
        if found is None:
            raise ValueError(f"this runner cannot evaluate {match[0]}")
        return found

    return _EXPRESSION.sub(value, text)


def _heredocs(text: str) -> dict[str, str]:
    """Read a file of outputs as the runner does: ``NAME=VALUE`` or ``NAME<<END`` … ``END``."""
    outputs: dict[str, str] = {}
    lines = iter(text.split("\n"))
    for line in lines:
        name, mark, rest = _first_mark(line)
        if mark == "=":
            outputs[name] = rest
        elif mark == "<<":
            value = []
            for inner in lines:
                if inner == rest:
                    break
                value.append(inner)
            else:
                raise ValueError(f"output {name!r}: its delimiter {rest!r} never comes")
            outputs[name] = "\n".join(value)
        elif line:
            raise ValueError(f"not an output: {line!r}")
    return outputs


def _first_mark(line: str) -> tuple[str, str, str]:
    equals, heredoc = line.find("="), line.find("<<")
    mark = "<<" if heredoc >= 0 and (equals < 0 or heredoc < equals) else "="
    return line.partition(mark)
