"""Google Cloud Storage: the real SDK reads what was logged, and nothing else, from a stand-in."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from google.api_core.client_options import ClientOptions
from google.auth.credentials import AnonymousCredentials
from google.cloud import storage

from registry_client.errors import FetchError, ReferenceEntriesError, VerificationError
from registry_client.gs_files import GsFiles
from registry_client.outside import Outside
from tests.fakes import FakeRegistry
from tests.registry_client.pointers import pointer
from tests.stand_ins.clouds import CloudStandIn

OLD, NEW = bytes(range(256)) * 40_000, b"another"


@pytest.fixture
def clouds() -> Iterator[CloudStandIn]:
    with CloudStandIn() as stand_in:
        yield stand_in


@pytest.fixture
def outside(clouds: CloudStandIn, registry: FakeRegistry) -> Iterator[Outside]:
    client = storage.Client(
        project="p", credentials=AnonymousCredentials(), client_options=ClientOptions(api_endpoint=clouds.url)
    )
    yield Outside(registry, registry.version(), sleep=lambda _: None, storages={"gs": GsFiles(client)})
    client.close()


def fetched(outside: Outside, etag: str, **more: Any) -> bytes:
    return b"".join(outside.fetch(pointer("gs://bucket/a b/x.bin", etag, **more)))


def test_the_bytes_arrive(clouds: CloudStandIn, outside: Outside) -> None:
    """In as many requests as it takes."""
    kept = clouds.put("bucket/a b/x.bin", OLD)
    assert fetched(outside, kept.etag, size=len(OLD)) == OLD


def test_an_older_generation_is_found(clouds: CloudStandIn, outside: Outside) -> None:
    """By its number."""
    kept = clouds.put("bucket/a b/x.bin", OLD)
    clouds.put("bucket/a b/x.bin", NEW)
    assert fetched(outside, kept.etag, version_id=kept.version) == OLD


def test_what_was_changed_is_refused(clouds: CloudStandIn, outside: Outside) -> None:
    """The ETag is another; nothing is passed on."""
    clouds.put("bucket/a b/x.bin", NEW)
    with pytest.raises(VerificationError, match=r"far\.bin: its storage has the ETag 0x.* want old"):
        fetched(outside, "old")


@pytest.mark.parametrize("has_md5", [True, False], ids=["MD5", "CRC32C"])
def test_bytes_that_are_not_what_the_store_says_are_refused(
    clouds: CloudStandIn, outside: Outside, monkeypatch: pytest.MonkeyPatch, has_md5: bool
) -> None:
    """By MD5, or by CRC32C where that is all there is."""
    monkeypatch.setattr("tests.stand_ins.clouds._crc32c", lambda _: "AAAAAA==")
    kept = clouds.put("bucket/a b/x.bin", NEW, md5=b"0" * 16, has_md5=has_md5)
    with pytest.raises(
        VerificationError, match="do not have the MD5" if has_md5 else "do not have the CRC32C"
    ):
        fetched(outside, kept.etag)


def test_the_right_crc32c_is_enough(clouds: CloudStandIn, outside: Outside) -> None:
    """An object put together from others has no MD5."""
    kept = clouds.put("bucket/a b/x.bin", NEW, has_md5=False)
    assert fetched(outside, kept.etag) == NEW


def test_what_is_gone_is_told(outside: Outside) -> None:
    """With what to do."""
    with pytest.raises(ReferenceEntriesError, match="no such object in the bucket bucket"):
        fetched(outside, "x")


def test_what_is_not_ours_is_told(clouds: CloudStandIn, outside: Outside) -> None:
    """By the status that Google answered."""
    kept = clouds.put("bucket/a b/x.bin", NEW)
    clouds.faults = [("status", 403)]
    with pytest.raises(
        ReferenceEntriesError, match="Google Cloud Storage does not give it to us: it answered 403"
    ):
        fetched(outside, kept.etag)


def test_a_cut_is_made_good(clouds: CloudStandIn, outside: Outside) -> None:
    """From where it was cut; the whole is checked."""
    kept = clouds.put("bucket/a b/x.bin", OLD)
    clouds.faults = [("cut", 5_000_000)]
    assert fetched(outside, kept.etag) == OLD


def test_another_status_is_a_fault(clouds: CloudStandIn, outside: Outside) -> None:
    """That is told and not tried for ever."""
    kept = clouds.put("bucket/a b/x.bin", NEW)
    clouds.faults = [("status", 400)]
    with pytest.raises(FetchError, match="Google Cloud Storage answered 400"):
        fetched(outside, kept.etag)


@pytest.mark.parametrize("reference", ["gs://bucket", "gs://", "gs:///x"])
def test_a_bucket_alone_is_no_file(reference: str) -> None:
    """It is told before anything is fetched."""
    assert GsFiles(object()).lacks(pointer(reference)) == "want gs://bucket/name"
