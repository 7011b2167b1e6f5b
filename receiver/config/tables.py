"""Shapes made of others: lists, tables with known keys, mappings from names."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from receiver.config.document import Items, Node, Pairs, Scalar, found
from receiver.config.problems import Place, guess, listed, nearest
from receiver.config.reading import WRONG, Reading, Section, Shape, short
from receiver.config.scalars import NAME, NAME_WANTED, for_editors


@dataclass(frozen=True)
class ListOf:
    """A list, or one value alone where ``single``."""

    inner: Shape
    least: int = 0
    single: bool = True

    @property
    def want(self) -> str:
        """A list of what."""
        return f"a list, each {self.inner.want}"

    def read(self, node: Node, where: str, reading: Reading) -> Any:
        """The values as a tuple; WRONG where one of them is."""
        if isinstance(node, Items):
            if len(node.items) < self.least:
                return reading.wrong(node.at(where), f"is an empty list, want {self.want}")
            here = node.at(where)
            values = [self.inner.read(each, here.of(at), reading) for at, each in enumerate(node.items)]
        elif self.single:
            values = [self.inner.read(node, where, reading)]
        else:
            return reading.wrong(node.at(where), f"got {found(node)}, want {self.want}")
        return WRONG if any(value is WRONG for value in values) else tuple(values)

    def schema(self) -> dict[str, Any]:
        """An array, or its item."""
        inner = self.inner.schema()
        array = {"type": "array", "items": inner, **({"minItems": self.least} if self.least else {})}
        return {"anyOf": [inner, array]} if self.single else array


@dataclass(frozen=True)
class Key:
    """A key of a table, and what it is for, as an editor shows it."""

    shape: Shape
    help: str
    required: bool = False
    default: Any = None


@dataclass(frozen=True)
class Table:
    """A mapping with known keys.

    Attributes:
        exactly_one: Of each of these groups one key, no more.
        at_most_one: Of each of these groups one key, or none.
        some: Of each of these groups at least one.
        strangers: What to say of keys that belong elsewhere.
    """

    keys: Mapping[str, Key]
    exactly_one: Sequence[str] = ()
    at_most_one: Sequence[str] = ()
    some: Sequence[str] = ()
    strangers: Mapping[str, str] = field(default_factory=dict)

    @property
    def want(self) -> str:
        """Its keys."""
        return f"a mapping with {listed(self.keys)}"

    def read(self, node: Node, where: str, reading: Reading) -> Any:
        """The Section, whatever is in it; WRONG where there is no mapping."""
        if not isinstance(node, Pairs):
            return reading.wrong(node.at(where), f"got {found(node)}, want {self.want}")
        here, values, places = node.at(where), {}, {}
        for name, (key, inner) in node.entries.items():
            if name not in self.keys:
                reading.wrong(key.at(here.of(short(name))), self._unknown(name))
                continue
            places[name] = inner.at(here.of(name))
            value = self.keys[name].shape.read(inner, here.of(name), reading)
            if value is not WRONG:
                values[name] = value
        meant = {guess(name, self.keys) for name in node.entries if name not in self.keys}
        self._check_whole(here, {*places, *meant}, reading)
        return Section(here, values, places)

    def _unknown(self, name: str) -> str:
        if name in self.strangers:
            return self.strangers[name]
        return f"unknown key{nearest(name, self.keys)} (allowed: {listed(self.keys)})"

    def _check_whole(self, here: Place, given: Collection[str | None], reading: Reading) -> None:
        """Note what is missing, and what does not go together; a misspelt key is there, too."""
        for name, key in self.keys.items():
            if key.required and name not in given:
                place = Place(here.line, here.column, here.of(name))
                reading.wrong(place, f"is missing; want {key.shape.want}")
        for group in (self.exactly_one, self.at_most_one):
            several = [name for name in group if name in given]
            if len(several) > 1:
                reading.wrong(here, f"has {' and '.join(several)}; want one of them")
        for group, words in ((self.exactly_one, "one of"), (self.some, "at least one of")):
            if group and not set(group) & set(given):
                reading.wrong(here, f"has none of {listed(group)}; want {words} them")

    def schema(self) -> dict[str, Any]:
        """An object with these properties and no others."""
        properties = {name: _described(key) for name, key in self.keys.items()}
        schema: dict[str, Any] = {
            "type": "object",
            "additionalProperties": False,
            "properties": properties,
            "required": [name for name, key in self.keys.items() if key.required],
        }
        if self.exactly_one:
            schema["oneOf"] = [{"required": [name]} for name in self.exactly_one]
        if self.at_most_one:
            schema["not"] = {"required": list(self.at_most_one)}
        if self.some:
            schema["anyOf"] = [{"required": [name]} for name in self.some]
        return {name: value for name, value in schema.items() if value != []}


@dataclass(frozen=True)
class Fork:
    """One of two tables: the first where the key ``by`` is there."""

    by: str
    with_it: Table
    without: Table

    @property
    def want(self) -> str:
        """Both."""
        return f"{self.without.want}; or {self.with_it.want}"

    def read(self, node: Node, where: str, reading: Reading) -> Any:
        """The Section."""
        table = self.with_it if isinstance(node, Pairs) and self.by in node.entries else self.without
        return table.read(node, where, reading)

    def schema(self) -> dict[str, Any]:
        """Either."""
        return {"anyOf": [self.without.schema(), self.with_it.schema()]}


@dataclass(frozen=True)
class MapOf:
    """A mapping from names that a person chooses."""

    inner: Shape
    kind: str
    reserved: Mapping[str, str] = field(default_factory=dict)

    @property
    def want(self) -> str:
        """Names and what they stand for."""
        return f"a mapping from the name of each {self.kind} to what it is: {self.inner.want}"

    def read(self, node: Node, where: str, reading: Reading) -> Any:
        """The values by name, those that are sound."""
        if not isinstance(node, Pairs):
            return reading.wrong(node.at(where), f"got {found(node)}, want {self.want}")
        here, values = node.at(where), {}
        for name, (key, inner) in node.entries.items():
            if name in self.reserved:
                reading.wrong(key.at(here.of(name)), self.reserved[name])
            elif not re.fullmatch(NAME, name):
                reading.wrong(
                    key.at(here.of(short(name))), f"is no name for a {self.kind}; want {NAME_WANTED}"
                )
            value = self.inner.read(inner, here.of(short(name)), reading)
            if value is not WRONG:
                values[name] = value
        return values

    def schema(self) -> dict[str, Any]:
        """An object with a pattern for its names."""
        banned = {"not": {"enum": list(self.reserved)}} if self.reserved else {}
        return {
            "type": "object",
            "propertyNames": {"pattern": for_editors(NAME), **banned},
            "additionalProperties": self.inner.schema(),
        }


@dataclass(frozen=True)
class OffOr:
    """The word ``off``, which is None, or something."""

    inner: Shape

    @property
    def want(self) -> str:
        """Both."""
        return f"off, or {self.inner.want}"

    def read(self, node: Node, where: str, reading: Reading) -> Any:
        """None, or what the inner shape reads."""
        if isinstance(node, Scalar):
            if node.value == "off":
                return None
            return reading.wrong(node.at(where), f"got {found(node)}, want {self.want}")
        return self.inner.read(node, where, reading)

    def schema(self) -> dict[str, Any]:
        """Either."""
        return {"anyOf": [{"const": "off"}, self.inner.schema()]}


def _described(key: Key) -> dict[str, Any]:
    default = {} if key.default is None else {"default": key.default}
    return {"description": key.help, **key.shape.schema(), **default}
