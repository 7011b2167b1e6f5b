"""For whom a source may speak.  Pure."""

from __future__ import annotations

from receiver.routing.conditions import Condition, Verdict


def may_speak(entities: tuple[str, ...], entity: str | None) -> bool:
    """Whether one of these globs fits the entity that an event names; no glob at all is any entity."""
    if not entities:
        return True
    return Condition("entity", entities).verdict({"entity": entity}) is Verdict.HOLDS
