"""The story of a download: a version becomes a directory, every byte proven, or nothing at all."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from registry_client import following
from registry_client.connections import CONNECTIONS
from registry_client.errors import ConfigurationError, TargetError
from registry_client.files import Tree, check_target, free_bytes
from registry_client.filling import Cache, Filling
from registry_client.manifest import Manifest, ManifestEntry
from registry_client.origins import Held, Origins
from registry_client.outside import Outside
from registry_client.present import Present, plain_form, present, some
from registry_client.progress import Progress, Quiet
from registry_client.references import ReferencePolicy
from registry_client.selection import check_size, select
from registry_client.staging import staged
from registry_client.transfer import Fetcher, Source
from registry_client.version import ArtifactVersion

_FEWEST_THREADS, _MOST_THREADS, _THREADS_PER_CORE = 16, 64, 16
_KEY = 16


class Registry(Source, following.Registry, Protocol):
    """What downloading needs of W&B; WandbApi is one."""


@dataclass(frozen=True)
class Download:
    """A directory that holds exactly the selected files of a version, each one proven.

    Attributes:
        manifest: The entries that were selected.
        references: Those of them that lie elsewhere and were left out.
        fetched: Bytes that came over the wire.
        reused: Bytes that were here already: in the directory, in a cache, or under another name.
    """

    directory: Path
    version: ArtifactVersion
    manifest: Manifest
    references: tuple[ManifestEntry, ...] = ()
    fetched: int = 0
    reused: int = 0

    @property
    def present(self) -> Manifest:
        """The manifest of what is there, without what was left out."""
        left_out = {entry.path for entry in self.references}
        entries = tuple(entry for entry in self.manifest.entries if entry.path not in left_out)
        return dataclasses.replace(self.manifest, entries=entries)

    @property
    def size(self) -> int:
        """Bytes, of all files together."""
        return self.manifest.total_size - sum(entry.size for entry in self.references)

    @property
    def file_count(self) -> int:
        """How many files there are."""
        return len(self.manifest.entries) - len(self.references)


def download(  # noqa: PLR0913 - by keyword, each with a default, but for the three of the sentence
    version: ArtifactVersion,
    into: Path,
    registry: Registry,
    *,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    references: ReferencePolicy = ReferencePolicy.FAIL,
    cache: Cache | None = None,
    max_size: int | None = None,
    replace: bool = False,
    concurrency: int | None = None,
    progress: Progress | None = None,
    sleep: Callable[[float], object] | None = None,
    free: Callable[[Path], int] = free_bytes,
) -> Download:
    """Have the files of a version in a directory that appears whole or not at all.

    What is there with the right bytes is kept, what an interrupted call has fetched is used, the cache is
    asked, and the rest is fetched; nothing of it is believed without its digest.

    Args:
        version: What ``resolve`` gave.
        into: A new name, an empty directory, or one that holds files of this version.
        registry: Where to fetch from.
        include: Globs of the files to have; all, without any.
        exclude: Globs of files to leave out.
        references: What to do about files that lie outside W&B.
        cache: Files of earlier downloads.
        max_size: How many bytes the files may have together.
        replace: Whether a directory that holds anything else is replaced.
        concurrency: How many connections at a time; None chooses by the processors here.
        progress: Is told what arrives.
        sleep: Waits between tries; None waits in a way that a failure elsewhere ends.
        free: What the disk under a directory still takes, in bytes.

    Raises:
        TargetError: The directory holds something else, or cannot be written.
        DiskFullError: Its disk takes fewer bytes than are missing.
        TooLargeError: The files have more than ``max_size`` bytes.
        ManifestError: The manifest is not the version's, or not safe to unpack.
        ReferenceEntriesError: Some files lie outside W&B.
        VerificationError: A file's bytes are not the promised ones.
        FetchError: A file could not be fetched, in spite of new tries.
    """
    threads = _threads(concurrency)
    check_target(into)
    manifest = select(_manifest(version, registry), include, exclude)
    found = following.find_origins(version, manifest, references, registry)
    check_size(found.size, max_size)
    outside = Outside(registry, version, limit=max_size, sleep=sleep) if found.outside else None
    if outside is not None:
        outside.check(found.outside)
    call = _Call(version, manifest, found, into, outside)
    progress = Quiet() if progress is None else progress
    progress.start(found.file_count, found.size)
    try:
        fetched = _have(
            call,
            lambda version, manifest: Fetcher(registry, version, manifest, sleep=sleep),
            cache=cache,
            replace=replace,
            progress=progress,
            threads=threads,
            max_size=max_size,
            free=free,
        )
    except BaseException:
        progress.finish(ok=False)
        raise
    progress.finish(ok=True)
    return Download(into, version, manifest, found.listed, fetched, max(found.size - fetched, 0))


@dataclass(frozen=True)
class _Call:
    version: ArtifactVersion
    manifest: Manifest
    origins: Origins
    into: Path
    outside: Outside | None

    @property
    def key(self) -> str:
        """What names this content, so that the next try finds what this one leaves."""
        return self.manifest.digest(self.version.digest_algorithm)[:_KEY]


def _have(  # noqa: PLR0913 - by keyword
    call: _Call,
    fetcher: Callable[[ArtifactVersion, Manifest], Fetcher],
    *,
    cache: Cache | None,
    replace: bool,
    progress: Progress,
    threads: int,
    max_size: int | None,
    free: Callable[[Path], int],
) -> int:
    """Have the directory; how many bytes came over the wire for it."""
    wanted, elsewhere = call.origins.held(call.version), call.origins.outside
    there = _there(call.into, wanted, elsewhere, threads)
    if there is not None:
        if not replace:
            _check_ours(call.into, there)
        if not (there.wrong or there.strange or elsewhere) and len(there.right) == len(wanted) and wanted:
            for each in wanted:
                progress.advance(each.entry.size)
                progress.file_done()
            return 0
    with staged(call.into, call.key) as staging:
        filling = Filling(
            staging,
            wanted,
            fetcher=fetcher,
            progress=progress,
            cache=cache,
            threads=threads,
            max_size=max_size,
        )
        filling.keep(call.into, there)
        filling.check_room(call.into.absolute().parent, sum(entry.size for entry in elsewhere), free)
        filling.take()
        filling.fetch(call.outside, elsewhere)
        filling.check(elsewhere)
        staging.put_in_place(same=lambda: _names(call.into) == (there.names if there else set()))
    if cache is not None:
        cache.trim()
    return filling.fetched


def _there(
    into: Path, wanted: Sequence[Held], elsewhere: Sequence[ManifestEntry], threads: int
) -> Present | None:
    """What the directory holds of the wanted files; None if there is nothing at all."""
    if not _names(into):
        return None
    with Tree(into) as tree:
        found = present(tree, {each.path: each.here for each in wanted}, threads=threads)
    fetched_anew = {plain_form(entry.path) for entry in elsewhere}  # Nobody can prove those here.
    found.strange = [name for name in found.strange if plain_form(name) not in fetched_anew]
    return found


def _check_ours(into: Path, there: Present) -> None:
    if there.strange:
        raise TargetError(
            f"{into} is not empty: it has {some(there.strange)}, which this version has not; "
            "name another directory, or empty it, or say --replace to have it replaced"
        )
    if there.wrong:
        raise TargetError(
            f"{into} is not empty: it has other bytes in {some(there.wrong)} than this version; "
            "name another directory, or empty it, or say --replace to have it replaced"
        )


def _names(into: Path) -> set[str]:
    if not os.path.lexists(into):
        return set()
    with Tree(into) as tree:
        return set(tree.names())


def _manifest(version: ArtifactVersion, registry: Registry) -> Manifest:
    manifest = Manifest.parse(registry.manifest(version))
    manifest.check(version)
    return manifest


def _threads(wanted: int | None) -> int:
    if wanted is None:
        return min(_MOST_THREADS, max(_FEWEST_THREADS, _THREADS_PER_CORE * (os.cpu_count() or 1)))
    if not 1 <= wanted <= CONNECTIONS:
        raise ConfigurationError(f"concurrency: got {wanted}, want 1 to {CONNECTIONS}")
    return wanted
