"""Models that are trained here, with a sample of what each predicts, as its artifact's files."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from onnx import TensorProto, helper

from demo.flower_model import LABELS, FlowerModel
from tests.e2e.images import Builder

FLOWER = (6.0, 2.9, 4.6, 1.4)  # Between two kinds, so that two models do not agree on it.
_TRAINER = Path(__file__).with_name("train_torch.py")


@dataclass(frozen=True)
class Trained:
    """A model.

    Attributes:
        files: Those of its artifact; ``sample.json`` says what it predicts.
        predicted: What it says itself, about that sample's first row.
    """

    files: Mapping[str, bytes]
    predicted: Sequence[float]

    def with_sample_of(self, other: Trained) -> Trained:
        """A broken one: it does not predict what its own sample says."""
        return Trained({**self.files, "sample.json": other.files["sample.json"]}, self.predicted)


def onnx(*, rounds: int, flowers: int) -> Trained:
    """A softmax regression as ONNX, with its sample in the words of the Open Inference Protocol."""
    model = FlowerModel.train(seed=1, rounds=rounds, flowers=flowers)
    predicted = _shares(model, FLOWER)
    sample = {**onnx_question(), "outputs": [_tensor("shares", predicted)]}
    return Trained({"model.onnx": _as_onnx(model), "sample.json": json.dumps(sample).encode()}, predicted)


def onnx_question() -> Any:
    """What is asked."""
    return {"inputs": [_tensor("x", FLOWER)]}


def torch(builder: Builder, folder: Path, *, rounds: int) -> Trained:
    """A small network as TorchScript, trained where torch is: in a container."""
    folder.mkdir(parents=True)
    (folder / "train.py").write_bytes(_TRAINER.read_bytes())
    container = builder.run("from", "localhost/torchserve")
    program = ("/opt/venv/bin/python", "/model/train.py", "/model", str(rounds))
    builder.run("run", "--isolation", "chroot", "--volume", f"{folder}:/model", container, "--", *program)
    builder.run("rm", container)
    files = {name: (folder / name).read_bytes() for name in ("model.pt", "sample.json")}
    return Trained(files, json.loads(files["sample.json"])["predictions"][0])


def torch_question(model: Trained) -> Any:
    """What is asked: the same of each model."""
    return {"data": json.loads(model.files["sample.json"])["data"][:1]}


def _tensor(name: str, values: Sequence[float]) -> Any:
    return {"name": name, "shape": [1, len(values)], "datatype": "FP32", "data": list(values)}


def _shares(model: FlowerModel, measured: Sequence[float]) -> list[float]:
    """How likely each kind is."""
    scores = [
        sum(weight * value for weight, value in zip(row, (*measured, 1.0), strict=True))
        for row in model.weights
    ]
    powers = [math.exp(score - max(scores)) for score in scores]
    return [power / sum(powers) for power in powers]


def _as_onnx(model: FlowerModel) -> bytes:
    weights = np.array(model.weights, dtype=np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("Gemm", ["x", "w", "b"], ["scores"]),
            helper.make_node("Softmax", ["scores"], ["shares"]),
        ],
        "flowers",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["rows", 4])],
        [helper.make_tensor_value_info("shares", TensorProto.FLOAT, ["rows", len(LABELS)])],
        [
            helper.make_tensor("w", TensorProto.FLOAT, [4, len(LABELS)], weights[:, :4].T.ravel()),
            helper.make_tensor("b", TensorProto.FLOAT, [len(LABELS)], weights[:, 4]),
        ],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    written: bytes = made.SerializeToString()
    return written
