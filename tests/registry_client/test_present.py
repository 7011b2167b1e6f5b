"""What a directory already holds."""

from __future__ import annotations

import os
import threading
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import pytest

from registry_client.digest import Promise
from registry_client.files import Tree
from registry_client.manifest import Manifest
from registry_client.present import present, proof, some
from registry_client.version import DigestAlgorithm
from tests.fakes import manifest_of

FILES = {"a": b"hello", "b/c": b"x" * 2_500_000, "empty": b"", "ü": b"u"}


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[Tree]:
    with Tree(tmp_path) as tree:
        for path, content in FILES.items():
            tree.create(path, content)
        yield tree


def wanted(algorithm: DigestAlgorithm = DigestAlgorithm.MD5) -> dict[str, Promise]:
    return {each.path: each for each in Manifest.parse(manifest_of(FILES, algorithm)).entries}


@pytest.mark.parametrize("algorithm", DigestAlgorithm, ids=lambda each: each.name)
def test_right_files_are_right(tree: Tree, algorithm: DigestAlgorithm) -> None:
    """
    By their bytes, whatever algorithm; each is told once.
    """
    told: list[Promise] = []
    promises = wanted(algorithm)

    found = present(tree, promises, threads=4, proven=told.append)

    assert found.right.keys() == found.names == FILES.keys()
    assert (found.wrong, found.strange) == ([], [])
    assert sorted(each.path for each in told) == sorted(FILES)


@pytest.mark.parametrize(
    ("path", "content"),
    [("a", b"jello"), ("a", b"hell"), ("a", b"hello!"), ("empty", b"!"), ("b/c", b"x" * 2_499_999 + b"y")],
)
def test_other_bytes_are_wrong(tree: Tree, path: str, content: bytes) -> None:
    """
    Flipped, shorter, longer, at the end of a large file.
    """
    (tree.root / path).write_bytes(content)

    found = present(tree, wanted(), threads=2)

    assert found.wrong == [path]
    assert found.right.keys() == FILES.keys() - {path}


def test_what_is_no_file_is_wrong_where_a_file_is_wanted(tree: Tree, tmp_path: Path) -> None:
    """
    A link to the right bytes is a link.
    """
    (tmp_path / "a").rename(tmp_path / "elsewhere")
    (tmp_path / "a").symlink_to("elsewhere")
    (tmp_path / "empty").unlink()
    os.mkfifo(tmp_path / "empty")

    found = present(tree, wanted(), threads=2)

    assert sorted(found.wrong) == ["a", "empty"]
    assert found.strange == ["elsewhere"]


def test_everything_else_is_strange(tree: Tree, tmp_path: Path) -> None:
    """
    Empty directories included: the artifact has none.
    """
    (tmp_path / "b/mine").touch()
    (tmp_path / "d").mkdir()

    assert sorted(present(tree, wanted(), threads=2).strange) == ["b/mine", "d/"]


def test_a_name_in_the_disks_own_form_is_known(tree: Tree, tmp_path: Path) -> None:
    """
    Some disks take a letter apart; it is the same name, though here it cannot be opened under ours.
    """
    (tmp_path / "ü").rename(tmp_path / unicodedata.normalize("NFD", "ü"))

    found = present(tree, wanted(), threads=2)

    assert found.strange == []
    assert found.wrong == ["ü"]


def test_a_file_of_another_size_is_not_even_read(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Gigabytes need no hashing to be known as others.
    """
    (tree.root / "a").write_bytes(b"longer than that")
    monkeypatch.setattr(os, "read", lambda *_: pytest.fail("read"))

    assert proof(tree, "a", wanted()["a"], threading.Event()) is None


def test_a_file_that_cannot_be_read_is_not_proven(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A broken disk is no reason to give up: the file is fetched instead.
    """

    def broken(*_: object) -> bytes:
        raise OSError

    monkeypatch.setattr(os, "read", broken)

    assert proof(tree, "a", wanted()["a"], threading.Event()) is None


def test_hashing_ends_when_nobody_wants_it(tree: Tree) -> None:
    """
    Large files take seconds: Ctrl-C does not wait for them.
    """
    stopped = threading.Event()
    assert proof(tree, "b/c", wanted()["b/c"], stopped) is not None
    stopped.set()

    assert proof(tree, "b/c", wanted()["b/c"], stopped) is None


def test_a_few_names_are_shown() -> None:
    """
    Enough to recognise a directory by.
    """
    assert some(["c", "a"]) == "a, c"
    assert some("dcba") == "a, b, c, …"
