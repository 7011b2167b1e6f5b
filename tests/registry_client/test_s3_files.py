"""S3: the real boto3 reads what was logged, and nothing else, from moto."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import FlexibleChecksumError
from moto.server import ThreadedMotoServer

from registry_client.errors import FetchError, ReferenceEntriesError, VerificationError
from registry_client.outside import Outside
from registry_client.s3_files import S3Files
from tests.fakes import FakeRegistry
from tests.registry_client.pointers import pointer
from tests.stand_ins.clouds import CloudStandIn

OLD, NEW = bytes(range(256)) * 20_000, b"another"
KEY = "a b/x?.bin"


def s3(url: str) -> Any:
    return boto3.session.Session("key", "secret", region_name="us-east-1").client(
        "s3", endpoint_url=url, config=Config(retries={"total_max_attempts": 1})
    )


@pytest.fixture(scope="module")
def moto() -> Iterator[str]:
    server = ThreadedMotoServer("127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def client(moto: str, request: pytest.FixtureRequest) -> Iterator[Any]:
    """A client with two buckets of this test's own: ``plain``, and ``kept`` that keeps every version."""
    client = s3(moto)
    client.name = hashlib.md5(request.node.name.encode(), usedforsecurity=False).hexdigest()
    for kind in ("plain", "kept"):
        client.create_bucket(Bucket=f"{kind}-{client.name}")
    client.put_bucket_versioning(Bucket=f"kept-{client.name}", VersioningConfiguration={"Status": "Enabled"})
    yield client
    client.close()


class Bucket:
    """One bucket, and what W&B's client would log of its objects."""

    def __init__(self, client: Any, kind: str, registry: FakeRegistry) -> None:
        self.client = client
        self.name = f"{kind}-{client.name}"
        storages = {"s3": S3Files(client)}
        self.outside = Outside(registry, registry.version(), sleep=lambda _: None, storages=storages)

    def put(self, content: bytes) -> dict[str, Any]:
        """Write the object, and say what is known of it then."""
        put = self.client.put_object(Bucket=self.name, Key=KEY, Body=content)
        known = {"digest": put["ETag"].strip('"'), "size": len(content)}
        return known | ({"version_id": put["VersionId"]} if "VersionId" in put else {})

    def fetched(self, **known: Any) -> bytes:
        """The object, as far as it is what is known."""
        return b"".join(self.outside.fetch(pointer(f"s3://{self.name}/{KEY}", **known)))


@pytest.fixture
def plain(client: Any, registry: FakeRegistry) -> Bucket:
    return Bucket(client, "plain", registry)


@pytest.fixture
def kept(client: Any, registry: FakeRegistry) -> Bucket:
    return Bucket(client, "kept", registry)


def test_the_bytes_arrive(plain: Bucket) -> None:
    """With a key of spaces and question marks."""
    assert plain.fetched(**plain.put(OLD)) == OLD


def test_they_arrive_from_anywhere(plain: Bucket) -> None:
    """What is here already is not asked for again."""
    known = plain.put(OLD)
    with S3Files(plain.client).open(pointer(f"s3://{plain.name}/{KEY}", **known), 5_000_000) as stored:
        assert b"".join(stored.chunks) == OLD[5_000_000:]
        assert (stored.offset, stored.size) == (5_000_000, len(OLD))


def test_an_object_in_several_parts_arrives(plain: Bucket) -> None:
    """Its ETag is no MD5, and is not taken for one."""
    part = bytes(5 * 1024 * 1024)
    config = boto3.s3.transfer.TransferConfig(multipart_threshold=1, multipart_chunksize=len(part))
    plain.client.upload_fileobj(io.BytesIO(part + b"x"), plain.name, KEY, Config=config)
    etag = plain.client.head_object(Bucket=plain.name, Key=KEY)["ETag"].strip('"')
    assert etag.endswith("-2")
    assert plain.fetched(digest=etag) == part + b"x"


def test_what_was_changed_is_refused(plain: Bucket) -> None:
    """The ETag is another; nothing is passed on."""
    known = plain.put(OLD)
    plain.put(NEW)
    with pytest.raises(VerificationError, match=r"far\.bin: its storage has another ETag there now, want "):
        plain.fetched(**known)


@pytest.mark.parametrize("by_id", [True, False], ids=["id", "ETag"])
def test_an_older_version_is_found(kept: Bucket, by_id: bool) -> None:
    """By its id, or where that was not logged by its ETag."""
    known = kept.put(OLD)
    kept.put(NEW)
    assert kept.fetched(**(known if by_id else known | {"version_id": None})) == OLD


def test_a_version_that_was_deleted_is_told(kept: Bucket) -> None:
    """It is no fault that another try would cure."""
    known = kept.put(OLD)
    kept.client.delete_object(Bucket=kept.name, Key=KEY, VersionId=known["version_id"])
    with pytest.raises(ReferenceEntriesError, match=r"far\.bin: S3 does not give it to us: it answered "):
        kept.fetched(**known)


def test_an_id_does_not_excuse_another_etag(kept: Bucket) -> None:
    """What was logged is what counts."""
    known = kept.put(NEW)
    with pytest.raises(VerificationError):
        kept.fetched(**(known | {"digest": "0" * 32}))


def test_another_objects_version_is_not_taken(kept: Bucket) -> None:
    """Though it has the ETag, and its key begins alike."""
    known = kept.put(NEW)
    other = kept.client.put_object(Bucket=kept.name, Key=f"{KEY}.bak", Body=OLD)["ETag"].strip('"')
    with pytest.raises(VerificationError, match="another ETag"):
        kept.fetched(**(known | {"digest": other, "version_id": None}))


@pytest.mark.parametrize("name", ["nosuchbucket", None])
def test_what_is_gone_is_told(plain: Bucket, name: str | None) -> None:
    """A key or a whole bucket."""
    plain.name = name or plain.name
    with pytest.raises(ReferenceEntriesError, match="S3 does not give it to us: it answered NoSuch"):
        plain.fetched()


@pytest.fixture
def clouds() -> Iterator[CloudStandIn]:
    with CloudStandIn() as stand_in:
        yield stand_in


class TestFaults:
    """What moto does not do: a stand-in that cuts and lies."""

    @pytest.fixture
    def outside(self, clouds: CloudStandIn, registry: FakeRegistry) -> Iterator[Outside]:
        """With boto3 at the stand-in."""
        client = s3(clouds.url)
        yield Outside(registry, registry.version(), sleep=lambda _: None, storages={"s3": S3Files(client)})
        client.close()

    def fetched(self, outside: Outside, etag: str, size: int = 0) -> bytes:
        """The object, as far as it has that ETag and size."""
        return b"".join(outside.fetch(pointer("s3://bucket/x", etag, size)))

    def test_a_cut_is_made_good(self, clouds: CloudStandIn, outside: Outside) -> None:
        """From where it was cut."""
        kept = clouds.put("bucket/x", OLD)
        clouds.faults = [("cut", 3_000_000), ("cut", 1_000_000)]
        assert self.fetched(outside, kept.etag) == OLD
        starts = [asked for _, asked in clouds.asked]
        assert starts[0] == ""
        assert all(int(start.removeprefix("bytes=").rstrip("-")) >= 1_000_000 for start in starts[1:])

    def test_a_store_that_is_busy_is_asked_again(self, clouds: CloudStandIn, outside: Outside) -> None:
        """A little later."""
        kept = clouds.put("bucket/x", NEW)
        clouds.faults = [("status", 503)] * 3
        assert self.fetched(outside, kept.etag) == NEW

    def test_a_store_that_stays_busy_is_told(self, clouds: CloudStandIn, outside: Outside) -> None:
        """With the file's name, and how often it was tried."""
        kept = clouds.put("bucket/x", NEW)
        clouds.faults = [("status", 503)] * 10
        with pytest.raises(FetchError, match=r"far\.bin: S3 answered 503 \(tried 6 times\)"):
            self.fetched(outside, kept.etag)

    def test_bytes_that_do_not_have_the_md5_are_refused(
        self, clouds: CloudStandIn, outside: Outside, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """An ETag that is an MD5 proves the bytes."""
        kept = clouds.put("bucket/x", NEW)
        wrong = "0" * 32
        monkeypatch.setitem(clouds.objects, "bucket/x", [type(kept)(NEW, wrong, "1", None)])
        with pytest.raises(VerificationError, match="do not have the MD5"):
            self.fetched(outside, wrong)

    def test_another_size_than_logged_is_refused(self, clouds: CloudStandIn, outside: Outside) -> None:
        """Before a byte is passed on."""
        kept = clouds.put("bucket/x", NEW)
        with pytest.raises(VerificationError, match="has 7 bytes there now, want 8"):
            self.fetched(outside, kept.etag, 8)


class Broken:
    """A client whose answer has a body that fails."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def get_object(self, **_: str) -> dict[str, Any]:
        """Begin to answer."""
        return {"ETag": '"etag"', "ContentLength": 7, "Body": self}

    def iter_chunks(self, _: int) -> Iterator[bytes]:
        """Fail before the end."""
        yield b"anothe"
        raise self.error

    def close(self) -> None:
        """Nothing is open."""


@pytest.mark.parametrize("reference", ["s3://bucket", "s3://", "s3:///x"])
def test_a_bucket_alone_is_no_file(reference: str) -> None:
    """It is told before anything is fetched."""
    assert S3Files(object()).lacks(pointer(reference)) == "want s3://bucket/key"


def test_a_checksum_of_the_store_is_heeded(registry: FakeRegistry) -> None:
    """boto3 checks what newer stores keep."""
    error = FlexibleChecksumError(error_msg="Expected checksum x did not match calculated checksum y")
    outside = Outside(registry, registry.version(), storages={"s3": S3Files(Broken(error))})
    with pytest.raises(VerificationError, match="not those that S3 has the checksum of"):
        list(outside.fetch(pointer("s3://bucket/x")))


def test_a_store_that_does_not_know_conditions_is_watched(registry: FakeRegistry) -> None:
    """It was asked for one ETag, and answers with another."""
    outside = Outside(registry, registry.version(), storages={"s3": S3Files(Broken(OSError()))})
    with pytest.raises(VerificationError, match='the ETag "etag"'):
        list(outside.fetch(pointer("s3://bucket/x", "other", version_id="v1")))


def test_without_credentials_the_reader_learns_what_to_do(
    registry: FakeRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """boto3 looks wherever it looks, and finds nothing."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
    outside = Outside(registry, registry.version())
    with pytest.raises(ReferenceEntriesError, match="boto3 finds no credentials here: sign in"):
        list(outside.fetch(pointer("s3://bucket/x")))


@pytest.mark.parametrize(
    ("answer", "is_md5"),
    [
        ({}, True),
        ({"ServerSideEncryption": "AES256"}, True),
        ({"ServerSideEncryption": "aws:kms"}, False),
        ({"SSECustomerAlgorithm": "AES256"}, False),
    ],
)
def test_an_etag_under_a_customers_key_is_no_md5(answer: dict[str, str], is_md5: bool) -> None:
    """Though it looks like one."""
    from registry_client.s3_files import _proof  # noqa: PLC0415 - the one look behind the counter

    assert (_proof(pointer("s3://bucket/x", "0" * 32), answer) is not None) is is_md5
    assert _proof(pointer("s3://bucket--use1-az4--x-s3/x", "0" * 32), answer) is None
