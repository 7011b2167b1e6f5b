"""I/O: files by their digests, in the layout of W&B's own SDK; each is proven anew when it is used."""

from __future__ import annotations

import base64
import os
import secrets
import shutil
import stat
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import BinaryIO, Literal

from registry_client.digest import Promise, verified
from registry_client.errors import VerificationError
from registry_client.files import free_bytes, write_all
from registry_client.version import DigestAlgorithm

if sys.platform != "win32":
    import fcntl

_FOLDERS = {DigestAlgorithm.MD5: "md5", DigestAlgorithm.XXH128: "xxh128"}
_DIGEST_BYTES = 16  # MD5 and XXH128 alike.
_CHUNK = 1024 * 1024
_OURS = "handoff-"
_ABANDONED = 24 * 60 * 60.0  # Seconds after which nobody is still writing a temporary file.
_SPARED = 256 * 1024 * 1024  # Bytes of the disk that no copy of ours may take.
_BINARY, _NO_FOLLOW = getattr(os, "O_BINARY", 0), getattr(os, "O_NOFOLLOW", 0)
_NEW_FILE = os.O_RDWR | os.O_CREAT | os.O_EXCL | _NO_FOLLOW | _BINARY
# Somebody may have put a pipe there: opening it must not wait for a writer.
_OLD_FILE = os.O_RDONLY | _NO_FOLLOW | _BINARY | getattr(os, "O_NONBLOCK", 0)
_FICLONE = 0x40049409  # From linux/fs.h: one file's blocks for another, copied when one is written to.


def reflink(source: int, target: int) -> bool:
    """Let an empty file share the blocks of another until one of them changes; False where that cannot be."""
    if sys.platform == "win32":
        return False
    try:
        fcntl.ioctl(target, _FICLONE, source)
    except OSError:
        return False
    return True


class Cache:
    """A directory that the wandb SDK's WANDB_CACHE_DIR may name too: what one has fetched serves the other.

    Jobs share it without waiting for each other: a file appears in it whole, by a rename, and
    whoever takes one copies it to a name of his own and proves the copy.  Nothing in it is trusted.

    A file is handed out and taken in as a reflink where the disk has them, else as a copy.  Hard links
    would be as quick anywhere, but they are one file: a job that edits its model in place would edit the
    proven directories of other jobs, and an SDK would hand on what it finds, as it looks at the size alone.
    ``links="hard"`` is for those whose jobs never write to what they downloaded.
    """

    def __init__(  # noqa: PLR0913 - by keyword, each with a default, but for the first
        self,
        directory: Path,
        *,
        limit: int | None = None,
        links: Literal["reflink", "hard"] = "reflink",
        clone: Callable[[int, int], bool] = reflink,
        free: Callable[[Path], int] = free_bytes,
        now: Callable[[], float] = time.time,
    ) -> None:
        """Use that directory, which is made when something is added.

        Args:
            directory: What WANDB_CACHE_DIR would name.
            limit: Bytes that ``trim`` leaves there; None for any number.
            links: Whether hard links may be made.
            clone: Makes a reflink.
            free: What the disk of a directory still takes.
            now: The time, in seconds.
        """
        self._objects = directory / "artifacts" / "obj"
        self._temporary = directory / "artifacts" / "tmp"
        self._lock = directory / "artifacts" / "handoff.lock"
        self._limit = limit
        self._hard = links == "hard"
        self._clone = clone
        self._free = free
        self._now = now

    def take(
        self, entry: Promise, into: Path, *, advance: Callable[[int], object] = lambda _size: None
    ) -> bool:
        """Make the new file ``into`` with the promised bytes, proven; False and no file if they are not here.

        A cached file that is not what it should be is removed.

        Args:
            entry: Digest and size that the file must have.
            into: A name that is not taken, where nobody else may write.
            advance: Is told how many bytes more were proven; what it raises ends the taking.
        """
        place = self._place(entry)
        if place is None:
            return False
        found = None
        try:
            with os.fdopen(os.open(place, _OLD_FILE), "rb", buffering=0) as source:
                found = os.fstat(source.fileno())
                if not stat.S_ISREG(found.st_mode):
                    return False  # Nobody cached that; it is left alone.
                self._copy_proven(source, place, entry, into, advance)
                self._touch(source)
        except VerificationError:
            _remove(place, found)
            return False
        except OSError:
            return False
        return True

    def add(self, entry: Promise, file: Path, *, keep_free: int = 0) -> None:
        """Keep a proven file for others, if that can be done.

        Args:
            entry: What the file was proven to be.
            file: Stays as it is.
            keep_free: Bytes that the disk must still take after a copy, for files that are under way.
        """
        place = self._place(entry)
        if place is None or (self._limit is not None and entry.size > self._limit):
            return
        with suppress(OSError):
            if not place.exists():
                place.parent.mkdir(parents=True, exist_ok=True)
                self._temporary.mkdir(parents=True, exist_ok=True)
                self._put(file, place, entry.size, keep_free + _SPARED)

    def trim(self) -> None:
        """Remove what was used longest ago until the limit is kept; nothing while another process does."""
        with suppress(OSError), self._alone() as alone:
            if alone:
                self._remove_abandoned()
                if self._limit is not None:
                    self._remove_oldest(self._limit)

    def _place(self, entry: Promise) -> Path | None:
        try:
            digest = base64.b64decode(entry.digest, validate=True).hex()
        except ValueError:
            return None  # An ETag of a reference, say.
        if len(digest) != 2 * _DIGEST_BYTES:
            return None
        return self._objects / _FOLDERS[entry.algorithm] / digest[:2] / digest[2:]

    # --- out of it

    def _copy_proven(
        self,
        source: BinaryIO,
        place: Path,
        entry: Promise,
        into: Path,
        advance: Callable[[int], object],
    ) -> None:
        """Make the file under its new name, and prove what lies there: the cache may change meanwhile."""
        target = None if self._hard and _linked(place, into) else _new(into)
        try:
            with target or nullcontext():
                cloned = target is not None and self._clone(source.fileno(), target.fileno())
                copying = None if cloned else target
                for chunk in verified(_chunks(target if target and cloned else source), entry):
                    if copying is not None:
                        write_all(copying.fileno(), chunk)
                    advance(len(chunk))
            if target is None:
                _check_same(into, source)
        except BaseException:
            into.unlink()
            raise

    def _touch(self, file: BinaryIO) -> None:
        """Note the use where the SDK's own cleanup looks; the other time is what it knows its copies by."""
        with suppress(OSError):
            changed = os.fstat(file.fileno()).st_mtime_ns
            at = file.fileno() if os.utime in os.supports_fd else file.name
            os.utime(at, ns=(int(self._now() * 1e9), changed))

    # --- into it

    def _put(self, file: Path, place: Path, size: int, keep_free: int) -> None:
        temporary = self._temporary / f"{_OURS}{secrets.token_hex(8)}"
        try:
            if not (self._hard and _linked(file, temporary)):
                self._copied(file, temporary, size, keep_free)
            if temporary.stat().st_size == size:
                temporary.replace(place)
        finally:
            with suppress(OSError):
                temporary.unlink()

    def _copied(self, file: Path, temporary: Path, size: int, keep_free: int) -> None:
        with (
            os.fdopen(os.open(file, _OLD_FILE), "rb", buffering=0) as source,
            _new(temporary) as target,
        ):
            if self._clone(source.fileno(), target.fileno()):
                return
            if self._free(self._temporary) >= size + keep_free:
                shutil.copyfileobj(source, target, _CHUNK)

    # --- its size

    @contextmanager
    def _alone(self) -> Iterator[bool]:
        """Whether no other process trims now; on Windows two may, and meet files that are gone."""
        with closing(os.fdopen(os.open(self._lock, os.O_RDWR | os.O_CREAT | _NO_FOLLOW, 0o666))) as lock:
            try:
                if sys.platform != "win32":
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                yield False
            else:
                yield True

    def _remove_abandoned(self) -> None:
        """Remove temporary files of ours whose process was killed."""
        for file in self._temporary.glob(f"{_OURS}*"):
            with suppress(OSError):
                if file.lstat().st_mtime < self._now() - _ABANDONED:
                    file.unlink()

    def _remove_oldest(self, limit: int) -> None:
        files = sorted(_files(self._objects))
        total = sum(size for _, size, _ in files)
        for _, size, path in files:
            if total <= limit:
                return
            with suppress(OSError):  # Somebody else was quicker, or reads it on Windows.
                path.unlink()
            total -= size


def _files(directory: Path) -> Iterator[tuple[float, int, Path]]:
    """When each file was used last, its size, its path."""
    for folder, _, names in os.walk(directory):
        for name in names:
            path = Path(folder, name)
            with suppress(OSError):
                found = path.lstat()
                yield max(found.st_atime, found.st_mtime), found.st_size, path


def _new(path: Path) -> BinaryIO:
    return os.fdopen(os.open(path, _NEW_FILE, 0o666), "w+b", buffering=0)


def _chunks(file: BinaryIO) -> Iterator[bytes]:
    while chunk := file.read(_CHUNK):
        yield chunk


def _linked(source: Path, target: Path) -> bool:
    try:
        os.link(source, target, follow_symlinks=False)
    except FileExistsError:
        raise
    except (OSError, NotImplementedError):  # Another disk, or one without links.
        return False
    return True


def _check_same(path: Path, file: BinaryIO) -> None:
    if not os.path.samestat(path.lstat(), os.fstat(file.fileno())):
        raise VerificationError(f"{path}: another file was linked than the one that was read")


def _remove(place: Path, found: os.stat_result | None) -> None:
    """Remove the file that was found damaged, unless another has taken its place by now."""
    with suppress(OSError):
        if found is not None and os.path.samestat(place.lstat(), found):
            place.unlink()
