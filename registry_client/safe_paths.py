"""Paths that mean one file in one directory, on every system: pure."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache

_LONGEST_PATH, _LONGEST_PART = 4096, 255  # In bytes, as every common disk has it.
_DEVICE = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9¹²³])(?=\s*(\.|:|$))", re.IGNORECASE)
_NOT_ON_WINDOWS = re.compile(r'[<>:"|?*]')
_UNPRINTABLE = {"Cc": "a control character", "Cs": "half a character", "Zl": "a line end", "Zp": "a line end"}


def unsafe(path: str, *, windows: bool) -> Iterator[str]:
    """What makes the path unsafe to join to a directory, on any machine; ``windows`` wants yet more."""
    if not path.isprintable():
        odd = {unicodedata.category(character) for character in path} & _UNPRINTABLE.keys()
        yield from (f"holds {_UNPRINTABLE[category]}" for category in sorted(odd))
    if len(_bytes(path)) > _LONGEST_PATH:
        yield f"is longer than {_LONGEST_PATH} bytes"
    if "\\" in path:
        yield "holds a backslash"
    if path.startswith("/") or re.match(r"[A-Za-z]:", path):
        yield "is absolute"
    if windows and _NOT_ON_WINDOWS.search(path):
        yield "holds a character that Windows keeps for itself"
    for part in path.split("/"):
        if (problem := _unsafe_part(part)) is not None:
            yield problem


@lru_cache(maxsize=1024)  # A directory's name comes once per file in it.
def _unsafe_part(part: str) -> str | None:
    if part in {"", ".", ".."}:
        return f"has the part {part!r}"
    if part.endswith((".", " ")):
        return f"has the part {part!r}, which ends in a dot or space: Windows would drop that"
    if _DEVICE.match(part):
        return f"has the part {part!r}, a device on Windows"
    if len(_bytes(part)) > _LONGEST_PART:
        return f"has a part longer than {_LONGEST_PART} bytes"
    return None


def collisions(paths: Iterable[str]) -> Iterator[str]:
    """Names that some disks take for one, and files where a directory must be.

    The names make a tree, so that the work grows with their length however deep they go.
    """
    tree: dict[tuple[int, str], int] = {}  # A directory's number and a name in it: the number of that.
    files: dict[int, str] = {}
    inside: dict[int, str] = {}  # Of each directory a path that needs it.
    for path in paths:
        at, *above = reversed(_numbers(_folded(path).split("/"), tree))
        for directory in above:
            if (file := files.get(directory)) is not None:
                yield f"{file!r} is a file, but {path!r} needs a directory there"
            inside.setdefault(directory, path)
        if (other := files.setdefault(at, path)) is not path:
            yield f"{path!r} and {other!r} are one name on some disks"
        elif (other := inside.get(at, path)) is not path:
            yield f"{path!r} is a file, but {other!r} needs a directory there"


def _numbers(names: Sequence[str], tree: dict[tuple[int, str], int]) -> list[int]:
    numbers: list[int] = []
    for name in names:
        numbers.append(tree.setdefault((numbers[-1] if numbers else 0, name), len(tree) + 1))
    return numbers


def _folded(path: str) -> str:
    """The path as the least exact disk reads it: no case, one Unicode form, nothing invisible."""
    if path.isascii():
        return path.lower()
    if not path.isprintable():
        path = "".join(each for each in path if unicodedata.category(each) != "Cf")
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", path).casefold())


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
