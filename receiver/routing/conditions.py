"""One key of a route's ``when``: does it hold, does it not, or must W&B be asked?  Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from functools import lru_cache
from typing import Any

KEYS = ("event", "artifact", "alias", "tag", "author", "automation", "source", "type", "tags")
ASK_WANDB = frozenset({"type", "tags", "metadata"})
METADATA = "metadata."
_COMPARISON = re.compile(r"(>=|<=|==|!=|[<>](?!=))\s*(\S.*)", re.DOTALL)
_COMPARE: Mapping[str, Callable[[Any, Any], bool]] = {
    ">=": lambda got, want: got >= want,
    "<=": lambda got, want: got <= want,
    ">": lambda got, want: got > want,
    "<": lambda got, want: got < want,
    "==": lambda got, want: got == want,
    "!=": lambda got, want: got != want,
}
_PARTS = 3  # entity/project/collection


class ConditionError(ValueError):
    """A condition cannot be read; the message says what was found and what is wanted."""


class Verdict(Enum):
    """What is known of a condition."""

    HOLDS = "holds"
    FAILS = "fails"
    OPEN = "open"  # Only W&B can tell.


HOLDS, FAILS, OPEN = Verdict.HOLDS, Verdict.FAILS, Verdict.OPEN  # An Enum's are looked up far slower.
_UNTOLD = object()


@dataclass(frozen=True)
class Condition:
    """A key and what it may be: any of ``wants``; with ``negated``, none of them.

    Attributes:
        key: ``event``, ``artifact``, … or ``metadata.KEY``.
        wants: Globs; for metadata also numbers, truth values and comparisons like ``>= 0.9``.
    """

    key: str
    wants: tuple[Any, ...]
    negated: bool = False
    _fits: Callable[[Any], bool] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_fits", _fitting(self.key, self.wants))

    @classmethod
    def parse(cls, key: str, value: Any, *, negated: bool = False) -> Condition:
        """Read a key and its value, or a list of values.

        Raises:
            ConditionError: The key is unknown, or the value is none that fits it.
        """
        wants = tuple(value) if isinstance(value, Sequence) and not isinstance(value, str) else (value,)
        if not wants:
            raise ConditionError("got an empty list, want at least one value: as it is it can never hold")
        for want in wants:
            _check(key, want)
        return cls(key, wants, negated)

    @property
    def asks_wandb(self) -> bool:
        """Whether only W&B can tell."""
        return self.key.partition(".")[0] in ASK_WANDB

    def verdict(self, subject: Mapping[str, Any]) -> Verdict:
        """Judge by what ``subject`` tells: keys as written, ``metadata`` whole; a key not in it is open."""
        value = subject.get(self.key, _UNTOLD)
        if value is _UNTOLD:
            if "metadata" not in subject or not self.key.startswith(METADATA):
                return OPEN
            value = subject["metadata"].get(self.key[len(METADATA) :])
        return HOLDS if self._fits(value) is not self.negated else FAILS

    def why(self, subject: Mapping[str, Any]) -> str:
        """In words, what is there and what was wanted."""
        found = subject.get(self.key)
        if self.key.startswith(METADATA):
            found = subject.get("metadata", {}).get(self.key[len(METADATA) :])
        wanted = " or ".join(
            repr(want) if isinstance(want, str) else str(want).lower() for want in self.wants
        )
        got = "nothing" if found is None or found == () else repr(found)
        return f"{self.key}: got {got}, want {'none of ' if self.negated else ''}{wanted}"

    def to_json(self) -> list[Any]:
        """A form that JSON keeps."""
        return [self.key, list(self.wants), self.negated]

    @classmethod
    def from_json(cls, form: Sequence[Any]) -> Condition:
        """Read that form."""
        key, wants, negated = form
        return cls(key, tuple(wants), negated)


@lru_cache(maxsize=4096)
def glob(pattern: str) -> re.Pattern[str]:
    """The glob as a regular expression: ``*``, ``?`` and ``[…]`` within a part, never across a ``/``."""
    return re.compile(_expression(pattern), re.DOTALL)


def _expression(pattern: str, name: str = "star") -> str:
    """The same as text, its groups under that name.

    Each ``*`` but the last takes as little as it can and never anything else: more would help none of those
    behind it, and to try would take for ever where somebody sends a long text that nearly fits.
    """
    fixed = [""]
    for part in re.split(r"(\*+|\?|\[!?[^\]/]+\])", pattern):
        if part.startswith("*"):
            fixed.append("")
        else:
            fixed[-1] += _glob_part(part)
    first, *between = fixed
    if not between:
        return first
    *between, last = between
    taken = (
        f"(?=(?P<{name}{number}>[^/]*?{behind}))(?P={name}{number})" for number, behind in enumerate(between)
    )
    return f"{first}{''.join(taken)}[^/]*{last}"


def _glob_part(part: str) -> str:
    if part == "?":
        return "[^/]"
    if part.startswith("[") and part.endswith("]") and len(part) > 2:  # noqa: PLR2004 - the two brackets
        inner = part[1:-1].replace("\\", r"\\").replace("[", r"\[").replace("^", r"\^")
        return f"[^/{inner[1:]}]" if inner.startswith("!") else f"[{inner}]"
    return re.escape(part)


def _check(key: str, want: Any) -> None:
    if key.startswith(METADATA) and len(key) > len(METADATA):
        _check_metadata(want)
        return
    if key not in KEYS:
        raise ConditionError(f"{key!r} is no key of when (there are: {', '.join(KEYS)}, metadata.KEY)")
    if not isinstance(want, str) or not want:
        raise ConditionError(f"got {want!r}, want text, a glob perhaps")
    try:
        glob(want)
    except re.error as error:
        raise ConditionError(f"{want!r} is no glob: {error}") from error
    parts = want.split("/")
    if key == "artifact" and (len(parts) != _PARTS or not all(parts)):
        raise ConditionError(
            f"got {want!r}, want entity/project/collection, like acme/wandb-registry-model/flower-*"
        )


def _check_metadata(want: Any) -> None:
    if want is None or not isinstance(want, (str, int, float, bool)):
        raise ConditionError(
            f"got {want!r}, want a number, true or false, text, or a comparison like '>= 0.9'"
        )
    if isinstance(want, str) and re.match(r"[<>=!]", want) and _COMPARISON.fullmatch(want) is None:
        raise ConditionError(f"got {want!r}, want one of >= <= > < == != and a value behind it")


def _fitting(key: str, wants: Sequence[Any]) -> Callable[[Any], bool]:
    if key.startswith(METADATA):
        tests = [_metadata_test(want) for want in wants]
        return lambda value: any(test(value) for test in tests)
    fits = _text_test(wants)
    if key == "tags":
        return lambda value: any(fits(tag) for tag in value or ())
    return fits


def _text_test(wants: Sequence[str]) -> Callable[[str | None], bool]:
    """Whether a text fits one of them; what is not there fits none."""
    if not any(character in want for want in wants for character in "*?["):
        return frozenset(wants).__contains__
    every = (f"(?:{_expression(want, f'want{number}star')})" for number, want in enumerate(wants))
    fits = re.compile("|".join(every), re.DOTALL).fullmatch
    return lambda value: value is not None and fits(value) is not None


def _metadata_test(want: Any) -> Callable[[Any], bool]:
    comparison = _COMPARISON.fullmatch(want) if isinstance(want, str) else None
    if comparison is not None:
        compare, right = _COMPARE[comparison[1]], _scalar(comparison[2].strip())
        return lambda value: _comparable(value, right) and compare(value, right)
    if isinstance(want, str):
        fits = glob(want).fullmatch
        return lambda value: isinstance(value, str) and fits(value) is not None
    return lambda value: _comparable(value, want) and value == want


def _scalar(text: str) -> Any:
    if text in {"true", "false"}:
        return text == "true"
    try:
        return float(text)
    except ValueError:
        return text.strip("\"'")


def _comparable(value: Any, want: Any) -> bool:
    """Numbers with numbers, text with text: a model that lacks a number is no model with a small one."""
    if isinstance(value, bool) or isinstance(want, bool):
        return isinstance(value, bool) and isinstance(want, bool)
    if isinstance(want, (int, float)):
        return isinstance(value, (int, float))
    return isinstance(value, str)
