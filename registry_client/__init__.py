"""Resolve a W&B artifact version and download it, every byte proven, without the wandb SDK.

    from pathlib import Path
    from registry_client import connect, download, resolve

    with connect() as wandb:
        version = resolve("acme/wandb-registry-model/flower:production", wandb)
        done = download(version, Path("model"), wandb)
    print(version.name, version.digest, done.directory)

``connect`` takes the key from WANDB_API_KEY, the file WANDB_API_KEY_FILE or the netrc (or exchanges an
identity token for one), and the server from WANDB_BASE_URL.  ``resolve`` pins what a name means now: the
ArtifactVersion never changes.  ``download`` checks the manifest against the version's digest, and every
file against the manifest; what is in the directory or a ``Cache`` already is proven too, and not fetched;
the directory appears whole or not at all.  Whatever goes wrong is a RegistryError, whose
``reason`` says what to do next and whose ``retryable`` says whether to try again.
"""

from __future__ import annotations

__version__ = "0.1.0"

import os
from collections.abc import Mapping

from registry_client import credentials
from registry_client.api import WandbApi
from registry_client.cache import Cache
from registry_client.download import Download, download
from registry_client.errors import (
    AccessDeniedError,
    AliasMovedError,
    ArtifactDeletedError,
    ArtifactNotCommittedError,
    ArtifactNotFoundError,
    BuildContextError,
    CertificateError,
    ConfigurationError,
    DiskFullError,
    FetchError,
    InvalidReferenceError,
    ManifestError,
    ProxyError,
    ReferenceEntriesError,
    RegistryError,
    TargetError,
    TooLargeError,
    VerificationError,
)
from registry_client.manifest import Manifest, ManifestEntry
from registry_client.progress import Progress
from registry_client.reference import ArtifactId, ArtifactRef, CollectionPath, parse_reference
from registry_client.references import ReferencePolicy
from registry_client.resolve import resolve
from registry_client.version import ArtifactVersion, DigestAlgorithm, SourceRun

__all__ = [
    "AccessDeniedError",
    "AliasMovedError",
    "ArtifactDeletedError",
    "ArtifactId",
    "ArtifactNotCommittedError",
    "ArtifactNotFoundError",
    "ArtifactRef",
    "ArtifactVersion",
    "BuildContextError",
    "Cache",
    "CertificateError",
    "CollectionPath",
    "ConfigurationError",
    "DigestAlgorithm",
    "DiskFullError",
    "Download",
    "FetchError",
    "InvalidReferenceError",
    "Manifest",
    "ManifestEntry",
    "ManifestError",
    "Progress",
    "ProxyError",
    "ReferenceEntriesError",
    "ReferencePolicy",
    "RegistryError",
    "SourceRun",
    "TargetError",
    "TooLargeError",
    "VerificationError",
    "WandbApi",
    "__version__",
    "connect",
    "download",
    "parse_reference",
    "resolve",
]


def connect(
    environ: Mapping[str, str] | None = None,
    *,
    auth: credentials.Auth | None = None,
    audience: str | None = None,
) -> WandbApi:
    """W&B as this environment names it; to be closed, or used in a ``with``.

    Args:
        environ: By default this process's own.
        auth: How to sign in; see ``credentials.sign_in``.
        audience: Whom GitHub's identity token is for, where one is exchanged.

    Raises:
        ConfigurationError: What signs us in or the base URL is missing or malformed; the message names where.
    """
    environ = os.environ if environ is None else environ
    base_url = credentials.base_url(environ)
    credential = credentials.sign_in(environ, base_url, auth=auth, audience=audience)
    if credential is None:
        raise ConfigurationError(
            f"there is no key for {base_url}: set WANDB_API_KEY, or WANDB_API_KEY_FILE to a file "
            "that holds it, or add the host to the netrc; or sign in without a key by auth: oidc"
        )
    return WandbApi(base_url, credential, environ=environ)
