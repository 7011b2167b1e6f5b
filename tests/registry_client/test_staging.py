"""Where a directory is put together before it appears."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from registry_client.errors import TargetError
from registry_client.staging import Staging, staged


def names(directory: Path) -> list[str]:
    return sorted(str(path.relative_to(directory)) for path in directory.rglob("*"))


def always() -> bool:
    return True


def filled(staging: Staging, content: bytes = b"hello") -> None:
    staging.content.create("a/b.txt", content)


def run(target: Path, *steps: Callable[[Staging], object], key: str = "0123") -> None:
    """A try that takes these steps."""
    with staged(target, key) as staging:
        for step in steps:
            step(staging)


def failing(error: type[BaseException]) -> Callable[[Staging], object]:
    """A step that ends the try."""

    def fail(_: Staging) -> None:
        raise error

    return fail


def interrupted(target: Path, key: str = "0123") -> None:
    """A try that leaves something."""
    with pytest.raises(KeyboardInterrupt):
        run(target, filled, failing(KeyboardInterrupt), key=key)


def test_a_directory_appears_at_the_end(tmp_path: Path) -> None:
    """
    While the block runs there is nothing at the target, after it everything, and no trace of the staging.
    """
    target = tmp_path / "deep" / "model"

    with staged(target, "0123") as staging:
        filled(staging)
        assert not target.exists()
        staging.put_in_place(same=always)

    assert (target / "a" / "b.txt").read_bytes() == b"hello"
    assert names(tmp_path) == ["deep", "deep/model", "deep/model/a", "deep/model/a/b.txt"]


def test_nobody_else_can_enter_before_the_end(tmp_path: Path) -> None:
    """
    The staging is the user's own; the target has the mode of any new directory.
    """
    (tmp_path / "plain").mkdir()

    with staged(tmp_path / "model", "0123") as staging:
        assert stat.S_IMODE(staging.content.root.parent.stat().st_mode) == 0o700
        assert staging.content.root.parent.parent == tmp_path
        staging.put_in_place(same=always)

    modes = {stat.S_IMODE((tmp_path / each).stat().st_mode) for each in ("model", "plain")}
    assert len(modes) == 1


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_a_block_that_fails_leaves_its_work_for_the_next_try(
    tmp_path: Path, error: type[BaseException]
) -> None:
    """
    An error, Ctrl-C, or a signal turned into an exception: what is there is found again, under the same name.
    """
    with pytest.raises(error):
        run(tmp_path / "model", filled, failing(error))

    assert names(tmp_path)[0] == ".model.handoff-0123"
    with staged(tmp_path / "model", "0123") as staging:
        assert list(staging.content.names()) == ["a/b.txt"]
        staging.put_in_place(same=always)
    assert names(tmp_path) == ["model", "model/a", "model/a/b.txt"]


def test_a_block_that_has_done_nothing_leaves_nothing(tmp_path: Path) -> None:
    """
    Not even an empty directory.
    """
    with pytest.raises(ValueError, match="early"), staged(tmp_path / "model", "0123"):
        raise ValueError("early")

    assert names(tmp_path) == []


def test_parts_of_a_file_are_worth_keeping(tmp_path: Path) -> None:
    """
    Also when no file is whole yet.
    """
    with pytest.raises(KeyboardInterrupt):
        run(
            tmp_path / "model",
            lambda staging: os.close(staging.partial.keep("md5-00.parts")),
            failing(KeyboardInterrupt),
        )

    assert ".model.handoff-0123/partial/md5-00.parts" in names(tmp_path)


@pytest.mark.parametrize("there", ["nothing", "an empty directory", "files"])
def test_what_was_at_the_target_is_replaced(tmp_path: Path, there: str) -> None:
    """
    As a whole: nothing of it is mixed in.
    """
    target = tmp_path / "model"
    if there != "nothing":
        target.mkdir()
    if there == "files":
        (target / "old").touch()

    with staged(target, "0123") as staging:
        filled(staging)
        staging.put_in_place(same=always)

    assert names(tmp_path) == ["model", "model/a", "model/a/b.txt"]


def test_a_target_that_changed_meanwhile_is_left_alone(tmp_path: Path) -> None:
    """
    What somebody else put there while we fetched stays, and our work waits for the next try.
    """
    target = tmp_path / "model"

    def meanwhile(staging: Staging) -> None:
        target.mkdir()
        (target / "theirs").touch()
        staging.put_in_place(same=lambda: False)

    with pytest.raises(TargetError, match="was changed while files were fetched"):
        run(target, filled, meanwhile)

    assert names(target) == ["theirs"]


def test_a_content_that_was_swapped_is_not_put_in_place(tmp_path: Path) -> None:
    """
    A directory that somebody put in the place of ours holds nothing proven.
    """

    def swapped(staging: Staging) -> None:
        staging.content.root.rename(tmp_path / "aside")
        staging.content.root.mkdir()
        (staging.content.root / "evil").touch()
        staging.put_in_place(same=always)

    with pytest.raises(TargetError, match="was replaced by somebody else"):
        run(tmp_path / "model", filled, swapped)

    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize(
    ("error", "raised"),
    [
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), TargetError),
        (KeyboardInterrupt(), KeyboardInterrupt),
    ],
    ids=["the disk is full", "Ctrl-C"],
)
def test_a_swap_that_fails_halfway_puts_the_old_one_back(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: BaseException,
    raised: type[BaseException],
) -> None:
    """
    The target is never left without its files.
    """
    target = tmp_path / "model"
    target.mkdir()
    (target / "old").touch()
    real = Path.rename

    def full(path: Path, to: Path) -> Path:
        if path.name == "content":
            raise error
        return real(path, to)

    monkeypatch.setattr(Path, "rename", full)

    with pytest.raises(raised, match=r"could not be put in place: No space left|^$"):
        run(target, filled, lambda staging: staging.put_in_place(same=always))

    assert names(target) == ["old"]


def test_an_end_after_the_swap_leaves_nothing_behind(tmp_path: Path) -> None:
    """
    The directory is in place, and what it replaced is gone.
    """
    target = tmp_path / "model"
    target.mkdir()
    (target / "old").touch()

    with pytest.raises(KeyboardInterrupt):
        run(
            target,
            filled,
            lambda staging: staging.put_in_place(same=always),
            failing(KeyboardInterrupt),
        )

    assert names(tmp_path) == ["model", "model/a", "model/a/b.txt"]


def test_one_process_at_a_time_works_there(tmp_path: Path) -> None:
    """
    A second one is told what to do, and disturbs nothing.
    """
    with staged(tmp_path / "model", "0123") as staging:
        filled(staging)
        with (
            pytest.raises(TargetError, match="another process is fetching the same files"),
            staged(tmp_path / "model", "0123"),
        ):
            pytest.fail("the block must not run")
        staging.put_in_place(same=always)

    assert names(tmp_path) == ["model", "model/a", "model/a/b.txt"]


@pytest.mark.parametrize("kind", ["a file", "a link", "open to others", "somebody else's"])
def test_a_staging_that_is_not_ours_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """
    In a directory that others may write to, somebody could have put it there for us.
    """
    place = tmp_path / ".model.handoff-0123"
    if kind == "a file":
        place.touch(mode=0o600)
    elif kind == "a link":
        (tmp_path / "elsewhere").mkdir(mode=0o700)
        place.symlink_to(tmp_path / "elsewhere")
    elif kind == "open to others":
        place.mkdir()
        place.chmod(0o777)
    else:
        place.mkdir(mode=0o700)
        other = os.getuid() + 1
        monkeypatch.setattr(os, "getuid", lambda: other)

    with (
        pytest.raises(TargetError, match="is not a directory of ours"),
        staged(tmp_path / "model", "0123"),
    ):
        pytest.fail("the block must not run")


@pytest.mark.parametrize("part", ["content", "partial", "lock"])
def test_a_link_in_the_staging_is_not_followed(tmp_path: Path, part: str) -> None:
    """
    Nothing is written to where it leads.
    """
    interrupted(tmp_path / "model")
    place = tmp_path / ".model.handoff-0123" / part
    place.rename(tmp_path / "aside")
    (tmp_path / "outside").mkdir()
    place.symlink_to(tmp_path / "outside")

    with pytest.raises(TargetError), staged(tmp_path / "model", "0123"):
        pytest.fail("the block must not run")

    assert names(tmp_path / "outside") == []


def test_a_directory_that_could_not_be_put_back_is_never_thrown_away(tmp_path: Path) -> None:
    """
    It is the user's, and lies in the staging when a swap went wrong twice.
    """

    def aside(staging: Staging) -> None:
        (staging.content.root.parent / "old").mkdir()

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "model", aside, failing(KeyboardInterrupt))

    assert (tmp_path / ".model.handoff-0123" / "old").is_dir()


def test_what_other_versions_left_goes_with_the_next_success(tmp_path: Path) -> None:
    """
    But not what another process is at, nor anything of another target, nor what only looks like it.
    """
    for key in ("old", "busy"):
        interrupted(tmp_path / "model", key)
    interrupted(tmp_path / "model2", "x")
    (tmp_path / ".model.handoff-file").touch()

    with staged(tmp_path / "model", "busy"), staged(tmp_path / "model", "new") as staging:
        filled(staging)
        staging.put_in_place(same=always)
        left = {each.name for each in tmp_path.iterdir()}

    assert ".model.handoff-old" in left
    after = {each.name for each in tmp_path.iterdir()}
    assert ".model.handoff-old" not in after
    assert {".model2.handoff-x", ".model.handoff-file", "model"} <= after


def test_a_name_as_long_as_names_may_be_still_has_a_place(tmp_path: Path) -> None:
    """
    Also when its letters have several bytes.
    """
    target = tmp_path / ("ü" * 127)

    with staged(target, "0123456789abcdef") as staging:
        filled(staging)
        staging.put_in_place(same=always)

    assert names(target) == ["a", "a/b.txt"]


def test_a_parent_that_is_a_file_is_an_error(tmp_path: Path) -> None:
    """
    The directory cannot be made below a file.
    """
    (tmp_path / "file").touch()

    with pytest.raises(TargetError, match="cannot be written to"), staged(tmp_path / "file" / "model", "0"):
        pytest.fail("the block must not run")
