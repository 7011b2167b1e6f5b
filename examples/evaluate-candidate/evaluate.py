"""Is the candidate better than what is in production?  ``evaluate.py --help`` tells how to ask."""

from __future__ import annotations

import argparse
import csv
import json
import math
import os
import re
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

LABEL = "label"
CLASSES_SHOWN = 20
onnxruntime.disable_telemetry_events()  # It tells its makers of each model otherwise.


# --- what decides: pure


@dataclass(frozen=True)
class Rules:
    """When a candidate wins.

    Attributes:
        at_least: The accuracy without which nothing is promoted, rival or not.
        chance: How likely the lead may be luck alone, at most.
        most_lost: How much of one class's recall may be lost for the sake of the others.
    """

    at_least: float = 0.5
    chance: float = 0.05
    most_lost: float = 0.05


@dataclass(frozen=True)
class Judged:
    """How one model did, row by row, and how long a thousand rows took."""

    right: Sequence[bool]
    milliseconds: float

    @property
    def accuracy(self) -> float:
        """The share of rows that it got right."""
        return sum(self.right) / len(self.right)

    def recall(self, labels: Sequence[str]) -> Mapping[str, float]:
        """The same of each class."""
        return {
            name: sum(map(int, mine)) / len(mine)
            for name in sorted(set(labels))
            if (mine := [right for right, label in zip(self.right, labels, strict=True) if label == name])
        }


@dataclass(frozen=True)
class Verdict:
    """Whether the candidate wins, and why (not)."""

    wins: bool
    why: str


def decide(candidate: Judged, production: Judged | None, labels: Sequence[str], rules: Rules) -> Verdict:
    """Compare on the same rows; a lead that luck explains is none, and no class pays for the others."""
    if candidate.accuracy < rules.at_least:
        return Verdict(False, f"accuracy is {candidate.accuracy:.1%}, want {rules.at_least:.1%} at least")
    if production is None:
        return Verdict(True, "nothing is in production yet, and the candidate is good enough")
    pairs = list(zip(candidate.right, production.right, strict=True))
    gained, lost = pairs.count((True, False)), pairs.count((False, True))
    luck = chance_of(gained, gained + lost)
    if luck > rules.chance:
        told = f"{gained} rows gained on production, {lost} lost"
        return Verdict(False, f"{told}: luck alone does that with a chance of {luck:.1%}")
    before, after = production.recall(labels), candidate.recall(labels)
    worst = min(before, key=lambda name: after[name] - before[name])
    if before[worst] - after[worst] > rules.most_lost:
        return Verdict(False, f"the class {worst} falls from {before[worst]:.1%} to {after[worst]:.1%}")
    told = f"{gained} rows gained on production, {lost} lost"
    return Verdict(True, f"{told}: luck alone does that with a chance of {max(luck, 0.0001):.2%} at most")


def chance_of(gained: int, differing: int) -> float:
    """How likely as many gains as these, or more, are where both are equally good (sign test, exact)."""
    whole = math.lgamma(differing + 1) - differing * math.log(2)
    ways = (whole - math.lgamma(k + 1) - math.lgamma(differing - k + 1) for k in range(gained, differing + 1))
    return min(1.0, sum(map(math.exp, ways)))


# --- what people see: pure


def summary(
    candidate: Judged,
    production: Judged | None,
    labels: Sequence[str],
    verdict: Verdict,
    names: Sequence[str],
) -> str:
    """A table and a plot, in GitHub's Markdown."""
    judged = [(escaped(names[0]), candidate), *([(escaped(names[1]), production)] if production else [])]
    table = [f"| {name} | {each.accuracy:.1%} | {each.milliseconds:.1f} |" for name, each in judged]
    heading = "### The candidate wins" if verdict.wins else "### The candidate does not win"
    words = f"{escaped(verdict.why)}. Judged on {len(labels):,} rows that neither was trained on."
    lines = [heading, "", words, "", "| | accuracy | ms for 1,000 rows |", "|-|-:|-:|", *table, ""]
    return "\n".join([*lines, *plot(candidate, production, labels)]) + "\n"


def plot(candidate: Judged, production: Judged | None, labels: Sequence[str]) -> list[str]:
    """Recall of each class: a step summary shows no picture that lies nowhere, but it draws this."""
    after = candidate.recall(labels)
    before = production.recall(labels) if production else {}
    changed = sorted(after, key=lambda name: -abs(after[name] - before.get(name, 0)))
    shown = sorted(changed[:CLASSES_SHOWN])
    title = "Recall by class: candidate as bars, production as a line" if before else "Recall by class"
    lines = [
        f'  title "{title}"',
        f"  x-axis [{', '.join(map(quoted, shown))}]",
        '  y-axis "recall in %" 0 --> 100',
    ]
    lines.append(f"  bar [{', '.join(f'{100 * after[name]:.1f}' for name in shown)}]")
    if before:
        lines.append(f"  line [{', '.join(f'{100 * before[name]:.1f}' for name in shown)}]")
    return ["```mermaid", "xychart-beta", *lines, "```"]


def escaped(text: str) -> str:
    """Others' words as words, in a cell of a table too."""
    return re.sub(r"([\\`*_{}\[\]()<>#|!&~@-])", r"\\\1", " ".join(text.split()))


def quoted(text: str) -> str:
    """A name as Mermaid's charts take it."""
    return f'"{re.sub(r"[^A-Za-z0-9 .-]", "_", text)[:24] or "_"}"'


# --- what reads and runs


def held_out(directory: Path) -> tuple[np.ndarray[Any, Any], list[str]]:
    """Features and labels out of ``data.csv``: a column ``label``, numbers in all others."""
    with (directory / "data.csv").open(encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines))
    if not rows or LABEL not in rows[0]:
        raise SystemExit(
            f"data.csv: want rows with a column {LABEL!r}, got {list(rows[0]) if rows else 'none'}"
        )
    names = [name for name in rows[0] if name != LABEL]
    features = np.array([[float(row[name]) for name in names] for row in rows], dtype=np.float32)
    return features, [row[LABEL] for row in rows]


def judge(directory: Path, features: np.ndarray[Any, Any], labels: Sequence[str]) -> Judged:
    """Let the model in that directory predict every row.  It is data: ONNX runs no code of the artifact."""
    session = onnxruntime.InferenceSession(str(model_file(directory)), providers=["CPUExecutionProvider"])
    asked = session.get_inputs()[0]
    width = asked.shape[-1]
    if isinstance(width, int) and width != features.shape[1]:
        raise SystemExit(
            f"{directory.name}: the model takes {width} features, the held-out data have {features.shape[1]}"
        )
    predicted = session.run(None, {asked.name: features})[0]
    if predicted.ndim > 1:  # Scores instead of labels: the highest one counts.
        predicted = predicted.argmax(axis=1)
    right = [str(got) == label for got, label in zip(predicted.tolist(), labels, strict=True)]
    started = time.perf_counter()
    session.run(None, {asked.name: features})
    return Judged(right, 1e6 * (time.perf_counter() - started) / len(labels))


def model_file(directory: Path) -> Path:
    """``model.onnx``, else the only .onnx there is."""
    found = sorted(directory.rglob("*.onnx"))
    if directory / "model.onnx" in found:
        return directory / "model.onnx"
    if len(found) != 1:
        raise SystemExit(f"{directory}: {len(found)} files end in .onnx, want one")
    return found[0]


def main(arguments: Sequence[str], environ: Mapping[str, str]) -> None:
    """Judge both on the same rows, show it, and say in the outputs who won."""
    args = parser().parse_args(arguments)
    rules = Rules(args.at_least, args.chance, args.most_lost)
    features, labels = held_out(args.held_out)
    candidate = judge(args.candidate, features, labels)
    production = judge(args.production, features, labels) if args.production else None
    verdict = decide(candidate, production, labels, rules)
    names = (environ.get("CANDIDATE", "candidate"), environ.get("PRODUCTION", "production"))
    tell(environ, "GITHUB_STEP_SUMMARY", summary(candidate, production, labels, verdict, names))
    tell(environ, "GITHUB_OUTPUT", f"wins={str(verdict.wins).lower()}\naccuracy={candidate.accuracy:.4f}\n")
    report = {"verdict": asdict(verdict), "rules": asdict(rules), "rows": len(labels)}
    for name, each in (("candidate", candidate), ("production", production)):
        if each is not None:
            report[name] = {
                "accuracy": each.accuracy,
                "recall": each.recall(labels),
                "milliseconds": each.milliseconds,
            }
    args.report.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


def parser() -> argparse.ArgumentParser:
    """The command line."""
    known, rules = argparse.ArgumentParser(description=__doc__), Rules()
    known.add_argument("--candidate", metavar="DIR", type=Path, required=True)
    known.add_argument(
        "--production", metavar="DIR", type=directory_or_none, help="nothing, where nothing is there yet"
    )
    known.add_argument("--held-out", metavar="DIR", type=Path, required=True)
    known.add_argument("--report", metavar="FILE", type=Path, default=Path("evaluation.json"))
    known.add_argument("--at-least", type=float, default=rules.at_least)
    known.add_argument("--chance", type=float, default=rules.chance)
    known.add_argument("--most-lost", type=float, default=rules.most_lost)
    return known


def directory_or_none(text: str) -> Path | None:
    """An output that is empty means that there is none."""
    return Path(text) if text else None


def tell(environ: Mapping[str, str], file: str, text: str) -> None:
    """Add to one of the runner's files; outside a workflow, print it."""
    if file in environ:
        with Path(environ[file]).open("a", encoding="utf-8") as out:
            out.write(text)
    else:
        sys.stdout.write(text)


if __name__ == "__main__":
    main(sys.argv[1:], os.environ)
