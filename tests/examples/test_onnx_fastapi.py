"""The server for ONNX models: it answers as the protocol says, and no model that is broken is ever ready."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import requests
import yaml
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


DOCKER = """#!/usr/bin/env bash
# As far as rollout goes: one container serves; the new one is what $NEW says.
echo "$*" >> "$TOLD"
case $1 in
  pull) [ "$NEW" != missing ] ;;
  inspect) echo "$NEW" ;;
  port) echo 127.0.0.1:49001 ;;
  ps) echo model-old ;;
  logs) echo "the model does not predict what its sample.json says" ;;
esac
"""


@dataclass(frozen=True)
class Machine:
    """The machine that serves: nginx's process, what it includes, and an engine."""

    folder: Path
    nginx: subprocess.Popen[str]

    def roll_out(self, new: str) -> tuple[int, str]:
        """Roll out a container of that state; the exit code, and what was said."""
        environ = {
            "PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}",
            "FRONT": str(self.folder),
            "TOLD": str(self.folder / "told"),
            "NEW": new,
        }
        command = [str(EXAMPLE / "rollout"), "ghcr.io/acme/model@sha256:1"]
        done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False, timeout=60)
        return done.returncode, done.stdout + done.stderr

    @property
    def upstream(self) -> str:
        """Whom nginx asks."""
        return (self.folder / "upstream.conf").read_text(encoding="utf-8")

    @property
    def told(self) -> list[str]:
        """What the engine was told, in order, from when the container was there."""
        return (self.folder / "told").read_text(encoding="utf-8").splitlines()


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    """Something serves there; what stands for nginx ends its worker when it is told to read anew."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "docker").write_text(DOCKER, encoding="utf-8")
    (tmp_path / "bin" / "docker").chmod(0o755)
    (tmp_path / "upstream.conf").write_text("upstream model { server 127.0.0.1:49000; }\n", encoding="utf-8")
    program = "sleep 60 & worker=$!; trap 'kill $worker; wait $worker; echo anew; exit' HUP; echo up; wait"
    heard = ["env", "--default-signal=HUP", "bash", "-c", program]  # Even where whoever tests ignores it.
    with subprocess.Popen(heard, stdout=subprocess.PIPE, text=True) as nginx:
        assert nginx.stdout is not None
        assert nginx.stdout.readline() == "up\n"
        (tmp_path / "nginx.pid").write_text(str(nginx.pid), encoding="utf-8")
        yield Machine(tmp_path, nginx)
        nginx.send_signal(signal.SIGHUP)


@pytest.mark.skipif(os.name == "nt", reason="it is for a machine with Docker and bash")
def test_a_healthy_model_takes_over(machine: Machine) -> None:
    """
    The web server is told whom to ask, and the old one is ended only when the old workers are gone.
    """
    code, said = machine.roll_out("0 healthy")

    assert code == 0, said
    assert machine.upstream == "upstream model { server 127.0.0.1:49001; }\n"
    assert machine.nginx.communicate(timeout=30)[0] == "anew\n"
    assert machine.told[-2:] == ["stop --time 10 model-old", "rm --volumes model-old"]
    started = next(line for line in machine.told if line.startswith("run "))
    assert "--read-only --cap-drop ALL --security-opt no-new-privileges" in started


@pytest.mark.skipif(os.name == "nt", reason="it is for a machine with Docker and bash")
@pytest.mark.parametrize("state", ["1 starting", "0 unhealthy"])
def test_a_model_that_is_not_healthy_changes_nothing(machine: Machine, state: str) -> None:
    """
    It is taken away, the run says why in the model's own words, and what served goes on.
    """
    code, said = machine.roll_out(state)

    assert code == 1
    assert (
        "::error title=The new model is not served::Its container ended or is unhealthy. What served" in said
    )
    assert "does not predict what its sample.json says" in said
    assert machine.upstream == "upstream model { server 127.0.0.1:49000; }\n"
    assert machine.told[-1].startswith("rm --force --volumes model-")
    assert not any(line.startswith("stop") for line in machine.told)


def test_an_image_that_is_not_there_changes_nothing(machine: Machine) -> None:
    """
    Not even a container is started.
    """
    code, _ = machine.roll_out("missing")

    assert code != 0
    assert machine.told == ["pull --quiet ghcr.io/acme/model@sha256:1"]


def test_the_payload_is_the_one_of_the_readme() -> None:
    """
    The one that the receiver's tests read.
    """
    sample = ROOT / "tests" / "samples" / "readme_template.json"

    assert json.loads((EXAMPLE / "payload.json").read_text()) == json.loads(sample.read_text())


def test_the_readme_shows_what_is_in_the_workflow() -> None:
    """
    Its steps for the Action's own context differ from the workflow's only by the context.
    """
    readme = (EXAMPLE / "README.md").read_text(encoding="utf-8")
    workflow = yaml.safe_load((EXAMPLE / ".github" / "workflows" / "deploy.yml").read_text(encoding="utf-8"))
    (shown,) = re.findall(r"^```yaml\n(.*?)^```", readme, re.MULTILINE | re.DOTALL)
    there = {step["name"]: step for step in workflow["jobs"]["build"]["steps"]}

    model, image = yaml.safe_load(shown)
    assert model["with"].pop("context") == "onnx"
    assert model == there[model["name"]]
    assert image["with"].pop("context") == "${{ steps.model.outputs.context }}"
    assert image["uses"] == there[image["name"]]["uses"]
    assert image["with"].items() <= there[image["name"]]["with"].items()


def test_the_sample_of_the_readme_is_one(tmp_path: Path) -> None:
    """
    The server reads it: this model does not answer so, and is not served.
    """
    readme = (EXAMPLE / "README.md").read_text(encoding="utf-8")
    sample = re.findall(r"^```json\n(.*?)^```", readme, re.MULTILINE | re.DOTALL)[0]
    save(tmp_path / "model.onnx")
    (tmp_path / "sample.json").write_text(sample, encoding="utf-8")

    assert "does not predict what its sample.json says: y: got [" in refused(tmp_path)
