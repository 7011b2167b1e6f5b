"""What is changed in W&B, and what a key may change there: one method for each mutation."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from registry_client import queries
from registry_client.errors import AccessDeniedError, ArtifactNotFoundError
from registry_client.graphql import GraphQL, UnknownFieldError
from registry_client.reference import CollectionPath

ROLES = ("admin", "member", "viewer", "restricted_viewer")  # The first may do most.


class MarkApi:
    """The mutations; each may be asked for again, and changes nothing more then."""

    def __init__(self, graphql: GraphQL) -> None:
        self._graphql = graphql

    def read_only(self, entity: str, project: str) -> bool:
        """Whether nothing there can be changed with this key; what it does not see is read-only."""
        found = self._graphql.ask(queries.READ_ONLY, entity=entity, project=project).get("project")
        return not found or bool(found.get("readOnly"))

    def role(self, entity: str, project: str) -> str | None:
        """What the key's user is in a registry, by itself or through a team; None when W&B does not tell."""
        try:
            data = self._graphql.ask(queries.ROLES, entity=entity, project=project)
        except (AccessDeniedError, ArtifactNotFoundError, UnknownFieldError):
            return None
        held = self._graphql.read(lambda: set(_roles(data)))
        return min(held & set(ROLES), key=ROLES.index, default=None)

    def add_aliases(self, artifact_id: str, collection: CollectionPath, aliases: Iterable[str]) -> None:
        """Give them to the version in that collection, all or none; each leaves the version that had it."""
        self._change(queries.ADD_ALIASES, artifactID=artifact_id, aliases=_aliases(collection, aliases))

    def remove_aliases(self, artifact_id: str, collection: CollectionPath, aliases: Iterable[str]) -> None:
        """Take them from the version in that collection."""
        self._change(queries.DELETE_ALIASES, artifactID=artifact_id, aliases=_aliases(collection, aliases))

    def link(self, artifact_id: str, collection: CollectionPath, aliases: Sequence[str]) -> None:
        """Show the version in that collection too, under these aliases there."""
        self._change(
            queries.LINK_ARTIFACT,
            artifactID=artifact_id,
            entityName=collection.entity,
            projectName=collection.project,
            artifactPortfolioName=collection.name,
            aliases=[{"artifactCollectionName": collection.name, "alias": alias} for alias in aliases],
        )

    def update(
        self,
        artifact_id: str,
        *,
        tags: Iterable[str] = (),
        without_tags: Iterable[str] = (),
        metadata: Mapping[str, Any] | None = None,
    ) -> None:
        """Change what belongs to the version in every collection; ``metadata`` replaces all there is."""
        whole = {} if metadata is None else {"metadata": json.dumps(metadata)}
        self._change(
            queries.UPDATE_ARTIFACT,
            artifactID=artifact_id,
            tagsToAdd=[{"tagName": tag} for tag in tags],
            tagsToDelete=[{"tagName": tag} for tag in without_tags],
            **whole,
        )

    def _change(self, document: str, **asked: Any) -> None:
        self._graphql.ask(document, input=asked)


def _roles(data: Mapping[str, Any]) -> Iterator[str]:
    """The roles of whoever asks, their own and their teams'."""
    viewer, project = data.get("viewer") or {}, data.get("project") or {}
    for each in project.get("members") or ():
        if each["username"] == viewer.get("username"):
            yield each["role"]["name"]
    teams = {edge["node"]["name"] for edge in (viewer.get("teams") or {}).get("edges") or () if edge["node"]}
    for each in project.get("teamMembers") or ():
        if each["team"]["name"] in teams:
            yield each["role"]["name"]


def _aliases(collection: CollectionPath, aliases: Iterable[str]) -> list[dict[str, str]]:
    place = {
        "entityName": collection.entity,
        "projectName": collection.project,
        "artifactCollectionName": collection.name,
    }
    return [{**place, "alias": alias} for alias in aliases]
