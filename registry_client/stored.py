"""What a storage outside W&B gives for a file, and what it may say instead: types."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Protocol

from registry_client.digest import Digester
from registry_client.errors import FetchError, ReferenceEntriesError, RegistryError, VerificationError
from registry_client.manifest import ManifestEntry
from registry_client.patience import TransientError

OTHER_CONTENT = 412  # The status for a condition that does not hold.
_NOT_FOR_US = {401, 403, 404}
_BUSY = 429


@dataclass(frozen=True)
class Proof:
    """A checksum that the storage keeps of a whole file."""

    name: str
    digester: Callable[[], Digester]
    want: bytes


@dataclass(frozen=True)
class Stored:
    """Bytes that the storage calls what the artifact calls them.

    Attributes:
        chunks: The bytes; a TransientError when they break off.
        offset: Where in the file they begin.
        size: Of the whole file, as far as the storage tells.
        ends: Whether a connection that breaks off early shows.
        proof: What the whole file can be checked by, if the storage keeps that.
        abort: Lets a thread that waits for bytes wait no longer, where that can be done.
    """

    chunks: Iterator[bytes]
    offset: int
    size: int | None
    ends: bool = True
    proof: Proof | None = None
    abort: Callable[[], object] = lambda: None


class Storage(Protocol):
    """One kind of place that files can lie in."""

    def lacks(self, entry: ManifestEntry) -> str | None:
        """Why the file cannot be fetched, and what would help; None if nothing is known against it."""

    def open(self, entry: ManifestEntry, offset: int) -> AbstractContextManager[Stored]:
        """The file's bytes, from ``offset`` or from the start.

        Raises:
            VerificationError: There is other content now.
            ReferenceEntriesError: There is none, or not for us.
            TransientError: Another try may help.
            FetchError: It will not.
        """
        ...


def changed(entry: ManifestEntry, got: str) -> str:
    """The message that tells of other content."""
    return (
        f"{entry.path}: its storage has {got} there now, want {entry.digest}; "
        "it was changed after it was logged"
    )


def refusal(entry: ManifestEntry, storage: str, status: int, said: str = "") -> RegistryError:
    """What a status means that a storage answers with; ``said`` is its own word for it."""
    said = said or str(status)
    if status == OTHER_CONTENT:
        return VerificationError(changed(entry, "another ETag"))
    if status in _NOT_FOR_US:
        return ReferenceEntriesError(f"{entry.path}: {storage} does not give it to us: it answered {said}")
    if status >= 500 or status == _BUSY:  # noqa: PLR2004 - statuses
        return TransientError(f"{storage} answered {said}")
    return FetchError(f"{entry.path}: {storage} answered {said}")


def installed(package: str) -> bool:
    """Whether a package is here, without loading it."""
    try:
        return find_spec(package) is not None
    except ModuleNotFoundError:  # Of one of the packages above it.
        return False
