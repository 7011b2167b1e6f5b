"""All that a configuration is made of: the document's sections, and the environment behind them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from receiver.config import environment
from receiver.config.environment import CREDENTIALS, SOURCES, Fallbacks, fallbacks
from receiver.config.problems import Problems
from receiver.config.reading import Reading, Section
from receiver.config.secrets import Half

CheckKey = Callable[[str], object]


@dataclass(frozen=True)
class Told:
    """What the file says, what the environment says where it is silent, and who asks.

    Attributes:
        halves: Which halves of the work are to be done.
    """

    document: Section
    reading: Reading
    environ: Mapping[str, str]
    halves: frozenset[Half]
    check_key: CheckKey | None

    @property
    def problems(self) -> Problems:
        """Where to note."""
        return self.reading.problems

    def section(self, name: str) -> Section:
        """A section of the document; an empty one where it is not there."""
        found = self.document.get(name)
        return found if isinstance(found, Section) else Section(self.document.at(name), {}, {})

    def named(self, name: str) -> Mapping[str, Section]:
        """A section that is a mapping from names."""
        found: Mapping[str, Section] = self.document.get(name, {})
        return found

    def is_broken(self, name: str) -> bool:
        """Whether it is there and could not be read at all: of that enough is said."""
        return name in self.document and name not in self.document.values

    def fallbacks(self) -> Fallbacks:
        """Read the variables of what the file does not say."""
        said = {
            f"{name}.{key}"
            for name in ("github", "ledger", "server", "reports")
            for key in self.section(name).places
        }
        said |= {SOURCES} if "sources" in self.document else set()
        said |= {CREDENTIALS} if {"app", "token"} & self.section("github").places.keys() else set()
        return fallbacks(
            self.environ if self.halves else {},
            said & environment.KEYS,
            self.reading,
            halves=self.halves,
            check_key=self.check_key,
        )
