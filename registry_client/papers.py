"""What lies beside a directory and tells of it: its provenance, and the files that were left out."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from registry_client import provenance, references
from registry_client.download import Download
from registry_client.errors import TargetError


@dataclass(frozen=True)
class Papers:
    """Where they are.

    Attributes:
        references: None where no file was left out.
    """

    provenance: Path
    references: Path | None


def write_papers(done: Download, known: Mapping[str, Any]) -> Papers:
    """Write what is known of a download beside its directory, in the place of what an earlier one left.

    Raises:
        TargetError: It cannot be written.
    """
    told = _write(provenance.beside(done.directory, "provenance"), provenance.as_text(known))
    if not done.references:
        return Papers(told, None)
    text = references.as_text(done.version, done.references)
    return Papers(told, _write(provenance.beside(done.directory, "references"), text))


def _write(path: Path, text: str) -> Path:
    """Write the file whole or not at all; a link in its place is replaced, not followed."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        with temporary.open("x", encoding="utf-8", errors="backslashreplace", newline="\n") as file:
            file.write(text)
        temporary.replace(path)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink()
        raise TargetError(f"{path} cannot be written: {error.strerror}") from error
    return path
