"""Files and directories as the system has them: no link is followed, a full disk has its own name."""

from __future__ import annotations

import errno
import os
import shutil
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial as bound
from pathlib import Path

from registry_client.errors import DiskFullError, TargetError

_FULL = {errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)}
_BINARY = getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
_NO_FOLLOW = getattr(os, "O_NOFOLLOW", 0)
_READ = os.O_RDONLY | _NO_FOLLOW | _BINARY | getattr(os, "O_NONBLOCK", 0)  # A pipe must not hold us up.
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | _NO_FOLLOW | _BINARY
_KEPT = os.O_RDWR | os.O_CREAT | _NO_FOLLOW | _BINARY | getattr(os, "O_NONBLOCK", 0)
_APPENDED = _KEPT | os.O_APPEND
_DIRECTORY = os.O_RDONLY | _NO_FOLLOW | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_CLOEXEC", 0)
# Windows enters no directory by a descriptor; there paths have to do.
_BY_DESCRIPTOR = os.open in os.supports_dir_fd and hasattr(os, "O_DIRECTORY") and hasattr(os, "O_NOFOLLOW")
_COPIED = 1024 * 1024
_seeking = threading.Lock()


def free_bytes(directory: Path) -> int:
    """What the disk under that directory still takes."""
    return shutil.disk_usage(directory).free


def refused(what: str, error: OSError) -> TargetError:
    """Our error for the system's."""
    kind = DiskFullError if error.errno in _FULL else TargetError
    return kind(f"{what}: {error.strerror or error}")


def check_target(target: Path) -> None:
    """Check that a directory is there, or nothing.

    Raises:
        TargetError: Something else is; the message says what to do.
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
        if os.path.ismount(target):
            raise TargetError(f"{target} is where a disk begins, which cannot be moved: name one inside it")
        here = Path.cwd()
        if any(target.samefile(folder) for folder in (here, *here.parents)):
            raise TargetError(f"{target} is the current directory or holds it: name a new one inside it")
    except OSError as error:
        raise refused(f"{target} cannot be looked at", error) from error


def write_all(descriptor: int, data: bytes) -> None:
    """Write all of it where the file stands; the system may take several rounds."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def write_at(descriptor: int, data: bytes, offset: int) -> None:
    """Write all of it at that place; several threads may."""
    view = memoryview(data)
    while view:
        written = _pwrite(descriptor, view, offset)
        view, offset = view[written:], offset + written


def read_at(descriptor: int, size: int, offset: int) -> bytes:
    """Up to so many bytes from that place; several threads may."""
    if hasattr(os, "pread"):
        return os.pread(descriptor, size, offset)
    with _seeking:
        os.lseek(descriptor, offset, os.SEEK_SET)
        return os.read(descriptor, size)


def _pwrite(descriptor: int, data: memoryview, offset: int) -> int:
    if hasattr(os, "pwrite"):
        return os.pwrite(descriptor, data, offset)
    with _seeking:
        os.lseek(descriptor, offset, os.SEEK_SET)
        return os.write(descriptor, data)


class Tree:
    """A directory and what is in it, reached by descriptors: a link put in the way leads nowhere.

    Paths are relative and POSIX.  Foreign errors become a TargetError that names the path.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._top: int | None = None
        if _BY_DESCRIPTOR:
            with self._telling("", "entered"):
                self._top = os.open(root, _DIRECTORY)

    def __enter__(self) -> Tree:  # noqa: PYI034 - typing.Self is newer than our oldest Python
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the directory."""
        if self._top is not None:
            os.close(self._top)
            self._top = None

    def create(self, path: str, data: bytes) -> None:
        """Make a new file of these bytes, and the directories above it."""
        with self._at(path, "written", make=True) as (name, top):
            descriptor = os.open(name, _NEW, 0o666, dir_fd=top)
            try:
                write_all(descriptor, data)
            finally:
                os.close(descriptor)

    def keep(self, name: str, *, append: bool = False) -> int:
        """A descriptor of a file to read and write, made if it is not there yet."""
        with self._at(name, "written") as (last, top):
            descriptor = os.open(last, _APPENDED if append else _KEPT, 0o666, dir_fd=top)
            if stat.S_ISREG(os.fstat(descriptor).st_mode):
                return descriptor
            os.close(descriptor)
        raise TargetError(f"{self.root / name} cannot be written: it is no file")

    @contextmanager
    def writing(self, path: str) -> Iterator[Callable[[bytes], None]]:
        """Make a new file out of what the given function is told."""
        with self._at(path, "written", make=True) as (name, top):
            descriptor = os.open(name, _NEW, 0o666, dir_fd=top)
        try:
            yield bound(self._write, descriptor, path)
        finally:
            os.close(descriptor)

    def has(self, path: str) -> bool:
        """Whether such a file is there."""
        descriptor = self.open(path)
        if descriptor is not None:
            os.close(descriptor)
        return descriptor is not None

    def is_still_there(self) -> bool:
        """Whether the directory is where it was, and nobody has put another in its place."""
        return self._top is None or os.path.samestat(os.fstat(self._top), self.root.lstat())

    def open(self, path: str) -> int | None:
        """A descriptor to read a file by; None if there is none, or a link, or something else."""
        try:
            with self._at(path) as (name, top):
                descriptor = os.open(name, _READ, dir_fd=top)
        except OSError:
            return None
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            return descriptor
        os.close(descriptor)
        return None

    def move_in(self, source: Tree, name: str, path: str) -> None:
        """Take over a file from another tree on this disk, in one step."""
        with (
            self._at(path, "written", make=True) as (new, top),
            source._at(name) as (old, from_top),
        ):
            os.rename(old, new, src_dir_fd=from_top, dst_dir_fd=top)

    def link_in(self, source: Tree, path: str, found: os.stat_result) -> bool:
        """Have a file of another tree here too, if it is still the one that was found there."""
        try:
            with self._at(path, make=True) as (name, top), source._at(path) as (same, from_top):
                follow = {"follow_symlinks": False} if os.link in os.supports_follow_symlinks else {}
                os.link(same, name, src_dir_fd=from_top, dst_dir_fd=top, **follow)
                now = os.stat(name, dir_fd=top, follow_symlinks=False)
        except (OSError, NotImplementedError):
            return False
        if _identity(now) == _identity(found):
            return True
        self.remove(path)
        return False

    def copy(self, path: str, to: str) -> None:
        """Make a second file with the bytes of one that is here."""
        source = self.open(path)
        if source is None:
            raise TargetError(f"{self.root / path} cannot be read: somebody else has changed it")
        try:
            with self._at(to, "written", make=True) as (name, top):
                target = os.open(name, _NEW, 0o666, dir_fd=top)
                try:
                    _copy(source, target)
                finally:
                    os.close(target)
        finally:
            os.close(source)

    def remove(self, path: str) -> None:
        """Remove a file or link, or an empty directory (a path that ends in a slash), if it is there."""
        remove = os.rmdir if path.endswith("/") else os.unlink
        try:
            with self._at(path.rstrip("/")) as (name, top):
                remove(name, dir_fd=top)
        except FileNotFoundError:
            pass
        except OSError as error:
            raise self._refused(path, "removed", error) from error

    def remove_empty(self) -> None:
        """Remove the directories that nothing is in."""
        while empty := [name for name in self.names() if name.endswith("/")]:
            for name in empty:
                self.remove(name)

    def names(self) -> Iterator[str]:
        """The path of everything but directories; an empty directory's ends in a slash."""
        with self._telling("", "looked at"):
            yield from _names(self.root, "")

    @contextmanager
    def _at(
        self, path: str, doing: str | None = None, *, make: bool = False
    ) -> Iterator[tuple[str, int | None]]:
        """The last name of a path and the directory that it is in; with ``doing``, errors are ours."""
        *above, name = path.split("/")
        top = self._top
        try:
            if top is None:
                yield str(self._checked(above, make=make) / name), None
                return
            for each in above:
                inner = _entered(each, top, make=make)
                if top != self._top:
                    os.close(top)
                top = inner
            yield name, top
        except OSError as error:
            if doing is None:
                raise
            raise self._refused(path, doing, error) from error
        finally:
            if top is not None and top != self._top:
                os.close(top)

    def _checked(self, above: list[str], *, make: bool) -> Path:
        """The directory's path, where it cannot be entered by descriptors; no part of it is a link."""
        folder = self.root
        for each in above:
            folder /= each
            if make:
                folder.mkdir(exist_ok=True)
            if folder.is_symlink():
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
        return folder

    def _write(self, descriptor: int, path: str, data: bytes) -> None:
        with self._telling(path, "written"):
            write_all(descriptor, data)

    @contextmanager
    def _telling(self, path: str, doing: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise self._refused(path, doing, error) from error

    def _refused(self, path: str, doing: str, error: OSError) -> TargetError:
        if isinstance(error, FileExistsError):
            return TargetError(f"{self.root / path} is there already, and nothing is ever overwritten")
        return refused(f"{self.root / path} cannot be {doing}", error)


def _entered(name: str, top: int, *, make: bool) -> int:
    try:
        return os.open(name, _DIRECTORY, dir_fd=top)
    except FileNotFoundError:
        if not make:
            raise
    with suppress(FileExistsError):  # Another thread was quicker.
        os.mkdir(name, dir_fd=top)
    return os.open(name, _DIRECTORY, dir_fd=top)


def _copy(source: int, target: int) -> None:
    """Copy by the kernel where it can, which shares the blocks where the disk can."""
    if hasattr(os, "copy_file_range"):
        with suppress(OSError):
            while os.copy_file_range(source, target, 1 << 30):
                pass
    # Whatever is left, or all of it.
    offset = os.lseek(target, 0, os.SEEK_END)
    while data := read_at(source, _COPIED, offset):
        write_at(target, data, offset)
        offset += len(data)


def _identity(found: os.stat_result) -> tuple[int, ...]:
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def _names(folder: Path, before: str) -> Iterator[str]:
    empty = True
    with os.scandir(folder) as entries:
        for entry in entries:
            empty = False
            if entry.is_dir(follow_symlinks=False):
                yield from _names(Path(entry.path), f"{before}{entry.name}/")
            else:
                yield f"{before}{entry.name}"
    if empty and before:
        yield before
