"""The step that action.yml runs, start to end, against a W&B that behaves like one."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from registry_client import __main__ as module
from registry_client import __version__
from registry_client.__main__ import main
from registry_client.workflow import MOST_OF_OUTPUTS
from tests.stand_ins.runner import _heredocs
from tests.stand_ins.wandb import Membership, WandbStandIn

SOURCE = "acme/training/flower"
REGISTRY = "acme-org/wandb-registry-model/Flower Shop"
FILES = {"model.bin": b"\x00weights", "labels.txt": b"rose\ntulip\n"}


@dataclass
class Step:
    """One step of a job: its inputs and what it left behind."""

    folder: Path
    environ: dict[str, str] = field(default_factory=dict)
    log: str = ""

    def run(self, event: dict[str, Any] | None = None, **inputs: str) -> int:
        """Run the step for that event with those inputs."""
        (self.folder / "temp").mkdir(exist_ok=True)
        (self.folder / "event.json").write_text(json.dumps(event or {}), encoding="utf-8")
        stdout = io.StringIO()
        given = {f"HANDOFF_INPUT_{name.upper()}": value for name, value in inputs.items()}
        exit_code = main(
            {
                "GITHUB_EVENT_PATH": str(self.folder / "event.json"),
                "GITHUB_OUTPUT": str(self.folder / "output"),
                "GITHUB_STEP_SUMMARY": str(self.folder / "summary"),
                "GITHUB_WORKSPACE": str(self.folder),
                "RUNNER_TEMP": str(self.folder / "temp"),
                **self.environ,
                **given,
            },
            stdout,
        )
        self.log = stdout.getvalue()
        return exit_code

    @property
    def outputs(self) -> dict[str, str]:
        """The outputs as the runner reads them."""
        file = self.folder / "output"
        return _heredocs(file.read_text(encoding="utf-8")) if file.exists() else {}

    @property
    def summary(self) -> str:
        """The step summary."""
        file = self.folder / "summary"
        return file.read_text(encoding="utf-8") if file.exists() else ""


@pytest.fixture
def wandb() -> Iterator[WandbStandIn]:
    """W&B with an organization."""
    with WandbStandIn() as serving:
        serving.add_organization("Acme", entity="acme-org", teams=["acme"])
        yield serving


@pytest.fixture
def step(wandb: WandbStandIn, tmp_path: Path) -> Step:
    """A step whose job has the key."""
    return Step(tmp_path, {"HANDOFF_INPUT_BASE_URL": wandb.url, "HANDOFF_INPUT_API_KEY": wandb.api_key})


@pytest.fixture
def promoted(wandb: WandbStandIn) -> Membership:
    """A model in the registry with the alias production."""
    logged = wandb.log_artifact(SOURCE, FILES, metadata={"accuracy": 0.9}, tags=["approved"])
    return wandb.link(logged, REGISTRY, aliases=["production"])


def handoff(version: Membership, **changes: Any) -> dict[str, Any]:
    """The event that the receiver dispatches for this version."""
    said = {
        "delivery": "d1",
        "key": "k1",
        "event": "ADD_ARTIFACT_ALIAS",
        "artifact": version.reference,
        "version": version.version,
        "entity": version.entity,
        "project": version.collection.project.name,
        "collection": version.collection.name,
        "alias": "production",
        "author": "ana",
        "automation": "Deploy",
        "received_at": "2026-11-20T08:00:00Z",
    }
    return {"action": "BUILD", "client_payload": {"handoff": said | changes}}


def contents(directory: Path) -> dict[str, bytes]:
    """Every file under the directory."""
    return {
        path.relative_to(directory).as_posix(): path.read_bytes()
        for path in directory.rglob("*")
        if path.is_file()
    }


def test_a_promotion_becomes_a_directory(step: Step, promoted: Membership) -> None:
    """The event alone is enough: files, outputs and summary of the version in the registry."""
    assert step.run(handoff(promoted)) == 0, step.log
    outputs = step.outputs
    assert contents(Path(outputs["path"])) == FILES
    assert Path(outputs["path"]).parent == step.folder / "temp" / "handoff"
    assert outputs["artifact"] == f"{REGISTRY}:v0"
    assert outputs["id"] == promoted.id
    assert outputs["digest"] == promoted.digest
    assert outputs["image-tag"] == f"v0-{promoted.digest[:12]}"
    assert outputs["source"] == f"{SOURCE}:v0"
    assert json.loads(outputs["aliases"]) == ["latest", "production"]
    assert json.loads(outputs["tags"]) == ["approved"]
    assert json.loads(outputs["metadata"]) == {"accuracy": 0.9}
    assert (outputs["size"], outputs["file-count"], outputs["reason"]) == ("19", "2", "")
    assert "to <code>production</code> by <code>ana</code>" in step.summary
    assert "labels.txt" in step.summary


def test_the_key_is_masked_before_all_else(step: Step, promoted: Membership, wandb: WandbStandIn) -> None:
    """And stands nowhere else."""
    assert step.run(handoff(promoted)) == 0
    assert step.log.startswith(f"::add-mask::{wandb.api_key}\n")
    said = step.log.replace(f"::add-mask::{wandb.api_key}", "")
    assert wandb.api_key not in said + step.summary + "".join(step.outputs.values())


def test_the_key_may_be_in_the_jobs_environment(
    step: Step, promoted: Membership, wandb: WandbStandIn
) -> None:
    """Under W&B's own name; it is masked too."""
    step.environ = {"WANDB_API_KEY": wandb.api_key, "WANDB_BASE_URL": wandb.url}
    assert step.run(handoff(promoted)) == 0
    assert f"::add-mask::{wandb.api_key}\n" in step.log


@pytest.mark.parametrize(
    "name", [f"{REGISTRY}:production", f"{SOURCE}:v0", "wandb-registry-model/Flower Shop:v0"]
)
def test_an_artifact_may_be_named(step: Step, promoted: Membership, name: str) -> None:
    """Then the event does not matter."""
    assert step.run({}, artifact=name) == 0, step.log
    assert step.outputs["id"] == promoted.id


def test_resolving_alone_downloads_nothing(step: Step, promoted: Membership) -> None:
    """All outputs but the path."""
    assert step.run(handoff(promoted), resolve_only="true", summary="false") == 0
    assert step.outputs["path"] == ""
    assert step.outputs["digest"] == promoted.digest
    assert list((step.folder / "temp").iterdir()) == []
    assert step.summary == ""


def test_a_path_is_relative_to_the_workspace(step: Step, promoted: Membership) -> None:
    """And the output is absolute."""
    assert step.run(handoff(promoted), path="model/here", concurrency="2") == 0
    assert step.outputs["path"] == str(step.folder / "model" / "here")
    assert contents(step.folder / "model" / "here") == FILES


def test_two_steps_of_a_job_may_want_the_same(step: Step, promoted: Membership) -> None:
    """Each default directory is a new one."""
    assert step.run(handoff(promoted)) == 0
    first = step.outputs["path"]
    assert step.run(handoff(promoted)) == 0
    assert step.outputs["path"] == f"{first}-2"


class TestAlias:
    """An alias may move on before the job runs."""

    @pytest.fixture
    def moved(self, wandb: WandbStandIn, promoted: Membership) -> Membership:
        """The alias is on another version by now."""
        newer = wandb.link(wandb.log_artifact(SOURCE, {"model.bin": b"new"}), REGISTRY)
        wandb.add_alias(REGISTRY, newer, "production")
        return promoted

    def test_the_version_of_the_event_is_built_anyway(self, step: Step, moved: Membership) -> None:
        """Unless asked otherwise, a run builds what it was started for."""
        assert step.run(handoff(moved)) == 0
        assert step.outputs["id"] == moved.id

    @pytest.mark.parametrize("wanted", ["event", "production"])
    def test_it_fails_when_asked_to(self, step: Step, moved: Membership, wanted: str) -> None:
        """The annotation says where the alias is now and what to do."""
        assert step.run(handoff(moved), expect_alias=wanted) == 7
        assert "::error title=Handoff%3A alias-moved::" in step.log
        assert "v1 carries it now" in step.log
        assert step.outputs == {"reason": "alias-moved"}

    @pytest.mark.parametrize("wanted", ["event", "production", "latest", ""])
    def test_it_passes_while_the_alias_is_there(self, step: Step, promoted: Membership, wanted: str) -> None:
        """Any of its aliases will do."""
        assert step.run(handoff(promoted), expect_alias=wanted) == 0

    @pytest.mark.parametrize("inputs", [{"artifact": f"{SOURCE}:v0"}, {}])
    def test_an_event_without_an_alias_cannot_be_insisted_on(
        self, step: Step, promoted: Membership, inputs: dict[str, str]
    ) -> None:
        """That is a mistake in the workflow, told as one."""
        assert step.run(handoff(promoted, alias=None), expect_alias="event", **inputs) == 2
        assert "no event with an alias" in step.log


class TestFailures:
    """One annotation each, with what to do, and nothing left behind."""

    def test_wrong_bytes(self, step: Step, promoted: Membership, wandb: WandbStandIn) -> None:
        """The right length is not enough."""
        wandb.faults.add("file:model.bin", times=None, flip_byte=3)
        assert step.run(handoff(promoted)) == 10
        assert "::error title=Handoff%3A verification-failed::model.bin: got MD5 " in step.log
        assert "log it anew" in step.log
        assert step.outputs == {"reason": "verification-failed"}
        assert contents(step.folder / "temp") == {}

    def test_no_artifact(self, step: Step) -> None:
        """An event of another kind says what was looked for."""
        assert step.run({"ref": "refs/heads/main"}) == 2
        assert "names no artifact" in step.log

    def test_a_wrong_key(self, step: Step, promoted: Membership) -> None:
        """The secret's place is named, the secret is not."""
        assert step.run(handoff(promoted), api_key="0" * 40) == 3
        assert "access-denied" in step.log
        assert "`api-key:`" in step.log
        assert step.log.count("0" * 40) == 1

    def test_a_version_that_is_gone(self, step: Step, promoted: Membership, wandb: WandbStandIn) -> None:
        """Deleted is another error than never there."""
        wandb.delete(promoted)
        assert step.run(handoff(promoted)) == 5
        assert "deleted" in step.log

    def test_a_wrong_input(self, step: Step) -> None:
        """Inputs are read before anything is asked."""
        assert step.run({}, concurrency="x") == 2
        assert "the input concurrency" in step.log
        assert step.log.startswith("::add-mask::")

    def test_a_path_that_is_taken(self, step: Step, promoted: Membership) -> None:
        """What lies there stays."""
        (step.folder / "model").mkdir()
        (step.folder / "model" / "mine").write_text("x", encoding="utf-8")
        assert step.run(handoff(promoted), path="model") == 11
        assert contents(step.folder / "model") == {"mine": b"x"}

    @pytest.mark.parametrize("text", ["{", "[" * 100_000])
    def test_an_event_that_cannot_be_read(self, step: Step, text: str, tmp_path: Path) -> None:
        """The file is named."""
        (tmp_path / "broken").write_text(text, encoding="utf-8")
        step.environ["GITHUB_EVENT_PATH"] = str(tmp_path / "broken")
        assert step.run() == 2
        assert "the event of this run cannot be read" in step.log

    @pytest.mark.parametrize("missing", ["GITHUB_EVENT_PATH", "RUNNER_TEMP"])
    def test_outside_a_runner(self, step: Step, promoted: Membership, missing: str) -> None:
        """What is missing can be given as an input."""
        step.environ[missing] = ""
        assert step.run(handoff(promoted)) == 2
        assert "input `" in step.log

    def test_a_mistake_of_ours(
        self, step: Step, promoted: Membership, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Even then there is one annotation, and the traceback commands nothing."""

        def broken(*_: object, **__: object) -> None:
            raise ValueError("x\n::set-output name=path::/etc")

        monkeypatch.setattr(module, "resolve", broken)
        assert step.run(handoff(promoted)) == 1
        commands = [line for line in step.log.splitlines() if line.lstrip().startswith("::")]
        assert len([line for line in commands if not line.startswith("::add-mask::")]) == 1
        assert commands[-1].startswith("::error title=Handoff%3A internal error::ValueError: x%0A")
        assert step.outputs == {"reason": "internal-error"}


def test_metadata_too_large_for_an_output_is_left_out(step: Step, wandb: WandbStandIn) -> None:
    """With a warning; everything else is set."""
    wandb.log_artifact(SOURCE, FILES, metadata={"notes": "x" * (MOST_OF_OUTPUTS // 4)})
    assert step.run({}, artifact=f"{SOURCE}:latest") == 0
    assert "::warning title=Handoff::the metadata is too large" in step.log
    assert step.outputs["metadata"] == ""
    assert step.outputs["file-count"] == "2"


def test_what_people_in_wandb_write_stays_data(step: Step, wandb: WandbStandIn) -> None:
    """Names, aliases and metadata that look like commands are told as text."""
    nasty = "x ##[set-output name=path]y $(touch pwned) `id` <img src=x> ::error"
    logged = wandb.log_artifact(
        SOURCE,
        {f"{nasty[:20]}.txt": b"x"},
        metadata={"a": "\n::set-output name=path::/etc\nb<<EOF\n"},
        aliases=[nasty[:20]],
    )
    linked = wandb.link(logged, "acme-org/wandb-registry-model/x ##[error]y $(touch pwned)", aliases=["a\nb"])
    assert step.run(handoff(linked, author=nasty)) == 0, step.log
    assert "##[" not in step.log
    assert "<img" not in step.summary
    assert json.loads(step.outputs["metadata"]) == {"a": "\n::set-output name=path::/etc\nb<<EOF\n"}
    assert step.outputs["path"].startswith(str(step.folder / "temp"))
    commands = [line for line in step.log.splitlines() if line.lstrip().startswith("::")]
    assert all(line.startswith("::add-mask::") for line in commands)


def test_the_version_can_be_asked_for() -> None:
    """Without anything else."""
    stdout = io.StringIO()
    assert main({}, stdout, ["--version"]) == 0
    assert stdout.getvalue() == f"handoff {__version__}\n"
