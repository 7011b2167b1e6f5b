"""examples/torchserve-kubernetes: what its scripts decide, without a cluster and without TorchServe."""

from __future__ import annotations

import importlib.util
import json
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "torchserve-kubernetes"
IMAGE = f"ghcr.io/acme/serving/model-server@sha256:{'a' * 64}"


def loaded(path: str) -> ModuleType:
    """A script of the example, as a module."""
    name = f"example_{Path(path).stem}"
    spec = importlib.util.spec_from_file_location(name, EXAMPLE / path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


rollout = loaded("rollout.py")
probe = loaded("serving/probe.py")


@dataclass
class Answering:
    """A server that answers every question so."""

    url: str
    status: int = 200
    body: str = ""
    asked: str = ""


@pytest.fixture
def server() -> Iterator[Answering]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            told.asked = f"{self.path} {self.rfile.read(int(self.headers['Content-Length'])).decode()}"
            self.send_response(told.status)
            self.end_headers()
            self.wfile.write(told.body.encode())

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    with HTTPServer(("127.0.0.1", 0), Handler) as listening:
        told = Answering(f"http://127.0.0.1:{listening.server_port}")
        thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield told
        listening.shutdown()
        thread.join()


@pytest.fixture
def sample(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "sample.json"
    path.write_text('{"data": [[1, 2]], "predictions": [[0.25, 0.75]]}', encoding="utf-8")
    monkeypatch.setattr(probe, "SAMPLE", path)
    return path


@pytest.mark.parametrize("answer", ["[[0.25, 0.75]]", "[[0.2500001, 0.7499999]]"], ids=["same", "rounded"])
def test_a_right_prediction_is_ready(server: Answering, sample: Path, answer: str) -> None:
    """
    The model's own sample is asked, and its own answer, up to rounding, is what makes the pod ready.
    """
    assert sample.exists()
    server.body = f'{{"predictions": {answer}}}'
    assert probe.main([server.url]) == 0
    assert server.asked == '/predictions/model {"data": [[1, 2]]}'


@pytest.mark.parametrize(
    ("status", "body", "why"),
    [
        (200, '{"predictions": [[0.75, 0.25]]}', "sample.json wants"),
        (200, '{"predictions": [[0.25]]}', "sample.json wants"),
        (200, '{"predictions": []}', "0 predictions for 1 rows"),
        (200, '{"predictions": [[NaN, 0.75]]}', "no number"),
        (200, '{"status": "Healthy"}', "predictions"),
        (200, "<html>", "Expecting value"),
        (503, '{"code": 503,\n "message": "no worker"}', '503 {"code": 503, "message": "no worker"}'),
    ],
    ids=["wrong", "fewer numbers", "none", "NaN", "no prediction", "no JSON", "503"],
)
def test_anything_else_is_not_ready(
    server: Answering, sample: Path, capsys: pytest.CaptureFixture[str], *, status: int, body: str, why: str
) -> None:
    """
    A wrong answer, or none, is not ready, and one line says why.
    """
    assert sample.exists()
    server.status, server.body = status, body
    assert probe.main([server.url]) == 1
    said = capsys.readouterr().out
    assert said.startswith("not ready: ")
    assert why in said
    assert said.count("\n") == 1


def test_a_sample_without_an_answer_takes_any_finite_one(server: Answering, sample: Path) -> None:
    """
    Where the artifact does not say what is right, a number for each row is.
    """
    sample.write_text('{"data": [[1, 2]]}', encoding="utf-8")
    server.body = '{"predictions": [7]}'
    assert probe.main([server.url]) == 0
    server.body = '{"predictions": [NaN]}'
    assert probe.main([server.url]) == 1


def test_nobody_there_is_not_ready(server: Answering, sample: Path) -> None:
    """
    A refused connection, and a missing sample, are answers too.
    """
    sample.unlink()
    assert probe.main([server.url]) == 1


@pytest.mark.parametrize("image", ["model-server:v1", "model-server", f"{IMAGE}0", f"x y@sha256:{'a' * 64}"])
def test_only_a_digest_is_rolled_out(image: str, capsys: pytest.CaptureFixture[str]) -> None:
    """
    A tag could mean another image tomorrow.
    """
    overlay = str(EXAMPLE / "kubernetes" / "overlays" / "production")
    assert rollout.main(["--image", image, "--artifact", "v1", "--overlay", overlay]) == 1
    assert "want the image as NAME@sha256:DIGEST" in capsys.readouterr().out


def test_the_name_of_an_artifact_is_text_and_nothing_else() -> None:
    """
    Whatever a collection is called, it stays one value in the manifest.
    """
    name = 'a"b\nimages: [] #:v1'
    told = yaml.safe_load(rollout.Release(IMAGE, name).kustomization("production"))
    assert told["commonAnnotations"][rollout.ARTIFACT] == name
    name, _, digest = IMAGE.partition("@")
    assert told["images"] == [{"name": "model-server", "newName": name, "digest": digest}]


def test_a_log_commands_no_runner(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    What a container writes is shown between stop-commands, and as plain text in the summary.
    """
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary.md"))
    rollout.told("one\n::add-mask::x\n# <b>")

    first, *lines, last = capsys.readouterr().out.splitlines()
    assert lines == ["one", "::add-mask::x", "# <b>"]
    assert first == f"::stop-commands::{last.strip(':')}"
    assert all(
        line.startswith("    ") for line in (tmp_path / "summary.md").read_text("utf-8").splitlines() if line
    )


def test_pods_are_confined() -> None:
    """
    Not root, nothing to write but /tmp, no capability, no token of the cluster's; never fewer pods.
    """
    manifest = (EXAMPLE / "kubernetes" / "base" / "deployment.yaml").read_text("utf-8")
    told = yaml.safe_load(manifest)["spec"]
    pod = told["template"]["spec"]
    (server,) = pod["containers"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["automountServiceAccountToken"] is False
    assert server["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert [each["mountPath"] for each in server["volumeMounts"]] == ["/tmp"]  # noqa: S108 - the pod's own
    assert told["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}
    for kind in ("startupProbe", "readinessProbe"):
        assert server[kind]["exec"]["command"][-1] == "/serving/probe.py"
        assert server[kind]["timeoutSeconds"] > probe.SECONDS


def test_base_images_and_packages_are_pinned() -> None:
    """
    The base by its digest, every package by its hash.
    """
    serving = EXAMPLE / "serving"
    bases = [
        line for line in (serving / "Dockerfile").read_text("utf-8").splitlines() if "FROM debian" in line
    ]
    assert bases
    assert all("@sha256:" in line for line in bases)
    names = [
        line for line in (serving / "requirements.txt").read_text("utf-8").splitlines() if line[0].isalpha()
    ]
    assert names
    assert all(line.endswith("\\") for line in names)


def test_the_payload_is_the_one_in_readme() -> None:
    """
    The automation's payload is the one that README has, to the letter.
    """
    readme = (EXAMPLE.parents[1] / "README.md").read_text("utf-8")
    payload = (EXAMPLE / "payload.json").read_text("utf-8")
    assert payload.strip() in readme
    assert json.loads(payload)["event_type"] == "BUILD_AND_DEPLOY"
