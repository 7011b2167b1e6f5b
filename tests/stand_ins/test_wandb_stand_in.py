"""The stand-in for W&B keeps W&B's rules: names, versions, rights, GraphQL."""

from __future__ import annotations

import base64
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import requests
import xxhash

from tests.stand_ins.wandb import RefusedError, Run, WandbStandIn
from tests.stand_ins.wandb_client import (
    BY_ID,
    CONTENT,
    FILES,
    REGISTRY,
    SOURCE,
    address,
    ask,
    by_name,
    get,
    post,
)


def test_the_digest_is_the_known_one(wandb: WandbStandIn) -> None:
    """
    One file ``a.txt`` that holds ``hello`` has the digest that W&B gives it.
    """
    version = wandb.log_artifact(SOURCE, {"a.txt": b"hello"})

    assert version.digest == "541f289bb3c6ae786d51e7288e523543"


def test_xxh128_is_that_of_the_package(wandb: WandbStandIn, tmp_path: Path) -> None:
    """
    Files and manifest of an XXH128 artifact are digested as the xxhash package does it.
    """
    (tmp_path / "big").write_bytes(CONTENT * 300_000)
    version = wandb.log_artifact(
        SOURCE, {"a.txt": b"hello", "big": tmp_path / "big"}, algorithm="XXH128", layout="V2"
    )

    entries = version.artifact.manifest.entries
    of_big = base64.b64encode(xxhash.xxh128_digest(CONTENT * 300_000)).decode()
    lines = f"wandb-artifact-manifest-v1\na.txt:tenBrQcbPn/Hec+qXlI4GA==\nbig:{of_big}\n"
    assert [entry.digest for entry in entries] == ["tenBrQcbPn/Hec+qXlI4GA==", of_big]
    assert version.digest == xxhash.xxh128_hexdigest(lines.encode())


def test_the_manifest_says_what_is_stored_where(wandb: WandbStandIn) -> None:
    """
    The manifest file has W&B's form, and a reference stands in it with its address.
    """
    version = wandb.log_artifact(
        SOURCE, {"a.txt": b"hello"}, layout="V1", references={"z.csv": "s3://bucket/z.csv"}
    )
    manifest_file = ask(wandb, BY_ID, id=version.id)["artifact"]["currentManifest"]["file"]

    assert get(manifest_file["directUrl"]).json() == {
        "version": 1,
        "storagePolicy": "wandb-storage-policy-v1",
        "storagePolicyConfig": {"storageLayout": "V1"},
        "contents": {
            "a.txt": {"digest": "XUFAKrxLKna5cZ2REBfFkg==", "size": 5, "birthArtifactID": version.id},
            "z.csv": {"digest": "s3://bucket/z.csv", "ref": "s3://bucket/z.csv"},
        },
    }


def test_a_run_may_have_logged_it(wandb: WandbStandIn) -> None:
    """
    ``createdBy`` is the run when there was one, else the person.
    """
    by_run = wandb.log_artifact(SOURCE, {}, run=Run("abc123", "glad-sun-7"))
    by_person = wandb.log_artifact(SOURCE, {"a": b""})

    assert ask(wandb, BY_ID, id=by_run.id)["artifact"]["createdBy"] == {
        "__typename": "Run",
        "name": "abc123",
        "displayName": "glad-sun-7",
    }
    assert ask(wandb, BY_ID, id=by_person.id)["artifact"]["createdBy"]["username"] == "ana"


# --- names


def test_an_alias_is_unique_in_its_collection(wandb: WandbStandIn) -> None:
    """
    An alias given to one version leaves the other; ``latest`` is the newest; other collections keep theirs.
    """
    first = wandb.log_artifact(SOURCE, {"a": b"1"}, aliases=("best",))
    second = wandb.log_artifact(SOURCE, {"a": b"2"})
    link_of_second = wandb.link(second, REGISTRY, aliases=("production",))
    link_of_first = wandb.link(first, REGISTRY)

    wandb.add_alias(REGISTRY, first, "production")

    assert (first.version, second.version) == ("v0", "v1")
    assert (link_of_second.version, link_of_first.version) == ("v0", "v1")
    assert (first.aliases, second.aliases) == (["best"], ["latest"])
    assert (link_of_second.aliases, link_of_first.aliases) == ([], ["latest", "production"])
    assert by_name(wandb, f"{REGISTRY}:production") == {
        "versionIndex": 1,
        "aliases": [{"alias": "latest"}, {"alias": "production"}, {"alias": "v1"}],
        "artifact": {"id": first.id, "state": "COMMITTED"},
    }


def test_a_link_is_made_once(wandb: WandbStandIn) -> None:
    """
    Linking the same version again only adds the aliases; after an unlink its number is not used again.
    """
    version = wandb.log_artifact(SOURCE, {"a": b"1"})
    assert wandb.link(version, REGISTRY) is wandb.link(version, REGISTRY, aliases=("staging",))

    wandb.unlink(REGISTRY, version)

    assert by_name(wandb, f"{REGISTRY}:staging") is None
    assert wandb.link(version, REGISTRY).version == "v1"


def test_a_version_can_be_given_by_its_name(wandb: WandbStandIn) -> None:
    """
    An alias goes to what ``vN`` or another alias names in that collection, and to nothing that is not there.
    """
    version = wandb.log_artifact(SOURCE, {"a": b"1"})

    wandb.add_alias(SOURCE, "v0", "best")
    wandb.add_alias(SOURCE, "best", "better")
    wandb.remove_alias(SOURCE, "v0", "best")

    assert version.aliases == ["latest", "better"]
    for path, missing in ((SOURCE, "v1"), (REGISTRY, version)):
        with pytest.raises(RefusedError, match=f"is not in {path}"):
            wandb.add_alias(path, missing, "good")


@pytest.mark.parametrize("alias", ["", "v3", "a:b", "a/b"])
def test_what_cannot_be_an_alias_is_refused(wandb: WandbStandIn, alias: str) -> None:
    """
    An alias is not empty, no version, and holds neither a colon nor a slash.
    """
    version = wandb.log_artifact(SOURCE, {"a": b"1"})
    with pytest.raises(RefusedError, match="cannot be an alias"):
        wandb.add_alias(SOURCE, version, alias)


def test_a_pending_version_has_no_files_yet(wandb: WandbStandIn) -> None:
    """
    Until it is committed, a version has a number and a state, but no alias, manifest or files, and no link.
    """
    before = wandb.log_artifact(SOURCE, {"a": b"1"})
    pending = wandb.log_artifact(SOURCE, {"a": b"2"}, state="PENDING", aliases=("best",))

    assert by_name(wandb, f"{SOURCE}:latest")["artifact"]["id"] == before.id
    assert by_name(wandb, f"{SOURCE}:v1")["artifact"]["state"] == "PENDING"
    shown = ask(wandb, BY_ID, id=pending.id)["artifact"]
    assert (shown["currentManifest"], shown["files"]) == (None, None)
    with pytest.raises(RefusedError, match="PENDING"):
        wandb.link(pending, REGISTRY)

    wandb.commit(pending)

    assert by_name(wandb, f"{SOURCE}:best")["artifact"] == {"id": pending.id, "state": "COMMITTED"}


def test_a_deleted_version_is_known_by_its_id_alone(wandb: WandbStandIn) -> None:
    """
    After a deletion no name leads to the version, its files are gone, and its id says DELETED.
    """
    version = wandb.log_artifact(SOURCE, {"a": b"1"})
    wandb.link(version, REGISTRY, aliases=("production",))
    url = address(wandb, version)

    wandb.delete(version)

    assert by_name(wandb, f"{SOURCE}:v0") is None
    assert by_name(wandb, f"{REGISTRY}:production") is None
    shown = ask(wandb, BY_ID, id=version.id)["artifact"]
    assert (shown["state"], shown["currentManifest"]) == ("DELETED", None)
    assert get(url).status_code == 404


# --- who may see what


def test_others_see_only_what_is_theirs(wandb: WandbStandIn) -> None:
    """
    What a person may not see is null to them; a registry shows a version whose source is hidden.
    """
    version = wandb.log_artifact(SOURCE, {"a": b"1"})
    wandb.link(version, REGISTRY, aliases=("production",))
    eve = wandb.add_user("eve", entities=("eve",)).api_key
    reader = wandb.add_user("reader", entities=("reader", "acme-org")).api_key

    assert by_name(wandb, f"{REGISTRY}:production", eve) is None
    assert ask(wandb, BY_ID, eve, id=version.id)["artifact"] is None
    assert by_name(wandb, f"{SOURCE}:v0", reader) is None
    memberships = ask(wandb, BY_ID, reader, id=version.id)["artifact"]["artifactMemberships"]["edges"]
    assert [each["node"]["artifactCollection"]["__typename"] for each in memberships] == ["ArtifactPortfolio"]


@pytest.mark.parametrize(
    ("auth", "body"),
    [
        pytest.param(None, {"error": "user is not logged in"}, id="no key"),
        pytest.param(("api", "0" * 40), {"errors": [{"message": "invalid API key"}]}, id="unknown key"),
        pytest.param(("ana", "KEY"), {"errors": [{"message": "invalid API key"}]}, id="another user name"),
    ],
)
def test_without_a_good_key_the_answer_is_401(
    wandb: WandbStandIn, auth: tuple[str, str] | None, body: dict[str, Any]
) -> None:
    """
    Only Basic authentication as ``api`` with a key that W&B gave out is answered.
    """
    if auth and auth[1] == "KEY":
        auth = (auth[0], wandb.api_key)
    answer = requests.post(f"{wandb.url}/graphql", json={"query": "{viewer{id}}"}, auth=auth, timeout=5)

    assert (answer.status_code, answer.json()) == (401, body)


# --- GraphQL


@pytest.mark.parametrize(
    ("query", "variables"),
    [
        pytest.param("{ viewer {", {}, id="syntax"),
        pytest.param("{ viewer { shoeSize } }", {}, id="unknown field"),
        pytest.param(BY_ID, {}, id="missing variable"),
    ],
)
def test_what_cannot_be_executed_is_400(wandb: WandbStandIn, query: str, variables: dict[str, Any]) -> None:
    """
    A document that is wrong by itself is answered 400 with the errors, and no data.
    """
    answer = post(wandb, query, **variables)

    assert answer.status_code == 400
    assert answer.json()["errors"][0]["message"]
    assert "data" not in answer.json()


@pytest.mark.parametrize(
    ("features", "query"),
    [
        (None, "{ serverInfo { features { name } } }"),
        (None, 'query { artifact(id: "x") { digestAlgorithm } }'),
        (set(), 'query { artifact(id: "x") { digestAlgorithm } }'),
    ],
    ids=["features", "digest algorithm, old server", "digest algorithm, feature off"],
)
def test_an_old_server_does_not_know_new_fields(
    wandb: WandbStandIn, features: set[str] | None, query: str
) -> None:
    """
    A field that came with a later server is an unknown field, in the words that clients look for.
    """
    assert post(wandb, query).status_code == 200
    wandb.features = features

    answer = post(wandb, query)

    assert answer.status_code == 400
    assert 'Cannot query field "' in answer.json()["errors"][0]["message"]


@pytest.mark.parametrize("most", [None, 2], ids=["as asked", "capped by the server"])
def test_pages_follow_each_other(wandb: WandbStandIn, most: int | None) -> None:
    """
    Every file comes once, whatever the size of the pages, and the last page says so.
    """
    version = wandb.log_artifact(SOURCE, {f"{number}": b"" for number in range(7)})
    wandb.most_per_page = most
    names: list[str] = []
    sizes: list[int] = []
    page: dict[str, Any] = {"pageInfo": {"endCursor": None, "hasNextPage": True}}
    while page["pageInfo"]["hasNextPage"]:
        after = page["pageInfo"]["endCursor"]
        page = ask(wandb, FILES, id=version.id, first=3, after=after)["artifact"]["files"]
        sizes.append(len(page["edges"]))
        names += [each["node"]["name"] for each in page["edges"]]

    assert names == ["0", "1", "2", "3", "4", "5", "6"]
    assert sizes == ([3, 3, 1] if most is None else [2, 2, 2, 1])
    assert page["totalCount"] == 7


def test_changes_need_the_right_to_see(wandb: WandbStandIn) -> None:
    """
    Who sees the registry alone may name and unlink there, but not change the version itself.
    """
    version = wandb.log_artifact(SOURCE, {"a": b"1"})
    link = wandb.link(version, REGISTRY)
    reader = wandb.add_user("reader", entities=("acme-org",)).api_key
    target = {
        "entityName": "acme-org",
        "projectName": "wandb-registry-model",
        "artifactCollectionName": "nature",
        "alias": "deployed",
    }
    add = "mutation Add($input: AddAliasesInput!) { addAliases(input: $input) { success } }"
    update = "mutation Up($input: UpdateArtifactInput!) { updateArtifact(input: $input) { artifact { id } } }"
    unlink = "mutation Un($input: UnlinkArtifactInput!) { unlinkArtifact(input: $input) { success } }"

    ask(wandb, add, reader, input={"artifactID": version.id, "aliases": [target]})
    refused = post(wandb, update, reader, input={"artifactID": version.id, "description": "mine"}).json()
    assert link.aliases == ["latest", "deployed"]
    assert refused["data"]["updateArtifact"] is None
    assert "permission denied" in refused["errors"][0]["message"]

    ask(wandb, unlink, reader, input={"artifactID": version.id, "artifactPortfolioID": link.collection.id})
    assert by_name(wandb, f"{REGISTRY}:deployed") is None


def test_requests_are_on_record(wandb: WandbStandIn) -> None:
    """
    Each request can be looked up: where, what operation or file, with which headers.
    """
    version = wandb.log_artifact(SOURCE, {"a": CONTENT})
    get(address(wandb, version), Range="bytes=0-1")

    asked, fetched = wandb.requests
    assert (asked.origin, asked.method, asked.path) == ("api", "POST", "/graphql")
    assert (asked.operation, asked.variables) == ("ById", {"id": version.id})
    assert asked.headers["authorization"].startswith("Basic ")
    assert (fetched.origin, fetched.target, fetched.headers["range"]) == ("files", "file:a", "bytes=0-1")


def test_it_needs_only_what_the_demo_has() -> None:
    """
    Importing it brings in no test tool, no SDK and no compiled hash.
    """
    program = "import sys, tests.stand_ins.wandb; print({'pytest', 'wandb', 'xxhash'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "set()"
