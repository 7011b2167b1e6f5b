"""W&B's GraphQL, executed for real over the state: what a user may see, and what they may change."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Sequence
from collections.abc import Collection as Names
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

from graphql import (
    REMOVE,
    DocumentNode,
    ExecutionResult,
    FieldDefinitionNode,
    GraphQLError,
    GraphQLSchema,
    OperationDefinitionNode,
    Visitor,
    build_ast_schema,
    execute_sync,
    parse,
    print_ast,
    validate,
    visit,
)

from tests.stand_ins.wandb import state as rules
from tests.stand_ins.wandb.manifest import Entry
from tests.stand_ins.wandb.state import global_id

SCHEMA_FILE = Path(__file__).with_name("schema.graphql")
FEATURES = frozenset(
    {
        "ARTIFACT_TAGS",
        "ARTIFACT_REGISTRY_SEARCH",
        "ARTIFACT_COLLECTION_MEMBERSHIP_FILES",
        "ARTIFACT_COLLECTION_MEMBERSHIP_FILE_DOWNLOAD_HANDLER",
        "PROJECT_ARTIFACT_COLLECTION_MEMBERSHIP",
        "ARTIFACT_MEMBERSHIP_IN_LINK_ARTIFACT_RESPONSE",
        "TOTAL_COUNT_IN_FILE_CONNECTION",
        "ARTIFACT_V2_DOWNLOAD_HANDLER_SUPPORTS_ARTIFACT_ID",
        "ARTIFACT_DIGEST_ALGORITHM",
    }
)
_USUAL_PAGE = 50

Resolver = Callable[..., Any]
_RESOLVERS: dict[str, Resolver] = {}


@dataclass(frozen=True)
class Asker:
    """Who asks, and what their answers are made from."""

    state: rules.State
    user: rules.User
    features: frozenset[str] | None
    file_url: Callable[[rules.Artifact, Entry], str]
    manifest_url: Callable[[rules.Artifact], str]
    most_per_page: int | None
    version_aliases: bool

    def sees(self, artifact: rules.Artifact) -> bool:
        """A version is visible through any collection that is."""
        return any(self.user.sees(each.collection.project.entity) for each in artifact.memberships)


@lru_cache(maxsize=8)
def schema_for(features: frozenset[str] | None) -> GraphQLSchema:
    """The schema of a server with these features; None is an old one that cannot even list them."""

    class Older(Visitor):
        def enter_field_definition(self, node: FieldDefinitionNode, *_: Any) -> Any:
            return REMOVE if _is_unknown(node, features) else None

    return build_ast_schema(visit(parse(SCHEMA_FILE.read_text()), Older()))


def operation_name(query: str) -> str:
    """The name of the first operation; empty when it has none or cannot be read."""
    try:
        document = parse(query)
    except GraphQLError:
        return ""
    names = [each.name for each in document.definitions if isinstance(each, OperationDefinitionNode)]
    return names[0].value if names and names[0] else ""


def answer(query: str, variables: dict[str, Any] | None, asker: Asker) -> tuple[int, dict[str, Any]]:
    """The status and body for one document."""
    schema = schema_for(asker.features)
    document, errors = _read(query, asker.features)
    if document is None:
        return 400, {"errors": [_as_wandb_says(each) for each in errors]}
    result: ExecutionResult = execute_sync(
        schema,
        document,
        variable_values=variables,
        context_value=asker,
        field_resolver=_resolve,
        type_resolver=lambda value, _info, _type: str(value.graphql_type),
    )
    if result.data is None and result.errors and result.errors[0].path is None:
        return 400, {"errors": [_as_wandb_says(each) for each in result.errors]}  # Variables that do not fit.
    body: dict[str, Any] = {"data": result.data}
    if result.errors:
        body["errors"] = [_as_wandb_says(each) for each in result.errors]
    return 200, body


@lru_cache(maxsize=256)
def _read(query: str, features: frozenset[str] | None) -> tuple[DocumentNode | None, Sequence[GraphQLError]]:
    try:
        document = parse(query)
    except GraphQLError as error:
        return None, [error]
    errors = validate(schema_for(features), document)
    return (None, errors) if errors else (document, [])


def _as_wandb_says(error: GraphQLError) -> dict[str, Any]:
    shown = dict(error.formatted)
    if str(shown["message"]).startswith("Cannot query field"):
        # Clients tell old servers by W&B's wording, which has double quotes.
        shown["message"] = str(shown["message"]).replace("'", '"')
    return shown


def _is_unknown(node: FieldDefinitionNode, features: frozenset[str] | None) -> bool:
    since = next((each for each in node.directives or () if each.name.value == "since"), None)
    if since is None:
        return False
    wanted = [re.sub(r"\W", "", print_ast(each.value)) for each in since.arguments or ()]
    return features is None or not features.issuperset(wanted)


def _resolve(source: Any, info: Any, **arguments: Any) -> Any:
    own = _RESOLVERS.get(f"{info.parent_type.name}.{info.field_name}")
    if own is not None:
        return own(source, info.context, **arguments)
    if isinstance(source, dict):
        return source.get(info.field_name)
    return getattr(source, re.sub(r"([A-Z]+)", r"_\1", info.field_name).lower(), None)


def _resolves(*fields: str) -> Callable[[Resolver], Resolver]:
    def register(resolver: Resolver) -> Resolver:
        _RESOLVERS.update(dict.fromkeys(fields, resolver))
        return resolver

    return register


def _page(nodes: Sequence[Any], asker: Asker, after: str | None, first: int | None) -> dict[str, Any]:
    start = int(base64.b64decode(after)) if after else 0
    most = min(each for each in (first or _USUAL_PAGE, asker.most_per_page) if each is not None)
    shown = nodes[start : start + most]
    cursors = [base64.b64encode(str(start + place + 1).encode()).decode() for place in range(len(shown))]
    return {
        "totalCount": len(nodes),
        "pageInfo": {
            "endCursor": cursors[-1] if cursors else None,
            "hasNextPage": start + len(shown) < len(nodes),
        },
        "edges": [{"cursor": cursor, "node": node} for cursor, node in zip(cursors, shown, strict=True)],
    }


def _time(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"


# --- who and where


@_resolves("Query.viewer")
def _viewer(_: Any, asker: Asker) -> rules.User:
    return asker.user


@_resolves("Query.serverInfo")
def _server_info(_: Any, asker: Asker) -> dict[str, Any]:
    return {"features": [{"name": name, "isEnabled": True} for name in sorted(asker.features or ())]}


@_resolves("Query.entity")
def _entity(_: Any, asker: Asker, name: str | None = None) -> dict[str, Any] | None:
    wanted = name or asker.user.name
    if wanted not in asker.state.entities() or not asker.user.sees(wanted):
        return None
    return _entity_node(wanted, asker)


def _entity_node(name: str, asker: Asker) -> dict[str, Any]:
    user = next((each for each in asker.state.users if each.name == name), None)
    return {
        "id": global_id("Entity", name),
        "name": name,
        "entityType": "user" if user else "team",
        "organization": asker.state.organization_of(name),
        "user": user,
    }


@_resolves("Query.organization")
def _organization(_: Any, asker: Asker, name: str | None = None) -> rules.Organization | None:
    return next((each for each in _organizations(asker) if each.name == name), None)


def _organizations(asker: Asker) -> list[rules.Organization]:
    return [
        each
        for each in asker.state.organizations
        if any(asker.user.sees(name) for name in (each.entity, *each.teams))
    ]


@_resolves("Organization.id")
def _organization_id(organization: rules.Organization, _: Asker) -> str:
    return global_id("Organization", organization.number)


@_resolves("Organization.orgEntity")
def _org_entity(organization: rules.Organization, asker: Asker) -> dict[str, Any]:
    return {**_entity_node(organization.entity, asker), "entityType": "organization"}


@_resolves("User.id")
def _user_id(user: rules.User, _: Asker) -> str:
    return global_id("User", user.number)


@_resolves("User.username", "User.entity")
def _user_name(user: rules.User, _: Asker) -> str:
    return user.name


@_resolves("User.email")
def _email(user: rules.User, _: Asker) -> str:
    return f"{user.name}@example.com"


@_resolves("User.flags")
def _flags(_: rules.User, __: Asker) -> str:
    return "{}"


@_resolves("User.teams")
def _teams(_: rules.User, asker: Asker) -> dict[str, Any]:
    names = sorted(team for each in _organizations(asker) for team in each.teams if asker.user.sees(team))
    return {"edges": [{"node": _entity_node(name, asker)} for name in names]}


@_resolves("User.organizations")
def _user_organizations(_: rules.User, asker: Asker) -> list[rules.Organization]:
    return _organizations(asker)


# --- projects, collections, versions


@_resolves("Query.project")
def _project(_: Any, asker: Asker, name: str | None = None, entityName: str | None = None) -> Any:  # noqa: N803 - GraphQL's name
    entity = entityName or asker.user.name
    return asker.state.projects.get((entity, name or "")) if asker.user.sees(entity) else None


@_resolves("Entity.project")
def _entity_project(entity: dict[str, Any], asker: Asker, name: str | None = None) -> Any:
    return _project(None, asker, name, entity["name"])


@_resolves("Project.id")
def _project_id(project: rules.Project, _: Asker) -> str:
    return global_id("Project", f"v1:{project.name}:{project.entity}")


@_resolves("Project.internalId")
def _internal_id(project: rules.Project, _: Asker) -> str:
    return global_id("ProjectInternalId", project.number)


@_resolves("Project.entity")
def _project_entity(project: rules.Project, asker: Asker) -> dict[str, Any]:
    return _entity_node(project.entity, asker)


@_resolves("Project.readOnly")
def _read_only(_: rules.Project, __: Asker) -> bool:
    return False


@_resolves("Project.artifactCollectionMembership")
def _membership_by_name(project: rules.Project, _: Asker, name: str) -> rules.Membership | None:
    collection, _colon, alias = name.partition(":")
    found = project.collections.get(collection)
    return found.find(alias or "latest") if found else None


@_resolves("Project.artifactCollection")
def _collection(project: rules.Project, _: Asker, name: str) -> rules.Collection | None:
    return project.collections.get(name)


@_resolves("ArtifactSequence.id", "ArtifactPortfolio.id")
def _collection_id(collection: rules.Collection, _: Asker) -> str:
    return global_id("ArtifactCollection", collection.number)


@_resolves("ArtifactSequence.artifactMembership", "ArtifactPortfolio.artifactMembership")
def _membership_by_alias(
    collection: rules.Collection,
    _: Asker,
    aliasName: str,  # noqa: N803 - GraphQL's name
) -> rules.Membership | None:
    return collection.find(aliasName)


@_resolves("ArtifactCollectionMembership.id")
def _membership_id(membership: rules.Membership, _: Asker) -> str:
    return global_id("ArtifactCollectionMembership", membership.number)


@_resolves("ArtifactCollectionMembership.versionIndex")
def _version_index(membership: rules.Membership, _: Asker) -> int:
    return membership.index


@_resolves("ArtifactCollectionMembership.createdAt")
def _linked_at(membership: rules.Membership, _: Asker) -> str:
    return _time(membership.created_at)


@_resolves("ArtifactCollectionMembership.artifactCollection")
def _collection_of(membership: rules.Membership, _: Asker) -> rules.Collection:
    return membership.collection


@_resolves("ArtifactCollectionMembership.aliases")
def _membership_aliases(membership: rules.Membership, asker: Asker) -> list[dict[str, Any]]:
    own_version = [membership.version] if asker.version_aliases else []
    return [
        {
            "id": global_id("ArtifactAlias", f"{membership.collection.number}:{alias}"),
            "alias": alias,
            "artifactCollection": membership.collection,
        }
        for alias in [*membership.aliases, *own_version]
    ]


@_resolves("ArtifactCollectionMembership.files")
def _membership_files(
    membership: rules.Membership,
    asker: Asker,
    names: Names[str] | None = None,
    after: str | None = None,
    first: int | None = None,
) -> dict[str, Any] | None:
    return _files(membership.artifact, asker, names, after, first)


# --- one version


@_resolves("Query.artifact")
def _artifact(_: Any, asker: Asker, id: str) -> rules.Artifact | None:  # noqa: A002 - GraphQL's name
    artifact = asker.state.find_artifact(id)
    return artifact if artifact is not None and asker.sees(artifact) else None


@_resolves("Artifact.artifactSequence")
def _sequence(artifact: rules.Artifact, _: Asker) -> rules.Collection:
    return artifact.source.collection


@_resolves("Artifact.versionIndex")
def _source_index(artifact: rules.Artifact, _: Asker) -> int:
    return artifact.source.index


@_resolves("Artifact.artifactType")
def _type(artifact: rules.Artifact, _: Asker) -> dict[str, str]:
    return {"id": global_id("ArtifactType", artifact.type), "name": artifact.type}


@_resolves("Artifact.metadata")
def _metadata(artifact: rules.Artifact, _: Asker) -> str:
    return json.dumps(artifact.metadata)


@_resolves("Artifact.ttlDurationSeconds")
def _ttl(_: rules.Artifact, __: Asker) -> int:
    return -1


@_resolves("Artifact.ttlIsInherited")
def _ttl_is_inherited(_: rules.Artifact, __: Asker) -> bool:
    return True


@_resolves("Artifact.tags")
def _tags(artifact: rules.Artifact, _: Asker) -> list[dict[str, str]]:
    return [{"id": global_id("Tag", tag), "name": tag} for tag in artifact.tags]


@_resolves("Artifact.size")
def _size(artifact: rules.Artifact, _: Asker) -> int:
    return artifact.manifest.size


@_resolves("Artifact.digest")
def _digest(artifact: rules.Artifact, _: Asker) -> str:
    return artifact.manifest.digest


@_resolves("Artifact.digestAlgorithm")
def _digest_algorithm(artifact: rules.Artifact, _: Asker) -> str:
    return f"MANIFEST_{artifact.manifest.algorithm}"


@_resolves("Artifact.fileCount")
def _file_count(artifact: rules.Artifact, _: Asker) -> int:
    return len(artifact.manifest.entries)


@_resolves("Artifact.createdAt", "Artifact.updatedAt", "Run.createdAt")
def _created_at(thing: rules.Artifact | rules.Run, _: Asker) -> str | None:
    return _time(thing.created_at) if thing.created_at else None


@_resolves("Artifact.aliases")
def _aliases(artifact: rules.Artifact, asker: Asker) -> list[dict[str, Any]]:
    return [
        alias for each in _memberships_seen(artifact, asker) for alias in _membership_aliases(each, asker)
    ]


@_resolves("Artifact.usedBy")
def _used_by(_: rules.Artifact, __: Asker) -> dict[str, Any]:
    return {"edges": []}


@_resolves("Artifact.artifactMemberships")
def _memberships(
    artifact: rules.Artifact, asker: Asker, after: str | None = None, first: int | None = None
) -> dict[str, Any]:
    seen = [] if artifact.state == "DELETED" else _memberships_seen(artifact, asker)
    return _page(seen, asker, after, first)


def _memberships_seen(artifact: rules.Artifact, asker: Asker) -> list[rules.Membership]:
    return [each for each in artifact.memberships if asker.user.sees(each.collection.project.entity)]


@_resolves("Run.id")
def _run_id(run: rules.Run, _: Asker) -> str:
    return global_id("Run", f"v1:{run.name}")


# --- files


@_resolves("Artifact.currentManifest")
def _manifest(artifact: rules.Artifact, asker: Asker) -> dict[str, Any] | None:
    if artifact.state != "COMMITTED":
        return None
    file = {
        "id": global_id("File", f"{artifact.number}:manifest"),
        "name": "wandb_manifest.json",
        "displayName": "wandb_manifest.json",
        "sizeBytes": len(artifact.manifest_file),
        "directUrl": asker.manifest_url(artifact),
    }
    manifest_id = global_id("ArtifactManifest", artifact.number)
    return {"id": manifest_id, "digest": artifact.manifest.digest, "file": file}


@_resolves("Artifact.files")
def _files(
    artifact: rules.Artifact,
    asker: Asker,
    names: Names[str] | None = None,
    after: str | None = None,
    first: int | None = None,
) -> dict[str, Any] | None:
    if artifact.state != "COMMITTED":
        return None
    entries = [each for each in artifact.manifest.entries if names is None or each.path in names]
    return _page([_file(artifact, each, asker) for each in entries], asker, after, first)


@_resolves("Artifact.filesByManifestEntries")
def _files_by_entries(
    artifact: rules.Artifact,
    asker: Asker,
    entries: Sequence[dict[str, Any]] = (),
    after: str | None = None,
    first: int | None = None,
    **_layout: str | None,
) -> dict[str, Any] | None:
    known = {(each.path, each.digest) for each in artifact.manifest.entries}
    names = {each["name"] for each in entries if (each["name"], each["digest"]) in known}
    return _files(artifact, asker, names, after, first)


def _file(artifact: rules.Artifact, entry: Entry, asker: Asker) -> dict[str, Any]:
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
        "directUrl": entry.ref or asker.file_url(artifact, entry),
    }


# --- changes


def _changeable(artifact_id: str, asker: Asker) -> rules.Artifact:
    artifact = asker.state.find_artifact(artifact_id)
    if artifact is None or not asker.sees(artifact):
        raise rules.RefusedError(f"artifact {artifact_id} not found")
    return artifact


def _membership_in(target: dict[str, Any], artifact: rules.Artifact, asker: Asker) -> rules.Membership:
    path = f"{target['entityName']}/{target['projectName']}/{target['artifactCollectionName']}"
    if not asker.user.sees(target["entityName"]):
        raise rules.RefusedError(f"there is no collection {path}")
    collection = asker.state.find_collection(path)
    membership = next((each for each in collection.memberships if each.artifact is artifact), None)
    if membership is None:
        raise rules.RefusedError(f"artifact {artifact.id} is not in {path}")
    return membership


@_resolves("Mutation.addAliases")
def _add_aliases(_: Any, asker: Asker, input: dict[str, Any]) -> dict[str, bool]:  # noqa: A002 - GraphQL's name
    artifact = _changeable(input["artifactID"], asker)
    for target in input["aliases"]:
        asker.state.add_alias(_membership_in(target, artifact, asker), target["alias"], asker.user.name)
    return {"success": True}


@_resolves("Mutation.deleteAliases")
def _delete_aliases(_: Any, asker: Asker, input: dict[str, Any]) -> dict[str, bool]:  # noqa: A002 - GraphQL's name
    artifact = _changeable(input["artifactID"], asker)
    for target in input["aliases"]:
        asker.state.remove_alias(_membership_in(target, artifact, asker), target["alias"])
    return {"success": True}


@_resolves("Mutation.updateArtifact")
def _update_artifact(_: Any, asker: Asker, input: dict[str, Any]) -> dict[str, Any]:  # noqa: A002 - GraphQL's name
    artifact = _changeable(input["artifactID"], asker)
    if not asker.user.sees(artifact.source.collection.project.entity):
        raise rules.RefusedError("permission denied: the version belongs to a project that you cannot change")
    if input.get("description") is not None:
        artifact.description = input["description"]
    if input.get("metadata") is not None:
        artifact.metadata = json.loads(input["metadata"])
    for tag in input.get("tagsToAdd") or ():
        asker.state.tag(artifact, tag["tagName"], asker.user.name)
    for tag in input.get("tagsToDelete") or ():
        asker.state.untag(artifact, tag["tagName"], asker.user.name)
    return {"artifact": artifact}


@_resolves("Mutation.linkArtifact")
def _link_artifact(_: Any, asker: Asker, input: dict[str, Any]) -> dict[str, Any]:  # noqa: A002 - GraphQL's name
    artifact = _changeable(input["artifactID"], asker)
    if not asker.user.sees(input["entityName"]):
        raise rules.RefusedError(f"there is no entity {input['entityName']}")
    path = f"{input['entityName']}/{input['projectName']}/{input['artifactPortfolioName']}"
    aliases = [each["alias"] for each in input.get("aliases") or ()]
    membership = asker.state.link(artifact, path, aliases, asker.user.name)
    return {"versionIndex": membership.index, "artifactMembership": membership}


@_resolves("Mutation.unlinkArtifact")
def _unlink_artifact(_: Any, asker: Asker, input: dict[str, Any]) -> dict[str, bool]:  # noqa: A002 - GraphQL's name
    artifact = _changeable(input["artifactID"], asker)
    for membership in _memberships_seen(artifact, asker):
        if _collection_id(membership.collection, asker) == input["artifactPortfolioID"]:
            asker.state.unlink(membership, asker.user.name)
            return {"success": True}
    raise rules.RefusedError(
        f"artifact {artifact.id} is not in the collection {input['artifactPortfolioID']}"
    )
