"""Values with ``${names}`` in them: filled in from the event, and what is left from what W&B says.  Pure."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

# What the event itself tells, and what W&B has to be asked for.
FROM_EVENT = (
    "alias",
    "tag",
    "artifact.id",
    "artifact.name",
    "artifact.entity",
    "artifact.project",
    "artifact.collection",
    "artifact.version",
    "event.type",
    "event.author",
    "event.automation",
    "event.source",
    "event.delivery",
    "event.key",
    "event.received_at",
)
FROM_WANDB = (
    "artifact.type",
    "artifact.digest",
    "artifact.size",
    "artifact.file_count",
    "artifact.source",
    "artifact.url",
    "artifact.aliases",
    "artifact.tags",
    "artifact.description",
)
OPEN_NAMES = {"metadata": "metadata.KEY", "payload": "payload.NAME"}  # Any name may follow.
_VARIABLE = re.compile(r"\$\$\{|\$\{([^{}]*)\}|\$\{")


class TemplateError(ValueError):
    """A template names what there is not, or what it names is empty where text is wanted."""


@dataclass(frozen=True)
class _Name:
    name: str


_Part = str | _Name


@dataclass(frozen=True)
class _Text:
    """Text with names in it; one name alone keeps the type of its value."""

    parts: tuple[_Part, ...]


@dataclass(frozen=True)
class Template:
    """A value of YAML or JSON, with names in its texts.

    Attributes:
        tree: Mappings, sequences and scalars, with a ``_Text`` where names are still open.
    """

    tree: Any

    @classmethod
    def parse(cls, value: Any) -> Template:
        """Read ``${name}`` in every text of the value; ``$${`` is a plain ``${``.

        Raises:
            TemplateError: A name is unknown or malformed; the message has the nearest right ones.
        """
        return cls(_mapped(value, _parsed))

    @cached_property
    def names(self) -> frozenset[str]:
        """The names that are still open."""
        return frozenset(_names(self.tree))

    @property
    def asks_wandb(self) -> bool:
        """Whether only W&B can tell what is open."""
        return any(of_wandb(name) for name in self.names)

    def fill(self, values: Mapping[str, Any]) -> Template:
        """Fill in each name that ``values`` tell; what they do not stays open.

        ``values`` has names as they are written, and the objects ``metadata`` and ``payload`` whole.

        Raises:
            TemplateError: A value inside a longer text is empty.
        """
        return Template(_mapped(self.tree, lambda leaf: _filled(leaf, values)))

    def result(self) -> Any:
        """The value, with nothing open.

        Raises:
            TemplateError: Something is.
        """
        if self.names:
            raise TemplateError(f"${{{min(self.names)}}} is not known")
        return self.tree

    def to_json(self) -> Any:
        """A form that JSON keeps: what came from outside cannot pass for a name in it."""
        return _encoded(self.tree)

    @classmethod
    def from_json(cls, form: Any) -> Template:
        """Read that form."""
        return cls(_decoded(form))


def of_wandb(name: str) -> bool:
    """Whether only W&B can tell it."""
    return name in FROM_WANDB or name.startswith("metadata.")


def look_up(name: str, values: Mapping[str, Any]) -> tuple[bool, Any]:
    """Whether ``values`` tell the name, and what; inside an object a key that is not there is None."""
    if name in values:
        return True, values[name]
    family, _, key = name.partition(".")
    if family not in OPEN_NAMES or family not in values:
        return False, None
    inner = values[family]
    if family == "metadata":  # W&B's templates reach top-level keys alone, and a key may hold dots.
        return True, inner.get(key) if isinstance(inner, Mapping) else None
    for part in key.split("."):
        inner = inner.get(part) if isinstance(inner, Mapping) else None
    return True, inner


def as_text(value: Any) -> str:
    """The value inside a longer text: as JSON, but text as it is."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _mapped(tree: Any, change: Callable[[Any], Any]) -> Any:
    if isinstance(tree, Mapping):
        return {key: _mapped(inner, change) for key, inner in tree.items()}
    if isinstance(tree, Sequence) and not isinstance(tree, str):
        return [_mapped(inner, change) for inner in tree]
    return change(tree)


def _names(tree: Any) -> Iterator[str]:
    if isinstance(tree, _Text):
        yield from (part.name for part in tree.parts if isinstance(part, _Name))
    elif isinstance(tree, dict):
        for inner in tree.values():
            yield from _names(inner)
    elif isinstance(tree, list):
        for inner in tree:
            yield from _names(inner)


def _parsed(leaf: Any) -> Any:
    if not isinstance(leaf, str) or "${" not in leaf:
        return leaf
    parts: list[_Part] = []
    end = 0
    for match in _VARIABLE.finditer(leaf):
        parts.append(leaf[end : match.start()])
        parts.append("${" if match[0] == "$${" else _Name(_known(match[1], leaf)))
        end = match.end()
    parts.append(leaf[end:])
    return _joined(parts)


def _known(name: str | None, leaf: str) -> str:
    if name is None:
        raise TemplateError(f"{leaf!r} has a '${{' without its '}}'; write $${{ for the two characters")
    family, dot, rest = name.partition(".")
    if name in FROM_EVENT or name in FROM_WANDB or (family in OPEN_NAMES and dot and rest):
        return name
    every = (*FROM_EVENT, *FROM_WANDB, *OPEN_NAMES.values())
    near = difflib.get_close_matches(name, every, n=1)
    near = near or [known for known in every if known.rpartition(".")[2] == name][:1]
    hint = f"; did you mean ${{{near[0]}}}?" if near else ""
    raise TemplateError(f"there is no ${{{name}}}{hint} (there are: {', '.join(every)})")


def _filled(leaf: Any, values: Mapping[str, Any]) -> Any:
    if not isinstance(leaf, _Text):
        return leaf
    if len(leaf.parts) == 1 and isinstance(leaf.parts[0], _Name):
        told, value = look_up(leaf.parts[0].name, values)
        return value if told else leaf
    return _joined([_part(part, values) for part in leaf.parts])


def _part(part: _Part, values: Mapping[str, Any]) -> _Part:
    if isinstance(part, str):
        return part
    told, value = look_up(part.name, values)
    if told and value is None:
        raise TemplateError(f"${{{part.name}}} is empty, and text is wanted")
    return as_text(value) if told else part


def _joined(parts: Sequence[_Part]) -> str | _Text:
    """Neighbouring literals made one; text alone is text."""
    joined: list[_Part] = []
    for part in parts:
        if isinstance(part, str) and joined and isinstance(joined[-1], str):
            joined[-1] += part
        elif part != "":
            joined.append(part)
    if all(isinstance(part, str) for part in joined):
        return "".join(str(part) for part in joined)
    return _Text(tuple(joined))


def _encoded(tree: Any) -> Any:
    if isinstance(tree, _Text):
        return {"text": [part if isinstance(part, str) else {"name": part.name} for part in tree.parts]}
    if isinstance(tree, Mapping):
        return {"map": {key: _encoded(inner) for key, inner in tree.items()}}
    if isinstance(tree, list):
        return {"list": [_encoded(inner) for inner in tree]}
    return {"value": tree}


def _decoded(form: Any) -> Any:
    ((kind, inner),) = form.items()
    if kind == "text":
        return _Text(tuple(part if isinstance(part, str) else _Name(part["name"]) for part in inner))
    if kind == "map":
        return {key: _decoded(each) for key, each in inner.items()}
    if kind == "list":
        return [_decoded(each) for each in inner]
    return inner
