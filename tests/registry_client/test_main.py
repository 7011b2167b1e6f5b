"""The step that action.yml runs, start to end, against a W&B that behaves like one."""

from __future__ import annotations

import io
import json
import signal
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from registry_client import __main__ as module
from registry_client import __version__
from registry_client.__main__ import main
from registry_client.workflow import MOST_OF_OUTPUTS
from tests.stand_ins.github_oidc import GitHubOidc
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
        assert len(self.annotations("error")) == (0 if exit_code == 0 else 1), self.log
        return exit_code

    def annotations(self, kind: str) -> list[str]:
        """What the run is annotated with."""
        return [line for line in self.log.splitlines() if line.lstrip().startswith(f"::{kind} ")]

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


def file_requests(wandb: WandbStandIn) -> list[str]:
    """Every file that was asked for."""
    return [each.target for each in wandb.requests if each.target and each.target.startswith("file:")]


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
    assert (outputs["fetched"], outputs["reused"], outputs["references"]) == ("19", "0", "")
    known = json.loads(Path(outputs["provenance"]).read_text(encoding="utf-8"))
    assert outputs["provenance"] == f"{outputs['path']}.provenance.json"
    assert promoted.digest in json.dumps(known)
    assert f"={REGISTRY}:v0\n" in outputs["labels"]
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
    assert (step.outputs["path"], step.outputs["provenance"], step.outputs["fetched"]) == ("", "", "0")
    assert step.outputs["digest"] == promoted.digest
    assert f"={REGISTRY}:v0\n" in step.outputs["labels"]
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


def test_what_is_at_the_path_already_is_kept(step: Step, promoted: Membership, wandb: WandbStandIn) -> None:
    """On a runner that keeps its workspace, the second job proves the files and fetches none."""
    assert step.run(handoff(promoted), path="model") == 0
    before = len(file_requests(wandb))
    assert step.run(handoff(promoted), path="model") == 0
    assert (step.outputs["fetched"], step.outputs["reused"]) == ("0", "19")
    assert len(file_requests(wandb)) == before
    assert "19 bytes were here already" in step.summary


@pytest.mark.parametrize(
    ("inputs", "want"),
    [
        ({"include": "*.txt"}, {"labels.txt"}),
        ({"exclude": "\n*.txt\n"}, {"model.bin"}),
        ({"include": "*.txt\nmodel.*", "exclude": "labels.*"}, {"model.bin"}),
    ],
)
def test_some_files_may_be_enough(
    step: Step, promoted: Membership, inputs: dict[str, str], want: set[str]
) -> None:
    """Size and count are those of the files that are there."""
    assert step.run(handoff(promoted), **inputs) == 0, step.log
    there = contents(Path(step.outputs["path"]))
    assert set(there) == want
    assert step.outputs["size"] == str(sum(map(len, there.values())))
    assert step.outputs["file-count"] == "1"
    assert "1 file(s) selected" in step.summary


class TestCache:
    """Files of earlier jobs."""

    @pytest.fixture
    def tools(self, step: Step) -> Path:
        """A self-hosted runner's tool cache."""
        tools = step.folder / "tools"
        step.environ |= {"RUNNER_ENVIRONMENT": "self-hosted", "RUNNER_TOOL_CACHE": str(tools)}
        return tools

    def test_a_runner_that_lasts_has_one(
        self, step: Step, promoted: Membership, tools: Path, wandb: WandbStandIn
    ) -> None:
        """Then the second job fetches nothing."""
        assert step.run(handoff(promoted)) == 0
        assert len(contents(tools / "wandb-handoff" / "artifacts" / "obj")) == 2
        before = len(file_requests(wandb))
        assert step.run(handoff(promoted)) == 0
        assert contents(Path(step.outputs["path"])) == FILES
        assert (step.outputs["fetched"], step.outputs["reused"]) == ("0", "19")
        assert len(file_requests(wandb)) == before

    def test_damage_in_it_does_not_come_through(self, step: Step, promoted: Membership, tools: Path) -> None:
        """The file is fetched anew."""
        assert step.run(handoff(promoted)) == 0
        for file in (tools / "wandb-handoff" / "artifacts" / "obj").rglob("*"):
            if file.is_file() and file.stat().st_size == 8:
                file.write_bytes(b"12345678")
        assert step.run(handoff(promoted)) == 0
        assert contents(Path(step.outputs["path"])) == FILES
        assert (step.outputs["fetched"], step.outputs["reused"]) == ("8", "11")

    def test_it_can_be_switched_off(self, step: Step, promoted: Membership, tools: Path) -> None:
        """With `none`."""
        assert step.run(handoff(promoted), cache_dir="none") == 0
        assert not tools.exists()

    def test_its_limit_is_kept(self, step: Step, promoted: Membership, tools: Path) -> None:
        """What is larger stays out."""
        assert step.run(handoff(promoted), cache_dir="cache", cache_size="10B") == 0
        assert list(contents(step.folder / "cache" / "artifacts" / "obj").values()) == [FILES["model.bin"]]
        assert not tools.exists()


class TestCancelled:
    """The runner ends the job: SIGINT first, then SIGTERM."""

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_the_next_try_goes_on(
        self, step: Step, promoted: Membership, wandb: WandbStandIn, number: signal.Signals
    ) -> None:
        """One annotation, the signal's exit code, nothing at the path; then the rest is fetched."""
        main_thread = threading.main_thread().ident or 0
        stop = threading.Timer(0.2, lambda: signal.pthread_kill(main_thread, number))
        wandb.faults.add("file:model.bin", cut_after=1, stall=60, then=stop.start)

        assert step.run(handoff(promoted), path="model", concurrency="1") == 128 + number
        assert "::error title=Handoff%3A cancelled::" in step.log
        assert step.outputs == {"reason": "cancelled"}
        assert not (step.folder / "model").exists()

        assert step.run(handoff(promoted), path="model") == 0, step.log
        assert contents(step.folder / "model") == FILES


class TestAlias:
    """An alias may move on before the job runs."""

    @pytest.fixture
    def moved(self, wandb: WandbStandIn, promoted: Membership) -> Membership:
        """The alias is on another version by now."""
        newer = wandb.link(wandb.log_artifact(SOURCE, {"model.bin": b"new"}), REGISTRY)
        wandb.add_alias(REGISTRY, newer, "production")
        return promoted

    def test_the_version_of_the_event_is_built_anyway(self, step: Step, moved: Membership) -> None:
        """With ``none``, a run builds what it was started for."""
        assert step.run(handoff(moved), expect_alias="none") == 0
        assert step.outputs["id"] == moved.id

    @pytest.mark.parametrize("wanted", ["event", "production", ""])
    def test_it_fails_when_asked_to(self, step: Step, moved: Membership, wanted: str) -> None:
        """The annotation says where the alias is now and what to do."""
        assert step.run(handoff(moved), expect_alias=wanted) == 7
        assert "::error title=Handoff%3A alias-moved::" in step.log
        assert "v1 carries it now" in step.log
        assert step.outputs == {"reason": "alias-moved"}

    @pytest.mark.parametrize("wanted", ["event", "production", "latest", "", "none"])
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


class TestWithoutAKey:
    """A job signs in with GitHub's own token."""

    @pytest.fixture
    def github(self, wandb: WandbStandIn) -> Iterator[GitHubOidc]:
        """GitHub, whose tokens that W&B takes for a service account."""
        with GitHubOidc() as github:
            wandb.add_user("deployer")
            wandb.federation.trust(github.issuer, audience="Acme", subject=github.subject, user="deployer")
            yield github

    @pytest.fixture
    def keyless(self, step: Step, wandb: WandbStandIn, github: GitHubOidc) -> Step:
        """A step without a key, in a job that may have an identity token."""
        step.environ = {"WANDB_BASE_URL": wandb.url, **github.environ}
        return step

    def test_it_downloads(
        self, keyless: Step, promoted: Membership, wandb: WandbStandIn, github: GitHubOidc
    ) -> None:
        """One exchange, and both tokens are masked before they are used."""
        identity = github.token("Acme")
        github.spoil = lambda _: identity
        assert keyless.run(handoff(promoted), auth="oidc", audience="Acme") == 0, keyless.log
        assert contents(Path(keyless.outputs["path"])) == FILES
        tokens = [identity, *wandb.federation.given]
        assert keyless.log.startswith("".join(f"::add-mask::{token}\n" for token in tokens))
        assert [keyless.log.count(token) for token in tokens] == [1, 1]

    def test_another_audience_is_not_taken(self, keyless: Step, promoted: Membership) -> None:
        """What was shown and what is wanted is told, the token is not."""
        assert keyless.run(handoff(promoted), auth="oidc") == 3
        assert "aud 'wandb'" in keyless.log
        assert "`auth: oidc`" in keyless.log
        masked, _, told = keyless.log.partition("\n")
        assert masked.startswith("::add-mask::eyJ")
        assert "eyJ" not in told

    def test_without_the_permission_it_is_told(self, keyless: Step, promoted: Membership) -> None:
        """Which one the job needs."""
        del keyless.environ["ACTIONS_ID_TOKEN_REQUEST_URL"]
        assert keyless.run(handoff(promoted), auth="oidc") == 2
        assert "id-token: write" in keyless.log

    def test_a_key_can_be_insisted_on(self, keyless: Step, promoted: Membership, tmp_path: Path) -> None:
        """Then a token file is not looked at."""
        keyless.environ |= {"WANDB_IDENTITY_TOKEN_FILE": str(tmp_path / "missing"), "HOME": str(tmp_path)}
        assert keyless.run(handoff(promoted), auth="key") == 3
        assert "access-denied" in keyless.log


class TestDigest:
    """Another job may have said which version it must be."""

    def test_the_one_that_the_receiver_verified_is_insisted_on(
        self, step: Step, promoted: Membership
    ) -> None:
        """What was promoted is what is downloaded, or nothing is."""
        assert step.run(handoff(promoted, digest=promoted.digest), resolve_only="true") == 0
        assert step.run(handoff(promoted, digest="0" * 32)) == 10
        assert step.run(handoff(promoted, digest="0" * 32), expect_alias="none", resolve_only="true") == 0

    def test_the_same_passes(self, step: Step, promoted: Membership) -> None:
        """In capitals, too."""
        assert step.run(handoff(promoted), expect_digest=promoted.digest.upper(), resolve_only="true") == 0

    def test_another_fails(self, step: Step, promoted: Membership) -> None:
        """Before anything is downloaded."""
        assert step.run(handoff(promoted), expect_digest="0" * 32) == 10
        assert f"want {'0' * 32}" in step.log
        assert step.outputs == {"reason": "verification-failed"}
        assert contents(step.folder / "temp") == {}


class TestReferences:
    """Files that the artifact only points at."""

    @pytest.fixture
    def pointing(self, wandb: WandbStandIn) -> Membership:
        """An artifact with a file in a bucket."""
        elsewhere = {"big.bin": {"ref": "s3://bucket/big.bin", "digest": "an-etag", "size": 5}}
        return wandb.log_artifact(SOURCE, FILES, references=elsewhere)

    def test_they_are_refused_by_default(self, step: Step, pointing: Membership) -> None:
        """With the list, and what to do."""
        assert step.run({}, artifact=pointing.name) == 9
        assert "s3://bucket/big.bin" in step.log
        assert "`references:`" in step.log

    def test_they_can_be_left_out(self, step: Step, pointing: Membership) -> None:
        """And are listed beside the directory."""
        assert step.run({}, artifact=pointing.name, references="list") == 0, step.log
        assert contents(Path(step.outputs["path"])) == FILES
        (told,) = json.loads(Path(step.outputs["references"]).read_text(encoding="utf-8"))["references"]
        assert (told["path"], told["url"]) == ("big.bin", "s3://bucket/big.bin")
        assert "1 file(s) outside W&amp;B left out" in step.summary
        assert step.outputs["file-count"] == "2"


class TestFailures:
    """One annotation each, with what to do, and nothing left behind."""

    def test_wrong_bytes(self, step: Step, promoted: Membership, wandb: WandbStandIn) -> None:
        """The right length is not enough."""
        wandb.faults.add("file:model.bin", times=None, flip_byte=3)
        assert step.run(handoff(promoted)) == 10
        assert "::error title=Handoff%3A verification-failed::model.bin: got MD5 " in step.log
        assert "log it anew" in step.log
        assert step.outputs == {"reason": "verification-failed"}
        left = [path.name for path in (step.folder / "temp" / "handoff").iterdir()]
        assert [name for name in left if not name.startswith(".")] == []  # What is proven waits for the next.

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
        assert "`replace: true`" in step.log

    def test_a_path_that_may_be_replaced(self, step: Step, promoted: Membership) -> None:
        """Only the version's files are there afterwards."""
        (step.folder / "model").mkdir()
        (step.folder / "model" / "mine").write_text("x", encoding="utf-8")
        assert step.run(handoff(promoted), path="model", replace="true") == 0
        assert contents(step.folder / "model") == FILES

    def test_too_large(self, step: Step, promoted: Membership) -> None:
        """Before the first byte, with both numbers."""
        assert step.run(handoff(promoted), max_size="18B") == 14
        assert "19 bytes" in step.log
        assert "`max-size:`" in step.log
        assert contents(step.folder / "temp") == {}

    def test_outputs_that_cannot_be_written(self, step: Step, promoted: Membership) -> None:
        """Even then it is one annotation."""
        (step.folder / "output").mkdir()
        step.environ["GITHUB_OUTPUT"] = str(step.folder / "output")
        assert step.run(handoff(promoted)) == 1
        assert "internal-error::IsADirectoryError" in step.log

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
        assert commands[-1].startswith("::error title=Handoff%3A internal-error::ValueError: x%0A")
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
    linked = wandb.link(
        logged, "acme-org/wandb-registry-model/x ##[error]y $(touch pwned)", aliases=["production", "a\nb"]
    )
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


def test_a_build_context_is_written(step: Step, wandb: WandbStandIn) -> None:
    """Beside the directory, told as an output and in the summary; its labels do not tell of the promotion."""
    logged = wandb.log_artifact("acme/training/net", {"model.onnx": b"weights"})
    promoted = wandb.link(logged, REGISTRY, aliases=["production"])

    assert step.run(handoff(promoted), context="onnx") == 0, step.log
    context = Path(step.outputs["context"])
    assert context == Path(f"{step.outputs['path']}.context")
    assert (context / "model" / "model.onnx").read_bytes() == b"weights"
    dockerfile = (context / "Dockerfile").read_text(encoding="utf-8")
    assert f'\nLABEL io.github.wandb-handoff.id="{promoted.id}"\n' in dockerfile
    assert "wandb-handoff.alias" not in dockerfile
    assert str(context) in step.summary


def test_files_that_make_no_image_fail_the_step(step: Step, promoted: Membership) -> None:
    """With the reason for a workflow that goes on, and the names that are there."""
    assert step.run(handoff(promoted), context="onnx") == 17
    assert step.outputs["reason"] == "build-context"
    assert "labels.txt, model.bin" in step.annotations("error")[0]


@pytest.mark.parametrize(
    ("inputs", "told"),
    [
        ({"context": "docker"}, "want none, onnx or torchserve"),
        ({"context": "onnx", "resolve_only": "true"}, "no files"),
    ],
    ids=["unknown", "resolve-only"],
)
def test_a_context_that_cannot_be_is_refused(step: Step, inputs: dict[str, str], told: str) -> None:
    """Before anything is asked of W&B."""
    assert step.run({}, **inputs) == 2
    assert told in step.annotations("error")[0]
