"""Where a directory is put together before it appears: beside it, ours alone, and kept for the next try."""

from __future__ import annotations

import os
import shutil
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from registry_client.errors import TargetError
from registry_client.files import Tree, check_target, refused

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

_CONTENT, _PARTIAL, _OLD, _LOCK = "content", "partial", "old", "lock"
_NAME_BYTES = 150  # Of the target's name; a file's name has 255 at most.


class Staging:
    """The directory beside the target.

    Attributes:
        content: What becomes the target: proven files, and nothing else.
        partial: Files on their way.
    """

    def __init__(self, root: Path, target: Path) -> None:
        self._root = root
        self._target = target
        self.content = Tree(_made(root / _CONTENT))
        self.partial = Tree(_made(root / _PARTIAL))

    def put_in_place(self, *, same: Callable[[], bool]) -> None:
        """Let the content appear at the target; what was there goes once it is replaced.

        Args:
            same: Whether the target still holds what it held when we looked.

        Raises:
            TargetError: Somebody else has changed the target meanwhile, or it cannot be replaced.
        """
        check_target(self._target)
        if not self.content.is_still_there():
            raise TargetError(f"{self.content.root} was replaced by somebody else: try again")
        if not same():
            raise TargetError(f"{self._target} was changed while files were fetched: nothing was replaced")
        old = self._root / _OLD
        try:
            shutil.rmtree(old, ignore_errors=True)
            there = self._target.is_dir()
            if there:
                self._target.rename(old)
            try:
                (self._root / _CONTENT).rename(self._target)
            except BaseException:  # Ctrl-C as well: the target is not to be without its files.
                if there:
                    old.rename(self._target)
                raise
        except OSError as error:
            raise refused(f"{self._target} could not be put in place", error) from error

    def close(self) -> None:
        """Let go of the directories."""
        self.content.close()
        self.partial.close()

    def is_worth_keeping(self) -> bool:
        """Whether the next try could use anything in it."""
        if not self.content.root.is_dir():
            return False  # It is in place.
        return (
            any(not name.endswith("/") for name in self.content.names())
            or any(name.endswith(".parts") for name in self.partial.names())
            or (self._root / _OLD).exists()
        )


@contextmanager
def staged(target: Path, key: str) -> Iterator[Staging]:
    """Give a place to put a directory together; it stays, for the next try, when the block fails.

    Args:
        target: Where the directory is to appear.
        key: What it is to hold: the same content meets the same place again.

    Raises:
        TargetError: The place cannot be made, is not ours, or another process works there.
    """
    target = target.absolute()
    root = _beside(target, key)
    with _locked(_own(root)):
        try:
            with closing(Staging(root, target)) as staging:
                try:
                    yield staging
                except BaseException:
                    if not staging.is_worth_keeping():
                        shutil.rmtree(root, ignore_errors=True)
                    raise
        except OSError as error:
            raise refused(f"{root} cannot be used", error) from error
        shutil.rmtree(root, ignore_errors=os.name != "nt")
        _remove_stale(target, root)


def _beside(target: Path, key: str) -> Path:
    return target.with_name(f"{_start(target)}{key}")


def _start(target: Path) -> str:
    name = os.fsencode(target.name)[:_NAME_BYTES].decode("utf-8", "ignore")
    return f".{name}.handoff-"


def _own(root: Path) -> Path:
    """Make the directory, or find it as we left it."""
    try:
        root.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileExistsError):
            root.mkdir(mode=0o700)
        found = root.lstat()
    except OSError as error:
        raise refused(f"{root.parent} cannot be written to", error) from error
    if not _is_own(found):
        raise TargetError(f"{root} is not a directory of ours: remove it, or name another target")
    return root


def _is_own(found: os.stat_result) -> bool:
    if not stat.S_ISDIR(found.st_mode):
        return False
    return os.name == "nt" or (found.st_uid == os.getuid() and not found.st_mode & 0o077)


def _made(folder: Path) -> Path:
    with suppress(FileExistsError):
        folder.mkdir()
    return folder


@contextmanager
def _locked(root: Path) -> Iterator[None]:
    descriptor = _lock(root)
    if descriptor is None:
        raise TargetError(
            f"another process is fetching the same files into the same directory (it holds {root / _LOCK}): "
            "wait for it, or name another directory"
        )
    try:
        yield
    finally:
        os.close(descriptor)


def _lock(root: Path) -> int | None:
    """A descriptor that holds the lock; None if another process does."""
    path = root / _LOCK
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o600)
    except OSError as error:
        raise refused(f"{path} cannot be locked", error) from error
    try:
        if sys.platform == "win32":
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        else:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(descriptor), path.lstat()):  # Else its last holder has removed it.
            return descriptor
    except OSError:
        pass
    os.close(descriptor)
    return None


def _remove_stale(target: Path, own: Path) -> None:
    """Remove what tries of other versions have left, unless somebody is at it."""
    for other in target.parent.iterdir():
        if other == own or not other.name.startswith(_start(target)):
            continue
        with suppress(OSError, TargetError):
            descriptor = _lock(other) if _is_own(other.lstat()) else None
            if descriptor is not None:
                shutil.rmtree(other, ignore_errors=True)
                os.close(descriptor)
