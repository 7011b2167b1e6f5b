"""The linters over workflows find what they are there for."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.check_workflows import ACTIONS, ROOT, SCRIPTS, Check, checks

WORKFLOW = Path(".github/workflows/ci.yml")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of what is linted."""
    for name in (*map(Path, ACTIONS), WORKFLOW, Path("examples/build-and-deploy.yml"), *map(Path, SCRIPTS)):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


def failed(tree: Path, name: str) -> bool:
    """Whether the checks whose name begins so found something."""
    chosen = [each for each in checks(tree) if each.name.startswith(name)]
    assert chosen
    return not all([each.run(tree) for each in chosen])  # noqa: C419 - each one runs


@pytest.mark.parametrize(
    ("check", "old", "new"),
    [
        ("zizmor", "run: .ci/run", "run: echo ${{ github.event.client_payload.x }}"),
        ("zizmor", "@3d3c42e5aac5ba805825da76410c181273ba90b1 # v7.0.1", "@v7"),
        ("schema of workflows", "runs-on:", "run-on:"),
        ("shellcheck of .github", "run: .ci/run", "run: cat $HOME"),
        ("shellcheck of scripts", "", ""),
    ],
    ids=["injection", "unpinned", "unknown key", "unquoted", "script"],
)
def test_what_is_wrong_is_found(tree: Path, check: str, old: str, new: str) -> None:
    """As it stands nothing is found; with the fault in it, something is."""
    assert not failed(tree, check)
    faulty, old, new = (WORKFLOW, old, new) if old else (Path(SCRIPTS[0]), "set -e", "cat $HOME; set -e")
    text = (tree / faulty).read_text(encoding="utf-8")
    assert old in text
    (tree / faulty).write_text(text.replace(old, new), encoding="utf-8")

    assert failed(tree, check)


@pytest.mark.parametrize(
    ("check", "file", "good", "bad"),
    [
        ("hadolint", "serving/Dockerfile", 'FROM debian:12\nCMD ["true"]\n', "FROM debian\nCMD true\n"),
        (
            "schema of Kubernetes",
            "kubernetes/base/pods.yaml",
            "apiVersion: v1\nkind: Service\nmetadata: {name: x}\nspec: {ports: [{port: 80}]}\n",
            "apiVersion: v1\nkind: Service\nmetadata: {name: x}\nspec: {port: 80}\n",
        ),
    ],
    ids=["Dockerfile", "manifest"],
)
def test_what_examples_deploy_is_looked_at(tree: Path, check: str, file: str, good: str, bad: str) -> None:
    """A Dockerfile and a manifest pass as they should be, and not otherwise."""
    path = tree / "examples" / "one" / file
    path.parent.mkdir(parents=True)
    path.write_text(good, encoding="utf-8")
    assert not failed(tree, check)

    path.write_text(bad, encoding="utf-8")

    assert failed(tree, check)


def test_what_cannot_run_says_why(capsys: pytest.CaptureFixture[str]) -> None:
    """A linter that is missing is no failure, and no silence either."""
    assert Check("actionlint", ["actionlint"], missing="no Go").run()
    assert capsys.readouterr().out == "skipped  actionlint: no Go\n"
