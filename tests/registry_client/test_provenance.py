"""What is told of files: where they are from, and what proved them."""

from __future__ import annotations

import dataclasses
import json
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from registry_client.manifest import Manifest, ManifestEntry
from registry_client.provenance import as_text, beside, labels, provenance
from registry_client.trigger import artifact_from_event
from registry_client.version import ArtifactVersion, DigestAlgorithm, SourceRun
from tests.fakes import FakeRegistry
from tests.registry_client.pointers import pointer

NOON = datetime(2026, 1, 31, 13, 0, 5, 999, tzinfo=timezone(timedelta(hours=1)))
RUN = SourceRun("acme/vision/abc123", "lucky-sun-7", "4f2c" * 10, "https://wandb.ai/acme/vision/runs/abc123")
EVENT = {
    "client_payload": {
        "handoff": {
            "artifact": "wandb-artifact://_id/QXJ0aWZhY3Q6MQ==",
            "event": "ADD_ARTIFACT_ALIAS",
            "alias": "production",
            "author": "ana",
            "automation": "ship it",
            "delivery": "d-1",
        }
    }
}


@pytest.fixture
def version(registry: FakeRegistry) -> ArtifactVersion:
    return dataclasses.replace(registry.version(), source_run=RUN)


def manifest(*entries: ManifestEntry) -> Manifest:
    own = ManifestEntry("labels.txt", "XUFAKrxLKna5cZ2REBfFkg==", 5, DigestAlgorithm.MD5, None, None)
    return Manifest((own, *entries), "V2", "default")


def known(version: ArtifactVersion, entries: Manifest | None = None, **more: Any) -> Any:
    more = {"verified_at": NOON, "tool": "wandb-handoff/1.2.3", **more}
    return provenance(version, manifest() if entries is None else entries, **more)


def test_it_tells_what_when_and_by_whom(version: ArtifactVersion) -> None:
    """The artifact, the run and its commit, the promotion, and when and by what it was verified."""
    assert known(version, trigger=artifact_from_event(EVENT)) == {
        "artifact": version.name,
        "id": version.id,
        "version": "v0",
        "type": "model",
        "digest": version.digest,
        "digest_algorithm": "MD5",
        "collection": str(version.collection),
        "source": version.source_name,
        "url": version.url,
        "created_at": "2026-01-31T12:00:00Z",
        "created_by": None,
        "run": {"path": RUN.path, "name": RUN.name, "commit": RUN.commit, "url": RUN.url},
        "promotion": {
            "event": "ADD_ARTIFACT_ALIAS",
            "alias": "production",
            "by": "ana",
            "automation": "ship it",
            "delivery": "d-1",
        },
        "files": {
            "count": 1,
            "bytes": 5,
            "of": version.file_count,
            "from_other_versions": [],
            "from_elsewhere": [],
            "left_out": 0,
        },
        "verified_at": "2026-01-31T12:00:05Z",
        "verified_by": "wandb-handoff/1.2.3",
    }


def test_what_is_not_known_is_null(version: ArtifactVersion) -> None:
    """Nothing is made up, and every key is there."""
    told = known(dataclasses.replace(version, source_run=None, created_by="ana"), verified_at=None)
    assert (told["run"], told["promotion"], told["verified_at"]) == (None, None, None)
    assert told["created_by"] == "ana"
    assert set(told) == set(known(version, trigger=artifact_from_event(EVENT)))


def test_what_was_not_downloaded_is_not_told_of(version: ArtifactVersion) -> None:
    """A version that was resolved only has no files here."""
    assert provenance(version, None, verified_at=None, tool="x")["files"] is None


def test_files_from_elsewhere_are_told_with_what_proved_them(version: ArtifactVersion) -> None:
    """An ETag is not a digest; no URL here lets anybody in."""
    far = pointer("https://example.org/x?sig=secret", "abc")
    bucket = pointer("s3://b/x", "def", version_id="v1")
    other = pointer("wandb-artifact://41727469666163743a31/x", "XUFAKrxLKna5cZ2REBfFkg==")
    files = known(version, manifest(far, bucket, other), listed=[pointer("gs://b/y")])["files"]

    assert files["from_elsewhere"] == [
        {"path": "far.bin", "url": "https://example.org/x", "etag": "abc", "version_id": None},
        {"path": "far.bin", "url": "s3://b/x", "etag": "def", "version_id": "v1"},
    ]
    assert files["from_other_versions"] == [
        {"path": "far.bin", "url": other.reference, "digest": "XUFAKrxLKna5cZ2REBfFkg=="}
    ]
    assert (files["count"], files["left_out"]) == (4, 1)


def test_the_file_is_json(version: ArtifactVersion) -> None:
    """In ASCII, with a line end."""
    told = known(dataclasses.replace(version, created_by="Zoë\n"))
    text = as_text(told)
    assert json.loads(text) == told
    assert text.isascii()
    assert text.endswith("}\n")


@pytest.mark.parametrize(
    ("directory", "want"), [("model", "model.provenance.json"), ("a/b.v1", "a/b.v1.provenance.json")]
)
def test_it_lies_beside_the_directory(directory: str, want: str) -> None:
    """Which holds the artifact's files and no other."""
    assert beside(Path(directory), "provenance") == Path(want)


class TestLabels:
    """For an image with these files in it."""

    def test_they_name_the_version_and_where_it_is_from(self, version: ArtifactVersion) -> None:
        """Under our own name, and OCI's for the version."""
        ours = "io.github.wandb-handoff"
        assert labels(known(version, trigger=artifact_from_event(EVENT))) == {
            "org.opencontainers.image.version": "v0",
            f"{ours}.artifact": version.name,
            f"{ours}.id": version.id,
            f"{ours}.digest": version.digest,
            f"{ours}.digest-algorithm": "md5",
            f"{ours}.source": version.source_name,
            f"{ours}.type": "model",
            f"{ours}.url": version.url,
            f"{ours}.created": "2026-01-31T12:00:00Z",
            f"{ours}.run": RUN.path,
            f"{ours}.run-commit": RUN.commit,
            f"{ours}.alias": "production",
        }

    def test_what_is_not_known_has_no_label(self, version: ArtifactVersion) -> None:
        """An empty one would say something else."""
        told = labels(known(dataclasses.replace(version, source_run=None)))
        assert not [name for name in told if "run" in name or "alias" in name]
        assert all(told.values())

    def test_the_same_version_has_the_same_labels(self, version: ArtifactVersion) -> None:
        """Whenever, and by whomever, it was fetched: the image need not change."""
        later = known(version, verified_at=NOON + timedelta(days=1), tool="other/2")
        assert labels(later) == labels(known(version))

    def test_nobody_is_named(self, version: ArtifactVersion) -> None:
        """An image may be public."""
        event = {"client_payload": {"handoff": {**EVENT["client_payload"]["handoff"], "author": "ana-maria"}}}
        told = labels(
            known(dataclasses.replace(version, created_by="ana-maria"), trigger=artifact_from_event(event))
        )
        assert "ana-maria" not in str(told)
