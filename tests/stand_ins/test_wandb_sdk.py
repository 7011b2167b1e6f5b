"""W&B's own SDK agrees with the stand-in."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from registry_client.api import WandbApi
from registry_client.credentials import ApiKey
from registry_client.mark import Marks
from registry_client.resolve import resolve
from registry_client.writeback import prepare, write
from tests.stand_ins.conftest import Clock
from tests.stand_ins.github_oidc import GitHubOidc
from tests.stand_ins.wandb import WandbStandIn

FILES = {
    "weights.bin": bytes(range(256)) * 40,
    "config/labels.txt": b"cat\ndog\n",
    "config/deep/er/empty.txt": b"",
    "space and ünicode.txt": b"x",
}
REGISTRY = "wandb-registry-model/nature"

LOOK_UP = """
import json, pathlib, sys
import wandb

api, answers = wandb.Api(), {}
for name, target in json.load(sys.stdin).items():
    found = api.artifact(name)
    files = {}
    if target:
        root = pathlib.Path(found.download(target, skip_cache=True))
        paths = [path for path in root.rglob("*") if path.is_file()]
        files = {str(path.relative_to(root)): path.read_bytes().hex() for path in paths}
        found.verify(target)
    answers[name] = {
        "id": found.id, "digest": found.digest, "size": found.size, "type": found.type,
        "path": f"{found.entity}/{found.project}", "version": found.version, "aliases": sorted(found.aliases),
        "source": found.source_qualified_name, "tags": found.tags, "metadata": found.metadata,
        "description": found.description, "is_link": found.is_link, "state": found.state, "files": files,
    }
print(json.dumps(answers))
"""

CHANGE = """
import json, sys
import wandb

version = wandb.Api().artifact("acme/training/nature:v0")
linked = version.link(sys.argv[1], aliases=["staging"])
linked.aliases.append("production")
linked.save()
version.tags.append("approved")
version.metadata["accuracy"] = 0.95
version.description = "Better"
version.save()
again = wandb.Api().artifact(sys.argv[1] + ":production")
again.aliases.remove("staging")
again.save()
print(json.dumps([linked.version, again.digest, sorted(again.aliases)]))
"""

COLLECTIONS = """
import json
import wandb
from wandb.apis.public import ProjectArtifactCollections

found = ProjectArtifactCollections(wandb.Api()._service_api, "acme-org", "wandb-registry-model", per_page=2)
print(json.dumps([each.name for each in found]))
"""

BUILD = """
import json, pathlib, sys
import wandb

artifact = wandb.Artifact("any", type="model")
for path, content in json.load(sys.stdin).items():
    local = pathlib.Path(sys.argv[1]) / path
    local.parent.mkdir(parents=True, exist_ok=True)
    local.write_bytes(bytes.fromhex(content))
    artifact.add_file(str(local), name=path)
print(json.dumps(artifact.digest))
"""


def in_sdk(
    program: str,
    asked: Any,
    directory: Path,
    wandb: WandbStandIn,
    *arguments: str,
    signed_in: Mapping[str, str] | None = None,
) -> Any:
    """Run a program that uses the SDK, alone with the stand-in, and return what it prints."""
    kept = {name: value for name, value in os.environ.items() if "proxy" not in name.lower()}
    folders = {f"WANDB_{kind}_DIR": str(directory / kind) for kind in ("CACHE", "CONFIG", "DATA")}
    settings = {
        "WANDB_BASE_URL": wandb.url,
        **({"WANDB_API_KEY": wandb.api_key} if signed_in is None else signed_in),
        "WANDB_DIR": str(directory),
        "WANDB_ERROR_REPORTING": "false",
        "WANDB_SILENT": "true",
        "HOME": str(directory),
    }
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        input=json.dumps(asked),
        env={**kept, **folders, **settings},
        cwd=directory,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize(("algorithm", "layout"), [("MD5", "V1"), ("MD5", "V2"), ("XXH128", "V2")])
def test_the_sdk_resolves_and_downloads(
    wandb: WandbStandIn, tmp_path: Path, algorithm: str, layout: str
) -> None:
    """
    By alias, by version, by registry path with the organization's name, its entity or neither:
    the SDK finds what was logged, downloads it, and its own check of the digests passes.
    """
    wandb.log_artifact("acme/training/nature", {"weights.bin": b"older"})
    version = wandb.log_artifact(
        "acme/training/nature",
        FILES,
        algorithm=algorithm,
        layout=layout,
        metadata={"accuracy": 0.9},
        tags=("reviewed",),
        description="A small one",
        aliases=("best",),
    )
    linked = wandb.link(version, f"acme-org/{REGISTRY}", aliases=("production",))

    asked = {
        "acme/training/nature:best": "source",
        "acme/training/nature:v1": None,
        f"{REGISTRY}:production": None,
        f"acme-org/{REGISTRY}:v0": "linked",
        f"Acme Inc/{REGISTRY}:latest": None,
    }
    answers = in_sdk(LOOK_UP, asked, tmp_path, wandb)

    by_source = {
        "id": version.id,
        "digest": version.digest,
        "size": sum(map(len, FILES.values())),
        "type": "model",
        "path": "acme/training",
        "version": "v1",
        "aliases": ["best", "latest"],
        "source": "acme/training/nature:v1",
        "tags": ["reviewed"],
        "metadata": {"accuracy": 0.9},
        "description": "A small one",
        "is_link": False,
        "state": "COMMITTED",
        "files": {},
    }
    by_link = {
        **by_source,
        "path": "acme-org/wandb-registry-model",
        "version": linked.version,
        "aliases": ["latest", "production"],
        "is_link": True,
    }
    downloaded = {"files": {path: content.hex() for path, content in FILES.items()}}
    assert answers == {
        "acme/training/nature:best": {**by_source, **downloaded},
        "acme/training/nature:v1": by_source,
        f"{REGISTRY}:production": by_link,
        f"acme-org/{REGISTRY}:v0": {**by_link, **downloaded},
        f"Acme Inc/{REGISTRY}:latest": by_link,
    }


def test_the_sdk_lists_collections(wandb: WandbStandIn, tmp_path: Path) -> None:
    """
    Those of a registry, page by page.
    """
    version = wandb.log_artifact("acme/training/nature", {"weights.bin": b"x"})
    for name in ("flower", "leaf", "seed"):
        wandb.link(version, f"acme-org/wandb-registry-model/{name}")

    assert in_sdk(COLLECTIONS, None, tmp_path, wandb) == ["flower", "leaf", "seed"]
    assert [each.operation for each in wandb.requests].count("ProjectArtifactCollections") == 2


def test_the_sdk_digests_alike(wandb: WandbStandIn, tmp_path: Path) -> None:
    """
    The digest that the SDK gives an artifact built here is the one that the stand-in gives it.
    """
    built = in_sdk(
        BUILD, {path: content.hex() for path, content in FILES.items()}, tmp_path, wandb, str(tmp_path)
    )

    assert wandb.log_artifact("acme/training/nature", FILES).digest == built


@pytest.mark.parametrize("layout", ["V1", "V2"])
def test_the_sdk_finds_a_file_whose_address_is_refused(
    wandb: WandbStandIn, tmp_path: Path, layout: str
) -> None:
    """
    When a signed address is refused, the SDK asks the API, which sends it to a fresh one, without its key.
    """
    name = wandb.log_artifact("acme/training/nature", FILES, layout=layout).name
    wandb.faults.add("file:weights.bin", status=403)

    answers = in_sdk(LOOK_UP, {name: "here"}, tmp_path, wandb)

    assert answers[name]["files"]["weights.bin"] == FILES["weights.bin"].hex()
    asked = [each for each in wandb.requests if (each.target or "").endswith(":weights.bin")]
    assert [(each.target, "authorization" in each.headers) for each in asked] == [
        ("file:weights.bin", False),
        ("download:weights.bin", True),
        ("file:weights.bin", False),
    ]


def test_the_sdk_links_names_and_tags(wandb: WandbStandIn, tmp_path: Path) -> None:
    """
    What the SDK changes is changed, in the collection that it meant, and what it reads back agrees.
    """
    version = wandb.log_artifact("acme/training/nature", {"weights.bin": b"x"})
    collection = f"acme-org/{REGISTRY}"

    changed = in_sdk(CHANGE, None, tmp_path, wandb, collection)

    assert changed == ["v0", version.digest, ["latest", "production"]]
    source, linked = version.artifact.memberships
    assert (source.aliases, str(linked.collection), linked.aliases) == (
        ["latest"],
        collection,
        ["latest", "production"],
    )
    assert version.artifact.tags == ["approved"]
    assert version.artifact.metadata == {"accuracy": 0.95}
    assert version.artifact.description == "Better"


def test_the_sdk_signs_in_with_an_identity(wandb: WandbStandIn, clock: Clock, tmp_path: Path) -> None:
    """
    Without a key: it exchanges a job's token at the stand-in, and shows what it got with every question.
    """
    wandb.add_user("deployer")
    wandb.log_artifact("acme/training/nature", FILES)
    with GitHubOidc(now=clock) as github:
        wandb.federation.trust(github.issuer, audience="Acme Inc", subject=github.subject, user="deployer")
        (tmp_path / "token").write_text(github.token("Acme Inc"), encoding="ascii")
        signed_in = {
            "WANDB_IDENTITY_TOKEN_FILE": str(tmp_path / "token"),
            "WANDB_CREDENTIALS_FILE": str(tmp_path / "credentials.json"),
        }
        asked = {"acme/training/nature:v0": "here"}
        answers = in_sdk(LOOK_UP, asked, tmp_path, wandb, signed_in=signed_in)

    assert answers["acme/training/nature:v0"]["files"].keys() == FILES.keys()
    [token] = wandb.federation.given
    shown = {each.headers.get("authorization") for each in wandb.requests if each.operation}
    assert shown == {f"Bearer {token}"}


ROLES = """
import json, sys
import wandb
from wandb.sdk.artifacts import _generated as made

client = wandb.Api()._service_api
where = {"project": "wandb-registry-model", "entity": "acme-org"}
users = client.execute_graphql(
    made.REGISTRY_USER_MEMBERS_GQL, variables=where, parse=made.RegistryUserMembers.model_validate_json
)
teams = client.execute_graphql(
    made.REGISTRY_TEAM_MEMBERS_GQL, variables=where, parse=made.RegistryTeamMembers.model_validate_json
)
print(json.dumps([
    {each.username: each.role.name for each in users.project.members},
    {each.team.name: each.role.name for each in teams.project.team_members},
]))
"""

MARK = """
import json, sys
import wandb

found, said = wandb.Api().artifact("acme-org/wandb-registry-model/nature:v0"), []
for change in json.load(sys.stdin):
    found.aliases = [*found._saved_aliases, *change.get("aliases", [])]
    found.tags = [*found.tags, *change.get("tags", [])]
    try:
        found.save()
        said.append("done")
    except wandb.errors.CommError as error:
        said.append(str(error))
print(json.dumps(said))
"""


def test_the_sdk_reads_roles(wandb: WandbStandIn, tmp_path: Path) -> None:
    """
    Who has which role in a registry, people and teams, as the SDK's own documents ask and its models read.
    """
    version = wandb.log_artifact("acme/training/nature", {"weights.bin": b"x"})
    wandb.link(version, f"acme-org/{REGISTRY}")
    wandb.add_user("eve", roles={"acme-org/wandb-registry-model": "viewer"})
    wandb.add_team("acme-org/wandb-registry-model", "acme", "member")

    assert in_sdk(ROLES, None, tmp_path, wandb) == [{"eve": "viewer"}, {"acme": "member"}]


ALL, UNPROTECTED = ["deployed", "latest", "production"], ["deployed", "latest"]


@pytest.mark.parametrize(
    ("roles", "said", "left"),
    [
        pytest.param({}, "done, done, done", (ALL, ["good"]), id="admin"),
        pytest.param(
            {"acme-org/wandb-registry-model": "member"},
            "done, refused, done",
            (UNPROTECTED, ["good"]),
            id="member",
        ),
        pytest.param(
            {"acme-org/wandb-registry-model": "viewer"},
            "refused, refused, done",
            (["latest"], ["good"]),
            id="viewer",
        ),
        pytest.param({"acme/training": "viewer"}, "done, done, done", (ALL, []), id="read-only source"),
    ],
)
def test_the_sdk_meets_the_roles(
    wandb: WandbStandIn, tmp_path: Path, roles: dict[str, str], said: str, left: tuple[list[str], list[str]]
) -> None:
    """
    A viewer names nothing, a member nothing protected; where the source is read-only, the SDK leaves the
    tags out by itself, because the project says so.
    """
    version = wandb.log_artifact("acme/training/nature", {"weights.bin": b"x"})
    linked = wandb.link(version, f"acme-org/{REGISTRY}")
    wandb.protect_alias("acme-org/wandb-registry-model", "production")
    key = wandb.add_user("ben", entities=["acme", "acme-org", "ben"], roles=roles).api_key

    changes = [{"aliases": ["deployed"]}, {"aliases": ["production"]}, {"tags": ["good"]}]
    answers = in_sdk(MARK, changes, tmp_path, wandb, signed_in={"WANDB_API_KEY": key})

    assert ", ".join("refused" if "permission" in each else each for each in answers) == said
    assert (sorted(linked.aliases), version.artifact.tags) == left


def test_the_sdk_sees_what_our_client_marked(wandb: WandbStandIn, tmp_path: Path) -> None:
    """
    Aliases in their collections, the link, tags, and all of the metadata.
    """
    version = wandb.log_artifact("acme/training/nature", {"weights.bin": b"x"}, metadata={"accuracy": 0.9})
    linked = wandb.link(version, f"acme-org/{REGISTRY}")
    wandb.link(version, "acme-org/wandb-registry-staging/other")
    marks = Marks.parse(
        {
            "alias": ["deployed"],
            "tag": ["serving now"],
            "metadata": ["image=sha256:ab"],
            "link": ["acme-org/wandb-registry-staging/nature:best"],
        }
    )
    with WandbApi(wandb.url, ApiKey.parse(wandb.api_key, "WANDB_API_KEY")) as api:
        found = resolve(linked.name, api)
        write(prepare(found, marks, api), found, api)

    asked = {f"acme-org/{REGISTRY}:deployed": None, "acme-org/wandb-registry-staging/nature:best": None}
    one, other = in_sdk(LOOK_UP, asked, tmp_path, wandb).values()

    assert (one["aliases"], other["aliases"]) == (["deployed", "latest"], ["best", "latest"])
    assert (one["id"], one["tags"]) == (other["id"], ["serving now"])
    assert one["metadata"] == {"accuracy": 0.9, "image": "sha256:ab"}
