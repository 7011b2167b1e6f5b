"""The example that retrains: data in W&B become a model in its registry, which is what was trained."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from registry_client import connect, download, resolve
from tests.action import act
from tests.action.act import Act
from tests.examples import flowers
from tests.examples.environments import EXAMPLES, python_with
from tests.examples.uploads import Uploads
from tests.stand_ins.wandb import Membership, WandbStandIn

EXAMPLE = EXAMPLES / "retrain-on-new-data"
WORKFLOW = (EXAMPLE / ".github" / "workflows" / "retrain-on-new-data.yml").read_text(encoding="utf-8")
REGISTRY = "acme-org/wandb-registry-model/flower"


@pytest.fixture
def wandb() -> Iterator[WandbStandIn]:
    """W&B with an organization."""
    with WandbStandIn() as serving:
        serving.add_organization("Acme", entity="acme-org", teams=["acme"])
        yield serving


CONTENT = flowers.data(600, 1)


@pytest.fixture(scope="module")
def python() -> Path:
    """Both jobs' packages, as pinned."""
    return python_with(EXAMPLE / "requirements.txt", EXAMPLE / "requirements-publish.txt")


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory, python: Path) -> list[Path]:
    """What train.py makes of the same data twice, with exactly the packages that its requirements name."""
    folder = tmp_path_factory.mktemp("trained")
    (folder / "data.csv").write_bytes(CONTENT)
    made = [folder / "first", folder / "second"]
    for model in made:
        subprocess.run([python, EXAMPLE / "train.py", folder, model], check=True, env={"PATH": ""})
    return made


@pytest.fixture
def data(wandb: WandbStandIn) -> Membership:
    """A data set in the registry."""
    logged = wandb.log_artifact("acme/data/flowers", {"data.csv": CONTENT}, type="dataset")
    return wandb.link(logged, "acme-org/wandb-registry-dataset/flowers")


def published(
    model: Path, data: Membership, uploads: Uploads, wandb: WandbStandIn, tmp_path: Path
) -> Mapping[str, str]:
    """The outputs of publish.py, with W&B's real SDK in it."""
    folders = {f"WANDB_{kind}_DIR": str(tmp_path / kind) for kind in ("CACHE", "CONFIG", "DATA")}
    output = tmp_path / "output"
    output.touch()
    environ = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        **folders,
        "WANDB_BASE_URL": uploads.url,
        "WANDB_API_KEY": wandb.api_key,
        "WANDB_DIR": str(tmp_path),
        "WANDB_ERROR_REPORTING": "false",
        "MODEL_PROJECT": "acme/training",
        "MODEL_NAME": "flower",
        "LINK_TO": REGISTRY,
        "DATA": data.name,
        "KEY": "k1",
        "RUN_URL": "https://github.com/acme/training/actions/runs/1",
        "GITHUB_SHA": "0123abc",
        "GITHUB_OUTPUT": str(output),
        "GITHUB_STEP_SUMMARY": str(tmp_path / "summary"),
    }
    done = subprocess.run(
        [sys.executable, EXAMPLE / "publish.py", model],
        env=environ,
        cwd=tmp_path,
        capture_output=True,
        encoding="utf-8",
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return dict(line.split("=", 1) for line in output.read_text(encoding="utf-8").splitlines())


def test_new_data_become_a_version_in_the_registry(
    wandb: WandbStandIn, data: Membership, models: list[Path], tmp_path: Path
) -> None:
    """
    W&B's own SDK logs and links what was trained, with its lineage; what Handoff downloads are those bytes.
    """
    registry = connect({"WANDB_BASE_URL": wandb.url, "WANDB_API_KEY": wandb.api_key})
    with Uploads(wandb) as uploads, registry:
        told = published(models[0], data, uploads, wandb, tmp_path)
        version = resolve(told["artifact"], registry)
        download(version, tmp_path / "got", registry)

    assert told["artifact"] == f"{REGISTRY}:v0"
    assert {each.name: each.read_bytes() for each in (tmp_path / "got").iterdir()} == {
        each.name: each.read_bytes() for each in models[0].iterdir()
    }
    assert version.metadata["data"] == data.name
    assert uploads.used == [data.id]
    (config,) = uploads.runs.values()
    assert config["workflow_run"]["value"] == "https://github.com/acme/training/actions/runs/1"


def test_the_same_data_make_no_second_version(
    wandb: WandbStandIn, data: Membership, models: list[Path], tmp_path: Path
) -> None:
    """
    The same data give the same bytes, so a dispatch that came twice leaves one version and one run.
    """
    with Uploads(wandb) as uploads:
        names = [published(model, data, uploads, wandb, tmp_path)["artifact"] for model in models]

    assert names == [f"{REGISTRY}:v0"] * 2
    assert len(uploads.runs) == 1


def test_the_model_comes_with_a_question_and_its_answer(models: list[Path]) -> None:
    """
    sample.json holds rows and the labels that the exported model gave, for whoever serves it to compare.
    """
    sample = json.loads((models[0] / "sample.json").read_text(encoding="utf-8"))

    assert sample["inputs"][0]["shape"] == [3, 3]
    assert set(sample["outputs"][0]["data"]) <= set(flowers.KINDS)


@pytest.mark.skipif(act.PROGRAM is None, reason=act.WHY_NOT)
def test_the_workflow_does_all_of_it(
    wandb: WandbStandIn, data: Membership, python: Path, tmp_path: Path
) -> None:
    """
    In a real runner: downloaded, trained, handed from job to job, logged and linked, the data set tagged.
    """
    runner = Act(tmp_path / "act", stood_in_for(tmp_path))
    for file in (each for each in EXAMPLE.iterdir() if each.is_file()):
        (runner.repository / file.name).write_bytes(file.read_bytes())
    handoff = {
        "key": "k1",
        "artifact": data.reference,
        "version": data.version,
        "entity": data.entity,
        "project": data.collection.project.name,
        "collection": data.collection.name,
    }
    variables = {"MODEL_PROJECT": "acme/training", "MODEL_NAME": "flower", "LINK_TO": REGISTRY}
    with Uploads(wandb) as uploads:
        run = runner.run(
            WORKFLOW,
            {"action": "RETRAIN", "client_payload": {"handoff": handoff}},
            *(word for name, value in variables.items() for word in ("--var", f"{name}={value}")),
            secrets={"WANDB_API_KEY": wandb.api_key, "WANDB_WRITE_API_KEY": wandb.add_user("writer").api_key},
            environ={
                "PATH": f"{python.parent}{os.pathsep}{os.environ['PATH']}",
                "WANDB_BASE_URL": uploads.url,
                "WANDB_DIR": str(tmp_path),
                "WANDB_ERROR_REPORTING": "false",
            },
        )

    assert run.exit_code == 0, run.log
    assert uploads.used == [data.id]
    assert data.artifact.tags == ["trained-on"]
    with connect({"WANDB_BASE_URL": wandb.url, "WANDB_API_KEY": wandb.api_key}) as registry:
        assert resolve(f"{REGISTRY}:latest", registry).metadata["data"] == data.name


def stood_in_for(folder: Path) -> dict[str, Path]:
    """The actions that need GitHub, so that files get from one job to the next all the same."""
    copies = {
        "actions/setup-python": "true",
        "actions/upload-artifact": 'cp -r "${{ inputs.path }}" "$RECORD/${{ inputs.name }}"',
        "actions/download-artifact": """mkdir -p "${{ inputs.path }}"
            cp -r "$RECORD/${{ inputs.name }}/." "${{ inputs.path }}\"""",
    }
    found = {"wandb-handoff/handoff@v0.1.0": act.packaged(folder / "handoff")}
    for name, script in copies.items():
        names = ("python-version", "name", "path", "if-no-files-found")
        inputs = {each: {"description": each} for each in names}
        runs = {"using": "composite", "steps": [{"shell": "bash", "run": script}]}
        pin = WORKFLOW.split(f"uses: {name}@")[1].split()[0]
        found[f"{name}@{pin}"] = place = folder / "stubs" / name.partition("/")[2]
        place.mkdir(parents=True)
        action = {"name": name, "description": name, "inputs": inputs, "runs": runs}
        (place / "action.yml").write_text(json.dumps(action), encoding="utf-8")
    return found


def test_settings_that_are_missing_are_all_named(tmp_path: Path) -> None:
    """
    Nothing is begun at W&B, and every missing variable is named at once.
    """
    done = subprocess.run(
        [sys.executable, EXAMPLE / "publish.py", tmp_path],
        env={"PATH": "", "MODEL_NAME": "flower"},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )

    assert done.returncode == 1
    assert done.stderr == "missing: MODEL_PROJECT, LINK_TO, DATA, KEY, RUN_URL, GITHUB_SHA\n"
