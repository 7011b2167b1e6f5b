"""Names for artifacts, read from text: pure, no network."""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass

from registry_client.errors import InvalidReferenceError

REGISTRY_PREFIX = "wandb-registry-"
_ID_SCHEME = "wandb-artifact://_id/"
_NAME_SCHEME = "wandb-artifact://"
_LONGEST_NAME = 128
_FORMS = (
    "entity/project/collection:alias, entity/project/collection:v3, "
    "[org/]wandb-registry-NAME/collection:alias or wandb-artifact://_id/QXJ0aWZhY3Q6MTIz"
)


@dataclass(frozen=True)
class CollectionPath:
    """Where versions live: ``entity/project/name``.  A registry is a project of an organization."""

    entity: str
    project: str
    name: str

    def __str__(self) -> str:
        return f"{self.entity}/{self.project}/{self.name}"

    @property
    def in_registry(self) -> bool:
        """Whether this is a registry's collection (the old team registries included)."""
        return self.project.startswith(REGISTRY_PREFIX) or self.project == "model-registry"


@dataclass(frozen=True)
class ArtifactRef:
    """A name for an artifact.  An alias may name another version tomorrow.

    ``entity`` is None only for a registry written without its organization.
    """

    entity: str | None
    project: str
    collection: str
    alias: str

    def __str__(self) -> str:
        path = f"{self.project}/{self.collection}:{self.alias}"
        return path if self.entity is None else f"{self.entity}/{path}"


@dataclass(frozen=True)
class ArtifactId:
    """W&B's global id of one artifact version (``Artifact:123`` in base64): it never names another."""

    value: str

    def __str__(self) -> str:
        return f"{_ID_SCHEME}{self.value}"

    @property
    def number(self) -> int:
        """The number inside the id."""
        return int(base64.b64decode(self.value).partition(b":")[2])


def parse_reference(text: str) -> ArtifactRef | ArtifactId:
    """Read one of the forms that W&B writes and shows.

    ``entity/project/collection:alias``, the same with a version ``vN``,
    ``[org/]wandb-registry-NAME/collection:alias``, ``wandb-artifact://_id/…`` and
    ``wandb-artifact://entity/project/collection:alias``.  Stray quotes around it go.

    Raises:
        InvalidReferenceError: It is none of these; the message says what is wrong.
    """
    bare = text.strip().strip("\"'").strip()
    if bare.startswith(_ID_SCHEME):
        return _parse_id(bare.removeprefix(_ID_SCHEME), text)
    return _parse_name(bare.removeprefix(_NAME_SCHEME), text)


def is_version_alias(alias: str) -> bool:
    """Whether the alias is a version, ``v0``, ``v1``, …, which W&B never moves."""
    return re.fullmatch(r"v[0-9]+", alias) is not None


def _parse_id(value: str, text: str) -> ArtifactId:
    try:
        decoded = base64.b64decode(value, validate=True)
    except (ValueError, binascii.Error) as error:
        raise InvalidReferenceError(f"{text!r}: what follows _id/ is not base64") from error
    if re.fullmatch(rb"Artifact:[0-9]+", decoded) is None:
        raise InvalidReferenceError(f"{text!r}: the id does not name an artifact, got {decoded!r}")
    return ArtifactId(value)


def _parse_name(name: str, text: str) -> ArtifactRef:
    if not name:
        raise InvalidReferenceError(f"the artifact's name is empty; want {_FORMS}")
    if "${" in name:
        raise InvalidReferenceError(f"{text!r} still holds a template variable that W&B did not fill in")
    path, colon, alias = name.partition(":")
    if not colon or not alias:
        raise InvalidReferenceError(
            f"{text!r} names no version: end it with an alias or version, like :production or :v3"
        )
    if ":" in alias or "/" in alias:
        raise InvalidReferenceError(f"{text!r}: an alias holds neither ':' nor '/', got {alias!r}")
    parts = path.split("/")
    if len(parts) == 2 and parts[0].startswith(REGISTRY_PREFIX):  # noqa: PLR2004 - project and collection
        entity, (project, collection) = None, parts
    elif len(parts) == 3:  # noqa: PLR2004 - entity, project and collection
        entity, project, collection = parts
    else:
        raise InvalidReferenceError(f"{text!r} has {len(parts)} part(s) before ':'; want {_FORMS}")
    for part in (*parts, alias):
        _check_part(part, text)
    return ArtifactRef(entity, project, collection, alias)


def _check_part(part: str, text: str) -> None:
    if not part.strip():
        raise InvalidReferenceError(f"{text!r} has an empty part; want {_FORMS}")
    if len(part) > _LONGEST_NAME:
        raise InvalidReferenceError(
            f"{part[:20]!r}… has {len(part)} characters; W&B's names end at {_LONGEST_NAME}"
        )
    if any(ord(character) < 32 or ord(character) == 127 for character in part):  # noqa: PLR2004 - control characters
        raise InvalidReferenceError(f"{text!r} holds a control character")
