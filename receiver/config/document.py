"""YAML to a tree in which everything knows its line and column: safe, bounded, YAML 1.2's plain words."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NoReturn

import yaml

from receiver.config.problems import Place, Problems

LARGEST = 1024 * 1024
DEEPEST = 24
MOST_NODES = 100_000  # Aliases count with all that they stand for: a few lines can stand for billions.
_LONGEST_SHOWN = 60
_INTEGER = re.compile(r"[-+]?[0-9]{1,18}")
_FLOAT = re.compile(r"[-+]?(\.[0-9]{1,40}|[0-9]{1,40}(\.[0-9]{0,40})?)([eE][-+]?[0-9]{1,3})?")
_WORDS = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_MERGE = "<<"
_NO_TEXT = re.compile("[\\0\ud800-\udfff]")

if TYPE_CHECKING:
    Entry = tuple["Scalar", "Node"]


@dataclass(frozen=True)
class Node:
    """A part of the document.

    Attributes:
        weight: How many parts it has in all, aliases counted with what they stand for.
    """

    line: int
    column: int
    weight: int = field(default=1, kw_only=True)

    def at(self, where: str) -> Place:
        """Its place, under that path."""
        return Place(self.line, self.column, where)


@dataclass(frozen=True)
class Scalar(Node):
    """One value: what YAML 1.2 makes of it, and as it is written."""

    value: str | int | float | bool | None
    text: str


@dataclass(frozen=True)
class Items(Node):
    """A list."""

    items: Sequence[Node]


@dataclass(frozen=True)
class Pairs(Node):
    """A mapping: for each name its key and its value."""

    entries: Mapping[str, tuple[Scalar, Node]]


def load(text: str, problems: Problems) -> Node | None:
    """Read one document.  What is wrong is noted; None when there is no tree to go on with."""
    if len(text.encode("utf-8", "surrogatepass")) > LARGEST:
        problems.add(Place(1, 1, ""), f"is larger than {LARGEST} bytes, which no configuration needs")
        return None
    try:
        return _Builder(problems).document(text)
    except _BrokenError as error:
        problems.add(error.place, str(error))
    except yaml.reader.ReaderError as error:
        problems.add(
            _place_of(text, error.position),
            f"holds the character U+{int(error.character):04X}, which is no text",
        )
    except yaml.MarkedYAMLError as error:
        problems.add(_marked(error), f"is no YAML: {_plainly(error)}")
    except (ValueError, OverflowError):
        problems.add(Place(1, 1, ""), r"holds an escape like \Uffffffff, which is no character")
    return None


def plain(node: Node) -> Any:
    """The value without places, as JSON would have it."""
    if isinstance(node, Pairs):
        return {name: plain(value) for name, (_, value) in node.entries.items()}
    if isinstance(node, Items):
        return [plain(item) for item in node.items]
    return node.value if isinstance(node, Scalar) else None


def scalars(node: Node, where: str) -> Iterator[tuple[Place, Scalar]]:
    """Every single value in it, and where it stands."""
    here = node.at(where)
    if isinstance(node, Scalar):
        yield here, node
    elif isinstance(node, Items):
        for at, item in enumerate(node.items):
            yield from scalars(item, here.of(at))
    elif isinstance(node, Pairs):
        for name, (_, value) in node.entries.items():
            yield from scalars(value, here.of(name))


def found(node: Node) -> str:
    """What stands there, in words: for messages."""
    if isinstance(node, Items):
        return "a list"
    if not isinstance(node, Scalar):
        return "a mapping"
    if node.value is None:
        return "nothing"
    if isinstance(node.value, bool):
        return str(node.value).lower()
    if isinstance(node.value, str):
        return shown(node.value)
    return f"the number {node.text}"


def shown(text: str) -> str:
    """The text as a message quotes it: short, and with nothing that a terminal would obey."""
    printable = "".join(one if one.isprintable() else ascii(one)[1:-1] for one in text[:_LONGEST_SHOWN])
    return f"'{printable}'" + ("…" if len(text) > _LONGEST_SHOWN else "")


class _BrokenError(Exception):
    """The document ends here for us."""

    def __init__(self, place: Place, message: str) -> None:
        super().__init__(message)
        self.place = place


class _Builder:
    """Builds the tree from YAML's events, with an eye on depth and weight."""

    def __init__(self, problems: Problems) -> None:
        self._problems = problems
        self._anchors: dict[str, Node | None] = {}

    def document(self, text: str) -> Node:
        events = yaml.parse(text, Loader=yaml.SafeLoader)
        for event in events:
            if isinstance(event, yaml.DocumentStartEvent):
                break
        else:
            raise _BrokenError(Place(1, 1, ""), "is empty; want at least sources, github and routes")
        node = self._node(next(events), events, ())
        next(events)
        after = next(events)
        if isinstance(after, yaml.DocumentStartEvent):
            _broken(after, "a second document begins here; want one")
        return node

    def _node(self, event: Any, events: Iterator[Any], path: tuple[str, ...]) -> Node:
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event)
        if len(path) > DEEPEST:
            _broken(event, f"nests deeper than {DEEPEST} levels")
        if event.tag is not None:
            tag = event.tag.replace("tag:yaml.org,2002:", "!!")
            _broken(event, f"has the tag {shown(tag)}; want plain YAML without tags")
        if event.anchor:
            self._anchors[event.anchor] = None  # Known, but not before it is whole.
        node = self._inner(event, events, path)
        if node.weight > MOST_NODES:
            _broken(event, f"stands for more than {MOST_NODES} values, by its aliases or by itself")
        if event.anchor:
            self._anchors[event.anchor] = node
        return node

    def _inner(self, event: Any, events: Iterator[Any], path: tuple[str, ...]) -> Node:
        line, column = _at(event)
        if isinstance(event, yaml.ScalarEvent):
            text = _text(event)
            return Scalar(line, column, _resolved(text) if event.implicit[0] else text, text)
        if isinstance(event, yaml.SequenceStartEvent):
            items = self._items(events, path)
            return Items(line, column, items, weight=1 + sum(item.weight for item in items))
        entries = self._entries(events, path)
        return Pairs(line, column, entries, weight=1 + sum(value.weight for _, value in entries.values()))

    def _items(self, events: Iterator[Any], path: tuple[str, ...]) -> list[Node]:
        items: list[Node] = []
        while not isinstance(event := next(events), yaml.SequenceEndEvent):
            items.append(self._node(event, events, (*path, f"[{len(items)}]")))
        return items

    def _entries(self, events: Iterator[Any], path: tuple[str, ...]) -> dict[str, tuple[Scalar, Node]]:
        entries: dict[str, tuple[Scalar, Node]] = {}
        merged: list[tuple[Any, Node]] = []
        while not isinstance(event := next(events), yaml.MappingEndEvent):
            key = self._node(event, events, path)
            if not isinstance(key, Scalar):
                _broken(event, f"is {found(key)} where a key is wanted; want a name")
            value = self._node(next(events), events, (*path, f".{key.text}"))
            if key.text == _MERGE and isinstance(event, yaml.ScalarEvent) and event.implicit[0]:
                merged.append((event, value))
            elif key.text in entries:
                place = key.at("".join((*path, f".{key.text}")).removeprefix("."))
                self._problems.add(place, f"is there twice; the first is in line {entries[key.text][0].line}")
            else:
                entries[key.text] = (key, value)
        for event, value in merged:
            _merge(event, value, entries)
        return entries

    def _alias(self, event: Any) -> Node:
        node = self._anchors.get(event.anchor)
        if node is None:
            within = event.anchor in self._anchors
            why = "stands inside what it is to repeat" if within else "has no anchor &… above it"
            _broken(event, f"the alias *{event.anchor} {why}")
        return node


def _merge(event: Any, value: Node, entries: dict[str, tuple[Scalar, Node]]) -> None:
    """Take what a ``<<`` brings, where the mapping has nothing of its own."""
    parts = value.items if isinstance(value, Items) else [value]
    for part in parts:
        if not isinstance(part, Pairs):
            _broken(event, f"<< wants a mapping, got {found(part)}")
        for name, entry in part.entries.items():
            entries.setdefault(name, entry)


def _resolved(text: str) -> str | int | float | bool | None:
    """What a word without quotes means in YAML 1.2: ``no`` and ``on`` are words, ``12:30`` is no number."""
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text) and math.isfinite(float(text)):
        return float(text)
    return text


def _text(event: Any) -> str:
    """The text of a scalar; escapes in pairs, as JSON writes what is far from Latin, are one character."""
    text: str = event.value
    if _NO_TEXT.search(text):
        try:
            text = text.encode("utf-16", "surrogatepass").decode("utf-16")
        except UnicodeDecodeError:
            _broken(event, "holds half of a surrogate pair, which is no text")
        if "\0" in text:
            _broken(event, "holds NUL, which is no text")
    return text


def _at(event: Any) -> tuple[int, int]:
    return event.start_mark.line + 1, event.start_mark.column + 1


def _broken(event: Any, message: str) -> NoReturn:
    raise _BrokenError(Place(*_at(event), ""), message)


def _place_of(text: str, index: int) -> Place:
    before = text[:index]
    return Place(before.count("\n") + 1, index - (before.rfind("\n") + 1) + 1, "")


def _marked(error: yaml.MarkedYAMLError) -> Place:
    marks = [error.problem_mark, error.context_mark]
    if re.search(_NEVER_ENDS, error.problem or ""):
        marks.reverse()  # Where it begins tells more than where the file ends.
    mark = next((mark for mark in marks if mark), None)
    return Place(mark.line + 1, mark.column + 1, "") if mark else Place(1, 1, "")


_NEVER_ENDS = r"expected ',' or '[\]}]'|unexpected end of stream"
_PLAINER = (
    (r"mapping values are not allowed", "a second ':' here; put text that holds ': ' between quotes"),
    (r"character '\\t'", "a tab; want spaces"),
    (r"character '[@`%]'", "no text can begin with this character; put it between quotes"),
    (r"could not find expected ':'", "a key without its ':', in this line or the one before"),
    (r"expected ',' or '[\]}]'", "what begins here does not end: a comma or a bracket is missing"),
    (r"unexpected end of stream", "this quotation mark is never closed"),
    (r"expected <block end>", "does not fit in here; is it indented like the lines above?"),
    (r"unknown escape character", "a backslash in double quotes; want single quotes around it"),
)


def _plainly(error: yaml.MarkedYAMLError) -> str:
    """YAML's words for people."""
    said = f"{error.problem or error.context or 'it cannot be read'}"
    return next((words for pattern, words in _PLAINER if re.search(pattern, said)), said)
