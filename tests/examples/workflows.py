"""The workflows of the examples, as GitHub reads them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Step:
    """A step, and the line of the file that names its action."""

    job: str
    data: Mapping[str, Any]
    line: str

    @property
    def uses(self) -> str:
        """The action; empty for a script."""
        return str(self.data.get("uses", ""))


@dataclass(frozen=True)
class Workflow:
    """A file below ``examples/`` that GitHub would run."""

    path: Path
    data: Mapping[str, Any]

    @property
    def jobs(self) -> Mapping[str, Mapping[str, Any]]:
        """All jobs by id."""
        found: Mapping[str, Mapping[str, Any]] = self.data["jobs"]
        return found

    @property
    def steps(self) -> Iterator[Step]:
        """The steps of all jobs."""
        lines = self.path.read_text(encoding="utf-8").splitlines()
        for name, job in self.jobs.items():
            for step in job.get("steps", []):
                uses = step.get("uses")
                line = next((each for each in lines if uses and f"uses: {uses}" in each), "")
                yield Step(name, step, line)

    @property
    def scripts(self) -> Iterator[str]:
        """Every ``run:``, whatever nests it."""
        return _runs(self.data)


def example_workflows(root: Path = ROOT) -> tuple[Workflow, ...]:
    """All of them in that tree, known by what they say, wherever they lie."""
    found = []
    for path in sorted((root / "examples").rglob("*.y*ml")):
        text = path.read_text(encoding="utf-8")
        if re.search(r"^jobs:", text, re.MULTILINE) and re.search(r"^[\"']?on[\"']?:", text, re.MULTILINE):
            found.append(Workflow(path, yaml.safe_load(text)))
    return tuple(found)


def _runs(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        for key, item in value.items():
            if key == "run" and isinstance(item, str):
                yield item
            else:
                yield from _runs(item)
    elif isinstance(value, list):
        for item in value:
            yield from _runs(item)
