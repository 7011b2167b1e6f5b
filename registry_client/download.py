"""The story of a download: a version becomes a directory, every byte proven, or nothing at all."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from registry_client.digest import verified
from registry_client.errors import ConfigurationError, ReferenceEntriesError
from registry_client.files import check_target, free_bytes, whole_directory, write
from registry_client.manifest import Manifest, ManifestEntry
from registry_client.progress import Progress, Quiet, counted
from registry_client.transfer import Fetcher, Source, in_parallel
from registry_client.version import ArtifactVersion
from registry_client.wire import CONNECTIONS

_MOST_THREADS = 16
_REFERENCES_SHOWN = 10


class Registry(Source, Protocol):
    """What downloading needs of W&B; WandbApi is one."""

    def manifest(self, version: ArtifactVersion) -> bytes:
        """The manifest's JSON."""
        ...


@dataclass(frozen=True)
class Download:
    """A directory that holds exactly the version's files, each one proven."""

    directory: Path
    version: ArtifactVersion
    manifest: Manifest

    @property
    def size(self) -> int:
        """Bytes, of all files together."""
        return self.manifest.total_size

    @property
    def file_count(self) -> int:
        """How many files there are."""
        return len(self.manifest.entries)


def download(  # noqa: PLR0913 - by keyword, each with a default, but for the three of the sentence
    version: ArtifactVersion,
    into: Path,
    registry: Registry,
    *,
    concurrency: int | None = None,
    progress: Progress | None = None,
    sleep: Callable[[float], object] | None = None,
    free: Callable[[Path], int] = free_bytes,
) -> Download:
    """Fetch all files of a version into a directory that appears whole or not at all.

    Args:
        version: What ``resolve`` gave.
        into: A new name, or an empty directory.
        registry: Where to fetch from.
        concurrency: How many files at a time; None chooses by the processors here.
        progress: Is told what arrives.
        sleep: Waits between tries; None waits in a way that a failure elsewhere ends.
        free: What the disk under a directory still takes, in bytes.

    Raises:
        TargetError: The directory is in use, or its disk is full.
        ManifestError: The manifest is not the version's, or not safe to unpack.
        ReferenceEntriesError: Some files lie outside W&B.
        VerificationError: A file's bytes are not the promised ones.
        FetchError: A file could not be fetched, in spite of new tries.
    """
    threads = _threads(concurrency)
    check_target(into)
    manifest = _manifest(version, registry)
    progress = Quiet() if progress is None else progress
    with whole_directory(into, room_for=manifest.total_size, free=free) as staging:
        _fill(staging, Fetcher(registry, version, manifest, sleep=sleep), manifest, progress, threads)
    progress.finish(ok=True)
    return Download(into, version, manifest)


def _manifest(version: ArtifactVersion, registry: Registry) -> Manifest:
    manifest = Manifest.parse(registry.manifest(version))
    manifest.check(version)
    if references := manifest.references:
        shown = "".join(f"\n- {each.path}: {each.reference}" for each in references[:_REFERENCES_SHOWN])
        more = len(references) - _REFERENCES_SHOWN
        raise ReferenceEntriesError(
            f"{version.name} points at {len(references)} file(s) outside W&B, which are not fetched:{shown}"
            + (f"\n… and {more} more" if more > 0 else "")
            + "\nlog them as files, or fetch them with credentials of your own"
        )
    return manifest


def _fill(staging: Path, fetcher: Fetcher, manifest: Manifest, progress: Progress, threads: int) -> None:
    def save(entry: ManifestEntry) -> None:
        with closing(fetcher.fetch(entry)) as chunks:
            write(staging / entry.path, counted(verified(chunks, entry), progress))
        progress.file_done()

    largest_first = sorted(manifest.entries, key=lambda entry: entry.size, reverse=True)
    progress.start(len(manifest.entries), manifest.total_size)
    try:
        in_parallel(save, largest_first, threads=threads, stop=fetcher.stop)
    except BaseException:
        progress.finish(ok=False)
        raise


def _threads(wanted: int | None) -> int:
    if wanted is None:
        return min(_MOST_THREADS, 4 * (os.cpu_count() or 1))
    if not 1 <= wanted <= CONNECTIONS:
        raise ConfigurationError(f"concurrency: got {wanted}, want 1 to {CONNECTIONS}")
    return wanted
