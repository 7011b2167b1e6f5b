"""Directories that appear whole or not at all."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from registry_client.errors import TargetError
from registry_client.files import check_target, free_bytes, whole_directory, write


def names(directory: Path) -> list[str]:
    return sorted(str(path.relative_to(directory)) for path in directory.rglob("*"))


def test_a_directory_appears_at_the_end(tmp_path: Path) -> None:
    """
    While the block runs there is nothing at the target, after it everything, and no trace of the staging.
    """
    target = tmp_path / "deep" / "model"

    with whole_directory(target) as staging:
        write(staging / "a" / "b.txt", [b"he", b"llo"])
        assert not target.exists()

    assert (target / "a" / "b.txt").read_bytes() == b"hello"
    assert names(tmp_path) == ["deep", "deep/model", "deep/model/a", "deep/model/a/b.txt"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_a_block_that_fails_leaves_nothing(tmp_path: Path, error: type[BaseException]) -> None:
    """
    An error, Ctrl-C, or a signal turned into an exception: nothing stays, not even the staging.
    """

    def failing() -> None:
        with whole_directory(tmp_path / "model") as staging:
            write(staging / "a.txt", [b"hello"])
            raise error

    with pytest.raises(error):
        failing()

    assert names(tmp_path) == []


def test_nobody_else_can_enter_before_the_end(tmp_path: Path) -> None:
    """
    The staging lies in a directory of the user's own; the target has the mode of any new directory.
    """
    plain = tmp_path / "plain"
    plain.mkdir()

    with whole_directory(tmp_path / "model") as staging:
        write(staging / "a.txt", [b""])
        assert stat.S_IMODE(staging.parent.stat().st_mode) == 0o700
        assert staging.parent.parent == tmp_path

    assert stat.S_IMODE((tmp_path / "model").stat().st_mode) == stat.S_IMODE(plain.stat().st_mode)
    plain_file = tmp_path / "plain.txt"
    plain_file.touch()
    assert stat.S_IMODE((tmp_path / "model/a.txt").stat().st_mode) == stat.S_IMODE(plain_file.stat().st_mode)


def test_an_empty_directory_is_filled(tmp_path: Path) -> None:
    """
    A directory made beforehand is fine while it is empty.
    """
    (tmp_path / "model").mkdir()

    with whole_directory(tmp_path / "model") as staging:
        write(staging / "a.txt", [b"hello"])

    assert names(tmp_path) == ["model", "model/a.txt"]


def test_a_directory_that_has_something_is_left_alone(tmp_path: Path) -> None:
    """
    Nothing is overwritten or mixed; the message shows what is there.
    """
    target = tmp_path / "model"
    target.mkdir()
    for number in range(5):
        (target / f"mine-{number}").touch()

    with pytest.raises(TargetError, match=r"is not empty \(it has mine-0, mine-1, mine-2, …\)"):
        check_target(target)

    assert len(names(target)) == 5


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

    with pytest.raises(TargetError, match="is a symbolic link"), whole_directory(tmp_path / "model"):
        pytest.fail("the block must not run")


def test_the_current_directory_is_not_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A rename would leave the shell in a directory that is gone.
    """
    monkeypatch.chdir(tmp_path)

    with pytest.raises(TargetError, match="is the current directory"):
        check_target(Path())


def test_a_target_taken_meanwhile_is_left_alone(tmp_path: Path) -> None:
    """
    What somebody else put there while we fetched stays, and our own is removed.
    """

    def meanwhile() -> None:
        with whole_directory(tmp_path / "model") as staging:
            write(staging / "a.txt", [b"ours"])
            (tmp_path / "model").mkdir()
            (tmp_path / "model" / "a.txt").write_bytes(b"theirs")

    with pytest.raises(TargetError, match="is not empty"):
        meanwhile()

    assert names(tmp_path) == ["model", "model/a.txt"]
    assert (tmp_path / "model" / "a.txt").read_bytes() == b"theirs"


def test_a_parent_that_is_a_file_is_an_error(tmp_path: Path) -> None:
    """
    The directory cannot be made below a file.
    """
    (tmp_path / "file").touch()

    with (
        pytest.raises(TargetError, match=r"file cannot be written to|Not a directory"),
        whole_directory(tmp_path / "file" / "model"),
    ):
        pytest.fail("the block must not run")


def test_a_disk_without_room_is_noticed_first(tmp_path: Path) -> None:
    """
    Both numbers are told before anything is made.
    """
    with (
        pytest.raises(TargetError, match="takes 999 more bytes, want 1,000"),
        whole_directory(tmp_path / "model", room_for=1000, free=lambda _: 999),
    ):
        pytest.fail("the block must not run")

    assert names(tmp_path) == []


def test_room_enough_is_enough(tmp_path: Path) -> None:
    """
    Exactly as much as is needed will do.
    """
    with whole_directory(tmp_path / "model", room_for=1000, free=lambda _: 1000):
        pass

    assert names(tmp_path) == ["model"]
    assert free_bytes(tmp_path) > 0


def test_a_directory_that_may_not_be_entered_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Whatever the system says is passed on with the path.
    """
    (tmp_path / "model").mkdir()

    def denied(_: Path) -> Iterator[Path]:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(Path, "iterdir", denied)

    with pytest.raises(TargetError, match="model cannot be looked at: Permission denied"):
        check_target(tmp_path / "model")


@pytest.mark.parametrize(
    ("method", "message"),
    [
        ("mkdir", "cannot be written to: No space left"),
        ("rename", "could not be put in place: No space left"),
    ],
)
def test_a_disk_that_fills_up_meanwhile_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str, message: str
) -> None:
    """
    Neither at the start nor at the very end.
    """
    real = getattr(Path, method)

    def full(path: Path, *args: object, **more: object) -> object:
        if path.name == "content":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(path, *args, **more)

    monkeypatch.setattr(Path, method, full)

    with pytest.raises(TargetError, match=message), whole_directory(tmp_path / "model"):
        pass

    assert names(tmp_path) == []


def test_an_existing_file_is_never_written_to(tmp_path: Path) -> None:
    """
    A second file of the same name is an error, not a replacement.
    """
    write(tmp_path / "a.txt", [b"first"])

    with pytest.raises(TargetError, match="is there already"):
        write(tmp_path / "a.txt", [b"second"])

    assert (tmp_path / "a.txt").read_bytes() == b"first"


def test_a_link_is_never_written_through(tmp_path: Path) -> None:
    """
    Not even one that leads to nothing yet.
    """
    (tmp_path / "a.txt").symlink_to(tmp_path / "elsewhere")

    with pytest.raises(TargetError):
        write(tmp_path / "a.txt", [b"hello"])

    assert not (tmp_path / "elsewhere").exists()


def test_a_full_disk_is_named(tmp_path: Path) -> None:
    """
    When others fill the disk meanwhile, the file and the reason are told.
    """

    def chunks() -> Iterator[bytes]:
        yield b"hello"
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(TargetError, match=r"a\.txt cannot be written: No space left on device"):
        write(tmp_path / "a.txt", chunks())


def test_a_write_may_take_several_rounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    The system may take fewer bytes than it is given.
    """
    real = os.write
    monkeypatch.setattr(os, "write", lambda file, data: real(file, data[:3]))

    write(tmp_path / "a.txt", [b"hello world"])

    monkeypatch.undo()
    assert (tmp_path / "a.txt").read_bytes() == b"hello world"
