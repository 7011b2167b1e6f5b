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
from tests.examples import flowers
from tests.examples.environments import EXAMPLES, python_with
from tests.examples.uploads import Uploads
from tests.stand_ins.wandb import Membership, WandbStandIn

EXAMPLE = EXAMPLES / "retrain-on-new-data"
REGISTRY = "acme-org/wandb-registry-model/flower"


@pytest.fixture
def wandb() -> Iterator[WandbStandIn]:
    """W&B with an organization."""
    with WandbStandIn() as serving:
        serving.add_organization("Acme", entity="acme-org", teams=["acme"])
        yield serving


CONTENT = flowers.data(600, 1)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """What train.py makes of the same data twice, with exactly the packages that its requirements name."""
    python, folder = python_with(EXAMPLE / "requirements.txt"), tmp_path_factory.mktemp("trained")
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
