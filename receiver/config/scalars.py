"""Shapes of single values: text, truth, numbers, words, lengths of time."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from receiver.config.document import Node, Scalar, found, shown
from receiver.config.problems import nearest
from receiver.config.reading import Reading
from receiver.durations import parse_duration, shortly

Wrong = Callable[[str], str | None]  # Says what is wrong with a text, and what was wanted.
NAME = r"(?!.{64})[a-z0-9]+(-[a-z0-9]+)*"
NAME_WANTED = "small letters, digits and '-' between them, like ml-slack"


@dataclass(frozen=True)
class Text:
    """Text, one that ``pattern`` or ``wrong`` take."""

    want: str = "text"
    pattern: str = r"\S(.*\S)?"
    wrong: Wrong | None = None

    def read(self, node: Node, where: str, reading: Reading) -> Any:
        """The text."""
        if isinstance(node, Scalar) and isinstance(node.value, (int, float)):
            return reading.wrong(
                node.at(where), f"got {found(node)}, want {self.want}, between quotes: '{node.text}'"
            )
        if not isinstance(node, Scalar) or not isinstance(node.value, str):
            return reading.wrong(node.at(where), f"got {found(node)}, want {self.want}")
        if not re.fullmatch(self.pattern, node.value):
            return reading.wrong(node.at(where), f"got {shown(node.value)}, want {self.want}")
        why = self.wrong(node.value) if self.wrong else None
        return reading.wrong(node.at(where), why) if why else node.value

    def schema(self) -> dict[str, Any]:
        """A string with that pattern."""
        return {"type": "string", "pattern": for_editors(self.pattern)}


@dataclass(frozen=True)
class Flag:
    """True or false."""

    want: str = "true or false"

    def read(self, node: Node, where: str, reading: Reading) -> Any:
        """The truth."""
        if isinstance(node, Scalar) and isinstance(node.value, bool):
            return node.value
        return reading.wrong(node.at(where), f"got {found(node)}, want {self.want}")

    def schema(self) -> dict[str, Any]:
        """A boolean."""
        return {"type": "boolean"}


@dataclass(frozen=True)
class Whole:
    """A whole number within bounds."""

    least: int
    most: int

    @property
    def want(self) -> str:
        """Its bounds."""
        return f"a whole number from {self.least} to {self.most}"

    def read(self, node: Node, where: str, reading: Reading) -> Any:
        """The number."""
        value = node.value if isinstance(node, Scalar) else None
        if isinstance(value, int) and not isinstance(value, bool) and self.least <= value <= self.most:
            return value
        return reading.wrong(node.at(where), f"got {found(node)}, want {self.want}")

    def schema(self) -> dict[str, Any]:
        """An integer."""
        return {"type": "integer", "minimum": self.least, "maximum": self.most}


@dataclass(frozen=True)
class Choice:
    """One of some words."""

    words: tuple[str, ...]

    @property
    def want(self) -> str:
        """The words."""
        return f"{', '.join(self.words[:-1])} or {self.words[-1]}"

    def read(self, node: Node, where: str, reading: Reading) -> Any:
        """The word."""
        if isinstance(node, Scalar) and node.text in self.words and not isinstance(node.value, bool):
            return node.text
        hint = nearest(node.text, self.words) if isinstance(node, Scalar) else ""
        return reading.wrong(node.at(where), f"got {found(node)}, want {self.want}{hint}")

    def schema(self) -> dict[str, Any]:
        """An enumeration."""
        return {"enum": list(self.words)}


@dataclass(frozen=True)
class Length:
    """A length of time; with ``off``, perhaps none, which is None."""

    shortest: timedelta
    longest: timedelta
    off: bool = False

    @property
    def want(self) -> str:
        """Its bounds."""
        bounds = f"a time from {shortly(self.shortest)} to {shortly(self.longest)}, in s, m, h or d"
        return f"{bounds}, or off" if self.off else bounds

    def read(self, node: Node, where: str, reading: Reading) -> Any:
        """The length of time."""
        if isinstance(node, Scalar) and not isinstance(node.value, bool):
            if self.off and node.text == "off":
                return None
            try:
                length = parse_duration(node.text)
            except ValueError:
                length = None
            if length is not None and self.shortest <= length <= self.longest:
                return length
        return reading.wrong(node.at(where), f"got {found(node)}, want {self.want}")

    def schema(self) -> dict[str, Any]:
        """Text with a unit, or seconds."""
        off = "|off" if self.off else ""
        return {"type": ["string", "integer"], "pattern": f"^([0-9]{{1,8}}[smhd]?{off})$", "minimum": 0}


def for_editors(pattern: str) -> str:
    """The pattern as a search, which is what JSON Schema makes of it."""
    return f"^(?:{pattern})$"
