"""What is wrong with a configuration, each with its place in the file.  Types and words only."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass

from receiver.errors import SettingsError


@dataclass(frozen=True)
class Place:
    """Where something stands: line and column from 1, and the path to it, like ``routes[0].when``."""

    line: int
    column: int
    where: str

    def of(self, key: str | int) -> str:
        """The path of what stands in here under the key."""
        if isinstance(key, int):
            return f"{self.where}[{key}]"
        return f"{self.where}.{key}" if self.where else key


class Problem(str):
    """One line for a person, which also knows its parts.

    Attributes:
        line: From 1; 0 where it is the environment that is wrong.
        where: The path of keys; empty for the document itself.
    """

    __slots__ = ("column", "file", "line", "message", "where")
    file: str
    line: int
    column: int
    where: str
    message: str

    @classmethod
    def at(cls, file: str, place: Place, message: str) -> Problem:
        """A problem of the file, like ``handoff.yaml:12:9: routes[0].when.evnt: unknown key``."""
        path = f"{place.where}: " if place.where else ""
        problem = cls(f"{file}:{place.line}:{place.column}: {path}{message}")
        problem.file, problem.message = file, message
        problem.line, problem.column, problem.where = place.line, place.column, place.where
        return problem

    @classmethod
    def of_environment(cls, line: str) -> Problem:
        """A problem of a variable that the file leaves to the environment; the line names it."""
        problem = cls(line)
        where, _, message = line.partition(": ")
        problem.file, problem.line, problem.column = "", 0, 0
        problem.where, problem.message = where, message
        return problem


class ConfigError(SettingsError):
    """The configuration is wrong; ``problems`` has them all, in the order of the file."""

    problems: tuple[Problem, ...]

    def __init__(self, problems: Iterable[Problem]) -> None:
        by_place = sorted(problems, key=lambda problem: (problem.line, problem.column))
        super().__init__(by_place)
        self.problems = tuple(by_place)


class Problems:
    """Collects what is wrong with one file, so that all is told at once."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.found: list[Problem] = []
        self.warnings: list[Problem] = []

    def add(self, place: Place, message: str) -> None:
        """Note a problem."""
        self.found.append(Problem.at(self.file, place, message))

    def warn(self, place: Place, message: str) -> None:
        """Note what works, but should not stay so."""
        self.warnings.append(Problem.at(self.file, place, message))

    def error(self) -> ConfigError:
        """All there is so far, to be raised."""
        return ConfigError(self.found)


def guess(word: str, allowed: Iterable[str]) -> str | None:
    """What was probably meant, of what is allowed."""
    by_lower = {one.lower(): one for one in allowed}
    near = difflib.get_close_matches(word.lower(), by_lower, 1)
    return by_lower[near[0]] if near else None


def nearest(word: str, allowed: Iterable[str]) -> str:
    """``; did you mean …?`` with that, or nothing."""
    meant = guess(word, allowed)
    return f"; did you mean {meant}?" if meant else ""


def listed(allowed: Iterable[str]) -> str:
    """The names with commas."""
    return ", ".join(allowed)
