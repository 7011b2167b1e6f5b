"""Where secrets come from: a variable or a file, never the configuration itself."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from receiver.config.problems import Place, nearest
from receiver.secret import Secret

Half = Literal["receives", "dispatches", "both"]
ReadFile = Callable[[str], bytes]


class UnresolvedError(Exception):
    """A secret is not where the file says; the message holds nothing of what might be one."""


@dataclass(frozen=True)
class Resolved:
    """One secret of the file: where it stands, where it came from (``env NAME``, ``file PATH``)."""

    place: Place
    origin: str
    secret: Secret


class Secrets:
    """Resolves secrets, and remembers which.

    A process that does half of the work needs, and so holds, no secret of the other half: of that it
    gets empty ones.
    """

    def __init__(
        self, environ: Mapping[str, str], read_file: ReadFile, folder: Path, halves: Collection[Half]
    ) -> None:
        self._environ = environ
        self._read_file = read_file
        self._folder = folder
        self._halves = frozenset([*halves, "both"] if halves else [])
        self.variables: set[str] = set()
        self.resolved: list[Resolved] = []

    def from_env(self, name: str, place: Place, half: Half) -> Secret:
        """The secret in a variable, or raise UnresolvedError."""
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
            raise UnresolvedError("is no name of an environment variable; want one like WANDB_WEBHOOK_SECRET")
        self.variables.add(name)
        if half not in self._halves:
            return Secret("")
        value = self._environ.get(name)
        if value:
            return self._keep(Secret(value), place, f"env {name}")
        # A name in small letters may well be a secret put here by mistake: it is not repeated.
        shown = name if re.fullmatch(r"[A-Z][A-Z0-9_]*", name) else "this variable"
        state = "is not set" if value is None else "is set, but empty"
        raise UnresolvedError(f"{shown} {state} in the environment{nearest(name, self._environ)}")

    def from_file(self, path: str, place: Place, half: Half) -> Secret:
        """The secret in a file, relative to the configuration's folder, or raise UnresolvedError."""
        # What holds no '/' and no '.' may well be a secret put here by mistake: it is not repeated.
        shown = f"{path!r}" if re.search("[/.]", path) else "this file"
        if "\n" in path or "-----BEGIN" in path:
            raise UnresolvedError("is the secret itself; want the path of the file that holds it")
        if half not in self._halves:
            return Secret("")
        try:
            text = self._read_file(str(self._folder / path)).decode("utf-8")
        except OSError as error:
            raise UnresolvedError(f"cannot read {shown}: {error.strerror or type(error).__name__}") from None
        except ValueError:
            raise UnresolvedError(f"cannot read {shown}: it is no text in UTF-8") from None
        value = re.sub(r"\r?\n\Z", "", text)
        if not value:
            raise UnresolvedError(f"{shown} is empty")
        return self._keep(Secret(value), place, f"file {path}")

    def _keep(self, secret: Secret, place: Place, origin: str) -> Secret:
        self.resolved.append(Resolved(place, origin, secret))
        return secret


def read_bytes(path: str) -> bytes:
    """Read the file whole; a secret is short."""
    with Path(path).open("rb") as file:
        return file.read(1024 * 1024)
