"""Directories that appear whole or not at all, and files in them that overwrite nothing."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from registry_client.errors import TargetError

# Windows has neither; there a new directory of our own holds no link to follow anyway.
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)


def free_bytes(directory: Path) -> int:
    """What the disk under that directory still takes."""
    return shutil.disk_usage(directory).free


def check_target(target: Path) -> None:
    """Check that a whole directory may appear there.

    Raises:
        TargetError: Something is in the way; the message says what to do.
    """
    try:
        if target.is_symlink():
            raise TargetError(
                f"{target} is a symbolic link, which we do not follow: name the directory itself"
            )
        if not os.path.lexists(target):
            return
        if not target.is_dir():
            raise TargetError(f"{target} is there and no directory: name another, or remove it")
        if target.samefile(Path.cwd()):
            raise TargetError(f"{target} is the current directory: name a new one inside it")
        there = sorted(entry.name for entry in target.iterdir())
    except OSError as error:
        raise TargetError(f"{target} cannot be looked at: {error.strerror}") from error
    if there:
        shown = ", ".join(there[:3]) + (", …" if len(there) > 3 else "")  # noqa: PLR2004 - enough to recognise it
        raise TargetError(
            f"{target} is not empty (it has {shown}): name another, or empty it; nothing is ever overwritten"
        )


@contextmanager
def whole_directory(
    target: Path, *, room_for: int = 0, free: Callable[[Path], int] = free_bytes
) -> Iterator[Path]:
    """Give a directory to fill, which becomes ``target`` only if the block succeeds.

    It lies beside the target, on the same disk, where only this user can enter it; whatever ends the
    block early (an error, Ctrl-C) removes it.

    Args:
        target: Where it is to appear: a new name, or an empty directory.
        room_for: How many bytes the disk must still take, checked first.
        free: What the disk takes.

    Raises:
        TargetError: The target or its disk is not usable.
    """
    check_target(target)
    target = target.absolute()
    guarded = _guarded_beside(target, room_for, free)
    try:
        staging = _plain_inside(guarded)
        yield staging
        check_target(target)
        _rename(staging, target)
    finally:
        shutil.rmtree(guarded, ignore_errors=True)


def write(path: Path, chunks: Iterable[bytes]) -> None:
    """Write a new file, and the directories above it; an existing file or link is never written to.

    Raises:
        TargetError: It cannot be written.  Errors of ``chunks`` pass as they are.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(path, _NEW_FILE, 0o666), "wb", buffering=0) as file:
            for chunk in chunks:
                _write_all(file.fileno(), chunk)
    except FileExistsError as error:
        raise TargetError(f"{path} is there already, and nothing is ever overwritten") from error
    except OSError as error:
        raise TargetError(f"{path} cannot be written: {error.strerror}") from error


def _write_all(descriptor: int, chunk: bytes) -> None:
    view = memoryview(chunk)
    while view:
        view = view[os.write(descriptor, view) :]


def _guarded_beside(target: Path, room_for: int, free: Callable[[Path], int]) -> Path:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        available = free(target.parent)
        if available < room_for:
            raise TargetError(
                f"the disk of {target.parent} takes {available:,} more bytes, want {room_for:,}: "
                "free some, or name a directory on another disk"
            )
        return Path(tempfile.mkdtemp(prefix=".handoff-", suffix=".part", dir=target.parent))
    except OSError as error:
        raise TargetError(f"{target.parent} cannot be written to: {error.strerror}") from error


def _plain_inside(guarded: Path) -> Path:
    """The directory to move: unlike a temporary one it has the mode of any new directory."""
    try:
        (guarded / "content").mkdir()
    except OSError as error:
        raise TargetError(f"{guarded.parent} cannot be written to: {error.strerror}") from error
    return guarded / "content"


def _rename(staging: Path, target: Path) -> None:
    try:
        if os.name == "nt" and target.is_dir():  # There a rename does not replace an empty directory.
            target.rmdir()
        staging.rename(target)
    except OSError as error:
        raise TargetError(f"{target} could not be put in place: {error.strerror}") from error
