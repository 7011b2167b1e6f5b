"""Actions of others that our workflows use, doing the same with what is on this machine.

On GitHub they are fetched by their commits; here each is a folder that act takes instead.
"""

from __future__ import annotations

import json
import re
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from tests.action import act

HANDOFF = "wandb-handoff/handoff"
_BUILD = "docker/build-push-action"
# What they do is not needed here: their inputs are recorded.
_RECORDED = {
    "actions/attest",
    "actions/attest-build-provenance",
    "actions/setup-python",
    "docker/login-action",
    "docker/metadata-action",
    "docker/setup-buildx-action",
}


def repositories(workflow: str, folder: Path, handoff: Path) -> Mapping[str, Path]:
    """A folder for each action that the workflow uses, as ``--local-repository`` wants them."""
    found = {}
    for used, inputs in _uses(workflow).items():
        path, _, ref = used.partition("@")
        name = "/".join(path.split("/")[:2])
        if name == HANDOFF:
            found[f"{name}@{ref}"] = handoff
        elif name == _BUILD:
            found[used] = build_action(folder / "build-push-action", inputs)
        elif name in _RECORDED:
            found[used] = act.stub(folder / name.split("/")[1], inputs)
        elif name != "actions/checkout":  # act does this by itself.
            raise ValueError(f"nothing here does what {used} does")
    return found


def build_action(folder: Path, inputs: Sequence[str]) -> Path:
    """docker/build-push-action, which builds with buildah; it tells the digest that the registry has."""
    program = Path(__file__).with_name("build_and_push.py")
    step = {
        "id": "build",
        "shell": "bash",
        "env": {"INPUTS": "${{ toJSON(inputs) }}"},
        "run": f'{shlex.quote(sys.executable)} -I {shlex.quote(str(program))} "$INPUTS"',
    }
    outputs = {
        name: {"description": name, "value": f"${{{{ steps.build.outputs.{name} }}}}"} for name in ("digest",)
    }
    action = {
        "name": folder.name,
        "description": "Builds and pushes",
        "inputs": {name: {"description": name} for name in inputs},
        "outputs": outputs,
        "runs": {"using": "composite", "steps": [step]},
    }
    folder.mkdir(parents=True)
    (folder / "action.yml").write_text(json.dumps(action), encoding="utf-8")  # JSON is YAML too.
    return folder


def _uses(workflow: str) -> Mapping[str, Sequence[str]]:
    """The actions that are used, with the inputs that are given."""
    jobs: Mapping[str, Any] = yaml.safe_load(workflow)["jobs"]
    found: dict[str, list[str]] = {}
    for job in jobs.values():
        for step in job.get("steps", ()):
            if "uses" in step and not re.match(r"\./", step["uses"]):
                found.setdefault(step["uses"], []).extend(step.get("with", {}))
    return found
