"""What makes an image of a version: which template, which file is served, what is written on it; pure."""

from __future__ import annotations

import enum
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from registry_client.errors import BuildContextError

_SHOWN = 5


class ContextKind(enum.Enum):
    """What the image serves the model with."""

    NONE = "none"
    ONNX = "onnx"
    TORCHSERVE = "torchserve"


# Below build_contexts/, by kind: what is copied as it is, beside the Dockerfile.
TEMPLATES: Mapping[ContextKind, Sequence[str]] = {
    ContextKind.ONNX: (".dockerignore", "requirements.txt", "server.py"),
    ContextKind.TORCHSERVE: (".dockerignore", "config.properties", "handler.py"),
}
# The endings that are looked for; of several kinds the first that is found counts.
_SERVED: Mapping[ContextKind, Sequence[tuple[str, ...]]] = {
    ContextKind.ONNX: ((".onnx",),),
    ContextKind.TORCHSERVE: ((".mar",), (".pt", ".pth")),
}


@dataclass(frozen=True)
class Recipe:
    """How a version becomes an image.

    Attributes:
        model_file: The file to serve, relative to the artifact.
    """

    kind: ContextKind
    model_file: str
    version: str
    labels: Mapping[str, str]

    def dockerfile(self, template: str) -> str:
        """The template with this version's arguments as its defaults, and its labels."""
        for name, value in (("MODEL_FILE", self.model_file), ("MODEL_VERSION", self.version)):
            template = _with_default(template, name, value)
        return template + "".join(f"LABEL {name}={quoted(value)}\n" for name, value in self.labels.items())


def recipe(kind: ContextKind, paths: Iterable[str], version: str, labels: Mapping[str, str]) -> Recipe:
    """The recipe for an artifact with those files.

    Raises:
        BuildContextError: None of them, or more than one, could be the one to serve.
    """
    paths = sorted(paths)
    for endings in _SERVED[kind]:
        found = [path for path in paths if path.lower().endswith(endings)]
        if found:
            return Recipe(kind, _only(kind, found), version, labels)
    wanted = " or ".join(ending for endings in _SERVED[kind] for ending in endings)
    raise BuildContextError(
        f"context: {kind.value} serves a file that ends in {wanted}, but there is none among {_some(paths)}"
    )


def quoted(value: str) -> str:
    """The value as one double-quoted word of a Dockerfile, with nothing in it that would be expanded."""
    kept = "".join(char for char in value if char.isprintable())
    return '"' + re.sub(r'([\\"$])', r"\\\1", kept) + '"'


def _with_default(template: str, name: str, value: str) -> str:
    """The first ARG of that name, which stands before every FROM, with the value as what all of them get."""
    line = f"ARG {name}={quoted(value)}"
    return re.sub(rf"^ARG {name}=.*$", lambda _: line, template, count=1, flags=re.MULTILINE)


def _only(kind: ContextKind, found: Sequence[str]) -> str:
    if len(found) == 1:
        return found[0]
    named = [path for path in found if PurePosixPath(path).stem == "model" and "/" not in path]
    if len(named) == 1:
        return named[0]
    raise BuildContextError(
        f"context: {kind.value} serves one file, but the artifact has {_some(found)}: "
        "name the one to serve `model`, at the top, or leave the others out with `exclude:`"
    )


def _some(paths: Sequence[str]) -> str:
    shown = ", ".join(paths[:_SHOWN]) or "its files"
    return shown if len(paths) <= _SHOWN else f"{shown} and {len(paths) - _SHOWN} more"
