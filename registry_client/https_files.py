"""Files at https addresses: they are what the artifact means as long as their ETag is the same."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol
from urllib.parse import urlsplit

from registry_client.base_url import is_loopback
from registry_client.errors import FetchError, ReferenceEntriesError, VerificationError
from registry_client.manifest import ManifestEntry
from registry_client.stored import Stored, changed
from registry_client.wire import StaleUrlError


class Answer(Protocol):
    """Bytes from ``offset`` on; wire.Body is one."""

    offset: int
    announced: bool
    length: int | None
    total: int | None
    encoding: str | None
    etag: str | None

    def chunks(self) -> Iterator[bytes]:
        """The bytes."""
        ...

    def abort(self) -> None:
        """Let a thread that waits for bytes wait no longer."""


class Opener(Protocol):
    """Gets an address without showing it any key; WandbApi is one."""

    def open(self, url: str, *, offset: int = 0) -> AbstractContextManager[Answer]:
        """What is there, from ``offset`` or from the start."""
        ...


class HttpsFiles:
    """What lies at https addresses, in the clear only on this machine."""

    def __init__(self, opener: Opener) -> None:
        self._opener = opener

    def lacks(self, entry: ManifestEntry) -> str | None:
        """Refuse what would come in the clear, or with a password."""
        try:
            parts = urlsplit(entry.reference or "")
            host = parts.hostname or ""
        except ValueError:
            host = ""
        if not host:
            return "it has no host"
        if parts.username is not None:
            return "its address holds a user's name, and we sign in nowhere but at W&B"
        return (
            None if parts.scheme == "https" or is_loopback(host) else "it would come in the clear, want https"
        )

    @contextmanager
    def open(self, entry: ManifestEntry, offset: int) -> Iterator[Stored]:
        """The file's bytes, if the server's ETag is the one that was logged."""
        try:
            opened = self._opener.open(entry.reference or "", offset=offset)
        except StaleUrlError as error:
            raise ReferenceEntriesError(
                f"{entry.path}: {error}: it is there no more, or not for everybody; "
                "references: list leaves it out and writes it to a file"
            ) from error
        with opened as answer:
            if _tag(answer.etag or "") != _tag(entry.digest):
                got = f"the ETag {answer.etag}" if answer.etag else "no ETag"
                raise VerificationError(changed(entry, got))
            if answer.encoding is not None and answer.length != entry.size - answer.offset:
                raise FetchError(f"{entry.path}: sent as {answer.encoding}, though asked for as it is")
            yield Stored(
                answer.chunks(), answer.offset, answer.total, ends=answer.announced, abort=answer.abort
            )


def _tag(etag: str) -> str:
    """What is between the quotes.

    Who logged it may have asked for it compressed, and been told a weak one: ``W/"x"`` for the ``"x"`` that
    we are told.
    """
    return etag.strip().removeprefix("W/").strip('"')
