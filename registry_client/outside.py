"""Files that lie outside W&B, from where they lie, each checked by what the artifact knows of it."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence

from registry_client.manifest import ManifestEntry
from registry_client.transfer import Source
from registry_client.version import ArtifactVersion


class Outside:
    """Fetches what a version points at over https, and in s3, gs and az where the matching SDK is installed.

    Args:
        source: Opens https URLs; never signed in.
        version: Which version points there, for messages.
        limit: How many bytes a file without a known size may have.
        sleep: Waits between tries.
    """

    def __init__(
        self,
        source: Source,
        version: ArtifactVersion,
        *,
        limit: int | None = None,
        sleep: Callable[[float], object] | None = None,
    ) -> None:
        raise NotImplementedError

    def check(self, entries: Sequence[ManifestEntry]) -> None:
        """Check that each could be fetched, before anything is, or raise ReferenceEntriesError."""

    def fetch(self, entry: ManifestEntry) -> Generator[bytes, None, None]:
        """The file's bytes in order; they are what the artifact means only if this ends without an error.

        Raises:
            VerificationError: The storage has other bytes there now.
            FetchError: It could not be fetched, in spite of new tries.
        """
        raise NotImplementedError

    def stop(self) -> None:
        """End every fetch."""
