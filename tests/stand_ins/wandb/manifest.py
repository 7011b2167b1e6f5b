"""What an artifact holds, and its digests by W&B's rules: pure, but for reading the files that were given."""

from __future__ import annotations

import base64
import hashlib
import importlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

_HEADER = b"wandb-artifact-manifest-v1\n"
_CHUNK = 1 << 20


@dataclass(frozen=True)
class Content:
    """The bytes of one stored file; one on disk is read when it is served and must not change."""

    source: bytes | Path
    size: int
    etag: str

    @classmethod
    def of(cls, source: bytes | Path) -> Content:
        """Take bytes, or a file as it is now."""
        md5 = hashlib.md5(usedforsecurity=False)
        size = 0
        for chunk in _chunks(source, 0, None):
            md5.update(chunk)
            size += len(chunk)
        return cls(source, size, md5.hexdigest())

    def chunks(self, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """The bytes from ``start`` up to ``stop``, piece by piece."""
        return _chunks(self.source, start, self.size if stop is None else stop)

    def read(self) -> bytes:
        """All of it."""
        return b"".join(self.chunks())


@dataclass(frozen=True)
class Entry:
    """One line of a manifest: a stored file, or a reference to one elsewhere."""

    path: str
    digest: str
    size: int | None
    content: Content | None = None
    ref: str | None = None
    extra: Mapping[str, Any] | None = None

    def to_json(self, birth_artifact_id: str) -> dict[str, Any]:
        """As W&B's manifests write it."""
        fields: dict[str, Any] = {"digest": self.digest}
        if self.size is not None:
            fields["size"] = self.size
        if self.ref is None:
            fields["birthArtifactID"] = birth_artifact_id
        else:
            fields["ref"] = self.ref
        if self.extra:
            fields["extra"] = dict(self.extra)
        return fields

    @property
    def hex_digest(self) -> str:
        """How the digest of a stored file looks in an address."""
        return base64.b64decode(self.digest).hex()


@dataclass(frozen=True)
class Manifest:
    """The entries of one version, in the order of their paths."""

    entries: tuple[Entry, ...]
    algorithm: str
    layout: str

    @cached_property
    def places(self) -> dict[str, int]:
        """Where each path stands among the entries."""
        return {entry.path: place for place, entry in enumerate(self.entries)}

    @cached_property
    def digest(self) -> str:
        """The digest that pins the whole tree, by W&B's rule."""
        lines = "".join(f"{entry.path}:{entry.digest}\n" for entry in self.entries)
        return _hasher(self.algorithm)(_HEADER + lines.encode()).hex()

    @property
    def size(self) -> int:
        """All bytes together."""
        return sum(entry.size or 0 for entry in self.entries)

    def to_bytes(self, birth_artifact_id: str) -> bytes:
        """The manifest file."""
        contents = {entry.path: entry.to_json(birth_artifact_id) for entry in self.entries}
        document = {
            "version": 1,
            "storagePolicy": "wandb-storage-policy-v1",
            "storagePolicyConfig": {"storageLayout": self.layout},
            "contents": contents,
        }
        return json.dumps(document).encode()


def build(
    files: Mapping[str, bytes | Path],
    references: Mapping[str, str | Mapping[str, Any]],
    *,
    algorithm: str,
    layout: str,
) -> Manifest:
    """Digest the files as W&B would.  A reference is its address, or a whole entry as JSON has it."""
    if algorithm not in {"MD5", "XXH128"} or layout not in {"V1", "V2"}:
        raise ValueError(f"want MD5 or XXH128 and V1 or V2, got {algorithm!r} and {layout!r}")
    stored = [_stored(path, source, algorithm) for path, source in files.items()]
    elsewhere = [_reference(path, target) for path, target in references.items()]
    entries = sorted([*stored, *elsewhere], key=lambda entry: entry.path)
    return Manifest(tuple(entries), algorithm, layout)


def _stored(path: str, source: bytes | Path, algorithm: str) -> Entry:
    content = Content.of(source)
    raw = bytes.fromhex(content.etag) if algorithm == "MD5" else _hasher(algorithm)(content.read())
    extra = None if algorithm == "MD5" else {"alg": algorithm}
    return Entry(path, base64.b64encode(raw).decode(), content.size, content, extra=extra)


def _reference(path: str, target: str | Mapping[str, Any]) -> Entry:
    if isinstance(target, str):
        return Entry(path, digest=target, size=None, ref=target)
    return Entry(path, target["digest"], target.get("size"), ref=target["ref"], extra=target.get("extra"))


def _hasher(algorithm: str) -> Callable[[bytes], bytes]:
    if algorithm == "MD5":
        return lambda data: hashlib.md5(data, usedforsecurity=False).digest()
    return _xxh128()


def _xxh128() -> Callable[[bytes], bytes]:
    """Our own XXH128, which needs no compiled package; else that package."""
    for module, attribute in (("registry_client.xxh128", "xxh128"), ("xxhash", "xxh128_digest")):
        try:
            found: Callable[[bytes], bytes] = getattr(importlib.import_module(module), attribute)
        except ImportError:
            continue
        return found
    raise RuntimeError(
        "an XXH128 artifact needs registry_client.xxh128 or the package xxhash; neither is here"
    )


def _chunks(source: bytes | Path, start: int, stop: int | None) -> Iterator[bytes]:
    if isinstance(source, bytes):
        yield source[start:stop]
        return
    left = None if stop is None else stop - start
    with source.open("rb") as file:
        file.seek(start)
        while left is None or left > 0:
            chunk = file.read(_CHUNK if left is None else min(_CHUNK, left))
            if not chunk:
                return
            left = None if left is None else left - len(chunk)
            yield chunk
