"""JSON read so that nobody can read it differently: pure, no I/O."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from typing import Any, NoReturn

from receiver.errors import NotJsonError

DEEPEST = 32
_LONGEST_NUMBER = 40
_LONGEST_SHOWN = 60
# A string may lack its end: then it is taken to the end of the text, so that the time stays linear.
_BRACKETS = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"?|([\[{])|([\]}])', re.DOTALL)


def load(body: bytes) -> Any:
    """Read one JSON value in UTF-8.

    Doubled keys, numbers that JSON or a double cannot hold, halves of surrogate pairs, NUL and deep
    nesting are refused: other programs read them in other ways, or fall over.

    Raises:
        NotJsonError: It is not such a value; the message says where.
    """
    text = _decode(body)
    _check_depth(text)
    try:
        value = _DECODER.decode(text)
    except json.JSONDecodeError as error:
        raise _not_json(f"line {error.lineno}, column {error.colno}: {error.msg}") from error
    if "\\u" in text:  # Neither NUL nor half a pair can be written in any other way.
        for string in strings(value):
            _check_text(string)
    return value


def strings(value: Any) -> Iterator[str]:
    """Every string in a JSON value, keys included."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield key
            yield from strings(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from strings(inner)


def shown(text: str) -> str:
    """The text as a message may quote it: short, and with nothing that a terminal would obey."""
    return ascii(text) if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]!a}…"


def _decode(body: bytes) -> str:
    if not body.strip():
        raise _not_json("it is empty")
    if body.startswith(b"\xef\xbb\xbf"):
        raise _not_json("it starts with a byte order mark")
    try:
        return body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise _not_json(f"byte {error.start + 1} is not UTF-8") from error


def _check_depth(text: str) -> None:
    if text.count("{") + text.count("[") <= DEEPEST:
        return  # So few cannot nest deeper, wherever they are.
    depth = 0
    for match in _BRACKETS.finditer(text):
        depth += bool(match[1]) - bool(match[2])
        if depth > DEEPEST:
            raise _not_json(f"it nests deeper than {DEEPEST} levels")


def _check_text(text: str) -> None:
    if "\0" in text:
        raise _not_json(f"the text {shown(text)} holds U+0000")
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise _not_json(f"the text {shown(text)} holds half of a surrogate pair")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for name, inner in pairs:
        if name in value:
            raise _not_json(f"the key {shown(name)} is there twice in one object")
        value[name] = inner
    return value


def _integer(text: str) -> int:
    if len(text) > _LONGEST_NUMBER:
        raise _not_json(f"the number {shown(text)} has {len(text)} digits; want at most {_LONGEST_NUMBER}")
    return int(text)


def _float(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise _not_json(f"the number {shown(text)} is too large")
    return number


def _constant(text: str) -> NoReturn:
    raise _not_json(f"{text} is no JSON")


_DECODER = json.JSONDecoder(
    object_pairs_hook=_object, parse_int=_integer, parse_float=_float, parse_constant=_constant
)


def _not_json(why: str) -> NotJsonError:
    return NotJsonError(
        f"The body is not JSON: {why}. In the automation's payload, each variable stands between quotes."
    )
