"""The story of a build context: a proven directory and a template become what `docker build` takes."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from importlib import resources
from pathlib import Path
from typing import Any, Protocol

from registry_client.build_context_recipe import TEMPLATES, ContextKind, Recipe, recipe
from registry_client.download import Download
from registry_client.errors import TargetError
from registry_client.files import Tree, check_target
from registry_client.present import some
from registry_client.staging import staged

LISTING = ".handoff-context.json"
_MODEL = "model"
_FILE, _DIRECTORY = 0o644, 0o755
_CHUNK, _KEY = 1024 * 1024, 16
_LARGEST_LISTING = 256 * 1024 * 1024


class _Readable(Protocol):
    def read_text(self, encoding: str | None = None) -> str: ...


def write_build_context(kind: ContextKind, done: Download, labels: Mapping[str, str]) -> Path:
    """Have a build context beside the download, the same bytes, times and modes for the same artifact.

    Its ``model/`` shares the downloaded files' bytes, where the disk can.  One that an earlier call wrote is
    replaced, in one step; anything else in its place is left as it is.

    Args:
        kind: What is to serve the model.
        done: The proven files.
        labels: What the image says of them; nothing in it may differ between two builds.

    Raises:
        BuildContextError: The files do not go with that kind.
        TargetError: Something that we did not write is in its place, or it cannot be written.
    """
    paths = [entry.path for entry in done.present.entries]
    written = _texts(recipe(kind, paths, done.version.version, labels))
    listing = _listing(written, done)
    into = beside(done.directory)
    check_target(into)
    before = _names(into)
    if _check_ours(into) == listing and len(before) == len(paths) + len(written) + 1:
        return into
    with staged(into, _sha256(listing)[:_KEY]) as staging:
        content = staging.content
        for name in [*content.names()]:  # What a call that was ended has left.
            content.remove(name)
        for name, text in written.items():
            content.create(name, text.encode())
        content.create(LISTING, listing)
        _take_all(done.directory, paths, content.root / _MODEL)
        _settle(content.root, int(done.version.created_at.timestamp()))
        staging.put_in_place(same=lambda: _names(into) == before)
    return into


def beside(directory: Path) -> Path:
    """Where the build context of a directory lies: ``model`` has ``model.context`` beside it."""
    return directory.with_name(f"{directory.name}.context")


def _texts(made: Recipe) -> Mapping[str, str]:
    """The files around the model, by name."""
    folder = resources.files("registry_client").joinpath("build_contexts").joinpath(made.kind.value)
    texts = {name: _text(folder.joinpath(name)) for name in TEMPLATES[made.kind]}
    return {"Dockerfile": made.dockerfile(_text(folder.joinpath("Dockerfile"))), **texts}


def _text(file: _Readable) -> str:
    return file.read_text(encoding="utf-8").replace("\r\n", "\n")


def _listing(written: Mapping[str, str], done: Download) -> bytes:
    """What we write, so that the next call knows it from what others have put there."""
    listed = {
        "artifact": done.version.name,
        "digest": done.version.digest,
        "time": int(done.version.created_at.timestamp()),
        "sha256": {name: _sha256(text.encode()) for name, text in written.items()},
        "model": {f"{_MODEL}/{entry.path}": entry.size for entry in done.present.entries},
    }
    return (json.dumps(listed, indent=1, sort_keys=True) + "\n").encode("ascii")


def _check_ours(into: Path) -> bytes | None:
    """The listing of the context that is there, None of nothing; or a TargetError if it is not just ours."""
    if not os.path.lexists(into):
        return None
    with Tree(into) as tree:
        body = _read(tree, LISTING, _LARGEST_LISTING)
        strange = list(_strange(tree, _parsed(body)))
    if strange:
        raise TargetError(
            f"{into} holds {some(strange)}, which is not as we wrote it and is never overwritten: "
            "move it away, or give another `path:`"
        )
    return body


def _strange(tree: Tree, listed: Mapping[str, Any]) -> Iterator[str]:
    for name in tree.names():
        if name in listed["sha256"]:
            if _sha256(_read(tree, name, _LARGEST_LISTING) or b"") != listed["sha256"][name]:
                yield name
        elif name != LISTING and (listed["model"].get(name), listed["time"]) != _stat(tree, name):
            yield name


def _parsed(body: bytes | None) -> Mapping[str, Any]:
    with suppress(ValueError, RecursionError):
        listed = json.loads(body or b"")
        if isinstance(listed, dict) and all(isinstance(listed.get(key), dict) for key in ("sha256", "model")):
            return {"time": None, **listed}
    return {"sha256": {}, "model": {}, "time": None}


def _take_all(directory: Path, paths: Sequence[str], model: Path) -> None:
    model.mkdir(exist_ok=True)
    with Tree(directory) as source, Tree(model) as target:
        for path in paths:
            _take(source, path, target)


def _take(source: Tree, path: str, model: Tree) -> None:
    """Have a proven file in the context too: its bytes once on the disk where it is nobody else's."""
    descriptor = source.open(path)
    if descriptor is None:
        raise TargetError(f"{source.root / path} is gone: somebody else has changed the directory")
    try:
        found = os.fstat(descriptor)
        # A link of a cache's would get our time there, which says when it was used.
        if found.st_nlink == 1 and model.link_in(source, path, found):
            return
        with model.writing(path) as write, os.fdopen(descriptor, "rb", closefd=False) as file:
            while data := file.read(_CHUNK):
                write(data)
    finally:
        os.close(descriptor)


def _settle(root: Path, moment: float) -> None:
    """One time and the usual modes for all, from the bottom up: whatever the umask and the clock here."""
    for folder, _, names in os.walk(root, topdown=False):
        for path in (*(Path(folder, name) for name in names), Path(folder)):
            path.chmod(_DIRECTORY if path.is_dir() else _FILE)
            os.utime(path, (moment, moment))


def _read(tree: Tree, name: str, most: int) -> bytes | None:
    descriptor = tree.open(name)
    if descriptor is None:
        return None
    with os.fdopen(descriptor, "rb") as file:
        return file.read(most)


def _stat(tree: Tree, name: str) -> tuple[int, int] | None:
    descriptor = tree.open(name)
    if descriptor is None:
        return None
    try:
        found = os.fstat(descriptor)
    finally:
        os.close(descriptor)
    return found.st_size, int(found.st_mtime)


def _names(into: Path) -> set[str]:
    if not os.path.lexists(into):
        return set()
    with Tree(into) as tree:
        return set(tree.names())


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
