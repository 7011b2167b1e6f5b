"""Files in S3 and what speaks its language: by version id or ETag, with boto3 where it is installed."""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from typing import Any, NoReturn

from registry_client.errors import FetchError, ReferenceEntriesError, RegistryError, VerificationError
from registry_client.manifest import ManifestEntry
from registry_client.patience import TransientError
from registry_client.stored import Proof, Stored, changed, installed, refusal

_CHUNK = 1024 * 1024


class S3Files:
    """What lies in S3; credentials, region and endpoint are found where boto3 finds them."""

    def __init__(self, client: Any = None) -> None:
        self._made = client
        self._making = threading.Lock()

    def lacks(self, entry: ManifestEntry) -> str | None:
        """Say which package is missing."""
        if self._made is None and not installed("boto3"):
            return "boto3 is not installed: pip install 'wandb-handoff[s3]'"
        return None if all(_place(entry)) else "want s3://bucket/key"

    @contextmanager
    def open(self, entry: ManifestEntry, offset: int) -> Iterator[Stored]:
        """The object's bytes, of the version that was logged or of whichever has its ETag."""
        answer = self._get(entry, offset)
        with closing(answer["Body"]) as body:
            yield Stored(
                _chunks(entry, body), offset, offset + answer["ContentLength"], proof=_proof(entry, answer)
            )

    def _get(self, entry: ManifestEntry, offset: int) -> Mapping[str, Any]:
        bucket, key = _place(entry)
        asked = {"Bucket": bucket, "Key": key, "IfMatch": f'"{entry.digest}"'}
        if offset:
            asked["Range"] = f"bytes={offset}-"
        if entry.version_id is not None:
            return self._ask(entry, asked | {"VersionId": entry.version_id})
        try:
            return self._ask(entry, asked)
        except VerificationError:
            if (older := self._older(entry, bucket, key)) is None:
                raise
            return self._ask(entry, asked | {"VersionId": older})

    def _older(self, entry: ManifestEntry, bucket: str, key: str) -> str | None:
        """The version that has the ETag; None where there is none, or we may not look."""
        from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415 - an extra

        try:
            pages = self._client().get_paginator("list_object_versions").paginate(Bucket=bucket, Prefix=key)
            versions = (each for page in pages for each in page.get("Versions", ()))
            wanted = (str(each["VersionId"]) for each in versions if _same(each, key, entry.digest))
            return next(wanted, None)
        except (BotoCoreError, ClientError):
            return None

    def _ask(self, entry: ManifestEntry, asked: Mapping[str, str]) -> Mapping[str, Any]:
        from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415 - an extra

        try:
            answer: Mapping[str, Any] = self._client().get_object(**asked)
        except ClientError as error:
            raise _refusal(entry, error.response) from error
        except BotoCoreError as error:
            _raise_ours(entry, error)
        if answer.get("ETag", "").strip('"') != entry.digest:
            answer["Body"].close()
            raise VerificationError(changed(entry, f"the ETag {answer.get('ETag')}"))
        return answer

    def _client(self) -> Any:
        with self._making:
            if self._made is None:
                import boto3  # noqa: PLC0415 - an extra, and slow to load
                from botocore.config import Config  # noqa: PLC0415

                config = Config(connect_timeout=10, read_timeout=30, max_pool_connections=64)
                self._made = boto3.session.Session().client("s3", config=config)
            return self._made


def _place(entry: ManifestEntry) -> tuple[str, str]:
    """Bucket and key; in a key every letter after the first slash is its own, a question mark too."""
    bucket, _, key = (entry.reference or "").removeprefix("s3://").partition("/")
    return bucket, key


def _same(version: Mapping[str, Any], key: str, etag: str) -> bool:
    return bool(version["Key"] == key and version.get("ETag", "").strip('"') == etag)


def _proof(entry: ManifestEntry, answer: Mapping[str, Any]) -> Proof | None:
    """The ETag is an MD5 for what was put in one piece and is not under a customer's key."""
    plain = answer.get("ServerSideEncryption") in {None, "AES256"} and not answer.get("SSECustomerAlgorithm")
    express = _place(entry)[0].endswith("--x-s3")  # There an ETag is no MD5, whatever its length.
    if not plain or express or re.fullmatch(r"[0-9a-f]{32}", entry.digest) is None:
        return None
    return Proof("MD5", lambda: hashlib.md5(usedforsecurity=False), bytes.fromhex(entry.digest))


def _chunks(entry: ManifestEntry, body: Any) -> Iterator[bytes]:
    from botocore.exceptions import BotoCoreError  # noqa: PLC0415 - an extra

    try:
        yield from body.iter_chunks(_CHUNK)
    except BotoCoreError as error:
        _raise_ours(entry, error)
    except OSError as error:
        raise TransientError(f"S3: {error.strerror or type(error).__name__}") from error


def _refusal(entry: ManifestEntry, response: Mapping[str, Any]) -> RegistryError:
    status = response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    said = response.get("Error", {}).get("Code")
    if said == "InvalidArgument":  # That is what a version id gets that is none.
        return ReferenceEntriesError(f"{entry.path}: S3 does not give it to us: it answered {said}")
    return refusal(entry, "S3", status, said or "")


def _raise_ours(entry: ManifestEntry, error: Exception) -> NoReturn:
    from botocore import exceptions  # noqa: PLC0415 - an extra

    if isinstance(error, exceptions.FlexibleChecksumError):
        raise VerificationError(
            f"{entry.path}: its bytes are not those that S3 has the checksum of"
        ) from error
    if isinstance(error, exceptions.NoCredentialsError | exceptions.PartialCredentialsError):
        raise ReferenceEntriesError(
            f"{entry.path}: boto3 finds no credentials here: sign in to the cloud in a step before"
        ) from error
    if isinstance(
        error, exceptions.HTTPClientError | exceptions.IncompleteReadError | exceptions.ResponseStreamingError
    ):
        raise TransientError(f"S3: {type(error).__name__}") from error
    raise FetchError(f"{entry.path}: boto3 cannot ask: {type(error).__name__}") from error
