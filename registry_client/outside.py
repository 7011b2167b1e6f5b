"""Files that lie outside W&B, from where they lie, each checked by what the artifact knows of it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager

from registry_client import references
from registry_client.az_files import AzFiles
from registry_client.errors import FetchError, TooLargeError, VerificationError
from registry_client.gs_files import GsFiles
from registry_client.https_files import HttpsFiles, Opener
from registry_client.manifest import ManifestEntry
from registry_client.patience import TransientError, pause
from registry_client.s3_files import S3Files
from registry_client.stored import Proof, Storage, Stored
from registry_client.version import ArtifactVersion

_TRIES = 6  # In a row that bring nothing.
_AT_A_TIME = 8  # The SDKs keep megabytes of each in memory.


class Outside:
    """Fetches what a version points at over https, and in s3, gs and az where the matching SDK is installed.

    Args:
        source: Opens https addresses, never signed in.
        version: Which version points there, for messages.
        limit: How many bytes a file without a known size may have.
        sleep: Waits between tries; None waits in a way that ``stop`` ends.
        storages: By kind, in place of the real ones.
    """

    def __init__(
        self,
        source: Opener,
        version: ArtifactVersion,
        *,
        limit: int | None = None,
        sleep: Callable[[float], object] | None = None,
        storages: Mapping[str, Storage] | None = None,
    ) -> None:
        self._storages = _real(source) if storages is None else storages
        self._version = version
        self._limit = limit
        self._stopped = threading.Event()
        self._sleep = self._stopped.wait if sleep is None else sleep
        self._turns = threading.BoundedSemaphore(_AT_A_TIME)
        self._lock = threading.Lock()
        self._aborts: dict[int, Callable[[], object]] = {}

    def check(self, entries: Sequence[ManifestEntry]) -> None:
        """Check that each could be fetched, before anything is, or raise ReferenceEntriesError."""
        lacks = [(entry, self._lacks(entry)) for entry in entries]
        problems = [
            f"{entry.path}: {references.shown(entry)}: {lack}" for entry, lack in lacks if lack is not None
        ]
        if problems:
            raise references.refused(self._version, problems)

    def fetch(self, entry: ManifestEntry) -> Generator[bytes, None, None]:
        """The file's bytes in order; they are what the artifact means only if this ends without an error.

        Raises:
            VerificationError: The storage has other bytes there now.
            ReferenceEntriesError: It does not give them to us.
            TooLargeError: There are more than allowed.
            FetchError: It could not be fetched, in spite of new tries.
        """
        self.check([entry])
        with self._turns:
            yield from self._fetch(entry)

    def stop(self) -> None:
        """End every fetch."""
        self._stopped.set()
        with self._lock:
            for abort in self._aborts.values():
                abort()

    def _fetch(self, entry: ManifestEntry) -> Iterator[bytes]:
        whole, faults = _Whole(entry, self._limit), 0
        while True:
            before = whole.seen
            try:
                with self._storages[references.kind(entry)].open(entry, before) as stored:
                    yield from self._rest(stored, whole)
            except TransientError as fault:
                faults = 1 if whole.seen > before else faults + 1
                self._pause(entry, faults, fault)
            else:
                whole.check()
                return

    def _lacks(self, entry: ManifestEntry) -> str | None:
        if not references.pinned(entry):
            return "the artifact holds no checksum of it, so nothing could be proven"
        storage = self._storages.get(references.kind(entry))
        return "we cannot fetch this kind" if storage is None else storage.lacks(entry)

    def _rest(self, stored: Stored, whole: _Whole) -> Iterator[bytes]:
        """What is not here yet; the storage may have begun from the start again."""
        whole.promise(stored)
        here = stored.offset
        with self._stoppable(stored):
            for chunk in stored.chunks:
                if self._stopped.is_set():
                    raise FetchError(f"{whole.entry.path}: stopped")
                fresh = chunk[max(whole.seen - here, 0) :]
                here += len(chunk)
                if fresh:
                    whole.take(fresh)
                    yield fresh
        whole.check_end()

    def _pause(self, entry: ManifestEntry, faults: int, fault: TransientError) -> None:
        if self._stopped.is_set() or faults >= _TRIES:
            raise FetchError(f"{entry.path}: {fault} (tried {faults} times)") from fault
        self._sleep(pause(faults, fault))

    @contextmanager
    def _stoppable(self, stored: Stored) -> Iterator[None]:
        with self._lock:
            self._aborts[id(stored)] = stored.abort
        try:
            if self._stopped.is_set():
                stored.abort()
            yield
        finally:
            with self._lock:
                del self._aborts[id(stored)]


def _real(source: Opener) -> Mapping[str, Storage]:
    web = HttpsFiles(source)
    return {"https": web, "http": web, "s3": S3Files(), "gs": GsFiles(), "az": AzFiles()}


class _Whole:
    """A file that is put together from one answer, or from several."""

    def __init__(self, entry: ManifestEntry, limit: int | None) -> None:
        self.entry = entry
        self.seen = 0
        self._size = entry.size or None  # Of a reference 0 may mean that nobody knew.
        self._limit = limit
        self._ends = True
        self._proof: Proof | None = None
        self._first = True

    def promise(self, stored: Stored) -> None:
        """Hear what an answer says of the whole."""
        if self._size is not None and stored.size is not None and stored.size != self._size:
            raise VerificationError(
                f"{self.entry.path}: its storage has {stored.size} bytes there now, want {self._size}"
            )
        self._size = self._size if stored.size is None else stored.size
        self._ends = stored.ends
        if self._first and stored.proof is not None:
            self._proof, self._hashing = stored.proof, stored.proof.digester()
        self._first = False

    def take(self, fresh: bytes) -> None:
        """Take in more bytes, before they are passed on."""
        self.seen += len(fresh)
        if self._size is not None and self.seen > self._size:
            raise VerificationError(f"{self.entry.path}: got more than the {self._size} bytes it should have")
        if self._limit is not None and self.seen > self._limit:
            raise TooLargeError(
                f"{self.entry.path}: it alone has more than the {self._limit:,} bytes allowed"
            )
        if self._proof is not None:
            self._hashing.update(fresh)

    def check_end(self) -> None:
        """Check that an answer which ended was whole, or raise TransientError."""
        if self._size is not None and self.seen < self._size:
            raise TransientError(f"got {self.seen} bytes, want {self._size}")

    def check(self) -> None:
        """Check the whole file."""
        if self._size is None and not self._ends:
            raise VerificationError(f"{self.entry.path}: nobody says how long it is, so it may be cut short")
        if self._proof is not None and self._hashing.digest() != self._proof.want:
            raise VerificationError(f"{self.entry.path}: its bytes do not have the {self._proof.name} of it")
