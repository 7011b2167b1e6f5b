"""Shapes of secrets: where one comes from, never what it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from receiver.config.document import Node, Pairs, Scalar, found
from receiver.config.reading import WRONG, Reading
from receiver.config.scalars import Text, Wrong
from receiver.config.secrets import Half, UnresolvedError
from receiver.config.tables import Key, Table

_ORIGIN = Table(
    {
        "env": Key(
            Text("the name of an environment variable", ".+"), "The environment variable that holds it."
        ),
        "file": Key(Text("the path of a file", ".+"), "The file that holds it; relative to this one."),
    },
    exactly_one=("env", "file"),
)


@dataclass(frozen=True)
class SecretValue:
    """``{env: NAME}`` or ``{file: PATH}``, of one half of the work."""

    half: Half
    wrong: Wrong | None = None
    want: str = "{env: NAME} or {file: PATH}"

    def read(self, node: Node, where: str, reading: Reading) -> Any:
        """The secret."""
        if not isinstance(node, Pairs):
            return reading.wrong(node.at(where), self._instead_of(node))
        section = _ORIGIN.read(node, where, reading)
        if section is WRONG or len(section.values) != 1:
            return WRONG
        ((kind, name),) = section.values.items()
        resolve = reading.secrets.from_env if kind == "env" else reading.secrets.from_file
        try:
            secret = resolve(name, node.at(where), self.half)
        except UnresolvedError as error:
            return reading.wrong(section.at(kind), str(error))
        why = self.wrong(secret.value) if self.wrong and secret.value else None
        return reading.wrong(node.at(where), why) if why else secret

    def _instead_of(self, node: Node) -> str:
        if isinstance(node, Scalar) and node.text:
            return f"is written out in the file; want {self.want}, so that no secret stands here"
        return f"got {found(node)}, want {self.want}"

    def schema(self) -> dict[str, Any]:
        """An object with one of two keys."""
        return _ORIGIN.schema()


@dataclass(frozen=True)
class TextOrSecret:
    """Text that may stand in the file, or a secret where it may not."""

    text: Text
    secret: SecretValue

    @property
    def want(self) -> str:
        """Both."""
        return f"{self.text.want}, or {self.secret.want}"

    def read(self, node: Node, where: str, reading: Reading) -> Any:
        """The text, wherever it came from."""
        if isinstance(node, Pairs):
            secret = self.secret.read(node, where, reading)
            return WRONG if secret is WRONG else secret.value
        return self.text.read(node, where, reading)

    def schema(self) -> dict[str, Any]:
        """Either."""
        return {"anyOf": [self.text.schema(), self.secret.schema()]}
