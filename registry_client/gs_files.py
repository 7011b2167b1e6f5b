"""Files in Google Cloud Storage: by generation and ETag, with Google's SDK where it is installed."""

from __future__ import annotations

import base64
import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from registry_client.errors import ReferenceEntriesError, VerificationError
from registry_client.manifest import ManifestEntry
from registry_client.patience import TransientError
from registry_client.stored import Proof, Stored, changed, installed, refusal

_CHUNK = 1024 * 1024
_AHEAD = 8 * _CHUNK  # One request brings so much.
_TIMEOUT = (10, 30)


class GsFiles:
    """What lies in Google Cloud Storage; credentials are found where Google's SDK finds them."""

    def __init__(self, client: Any = None) -> None:
        self._made = client
        self._making = threading.Lock()

    def lacks(self, entry: ManifestEntry) -> str | None:
        """Say which package is missing."""
        if self._made is None and not installed("google.cloud.storage"):
            return "google-cloud-storage is not installed: pip install 'wandb-handoff[gs]'"
        return None if all(_place(entry)) else "want gs://bucket/name"

    @contextmanager
    def open(self, entry: ManifestEntry, offset: int) -> Iterator[Stored]:
        """The object's bytes, of the generation that was logged or of the newest with its ETag."""
        with _ours(entry):
            blob = self._blob(entry)
            if blob.etag != entry.digest:
                raise VerificationError(changed(entry, f"the ETag {blob.etag}"))
            # As it is stored: what is kept compressed has the size and checksum of that.
            reader = blob.open("rb", chunk_size=_AHEAD, raw_download=True, timeout=_TIMEOUT)
        try:
            reader.seek(offset)
            yield Stored(_chunks(entry, reader), offset, blob.size, proof=_proof(blob))
        finally:
            reader.close()

    def _blob(self, entry: ManifestEntry) -> Any:
        bucket, name = _place(entry)
        held = self._client().bucket(bucket)
        blob = None
        if entry.version_id is not None and entry.version_id.isdecimal():
            blob = held.get_blob(name, generation=int(entry.version_id), timeout=_TIMEOUT)
        blob = blob or held.get_blob(name, timeout=_TIMEOUT)
        if blob is None:
            raise ReferenceEntriesError(
                f"{entry.path}: there is no such object in the bucket {bucket} any more"
            )
        return blob

    def _client(self) -> Any:
        with self._making:
            if self._made is None:
                from google.cloud import storage  # noqa: PLC0415 - an extra, and slow to load

                self._made = storage.Client()
            return self._made


def _place(entry: ManifestEntry) -> tuple[str, str]:
    bucket, _, name = (entry.reference or "").removeprefix("gs://").partition("/")
    return bucket, name


def _proof(blob: Any) -> Proof | None:
    if blob.md5_hash:
        return Proof("MD5", lambda: hashlib.md5(usedforsecurity=False), base64.b64decode(blob.md5_hash))
    if blob.crc32c:  # All there is of an object that was put together from others.
        from google_crc32c import Checksum  # noqa: PLC0415 - comes with Google's SDK

        return Proof("CRC32C", Checksum, base64.b64decode(blob.crc32c))
    return None


def _chunks(entry: ManifestEntry, reader: Any) -> Iterator[bytes]:
    while True:
        with _ours(entry):
            chunk = reader.read(_CHUNK)
        if not chunk:
            return
        yield chunk


@contextmanager
def _ours(entry: ManifestEntry) -> Iterator[None]:
    """Turn the SDK's errors into ours."""
    from google.api_core.exceptions import GoogleAPICallError  # noqa: PLC0415 - an extra
    from google.auth.exceptions import GoogleAuthError  # noqa: PLC0415
    from requests import RequestException  # noqa: PLC0415

    try:
        yield
    except GoogleAPICallError as error:
        raise refusal(entry, "Google Cloud Storage", int(error.code or 0)) from error
    except GoogleAuthError as error:
        raise ReferenceEntriesError(
            f"{entry.path}: Google's SDK finds no credentials here: sign in to the cloud in a step before"
        ) from error
    except (RequestException, OSError) as error:
        raise TransientError(f"Google Cloud Storage: {type(error).__name__}") from error
