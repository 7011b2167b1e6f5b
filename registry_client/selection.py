"""Which files of a manifest are wanted: globs, as .gitignore reads them, and a limit on their size."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from registry_client.errors import ConfigurationError, TooLargeError
from registry_client.manifest import Manifest, ManifestEntry

_ANY_DEPTH = "**"


@dataclass(frozen=True)
class Glob:
    """One pattern.

    ``*`` and ``?`` stand for letters of one name, ``[a-z]`` and ``[!a-z]`` for one letter, ``**`` between
    slashes for any number of directories.  With a slash the pattern begins at the artifact's top, without
    one it names files and directories at any depth.  A directory means all that is in it; with a slash at
    its end the pattern means a directory only.  Capitals matter, and a leading dot is a letter.
    """

    text: str
    parts: tuple[re.Pattern[str] | None, ...]  # None is ``**``.

    @classmethod
    def parse(cls, text: str) -> Glob:
        """Read a pattern, or raise ConfigurationError."""
        names = text.removeprefix("/").removesuffix("/").split("/")
        if problem := _problem(text, names):
            raise ConfigurationError(f"the pattern {text!r} {problem}")
        inside = ["*", _ANY_DEPTH] if text.endswith("/") else [_ANY_DEPTH]
        above = [] if "/" in text.removesuffix("/") else [_ANY_DEPTH]
        return cls(text, tuple(map(_part, [*above, *names, *inside])))

    def matches(self, path: str) -> bool:
        """Whether it means that file, in time that grows with the product of the two at most."""
        names = path.split("/")
        at, here = 0, 0
        retry: tuple[int, int] | None = None
        while here < len(names):
            part = self.parts[at] if at < len(self.parts) else _NOTHING
            if part is None:
                at += 1
                retry = at, here
            elif part.match(names[here]):
                at, here = at + 1, here + 1
            elif retry is not None:  # The last ``**`` takes one directory more.
                at, here = retry[0], retry[1] + 1
                retry = at, here
            else:
                return False
        return all(part is None for part in self.parts[at:])


def select(manifest: Manifest, include: Sequence[str] = (), exclude: Sequence[str] = ()) -> Manifest:
    """The entries that some ``include`` means (all, without one) and no ``exclude`` does.

    Raises:
        ConfigurationError: A pattern is malformed, an ``include`` means no file, or no file is left.
    """
    wanted, unwanted = [Glob.parse(text) for text in include], [Glob.parse(text) for text in exclude]
    for glob in wanted:
        if not any(glob.matches(entry.path) for entry in manifest.entries):
            raise ConfigurationError(
                f"include: {glob.text!r} means none of the {_files(manifest.entries)}{_some(manifest)}"
            )
    entries = tuple(entry for entry in manifest.entries if _selected(entry, wanted, unwanted))
    if manifest.entries and not entries:
        raise ConfigurationError(f"include and exclude leave none of the {_files(manifest.entries)}")
    return replace(manifest, entries=entries)


def check_size(size: int, max_size: int | None) -> None:
    """Check that so many bytes are not more than the caller allows, or raise TooLargeError."""
    if max_size is not None and size > max_size:
        raise TooLargeError(
            f"the files have {size:,} bytes, {size - max_size:,} more than the {max_size:,} allowed: "
            "leave some out, or allow more"
        )


_NOTHING = re.compile(r"(?!)")


def _part(name: str) -> re.Pattern[str] | None:
    return None if name == _ANY_DEPTH else re.compile(fnmatch.translate(name))


def _problem(text: str, names: Sequence[str]) -> str | None:
    if not text.strip("/"):
        return "is empty"
    if text.startswith("!"):
        return "begins with '!': what is not wanted belongs into exclude; [!] means the letter"
    if "\\" in text:
        return "holds a backslash: directories end in '/', and [*] means a star"
    if {"", ".", ".."} & set(names):
        return "has an empty part, '.' or '..': it should read like the path of a file in the artifact"
    if any(_ANY_DEPTH in name and name != _ANY_DEPTH for name in names):
        return "has '**' beside letters: want it alone between slashes"
    return None


def _selected(entry: ManifestEntry, wanted: Sequence[Glob], unwanted: Sequence[Glob]) -> bool:
    if wanted and not any(glob.matches(entry.path) for glob in wanted):
        return False
    return not any(glob.matches(entry.path) for glob in unwanted)


def _files(entries: Sequence[ManifestEntry]) -> str:
    return f"{len(entries):,} file{'' if len(entries) == 1 else 's'}"


def _some(manifest: Manifest) -> str:
    shown = ", ".join(repr(entry.path) for entry in manifest.entries[:3])
    return f", such as {shown}" if shown else ""
