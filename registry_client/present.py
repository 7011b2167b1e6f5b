"""What of the wanted files a directory already holds: hashed, not believed."""

from __future__ import annotations

import os
import threading
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from registry_client.digest import Promise, verified
from registry_client.errors import VerificationError
from registry_client.files import Tree
from registry_client.parallel import in_parallel

_CHUNK = 1024 * 1024


@dataclass
class Present:
    """The files of a directory, compared with the wanted ones.

    Attributes:
        right: What the system says of each wanted file that is there with the right bytes.
        wrong: Wanted paths where there are other bytes, or no file.
        strange: Whatever else is there.
        names: All that is there.
    """

    right: dict[str, os.stat_result] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)
    strange: list[str] = field(default_factory=list)
    names: set[str] = field(default_factory=set)


def present(
    tree: Tree,
    wanted: Mapping[str, Promise],
    *,
    threads: int,
    proven: Callable[[Promise], object] = lambda _: None,
) -> Present:
    """Compare a directory with what is wanted of it.

    Args:
        tree: The directory.
        wanted: What is promised of each path.
        threads: How many files are hashed at a time.
        proven: Is told of each file that is right.
    """
    found = Present()
    known = {plain_form(path): path for path in wanted}
    there: list[str] = []
    for name in tree.names():
        found.names.add(name)
        path = known.get(plain_form(name))
        (found.strange if path is None else there).append(path or name)

    stopped = threading.Event()

    def compare(path: str) -> None:
        status = proof(tree, path, wanted[path], stopped)
        if status is None:
            found.wrong.append(path)
        else:
            found.right[path] = status
            proven(wanted[path])

    largest_first = sorted(there, key=lambda path: wanted[path].size, reverse=True)
    threads = min(threads, os.cpu_count() or 1, len(there) or 1)
    in_parallel(compare, largest_first, threads=threads, stop=stopped.set)
    return found


def plain_form(path: str) -> str:
    """A path in the one form that we compare; some disks change it."""
    return path if path.isascii() else unicodedata.normalize("NFC", path)


def proof(tree: Tree, path: str, entry: Promise, stopped: threading.Event) -> os.stat_result | None:
    """What the system says of a file whose bytes are the promised ones; None if they are not.

    When all is stopped meanwhile, the bytes that were not read are missing.
    """
    descriptor = tree.open(path)
    if descriptor is None:
        return None
    try:
        status = os.fstat(descriptor)
        if status.st_size != entry.size:
            return None
        for _ in verified(_chunks(descriptor, stopped), entry):
            pass
    except (OSError, VerificationError):
        return None
    else:
        return status
    finally:
        os.close(descriptor)


def _chunks(descriptor: int, stopped: threading.Event) -> Iterator[bytes]:
    while not stopped.is_set() and (chunk := os.read(descriptor, _CHUNK)):
        yield chunk


def some(names: Iterable[str], most: int = 3) -> str:
    """The first few, for a message."""
    names = sorted(names)
    return ", ".join(names[:most]) + (", …" if len(names) > most else "")
