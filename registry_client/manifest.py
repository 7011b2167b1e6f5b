"""The files of a version, their sizes and digests: read from W&B's manifest, valid once built."""

from __future__ import annotations

import base64
import binascii
import json
import os
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from registry_client.digest import digester
from registry_client.errors import ManifestError
from registry_client.version import ArtifactVersion, DigestAlgorithm

_POLICY = "wandb-storage-policy-v1"
_LAYOUTS = ("V1", "V2")
_ALGORITHMS = {None: DigestAlgorithm.MD5, "MD5": DigestAlgorithm.MD5, "XXH128": DigestAlgorithm.XXH128}
_DIGEST_BYTES = 16  # MD5 and XXH128 alike.
_PROBLEMS_SHOWN, _PROBLEM_SHOWN = 20, 500
_DEVICE = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9¹²³])(?=\s*(\.|:|$))", re.IGNORECASE)
_NOT_ON_WINDOWS = re.compile(r'[<>:"|?*]')
_UNPRINTABLE = {"Cc": "a control character", "Cs": "half a character", "Zl": "a line end", "Zp": "a line end"}


@dataclass(frozen=True)
class ManifestEntry:
    """One file, or a reference to one outside W&B.

    Attributes:
        path: Relative, POSIX, safe to join to a directory on this machine.
        digest: Base64; of a reference whatever its storage calls the content, perhaps an ETag.
        reference: Where the content lies, for a reference; else None.
        etag: Of a reference, as its storage gave it, where that is told.
        version_id: Of a reference, its storage's own name for these bytes, where it keeps several.
    """

    path: str
    digest: str
    size: int
    algorithm: DigestAlgorithm
    birth_artifact_id: str | None
    reference: str | None
    etag: str | None = None
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
        problems: list[str] = []
        manifest = _read(_json(body, problems), problems, windows=windows)
        if problems:
            raise ManifestError(_told(problems))
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


def _json(body: bytes, problems: list[str]) -> Any:
    def unique(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, value in pairs:
            if key in found:  # The reader behind us might take the other one.
                problems.append(f"the key {key!r} comes twice")
            found[key] = value
        return found

    try:
        return json.loads(body.decode("utf-8"), object_pairs_hook=unique)
    except (ValueError, RecursionError) as error:
        raise ManifestError(f"the manifest is not JSON: {error}") from error


def _read(data: Any, problems: list[str], *, windows: bool) -> Manifest:
    if not isinstance(data, dict):
        raise ManifestError(f"the manifest should be a JSON object, got {type(data).__name__}")
    if data.get("version") != 1 or isinstance(data.get("version"), bool):
        problems.append(f"version: got {data.get('version')!r}, want 1")
    if data.get("storagePolicy") != _POLICY:
        problems.append(f"storagePolicy: got {data.get('storagePolicy')!r}, want {_POLICY!r}")
    layout, region = _storage(data.get("storagePolicyConfig"), problems)
    contents = data.get("contents")
    if not isinstance(contents, dict):
        problems.append(f"contents should be an object, got {type(contents).__name__}")
        contents = {}
    entries = [_entry(path, entry, problems) for path, entry in sorted(contents.items())]
    for path in contents:
        problems.extend(f"{path!r}: {problem}" for problem in _unsafe(path, windows=windows))
    problems.extend(_collisions(contents))
    return Manifest(tuple(entry for entry in entries if entry is not None), layout, region)


def _storage(config: Any, problems: list[str]) -> tuple[str, str]:
    config = {} if config is None else config
    if not isinstance(config, dict):
        problems.append(f"storagePolicyConfig should be an object, got {type(config).__name__}")
        config = {}
    layout, region = config.get("storageLayout") or "V1", config.get("storageRegion") or "default"
    if layout not in _LAYOUTS:
        problems.append(f"storageLayout: got {layout!r}, want one of {', '.join(_LAYOUTS)}")
    if not isinstance(region, str):
        problems.append(f"storageRegion should be text, got {region!r}")
    return str(layout), str(region)


def _entry(path: str, data: Any, problems: list[str]) -> ManifestEntry | None:
    if not isinstance(data, dict):
        problems.append(f"{path!r} should be an object, got {type(data).__name__}")
        return None
    found = list(_entry_problems(data))
    problems.extend(f"{path!r}: {problem}" for problem in found)
    if found:
        return None
    return ManifestEntry(
        path=path,
        digest=data["digest"],
        size=data.get("size") or 0,
        algorithm=_ALGORITHMS[_algorithm_name(data)],
        birth_artifact_id=data.get("birthArtifactID"),
        reference=data.get("ref"),
    )


def _entry_problems(data: Mapping[str, Any]) -> Iterator[str]:
    reference, size, digest = data.get("ref"), data.get("size"), data.get("digest")
    if reference is not None and not (isinstance(reference, str) and reference):
        yield f"ref should be a URL, got {reference!r}"
    sized = isinstance(size, int) and not isinstance(size, bool) and size >= 0
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


def _algorithm_name(data: Mapping[str, Any]) -> str | None:
    name = (data.get("extra") or {}).get("alg")
    return None if name is None else str(name)


def _is_digest(text: str) -> bool:
    try:
        raw = base64.b64decode(text)
    except (ValueError, binascii.Error):
        return False
    return len(raw) == _DIGEST_BYTES and base64.b64encode(raw).decode("ascii") == text


def _unsafe(path: str, *, windows: bool) -> Iterator[str]:
    """What makes the path unsafe to join to a directory, on any machine."""
    if not path.isprintable():
        odd = {unicodedata.category(character) for character in path} & _UNPRINTABLE.keys()
        yield from (f"holds {_UNPRINTABLE[category]}" for category in sorted(odd))
    if "\\" in path:
        yield "holds a backslash"
    if path.startswith("/") or re.match(r"[A-Za-z]:", path):
        yield "is absolute"
    if windows and _NOT_ON_WINDOWS.search(path):
        yield "holds a character that Windows keeps for itself"
    for part in path.split("/"):
        if part in {"", ".", ".."}:
            yield f"has the part {part!r}"
        elif part.endswith((".", " ")):
            yield f"has the part {part!r}, which ends in a dot or space: Windows would drop that"
        elif _DEVICE.match(part):
            yield f"has the part {part!r}, a device on Windows"


def _collisions(paths: Mapping[str, Any]) -> Iterator[str]:
    """Names that some disks take for one, and files where a directory must be."""
    names = {path: _folded(path) for path in paths}
    taken: dict[str, str] = {}
    for path, name in names.items():
        other = taken.setdefault(name, path)
        if other is not path:
            yield f"{path!r} and {other!r} are one name on some disks"
    for path, name in names.items():
        for end in (at for at, character in enumerate(name) if character == "/"):
            if (file := taken.get(name[:end])) is not None:
                yield f"{file!r} is a file, but {path!r} needs a directory there"


def _folded(path: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", path).casefold())


def _told(problems: Sequence[str]) -> str:
    shown = "\n".join(f"- {problem[:_PROBLEM_SHOWN]}" for problem in problems[:_PROBLEMS_SHOWN])
    more = len(problems) - _PROBLEMS_SHOWN
    return f"the manifest has {len(problems)} problem(s):\n{shown}" + (
        f"\n… and {more} more" if more > 0 else ""
    )
