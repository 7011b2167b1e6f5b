"""Broken files as people write them: each in tests/samples/configs, with what is said of it at its end."""

from __future__ import annotations

from pathlib import Path

import pytest

from receiver.config.document import load, plain
from receiver.config.problems import Problems
from tests.receiver.config.reading import ENVIRON, FILES, SAMPLES, problems

MISTAKES = sorted((SAMPLES / "configs").glob("*.yaml"))


@pytest.mark.parametrize("path", MISTAKES, ids=lambda path: path.stem)
def test_each_mistake_is_told_as_its_file_says(path: Path) -> None:
    """
    All that is wrong with a file is told at once, in its order: where, what was found, what is wanted.
    """
    text = path.read_text(encoding="utf-8")
    said = text.partition("# Says:\n")[2].splitlines()

    assert [f"# {problem}" for problem in problems(text)] == [
        line.replace("# ", "# handoff.yaml:", 1) for line in said
    ]


@pytest.mark.parametrize("path", MISTAKES, ids=lambda path: path.stem)
def test_no_mistake_shows_a_secret(path: Path) -> None:
    """
    What stands where a secret is wanted is not repeated, nor is what a variable or file of a secret holds.
    """
    told = "\n".join(problems(path.read_text(encoding="utf-8")))

    secrets = [*ENVIRON.values(), *(data.decode() for data in FILES.values())]
    pasted = ["token_pasted_here_by_mistake", "shh-this-is-the-token-itself", "hunter22", "ana:secret"]
    assert not [secret for secret in [*secrets, *pasted] if secret in told]


def test_there_are_enough_of_them() -> None:
    """
    Twenty and more, each in a file of its own.
    """
    assert len(MISTAKES) > 20


@pytest.mark.parametrize("path", MISTAKES, ids=lambda path: path.stem)
def test_a_problem_knows_its_parts(path: Path) -> None:
    """
    A problem is its line, and the line is made of its parts.
    """
    for problem in problems(path.read_text(encoding="utf-8")):
        where = f"{problem.where}: " if problem.where else ""
        assert problem == f"{problem.file}:{problem.line}:{problem.column}: {where}{problem.message}"


def test_the_readable_ones_are_readable() -> None:
    """
    A sample that is to be wrong in its meaning is not wrong in its YAML.
    """
    broken = set()
    for path in MISTAKES:
        noted = Problems(path.name)
        node = load(path.read_text(encoding="utf-8"), noted)
        if node is None:
            broken.add(path.stem)
        else:
            plain(node)

    assert broken == {
        *("a-tab", "a-tag", "alias-loop", "bad-indentation", "colon-in-text", "empty", "open-bracket"),
        *("two-documents", "unclosed-quote"),
    }
