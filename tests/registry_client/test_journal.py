"""What is remembered of a file that is on its way."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from registry_client.errors import TargetError
from registry_client.files import Tree
from registry_client.journal import Journal


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[Tree]:
    with Tree(tmp_path) as tree:
        yield tree


def test_what_is_noted_is_there_for_the_next_process(tree: Tree) -> None:
    """
    Without being closed properly, as the process was killed.
    """
    killed = Journal(tree, "a.parts")
    killed.add(0, 10)
    killed.add(30, 40)

    with closing(Journal(tree, "a.parts")) as journal:
        assert list(journal.read(100)) == [(0, 10), (30, 40)]
    killed.close()


def test_a_line_cut_by_a_crash_is_passed_over(tree: Tree, tmp_path: Path) -> None:
    """
    So is whatever makes no sense for a file of that size.
    """
    (tmp_path / "a.parts").write_bytes(b"0 10\nnonsense\n-1 4\n9 3\n90 101\n5 5\n20 30\n40 5")

    with closing(Journal(tree, "a.parts")) as journal:
        assert list(journal.read(100)) == [(0, 10), (20, 30)]


def test_a_journal_can_be_cleared_and_removed(tree: Tree, tmp_path: Path) -> None:
    """
    Notes after that begin anew.
    """
    journal = Journal(tree, "a.parts")
    journal.add(0, 10)
    journal.clear()
    journal.add(3, 4)

    assert list(journal.read(100)) == [(3, 4)]
    journal.close()
    journal.close()
    journal.remove()
    assert list(tmp_path.iterdir()) == []


def test_a_link_is_no_journal(tree: Tree, tmp_path: Path) -> None:
    """
    Nothing is read from or written to where it leads.
    """
    (tmp_path / "mine").write_bytes(b"0 10\n")
    (tmp_path / "a.parts").symlink_to(tmp_path / "mine")

    with pytest.raises(TargetError, match=r"a\.parts cannot be written"):
        Journal(tree, "a.parts")
