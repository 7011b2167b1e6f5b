"""W&B over HTTP, in our types: a handful of GraphQL questions, and files from signed URLs."""

from __future__ import annotations

import base64
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from types import TracebackType
from typing import Any, TypeVar
from urllib.parse import quote

from registry_client import __version__, queries
from registry_client.connections import Connections
from registry_client.errors import (
    AccessDeniedError,
    ArtifactNotFoundError,
    ConfigurationError,
    FetchError,
    RegistryError,
)
from registry_client.manifest import Manifest, ManifestEntry
from registry_client.record import ArtifactRecord, Membership, Organization, Surroundings
from registry_client.reference import ArtifactId, CollectionPath
from registry_client.version import ArtifactVersion
from registry_client.wire import Body, Credential, StaleUrlError, TransientError, Wire, patiently

_PAGE = 5000
_OK, _UNAUTHORIZED, _FORBIDDEN = 200, 401, 403
_DENIED = ("permission", "denied", "unauthorized", "not authorized", "forbidden")
_NOT_FOUND = ("not found", "could not find", "does not exist")
T = TypeVar("T")


class WandbApi:
    """One W&B server as one credential sees it; usable from several threads, and a context manager.

    Args:
        base_url: Without a trailing slash, as ``credentials.base_url`` gives it.
        credential: Shown to that server alone; None for what everybody may see.
        environ: Names proxies, and certificates to trust; by default this process's own.
        sleep: Waits between tries.
        read_timeout: Seconds without a byte after which a connection counts as dead.
    """

    def __init__(
        self,
        base_url: str,
        credential: Credential | None,
        *,
        environ: Mapping[str, str] | None = None,
        sleep: Callable[[float], object] = time.sleep,
        read_timeout: float = 30.0,
    ) -> None:
        self.base_url = base_url
        self._credential = credential
        self._sleep = sleep
        self._knows_digest_algorithm = True
        connections = Connections(
            os.environ if environ is None else environ,
            user_agent=f"wandb-handoff/{__version__}",
            read_timeout=read_timeout,
        )
        self._wire = Wire(base_url, credential, connections)

    def __enter__(self) -> WandbApi:  # noqa: PYI034 - typing.Self is newer than our oldest Python
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"WandbApi({self.base_url!r}, {self._credential!r})"

    def close(self) -> None:
        """Close the connections."""
        self._wire.close()

    def by_name(self, collection: CollectionPath, alias: str) -> ArtifactRecord | None:
        """The version that an alias, or ``vN``, names in a collection; None when W&B shows none."""
        data = self._ask(
            queries.VERSION_BY_NAME,
            entity=collection.entity,
            project=collection.project,
            name=f"{collection.name}:{alias}",
        )
        found = self._read(lambda: (data["project"] or {}).get("artifactCollectionMembership"))
        if not found or not found.get("artifact"):
            return None
        membership = self._read(lambda: Membership.parse(found))
        memberships = () if membership is None else (membership,)
        return self._read(lambda: ArtifactRecord.parse(found["artifact"], memberships))

    def by_id(self, artifact_id: ArtifactId) -> ArtifactRecord | None:
        """The version with that id, with every place that it has; None when W&B shows none."""
        found = self._ask(queries.VERSION_BY_ID, id=artifact_id.value).get("artifact")
        if not found:
            return None
        edges = self._read(lambda: found["artifactMemberships"]["edges"])
        places = self._read(lambda: [Membership.parse(edge["node"]) for edge in edges])
        memberships = tuple(place for place in places if place is not None)
        return self._read(lambda: ArtifactRecord.parse(found, memberships))

    def surroundings(self, collection: CollectionPath) -> Surroundings:
        """What is there at and around a collection."""
        data = self._ask(
            queries.SURROUNDINGS,
            entity=collection.entity,
            project=collection.project,
            collection=collection.name,
        )
        there = (data.get("project") or {}).get("artifactCollection")
        latest = there and there["artifactMembership"]
        return Surroundings(
            user=(data.get("viewer") or {}).get("username"),
            entity=bool(data.get("entity")),
            project=bool(data.get("project")),
            collection=bool(there),
            latest=self._read(lambda: Membership.parse(latest)),
        )

    def organization(self, name: str) -> Organization | None:
        """The organization with that display name, if this key sees it."""
        data = self._ask(queries.ORGANIZATION, name=name)
        return self._read(lambda: Organization.parse(data.get("organization")))

    def own_organizations(self) -> tuple[Organization, ...]:
        """The organization of the key's default entity, else all that its user belongs to."""
        viewer = self._ask(queries.OWN_ORGANIZATIONS).get("viewer") or {}
        every = self._read(lambda: [Organization.parse(each) for each in viewer.get("organizations") or ()])
        if len(every) != 1 and viewer.get("entity"):
            entity = self._ask(queries.ORGANIZATION_OF_ENTITY, entity=viewer["entity"]).get("entity") or {}
            if default := self._read(lambda: Organization.parse(entity.get("organization"))):
                return (default,)
        return tuple(each for each in every if each is not None)

    def manifest(self, version: ArtifactVersion) -> bytes:
        """The manifest's JSON, as W&B stores it."""

        def attempt() -> bytes:
            artifact = self._ask(queries.MANIFEST, id=version.id).get("artifact") or {}
            url = self._read(lambda: _text(artifact["currentManifest"]["file"]["directUrl"]))
            try:
                with self._wire.open(url) as body:
                    if body.encoding is not None:
                        raise FetchError(f"the manifest of {version.name} came as {body.encoding}")
                    return b"".join(body.chunks())
            except StaleUrlError as error:  # A new question brings a new URL.
                raise TransientError(f"the manifest of {version.name}: {error}") from error

        return patiently(attempt, sleep=self._sleep)

    def url_pages(self, version: ArtifactVersion) -> Iterator[dict[str, str]]:
        """A signed, expiring URL for each path, a page at a time as it is asked for; some may be left out."""
        after: str | None = None
        while True:
            files = self._files(queries.FILE_URLS, version, after=after, first=_PAGE)
            yield self._read(lambda: dict(_named_urls(files)))  # noqa: B023 - called at once
            page = files.get("pageInfo") or {}
            if not page.get("hasNextPage") or page.get("endCursor") in {None, after}:
                return
            after = page["endCursor"]

    def file_urls(self, version: ArtifactVersion) -> dict[str, str]:
        """All pages of URLs as one."""
        return {path: url for page in self.url_pages(version) for path, url in page.items()}

    def file_url(self, version: ArtifactVersion, path: str) -> str | None:
        """A fresh URL for one path."""
        files = self._files(queries.FILE_URL, version, names=[path])
        return self._read(lambda: dict(_named_urls(files))).get(path)

    def file_endpoints(
        self, version: ArtifactVersion, manifest: Manifest, entry: ManifestEntry
    ) -> tuple[str, ...]:
        """The server's own addresses for a file, newest kind first, to be opened signed in."""
        digest = base64.b64decode(entry.digest).hex()
        place = version.collection
        if manifest.storage_layout == "V1":
            return (self._path("artifacts", place.entity, digest),)
        start = ("artifactsV2", manifest.storage_region)
        names = (place.entity, place.project, place.name)
        end = (entry.birth_artifact_id or "", digest)
        basename = entry.path.rpartition("/")[2]
        return (
            self._path(*start, *names, version.id, *end, basename),
            self._path(*start, *names, *end, basename),
            self._path(*start, place.entity, *end),
        )

    def open(self, url: str, *, offset: int = 0, length: int | None = None, signed_in: bool = False) -> Body:
        """Get a file, or a part of it; see ``Wire.open``."""
        return self._wire.open(url, offset=offset, length=length, signed_in=signed_in)

    def _path(self, *parts: str) -> str:
        return "/".join((self.base_url, *(quote(part, safe="") for part in parts)))

    def _files(self, document: str, version: ArtifactVersion, **variables: Any) -> Mapping[str, Any]:
        data = self._ask(
            document,
            entity=version.collection.entity,
            project=version.collection.project,
            collection=version.collection.name,
            version=version.version,
            **variables,
        )
        collection = (data.get("project") or {}).get("artifactCollection") or {}
        return (collection.get("artifactMembership") or {}).get("files") or {}

    def _ask(self, document: str, **variables: Any) -> dict[str, Any]:
        """Ask in GraphQL; the ``data`` of the answer, or one of our errors."""
        if not self._knows_digest_algorithm:
            document = queries.without_digest_algorithm(document)
        question = {"query": document, "variables": variables}
        status, body = patiently(lambda: self._wire.ask("/graphql", question), sleep=self._sleep)
        answer, messages = _answer(body)
        if self._knows_digest_algorithm and any(queries.DIGEST_ALGORITHM in each for each in messages):
            self._knows_digest_algorithm = False  # A server from before XXH128: everything is MD5.
            return self._ask(document, **variables)
        data = (answer or {}).get("data")
        if status == _OK and not messages and isinstance(data, dict):
            return data
        raise self._refusal(status, messages, is_json=answer is not None)

    def _refusal(self, status: int, messages: list[str], *, is_json: bool) -> RegistryError:
        host, said = self._wire.host, "; ".join(messages)[:300]
        if status == _UNAUTHORIZED:
            return AccessDeniedError(self._wrong_key())
        if status == _FORBIDDEN or _any_of(_DENIED, said):
            return AccessDeniedError(
                f"{host} does not let {self._whose_key()} read this: {said or f'it answered {status}'}"
            )
        if _any_of(_NOT_FOUND, said):
            return ArtifactNotFoundError(f"{host}: {said}")
        if not is_json:
            return ConfigurationError(
                f"{host} answered {status} and no JSON to /graphql: is WANDB_BASE_URL W&B's API?"
            )
        return FetchError(f"{host} answered {status}: {said or 'without data'}")

    def _wrong_key(self) -> str:
        if self._credential is None:
            return f"{self._wire.host} wants a key, and none was given: set WANDB_API_KEY"
        return (
            f"{self._wire.host} does not know {self._whose_key()}: want a key made on this server, "
            "and not revoked; WANDB_BASE_URL says which server is asked"
        )

    def _whose_key(self) -> str:
        return (
            "anybody without a key" if self._credential is None else f"the key from {self._credential.source}"
        )

    def _read(self, reading: Callable[[], T]) -> T:
        try:
            return reading()
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise FetchError(
                f"{self._wire.host} answered in a form we do not know: {type(error).__name__}: {error}"
            ) from error


def _named_urls(files: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for edge in files.get("edges") or ():
        node = edge["node"]
        if node and node["directUrl"]:
            yield node["name"], node["directUrl"]


def _answer(body: bytes) -> tuple[dict[str, Any] | None, list[str]]:
    """The JSON object, if it is one, and the messages of all errors in it, in any of W&B's forms."""
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        return None, []
    if not isinstance(answer, dict):
        return None, []
    errors = answer.get("errors") or ([answer["error"]] if answer.get("error") else [])
    errors = errors if isinstance(errors, list) else [errors]
    return answer, [str(each.get("message", each) if isinstance(each, dict) else each) for each in errors]


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"want text, got {type(value).__name__}")
    return value


def _any_of(words: tuple[str, ...], said: str) -> bool:
    return any(word in said.lower() for word in words)
