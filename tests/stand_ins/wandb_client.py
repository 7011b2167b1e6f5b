"""A plain client of W&B, for tests to ask with."""

from __future__ import annotations

from typing import Any

import requests

from tests.stand_ins.wandb import Membership, WandbStandIn

SOURCE = "acme/training/nature"
REGISTRY = "acme-org/wandb-registry-model/nature"
CONTENT = b"0123456789"

BY_NAME = """query ByName($entity: String!, $project: String!, $name: String!) {
  project(name: $project, entityName: $entity) {
    artifactCollectionMembership(name: $name) { versionIndex aliases { alias } artifact { id state } }
  }
}"""
BY_ID = """query ById($id: ID!) { artifact(id: $id) {
  state versionIndex digest metadata currentManifest { file { directUrl } }
  artifactMemberships { edges { node { versionIndex artifactCollection { __typename id name } } } }
  createdBy { __typename ... on Run { name displayName } ... on User { username } }
  files(first: 50) { edges { node { name directUrl } } }
} }"""
FILES = """query Files($id: ID!, $after: String, $first: Int) {
  artifact(id: $id) { files(after: $after, first: $first) {
    totalCount pageInfo { endCursor hasNextPage } edges { node { name } } } }
}"""


def post(wandb: WandbStandIn, query: str, key: str | None = None, **variables: Any) -> requests.Response:
    """Ask the API, by default as ana."""
    return requests.post(
        f"{wandb.url}/graphql",
        json={"query": query, "variables": variables},
        auth=("api", key or wandb.api_key),
        timeout=5,
    )


def ask(wandb: WandbStandIn, query: str, key: str | None = None, **variables: Any) -> Any:
    """The data of an answer without errors."""
    body = post(wandb, query, key, **variables).json()
    assert "errors" not in body, body
    return body["data"]


def by_name(wandb: WandbStandIn, path: str, key: str | None = None) -> Any:
    """What ``entity/project/collection:alias`` names; None when there is nothing."""
    entity, project, name = path.split("/")
    found = ask(wandb, BY_NAME, key, entity=entity, project=project, name=name)["project"]
    return found and found["artifactCollectionMembership"]


def address(wandb: WandbStandIn, version: Membership) -> str:
    """Where the version's first file can be fetched now."""
    files = ask(wandb, BY_ID, id=version.id)["artifact"]["files"]["edges"]
    return str(files[0]["node"]["directUrl"])


def get(url: str, **headers: str) -> requests.Response:
    """Fetch, as a client that wants the bytes as they are."""
    sent = {
        "Accept-Encoding": "identity",
        **{name.replace("_", "-"): value for name, value in headers.items()},
    }
    return requests.get(url, headers=sent, timeout=5)
