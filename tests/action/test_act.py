"""The packaged Action in a real runner, started by the event that a receiver's dispatch became."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml

from tests.action import act
from tests.action.act import Act, ActRun
from tests.action.serve import FILES, REGISTRY, SOURCE
from tests.stand_ins.github import GitHubStandIn
from tests.stand_ins.wandb import Membership, WandbStandIn

pytestmark = pytest.mark.skipif(act.PROGRAM is None, reason=act.WHY_NOT)

EXAMPLE = (act.ROOT / "examples" / "build-and-deploy.yml").read_text(encoding="utf-8")
SELFTEST = (act.ROOT / ".github" / "workflows" / "selftest.yml").read_text(encoding="utf-8")
HANDOFF = "wandb-handoff/handoff@v0.1.0"
WORKFLOW = f"""
on:
  repository_dispatch:
    types: [BUILD_AND_DEPLOY]
jobs:
  build:
    runs-on: ubuntu-latest
    steps:
      - name: Download
        id: model
        uses: {HANDOFF}
        with:
          api-key: ${{{{ secrets.WANDB_API_KEY }}}}
          expect-alias: ${{{{ vars.EXPECT_ALIAS }}}}
      - name: Record
        if: always()
        env:
          OUTPUTS: ${{{{ toJSON(steps.model.outputs) }}}}
          MODEL: ${{{{ steps.model.outputs.path }}}}
        run: |
          printf %s "$OUTPUTS" > "$RECORD/outputs.json"
          if [ -n "$MODEL" ]; then cp -r "$MODEL" "$RECORD/model"; fi
"""


@pytest.fixture
def wandb() -> Iterator[WandbStandIn]:
    """W&B with an organization."""
    with WandbStandIn() as serving:
        serving.add_organization("Acme", entity="acme-org", teams=["acme"])
        yield serving


@pytest.fixture
def promoted(wandb: WandbStandIn) -> Membership:
    """A model in the registry with the alias production."""
    return wandb.link(wandb.log_artifact(SOURCE, FILES), REGISTRY, aliases=["production"])


@pytest.fixture
def runner(tmp_path: Path) -> Act:
    """A runner that finds the packaged Action where a user's workflow names it."""
    return Act(tmp_path / "act", {HANDOFF: act.packaged(tmp_path / "action")})


def dispatched(version: Membership, **changes: Any) -> dict[str, Any]:
    """The event that GitHub makes of the receiver's dispatch."""
    handoff = {
        "delivery": "d1",
        "key": "k1",
        "event": "ADD_ARTIFACT_ALIAS",
        "artifact": version.reference,
        "version": version.version,
        "entity": version.entity,
        "project": version.collection.project.name,
        "collection": version.collection.name,
        "alias": "production",
        "tag": None,
        "author": "ana",
        "automation": "Deploy",
        "received_at": "2026-11-20T08:00:00Z",
    }
    payload = {"artifact_version_string": version.name, "handoff": handoff | changes}
    with GitHubStandIn() as github:
        github.add_repository("acme/serving")
        token = github.add_token("github_pat_" + "a" * 40, repositories=["acme/serving"])
        answer = requests.post(
            f"{github.url}/repos/acme/serving/dispatches",
            json={"event_type": "BUILD_AND_DEPLOY", "client_payload": payload},
            headers={"Authorization": f"Bearer {token.value}", "Accept": "application/vnd.github+json"},
            timeout=10,
        )
        assert answer.status_code == requests.codes.no_content, answer.text
        assert github.violations == []
        return github.event(github.dispatches[0])


def run(
    runner: Act, wandb: WandbStandIn, event: Mapping[str, Any], workflow: str = WORKFLOW, *arguments: str
) -> ActRun:
    """Run a workflow whose repository has the key as a secret."""
    return runner.run(
        workflow,
        event,
        *arguments,
        secrets={"WANDB_API_KEY": wandb.api_key, "GITHUB_TOKEN": "ghs_none"},
        environ={"WANDB_BASE_URL": wandb.url},
    )


def contents(directory: Path) -> dict[str, bytes]:
    """Every file under the directory."""
    return {
        path.relative_to(directory).as_posix(): path.read_bytes()
        for path in directory.rglob("*")
        if path.is_file()
    }


def outputs_of(runner: Act) -> dict[str, str]:
    """The outputs as the step after it found them."""
    found: dict[str, str] = json.loads((runner.recorded / "outputs.json").read_text(encoding="utf-8"))
    return found


def test_a_promotion_becomes_files_and_outputs(
    runner: Act, wandb: WandbStandIn, promoted: Membership
) -> None:
    """The next step finds every byte and every output."""
    done = run(runner, wandb, dispatched(promoted))

    assert done.exit_code == 0, done.log
    assert contents(runner.recorded / "model") == FILES
    outputs = outputs_of(runner)
    assert outputs["artifact"] == f"{REGISTRY}:v0"
    assert outputs["digest"] == promoted.digest
    assert outputs["file-count"] == "3"
    labels = dict(line.split("=", 1) for line in outputs["labels"].split("\n"))
    assert labels["io.github.wandb-handoff.digest"] == promoted.digest
    assert labels["io.github.wandb-handoff.alias"] == "production"
    assert set(outputs) == set(
        yaml.safe_load((act.ROOT / "action.yml").read_text(encoding="utf-8"))["outputs"]
    )
    assert wandb.api_key not in done.log


def test_wrong_bytes_fail_the_job(runner: Act, wandb: WandbStandIn, promoted: Membership) -> None:
    """One byte in a file of the right length: an annotation, and nothing for the next step."""
    wandb.faults.add("file:model.bin", times=None, flip_byte=1000)

    done = run(runner, wandb, dispatched(promoted))

    assert done.exit_code != 0
    assert (done.results["Download"], done.results["job"]) == ("failure", "failure")
    assert done.annotations["Handoff: verification-failed"].startswith("model.bin: got MD5 ")
    assert {name: value for name, value in outputs_of(runner).items() if value} == {
        "reason": "verification-failed"
    }
    assert not (runner.recorded / "model").exists()


def test_a_moved_alias_fails_unless_told_otherwise(
    runner: Act, wandb: WandbStandIn, promoted: Membership
) -> None:
    """The annotation says where it went."""
    newer = wandb.link(wandb.log_artifact(SOURCE, {"model.bin": b"newer"}), REGISTRY)
    wandb.add_alias(REGISTRY, newer, "production")

    done = run(runner, wandb, dispatched(promoted))

    assert done.results["job"] == "failure"
    assert "v1 carries it now" in done.annotations["Handoff: alias-moved"]
    anyway = run(runner, wandb, dispatched(promoted), WORKFLOW, "--var=EXPECT_ALIAS=none")
    assert anyway.results["job"] == "success"


def test_what_people_in_wandb_write_stays_data(runner: Act, wandb: WandbStandIn) -> None:
    """No name, alias, author or metadata runs, sets an output or forges an annotation."""
    nasty = '$(touch "$RECORD/pwned")`touch "$RECORD/pwned"`'
    logged = wandb.log_artifact(
        SOURCE,
        {"$(touch pwned) ##[error]x.txt": b"x", "::error title=forged::x": b"y"},
        metadata={"a": "\n::set-output name=path::/etc\npath<<EOF\n/etc\nEOF\n", "b": nasty},
    )
    linked = wandb.link(
        logged, "acme-org/wandb-registry-model/x ##[set-output name=path]y", aliases=["production", "a\nb=c"]
    )

    done = run(runner, wandb, dispatched(linked, author=f"{nasty}\n::error title=forged::x"))

    assert done.exit_code == 0, done.log
    assert not (runner.recorded / "pwned").exists()
    assert "forged" not in done.annotations
    assert len(contents(runner.recorded / "model")) == 2
    assert outputs_of(runner)["artifact"] == linked.name
    assert json.loads(outputs_of(runner)["metadata"])["b"] == nasty


def test_the_workflow_to_copy_builds_the_promoted_model(
    tmp_path: Path, wandb: WandbStandIn, promoted: Membership
) -> None:
    """As it stands; the actions of others that it uses are told the model's directory, tag and labels."""
    names = re.findall(r"uses: (docker/\S+)", EXAMPLE)
    stubs = {
        name: act.stub(tmp_path / name.split("@")[0].split("/")[1], _inputs_given(name)) for name in names
    }
    runner = Act(tmp_path / "act", {HANDOFF: act.packaged(tmp_path / "action"), **stubs})

    done = run(runner, wandb, dispatched(promoted), EXAMPLE)

    assert done.exit_code == 0, done.log
    told = json.loads((runner.recorded / "build-push-action.json").read_text(encoding="utf-8"))
    assert re.fullmatch(r"model=/.*/handoff/Flower-Shop-v0-[0-9a-f]{12}", told["build-contexts"])
    assert told["tags"].endswith(f":v0-{promoted.digest[:12]}")
    assert f"io.github.wandb-handoff.digest={promoted.digest}" in told["labels"].split("\n")


@pytest.mark.parametrize("job", ["download", "refuse"])
def test_the_self_test_passes(tmp_path: Path, job: str) -> None:
    """The jobs that run on GitHub for every change, those included in which the Action must fail."""
    (python,) = set(re.findall(r"uses: (actions/setup-python@\S+)", SELFTEST))
    runner = Act(tmp_path / "act", {python: act.stub(tmp_path / "setup-python", ["python-version"])})
    act.packaged(runner.repository)
    for name in ("tests/action", "tests/stand_ins", "registry_client"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(act.ROOT / name, runner.repository / name, ignore=ignored)
    (runner.repository / "tests" / "__init__.py").touch()

    done = runner.run(SELFTEST, {}, "--job", job, "--matrix", "os:ubuntu-24.04", event_name="push")

    assert done.exit_code == 0, done.log
    failed = {name for name, result in done.results.items() if result != "success"}
    assert failed == {
        "Download what must be refused" if job == "refuse" else "Give it an alias that W&B would not take"
    }
    assert done.results["job"] == "success"


def _inputs_given(action: str) -> list[str]:
    steps = yaml.safe_load(EXAMPLE)["jobs"]["build"]["steps"]
    return [name for step in steps if step.get("uses") == action for name in step.get("with", {})]
