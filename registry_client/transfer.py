"""Bytes of files over as many connections as it takes: parallel, resumed, their URLs renewed."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, closing, contextmanager
from typing import Protocol, TypeVar

from registry_client.errors import FetchError
from registry_client.manifest import Manifest, ManifestEntry
from registry_client.version import ArtifactVersion
from registry_client.wire import StaleUrlError, TransientError, pause

_TRIES = 6  # In a row that bring nothing to speak of.
_PROGRESS = 1024 * 1024  # Bytes that are something to speak of.
_RENEWALS = 3

T = TypeVar("T")


class Answer(Protocol):
    """Bytes from ``offset`` on.

    Attributes:
        announced: Whether their end was told beforehand, so that a cut shows.
        length: Their number, if that was told beforehand.
        encoding: How they are said to be compressed, if they are.
    """

    offset: int
    announced: bool
    length: int | None
    encoding: str | None

    def chunks(self) -> Iterator[bytes]:
        """The bytes; a TransientError when the connection ends before they do."""
        ...

    def abort(self) -> None:
        """Let a thread that waits for bytes wait no longer."""


class Source(Protocol):
    """Where files come from; WandbApi is one."""

    def file_urls(self, version: ArtifactVersion) -> dict[str, str]:
        """A URL for each path, which may be used up after a while; some may be missing."""
        ...

    def file_url(self, version: ArtifactVersion, path: str) -> str | None:
        """A fresh URL for one path."""

    def file_endpoints(
        self, version: ArtifactVersion, manifest: Manifest, entry: ManifestEntry
    ) -> tuple[str, ...]:
        """Other addresses for a file, to be opened signed in."""
        ...

    def open(self, url: str, *, offset: int = 0, signed_in: bool = False) -> AbstractContextManager[Answer]:
        """The file's bytes, from ``offset`` or from the start."""
        ...


class Fetcher:
    """Fetches the files of one version; ``stop`` ends every fetch that is under way.

    A body that ends before the server's own word for its length is a fault of the transport, and is
    resumed from where it broke.  A body that is whole by that word is passed on whatever it holds:
    whether it is the right one is for ``verified`` to say, and no second try can excuse it.
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
        self._urls = source.file_urls(version) if manifest.entries else {}

    def fetch(self, entry: ManifestEntry) -> Generator[bytes, None, None]:
        """The file's bytes in order, each once.

        Raises:
            FetchError: Tries and renewals are used up; the message names the file.
        """
        got, faults, since = 0, 0, 0
        while True:
            try:
                with closing(self._connection(entry, got)) as chunks:
                    for chunk in chunks:
                        got += len(chunk)
                        yield chunk
            except TransientError as fault:  # noqa: PERF203 - each round waits for the network
                faults = 1 if got - since >= _PROGRESS else faults + 1
                since = got
                self._pause(entry, faults, fault)
            else:
                return

    def stop(self) -> None:
        """End every fetch, those included that wait for bytes or for their next try."""
        self._stopped.set()
        with self._lock:
            for answer in self._answers:
                answer.abort()

    def _connection(self, entry: ManifestEntry, got: int) -> Generator[bytes, None, None]:
        """What one connection brings of the bytes from ``got`` on."""
        with self._open(entry, got) as answer, self._stoppable(answer):
            _check_plain(answer, entry)
            here = answer.offset
            for chunk in answer.chunks():
                if self._stopped.is_set():
                    raise FetchError(f"{entry.path}: stopped")
                fresh = chunk[max(got - here, 0) :]  # The server may have begun from the start again.
                here += len(chunk)
                if fresh:
                    yield fresh
        if here < entry.size and not answer.announced:
            raise TransientError(f"got {here} bytes, want {entry.size}")

    def _open(self, entry: ManifestEntry, offset: int) -> AbstractContextManager[Answer]:
        renewals = 0
        while True:
            url = self._urls.get(entry.path)
            if url is None:
                return self._open_endpoint(entry, offset)
            try:
                return self._source.open(url, offset=offset)
            except StaleUrlError as error:
                if renewals == _RENEWALS:
                    raise FetchError(f"{entry.path}: {error}, though renewed {renewals} times") from error
                renewals += 1
                self._renew(entry)

    def _renew(self, entry: ManifestEntry) -> None:
        url = self._source.file_url(self._version, entry.path)
        if url is None:
            self._urls.pop(entry.path, None)
        else:
            self._urls[entry.path] = url

    def _open_endpoint(self, entry: ManifestEntry, offset: int) -> AbstractContextManager[Answer]:
        refusals: list[str] = []
        for url in self._source.file_endpoints(self._version, self._manifest, entry):
            try:
                return self._source.open(url, offset=offset, signed_in=True)
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


def _check_plain(answer: Answer, entry: ManifestEntry) -> None:
    """Refuse a body that was compressed on its way; one as long as the file is the file, and may be a .gz."""
    if answer.encoding is not None and answer.length != entry.size - answer.offset:
        raise FetchError(f"{entry.path}: sent as {answer.encoding}, though asked for as it is")


def in_parallel(
    work: Callable[[T], None], items: Iterable[T], *, threads: int, stop: Callable[[], None]
) -> None:
    """Do the work for all items, a few at a time; the first error stops the others and is raised."""
    waiting, lock = iter(items), threading.Lock()
    errors: list[BaseException] = []

    def drain() -> None:
        while not errors:
            with lock:
                item = next(waiting, None)
            if item is None:
                return
            try:
                work(item)
            except BaseException as error:
                errors.append(error)
                raise

    with ThreadPoolExecutor(threads, thread_name_prefix="fetch") as pool:
        try:
            wait([pool.submit(drain) for _ in range(threads)], return_when=FIRST_EXCEPTION)
        except BaseException as error:
            errors.insert(0, error)  # Ctrl-C comes here: nobody begins another file.
            raise
        finally:
            if errors:
                stop()
    if errors:
        raise errors[0]
