"""Values that must not be seen: a type that hides them, and a look for them in what goes out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

SHORTEST_TO_SEEK = 8  # A shorter one would be "found" in innocent text.


@dataclass(frozen=True, repr=False)
class Secret:
    """A secret setting; neither ``repr`` nor ``str`` shows it."""

    value: str

    def __repr__(self) -> str:
        return "Secret(…)"

    __str__ = __repr__

    def __bytes__(self) -> bytes:
        """The bytes of the value; what the environment held of other encodings comes through unchanged."""
        return self.value.encode("utf-8", "surrogateescape")


def holds_one(text: str, secrets: Iterable[Secret]) -> bool:
    """Whether one of the secrets, at least 8 characters long, is anywhere in the text."""
    return any(len(secret.value) >= SHORTEST_TO_SEEK and secret.value in text for secret in secrets)


def without(text: str, secrets: Iterable[Secret]) -> str:
    """The text with ``***`` in the place of each of the secrets."""
    for secret in secrets:
        if len(secret.value) >= SHORTEST_TO_SEEK:
            text = text.replace(secret.value, "***")
    return text
