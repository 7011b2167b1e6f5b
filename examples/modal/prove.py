"""Ask the deployed model what its own sample asks, and compare: ``prove.py sample.json v7``."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import modal
from app import NAME

LOOKS = 36
SECONDS = 5.0


class Deployed(Protocol):
    """What answers, wherever it is."""

    def __call__(self, rows: list[list[float]]) -> Mapping[str, Any]:
        """A label for each row, and which version says so."""
        ...


class NotProvenError(Exception):
    """The model does not say what it said when it was trained."""


def prove(
    sample: Mapping[str, Any], version: str, predict: Deployed, sleep: Callable[[float], None] = time.sleep
) -> None:
    """Compare this version's answer with the sample's; the one before may still answer at first."""
    asked, wanted = sample["inputs"][0], sample["outputs"][0]["data"]
    width = asked["shape"][1]
    rows = [asked["data"][at : at + width] for at in range(0, len(asked["data"]), width)]
    for _ in range(LOOKS):
        answer = predict(rows)
        if answer.get("version") == version:
            break
        sleep(SECONDS)
    else:
        raise NotProvenError(f"version: got {answer.get('version')!r} for minutes, want {version!r}")
    if answer.get("labels") != wanted:
        raise NotProvenError(f"labels: got {answer.get('labels')}, want {wanted} as sample.json says")


def main(arguments: Sequence[str]) -> None:
    """Prove the app of this name, in the Modal environment of the variables."""
    file, version = arguments
    sample = json.loads(Path(file).read_text(encoding="utf-8"))
    try:
        prove(sample, version, modal.Cls.from_name(NAME, "Model")().predict.remote)
    except NotProvenError as error:
        raise SystemExit(f"{NAME} does not predict as it should: {error}") from error


if __name__ == "__main__":
    main(sys.argv[1:])
