"""Azure's blob storage: the real SDK reads what was logged, and nothing else, from a stand-in."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from azure.core.exceptions import ClientAuthenticationError
from azure.storage.blob import BlobServiceClient

from registry_client.az_files import AzFiles
from registry_client.errors import FetchError, ReferenceEntriesError, VerificationError
from registry_client.outside import Outside
from tests.fakes import FakeRegistry
from tests.registry_client.pointers import pointer
from tests.stand_ins.clouds import CloudStandIn

OLD, NEW = bytes(range(256)) * 40_000, b"another"
ACCOUNT = "https://acme.blob.core.windows.net"


@pytest.fixture
def clouds() -> Iterator[CloudStandIn]:
    with CloudStandIn() as stand_in:
        yield stand_in


@pytest.fixture
def outside(clouds: CloudStandIn, registry: FakeRegistry) -> Iterator[Outside]:
    asked: list[str] = []
    with BlobServiceClient(
        clouds.url, max_single_get_size=2**22, max_chunk_get_size=2**22, retry_total=0
    ) as client:

        def service(account: str) -> BlobServiceClient:
            asked.append(account)
            return client

        yield Outside(registry, registry.version(), sleep=lambda _: None, storages={"az": AzFiles(service)})
    assert set(asked) <= {ACCOUNT}


def fetched(outside: Outside, etag: str, **more: Any) -> bytes:
    return b"".join(outside.fetch(pointer(f"{ACCOUNT}/box/a b/x.bin", etag, **more)))


def test_the_bytes_arrive(clouds: CloudStandIn, outside: Outside) -> None:
    """In as many requests as it takes."""
    kept = clouds.put("box/a b/x.bin", OLD)
    assert fetched(outside, kept.etag, size=len(OLD)) == OLD


def test_an_empty_blob_arrives(clouds: CloudStandIn, outside: Outside) -> None:
    """It has no range to ask for."""
    kept = clouds.put("box/a b/x.bin", b"")
    assert fetched(outside, kept.etag) == b""


def test_an_older_version_is_found_by_its_id(clouds: CloudStandIn, outside: Outside) -> None:
    """Though another is the newest."""
    kept = clouds.put("box/a b/x.bin", OLD)
    clouds.put("box/a b/x.bin", NEW)
    assert fetched(outside, kept.etag, version_id=kept.version) == OLD


def test_an_older_version_is_found_by_its_etag(clouds: CloudStandIn, outside: Outside) -> None:
    """Where the id was not logged, all versions are looked at."""
    kept = clouds.put("box/a b/x.bin", OLD)
    clouds.put("box/a b/x.bin.bak", OLD)
    clouds.put("box/a b/x.bin", NEW)
    assert fetched(outside, kept.etag) == OLD


def test_another_blobs_version_is_not_taken(clouds: CloudStandIn, outside: Outside) -> None:
    """Though it has the ETag, and its name begins alike."""
    clouds.put("box/a b/x.bin.bak", OLD)
    other = clouds.put("box/a b/x.bin.bak", OLD)
    clouds.put("box/a b/x.bin", NEW)
    with pytest.raises(VerificationError, match="another ETag"):
        fetched(outside, other.etag)


def test_they_arrive_from_anywhere(clouds: CloudStandIn) -> None:
    """What is here already is not asked for again, and the size is that of the whole."""
    kept = clouds.put("box/x.bin", OLD)
    with BlobServiceClient(clouds.url) as client:
        files = AzFiles(lambda _: client)
        with files.open(pointer(f"{ACCOUNT}/box/x.bin", kept.etag), 5_000_000) as stored:
            assert b"".join(stored.chunks) == OLD[5_000_000:]
            assert (stored.offset, stored.size) == (5_000_000, len(OLD))


def test_an_id_does_not_excuse_another_etag(clouds: CloudStandIn, outside: Outside) -> None:
    """What was logged is what counts."""
    kept = clouds.put("box/a b/x.bin", NEW)
    with pytest.raises(VerificationError, match="its storage has the ETag"):
        fetched(outside, "0xOLD", version_id=kept.version)


def test_what_was_changed_is_refused(clouds: CloudStandIn, outside: Outside) -> None:
    """No version has the ETag; nothing is passed on."""
    clouds.put("box/a b/x.bin", NEW)
    with pytest.raises(
        VerificationError, match=r"far\.bin: its storage has another ETag there now, want 0xOLD"
    ):
        fetched(outside, "0xOLD")


def test_bytes_that_are_not_what_the_store_says_are_refused(clouds: CloudStandIn, outside: Outside) -> None:
    """By the MD5 that Azure keeps."""
    kept = clouds.put("box/a b/x.bin", NEW, md5=b"0" * 16)
    with pytest.raises(VerificationError, match="do not have the MD5"):
        fetched(outside, kept.etag)


def test_a_blob_without_an_md5_is_taken_by_its_etag(clouds: CloudStandIn, outside: Outside) -> None:
    """Large uploads have none."""
    kept = clouds.put("box/a b/x.bin", NEW, has_md5=False)
    assert fetched(outside, kept.etag) == NEW


@pytest.mark.parametrize(
    ("status", "error"), [(404, ReferenceEntriesError), (403, ReferenceEntriesError), (400, FetchError)]
)
def test_a_refusal_is_told(
    clouds: CloudStandIn, outside: Outside, status: int, error: type[Exception]
) -> None:
    """By the status, with the file's name."""
    kept = clouds.put("box/a b/x.bin", NEW)
    clouds.faults = [("status", status)]
    with pytest.raises(error, match=r"far\.bin: Azure"):
        fetched(outside, kept.etag)


def test_a_fault_that_may_pass_is_tried_again(clouds: CloudStandIn, outside: Outside) -> None:
    """A busy server, say."""
    kept = clouds.put("box/a b/x.bin", NEW)
    clouds.faults = [("status", 503), ("status", 503)]
    assert fetched(outside, kept.etag) == NEW


def test_without_a_right_to_it_the_reader_learns_what_to_do(registry: FakeRegistry) -> None:
    """Sign in before."""

    def service(_: str) -> Any:
        raise ClientAuthenticationError("DefaultAzureCredential failed to retrieve a token")

    outside = Outside(registry, registry.version(), storages={"az": AzFiles(service)})
    with pytest.raises(ReferenceEntriesError, match="sign in to the cloud in a step before"):
        fetched(outside, "x")


@pytest.mark.parametrize(
    "reference",
    [
        f"{ACCOUNT}/box",
        f"{ACCOUNT}/",
        "https://acme.blob.core.windows.net:8443/box/x",
        "https://ana@acme.blob.core.windows.net/box/x",
        "https://[::1/box/x",
    ],
)
def test_what_names_no_blob_is_no_file(reference: str) -> None:
    """Nor is what looks like an account and is not one."""
    files = AzFiles(lambda _: None)
    assert files.lacks(pointer(reference)) == "want https://ACCOUNT.blob.core.windows.net/container/name"
    assert files.lacks(pointer(f"{ACCOUNT}/box/x")) is None
