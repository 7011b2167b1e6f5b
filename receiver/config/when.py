"""The shape of a route's ``when``: keys, lists of globs, ``metadata`` and ``not``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from receiver.config.document import Items, Node, Pairs, Scalar, found, shown
from receiver.config.problems import listed, nearest
from receiver.config.reading import WRONG, Reading
from receiver.event import ARTIFACT_EVENTS, OTHER_EVENTS
from receiver.routing.conditions import ASK_WANDB, KEYS, METADATA, Condition, ConditionError

EVENTS = tuple(sorted(ARTIFACT_EVENTS)) + tuple(sorted(OTHER_EVENTS))
_GLOB = "*?["
HELP: Mapping[str, str] = {
    "event": "W&B's name for what happened.",
    "artifact": "entity/project/collection; * and ? stay within a part.",
    "alias": "The alias that was added.",
    "tag": "The tag that was added or removed.",
    "author": "Who did it, in W&B.",
    "automation": "The name of the automation in W&B, where its payload tells.",
    "source": "Which of the sources it came from.",
    "type": "The type of the artifact. W&B is asked: needs wandb.api_key.",
    "tags": "One of the tags of the version. W&B is asked: needs wandb.api_key.",
    "metadata": "Top-level keys of the version's metadata. W&B is asked: needs wandb.api_key.",
    "not": "None of these may hold.",
}
_OF_METADATA = "A number, true or false, text, or a comparison like '>= 0.9'; a list is any of them."


@dataclass(frozen=True)
class When:
    """Conditions, all of which must hold.

    Attributes:
        negated: It is a ``not`` itself, and holds no other.
    """

    negated: bool = False

    @property
    def keys(self) -> tuple[str, ...]:
        """What may stand in it."""
        return (*KEYS, f"{METADATA}KEY", *(() if self.negated else ("not",)))

    @property
    def want(self) -> str:
        """Its keys; none is a route for everything."""
        return f"a mapping with some of {listed(self.keys)}; {{}} is everything"

    def read(self, node: Node, where: str, reading: Reading) -> Any:
        """The conditions."""
        if not isinstance(node, Pairs):
            return reading.wrong(node.at(where), f"got {found(node)}, want {self.want}")
        read = list(self._conditions(node, where, reading))
        return WRONG if any(each is WRONG for each in read) else tuple(read)

    def _conditions(self, node: Pairs, where: str, reading: Reading) -> Iterator[Any]:
        here = node.at(where)
        for name, (key, value) in node.entries.items():
            if name == "not" and not self.negated:
                inner = When(negated=True).read(value, here.of(name), reading)
                yield from [WRONG] if inner is WRONG else inner
            elif name == "metadata" and isinstance(value, Pairs):
                for under, (_, each) in value.entries.items():
                    yield self._condition(f"{METADATA}{under}", each, f"{where}.{METADATA}{under}", reading)
            elif name in KEYS or (name.startswith(METADATA) and name != METADATA):
                yield self._condition(name, value, here.of(name), reading)
            elif name == "metadata":
                yield reading.wrong(
                    value.at(here.of(name)), f"got {found(value)}, want metadata.KEY, or a mapping from keys"
                )
            else:
                yield reading.wrong(key.at(here.of(name)), self._unknown(name))

    def _unknown(self, name: str) -> str:
        if name == "not":
            return "a not within a not; write the condition itself above"
        return f"unknown key{nearest(name, (*self.keys, 'metadata'))} (allowed: {listed(self.keys)})"

    def _condition(self, key: str, node: Node, where: str, reading: Reading) -> Any:
        items = node.items if isinstance(node, Items) else [node]
        values = [self._value(key, item, where, reading) for item in items]
        if any(value is WRONG for value in values):
            return WRONG
        if key.partition(".")[0] in ASK_WANDB:
            reading.asks.append((node.at(where), key))
        try:
            return Condition.parse(key, values, negated=self.negated)
        except ConditionError as error:
            return reading.wrong(node.at(where), str(error))

    def _value(self, key: str, item: Node, where: str, reading: Reading) -> Any:
        if not isinstance(item, Scalar):
            return reading.wrong(item.at(where), f"got {found(item)}, want one value or a list of them")
        why = wrong_with_value(key, item)
        if why:
            return reading.wrong(item.at(where), why)
        if key == "source":
            reading.sources.append((item.at(where), item.text))
        return item.value

    def schema(self) -> dict[str, Any]:
        """An object; events and metadata with what is special about them."""
        texts = {"type": "string", "minLength": 1}
        properties: dict[str, Any] = {key: {"description": HELP[key], **any_of(texts)} for key in KEYS}
        events = {"anyOf": [{"enum": [*EVENTS]}, {"type": "string", "pattern": r"[*?\[]"}]}
        properties["event"] = {"description": HELP["event"], **any_of(events)}
        parts = {"type": "string", "pattern": "^[^/:]+/[^/:]+/[^/:]+$"}
        properties["artifact"] = {"description": HELP["artifact"], **any_of(parts)}
        value = {"description": _OF_METADATA, **any_of({"type": ["string", "number", "boolean"]})}
        properties["metadata"] = {
            "description": HELP["metadata"],
            "type": "object",
            "propertyNames": {"minLength": 1},
            "additionalProperties": value,
        }
        if not self.negated:
            properties["not"] = {"description": HELP["not"], **When(negated=True).schema()}
        return {
            "type": "object",
            "additionalProperties": False,
            "properties": properties,
            "patternProperties": {r"^metadata\..": value},
        }


def any_of(one: dict[str, Any]) -> dict[str, Any]:
    """One value, or a list of which any will do."""
    return {"anyOf": [one, {"type": "array", "items": one, "minItems": 1}]}


def wrong_with_value(key: str, item: Scalar) -> str | None:
    """What is wrong with one value of a condition, where its form tells."""
    if item.value is None or (item.value == "" and not key.startswith(METADATA)):
        wanted = "a number, true or false, or text" if key.startswith(METADATA) else "text"
        return f"got {found(item)}, want {wanted}"
    if key.startswith(METADATA):
        return _wrong_by_itself(key, item)
    if not isinstance(item.value, str):
        return f"got {found(item)}, want text, between quotes: '{item.text}'"
    if key == "event" and item.value not in EVENTS and not any(one in item.value for one in _GLOB):
        return _unknown_event(item.value)
    return _wrong_artifact(item.value) if key == "artifact" else _wrong_by_itself(key, item)


def _unknown_event(name: str) -> str:
    if name == "LINK_MODEL":
        return "got 'LINK_MODEL', which is read as LINK_ARTIFACT; want that name here"
    return f"got {shown(name)}, want an event of W&B{nearest(name, EVENTS)} (there are: {listed(EVENTS)})"


def _wrong_artifact(text: str) -> str | None:
    if ":" in text:
        return f"got {shown(text)}, want it without what follows the ':'; alias is a key of its own"
    parts: Sequence[str] = text.split("/")
    if len(parts) != 3 or not all(parts):  # noqa: PLR2004 - entity, project, collection
        return f"got {shown(text)}, want entity/project/collection, like acme/wandb-registry-model/flower-*"
    return _wrong_by_itself("artifact", Scalar(0, 0, text, text))


def _wrong_by_itself(key: str, item: Scalar) -> str | None:
    try:
        Condition.parse(key, item.value)
    except ConditionError as error:
        return str(error)
    return None
