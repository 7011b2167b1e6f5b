"""A workflow file, as far as it says what starts it.  Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from receiver.config.document import load, plain
from receiver.config.problems import Problems

_SHOW_KEY = ("client_payload.handoff.key", "inputs.handoff_key")


class UnreadableWorkflowError(ValueError):
    """The file is no workflow that we can read; the message says why."""


@dataclass(frozen=True)
class WorkflowFile:
    """One file in ``.github/workflows``.

    Attributes:
        types: The types of ``repository_dispatch`` that it listens for; empty is any, None no such event.
        inputs: What ``workflow_dispatch`` declares, and whether it must be given; None no such event.
        shows_key: Whether its ``run-name`` shows the key by which its runs are found.
    """

    name: str
    types: tuple[str, ...] | None
    inputs: Mapping[str, bool] | None
    shows_key: bool

    @classmethod
    def parse(cls, name: str, text: str) -> WorkflowFile:
        """Read the file, or raise UnreadableWorkflowError."""
        problems = Problems(name)
        node = load(text, problems)
        if node is None:
            raise UnreadableWorkflowError(problems.found[0])
        document = plain(node)
        if not isinstance(document, dict) or "on" not in document:
            raise UnreadableWorkflowError(f"{name}: has no on:")
        on = _events(document["on"])
        return cls(
            name,
            _types(on["repository_dispatch"]) if "repository_dispatch" in on else None,
            _inputs(on["workflow_dispatch"]) if "workflow_dispatch" in on else None,
            any(part in str(document.get("run-name")) for part in _SHOW_KEY),
        )

    def listens_for(self, event_type: str) -> bool:
        """Whether a ``repository_dispatch`` of this type starts it."""
        return self.types is not None and (not self.types or event_type in self.types)


def _events(on: Any) -> Mapping[str, Any]:
    """The three forms of ``on`` as one: each event with what it says of it."""
    if isinstance(on, dict):
        return on
    names = on if isinstance(on, list) else [on]
    return {str(name): None for name in names}


def _types(event: Any) -> tuple[str, ...]:
    types = event.get("types") if isinstance(event, dict) else None
    listed = types if isinstance(types, list) else [] if types is None else [types]
    return tuple(str(each) for each in listed)


def _inputs(event: Any) -> Mapping[str, bool]:
    inputs = event.get("inputs") if isinstance(event, dict) else None
    return {
        str(name): isinstance(told, dict) and told.get("required") is True and "default" not in told
        for name, told in (inputs.items() if isinstance(inputs, dict) else ())
    }
