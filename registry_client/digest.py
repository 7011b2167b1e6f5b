"""Bytes against what a manifest promises of them: pure, and not to be skipped."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Iterator
from typing import Protocol

from registry_client.errors import VerificationError
from registry_client.version import DigestAlgorithm
from registry_client.xxh128 import Xxh128


class Digester(Protocol):
    """Takes bytes in pieces, gives their digest."""

    def update(self, data: bytes, /) -> None:
        """Take in more bytes."""

    def digest(self) -> bytes:
        """The digest of all bytes so far."""
        ...


class Promise(Protocol):
    """What is promised of a file; a ManifestEntry is one."""

    @property
    def path(self) -> str: ...  # noqa: D102 - the attributes of ManifestEntry
    @property
    def digest(self) -> str: ...  # noqa: D102
    @property
    def size(self) -> int: ...  # noqa: D102
    @property
    def algorithm(self) -> DigestAlgorithm: ...  # noqa: D102


def digester(algorithm: DigestAlgorithm) -> Digester:
    """A fresh digester of this algorithm."""
    if algorithm is DigestAlgorithm.XXH128:
        return Xxh128()
    return hashlib.md5(usedforsecurity=False)  # W&B's choice: it shows damage, not a forger.


def verified(chunks: Iterable[bytes], entry: Promise) -> Iterator[bytes]:
    """Pass the bytes on while counting and hashing them.

    What was passed on is proven only when the iterator ends without an error.

    Raises:
        VerificationError: Too many bytes (at the first one, which is not passed on), too few, or others.
    """
    seen, hashing = 0, digester(entry.algorithm)
    for chunk in chunks:
        seen += len(chunk)
        if seen > entry.size:
            raise VerificationError(f"{entry.path}: got more than the {entry.size} bytes it should have")
        hashing.update(chunk)
        yield chunk
    if seen < entry.size:
        raise VerificationError(f"{entry.path}: got {seen} bytes, want {entry.size}")
    got = base64.b64encode(hashing.digest()).decode("ascii")
    if got != entry.digest:
        raise VerificationError(f"{entry.path}: got {entry.algorithm.name} {got}, want {entry.digest}")
