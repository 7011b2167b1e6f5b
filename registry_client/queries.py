"""What we ask W&B, in GraphQL: every document by its name.

A field that servers of some age do not know is marked ``# newer``: it is left out for those that refuse it.
Where they lack more than that, there is a document of its own for them, under the same name with ``_OLDER``.
"""

from __future__ import annotations

from collections.abc import Collection

NEWER = "# newer"

_VERSION = """
fragment VersionFields on Artifact {
  id
  state
  digest
  digestAlgorithm # newer
  size
  fileCount
  createdAt
  description
  metadata
  versionIndex
  artifactType { name }
  tags { name } # newer
  artifactSequence { name project { name entity { name } } }
  createdBy { # newer
    __typename
    ... on Run {
      name
      displayName # newer
      commit # newer
      project { name entity { name } }
    }
    ... on User { username }
  }
}
"""

_COLLECTION = """
fragment CollectionFields on ArtifactCollection {
  __typename
  name
  project {
    name
    entity {
      name
      organization { name } # newer
    }
  }
}
"""

_MEMBERSHIP = (
    """
fragment MembershipFields on ArtifactCollectionMembership {
  versionIndex
  createdAt # newer
  aliases { alias }
  artifactCollection { ...CollectionFields }
}
"""
    + _COLLECTION
)

_ALIASES = (
    """
fragment AliasFields on Artifact {
  aliases { alias artifactCollection { ...CollectionFields } }
}
"""
    + _COLLECTION
)

_URLS = """
fragment UrlFields on FileConnection {
  pageInfo { endCursor hasNextPage }
  edges { node { name directUrl } }
}
"""

VERSION_BY_NAME = (
    """
query VersionByName($entity: String!, $project: String!, $name: String!) {
  project(name: $project, entityName: $entity) {
    artifactCollectionMembership(name: $name) {
      ...MembershipFields
      artifact { ...VersionFields }
    }
  }
}
"""
    + _MEMBERSHIP
    + _VERSION
)

VERSION_BY_NAME_OLDER = (
    """
query OlderVersionByName($entity: String!, $project: String!, $name: String!) {
  project(name: $project, entityName: $entity) {
    artifact(name: $name) { ...VersionFields ...AliasFields }
  }
}
"""
    + _ALIASES
    + _VERSION
)

VERSION_BY_ID = (
    """
query VersionById($id: ID!) {
  artifact(id: $id) {
    ...VersionFields
    artifactMemberships { edges { node { ...MembershipFields } } }
  }
}
"""
    + _MEMBERSHIP
    + _VERSION
)

VERSION_BY_ID_OLDER = (
    """
query OlderVersionById($id: ID!) {
  artifact(id: $id) { ...VersionFields ...AliasFields }
}
"""
    + _ALIASES
    + _VERSION
)

SURROUNDINGS = (
    """
query Surroundings($entity: String!, $project: String!, $collection: String!) {
  viewer { username }
  entity(name: $entity) { name }
  project(name: $project, entityName: $entity) {
    name
    artifactCollection(name: $collection) {
      name
      aliases(first: 100) { edges { node { alias } } } # newer
      artifactMembership(aliasName: "latest") { ...MembershipFields }
    }
  }
}
"""
    + _MEMBERSHIP
)

SURROUNDINGS_OLDER = """
query OlderSurroundings($entity: String!, $project: String!) {
  viewer { username }
  entity(name: $entity) { name }
  project(name: $project, entityName: $entity) { name }
}
"""

COLLECTIONS = """
query Collections($entity: String!, $project: String!, $after: String, $first: Int!) {
  project(name: $project, entityName: $entity) {
    artifactCollections(after: $after, first: $first) {
      pageInfo { endCursor hasNextPage }
      edges { node { name } }
    }
  }
}
"""

ORGANIZATION = """
query OrganizationByName($name: String!) {
  organization(name: $name) { name orgEntity { name } }
}
"""

OWN_ORGANIZATIONS = """
query OwnOrganizations {
  viewer { entity organizations { name orgEntity { name } } }
}
"""

ORGANIZATION_OF_ENTITY = """
query OrganizationOfEntity($entity: String!) {
  entity(name: $entity) { organization { name orgEntity { name } } }
}
"""

MANIFEST = """
query ManifestUrl($id: ID!) {
  artifact(id: $id) { currentManifest { file { directUrl } } }
}
"""

FILE_URLS = (
    """
query FileUrls(
  $entity: String!, $project: String!, $collection: String!, $version: String!, $after: String, $first: Int!
) {
  project(name: $project, entityName: $entity) {
    artifactCollection(name: $collection) {
      artifactMembership(aliasName: $version) { files(after: $after, first: $first) { ...UrlFields } }
    }
  }
}
"""
    + _URLS
)

FILE_URLS_OLDER = (
    """
query OlderFileUrls($id: ID!, $after: String, $first: Int!) {
  artifact(id: $id) { files(after: $after, first: $first) { ...UrlFields } }
}
"""
    + _URLS
)

FILE_URL = (
    """
query FileUrl(
  $entity: String!, $project: String!, $collection: String!, $version: String!, $names: [String!]!
) {
  project(name: $project, entityName: $entity) {
    artifactCollection(name: $collection) {
      artifactMembership(aliasName: $version) { files(names: $names, first: 1) { ...UrlFields } }
    }
  }
}
"""
    + _URLS
)

FILE_URL_OLDER = (
    """
query OlderFileUrl($id: ID!, $names: [String!]!) {
  artifact(id: $id) { files(names: $names, first: 1) { ...UrlFields } }
}
"""
    + _URLS
)

READ_ONLY = """
query ReadOnly($entity: String!, $project: String!) {
  project(name: $project, entityName: $entity) { readOnly }
}
"""

ROLES = """
query Roles($entity: String!, $project: String!) {
  viewer { username teams { edges { node { name } } } }
  project(name: $project, entityName: $entity) {
    members { username role { name } }
    teamMembers { # newer
      team { name }
      role { name }
    }
  }
}
"""

ADD_ALIASES = """
mutation AddAliases($input: AddAliasesInput!) {
  addAliases(input: $input) { success }
}
"""

DELETE_ALIASES = """
mutation DeleteAliases($input: DeleteAliasesInput!) {
  deleteAliases(input: $input) { success }
}
"""

LINK_ARTIFACT = """
mutation LinkArtifact($input: LinkArtifactInput!) {
  linkArtifact(input: $input) { versionIndex }
}
"""

UPDATE_ARTIFACT = """
mutation UpdateArtifact($input: UpdateArtifactInput!) {
  updateArtifact(input: $input) { artifact { id } }
}
"""

ALL = (
    VERSION_BY_NAME,
    VERSION_BY_NAME_OLDER,
    VERSION_BY_ID,
    VERSION_BY_ID_OLDER,
    SURROUNDINGS,
    SURROUNDINGS_OLDER,
    COLLECTIONS,
    ORGANIZATION,
    OWN_ORGANIZATIONS,
    ORGANIZATION_OF_ENTITY,
    MANIFEST,
    FILE_URLS,
    FILE_URLS_OLDER,
    FILE_URL,
    FILE_URL_OLDER,
    READ_ONLY,
    ROLES,
    ADD_ALIASES,
    DELETE_ALIASES,
    LINK_ARTIFACT,
    UPDATE_ARTIFACT,
)


def changes(document: str) -> bool:
    """Whether the document changes what W&B has."""
    return document.lstrip().startswith("mutation ")


def newer_fields(document: str) -> frozenset[str]:
    """The fields of a document that can be left out of it."""
    return frozenset(_field(line) for line in document.splitlines() if NEWER in line)


def without(document: str, fields: Collection[str]) -> str:
    """The same document without those of its newer fields, each with all that it holds."""
    kept: list[str] = []
    open_braces = 0
    for line in document.splitlines():
        if open_braces or (NEWER in line and _field(line) in fields):
            open_braces += line.count("{") - line.count("}")
        else:
            kept.append(line)
    return "\n".join(kept)


def _field(line: str) -> str:
    return line.strip().partition(" ")[0].partition("(")[0]
