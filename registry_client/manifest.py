"""The files of a version, their sizes and digests: read from W&B's manifest, valid once built."""

from __future__ import annotations

import base64
import binascii
import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from registry_client.digest import digester
from registry_client.errors import ManifestError
from registry_client.safe_paths import collisions, unsafe
from registry_client.version import ArtifactVersion, DigestAlgorithm

_POLICY = "wandb-storage-policy-v1"
_LAYOUTS = ("V1", "V2")
_ALGORITHMS = {None: DigestAlgorithm.MD5, "MD5": DigestAlgorithm.MD5, "XXH128": DigestAlgorithm.XXH128}
_DIGEST_BYTES = 16  # MD5 and XXH128 alike.
LARGEST_BODY = 256 * 1024 * 1024  # Bytes of JSON: twenty times what 100,000 files need.
_MOST_ENTRIES = 1_000_000
_LARGEST_SIZE = 2**63 - 1  # What a file system can count to.
_PROBLEMS_SHOWN, _PROBLEM_SHOWN = 20, 500


@dataclass(frozen=True, slots=True)
class ManifestEntry:
    """One file, or a reference to one outside W&B.

    Attributes:
        path: Relative, POSIX, safe to join to a directory on this machine.
        digest: Base64; of a reference whatever its storage calls the content, perhaps an ETag.
        reference: Where the content lies, for a reference; else None.
        version_id: Of a reference, its storage's own name for these bytes, where it keeps several.
    """

    path: str
    digest: str
    size: int
    algorithm: DigestAlgorithm
    birth_artifact_id: str | None
    reference: str | None
    version_id: str | None = None


@dataclass(frozen=True)
class Manifest:
    """All entries of one version, sorted by path."""

    entries: tuple[ManifestEntry, ...]
    storage_layout: str
    storage_region: str

    @classmethod
    def parse(cls, body: bytes, *, windows: bool = os.name == "nt") -> Manifest:
        """Read W&B's manifest, version 1; unknown keys are passed over.

        Args:
            body: The JSON as W&B stores it.
            windows: Whether to refuse the characters that Windows keeps for itself, too.

        Raises:
            ManifestError: It is malformed, unsafe or of an unknown kind; all problems are named.
        """
        problems = _Problems()
        manifest = _read(_json(body, problems), problems, windows=windows)
        problems.check()
        return manifest

    @property
    def files(self) -> tuple[ManifestEntry, ...]:
        """The entries that W&B stores itself."""
        return tuple(entry for entry in self.entries if entry.reference is None)

    @property
    def references(self) -> tuple[ManifestEntry, ...]:
        """The entries that lie elsewhere."""
        return tuple(entry for entry in self.entries if entry.reference is not None)

    @property
    def total_size(self) -> int:
        """Bytes, of all entries together."""
        return sum(entry.size for entry in self.entries)

    def digest(self, algorithm: DigestAlgorithm) -> str:
        """The artifact's digest, hex: over every path and every entry's digest."""
        hashing = digester(algorithm)
        hashing.update(b"wandb-artifact-manifest-v1\n")
        for entry in sorted(self.entries, key=lambda entry: entry.path):
            hashing.update(f"{entry.path}:{entry.digest}\n".encode())
        return hashing.digest().hex()

    def check(self, version: ArtifactVersion) -> None:
        """Check that this is the manifest of that version.

        Raises:
            ManifestError: Digest, total size or number of files is another.
        """
        got = self.digest(version.digest_algorithm)
        problems = [] if got == version.digest.lower() else [f"digest: got {got}, want {version.digest}"]
        if not self.references:  # W&B does not say what a reference counts.
            if self.total_size != version.size:
                problems.append(f"size: got {self.total_size} bytes, want {version.size}")
            if 0 < version.file_count != len(self.entries):
                problems.append(f"files: got {len(self.entries)}, want {version.file_count}")
        if problems:
            raise ManifestError(f"the manifest is not that of {version.name}: " + "; ".join(problems))


class _Problems:
    """Counts what is wrong, and keeps as much of it as a person reads."""

    def __init__(self) -> None:
        self._shown: list[str] = []
        self._count = 0

    def add(self, *problems: str) -> None:
        self._count += len(problems)
        for problem in problems[: _PROBLEMS_SHOWN - len(self._shown)]:
            self._shown.append(problem[:_PROBLEM_SHOWN])

    def check(self) -> None:
        if self._count:
            more = self._count - len(self._shown)
            lines = "".join(f"\n- {problem}" for problem in self._shown)
            rest = f"\n… and {more} more" if more else ""
            raise ManifestError(f"the manifest has {self._count} problem(s):{lines}{rest}")


def _json(body: bytes, problems: _Problems) -> Any:
    if len(body) > LARGEST_BODY:
        raise ManifestError(f"the manifest has {len(body):,} bytes, more than the {LARGEST_BODY:,} we read")

    def unique(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):  # The reader behind us might take the other one.
            twice = [key for key, count in Counter(key for key, _ in pairs).items() if count > 1]
            problems.add(*(f"the key {key!r} comes twice" for key in twice))
        return found

    try:
        return json.loads(body.decode("utf-8"), object_pairs_hook=unique)
    except (ValueError, RecursionError) as error:
        raise ManifestError(f"the manifest is not JSON: {str(error)[:_PROBLEM_SHOWN]}") from error


def _read(data: Any, problems: _Problems, *, windows: bool) -> Manifest:
    if not isinstance(data, dict):
        raise ManifestError(f"the manifest should be a JSON object, got {type(data).__name__}")
    if data.get("version") != 1 or isinstance(data.get("version"), bool):
        problems.add(f"version: got {data.get('version')!r}, want 1")
    if data.get("storagePolicy") != _POLICY:
        problems.add(f"storagePolicy: got {data.get('storagePolicy')!r}, want {_POLICY!r}")
    layout, region = _storage(data.get("storagePolicyConfig"), problems)
    contents = data.get("contents")
    if not isinstance(contents, dict):
        problems.add(f"contents should be an object, got {type(contents).__name__}")
        contents = {}
    if len(contents) > _MOST_ENTRIES:
        raise ManifestError(f"the manifest has {len(contents):,} entries, more than {_MOST_ENTRIES:,}")
    entries = [_entry(path, entry, problems) for path, entry in sorted(contents.items())]
    for path in contents:
        problems.add(*(f"{path!r}: {problem}" for problem in unsafe(path, windows=windows)))
    problems.add(*collisions(contents))
    return Manifest(tuple(entry for entry in entries if entry is not None), layout, region)


def _storage(config: Any, problems: _Problems) -> tuple[str, str]:
    config = {} if config is None else config
    if not isinstance(config, dict):
        problems.add(f"storagePolicyConfig should be an object, got {type(config).__name__}")
        config = {}
    layout, region = config.get("storageLayout") or "V1", config.get("storageRegion") or "default"
    if layout not in _LAYOUTS:
        problems.add(f"storageLayout: got {layout!r}, want one of {', '.join(_LAYOUTS)}")
    if not isinstance(region, str):
        problems.add(f"storageRegion should be text, got {region!r}")
    return str(layout), str(region)


def _entry(path: str, data: Any, problems: _Problems) -> ManifestEntry | None:
    if not isinstance(data, dict):
        problems.add(f"{path!r} should be an object, got {type(data).__name__}")
        return None
    found = list(_entry_problems(data))
    problems.add(*(f"{path!r}: {problem}" for problem in found))
    if found:
        return None
    return ManifestEntry(
        path=path,
        digest=data["digest"],
        size=data.get("size") or 0,
        algorithm=_ALGORITHMS[_algorithm_name(data)],
        birth_artifact_id=data.get("birthArtifactID"),
        reference=data.get("ref"),
        version_id=_version_id(data),
    )


def _entry_problems(data: Mapping[str, Any]) -> Iterator[str]:
    reference, size, digest = data.get("ref"), data.get("size"), data.get("digest")
    if reference is not None and not (isinstance(reference, str) and reference):
        yield f"ref should be a URL, got {reference!r}"
    sized = isinstance(size, int) and not isinstance(size, bool) and 0 <= size <= _LARGEST_SIZE
    if not sized and not (size is None and reference is not None):
        yield f"size should be a whole number of bytes, got {size!r}"
    if not isinstance(digest, str) or (reference is None and not _is_digest(digest)):
        yield f"digest should be {_DIGEST_BYTES} bytes in base64, got {digest!r}"
    elif not digest.isprintable():
        yield f"digest should be printable, got {digest!r}"
    birth = data.get("birthArtifactID")
    if birth is not None and not isinstance(birth, str):
        yield f"birthArtifactID should be text, got {birth!r}"
    extra = data.get("extra")
    if extra is not None and not isinstance(extra, dict):
        yield f"extra should be an object, got {type(extra).__name__}"
    elif (name := _algorithm_name(data)) not in _ALGORITHMS:
        yield f"extra.alg: {name!r} is no digest algorithm we know (MD5, XXH128)"
    if reference is not None:
        yield from _pointer_problems(data)


def _pointer_problems(data: Mapping[str, Any]) -> Iterator[str]:
    version = _extra(data).get("versionID")
    if version is not None and not (
        (isinstance(version, str) and version.isprintable())
        or (isinstance(version, int) and not isinstance(version, bool))
    ):
        yield f"extra.versionID should be printable text or a number, got {version!r}"
    if not str(data.get("ref")).isprintable():
        yield f"ref should be printable, got {data.get('ref')!r}"


def _extra(data: Mapping[str, Any]) -> Mapping[str, Any]:
    extra = data.get("extra")
    return extra if isinstance(extra, dict) else {}


def _algorithm_name(data: Mapping[str, Any]) -> str | None:
    name = _extra(data).get("alg")
    return None if name is None else str(name)


def _version_id(data: Mapping[str, Any]) -> str | None:
    version = _extra(data).get("versionID")
    return None if version is None or data.get("ref") is None else str(version)


def _is_digest(text: str) -> bool:
    try:
        raw = base64.b64decode(text)
    except (ValueError, binascii.Error):
        return False
    return len(raw) == _DIGEST_BYTES and base64.b64encode(raw).decode("ascii") == text
