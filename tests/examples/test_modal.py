"""The example for Modal: as far as it goes without an account, which is all but the sending."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from tests.examples.environments import EXAMPLES, python_with

EXAMPLE = EXAMPLES / "modal"
ASK = """
import json, sys
from app import Model
from prove import NotProvenError, prove
sample = json.load(open(sys.argv[1]))
model = Model()
print(json.dumps(model.web.local({"rows": [[1, 0], [0, 1]]})))
prove(sample, "v7", model.predict.local)
for wrong in (sample | {"outputs": [{"name": "label", "data": [1, 1]}]}, sample):
    try:
        prove(wrong, "v7" if wrong is not sample else "v8", model.predict.local, sleep=lambda _: None)
    except NotProvenError as error:
        print(error)
"""


@pytest.fixture(scope="module")
def python() -> Path:
    """Modal's client and what its image has, both as pinned."""
    return python_with(EXAMPLE / "requirements-deploy.txt", EXAMPLE / "requirements.txt")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A model that says which of two numbers is larger, and its sample."""
    graph = helper.make_graph(
        [helper.make_node("ArgMax", ["x"], ["label"], axis=1, keepdims=0)],
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["rows", 2])],
        [helper.make_tensor_value_info("label", TensorProto.INT64, ["rows"])],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(made, tmp_path / "model.onnx")
    rows = np.array([[3, 1], [1, 3]], dtype=np.float32)
    sample = {
        "inputs": [{"name": "x", "shape": [2, 2], "datatype": "FP32", "data": rows.ravel().tolist()}],
        "outputs": [{"name": "label", "shape": [2], "datatype": "INT64", "data": [0, 1]}],
    }
    (tmp_path / "sample.json").write_text(json.dumps(sample), encoding="utf-8")
    return tmp_path


def test_the_deployed_class_predicts_and_is_proven(python: Path, model: Path) -> None:
    """
    Modal's client takes the app as it is; its class predicts, and a wrong answer or version is told.
    """
    environ = {"PATH": "", "PYTHONPATH": str(EXAMPLE), "MODEL_PATH": str(model), "MODEL_DIR": str(model)}
    done = subprocess.run(
        [python, "-c", ASK, model / "sample.json"],
        env=environ | {"VERSION": "v7", "HOME": str(model), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        encoding="utf-8",
        check=False,
        timeout=120,
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        '{"labels": [0, 1], "version": "v7"}',
        "labels: got [0, 1], want [1, 1] as sample.json says",
        "version: got 'v7' for minutes, want 'v8'",
    ]


def test_its_types_are_those_of_modals_client(python: Path, tmp_path: Path) -> None:
    """
    Strict mypy finds nothing, against the types that Modal ships.
    """
    command = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(tmp_path)]
    command += ["--python-executable", str(python), "app.py", "prove.py"]
    done = subprocess.run(command, cwd=EXAMPLE, capture_output=True, encoding="utf-8", check=False)

    assert done.returncode == 0, done.stdout
