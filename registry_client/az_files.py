"""Files in Azure Blob Storage: by version id or ETag, with Azure's SDK where it is installed."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from registry_client.errors import ReferenceEntriesError, VerificationError
from registry_client.manifest import ManifestEntry
from registry_client.patience import TransientError
from registry_client.stored import OTHER_CONTENT, Proof, Stored, changed, installed, refusal

_AHEAD = 8 * 1024 * 1024  # One request brings so much, and the SDK keeps it in memory.


class AzFiles:
    """What lies in Azure's blob storage; credentials are found where Azure's SDK finds them.

    Args:
        service: Gives the SDK's client for an account's address; None signs in by azure-identity.
    """

    def __init__(self, service: Callable[[str], Any] | None = None) -> None:
        self._service = _signed_in() if service is None else service
        self._given = service is not None

    def lacks(self, entry: ManifestEntry) -> str | None:
        """Say which package is missing."""
        if not self._given and not all(map(installed, ("azure.storage.blob", "azure.identity"))):
            return "azure-storage-blob and azure-identity are not installed: pip install 'wandb-handoff[az]'"
        try:
            odd = urlsplit(entry.reference or "").netloc != (urlsplit(entry.reference or "").hostname or "")
        except ValueError:
            odd = True
        return (
            "want https://ACCOUNT.blob.core.windows.net/container/name"
            if odd or not all(_place(entry))
            else None
        )

    @contextmanager
    def open(self, entry: ManifestEntry, offset: int) -> Iterator[Stored]:
        """The blob's bytes, of the version that was logged or of whichever has its ETag."""
        with _ours(entry):
            found = self._download(entry, offset)
        got = found.properties.etag or ""
        if got.strip('"') != entry.digest:
            raise VerificationError(changed(entry, f"the ETag {got}"))
        yield Stored(_chunks(entry, found), offset, offset + found.size, proof=_proof(found.properties))

    def _download(self, entry: ManifestEntry, offset: int) -> Any:
        from azure.core import MatchConditions  # noqa: PLC0415 - an extra
        from azure.core.exceptions import HttpResponseError  # noqa: PLC0415

        account, container, name = _place(entry)
        service = self._service(account)
        blob = service.get_blob_client(container=container, blob=name)
        asked: dict[str, Any] = {"offset": offset} if offset else {}
        if entry.version_id is not None:
            return blob.download_blob(version_id=entry.version_id, **asked)
        try:
            same = {"etag": f'"{entry.digest}"', "match_condition": MatchConditions.IfNotModified}
            return blob.download_blob(**same, **asked)
        except HttpResponseError as error:
            if error.status_code != OTHER_CONTENT:
                raise
            if (older := _older(service.get_container_client(container), name, entry.digest)) is None:
                raise
            return blob.download_blob(version_id=older, **asked)


def _signed_in() -> Callable[[str], Any]:
    clients: dict[str, Any] = {}
    making = threading.Lock()

    def service(account: str) -> Any:
        with making:
            if account not in clients:
                from azure.identity import DefaultAzureCredential  # noqa: PLC0415 - an extra, and slow to load
                from azure.storage.blob import BlobServiceClient  # noqa: PLC0415

                clients[account] = BlobServiceClient(
                    account,
                    credential=DefaultAzureCredential(),
                    connection_timeout=10,
                    read_timeout=30,
                    max_single_get_size=_AHEAD,
                    max_chunk_get_size=_AHEAD,
                )
            return clients[account]

    return service


def _place(entry: ManifestEntry) -> tuple[str, str, str]:
    """The account's address, the container and the blob's name."""
    scheme, _, rest = (entry.reference or "").partition("://")
    host, _, path = rest.partition("/")
    container, _, name = path.partition("/")
    return f"{scheme}://{host}", container, name


def _older(container: Any, name: str, etag: str) -> str | None:
    """The version that has the ETag; None where there is none."""
    for blob in container.list_blobs(name_starts_with=name, include=["versions"]):
        if blob.name == name and (blob.etag or "").strip('"') == etag and blob.version_id is not None:
            return str(blob.version_id)
    return None


def _proof(properties: Any) -> Proof | None:
    want = properties.content_settings.content_md5
    return Proof("MD5", lambda: hashlib.md5(usedforsecurity=False), bytes(want)) if want else None


def _chunks(entry: ManifestEntry, found: Any) -> Iterator[bytes]:
    chunks = iter(found.chunks())
    while True:
        with _ours(entry):
            chunk = next(chunks, None)
        if chunk is None:
            return
        yield chunk


@contextmanager
def _ours(entry: ManifestEntry) -> Iterator[None]:
    """Turn the SDK's errors into ours."""
    from azure.core import exceptions  # noqa: PLC0415 - an extra

    try:
        yield
    except exceptions.ClientAuthenticationError as error:
        raise ReferenceEntriesError(
            f"{entry.path}: Azure does not let us in: sign in to the cloud in a step before"
        ) from error
    except exceptions.HttpResponseError as error:
        raise refusal(entry, "Azure", error.status_code or 0) from error
    except (exceptions.AzureError, OSError) as error:
        raise TransientError(f"Azure: {type(error).__name__}") from error
