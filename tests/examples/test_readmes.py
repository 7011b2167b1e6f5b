"""What an example's README says is what its workflow needs, and what W&B must send."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from receiver.event import RegistryEvent, read_event
from tests.examples.environments import EXAMPLES
from tests.stand_ins.wandb import WandbStandIn, Webhook

NAMES = ("evaluate-candidate", "modal", "retrain-on-new-data", "sagemaker")


@pytest.fixture(params=NAMES)
def example(request: pytest.FixtureRequest) -> Path:
    """One example's directory."""
    return EXAMPLES / str(request.param)


def workflow(example: Path) -> str:
    """Its one workflow."""
    (file,) = (example / ".github" / "workflows").iterdir()
    return file.read_text(encoding="utf-8")


def test_every_secret_and_variable_is_explained(example: Path) -> None:
    """
    Whatever the workflow takes from the repository's settings is in README's table, and nothing else is.
    """
    readme = (example / "README.md").read_text(encoding="utf-8")
    used = set(re.findall(r"(?:secrets|vars)\.([A-Z_]+)", workflow(example)))
    named = set(re.findall(r"`([A-Z]+_[A-Z_]+|ENDPOINT)`", readme)) - {"ADD_ARTIFACT_ALIAS"}

    assert used <= named
    assert named <= used


def test_every_file_that_is_run_or_copied_is_there(example: Path) -> None:
    """
    Programs and requirements of the workflow lie beside it, and README says to copy them.
    """
    readme = (example / "README.md").read_text(encoding="utf-8")
    files = set(re.findall(r"\b([\w-]+\.(?:py|txt))\b", workflow(example)))

    assert files
    for file in files:
        assert (example / file).is_file(), file
        assert f"`{file}`" in readme, file


def test_the_payload_is_what_the_workflow_waits_for(example: Path) -> None:
    """
    As W&B fills it in, the receiver reads the payload, and it names the event of the workflow.
    """
    payload = json.loads((example / "payload.json").read_text(encoding="utf-8"))
    waits: Any = yaml.safe_load(workflow(example))[True]  # `on` is a boolean to YAML 1.1.
    happens = "ADD_ARTIFACT_ALIAS" if payload["event_type"] == "BUILD_AND_DEPLOY" else "LINK_ARTIFACT"
    with WandbStandIn() as wandb:
        wandb.add_automation(
            "deploy",
            collection="acme-org/wandb-registry-model/flower",
            event=happens,
            webhook=Webhook("http://127.0.0.1:9"),  # Nobody is there: what was sent is kept all the same.
            payload=payload,
        )
        logged = wandb.log_artifact("acme/training/flower", {"model.onnx": b"x"})
        linked = wandb.link(logged, "acme-org/wandb-registry-model/flower")
        wandb.add_alias("acme-org/wandb-registry-model/flower", linked, "production")
    event = read_event(wandb.executions[-1].payload)

    assert isinstance(event, RegistryEvent)
    assert waits["repository_dispatch"]["types"] == [event.dispatch_type]
    assert event.event == happens
    assert (event.artifact_id, event.version) == (linked.id, "v0")
