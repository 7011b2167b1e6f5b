"""The story of one file of a version: found, proven, handed on."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from contextlib import closing
from dataclasses import replace

from registry_client.digest import verified
from registry_client.download import Registry
from registry_client.errors import ArtifactNotFoundError, RegistryError
from registry_client.following import find_origins
from registry_client.manifest import Manifest, ManifestEntry
from registry_client.outside import Outside
from registry_client.references import ReferencePolicy
from registry_client.transfer import Fetcher
from registry_client.version import ArtifactVersion

_HELD = 8 * 1024 * 1024
_SHOWN = 3


def send(
    version: ArtifactVersion,
    path: str,
    registry: Registry,
    write: Callable[[bytes], object],
    *,
    sleep: Callable[[float], object] | None = None,
) -> None:
    """Write one file of a version; up to 8 MiB not a byte of it before all are proven.

    A larger one is written while it arrives, and proven at its end: if this raises, what was written is
    not the file.  One that the artifact only points at is fetched from there.

    Raises:
        ArtifactNotFoundError: The version has no such file.
        ManifestError: The manifest is not the version's.
        ReferenceEntriesError: It lies where we cannot fetch it.
        VerificationError: The bytes are not the promised ones.
        FetchError: It could not be fetched, in spite of new tries.
    """
    manifest = Manifest.parse(registry.manifest(version))
    manifest.check(version)
    alone = replace(manifest, entries=(_found(version, manifest, path),))
    written = 0

    def told(data: bytes) -> None:
        nonlocal written
        write(data)
        written += len(data)

    try:
        with closing(_proven(version, alone, registry, sleep)) as chunks:
            _send(chunks, told)
    except RegistryError as error:
        if written:
            raise type(error)(f"{error}; the {written:,} bytes that were written are not the file") from error
        raise


def _found(version: ArtifactVersion, manifest: Manifest, path: str) -> ManifestEntry:
    for entry in manifest.entries:
        if entry.path == path:
            return entry
    there = ", ".join(repr(entry.path) for entry in manifest.entries[:_SHOWN])
    raise ArtifactNotFoundError(
        f"{version.name} has no file {path!r}; it has {len(manifest.entries):,}"
        + (f", such as {there}" if there else "")
    )


def _proven(
    version: ArtifactVersion,
    alone: Manifest,
    registry: Registry,
    sleep: Callable[[float], object] | None,
) -> Generator[bytes, None, None]:
    """The file's bytes, which are right only if this ends without an error."""
    found = find_origins(version, alone, ReferencePolicy.FETCH, registry)
    for entry in found.outside:
        yield from Outside(registry, version, sleep=sleep).fetch(entry)
    for each in found.held(version):
        fetcher = Fetcher(registry, each.version, each.manifest, sleep=sleep)
        for entry in fetcher.arriving({each.entry.path: each.entry}, lambda entry: entry.size):
            yield from verified(fetcher.fetch(entry), entry)


def _send(chunks: Iterable[bytes], write: Callable[[bytes], object]) -> None:
    held, size = list[bytes](), 0
    for chunk in chunks:
        held.append(chunk)
        size += len(chunk)
        if size > _HELD:
            write(b"".join(held))
            held.clear()
    write(b"".join(held))
