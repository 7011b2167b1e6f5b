"""What reading takes: the Shape that reads a node, the Reading it is part of, the Section it becomes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from receiver.config.document import Node
from receiver.config.problems import Place, Problems
from receiver.config.secrets import Secrets

WRONG: Any = object()  # What a shape makes of a node that it has noted a problem with.


@dataclass
class Reading:
    """One reading of one file.

    Attributes:
        asks: Each place where something is named that only W&B can tell, and its name.
        sources: Each place where a source is named, and its name.
    """

    problems: Problems
    secrets: Secrets
    asks: list[tuple[Place, str]] = field(default_factory=list)
    sources: list[tuple[Place, str]] = field(default_factory=list)

    def wrong(self, place: Place, message: str) -> Any:
        """Note the problem."""
        self.problems.add(place, message)
        return WRONG


class Shape(Protocol):
    """What may stand at a place."""

    @property
    def want(self) -> str:
        """What is wanted there, in words."""
        ...

    def read(self, node: Node, where: str, reading: Reading) -> Any:
        """The value, or WRONG once a problem is noted."""
        ...

    def schema(self) -> dict[str, Any]:
        """The same as JSON Schema."""
        ...


@dataclass(frozen=True)
class Section:
    """What a mapping said: its sound values, and where each stands."""

    place: Place
    values: Mapping[str, Any]
    places: Mapping[str, Place]

    def get(self, key: str, default: Any = None) -> Any:
        """The value; ``default`` where it is not there or not sound."""
        return self.values.get(key, default)

    def __contains__(self, key: str) -> bool:
        """Whether the file says something there, sound or not."""
        return key in self.places

    def at(self, key: str) -> Place:
        """Where it stands, or would."""
        return self.places.get(key) or Place(self.place.line, self.place.column, self.place.of(key))


def short(name: str) -> str:
    """A key as a path may hold it: short and printable."""
    return name if name.isprintable() and len(name) <= 60 else f"{name[:60]!a}…"  # noqa: PLR2004 - a line
