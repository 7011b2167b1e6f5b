"""A small real model: softmax regression on flower measurements, trained here in a second."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

LABELS = ("setosa", "versicolor", "virginica")
# Mean and spread of sepal length, sepal width, petal length and petal width, in cm, of each kind.
_KINDS = (
    ((5.0, 3.4, 1.5, 0.2), (0.35, 0.38, 0.17, 0.10)),
    ((5.9, 2.8, 4.3, 1.3), (0.52, 0.31, 0.47, 0.20)),
    ((6.6, 3.0, 5.6, 2.0), (0.64, 0.32, 0.55, 0.27)),
)
_WEIGHTS_FILE, _LABELS_FILE = "weights.json", "labels.txt"


@dataclass(frozen=True)
class FlowerModel:
    """A weight for each kind and measurement, the last one the bias: shape (3, 5)."""

    weights: tuple[tuple[float, ...], ...]

    @classmethod
    def train(cls, *, seed: int, flowers: int = 450, rounds: int = 120) -> FlowerModel:
        """Fit by gradient descent to ``flowers`` flowers drawn with this seed."""
        dice = random.Random(seed)  # noqa: S311 - a repeatable data set, no secret
        samples = [_flower(dice, number % len(LABELS)) for number in range(flowers)]
        weights = [[0.0] * 5 for _ in LABELS]
        for _ in range(rounds):
            for measured, kind in samples:
                shares = _shares(weights, measured)
                for index, row in enumerate(weights):
                    error = shares[index] - (index == kind)
                    for column, value in enumerate((*measured, 1.0)):
                        row[column] -= 0.02 * error * value
        return cls(tuple(tuple(row) for row in weights))

    def predict(self, measured: Sequence[float]) -> str:
        """Name the kind that these four measurements, in cm, belong to most likely."""
        shares = _shares(self.weights, measured)
        return LABELS[shares.index(max(shares))]

    def accuracy(self, *, seed: int, flowers: int = 600) -> float:
        """The share of new flowers named right, 0 to 1."""
        dice = random.Random(seed)  # noqa: S311 - a repeatable data set, no secret
        samples = [_flower(dice, number % len(LABELS)) for number in range(flowers)]
        right = sum(self.predict(measured) == LABELS[kind] for measured, kind in samples)
        return round(right / flowers, 3)

    def files(self) -> dict[str, bytes]:
        """The model as the files of an artifact."""
        return {
            _WEIGHTS_FILE: json.dumps(self.weights, indent=1).encode(),
            _LABELS_FILE: "\n".join(LABELS).encode() + b"\n",
        }

    @classmethod
    def load(cls, directory: Path) -> FlowerModel:
        """Read the model back from a directory that holds those files."""
        rows = json.loads((directory / _WEIGHTS_FILE).read_text(encoding="utf-8"))
        return cls(tuple(tuple(float(value) for value in row) for row in rows))


def _flower(dice: random.Random, kind: int) -> tuple[tuple[float, ...], int]:
    means, spreads = _KINDS[kind]
    return tuple(dice.gauss(mean, spread) for mean, spread in zip(means, spreads, strict=True)), kind


def _shares(weights: Sequence[Sequence[float]], measured: Sequence[float]) -> list[float]:
    scores = [
        sum(weight * value for weight, value in zip(row, (*measured, 1.0), strict=True)) for row in weights
    ]
    powers = [math.exp(score - max(scores)) for score in scores]
    return [power / sum(powers) for power in powers]
