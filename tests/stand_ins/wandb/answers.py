"""What W&B answers to whom: one small function per GraphQL field that is more than an attribute."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Sequence
from collections.abc import Collection as Names
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from tests.stand_ins.wandb.manifest import Entry
from tests.stand_ins.wandb.state import (
    Artifact,
    Collection,
    Membership,
    Organization,
    Project,
    State,
    User,
    global_id,
)

_USUAL_PAGE = 50
_SETTINGS_OF_ENTITY: dict[str, Any] = {
    "available": True,
    "photoUrl": None,
    "readOnly": False,
    "readOnlyAdmin": False,
    "isTeam": True,
    "privateOnly": False,
    "storageBytes": 0,
    "codeSavingEnabled": False,
    "defaultAccess": "PRIVATE",
    "isPaid": True,
    "members": [],
}
Node = dict[str, Any]


@dataclass(frozen=True)
class Asker:
    """Who asks, and what their answers are made from.

    Attributes:
        file_url: Makes the signed address of a file.
        manifest_url: Makes the signed address of a manifest.
        most_per_page: A cap on every page.
        version_aliases: Whether ``vN`` is listed among the aliases.
        direct_urls: Whether files have signed addresses.
    """

    state: State
    user: User
    features: Names[str]
    file_url: Callable[[Artifact, Entry], str]
    manifest_url: Callable[[Artifact], str]
    most_per_page: int | None
    version_aliases: bool
    direct_urls: bool = True

    def artifact(self, artifact_id: str) -> Artifact | None:
        """The version of this id, visible through any collection that is."""
        found = self.state.find_artifact(artifact_id)
        return found if found is not None and self.memberships(found) else None

    def memberships(self, artifact: Artifact) -> list[Membership]:
        """Where they see this version."""
        return [each for each in artifact.memberships if self.user.sees(each.entity)]

    def project(self, entity: str, name: str) -> Project | None:
        """The project, if they see it."""
        return self.state.projects.get((entity, name)) if self.user.sees(entity) else None

    def organizations(self) -> list[Organization]:
        """Those of which they see anything."""
        known = self.state.organizations
        return [each for each in known if any(map(self.user.sees, (each.entity, *each.teams)))]

    def entity(self, name: str) -> Node | None:
        """The person, team or organization of this name, if they see it."""
        return _entity(name, self) if name in self.state.entities() and self.user.sees(name) else None

    def page(self, nodes: Sequence[Any], after: str | None = None, first: int | None = None) -> Node:
        """One page of a connection, from the cursor on."""
        start = int(base64.b64decode(after)) if after else 0
        most = min(first or _USUAL_PAGE, self.most_per_page or len(nodes) or 1)
        shown = nodes[start : start + most]
        edges = [{"cursor": _cursor(start + place), "node": node} for place, node in enumerate(shown, 1)]
        page_info = {
            "endCursor": edges[-1]["cursor"] if edges else None,
            "hasNextPage": start + len(shown) < len(nodes),
        }
        return {"totalCount": len(nodes), "pageInfo": page_info, "edges": edges}


def _cursor(place: int) -> str:
    return base64.b64encode(str(place).encode()).decode()


def _time(moment: datetime | None) -> str | None:
    return None if moment is None else f"{moment:%Y-%m-%dT%H:%M:%SZ}"


def _entity(name: str, asker: Asker) -> Node:
    user = next((each for each in asker.state.users if each.name == name), None)
    organization = asker.state.organization_of(name)
    is_organization = organization is not None and organization.entity == name
    return {
        "id": global_id("Entity", name),
        "name": name,
        "entityType": "organization" if is_organization else "user" if user else "team",
        "organization": organization,
        "user": user,
        **_SETTINGS_OF_ENTITY,
    }


def _members(project: Project, asker: Asker) -> list[Node]:
    """Whoever has a role of their own there."""
    return [
        {
            "id": global_id("User", user.number),
            "name": user.name,
            "username": user.name,
            "email": f"{user.name}@example.com",
            "role": {"name": user.roles[str(project)]},
        }
        for user in asker.state.users
        if str(project) in user.roles
    ]


def _team_members(project: Project, asker: Asker) -> list[Node]:
    return [
        {"team": _entity(team, asker), "role": {"name": role}} for team, role in project.team_roles.items()
    ]


def _teams(asker: Asker) -> Node:
    names = sorted(team for each in asker.organizations() for team in each.teams if asker.user.sees(team))
    return {"edges": [{"node": _entity(name, asker)} for name in names]}


def _by_name(project: Project, name: str) -> Membership | None:
    collection, _, alias = name.partition(":")
    found = project.collections.get(collection)
    return found.find(alias or "latest") if found else None


def _aliases(membership: Membership, asker: Asker) -> list[Node]:
    own_version = [membership.version] if asker.version_aliases else []
    return [
        {
            "id": global_id("ArtifactAlias", f"{membership.collection.number}:{alias}"),
            "alias": alias,
            "artifactCollection": membership.collection,
        }
        for alias in [*membership.aliases, *own_version]
    ]


def _all_aliases(collection: Collection, asker: Asker, **page: Any) -> Node:
    every = [alias for each in collection.memberships for alias in _aliases(each, asker)]
    return asker.page(every, **page)


def _manifest(artifact: Artifact, asker: Asker) -> Node | None:
    if artifact.state != "COMMITTED":
        return None
    file = {
        "id": global_id("File", f"{artifact.number}:manifest"),
        "name": "wandb_manifest.json",
        "displayName": "wandb_manifest.json",
        "sizeBytes": len(artifact.manifest_file),
        "directUrl": asker.manifest_url(artifact),
    }
    return {
        "id": global_id("ArtifactManifest", artifact.number),
        "digest": artifact.manifest.digest,
        "file": file,
    }


def _files(artifact: Artifact, asker: Asker, names: Names[str] | None = None, **page: Any) -> Node | None:
    if artifact.state != "COMMITTED":
        return None
    wanted = [each for each in artifact.manifest.entries if names is None or each.path in names]
    shown = asker.page(wanted, **page)
    for edge in shown["edges"]:
        edge["node"] = _file(artifact, edge["node"], asker)
    return shown


def _files_by_entries(
    artifact: Artifact, asker: Asker, entries: Sequence[Node] = (), after: str | None = None, **rest: Any
) -> Node | None:
    known = {(each.path, each.digest) for each in artifact.manifest.entries}
    names = {each["name"] for each in entries if (each["name"], each["digest"]) in known}
    return _files(artifact, asker, names, after=after, first=rest.get("first"))


def _file(artifact: Artifact, entry: Entry, asker: Asker) -> Node:
    return {
        "id": global_id("File", f"{artifact.number}:{entry.path}"),
        "name": entry.path,
        "displayName": entry.path,
        "url": None,
        "sizeBytes": entry.size or 0,
        "storagePath": f"wandb_artifacts/{artifact.number}/{entry.path}",
        "mimetype": "application/octet-stream",
        "updatedAt": _time(artifact.created_at),
        "digest": entry.digest,
        "md5": entry.digest if entry.content and not entry.extra else None,
        "directUrl": entry.ref or (asker.file_url(artifact, entry) if asker.direct_urls else ""),
    }


def _collection_fields(kind: str) -> dict[str, Callable[..., Any]]:
    return {
        f"{kind}.id": lambda collection, _: collection.id,
        f"{kind}.description": lambda _, __: None,
        f"{kind}.createdAt": lambda collection, _: _time(collection.created_at),
        f"{kind}.updatedAt": lambda _, __: None,
        f"{kind}.defaultArtifactType": lambda collection, _: _type(collection.type),
        f"{kind}.tags": lambda _, __: {"edges": []},
        f"{kind}.aliases": _all_aliases,
        f"{kind}.artifactMembership": lambda collection, _, alias_name: collection.find(alias_name),
    }


def _type(name: str) -> Node:
    return {"id": global_id("ArtifactType", name), "name": name}


def _in_index_order(artifact: Artifact, asker: Asker) -> list[Membership]:
    return [] if artifact.state == "DELETED" else asker.memberships(artifact)


ANSWERS: dict[str, Callable[..., Any]] = {
    "Query.viewer": lambda _, asker: asker.user,
    "Query.serverInfo": lambda _, asker: {
        "cliVersionInfo": "{}",
        "features": [{"name": name, "isEnabled": True} for name in sorted(asker.features)],
    },
    "Query.entity": lambda _, asker, name=None: asker.entity(name or asker.user.name),
    "Query.organization": lambda _, asker, name=None: next(
        (each for each in asker.organizations() if each.name == name), None
    ),
    "Query.project": lambda _, asker, name="", entity_name=None: asker.project(
        entity_name or asker.user.name, name
    ),
    "Query.artifact": lambda _, asker, **arguments: asker.artifact(arguments["id"]),
    "User.id": lambda user, _: global_id("User", user.number),
    "User.username": lambda user, _: user.name,
    "User.email": lambda user, _: f"{user.name}@example.com",
    "User.entity": lambda user, _: user.name,
    "User.flags": lambda _, __: "{}",
    "User.teams": lambda _, asker: _teams(asker),
    "User.organizations": lambda _, asker: asker.organizations(),
    "Organization.id": lambda organization, _: global_id("Organization", organization.number),
    "Organization.orgEntity": lambda organization, asker: _entity(organization.entity, asker),
    "Entity.project": lambda entity, asker, name="": asker.project(entity["name"], name),
    "Project.id": lambda project, _: global_id("Project", f"v1:{project.name}:{project.entity}"),
    "Project.internalId": lambda project, _: global_id("ProjectInternalId", project.number),
    "Project.entity": lambda project, asker: _entity(project.entity, asker),
    "Project.readOnly": lambda project, asker: not asker.state.writes(asker.user, str(project)),
    "Project.members": _members,
    "Project.teamMembers": _team_members,
    "Project.artifactCollectionMembership": lambda project, _, name: _by_name(project, name),
    "Project.artifact": lambda project, _, name: (found := _by_name(project, name)) and found.artifact,
    "Project.artifactCollection": lambda project, _, name: project.collections.get(name),
    "Project.artifactCollections": lambda project, asker, **page: asker.page(
        list(project.collections.values()), page.get("after"), page.get("first")
    ),
    **_collection_fields("ArtifactSequence"),
    **_collection_fields("ArtifactPortfolio"),
    "ArtifactCollectionMembership.id": lambda membership, _: global_id(
        "ArtifactCollectionMembership", membership.number
    ),
    "ArtifactCollectionMembership.versionIndex": lambda membership, _: membership.index,
    "ArtifactCollectionMembership.createdAt": lambda membership, _: _time(membership.created_at),
    "ArtifactCollectionMembership.artifactCollection": lambda membership, _: membership.collection,
    "ArtifactCollectionMembership.aliases": _aliases,
    "ArtifactCollectionMembership.files": lambda membership, asker, **page: _files(
        membership.artifact, asker, **page
    ),
    "Artifact.artifactSequence": lambda artifact, _: artifact.source.collection,
    "Artifact.versionIndex": lambda artifact, _: artifact.source.index,
    "Artifact.artifactType": lambda artifact, _: _type(artifact.type),
    "Artifact.metadata": lambda artifact, _: json.dumps(artifact.metadata),
    "Artifact.ttlDurationSeconds": lambda _, __: -1,
    "Artifact.ttlIsInherited": lambda _, __: True,
    "Artifact.tags": lambda artifact, _: [
        {"id": global_id("Tag", tag), "name": tag} for tag in artifact.tags
    ],
    "Artifact.historyStep": lambda _, __: None,
    "Artifact.size": lambda artifact, _: artifact.manifest.size,
    "Artifact.digest": lambda artifact, _: artifact.manifest.digest,
    "Artifact.digestAlgorithm": lambda artifact, _: f"MANIFEST_{artifact.manifest.algorithm}",
    "Artifact.commitHash": lambda artifact, _: artifact.manifest.digest[:20],
    "Artifact.fileCount": lambda artifact, _: len(artifact.manifest.entries),
    "Artifact.createdAt": lambda artifact, _: _time(artifact.created_at),
    "Artifact.updatedAt": lambda artifact, _: _time(artifact.created_at),
    "Artifact.aliases": lambda artifact, asker: [
        alias for each in asker.memberships(artifact) for alias in _aliases(each, asker)
    ],
    "Artifact.usedBy": lambda _, __: {"edges": []},
    "Artifact.artifactMemberships": lambda artifact, asker, **page: asker.page(
        _in_index_order(artifact, asker), **page
    ),
    "Artifact.currentManifest": _manifest,
    "Artifact.files": _files,
    "Artifact.filesByManifestEntries": _files_by_entries,
    "Run.id": lambda run, _: global_id("Run", f"v1:{run.name}"),
    "Run.createdAt": lambda run, _: _time(run.created_at),
}
