"""Files to log and to find again, byte for byte."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from random import Random

MIB = 1024 * 1024


def pattern(size: int, seed: int = 0) -> bytes:
    """Bytes of which no two parts are alike, so that one in the wrong place shows."""
    return Random(seed).randbytes(size)  # noqa: S311 - guards nothing


def write_pattern(path: Path, size: int) -> Path:
    """The same on disk, of any size, without much memory: each MiB begins with its number."""
    block = pattern(MIB)
    with path.open("wb") as file:
        for number in range(0, size, MIB):
            piece = number.to_bytes(8, "big") + block[8:]
            file.write(piece[: size - number])
    return path


def tree(root: Path) -> dict[str, str]:
    """Every path under a directory, with what it is: an MD5 of its bytes, or ``directory``, or ``link``."""
    return {path.relative_to(root).as_posix(): _kind(path) for path in sorted(root.rglob("*"))}


def wanted(files: Mapping[str, bytes | Path]) -> dict[str, str]:
    """The tree that these files make."""
    found = {str(parent): "directory" for path in files for parent in _parents(path)}
    for path, content in files.items():
        found[path] = _md5(_pieces(content)) if isinstance(content, Path) else _md5([content])
    return found


def _parents(path: str) -> Iterator[str]:
    parts = path.split("/")
    yield from ("/".join(parts[:count]) for count in range(1, len(parts)))


def _kind(path: Path) -> str:
    if path.is_symlink():
        return "link"
    return "directory" if path.is_dir() else _md5(_pieces(path))


def _pieces(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while piece := file.read(MIB):
            yield piece


def _md5(pieces: Iterator[bytes] | list[bytes]) -> str:
    hashing = hashlib.md5(usedforsecurity=False)
    for piece in pieces:
        hashing.update(piece)
    return hashing.hexdigest()
