"""Bytes of files over as many connections as it takes: parallel, resumed, their URLs renewed."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import AbstractContextManager, closing, contextmanager
from typing import Protocol, TypeVar

from registry_client.errors import FetchError, VerificationError
from registry_client.manifest import Manifest, ManifestEntry
from registry_client.parallel import read_ahead
from registry_client.patience import TransientError, pause
from registry_client.version import ArtifactVersion
from registry_client.wire import StaleUrlError

_TRIES = 6  # In a row that bring nothing to speak of.
_PROGRESS = 1024 * 1024  # Bytes that are something to speak of.
_RENEWALS = 3
_OK, _PAST_THE_END = 200, 416

T = TypeVar("T")


class RangeIgnoredError(FetchError):
    """A store sends the whole file, whatever part it is asked for."""


class Answer(Protocol):
    """Bytes from ``offset`` on.

    Attributes:
        announced: Whether their end was told beforehand, so that a cut shows.
        length: Their number, if that was told beforehand.
        total: The number of bytes in the whole file, if that was told.
        status: 206 for a part, 200 for the whole file, 416 for past its end.
        encoding: How they are said to be compressed, if they are.
        etag: What the server calls this content, quotes and all.
    """

    offset: int
    announced: bool
    length: int | None
    total: int | None
    status: int
    encoding: str | None
    etag: str | None

    def chunks(self) -> Iterator[bytes]:
        """The bytes; a TransientError when the connection ends before they do."""
        ...

    def abort(self) -> None:
        """Let a thread that waits for bytes wait no longer."""


class Source(Protocol):
    """Where files come from; WandbApi is one."""

    def url_pages(self, version: ArtifactVersion) -> Iterator[Mapping[str, str]]:
        """A URL for each path, a page at a time; they may be used up after a while, and some be missing."""
        ...

    def file_url(self, version: ArtifactVersion, path: str) -> str | None:
        """A fresh URL for one path."""

    def file_endpoints(
        self, version: ArtifactVersion, manifest: Manifest, entry: ManifestEntry
    ) -> tuple[str, ...]:
        """Other addresses for a file, to be opened signed in."""
        ...

    def open(
        self, url: str, *, offset: int = 0, length: int | None = None, signed_in: bool = False
    ) -> AbstractContextManager[Answer]:
        """The file's bytes, ``length`` of them or all that follow, from ``offset`` or from the start."""
        ...


class Fetcher:
    """Fetches the files of one version; ``stop`` ends every fetch that is under way.

    A body that ends before the server's own word for its length is a fault of the transport, and is
    resumed from where it broke.  A body that is whole by that word is passed on whatever it holds:
    whether it is the right one is for the digest to say, and no second try can excuse it.
    """

    def __init__(
        self,
        source: Source,
        version: ArtifactVersion,
        manifest: Manifest,
        *,
        sleep: Callable[[float], object] | None = None,
    ) -> None:
        self._source = source
        self._version = version
        self._manifest = manifest
        self._stopped = threading.Event()
        self._sleep = self._stopped.wait if sleep is None else sleep
        self._lock = threading.Lock()
        self._answers: set[Answer] = set()
        self._urls: dict[str, str] = {}

    def arriving(self, wanted: Mapping[str, T], size: Callable[[T], int]) -> Iterator[T]:
        """What is wanted of each path, as its URL arrives: page by page, and in a page the largest first.

        What W&B gives no URL for comes last; it has other addresses.
        """
        left = dict(wanted)
        pages = read_ahead(self._source.url_pages(self._version), self._stopped) if wanted else iter(())
        for page in pages:
            here = [left.pop(path) for path in page if path in left]
            self._urls.update({path: url for path, url in page.items() if path in wanted})
            yield from sorted(here, key=size, reverse=True)
            if not left:
                return
        yield from sorted(left.values(), key=size, reverse=True)

    def fetch(
        self, entry: ManifestEntry, start: int = 0, end: int | None = None, *, probe: bool = False
    ) -> Generator[bytes, None, None]:
        """The file's bytes in order, each once: all of them, or those from ``start`` up to ``end``.

        Args:
            entry: The file.
            start: Where to begin.
            end: Where to end; None where the file does.
            probe: Whether to raise RangeIgnoredError instead of passing over what was not asked for.

        Raises:
            VerificationError: The store has a file of another size.
            FetchError: Tries and renewals are used up; the message names the file.
        """
        got, faults, since = start, 0, start
        while True:
            try:
                with closing(self._connection(entry, got, end, probe=probe)) as chunks:
                    for chunk in chunks:
                        got += len(chunk)
                        yield chunk
            except TransientError as fault:  # noqa: PERF203 - each round waits for the network
                faults = 1 if got - since >= _PROGRESS else faults + 1
                since = got
                self._pause(entry, faults, fault)
            else:
                return

    def forget(self, entry: ManifestEntry) -> None:
        """The file is here: its URL need not be kept."""
        self._urls.pop(entry.path, None)

    @property
    def stopped(self) -> bool:
        """Whether nobody wants more."""
        return self._stopped.is_set()

    def stop(self) -> None:
        """End every fetch, those included that wait for bytes or for their next try."""
        self._stopped.set()
        with self._lock:
            for answer in self._answers:
                answer.abort()

    def _connection(
        self, entry: ManifestEntry, got: int, end: int | None, *, probe: bool
    ) -> Generator[bytes, None, None]:
        """What one connection brings of the bytes from ``got`` up to ``end``."""
        with self._open(entry, got, end) as answer, self._stoppable(answer):
            last = entry.size if end is None else end
            _check_plain(answer, entry, last)
            if end is not None:
                _check_part(answer, entry, probe=probe)
            here = answer.offset
            for chunk in answer.chunks():
                if self._stopped.is_set():
                    raise FetchError(f"{entry.path}: stopped")
                # The server may have begun from the start again, and not know where we want it to end.
                fresh = chunk[max(got - here, 0) : None if end is None else max(end - here, 0)]
                here += len(chunk)
                if fresh:
                    yield fresh
                if end is not None and here > end:
                    return
        if here < last and (end is not None or not answer.announced):
            raise TransientError(f"got {here} bytes, want {last}")

    def _open(self, entry: ManifestEntry, offset: int, end: int | None) -> AbstractContextManager[Answer]:
        renewals, length = 0, None if end is None else end - offset
        while True:
            url = self._urls.get(entry.path)
            if url is None:
                return self._open_endpoint(entry, offset, length)
            try:
                return self._opened(entry, url, offset, length)
            except StaleUrlError as error:
                if renewals == _RENEWALS:
                    raise FetchError(f"{entry.path}: {error}, though renewed {renewals} times") from error
                renewals += 1
                self._renew(entry, url)

    def _opened(
        self, entry: ManifestEntry, url: str, offset: int, length: int | None, *, signed_in: bool = False
    ) -> AbstractContextManager[Answer]:
        try:
            return self._source.open(url, offset=offset, length=length, signed_in=signed_in)
        except (StaleUrlError, TransientError):
            raise
        except FetchError as error:  # No further try: it is the last that is said of the file.
            raise type(error)(f"{entry.path}: {error}") from error

    def _renew(self, entry: ManifestEntry, stale: str) -> None:
        if self._urls.get(entry.path) != stale:
            return  # Another part of the file has done it.
        url = self._source.file_url(self._version, entry.path)
        if url is None:
            self._urls.pop(entry.path, None)
        else:
            self._urls[entry.path] = url

    def _open_endpoint(
        self, entry: ManifestEntry, offset: int, length: int | None
    ) -> AbstractContextManager[Answer]:
        refusals: list[str] = []
        for url in self._source.file_endpoints(self._version, self._manifest, entry):
            try:
                return self._opened(entry, url, offset, length, signed_in=True)
            except StaleUrlError as error:  # noqa: PERF203 - each round waits for the network
                refusals.append(str(error))
        raise FetchError(f"{entry.path}: W&B gives no URL for it; {'; '.join(refusals)}")

    def _pause(self, entry: ManifestEntry, faults: int, fault: TransientError) -> None:
        if self._stopped.is_set() or faults >= _TRIES:
            raise FetchError(f"{entry.path}: {fault} (tried {faults} times)") from fault
        try:
            seconds = pause(faults, fault)
        except FetchError as error:
            raise FetchError(f"{entry.path}: {error}") from fault
        self._sleep(seconds)
        if self._stopped.is_set():
            raise FetchError(f"{entry.path}: stopped") from fault

    @contextmanager
    def _stoppable(self, answer: Answer) -> Iterator[None]:
        with self._lock:
            self._answers.add(answer)
        try:
            if self._stopped.is_set():
                answer.abort()
            yield
        finally:
            with self._lock:
                self._answers.discard(answer)


def _check_plain(answer: Answer, entry: ManifestEntry, end: int) -> None:
    """Refuse a body that was compressed on its way; one as long as the file is the file, and may be a .gz."""
    wanted = entry.size if answer.status == _OK else end
    if answer.encoding is not None and answer.length != wanted - answer.offset:
        raise FetchError(f"{entry.path}: sent as {answer.encoding}, though asked for as it is")


def _check_part(answer: Answer, entry: ManifestEntry, *, probe: bool) -> None:
    if answer.total is not None and answer.total != entry.size:
        raise VerificationError(f"{entry.path}: got {answer.total} bytes, want {entry.size}")
    if answer.status == _PAST_THE_END:
        raise VerificationError(f"{entry.path}: got fewer than the {entry.size} bytes it should have")
    if probe and answer.status == _OK:
        raise RangeIgnoredError(f"{entry.path}: sent as a whole, though asked for a part")
