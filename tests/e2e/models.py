"""Models that are trained here: a softmax regression as ONNX, and what each ought to predict."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable, Sequence

from demo.flower_model import FlowerModel

FLOWER = (6.0, 2.9, 4.6, 1.4)  # Between two kinds, so that two models do not agree on it.
_FLOAT = 1  # ONNX's number for that type.


def trained(*, rounds: int, flowers: int) -> FlowerModel:
    """A model that has seen so much."""
    return FlowerModel.train(seed=1, rounds=rounds, flowers=flowers)


def shares(model: FlowerModel, measured: Sequence[float]) -> list[float]:
    """What the model itself says: how likely each kind is."""
    scores = [
        sum(weight * value for weight, value in zip(row, (*measured, 1.0), strict=True))
        for row in model.weights
    ]
    powers = [math.exp(score - max(scores)) for score in scores]
    return [power / sum(powers) for power in powers]


def onnx(model: FlowerModel, inputs: int = 4) -> bytes:
    """The model as ONNX: Gemm and Softmax.  With fewer inputs it is a model for another question."""
    weights = [row[column] for column in range(inputs) for row in model.weights]
    bias = [row[4] for row in model.weights]
    kinds = len(model.weights)
    graph = [
        (1, _node("Gemm", ["x", "w", "b"], "scores")),
        (1, _node("Softmax", ["scores"], "shares")),
        (2, b"flowers"),
        (5, _tensor("w", (inputs, kinds), weights)),
        (5, _tensor("b", (kinds,), bias)),
        (11, _named("x", inputs)),
        (12, _named("shares", kinds)),
    ]
    return _message([(1, 8), (8, _message([(1, b""), (2, 17)])), (7, _message(graph))])


def _node(kind: str, inputs: Iterable[str], output: str) -> bytes:
    return _message([*((1, name.encode()) for name in inputs), (2, output.encode()), (4, kind.encode())])


def _tensor(name: str, shape: Sequence[int], values: Sequence[float]) -> bytes:
    raw = struct.pack(f"<{len(values)}f", *values)
    return _message([*((1, size) for size in shape), (2, _FLOAT), (8, name.encode()), (9, raw)])


def _named(name: str, size: int) -> bytes:
    """A matrix of any number of rows."""
    shape = _message([(1, _message([(2, b"rows")])), (1, _message([(1, size)]))])
    kind = _message([(1, _message([(1, _FLOAT), (2, shape)]))])
    return _message([(1, name.encode()), (2, kind)])


def _message(fields: Iterable[tuple[int, int | bytes]]) -> bytes:
    """Protocol buffers, as far as ONNX needs them here: numbers, and bytes with their length."""
    found = b""
    for number, value in fields:
        if isinstance(value, int):
            found += _varint(number << 3) + _varint(value)
        else:
            found += _varint(number << 3 | 2) + _varint(len(value)) + value
    return found


def _varint(value: int) -> bytes:
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*found, value])
