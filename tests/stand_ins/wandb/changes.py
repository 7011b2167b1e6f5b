"""What W&B lets people change by GraphQL: aliases, links, tags, metadata."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from tests.stand_ins.wandb.answers import Asker
from tests.stand_ins.wandb.state import ADMIN, Artifact, Membership, RefusedError

Input = dict[str, Any]


def _add_aliases(asked: Input, asker: Asker) -> dict[str, Any]:
    for alias, membership in _named(asked, asker):  # All of them may be, or none is.
        asker.state.add_alias(membership, alias, asker.user.name)
    return {"success": True}


def _delete_aliases(asked: Input, asker: Asker) -> dict[str, Any]:
    named = _named(asked, asker)
    for alias, membership in named:
        if alias not in membership.aliases:
            raise RefusedError(f"{membership.name} has no alias {alias!r}")
    for alias, membership in named:
        asker.state.remove_alias(membership, alias)
    return {"success": True}


def _update_artifact(asked: Input, asker: Asker) -> dict[str, Any]:
    artifact = _artifact(asked, asker)
    _check_writes(str(artifact.source.collection.project), asker)
    if asked.get("description") is not None:
        artifact.description = asked["description"]
    if asked.get("metadata") is not None:
        artifact.metadata = json.loads(asked["metadata"])
    for tag in asked.get("tagsToAdd") or ():
        asker.state.tag(artifact, tag["tagName"], asker.user.name)
    for tag in asked.get("tagsToDelete") or ():
        asker.state.untag(artifact, tag["tagName"], asker.user.name)
    return {"artifact": artifact}


def _link_artifact(asked: Input, asker: Asker) -> dict[str, Any]:
    project = f"{asked['entityName']}/{asked['projectName']}"
    path = f"{project}/{asked['artifactPortfolioName']}"
    aliases = [each["alias"] for each in asked.get("aliases") or ()]
    for alias in ("latest", *aliases):
        _check_names(project, alias, asker)
    membership = asker.state.link(_artifact(asked, asker), path, aliases, asker.user.name)
    return {"versionIndex": membership.index, "artifactMembership": membership}


def _unlink_artifact(asked: Input, asker: Asker) -> dict[str, Any]:
    for membership in asker.memberships(_artifact(asked, asker)):
        if membership.collection.id == asked["artifactPortfolioID"]:
            _check_writes(str(membership.collection.project), asker)
            asker.state.unlink(membership, asker.user.name)
            return {"success": True}
    raise RefusedError(f"the artifact is not in the collection {asked['artifactPortfolioID']}")


def _artifact(asked: Input, asker: Asker) -> Artifact:
    found = asker.artifact(asked["artifactID"])
    if found is None:
        raise RefusedError(f"artifact {asked['artifactID']} not found")
    return found


def _named(asked: Input, asker: Asker) -> list[tuple[str, Membership]]:
    """Each alias with the version, in the collection, that the input says it belongs to."""
    artifact, named = _artifact(asked, asker), []
    for target in asked["aliases"]:
        project = f"{target['entityName']}/{target['projectName']}"
        _check_names(project, target["alias"], asker)
        path = f"{project}/{target['artifactCollectionName']}"
        named.append((target["alias"], asker.state.membership(path, artifact.source)))
    return named


def _check_names(project: str, alias: str, asker: Asker) -> None:
    """Refuse who may not write, and who is no admin and gives or takes a protected alias."""
    _check_writes(project, asker)
    entity, _, name = project.partition("/")
    known = asker.state.projects.get((entity, name))
    if known is not None and alias in known.protected and asker.state.role(asker.user, project) != ADMIN:
        raise RefusedError(f"permission denied: the alias {alias!r} is protected in {project}")


def _check_writes(project: str, asker: Asker) -> None:
    if not asker.state.writes(asker.user, project):
        raise RefusedError(f"permission denied: {asker.user.name} cannot change what is in {project}")


def _from_input(change: Callable[[Input, Asker], dict[str, Any]]) -> Callable[..., Any]:
    return lambda _, asker, **arguments: change(arguments["input"], asker)


CHANGES: dict[str, Callable[..., Any]] = {
    "Mutation.addAliases": _from_input(_add_aliases),
    "Mutation.deleteAliases": _from_input(_delete_aliases),
    "Mutation.updateArtifact": _from_input(_update_artifact),
    "Mutation.linkArtifact": _from_input(_link_artifact),
    "Mutation.unlinkArtifact": _from_input(_unlink_artifact),
}
