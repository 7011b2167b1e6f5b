"""W&B over HTTP, in our types: a handful of questions, and files from signed URLs."""

from __future__ import annotations

import base64
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import TracebackType
from typing import Any
from urllib.parse import quote

from registry_client import __version__, queries
from registry_client.connections import Connections
from registry_client.errors import FetchError
from registry_client.graphql import GraphQL, UnknownFieldError
from registry_client.manifest import LARGEST_BODY, Manifest, ManifestEntry
from registry_client.mark_api import MarkApi
from registry_client.patience import TransientError, patiently
from registry_client.record import ArtifactRecord, Membership, Organization, Surroundings, by_aliases
from registry_client.reference import ArtifactId, CollectionPath
from registry_client.version import ArtifactVersion
from registry_client.wire import Body, Credential, StaleUrlError, Wire

_PAGE = 5000
_COLLECTIONS_A_PAGE = 100


class WandbApi:
    """One W&B server as one credential sees it; usable from several threads, and a context manager.

    Args:
        base_url: Without a trailing slash, as ``credentials.base_url`` gives it.
        credential: Shown to that server alone; None for what everybody may see.
        environ: Names proxies, and certificates to trust; by default this process's own.
        sleep: Waits between tries.
        read_timeout: Seconds without a byte after which a connection counts as dead.

    Attributes:
        marks: What can be changed there.
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
        self._endpoint_parts: int | None = None
        connections = Connections(
            os.environ if environ is None else environ,
            user_agent=f"wandb-handoff/{__version__}",
            read_timeout=read_timeout,
        )
        self._wire = Wire(base_url, credential, connections)
        self._graphql = GraphQL(self._wire, credential, sleep)
        self.marks = MarkApi(self._graphql)

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
        project = self._graphql.ask(
            queries.VERSION_BY_NAME,
            queries.VERSION_BY_NAME_OLDER,
            entity=collection.entity,
            project=collection.project,
            name=f"{collection.name}:{alias}",
        ).get("project")
        return self._graphql.read(lambda: _named(project or {}, collection))

    def by_id(self, artifact_id: ArtifactId) -> ArtifactRecord | None:
        """The version with that id, with every place that it has; None when W&B shows none."""
        found = self._graphql.ask(
            queries.VERSION_BY_ID, queries.VERSION_BY_ID_OLDER, id=artifact_id.value
        ).get("artifact")
        return self._graphql.read(lambda: _identified(found)) if found else None

    def surroundings(self, collection: CollectionPath) -> Surroundings:
        """What is there at and around a collection."""
        data = self._graphql.ask(
            queries.SURROUNDINGS,
            queries.SURROUNDINGS_OLDER,
            entity=collection.entity,
            project=collection.project,
            collection=collection.name,
        )
        return self._graphql.read(lambda: Surroundings.parse(data))

    def collections(self, entity: str, project: str) -> tuple[CollectionPath, ...] | None:
        """Every collection of a project, as far as the key sees them; None when it sees no such project."""
        names: list[str] = []
        after: str | None = None
        while True:
            data = self._graphql.ask(
                queries.COLLECTIONS, entity=entity, project=project, after=after, first=_COLLECTIONS_A_PAGE
            )
            if not data.get("project"):
                return None
            page = data["project"].get("artifactCollections") or {}
            names += self._graphql.read(lambda: [_text(edge["node"]["name"]) for edge in page["edges"]])  # noqa: B023 - called at once
            end = page.get("pageInfo") or {}
            if not end.get("hasNextPage") or end.get("endCursor") in {None, after}:
                return tuple(CollectionPath(entity, project, name) for name in dict.fromkeys(names))
            after = end["endCursor"]

    def organization(self, name: str) -> Organization | None:
        """The organization with that display name, if this key sees it and the server has any."""
        try:
            data = self._graphql.ask(queries.ORGANIZATION, name=name)
        except UnknownFieldError:
            return None
        return self._graphql.read(lambda: Organization.parse(data.get("organization")))

    def own_organizations(self) -> tuple[Organization, ...]:
        """The organization of the key's default entity, else all that its user belongs to."""
        try:
            return self._own_organizations()
        except UnknownFieldError:
            return ()

    def _own_organizations(self) -> tuple[Organization, ...]:
        read = self._graphql.read
        viewer = self._graphql.ask(queries.OWN_ORGANIZATIONS).get("viewer") or {}
        every = read(lambda: [Organization.parse(each) for each in viewer.get("organizations") or ()])
        if len(every) != 1 and viewer.get("entity"):
            entity = (
                self._graphql.ask(queries.ORGANIZATION_OF_ENTITY, entity=viewer["entity"]).get("entity") or {}
            )
            if default := read(lambda: Organization.parse(entity.get("organization"))):
                return (default,)
        return tuple(each for each in every if each is not None)

    def manifest(self, version: ArtifactVersion) -> bytes:
        """The manifest's JSON, as W&B stores it."""

        def attempt() -> bytes:
            artifact = self._graphql.ask(queries.MANIFEST, id=version.id).get("artifact") or {}
            url = self._graphql.read(lambda: _text(artifact["currentManifest"]["file"]["directUrl"]))
            try:
                with self._wire.open(url) as body:
                    if body.encoding is not None:
                        raise FetchError(f"the manifest of {version.name} came as {body.encoding}")
                    return b"".join(_bounded(body.chunks()))
            except StaleUrlError as error:  # A new question brings a new URL.
                raise TransientError(f"the manifest of {version.name}: {error}") from error

        return patiently(attempt, sleep=self._sleep)

    def url_pages(self, version: ArtifactVersion) -> Iterator[dict[str, str]]:
        """A signed, expiring URL for each path, a page at a time as it is asked for; some may be left out."""
        after: str | None = None
        while True:
            files = self._files(queries.FILE_URLS, queries.FILE_URLS_OLDER, version, after=after, first=_PAGE)
            yield self._graphql.read(lambda: dict(_named_urls(files)))  # noqa: B023 - called at once
            page = files.get("pageInfo") or {}
            if not page.get("hasNextPage") or page.get("endCursor") in {None, after}:
                return
            after = page["endCursor"]

    def file_url(self, version: ArtifactVersion, path: str) -> str | None:
        """A fresh URL for one path."""
        files = self._files(queries.FILE_URL, queries.FILE_URL_OLDER, version, names=[path])
        return self._graphql.read(lambda: dict(_named_urls(files))).get(path)

    def file_endpoints(
        self, version: ArtifactVersion, manifest: Manifest, entry: ManifestEntry
    ) -> tuple[str, ...]:
        """The server's own addresses for a file, to be opened signed in: what worked before is first."""
        digest = base64.b64decode(entry.digest).hex()
        place = version.collection
        if manifest.storage_layout == "V1":
            return (self._path("artifacts", place.entity, digest),)
        start = ("artifactsV2", manifest.storage_region)
        names = (place.entity, place.project, place.name)
        end = (entry.birth_artifact_id or "", digest)
        basename = entry.path.rpartition("/")[2]
        newest_first = (
            self._path(*start, *names, version.id, *end, basename),
            self._path(*start, *names, *end, basename),
            self._path(*start, place.entity, *end),
        )
        return tuple(sorted(newest_first, key=lambda url: url.count("/") != self._endpoint_parts))

    def open(self, url: str, *, offset: int = 0, length: int | None = None, signed_in: bool = False) -> Body:
        """Get a file, or a part of it; see ``Wire.open``."""
        body = self._wire.open(url, offset=offset, length=length, signed_in=signed_in)
        if signed_in:  # A server knows all files by the form of address by which it knows one.
            self._endpoint_parts = url.count("/")
        return body

    def _path(self, *parts: str) -> str:
        return "/".join((self.base_url, *(quote(part, safe="") for part in parts)))

    def _files(
        self, document: str, older: str, version: ArtifactVersion, **variables: Any
    ) -> Mapping[str, Any]:
        data = self._graphql.ask(
            document,
            older,
            id=version.id,
            entity=version.collection.entity,
            project=version.collection.project,
            collection=version.collection.name,
            version=version.version,
            **variables,
        )
        collection = (data.get("project") or {}).get("artifactCollection") or {}
        holder = data.get("artifact") or collection.get("artifactMembership") or {}
        return holder.get("files") or {}


def _named(project: Mapping[str, Any], collection: CollectionPath) -> ArtifactRecord | None:
    """The version in a project's answer, with its place in the collection that it was asked in."""
    if "artifact" in project:
        artifact = project["artifact"]
        places = [each for each in by_aliases(artifact or {}) if each.collection == collection]
    else:
        found = project.get("artifactCollectionMembership") or {}
        artifact = found.get("artifact")
        place = Membership.parse(found) if artifact else None
        places = [] if place is None else [place]
    return ArtifactRecord.parse(artifact, tuple(places)) if artifact else None


def _identified(artifact: Mapping[str, Any]) -> ArtifactRecord:
    if "artifactMemberships" not in artifact:
        return ArtifactRecord.parse(artifact, by_aliases(artifact))
    places = [Membership.parse(edge["node"]) for edge in artifact["artifactMemberships"]["edges"]]
    return ArtifactRecord.parse(artifact, tuple(place for place in places if place is not None))


def _bounded(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The bytes up to the first that are too many for a manifest, which ``Manifest.parse`` then refuses."""
    seen = 0
    for chunk in chunks:
        yield chunk
        seen += len(chunk)
        if seen > LARGEST_BODY:
            return


def _named_urls(files: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for edge in files.get("edges") or ():
        node = edge["node"]
        if node and node["directUrl"]:
            yield node["name"], node["directUrl"]


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"want text, got {type(value).__name__}")
    return value
