"""Shapes with ``${names}`` in them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from receiver.config.document import Node, Pairs, Scalar, found, plain, scalars, shown
from receiver.config.problems import Place
from receiver.config.reading import WRONG, Reading, short
from receiver.config.scalars import Text, for_editors
from receiver.routing.template import Template, TemplateError, of_wandb

_OPEN = re.compile(r"\$\{[^{}]*\}")


@dataclass(frozen=True)
class TemplateText:
    """Text with ``${names}``; with any word in the place of each it must fit the pattern."""

    want: str = "text"
    pattern: str = r"\S(.*\S)?"

    def read(self, node: Node, where: str, reading: Reading) -> Any:
        """The template."""
        text = Text(self.want).read(node, where, reading)
        if text is WRONG:
            return WRONG
        template = _template(node, where, reading)
        if template is not WRONG and not re.fullmatch(self.pattern, _OPEN.sub("x", text)):
            return reading.wrong(node.at(where), f"got {shown(text)}, want {self.want}")
        return template

    def schema(self) -> dict[str, Any]:
        """A string with that pattern, or one with names: what they stand for is not known to an editor."""
        return {"type": "string", "anyOf": [{"pattern": r"\$\{"}, {"pattern": for_editors(self.pattern)}]}


@dataclass(frozen=True)
class TemplateMap:
    """A mapping of anything, with ``${names}`` in its texts.

    Attributes:
        most: How many keys it may have.
        flat: Whether its values must be single ones.
        reserved: Keys that are ours.
    """

    want: str = "a mapping"
    most: int | None = None
    flat: bool = False
    reserved: tuple[str, ...] = ()

    def read(self, node: Node, where: str, reading: Reading) -> Any:
        """The template."""
        if not isinstance(node, Pairs):
            return reading.wrong(node.at(where), f"got {found(node)}, want {self.want}")
        before = len(reading.problems.found)
        here = node.at(where)
        for name, (key, value) in node.entries.items():
            if name in self.reserved:
                reading.wrong(key.at(here.of(name)), "is ours and always there; want another name")
            if self.flat and not isinstance(value, Scalar):
                message = f"got {found(value)}, want text, a number, true or false"
                reading.wrong(value.at(here.of(short(name))), message)
        if self.most is not None and len(node.entries) > self.most:
            reading.wrong(
                here, f"has {len(node.entries)} keys, want at most {self.most}: GitHub takes no more"
            )
        template = _template(node, where, reading)
        return template if len(reading.problems.found) == before else WRONG

    def schema(self) -> dict[str, Any]:
        """An object."""
        schema: dict[str, Any] = {"type": "object"}
        if self.most is not None:
            schema["maxProperties"] = self.most
        if self.reserved:
            schema["propertyNames"] = {"not": {"enum": list(self.reserved)}}
        if self.flat:
            schema["additionalProperties"] = {"type": ["string", "number", "boolean", "null"]}
        return schema


def _template(node: Node, where: str, reading: Reading) -> Any:
    """The template of a whole node; each text in it that is none is noted at its own place."""
    sound = [_is_sound(place, scalar, reading) for place, scalar in scalars(node, where)]
    return Template.parse(plain(node)) if all(sound) else WRONG


def _is_sound(place: Place, scalar: Scalar, reading: Reading) -> bool:
    try:
        names = Template.parse(scalar.value).names
    except TemplateError as error:
        reading.wrong(place, str(error))
        return False
    reading.asks += [(place, f"${{{name}}}") for name in sorted(names) if of_wandb(name)]
    return True
