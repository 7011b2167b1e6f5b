"""Train on one version of the data set, and leave a model that proves itself: ``train.py DATA MODEL``."""

from __future__ import annotations

import csv
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from skl2onnx import to_onnx
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

LABEL = "label"
SEED = 20  # The same data give the same bytes, so a repeated run logs no second version.
SHOWN = 3
onnxruntime.disable_telemetry_events()  # It tells its makers of each model otherwise.


@dataclass(frozen=True)
class Rows:
    """A data set: numbers, and what each row is."""

    features: np.ndarray[Any, Any]
    labels: np.ndarray[Any, Any]

    @classmethod
    def read(cls, file: Path) -> Rows:
        """Read a CSV file with a column ``label`` and numbers in all others."""
        with file.open(encoding="utf-8", newline="") as lines:
            found = list(csv.DictReader(lines))
        if not found or LABEL not in found[0]:
            raise SystemExit(
                f"{file.name}: want rows with a column {LABEL!r}, got {list(found[0]) if found else 'none'}"
            )
        names = [name for name in found[0] if name != LABEL]
        features = np.array([[float(row[name]) for name in names] for row in found], dtype=np.float32)
        return cls(features, np.array([row[LABEL] for row in found]))


@dataclass(frozen=True)
class Metrics:
    """What is known of the model; it becomes the version's metadata in W&B."""

    rows: int
    classes: int
    accuracy: float
    accuracy_of_always_the_same: float


def main(arguments: Sequence[str]) -> None:
    """Train, export, prove, and say how good it is."""
    data, model = map(Path, arguments)
    rows = Rows.read(data / "data.csv")
    fit, held = split(rows)
    pipeline = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    pipeline.fit(fit.features, fit.labels)
    model.mkdir(parents=True)
    # A name of its own: the default one is random, and another name is another digest.
    exported = to_onnx(pipeline, rows.features[:1], name="model", options={"zipmap": False})
    (model / "model.onnx").write_bytes(exported.SerializeToString(deterministic=True))
    labels = prove(model, held.features[:SHOWN])
    if labels != pipeline.predict(held.features[:SHOWN]).tolist():
        raise SystemExit("the exported model does not predict what the trained one does")
    metrics = measured(rows, held, pipeline.predict(held.features))
    (model / "metrics.json").write_text(json.dumps(asdict(metrics), indent=2) + "\n", encoding="utf-8")
    tell(metrics)


def split(rows: Rows) -> tuple[Rows, Rows]:
    """Four fifths to learn from, one fifth to be measured by, with the classes in the same shares."""
    fit, held, fit_labels, held_labels = train_test_split(
        rows.features, rows.labels, test_size=0.2, stratify=rows.labels, random_state=SEED
    )
    return Rows(fit, fit_labels), Rows(held, held_labels)


def prove(model: Path, features: np.ndarray[Any, Any]) -> list[str]:
    """Let the exported model predict, and leave question and answer as ``sample.json`` beside it.

    Whoever serves the model asks it this before anybody else does (Open Inference Protocol, V2).
    """
    session = onnxruntime.InferenceSession(str(model / "model.onnx"), providers=["CPUExecutionProvider"])
    asked = session.get_inputs()[0].name
    labels = session.run(["label"], {asked: features})[0]
    flat, shape = features.ravel().tolist(), list(features.shape)
    sample = {
        "inputs": [{"name": asked, "shape": shape, "datatype": "FP32", "data": flat}],
        "outputs": [{"name": "label", "shape": [len(labels)], "datatype": "BYTES", "data": labels.tolist()}],
    }
    (model / "sample.json").write_text(json.dumps(sample) + "\n", encoding="utf-8")
    return list(labels.tolist())


def measured(rows: Rows, held: Rows, predicted: np.ndarray[Any, Any]) -> Metrics:
    """How often it is right on rows that it has not seen, and what guessing would give."""
    classes, counts = np.unique(held.labels, return_counts=True)
    return Metrics(
        rows=len(rows.labels),
        classes=len(classes),
        accuracy=round(float(np.mean(predicted == held.labels)), 4),
        accuracy_of_always_the_same=round(float(counts.max() / counts.sum()), 4),
    )


def tell(metrics: Metrics) -> None:
    """Put the figures where people look: the step summary, or the terminal."""
    cells = (
        f"{metrics.rows:,}",
        f"{metrics.classes}",
        f"{metrics.accuracy:.1%}",
        f"{metrics.accuracy_of_always_the_same:.1%}",
    )
    lines = [
        "### Trained\n",
        "| rows | classes | accuracy on rows not seen | always the commonest class |",
        "|-:|-:|-:|-:|",
        f"| {' | '.join(cells)} |",
    ]
    summary = os.environ.get("GITHUB_STEP_SUMMARY")
    with Path(summary).open("a", encoding="utf-8") if summary else sys.stdout as out:
        out.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
