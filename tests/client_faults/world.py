"""A W&B whose files are fetched through a proxy of faults, and a client that asks it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from registry_client.api import WandbApi
from registry_client.credentials import ApiKey
from registry_client.download import Download, download
from registry_client.resolve import resolve
from tests.client_faults.proxy import Asked, FaultProxy
from tests.stand_ins.wandb import Membership, WandbStandIn


class WandbBehind(WandbStandIn):
    """The stand-in, whose files are said to be at another origin."""

    front: FaultProxy | None = None

    @property
    def files_url(self) -> str:
        """The file store, as its signed addresses name it."""
        return super().files_url if self.front is None else self.front.url

    @property
    def real_files_url(self) -> str:
        """Where it really is."""
        return super().files_url


@dataclass
class World:
    """A W&B, the proxy before its files, and the one before its API."""

    wandb: WandbBehind
    files: FaultProxy
    api: FaultProxy
    naps: list[float] = field(default_factory=list)

    def fetch(self, version: Membership, into: Path, *, read_timeout: float = 5.0) -> Download:
        """Download as a new process would: resolve by name, with nothing remembered."""
        key = ApiKey.parse(self.wandb.api_key, "WANDB_API_KEY")
        with WandbApi(self.api.url, key, sleep=self.naps.append, read_timeout=read_timeout) as registry:
            found = resolve(version.name, registry)
            return download(found, into, registry, sleep=self.naps.append)

    def sent_of(self, version: Membership) -> int:
        """Bytes of files (not of the manifest) that the store has sent for a version."""
        return sum(
            count for path, count in self.files.sent.copy().items() if is_file(version)(Asked("", path, {}))
        )


def is_file(version: Membership, path: str | None = None) -> Callable[[Asked], bool]:
    """Whether a request is for a file of this version: for this one, or any."""
    manifest = version.artifact.manifest
    number = version.artifact.number
    if path is not None:
        wanted = f"/bucket/{number}/{manifest.places[path]}/"
        return lambda asked: asked.path.startswith(wanted)
    start = f"/bucket/{number}/"
    return lambda asked: asked.path.startswith(start) and not asked.path.endswith("manifest.json")


def is_manifest(asked: Asked) -> bool:
    """Whether a request is for a manifest."""
    return asked.path.endswith("/wandb_manifest.json")


def is_question(name: str) -> Callable[[Asked], bool]:
    """Whether a request is a GraphQL question that has this in it."""
    return lambda asked: asked.path == "/graphql" and name.encode() in asked.body


@contextmanager
def a_world() -> Iterator[World]:
    """All three, from start to stop."""
    wandb = WandbBehind()
    with wandb, FaultProxy(lambda: wandb.real_files_url) as files, FaultProxy(lambda: wandb.url) as api:
        wandb.front = files
        yield World(wandb, files, api)
