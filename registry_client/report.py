"""What the end of a job tells the receiver, and how it is signed: pure."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from typing import Any
from urllib.parse import urlsplit

from registry_client.base_url import is_loopback
from registry_client.errors import ConfigurationError
from registry_client.mark import LATEST, Changes
from registry_client.reference import CollectionPath
from registry_client.version import ArtifactVersion

HEADER = "X-Handoff-Signature"
PATH = "/reports"
SECRET = "HANDOFF_REPORT_SECRET"  # noqa: S105 - a variable's name
FORMAT = 1
MARKING = "marking"
STATES = ("success", "failure", "cancelled")
_PREFIX = "sha256="


@dataclass(frozen=True)
class Mark:
    """Something that we write in W&B, and that W&B will tell of.

    Attributes:
        collection: ``project/name`` where it happens; empty where it happens in each that the version is in.
        name: ``alias:…``, ``tag:…``, ``untag:…`` or ``link``.
    """

    collection: str
    name: str


@dataclass(frozen=True)
class Report:
    """What a job tells of one version.

    Attributes:
        at: When; a receiver takes none that is older than a few minutes.
        state: ``marking`` before W&B is changed; in the end one of ``STATES``.
        version: The version's full name, or what the job's event says of it.
        artifact: W&B's id of it, where it is known.
        delivery: The receiver's id of the webhook that started the job, where one did.
        key: The receiver's key of the dispatch.
        repository: ``owner/name`` of the job.
        run_url: The job's page.
        image: What was deployed, by its digest.
        url: Where it answers.
        problem: What went wrong with the report itself, if anything.
        marks: What is about to be written.
        withdrawn: What was announced so, and is not.
    """

    at: datetime
    state: str
    version: str
    artifact: str | None = None
    digest: str | None = None
    delivery: str | None = None
    key: str | None = None
    repository: str | None = None
    run_url: str | None = None
    image: str | None = None
    url: str | None = None
    problem: str | None = None
    marks: tuple[Mark, ...] = ()
    withdrawn: tuple[Mark, ...] = ()

    def to_bytes(self) -> bytes:
        """The body as it is signed and sent."""
        told: Mapping[str, Any] = {**asdict(self), "report": FORMAT, "at": _moment(self.at)}
        return json.dumps(told, sort_keys=True, separators=(",", ":")).encode("ascii")


def signature(body: bytes, secret: bytes) -> str:
    """The header's value: HMAC-SHA256 of exactly these bytes."""
    return _PREFIX + hmac.new(secret, body, hashlib.sha256).hexdigest()


def own_marks(version: ArtifactVersion, changes: Changes) -> tuple[Mark, ...]:
    """What W&B will tell of these changes; it tells of no alias that goes, and of no metadata."""
    return tuple(dict.fromkeys(_own_marks(version, changes)))


def reports_url(name: str, text: str) -> str:
    """Where reports go, from the receiver's own URL; a ConfigurationError begins with the name."""
    try:
        parts = urlsplit(text.strip())
        host = parts.hostname or ""
        private = parts.scheme == "https" or (parts.scheme == "http" and is_loopback(host))
    except ValueError:
        host, private = "", False
    if not host or not private or parts.username or parts.query or parts.fragment:
        raise ConfigurationError(f"{name}: want the receiver's URL, like https://handoff.example.com")
    path = parts.path.rstrip("/")
    return f"{parts.scheme}://{parts.netloc}{path if path.endswith(PATH) else path + PATH}"


def _own_marks(version: ArtifactVersion, changes: Changes) -> Iterator[Mark]:
    here = place(version.collection)
    yield from (Mark(here, f"alias:{alias}") for alias in changes.aliases)
    for linking in changes.links:
        there = place(linking.collection)
        yield Mark(there, "link")
        yield from (Mark(there, f"alias:{alias}") for alias in (LATEST, *linking.aliases))
    yield from (Mark("", f"tag:{tag}") for tag in changes.tags)
    yield from (Mark("", f"untag:{tag}") for tag in changes.without_tags)


def place(collection: CollectionPath) -> str:
    """The collection as marks name it: without the entity, which W&B writes in more than one way."""
    return f"{collection.project}/{collection.name}"


def _moment(at: datetime) -> str:
    return at.astimezone(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")
