"""docs/faults.md names cases and tests: each case once, each test there."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
TABLE = (ROOT / "docs" / "faults.md").read_text(encoding="utf-8")
ROWS = [
    tuple(cell.strip() for cell in line.strip("|").split("|"))
    for line in TABLE.splitlines()
    if re.match(r"\| [A-Z]\d+ \|", line)
]


def defined(path: Path) -> set[str]:
    """Every test of a file: ``test_x``, or ``TestX::test_y``."""
    names = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef):
            names.add(node.name)
        elif isinstance(node, ast.ClassDef):
            names |= {f"{node.name}::{each.name}" for each in node.body if isinstance(each, ast.FunctionDef)}
    return {name for name in names if name.rpartition("::")[2].startswith("test_")}


def test_each_case_stands_once_and_in_order() -> None:
    """
    The cases of a letter are numbered from 1 without a gap.
    """
    cases = [row[0] for row in ROWS]

    assert cases == [
        f"{letter}{number}"
        for letter in "ABCDEF"
        for number in range(1, sum(case.startswith(letter) for case in cases) + 1)
    ]
    assert len(cases) == 89


@pytest.mark.parametrize("row", ROWS, ids=[row[0] for row in ROWS])
def test_each_case_has_a_test_or_a_reason(row: tuple[str, ...]) -> None:
    """
    A case names tests that exist, or says why it does not apply.
    """
    case, happens, done, shown = row
    named = re.findall(r"`([^`]+)`", shown)

    assert all((case, happens, done))
    if shown == "–":
        assert done.startswith("does not apply: ")
    else:
        assert named
        assert shown == " ".join(f"`{name}`" for name in named)
    for name in named:
        path, _, test = name.partition("::")
        assert test in defined(ROOT / path), name
