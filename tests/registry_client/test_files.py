"""Files and directories: no link is followed, and errors have names."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from registry_client import files
from registry_client.errors import DiskFullError, TargetError
from registry_client.files import Tree, check_target, free_bytes, read_at, refused, write_at


def full(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.fixture(params=[True, False], ids=["by descriptor", "by path"])
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[Tree]:
    """A tree as it is here, and as it is on Windows."""
    monkeypatch.setattr(files, "_BY_DESCRIPTOR", request.param)
    (tmp_path / "tree").mkdir()
    with Tree(tmp_path / "tree") as tree:
        yield tree


@pytest.fixture
def other(tmp_path: Path) -> Iterator[Tree]:
    (tmp_path / "other").mkdir()
    with Tree(tmp_path / "other") as tree:
        yield tree


# --- where a directory may appear


def test_nothing_or_a_directory_may_be_at_the_target(tmp_path: Path) -> None:
    """
    What is in it is looked at by others.
    """
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "file").touch()

    check_target(tmp_path / "model")
    check_target(tmp_path / "new")


def test_a_file_at_the_target_is_left_alone(tmp_path: Path) -> None:
    """
    The target must be a directory.
    """
    (tmp_path / "model").write_bytes(b"mine")

    with pytest.raises(TargetError, match="is there and no directory"):
        check_target(tmp_path / "model")


@pytest.mark.parametrize("dangling", [True, False], ids=["to nothing", "to an empty directory"])
def test_a_link_at_the_target_is_not_followed(tmp_path: Path, *, dangling: bool) -> None:
    """
    Wherever it leads: a link that somebody else put there must not choose where we write.
    """
    if not dangling:
        (tmp_path / "elsewhere").mkdir()
    (tmp_path / "model").symlink_to(tmp_path / "elsewhere")

    with pytest.raises(TargetError, match="is a symbolic link"):
        check_target(tmp_path / "model")


@pytest.mark.parametrize("where", [".", "sub", "sub/deep"], ids=["itself", "above", "far above"])
def test_the_current_directory_is_not_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    """
    A rename would leave the shell in a directory that is gone, and so would one of a directory above.
    """
    (tmp_path / "sub" / "deep").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / where)

    with pytest.raises(TargetError, match="is the current directory or holds it"):
        check_target(tmp_path)


def test_where_a_disk_begins_is_no_target() -> None:
    """
    It cannot be replaced by a rename, and beside it is another disk.
    """
    with pytest.raises(TargetError, match="/ is where a disk begins"):
        check_target(Path("/"))


def test_a_target_that_cannot_be_looked_at_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Whatever the system says is passed on with the path.
    """

    def denied(*_: object) -> bool:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(Path, "is_symlink", denied)

    with pytest.raises(TargetError, match="model cannot be looked at: Permission denied"):
        check_target(tmp_path / "model")


@pytest.mark.parametrize(
    ("number", "kind"),
    [(errno.ENOSPC, DiskFullError), (errno.EDQUOT, DiskFullError), (errno.EACCES, TargetError)],
    ids=["full", "quota", "denied"],
)
def test_a_full_disk_has_its_own_error(number: int, kind: type[TargetError]) -> None:
    """
    There is something else to do about it than about a directory that may not be written to.
    """
    error = refused("x cannot be written", OSError(number, os.strerror(number)))

    assert type(error) is kind
    assert str(error) == f"x cannot be written: {os.strerror(number)}"


def test_a_disk_has_room(tmp_path: Path) -> None:
    """
    The number is the system's.
    """
    assert free_bytes(tmp_path) > 0


# --- bytes at their places


@pytest.mark.parametrize("positioned", [True, False], ids=["by the system", "by seeking"])
def test_bytes_are_written_and_read_at_their_places(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, positioned: bool
) -> None:
    """
    Also where the system can only seek, and where it takes a few bytes at a time.
    """
    if not positioned:
        monkeypatch.delattr(os, "pread")
        monkeypatch.delattr(os, "pwrite")
    name = "pwrite" if positioned else "write"
    real = getattr(os, name)
    monkeypatch.setattr(os, name, lambda file, data, *more: real(file, data[:3], *more))
    descriptor = os.open(tmp_path / "a", os.O_RDWR | os.O_CREAT)

    write_at(descriptor, b"world", 6)
    write_at(descriptor, b"hello ", 0)

    assert read_at(descriptor, 100, 0) == b"hello world"
    assert read_at(descriptor, 3, 6) == b"wor"
    os.close(descriptor)


# --- a tree


def test_files_are_made_with_the_directories_above_them(tree: Tree, tmp_path: Path) -> None:
    """
    With the modes of any new file and directory.
    """
    tree.create("a/b/c.txt", b"hello")
    (tmp_path / "plain").mkdir()
    (tmp_path / "plain.txt").touch()

    assert (tree.root / "a/b/c.txt").read_bytes() == b"hello"
    for ours, theirs in (("a/b", "plain"), ("a/b/c.txt", "plain.txt")):
        mode = (tree.root / ours).stat().st_mode
        assert stat.S_IMODE(mode) == stat.S_IMODE((tmp_path / theirs).stat().st_mode)


def test_an_existing_file_is_never_written_to(tree: Tree) -> None:
    """
    A second file of the same name is an error, not a replacement.
    """
    tree.create("a.txt", b"first")

    with pytest.raises(TargetError, match=r"a\.txt is there already"):
        tree.create("a.txt", b"second")

    assert (tree.root / "a.txt").read_bytes() == b"first"


def test_a_file_where_a_directory_must_be_is_an_error(tree: Tree) -> None:
    """
    Named, whoever has put it there.
    """
    tree.create("a", b"")

    with pytest.raises(TargetError, match=r"a/b (cannot be written|is there already)"):
        tree.create("a/b", b"")


def test_a_link_is_never_written_through(tree: Tree, tmp_path: Path) -> None:
    """
    Not even one that leads to nothing yet.
    """
    (tree.root / "a.txt").symlink_to(tmp_path / "elsewhere")

    with pytest.raises(TargetError):
        tree.create("a.txt", b"hello")

    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize("doing", ["create", "writing", "move_in", "copy", "link_in", "remove", "open"])
def test_a_directory_that_was_made_a_link_leads_nowhere(
    tree: Tree, other: Tree, tmp_path: Path, doing: str
) -> None:
    """
    Somebody puts a link in the place of a directory between check and write: nothing outside is touched.
    """
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "old").write_bytes(b"theirs")
    (tree.root / "sub").symlink_to(tmp_path / "outside")
    for each in (tree, other):
        each.create("new", b"ours")
    found = (other.root / "new").stat()

    if doing == "open":
        assert tree.open("sub/old") is None
    elif doing == "link_in":
        (other.root / "sub").mkdir()
        (other.root / "sub" / "x").touch()
        assert not tree.link_in(other, "sub/x", found)
    else:
        with pytest.raises(TargetError, match="sub/"):
            touch(tree, other, doing)

    assert [each.name for each in (tmp_path / "outside").iterdir()] == ["old"]
    assert (tmp_path / "outside" / "old").read_bytes() == b"theirs"


def touch(tree: Tree, other: Tree, doing: str) -> None:
    if doing == "create":
        tree.create("sub/x", b"evil")
    elif doing == "writing":
        with tree.writing("sub/x"):
            pytest.fail("the block must not run")
    elif doing == "move_in":
        tree.move_in(other, "new", "sub/x")
    elif doing == "copy":
        tree.copy("new", "sub/x")
    else:
        tree.remove("sub/old")


def test_a_root_that_was_made_a_link_leads_nowhere(tmp_path: Path) -> None:
    """
    A tree is a directory, and knows when another is in its place.
    """
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")

    with pytest.raises(TargetError, match="cannot be entered"):
        Tree(tmp_path / "link")

    with Tree(tmp_path / "real") as tree:
        assert tree.is_still_there()
        (tmp_path / "real").rename(tmp_path / "moved")
        (tmp_path / "real").mkdir()
        assert not tree.is_still_there()


@pytest.mark.parametrize("kind", ["nothing", "a directory", "a link", "a pipe"])
def test_only_files_are_opened(tree: Tree, kind: str) -> None:
    """
    A pipe would let us wait for ever.
    """
    path = tree.root / "a"
    if kind == "a directory":
        path.mkdir()
    elif kind == "a link":
        (tree.root / "b").touch()
        path.symlink_to("b")
    elif kind == "a pipe":
        os.mkfifo(path)

    assert tree.open("a") is None
    assert not tree.has("a")
    if kind != "nothing":
        with pytest.raises(TargetError, match="a cannot be written"):
            os.close(tree.keep("a"))


def test_a_file_moves_from_tree_to_tree(tree: Tree, other: Tree) -> None:
    """
    In one step, to a new name.
    """
    other.create("md5-00", b"hello")

    tree.move_in(other, "md5-00", "a/b.txt")

    assert (tree.root / "a/b.txt").read_bytes() == b"hello"
    assert list(other.names()) == []


def test_a_file_is_linked_if_it_is_the_one_that_was_looked_at(tree: Tree, other: Tree) -> None:
    """
    One that was put in its place meanwhile is not taken.
    """
    other.create("a/b", b"hello")
    found = (other.root / "a/b").stat()

    assert tree.link_in(other, "a/b", found)
    assert (tree.root / "a/b").samefile(other.root / "a/b")

    other.remove("a/b")
    other.create("a/b", b"jello")
    os.utime(other.root / "a/b", ns=(0, 0))
    tree.remove("a/b")
    assert not tree.link_in(other, "a/b", found)
    assert not (tree.root / "a/b").exists()


@pytest.mark.parametrize("by_kernel", [True, False], ids=["by the kernel", "by hand"])
def test_a_copy_is_another_file(tree: Tree, monkeypatch: pytest.MonkeyPatch, *, by_kernel: bool) -> None:
    """
    Who edits one does not change the other.
    """
    if not by_kernel:
        monkeypatch.setattr(os, "copy_file_range", full, raising=False)
    content = os.urandom(2_500_000)
    tree.create("a", content)

    tree.copy("a", "sub/b")

    assert (tree.root / "sub/b").read_bytes() == content
    assert not (tree.root / "sub/b").samefile(tree.root / "a")
    with pytest.raises(TargetError, match="missing cannot be read"):
        tree.copy("missing", "c")


def test_a_file_is_written_bit_by_bit(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A full disk is told by its name.
    """
    with tree.writing("a/b") as write:
        write(b"hello ")
        write(b"world")
        monkeypatch.setattr(os, "write", full)
        with pytest.raises(DiskFullError, match="a/b cannot be written: No space left"):
            write(b"!")

    assert (tree.root / "a/b").read_bytes() == b"hello world"


def test_everything_in_a_tree_has_a_name(tree: Tree) -> None:
    """
    Files, links and whatever else; of directories the empty ones, which can be removed.
    """
    tree.create("a/b", b"")
    (tree.root / "e/f").mkdir(parents=True)
    (tree.root / "link").symlink_to("a")

    assert sorted(tree.names()) == ["a/b", "e/f/", "link"]
    tree.remove_empty()
    tree.remove("link")
    tree.remove("never/there")
    assert sorted(tree.names()) == ["a/b"]
    assert not (tree.root / "e").exists()


def test_what_cannot_be_removed_is_an_error(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    As what is to be gone would else become part of the directory.
    """
    tree.create("a", b"")

    def denied(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(os, "unlink", denied)

    with pytest.raises(TargetError, match="a cannot be removed: Permission denied"):
        tree.remove("a")
