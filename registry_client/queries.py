"""What we ask W&B, in GraphQL: every document by its name."""

from __future__ import annotations

# The only field here that older servers do not know; `without_digest_algorithm` leaves it out.
DIGEST_ALGORITHM = "digestAlgorithm"

_VERSION = """
fragment VersionFields on Artifact {
  id
  state
  digest
  digestAlgorithm
  size
  fileCount
  createdAt
  description
  metadata
  versionIndex
  artifactType { name }
  tags { name }
  artifactSequence { name project { name entity { name } } }
}
"""

_MEMBERSHIP = """
fragment MembershipFields on ArtifactCollectionMembership {
  versionIndex
  aliases { alias }
  artifactCollection {
    __typename
    name
    project { name entity { name organization { name } } }
  }
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

SURROUNDINGS = (
    """
query Surroundings($entity: String!, $project: String!, $collection: String!) {
  viewer { username }
  entity(name: $entity) { name }
  project(name: $project, entityName: $entity) {
    artifactCollection(name: $collection) {
      name
      artifactMembership(aliasName: "latest") { ...MembershipFields }
    }
  }
}
"""
    + _MEMBERSHIP
)

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

FILE_URLS = """
query FileUrls(
  $entity: String!, $project: String!, $collection: String!, $version: String!, $after: String, $first: Int!
) {
  project(name: $project, entityName: $entity) {
    artifactCollection(name: $collection) {
      artifactMembership(aliasName: $version) {
        files(after: $after, first: $first) {
          pageInfo { endCursor hasNextPage }
          edges { node { name directUrl } }
        }
      }
    }
  }
}
"""

FILE_URL = """
query FileUrl(
  $entity: String!, $project: String!, $collection: String!, $version: String!, $names: [String!]!
) {
  project(name: $project, entityName: $entity) {
    artifactCollection(name: $collection) {
      artifactMembership(aliasName: $version) {
        files(names: $names, first: 1) { edges { node { name directUrl } } }
      }
    }
  }
}
"""

ALL = (
    VERSION_BY_NAME,
    VERSION_BY_ID,
    SURROUNDINGS,
    ORGANIZATION,
    OWN_ORGANIZATIONS,
    ORGANIZATION_OF_ENTITY,
    MANIFEST,
    FILE_URLS,
    FILE_URL,
)


def without_digest_algorithm(document: str) -> str:
    """The same document for a server that knows MD5 alone."""
    return "\n".join(line for line in document.splitlines() if line.strip() != DIGEST_ALGORITHM)
