"""What can go wrong between a name in W&B and proven files: one error per thing to do next."""

from __future__ import annotations


class RegistryError(Exception):
    """The base of every error that this package raises on purpose.

    Attributes:
        reason: A short slug for programs and README's table.
        exit_code: What the commands and the Action exit with.
        retryable: Whether the same call may succeed later, with nothing changed here.
    """

    reason = "registry-error"
    exit_code = 1
    retryable = False


class InvalidReferenceError(RegistryError):
    """The text does not name an artifact version."""

    reason = "invalid-reference"
    exit_code = 2


class ConfigurationError(RegistryError):
    """A setting (key, base URL, path) is missing or malformed."""

    reason = "configuration"
    exit_code = 2


class AccessDeniedError(RegistryError):
    """W&B knows the question but not our right to the answer."""

    reason = "access-denied"
    exit_code = 3


class ArtifactNotFoundError(RegistryError):
    """No such project, collection, version or alias, or none that this key may see."""

    reason = "not-found"
    exit_code = 4


class ArtifactDeletedError(ArtifactNotFoundError):
    """The version was there and has been deleted."""

    reason = "deleted"
    exit_code = 5


class ArtifactNotCommittedError(RegistryError):
    """The version exists, but its upload has not ended."""

    reason = "not-committed"
    exit_code = 6
    retryable = True


class AliasMovedError(RegistryError):
    """The version no longer carries the alias that was expected."""

    reason = "alias-moved"
    exit_code = 7


class ManifestError(RegistryError):
    """The manifest is malformed, unsafe (a path that leaves the directory) or not what was promised."""

    reason = "bad-manifest"
    exit_code = 8


class ReferenceEntriesError(RegistryError):
    """The artifact points at files outside W&B that are not to be fetched, or cannot be."""

    reason = "reference-entries"
    exit_code = 9


class VerificationError(RegistryError):
    """Bytes arrived that are not the promised ones."""

    reason = "verification-failed"
    exit_code = 10


class TargetError(RegistryError):
    """The directory to write to is not usable: it holds other files, is not writable, or in use."""

    reason = "target"
    exit_code = 11


class FetchError(RegistryError):
    """W&B or its file store could not be reached, or answered with a fault."""

    reason = "fetch-failed"
    exit_code = 12
    retryable = True


class DiskFullError(TargetError):
    """The disk takes fewer bytes than the files have."""

    reason = "disk-full"
    exit_code = 13


class TooLargeError(RegistryError):
    """The files have more bytes than the caller allows."""

    reason = "too-large"
    exit_code = 14


class CertificateError(FetchError):
    """The server's certificate is not one that we trust."""

    reason = "certificate"
    exit_code = 15
    retryable = False


class ProxyError(FetchError):
    """The proxy that the environment names does not lead to the server."""

    reason = "proxy"
    exit_code = 16


class BuildContextError(RegistryError):
    """The files do not make the image that was asked for."""

    reason = "build-context"
    exit_code = 17
