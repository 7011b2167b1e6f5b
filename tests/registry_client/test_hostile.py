"""Hostile manifests, the whole way: whatever they say, no directory appears and nothing beside it changes."""

from __future__ import annotations

import base64
import dataclasses
import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from registry_client.api import WandbApi
from registry_client.download import download
from registry_client.errors import (
    DiskFullError,
    ManifestError,
    ReferenceEntriesError,
    RegistryError,
    TargetError,
    TooLargeError,
    VerificationError,
)
from registry_client.manifest import Manifest
from registry_client.references import ReferencePolicy
from registry_client.resolve import resolve
from registry_client.version import ArtifactVersion, DigestAlgorithm
from tests.fakes import FakeRegistry, manifest_of
from tests.stand_ins.wandb import WandbStandIn

HELLO = b"hello"
ENTRY = json.loads(manifest_of({"x": HELLO}))["contents"]["x"]
BEYOND = "beyond"


def artifact_digest(contents: dict[str, Any]) -> str:
    """What W&B computes of any paths and digests, sane or not."""
    from registry_client.digest import digester  # noqa: PLC0415 - beside its one use

    hashing = digester(DigestAlgorithm.MD5)
    hashing.update(b"wandb-artifact-manifest-v1\n")
    for path in sorted(contents):
        hashing.update(f"{path}:{contents[path]['digest']}\n".encode("utf-8", "surrogatepass"))
    return hashing.digest().hex()


def hostile(registry: FakeRegistry, contents: dict[str, Any], **more: Any) -> ArtifactVersion:
    """A version whose manifest is consistent with all that W&B says of it, and bad."""
    version = registry.version(files={})
    manifest = json.loads(registry.manifests[version.id])
    registry.manifests[version.id] = json.dumps({**manifest, "contents": contents}).encode()
    registry.files = dict.fromkeys(contents, HELLO)
    sizes = [entry["size"] for entry in contents.values() if isinstance(entry.get("size"), int)]
    known = {"digest": artifact_digest(contents), "size": sum(sizes), "file_count": len(contents)}
    return dataclasses.replace(version, **{**known, **more})


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A directory with a neighbour that must stay as it is."""
    (tmp_path / BEYOND).write_text("mine")
    return tmp_path / "inner" / "model"


def refused(registry: FakeRegistry, version: ArtifactVersion, place: Path, **more: Any) -> RegistryError:
    """The error, after a look at what is left: nothing but the neighbour."""
    with pytest.raises(RegistryError) as caught:
        download(version, place, registry, sleep=lambda _: None, **more)
    above = place.parent.parent
    seen = {path.relative_to(above).as_posix() for path in above.rglob("*") if ".handoff" not in str(path)}
    assert seen <= {BEYOND, "inner"}
    assert (above / BEYOND).read_text() == "mine"
    return caught.value


@pytest.mark.parametrize(
    "path",
    [
        "/etc/passwd",
        "//server/share/x",
        "../../beyond",
        "a/../../../beyond",
        "..",
        ".",
        "./beyond",
        "C:\\beyond",
        "C:beyond",
        "c:/beyond",
        "\\\\server\\share\\x",
        "..\\..\\beyond",
        "CON",
        "aux.txt",
        "a/NUL",
        "LPT1.tar.gz",
        "com¹",
        "a\0b",
        "a\nb",
        "a\r::set-output name=x::y",
        "a\x1b]0;b\x07",
        "a\u2028b",
        "a\ud800b",
        "a/",
        "",
        "a ",
        "a.",
        "x" * 256,
        "/".join(["x" * 200] * 21),
    ],
    ids=ascii,
)
def test_a_bad_path(registry: FakeRegistry, place: Path, path: str) -> None:
    """Absolute, a parent's, a drive's, a device's, with what does not print, or too long for a disk."""
    error = refused(registry, hostile(registry, {path: ENTRY}), place)
    assert isinstance(error, ManifestError)
    assert not registry.opened


@pytest.mark.parametrize(
    "paths",
    [
        ("README", "readme"),
        ("é", "e\u0301"),
        ("Å", "\u212b"),
        ("straße", "STRASSE"),
        ("a\u200db", "ab"),
        ("a", "a/b"),
        ("A", "a/b"),
        ("a/b", "a/b/c/d"),
    ],
    ids=ascii,
)
def test_names_that_meet(registry: FakeRegistry, place: Path, paths: tuple[str, str]) -> None:
    """By case, by Unicode's forms, by what cannot be seen, or a file where a directory must be."""
    error = refused(registry, hostile(registry, dict.fromkeys(paths, ENTRY)), place)
    assert isinstance(error, ManifestError)
    assert not registry.opened


@pytest.mark.parametrize(
    "digest",
    [
        "",
        "x",
        "not base64!",
        "XUFAKrxLKna5cZ2REBfF",
        "5d41402abc4b2a76b9719d911017c592",
        "../../beyond",
        7,
        None,
        ["x"],
    ],
    ids=repr,
)
def test_a_digest_that_is_none(registry: FakeRegistry, place: Path, digest: Any) -> None:
    """Another length, another spelling, a path, or no text at all."""
    error = refused(registry, hostile(registry, {"x": {**ENTRY, "digest": digest}}), place)
    assert isinstance(error, ManifestError)
    assert not registry.opened


@pytest.mark.parametrize("size", [-1, 2**63, 10**30, 1.5, "5", True, None], ids=repr)
def test_a_size_that_is_none(registry: FakeRegistry, place: Path, size: Any) -> None:
    """Negative, beyond any disk, or no whole number."""
    error = refused(registry, hostile(registry, {"x": {**ENTRY, "size": size}}), place)
    assert isinstance(error, ManifestError)


@pytest.mark.parametrize("size", [0, 4, 6, 5_000_000], ids=["none", "less", "more", "much more"])
def test_a_size_that_lies(registry: FakeRegistry, place: Path, size: int) -> None:
    """Both ways, though the total agrees with W&B's word."""
    error = refused(registry, hostile(registry, {"x": {**ENTRY, "size": size}}), place)
    assert isinstance(error, VerificationError)


def test_sizes_that_lie_and_cancel_out(registry: FakeRegistry, place: Path) -> None:
    """One too small, one too large: the sum is right, the files are not."""
    contents = {"a": {**ENTRY, "size": 4}, "b": {**ENTRY, "size": 6}}
    assert isinstance(refused(registry, hostile(registry, contents), place), RegistryError)


def test_a_total_that_is_not_wandbs(registry: FakeRegistry, place: Path) -> None:
    """Before anything is asked for."""
    error = refused(registry, hostile(registry, {"x": ENTRY}, size=6), place)
    assert isinstance(error, ManifestError)
    assert not registry.opened


def test_a_bomb(registry: FakeRegistry, place: Path) -> None:
    """Few lines that promise very many bytes: the limit tells both numbers, before the first byte."""
    contents = {f"{number}": {**ENTRY, "size": 10**12} for number in range(1000)}
    error = refused(registry, hostile(registry, contents), place, max_size=20_000_000_000)
    assert isinstance(error, TooLargeError)
    assert "1,000,000,000,000,000 bytes" in str(error)
    assert "20,000,000,000" in str(error)
    assert not registry.opened


def test_a_bomb_without_a_limit(registry: FakeRegistry, place: Path) -> None:
    """The disk is the limit then, and that is known before the first byte, too."""
    contents = {"x": {**ENTRY, "size": 10**15}}
    error = refused(registry, hostile(registry, contents), place, free=lambda _: 10**12)
    assert isinstance(error, DiskFullError)
    assert not registry.opened


def test_many_entries(registry: FakeRegistry, place: Path) -> None:
    """100,000 that are bad in their last one are refused within seconds."""
    contents = {f"d{number % 100}/{number}": ENTRY for number in range(100_000)}
    contents["d7"] = ENTRY
    version = hostile(registry, contents)
    began = time.process_time()
    assert "'d7' is a file, but" in str(refused(registry, version, place))
    assert time.process_time() - began < 20


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff",
        b"[" * 200_000,
        b'{"contents": ' * 50_000,
        b"<!doctype html><title>Sign in</title>",
    ],
    ids=["empty", "cut", "list", "null", "no text", "deep", "deep objects", "a web page"],
)
def test_no_manifest_at_all(registry: FakeRegistry, place: Path, body: bytes) -> None:
    """Whatever comes in its place."""
    version = registry.version()
    registry.manifests[version.id] = body
    assert isinstance(refused(registry, version, place), ManifestError)


def test_a_manifest_without_an_end(
    wandb: WandbStandIn, api: WandbApi, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No more of it is kept than a manifest may have, and it is refused by its length."""
    logged = wandb.log_artifact("acme/models/cats", {f"{number}": HELLO for number in range(30_000)})
    version = resolve(logged.reference, api)
    for module in ("api", "manifest"):
        monkeypatch.setattr(f"registry_client.{module}.LARGEST_BODY", 1000)
    assert len(api.manifest(version)) < 2_500_000  # Of more than three million.
    with pytest.raises(ManifestError, match="more than the 1,000 we read"):
        download(version, place, api)


def test_another_versions_manifest(registry: FakeRegistry, place: Path) -> None:
    """Each is good, but only one was promised."""
    version = registry.version()
    registry.manifests[version.id] = manifest_of({"labels.txt": b"dog cat"})
    assert "is not that of" in str(refused(registry, version, place))


@pytest.mark.parametrize("policy", ReferencePolicy)
@pytest.mark.parametrize(
    "reference", ["file:///etc/passwd", "/etc/passwd", "http://169.254.169.254/latest/meta-data"]
)
def test_a_reference_to_what_is_ours(
    registry: FakeRegistry, place: Path, policy: ReferencePolicy, reference: str
) -> None:
    """A file of this machine, or what only this machine can reach in the clear, is never read."""
    contents = {"x": {"digest": "etag", "size": 1, "ref": reference}}
    version = hostile(registry, contents)
    if policy is ReferencePolicy.LIST:
        done = download(version, place, registry, references=policy)
        assert [entry.reference for entry in done.references] == [reference]
        assert not list(place.iterdir())
    else:
        assert isinstance(refused(registry, version, place, references=policy), ReferenceEntriesError)
    assert not registry.opened


def test_a_link_where_the_directory_should_be(registry: FakeRegistry, place: Path) -> None:
    """Somebody else's choice of a place is not ours."""
    elsewhere = place.parent.parent / "elsewhere"
    elsewhere.mkdir()
    place.parent.mkdir()
    place.symlink_to(elsewhere, target_is_directory=True)
    with pytest.raises(TargetError):
        download(registry.version(), place, registry)
    assert not list(elsewhere.iterdir())


@pytest.mark.skipif(os.name == "nt", reason="links need rights there")
def test_a_link_that_comes_between_check_and_write(registry: FakeRegistry, place: Path) -> None:
    """Placed while the files arrive, it is not followed: nothing is written where it points."""
    elsewhere = place.parent.parent / "elsewhere"
    elsewhere.mkdir()
    registry.on_open = lambda _: place.symlink_to(elsewhere, target_is_directory=True)
    with pytest.raises(TargetError):
        download(registry.version(), place, registry, concurrency=1)
    assert not list(elsewhere.iterdir())
    assert place.is_symlink()


def test_a_digest_names_no_path(registry: FakeRegistry, place: Path) -> None:
    """Base64 has slashes; a name made of it must not be a path."""
    slashes = base64.b64encode(b"\xff" * 16).decode()
    error = refused(registry, hostile(registry, {"x": {**ENTRY, "digest": slashes}}), place)
    assert isinstance(error, VerificationError)


def test_the_good_one_passes(registry: FakeRegistry, place: Path) -> None:
    """The helper above makes versions that fail for nothing but what is bad in them."""
    done = download(hostile(registry, {"a/x": ENTRY, "b": ENTRY}), place, registry)
    assert (place / "a" / "x").read_bytes() == (place / "b").read_bytes() == HELLO
    assert Manifest.parse(registry.manifests[done.version.id]).entries == done.manifest.entries
