"""References as W&B's own client logs them: what it writes into a manifest, we read and fetch."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from google.api_core.client_options import ClientOptions
from google.auth.credentials import AnonymousCredentials
from google.cloud import storage
from moto.server import ThreadedMotoServer

from registry_client.api import WandbApi
from registry_client.credentials import ApiKey
from registry_client.errors import VerificationError
from registry_client.gs_files import GsFiles
from registry_client.https_files import HttpsFiles
from registry_client.manifest import Manifest, ManifestEntry
from registry_client.outside import Outside
from registry_client.s3_files import S3Files
from registry_client.stored import Storage
from tests.fakes import FakeRegistry
from tests.stand_ins.clouds import CloudStandIn

OLD, NEW = bytes(range(256)) * 5000, b"another"


@pytest.fixture
def clouds() -> Iterator[CloudStandIn]:
    with CloudStandIn() as stand_in:
        yield stand_in


@pytest.fixture
def signed_in(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """An environment in which both clients find the clouds."""
    for name, value in {
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "GOOGLE_CLOUD_PROJECT": "p",
    }.items():
        monkeypatch.setenv(name, value)
    return monkeypatch


def logged(url: str) -> ManifestEntry:
    """What W&B's client writes into the manifest, as we read it."""
    import wandb  # noqa: PLC0415 - slow to load

    artifact = wandb.Artifact("data", "dataset")
    artifact.add_reference(url, name="far.bin")
    (entry,) = Manifest.parse(json.dumps(artifact.manifest.to_manifest_json()).encode()).references
    return entry


def fetched(registry: FakeRegistry, kind: str, storage: Storage, entry: ManifestEntry) -> bytes:
    outside = Outside(registry, registry.version(), sleep=lambda _: None, storages={kind: storage})
    return b"".join(outside.fetch(entry))


@pytest.mark.parametrize("versions", [True, False], ids=["kept", "overwritten"])
def test_s3(registry: FakeRegistry, signed_in: pytest.MonkeyPatch, versions: bool) -> None:
    """An object that was logged is fetched; after a change only where the bucket keeps versions."""
    server = ThreadedMotoServer("127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    signed_in.setenv("AWS_S3_ENDPOINT_URL", f"http://{host}:{port}")  # W&B's client looks there,
    signed_in.setenv("AWS_ENDPOINT_URL_S3", f"http://{host}:{port}")  # and boto3 by itself here.
    client: Any = boto3.client("s3")
    bucket = f"sdk-{versions}".lower()
    try:
        client.create_bucket(Bucket=bucket)
        if versions:
            client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
        client.put_object(Bucket=bucket, Key="a b/x.bin", Body=OLD)
        entry = logged(f"s3://{bucket}/a b/x.bin")
        assert (entry.size, entry.version_id is not None) == (len(OLD), versions)
        files = S3Files()
        assert fetched(registry, "s3", files, entry) == OLD
        client.put_object(Bucket=bucket, Key="a b/x.bin", Body=NEW)
        if versions:
            assert fetched(registry, "s3", files, entry) == OLD
        else:
            with pytest.raises(VerificationError):
                fetched(registry, "s3", files, entry)
        files._client().close()
    finally:
        client.close()
        server.stop()


def test_gs(registry: FakeRegistry, clouds: CloudStandIn, signed_in: pytest.MonkeyPatch) -> None:
    """The generation that was logged is fetched, though there is a newer one."""
    signed_in.setenv("STORAGE_EMULATOR_HOST", clouds.url)
    clouds.put("bucket/a/x.bin", OLD)
    entry = logged("gs://bucket/a/x.bin")
    clouds.put("bucket/a/x.bin", NEW)
    options = ClientOptions(api_endpoint=clouds.url)
    client = storage.Client(project="p", credentials=AnonymousCredentials(), client_options=options)

    assert (entry.size, entry.version_id) == (len(OLD), "1700000000000000")
    assert fetched(registry, "gs", GsFiles(client), entry) == OLD
    client.close()


def test_http(registry: FakeRegistry, clouds: CloudStandIn) -> None:
    """The file is fetched while it has the ETag, and not after."""
    clouds.put("site/x.bin", OLD)
    entry = logged(f"{clouds.url}/site/x.bin")
    assert entry.size == len(OLD)
    with WandbApi(clouds.url, ApiKey.parse("x" * 40, "WANDB_API_KEY")) as api:
        assert fetched(registry, "http", HttpsFiles(api), entry) == OLD
        clouds.put("site/x.bin", NEW)
        with pytest.raises(VerificationError):
            fetched(registry, "http", HttpsFiles(api), entry)
