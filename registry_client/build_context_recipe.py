"""What makes an image of a version: which template, which file is served, what is written on it; pure."""

from __future__ import annotations

import enum
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

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
    ContextKind.TORCHSERVE: (
        *(".dockerignore", "config.properties", "handler.py", "log4j2.xml", "probe.py"),
        "requirements.txt",
    ),
}
_TORCHSERVE_NEEDS = ("model.pt", "sample.json")


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
    if kind is ContextKind.TORCHSERVE:
        return Recipe(kind, _torchscript(paths), version, labels)
    return Recipe(kind, _only_onnx(paths), version, labels)


def quoted(value: str) -> str:
    """The value as one double-quoted word of a Dockerfile, with nothing in it that would be expanded."""
    kept = "".join(char for char in value if char.isprintable())
    return '"' + re.sub(r'([\\"$])', r"\\\1", kept) + '"'


def _with_default(template: str, name: str, value: str) -> str:
    """The first ARG of that name, which decides for all of it, with the value as its default."""
    line = f"ARG {name}={quoted(value)}"
    return re.sub(rf"^ARG {name}=.*$", lambda _: line, template, count=1, flags=re.MULTILINE)


def _torchscript(paths: Sequence[str]) -> str:
    if missing := [name for name in _TORCHSERVE_NEEDS if name not in paths]:
        raise BuildContextError(
            "context: torchserve wants model.pt (TorchScript) and sample.json (what it predicts) at the top "
            f"of the artifact, but {' and '.join(missing)} is not among {_some(paths)}"
        )
    return _TORCHSERVE_NEEDS[0]


def _only_onnx(paths: Sequence[str]) -> str:
    found = [path for path in paths if path.lower().endswith(".onnx")]
    if "model.onnx" in found:
        return "model.onnx"
    if not found:
        raise BuildContextError(
            f"context: onnx serves a file that ends in .onnx, but there is none among {_some(paths)}"
        )
    if len(found) > 1:
        raise BuildContextError(
            f"context: onnx serves one file, but the artifact has {_some(found)}: "
            "name the one to serve model.onnx, at the top, or leave the others out with `exclude:`"
        )
    return found[0]


def _some(paths: Sequence[str]) -> str:
    shown = ", ".join(paths[:_SHOWN]) or "its files"
    return shown if len(paths) <= _SHOWN else f"{shown} and {len(paths) - _SHOWN} more"
