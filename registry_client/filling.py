"""The story of filling a directory: each file as cheaply as it can be had, each one proven."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial as bound
from pathlib import Path
from typing import Protocol

from registry_client.assembly import Assembly
from registry_client.digest import Promise, verified
from registry_client.errors import DiskFullError, FetchError, TargetError
from registry_client.files import Tree
from registry_client.lanes import Lanes, Task
from registry_client.manifest import Manifest, ManifestEntry
from registry_client.origins import Held
from registry_client.parallel import in_parallel
from registry_client.partial import Partial, name_of
from registry_client.parts import PART
from registry_client.present import Present, plain_form, present, some
from registry_client.progress import Progress
from registry_client.selection import check_size
from registry_client.staging import Staging
from registry_client.transfer import Fetcher
from registry_client.version import ArtifactVersion

_SMALL = 256 * 1024  # Files up to this size are held in memory until they are proven.
_LARGE_AT_A_TIME = 8  # Connections for parts of large files.


class Cache(Protocol):
    """Files of earlier downloads, by their digests."""

    def take(self, entry: Promise, into: Path, *, advance: Callable[[int], object]) -> bool:
        """Make the new file ``into``, proven; False and no file if it is not here; ``advance`` may end it."""
        ...

    def add(self, entry: Promise, file: Path, *, keep_free: int) -> None:
        """Keep a proven file for others, if that can be done and the disk takes so many more bytes then."""

    def trim(self) -> None:
        """Keep its limit."""


class Outside(Protocol):
    """Files that lie elsewhere."""

    def fetch(self, entry: ManifestEntry) -> Generator[bytes, None, None]:
        """The bytes in order; right only if this ends without an error."""
        ...

    def stop(self) -> None:
        """End every fetch."""


@dataclass
class Content:
    """Bytes to have once, though perhaps under several names."""

    first: Held
    paths: list[str] = field(default_factory=list)

    @property
    def size(self) -> int:
        """How many."""
        return self.first.entry.size


class Filling:
    """Fills a staging with wanted files.

    Attributes:
        fetched: Bytes that came over the wire.
    """

    def __init__(  # noqa: PLR0913 - by keyword, but for the two of the sentence
        self,
        staging: Staging,
        wanted: Sequence[Held],
        *,
        fetcher: Callable[[ArtifactVersion, Manifest], Fetcher],
        progress: Progress,
        cache: Cache | None,
        threads: int,
        max_size: int | None,
    ) -> None:
        self.fetched = 0
        self._staging = staging
        self._wanted = {each.path: each for each in wanted}
        self._fetcher = fetcher
        self._progress = progress
        self._cache = cache
        self._threads = threads
        self._max_size = max_size
        self._size = sum(each.entry.size for each in wanted)  # And what comes from outside.
        self._lock = threading.Lock()
        self._contents: dict[str, Content] = {}
        self._partials: list[Partial] = []
        self._missing = 0
        self._stopped = threading.Event()

    def keep(self, target: Path, there: Present | None) -> None:
        """Have what an interrupted try has left, and what the target holds."""
        promises = {path: each.here for path, each in self._wanted.items()}
        left = present(self._staging.content, promises, threads=self._threads, proven=self._tell)
        for path in (*left.wrong, *left.strange):
            self._staging.content.remove(path)
        self._staging.content.remove_empty()
        here = set(left.right)
        if there is not None:
            with Tree(target) as tree:
                for path in there.right.keys() - here:
                    if self._staging.content.link_in(tree, path, there.right[path]):
                        here.add(path)
                        self._tell(promises[path])
        self._sort(here)

    def check_room(self, beside: Path, outside: int, free: Callable[[Path], int]) -> None:
        """Check that the disk takes what is still missing, or raise DiskFullError with both numbers."""
        here = sum(self._begun(each.first.entry) for each in self._contents.values())
        missing = sum(each.size * len(each.paths) for each in self._contents.values()) + outside - here
        self._missing = missing
        available = free(beside)
        if available < missing:
            raise DiskFullError(
                f"the disk of {beside} takes {available:,} more bytes, want {missing:,}: "
                "free some, or name a directory on another disk"
            )

    def take(self) -> None:
        """Have what the cache holds, and what needs no bytes at all."""
        if self._cache is not None or any(not each.size for each in self._contents.values()):
            contents = list(self._contents.values())
            in_parallel(self._take, contents, threads=self._threads, stop=self._stopped.set)

    def fetch(self, outside: Outside | None, elsewhere: Sequence[ManifestEntry]) -> None:
        """Fetch the rest; URLs are asked for only if there is any."""
        fetchers = self._fetchers()

        def stop() -> None:
            for fetcher, _ in fetchers:
                fetcher.stop()
            if outside is not None:
                outside.stop()

        def tasks() -> Iterator[Task | Iterator[Task]]:
            for fetcher, contents in fetchers:
                yield from self._tasks(fetcher, contents)
            if outside is not None:
                yield from (bound(self._fetch_outside, outside, entry) for entry in elsewhere)

        try:
            if fetchers or elsewhere:
                lanes = Lanes(tasks(), most=_LARGE_AT_A_TIME)
                in_parallel(lambda task: task(), lanes, threads=self._threads, stop=stop)
        finally:
            for partial in self._partials:
                partial.close()

    def check(self, elsewhere: Sequence[ManifestEntry]) -> None:
        """Check that nothing else lies there than what was put there, or raise TargetError."""
        wanted = {plain_form(path) for path in (*self._wanted, *(entry.path for entry in elsewhere))}
        there = {plain_form(name) for name in self._staging.content.names()}
        if wanted != there:
            raise TargetError(
                f"{self._staging.content.root} was changed by somebody else: see {some(wanted ^ there)}"
            )

    # --- what is missing

    def _sort(self, here: set[str]) -> None:
        """Sort what is missing by content, as it is to be had once; copy what is here under another name."""
        proven = {name_of(self._wanted[path].entry): path for path in here}
        for path, each in self._wanted.items():
            name = name_of(each.entry)
            if path in here:
                continue
            if name in proven:
                self._staging.content.copy(proven[name], path)
                self._tell(each.entry)
            else:
                self._contents.setdefault(name, Content(each)).paths.append(path)

    def _begun(self, entry: ManifestEntry) -> int:
        """How many bytes of a file an interrupted try has left."""
        if entry.size <= _SMALL or not self._staging.partial.has(name_of(entry)):
            return 0
        partial = Partial(self._staging.partial, entry)
        try:
            return partial.size
        finally:
            partial.close()

    def _take(self, content: Content) -> None:
        entry = content.first.here
        if entry.size and not self._taken(entry, content.paths[0]):
            return
        if entry.size:
            self._tell(entry)
            self._copy(content)
        else:
            for _ in verified((), entry):
                pass
            self._put(content, b"")
        with self._lock:
            del self._contents[name_of(entry)]

    def _taken(self, entry: ManifestEntry, path: str) -> bool:
        """Whether the cache had it."""
        if self._cache is None:
            return False
        name = f"{name_of(entry)}.cached"
        self._staging.partial.remove(name)
        taken = self._cache.take(entry, self._staging.partial.root / name, advance=self._go_on)
        if taken:
            self._staging.content.move_in(self._staging.partial, name, path)
        return taken

    def _go_on(self, _size: int) -> None:
        """A large file is no reason to let Ctrl-C wait."""
        if self._stopped.is_set():
            raise FetchError("stopped")

    # --- over the wire

    def _fetchers(self) -> list[tuple[Fetcher, Mapping[str, Content]]]:
        """One for each version that holds something, with what it holds."""
        holders: dict[str, tuple[Fetcher, dict[str, Content]]] = {}
        for content in self._contents.values():
            first = content.first
            if first.version.id not in holders:
                holders[first.version.id] = self._fetcher(first.version, first.manifest), {}
            holders[first.version.id][1][first.entry.path] = content
        return list(holders.values())

    def _tasks(self, fetcher: Fetcher, contents: Mapping[str, Content]) -> Iterator[Task | Iterator[Task]]:
        for content in fetcher.arriving(contents, lambda each: each.size):
            if content.size <= _SMALL:
                yield bound(self._fetch_small, fetcher, content)
            elif content.size < 2 * PART:
                yield bound(self._fetch_medium, fetcher, content)
            else:
                yield self._fetch_large(fetcher, content)

    def _fetch_small(self, fetcher: Fetcher, content: Content) -> None:
        entry = content.first.entry
        with closing(fetcher.fetch(entry)) as chunks:
            data = b"".join(verified(chunks, entry))
        fetcher.forget(entry)
        self._arrived(len(data))
        self._put(content, data)
        self._add(content)

    def _fetch_medium(self, fetcher: Fetcher, content: Content) -> None:
        for task in self._assembly(fetcher, content).tasks():
            task()

    def _fetch_large(self, fetcher: Fetcher, content: Content) -> Iterator[Task]:
        yield from self._assembly(fetcher, content).tasks()  # The file is opened when its turn comes.

    def _assembly(self, fetcher: Fetcher, content: Content) -> Assembly:
        entry = content.first.entry
        partial = Partial(self._staging.partial, entry)
        self._partials.append(partial)
        self._progress.advance(partial.size)

        def proven() -> None:
            partial.move(self._staging.content, content.paths[0])
            fetcher.forget(entry)
            self._progress.file_done()
            self._copy(content)
            self._add(content)

        return Assembly(fetcher, entry, partial, arrived=self._arrived, proven=proven)

    def _fetch_outside(self, outside: Outside, entry: ManifestEntry) -> None:
        """Nobody can prove it again later: it begins anew each time, and gets its place when it is whole."""
        name = f"outside-{threading.get_ident()}"
        self._staging.partial.remove(name)
        with self._staging.partial.writing(name) as write, closing(outside.fetch(entry)) as chunks:
            for chunk in chunks:
                self._check_size(len(chunk))
                write(chunk)
                self._arrived(len(chunk))
        self._staging.content.move_in(self._staging.partial, name, entry.path)
        self._progress.file_done()

    def _check_size(self, more: int) -> None:
        """Nobody may have known the size of a file outside."""
        with self._lock:
            self._size += more
        check_size(self._size, self._max_size)

    # --- what is proven

    def _put(self, content: Content, data: bytes) -> None:
        for number, path in enumerate(content.paths):
            self._staging.content.create(path, data)
            if number:
                self._progress.advance(len(data))
            self._progress.file_done()

    def _copy(self, content: Content) -> None:
        for path in content.paths[1:]:
            self._staging.content.copy(content.paths[0], path)
            self._tell(content.first.entry)

    def _add(self, content: Content) -> None:
        if self._cache is not None:
            file = self._staging.content.root / content.paths[0]
            self._cache.add(content.first.entry, file, keep_free=max(self._missing - self.fetched, 0))

    def _tell(self, entry: Promise) -> None:
        self._progress.advance(entry.size)
        self._progress.file_done()

    def _arrived(self, size: int) -> None:
        with self._lock:
            self.fetched += size
        self._progress.advance(size)
