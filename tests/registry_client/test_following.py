"""Pointers into other versions: followed to their end, in no circle, and only to the promised bytes."""

from __future__ import annotations

import base64
import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from registry_client import following
from registry_client.download import download
from registry_client.errors import (
    FetchError,
    ManifestError,
    ReferenceEntriesError,
    TooLargeError,
    VerificationError,
)
from registry_client.following import find_origins
from registry_client.manifest import Manifest
from registry_client.origins import Origins
from registry_client.record import ArtifactRecord, ArtifactState
from registry_client.reference import ArtifactId
from registry_client.references import ReferencePolicy
from registry_client.resolve import resolve
from registry_client.version import ArtifactVersion, DigestAlgorithm
from tests.fakes import FakeRegistry, manifest_of

FAIL, LIST, FETCH = ReferencePolicy
DATA = b"data of another artifact"
DIGEST = json.loads(manifest_of({"x": DATA}))["contents"]["x"]["digest"]


def into(record: ArtifactRecord, path: str) -> str:
    """The URL of a file in another artifact."""
    return f"wandb-artifact://{base64.b64decode(record.id).hex()}/{path}"


def point(
    registry: FakeRegistry, record: ArtifactRecord, pointers: Mapping[str, str], digest: str = DIGEST
) -> None:
    """Let a version point at these URLs, too."""
    manifest = json.loads(registry.manifests[record.id])
    for path, url in pointers.items():
        manifest["contents"][path] = {"digest": digest, "size": 0, "ref": url}
    body = json.dumps(manifest).encode()
    registry.manifests[record.id] = body
    digests = Manifest.parse(body).digest(DigestAlgorithm.MD5)
    registry.records[record.id] = dataclasses.replace(registry.records[record.id], digest=digests)


def origins(registry: FakeRegistry, record: ArtifactRecord, policy: ReferencePolicy = FETCH) -> Origins:
    version = resolve(ArtifactId(record.id), registry)
    return find_origins(version, Manifest.parse(registry.manifests[record.id]), policy, registry)


@pytest.fixture
def data(registry: FakeRegistry) -> ArtifactRecord:
    """The version that holds the bytes."""
    return registry.log("acme/vision/data", {"in/x.bin": DATA, "other": b"other"})


@pytest.fixture
def model(registry: FakeRegistry, data: ArtifactRecord) -> ArtifactRecord:
    """A version that points at it."""
    record = registry.log("acme/vision/flower", {"own.txt": b"own"})
    point(registry, record, {"far.bin": into(data, "in/x.bin")})
    return record


def refusal(registry: FakeRegistry, record: ArtifactRecord, policy: ReferencePolicy = FETCH) -> str:
    with pytest.raises(ReferenceEntriesError) as caught:
        origins(registry, record, policy)
    return str(caught.value)


def test_a_pointer_is_followed(registry: FakeRegistry, model: ArtifactRecord, data: ArtifactRecord) -> None:
    """The file is the other version's, under the path that it has here; it counts with its true size."""
    found = origins(registry, model)
    (followed,) = found.followed

    assert [entry.path for entry in found.manifest.entries] == ["own.txt"]
    assert (followed.version.id, followed.entry.path, followed.path) == (data.id, "in/x.bin", "far.bin")
    assert (followed.here.path, followed.here.digest) == ("far.bin", DIGEST)
    assert {entry.path for entry in followed.manifest.entries} == {"in/x.bin", "other"}
    assert (found.size, found.file_count) == (3 + len(DATA), 2)


def test_without_a_word_it_is_refused(registry: FakeRegistry, model: ArtifactRecord) -> None:
    """And listed; nobody is surprised by what another artifact holds."""
    assert "\n- far.bin: wandb-artifact://" in refusal(registry, model, FAIL)


def test_it_may_be_left_out(registry: FakeRegistry, model: ArtifactRecord) -> None:
    """It is told of, and no other version is asked for."""
    found = origins(registry, model, LIST)
    assert [entry.path for entry in found.listed] == ["far.bin"]
    assert (found.followed, found.outside, found.size) == ((), (), 3)


def test_a_version_is_asked_for_once(
    registry: FakeRegistry, model: ArtifactRecord, data: ArtifactRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many pointers lead there."""
    point(registry, model, {f"{number}.bin": into(data, "in/x.bin") for number in range(5)})
    asked: list[str] = []
    manifest = registry.manifest

    def counted(version: ArtifactVersion) -> bytes:
        asked.append(version.id)
        return manifest(version)

    monkeypatch.setattr(registry, "manifest", counted)
    assert len(origins(registry, model).followed) == 6
    assert asked == [data.id]


def test_a_pointer_to_a_pointer_is_followed(registry: FakeRegistry, model: ArtifactRecord) -> None:
    """To the version that holds the bytes."""
    front = registry.log("acme/vision/front", {})
    point(registry, front, {"x": into(model, "far.bin")})
    (followed,) = origins(registry, front).followed
    assert (followed.path, followed.entry.path) == ("x", "in/x.bin")


def test_a_pointer_to_what_lies_outside_is_for_outside(registry: FakeRegistry, model: ArtifactRecord) -> None:
    """It keeps what is known of the bytes, and gets the path that it has here."""
    bucket = registry.log("acme/vision/bucket", {})
    point(registry, bucket, {"x": "s3://bucket/x"}, digest="etag")
    point(registry, model, {"y": into(bucket, "x")}, digest="etag")
    (outside,) = origins(registry, model).outside
    assert (outside.path, outside.reference, outside.digest) == ("y", "s3://bucket/x", "etag")


@pytest.mark.parametrize("length", [1, 2, 3])
def test_a_circle_is_found(registry: FakeRegistry, length: int) -> None:
    """However long it is, it is told and not gone around."""
    ring = [registry.log(f"acme/vision/ring-{number}", {}) for number in range(length)]
    for here, there in zip(ring, (*ring[1:], ring[0]), strict=True):
        point(registry, here, {"x": into(there, "x")})
    assert "leads back to where it came from" in refusal(registry, ring[0])


def test_a_circle_that_the_start_is_not_in_is_found(registry: FakeRegistry) -> None:
    """The way into it is not part of it."""
    ring = registry.log("acme/vision/ring", {})
    point(registry, ring, {"x": into(ring, "y"), "y": into(ring, "x")})
    start = registry.log("acme/vision/start", {})
    point(registry, start, {"z": into(ring, "x")})
    assert "z: wandb-artifact://" in (told := refusal(registry, start))
    assert "leads back" in told


def test_other_bytes_than_promised_are_not_taken(
    registry: FakeRegistry, model: ArtifactRecord, data: ArtifactRecord
) -> None:
    """What counts is the digest that this version was logged with."""
    point(registry, model, {"wrong.bin": into(data, "other")})
    assert f"wrong.bin: in {'acme/vision/data:v0'} it has the digest" in refusal(registry, model)


def test_all_that_lead_nowhere_are_told_at_once(
    registry: FakeRegistry, model: ArtifactRecord, data: ArtifactRecord
) -> None:
    """A missing path, a form that names none, a version that is not there, one that was deleted."""
    gone = registry.log("acme/vision/gone", {"x": DATA}, state=ArtifactState.DELETED)
    point(
        registry,
        model,
        {
            "path.bin": into(data, "no/such"),
            "form.bin": "wandb-artifact://nothing/x",
            "there.bin": "wandb-artifact://41727469666163743a31/x",
            "gone.bin": into(gone, "x"),
        },
    )
    told = refusal(registry, model)
    assert "points at 4 file(s) that cannot be fetched" in told
    assert "path.bin: acme/vision/data:v0 has no file 'no/such'" in told
    assert "form.bin: wandb-artifact://nothing/x names no file of an artifact" in told
    assert "there.bin: wandb-artifact://_id/" in told
    assert "was deleted" in told


def test_the_other_manifest_is_checked_too(
    registry: FakeRegistry, model: ArtifactRecord, data: ArtifactRecord
) -> None:
    """One that is not its version's is believed in nothing."""
    registry.records[data.id] = dataclasses.replace(registry.records[data.id], digest="0" * 32)
    with pytest.raises(ManifestError, match="not that of acme/vision/data:v0"):
        origins(registry, model)


def test_a_fault_of_the_network_is_no_fault_of_the_pointer(
    registry: FakeRegistry, model: ArtifactRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be gone the next time."""

    def broken(_: object) -> bytes:
        raise FetchError("api.wandb.ai answered 502")

    monkeypatch.setattr(registry, "manifest", broken)
    with pytest.raises(FetchError, match="502"):
        origins(registry, model)


def test_not_everything_is_asked_for(
    registry: FakeRegistry, model: ArtifactRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A manifest that points at very many versions does not make us ask for them all."""
    monkeypatch.setattr(following, "_MOST_VERSIONS", 2)
    for number in range(3):
        other = registry.log(f"acme/vision/other-{number}", {"x": DATA})
        point(registry, model, {f"{number}.bin": into(other, "x")})
    with pytest.raises(ReferenceEntriesError, match="more than 2 other versions"):
        origins(registry, model)


class TestDownload:
    """The whole way, with files of two versions."""

    def test_the_directory_has_both(
        self, registry: FakeRegistry, model: ArtifactRecord, tmp_path: Path
    ) -> None:
        """Each file proven, wherever it was from."""
        registry.files = {"own.txt": b"own", "in/x.bin": DATA}
        version = resolve(ArtifactId(model.id), registry)
        done = download(version, tmp_path / "model", registry, references=FETCH)

        assert {each.name: each.read_bytes() for each in (tmp_path / "model").iterdir()} == {
            "own.txt": b"own",
            "far.bin": DATA,
        }
        assert done.file_count == 2

    def test_wrong_bytes_are_found(
        self, registry: FakeRegistry, model: ArtifactRecord, tmp_path: Path
    ) -> None:
        """In the file of the other version like in any."""
        registry.files = {"own.txt": b"own", "in/x.bin": DATA[:-1] + b"!"}
        version = resolve(ArtifactId(model.id), registry)
        with pytest.raises(VerificationError):
            download(version, tmp_path / "model", registry, references=FETCH)
        assert not (tmp_path / "model").exists()

    def test_its_true_size_counts(
        self, registry: FakeRegistry, model: ArtifactRecord, tmp_path: Path
    ) -> None:
        """The pointer says 0 bytes, which does not get it past the limit."""
        version = resolve(ArtifactId(model.id), registry)
        with pytest.raises(TooLargeError, match=rf"{3 + len(DATA)} bytes"):
            download(version, tmp_path / "model", registry, references=FETCH, max_size=10)
