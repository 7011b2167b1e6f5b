"""The server for ONNX models: it answers as the protocol says, and no model that is broken is ever ready."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import requests
from onnx import TensorProto, helper

ROOT = Path(__file__).resolve().parents[2]
TEMPLATE = ROOT / "registry_client" / "build_contexts" / "onnx"
EXAMPLE = ROOT / "examples" / "onnx-fastapi"
WEIGHTS = np.arange(12, dtype=np.float32).reshape(4, 3) / 10
ROW = [1.0, 2.0, 3.0, 4.0]
ANSWER = [6.0, 7.0, 8.0]


def save(path: Path) -> None:
    """A model of one layer: rows of four numbers become rows of three."""
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "W"], ["y"]), helper.make_node("Cast", ["x"], ["whole"], to=7)],
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["rows", 4])],
        [
            helper.make_tensor_value_info("y", TensorProto.FLOAT, ["rows", 3]),
            helper.make_tensor_value_info("whole", TensorProto.INT64, ["rows", 4]),
        ],
        [helper.make_tensor("W", TensorProto.FLOAT, [4, 3], WEIGHTS.ravel())],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


def question(data: Any = ROW, shape: Any = (1, 4), **changes: Any) -> dict[str, Any]:
    """One input of that model, as the protocol has it."""
    tensor = {"name": "x", "shape": list(shape), "datatype": "FP32", "data": data}
    return {"inputs": [tensor | changes]}


def start(model: Path) -> subprocess.Popen[str]:
    """The server, on a port that the kernel chooses."""
    environ = {
        **{name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
        "MODEL_DIR": str(model),
        "MODEL_VERSION": "v7",
        "ORT_DISABLE_TELEMETRY": "1",
        "PYTHONUNBUFFERED": "1",
    }
    command = [sys.executable, "-m", "uvicorn", "server:app", "--port", "0"]
    return subprocess.Popen(
        command, cwd=TEMPLATE, env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


@contextmanager
def serving(model: Path) -> Iterator[str]:
    """Its address, once it takes questions."""
    with start(model) as process:
        try:
            log = ""
            assert process.stdout is not None
            for line in process.stdout:
                log += line
                if found := re.search(r"running on (http://127\.0\.0\.1:\d+)", line):
                    yield found[1]
                    break
            else:
                pytest.fail(log)
        finally:
            process.terminate()
            process.communicate()


def refused(model: Path) -> str:
    """What a server that does not start says."""
    with start(model) as process:
        log, _ = process.communicate(timeout=60)
    assert process.returncode != 0, log
    assert "running on" not in log
    return log


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server with the model in a directory of the artifact."""
    folder = tmp_path_factory.mktemp("model")
    (folder / "deep").mkdir()
    save(folder / "deep" / "net.onnx")
    with serving(folder) as address:
        yield address


def ask(server: str, body: Mapping[str, Any] | bytes) -> requests.Response:
    """Ask for a prediction."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    headers = {"Content-Type": "application/json"}
    return requests.post(f"{server}/v2/models/model/infer", data=data, headers=headers, timeout=30)


def test_it_predicts_what_the_model_predicts(server: str) -> None:
    """
    All outputs, with their types and shapes, the version, and the question's own id.
    """
    answer = ask(server, {**question([ROW, [0, 0, 0, 1]], (2, 4)), "id": "q1"})

    assert answer.status_code == 200, answer.text
    told = answer.json()
    y, whole = told.pop("outputs")
    assert told == {"model_name": "model", "model_version": "v7", "id": "q1"}
    assert (y["name"], y["datatype"], y["shape"]) == ("y", "FP32", [2, 3])
    assert y["data"] == pytest.approx((np.array([ROW, [0, 0, 0, 1]]) @ WEIGHTS).ravel(), rel=1e-6)
    assert whole == {"name": "whole", "datatype": "INT64", "shape": [2, 4], "data": [1, 2, 3, 4, 0, 0, 0, 1]}


def test_only_what_is_wanted_is_told(server: str) -> None:
    """
    The outputs that the question names.
    """
    told = ask(server, {**question(), "outputs": [{"name": "y"}]}).json()

    assert [each["name"] for each in told["outputs"]] == ["y"]


def test_what_is_not_finite_is_null(server: str) -> None:
    """
    JSON has no infinity, and a reader must not stumble over one.
    """
    told = ask(server, {**question([3.4e38] * 4), "outputs": [{"name": "y"}]}).json()

    assert told["outputs"][0]["data"] == [None, None, None]


def test_it_says_what_it_is(server: str) -> None:
    """
    Health, and what may be asked, as clients of the protocol look for it.
    """
    for path in ("/v2/health/live", "/v2/health/ready", "/v2/models/model/ready", "/v2"):
        assert requests.get(server + path, timeout=30).status_code == 200
    told = requests.get(f"{server}/v2/models/model", timeout=30).json()

    assert told["versions"] == ["v7"]
    assert told["inputs"] == [{"name": "x", "datatype": "FP32", "shape": [-1, 4]}]
    assert [each["name"] for each in told["outputs"]] == ["y", "whole"]


@pytest.mark.parametrize(
    ("body", "told"),
    [
        pytest.param(question(shape=(1, 5)), "reshape", id="shape"),
        pytest.param(question(shape=(4, 1)), "cannot take", id="shape-of-another-model"),
        pytest.param(question(["a", "b", "c", "d"]), "x:", id="letters"),
        pytest.param(question([True] * 4), "is not FP32", id="kind"),
        pytest.param(question([[1, 2], [3]]), "x:", id="ragged"),
        pytest.param(question(datatype="FP64"), "want FP32", id="datatype"),
        pytest.param(question(name="z"), "no input 'z', but x", id="name"),
        pytest.param({"inputs": []}, "input x is missing", id="missing"),
        pytest.param({**question(), "outputs": [{"name": "z"}]}, "no output 'z', but y, whole", id="output"),
        pytest.param({"input": 1}, "inputs", id="not-a-question"),
        pytest.param(b"{", "JSON", id="not-json"),
    ],
)
def test_a_wrong_question_is_told_why(server: str, body: Mapping[str, Any] | bytes, told: str) -> None:
    """
    With 400 and one line, and the next question is answered.
    """
    answer = ask(server, body)

    assert (answer.status_code, told in answer.json()["error"]) == (400, True), answer.text
    assert ask(server, question()).status_code == 200


def test_a_question_without_end_is_refused(server: str) -> None:
    """
    Sixteen MiB are a question; more would only fill the memory, whatever is said of the length.
    """
    answer = requests.post(
        f"{server}/v2/models/model/infer",
        data=iter([b" " * 1024 * 1024] * 17),
        headers={"Content-Type": "application/json"},
        timeout=30,
    )

    assert answer.status_code == 413
    assert requests.get(f"{server}/v2/models/other", timeout=30).json() == {"error": "Not Found"}


def test_a_model_that_keeps_its_word_is_served(tmp_path: Path) -> None:
    """
    Its sample.json is asked first, and rounding is forgiven.
    """
    save(tmp_path / "model.onnx")
    save(tmp_path / "other.onnx")
    close = {"name": "y", "shape": [1, 3], "datatype": "FP32", "data": [6.0001, 7.0, 8.0]}
    (tmp_path / "sample.json").write_text(json.dumps(question() | {"outputs": [close]}), encoding="utf-8")

    with serving(tmp_path) as address:
        assert ask(address, question()).status_code == 200


@pytest.mark.parametrize(
    ("sample", "told"),
    [
        (
            {"outputs": [{"name": "y", "shape": [1, 3], "datatype": "FP32", "data": [6, 7, 9]}]},
            "got [6.0, 7.0",
        ),
        ({"outputs": [{"name": "z", "shape": [1], "datatype": "FP32", "data": [6]}]}, "z: got []"),
        (question(shape=(2, 2)), "cannot answer its own sample.json"),
        ({"inputs": 1}, "cannot answer its own sample.json"),
    ],
    ids=["another-answer", "no-such-output", "wrong-shape", "no-sample"],
)
def test_a_model_that_breaks_its_word_is_never_ready(
    tmp_path: Path, sample: dict[str, Any], told: str
) -> None:
    """
    The process ends and says why, before the port is open: what ran before goes on.
    """
    save(tmp_path / "model.onnx")
    (tmp_path / "sample.json").write_text(json.dumps(question() | sample), encoding="utf-8")

    assert told in refused(tmp_path)


def test_bytes_that_are_no_model_are_never_ready(tmp_path: Path) -> None:
    """
    Cut short, say.
    """
    save(tmp_path / "net.onnx")
    (tmp_path / "net.onnx").write_bytes((tmp_path / "net.onnx").read_bytes()[:60])

    assert "net.onnx cannot be loaded" in refused(tmp_path)


def test_which_of_two_models_must_be_said(tmp_path: Path) -> None:
    """
    Nothing is guessed.
    """
    for name in ("a.onnx", "b.onnx"):
        save(tmp_path / name)

    assert "2 files end in .onnx, want one: set MODEL_FILE" in refused(tmp_path)
