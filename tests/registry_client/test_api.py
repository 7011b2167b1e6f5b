"""W&B over HTTP, in our types: against the stand-in that W&B's own client agrees with."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
import requests

from registry_client.api import WandbApi
from registry_client.credentials import ApiKey
from registry_client.errors import (
    AccessDeniedError,
    AliasMovedError,
    ArtifactDeletedError,
    ArtifactNotCommittedError,
    ArtifactNotFoundError,
    ConfigurationError,
    FetchError,
    InvalidReferenceError,
    RegistryError,
)
from registry_client.manifest import Manifest
from registry_client.record import Organization
from registry_client.reference import CollectionPath
from registry_client.resolve import resolve
from registry_client.version import DigestAlgorithm, SourceRun
from registry_client.wire import StaleUrlError
from tests.stand_ins.wandb import FEATURES, Run, WandbStandIn

FLOWER = "acme/vision/flower"
LINKED = "acme-org/wandb-registry-model/Lemon Mold Detector"
FILES = {"labels.txt": b"cat dog"}
WRONG_KEY = "f" * 40
PLACE = {"name": "flower", "project": {"name": "vision", "entity": {"name": "acme"}}}
ANSWER = {
    "state": "COMMITTED",
    "digest": "0" * 32,
    "size": "7",
    "fileCount": 1,
    "createdAt": "2026-01-31T12:00:00Z",
    "description": None,
    "metadata": None,
    "versionIndex": 0,
    "artifactType": {"name": "model"},
    "artifactSequence": PLACE,
    "artifactMemberships": {"edges": []},
}


def operations(wandb: WandbStandIn) -> list[str | None]:
    return [each.operation for each in wandb.requests]


def test_the_collections_of_a_project(wandb: WandbStandIn, api: WandbApi) -> None:
    """
    All of them, however W&B pages them; None for a project that the key does not see.
    """
    for name in ("a", "b", "c"):
        wandb.log_artifact(f"acme/vision/{name}", FILES)
    wandb.most_per_page = 2
    wandb.requests.clear()

    assert api.collections("acme", "vision") == tuple(
        CollectionPath("acme", "vision", name) for name in "abc"
    )
    assert operations(wandb) == ["Collections"] * 2
    assert api.collections("acme", "gone") is None


# --- resolving


def test_a_link_is_resolved(wandb: WandbStandIn, api: WandbApi) -> None:
    """
    Every field of the version, read from real answers, in one question.
    """
    wandb.log_artifact(FLOWER, {"other": b""})
    logged = wandb.log_artifact(
        FLOWER, FILES, metadata={"accuracy": 0.9}, tags=["audited"], description="yellow"
    )
    link = wandb.link(logged, LINKED, ["production"])

    version = resolve(f"{LINKED}:production", api)

    assert version.id == link.id
    assert version.digest == logged.digest
    assert version.digest_algorithm is DigestAlgorithm.MD5
    assert (version.name, version.source_name) == (f"{LINKED}:v0", f"{FLOWER}:v1")
    assert version.aliases == ("latest", "production")
    assert (version.tags, version.metadata) == (("audited",), {"accuracy": 0.9})
    assert (version.description, version.size, version.file_count) == ("yellow", 7, 1)
    assert abs((datetime.now(timezone.utc) - version.created_at).total_seconds()) < 60
    assert version.url.startswith(f"{wandb.url}/orgs/Acme%20Inc/registry/model?selectionPath=acme-org%2F")
    assert operations(wandb) == ["VersionByName"]


@pytest.mark.parametrize(
    "reference",
    [
        "acme-org/wandb-registry-model/Lemon Mold Detector:v0",
        "Acme Inc/wandb-registry-model/Lemon Mold Detector:production",
        "wandb-registry-model/Lemon Mold Detector:latest",
    ],
)
def test_every_way_to_write_a_registry_leads_there(
    wandb: WandbStandIn, api: WandbApi, reference: str
) -> None:
    """
    By the organization's entity, by its name, without it.
    """
    wandb.link(wandb.log_artifact(FLOWER, FILES), LINKED, ["production"])

    assert resolve(reference, api).name == f"{LINKED}:v0"


def test_an_id_is_resolved_in_the_collection_of_the_event(wandb: WandbStandIn, api: WandbApi) -> None:
    """
    The id pins the version, the collection gives number and aliases.
    """
    logged = wandb.log_artifact(FLOWER, FILES)
    wandb.link(logged, LINKED, ["production"])
    where = CollectionPath("Acme Inc", "wandb-registry-model", "Lemon Mold Detector")

    version = resolve(logged.reference, api, collection=where, expect_alias="production")

    assert version.name == f"{LINKED}:v0"
    assert operations(wandb) == ["VersionById"]


def test_a_moved_alias_is_noticed(wandb: WandbStandIn, api: WandbApi) -> None:
    """
    Between the event and the run somebody promoted another version.
    """
    old = wandb.log_artifact(FLOWER, FILES)
    wandb.log_artifact(FLOWER, {"labels.txt": b"dog"}, aliases=["production"])

    with pytest.raises(AliasMovedError, match=r"v1 carries it now \(in the collection since 20\d\d-.* UTC\)"):
        resolve(old.reference, api, expect_alias="production")


def test_a_deleted_version_is_told_from_one_that_never_was(wandb: WandbStandIn, api: WandbApi) -> None:
    """
    By its id W&B still knows it.
    """
    logged = wandb.log_artifact(FLOWER, FILES)
    wandb.delete(logged)

    with pytest.raises(ArtifactDeletedError):
        resolve(logged.reference, api)


def test_a_version_still_uploading_is_not_taken(wandb: WandbStandIn, api: WandbApi) -> None:
    """
    It has a name already, but not all its files.
    """
    wandb.log_artifact(FLOWER, FILES, state="PENDING")

    with pytest.raises(ArtifactNotCommittedError):
        resolve(f"{FLOWER}:v0", api)


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("acme/vision/flower:v9", "has no version or alias 'v9'; its aliases: latest; its newest is v0"),
        ("acme/vision/tree:v0", "acme/vision has no collection 'tree' that the key, which is ana's, may see"),
        ("acme/other/tree:v0", "project acme/other is not at 127.0.0.1"),
        ("nobody/other/tree:v0", "entity 'nobody' is not at 127.0.0.1"),
        ("nobody/wandb-registry-model/x:v0", "the key's own organizations: acme-org (Acme Inc)"),
        ("wandb-artifact://_id/QXJ0aWZhY3Q6MQ==", "is not at 127.0.0.1"),
    ],
)
def test_what_is_not_there_is_named(wandb: WandbStandIn, api: WandbApi, reference: str, message: str) -> None:
    """
    As far as the path leads, with what is there instead.
    """
    wandb.log_artifact(FLOWER, FILES)

    with pytest.raises(ArtifactNotFoundError) as caught:
        resolve(reference, api)

    assert message in str(caught.value)


def test_an_entity_that_the_key_may_not_see_looks_as_if_it_were_not_there(wandb: WandbStandIn) -> None:
    """
    W&B does not tell, so the message names both reasons and the key's owner.
    """
    wandb.log_artifact(FLOWER, FILES)
    bob = wandb.add_user("bob", entities=["bob"])

    with (
        WandbApi(wandb.url, ApiKey.parse(bob.api_key, "WANDB_API_KEY")) as api,
        pytest.raises(ArtifactNotFoundError, match=r"entity 'acme' .* the key, which is bob's, may not see"),
    ):
        resolve(f"{FLOWER}:v0", api)


def test_two_organizations_leave_a_doubt(wandb: WandbStandIn, api: WandbApi) -> None:
    """
    A registry without its organization is then refused, with the candidates.
    """
    wandb.add_organization("Other", entity="other-org")

    with pytest.raises(InvalidReferenceError, match=r"acme-org \(Acme Inc\), other-org \(Other\)"):
        resolve("wandb-registry-model/x:v0", api)


def test_the_default_entity_settles_it(wandb: WandbStandIn) -> None:
    """
    A key whose default entity is in one organization means that one.
    """
    wandb.add_organization("Other", entity="other-org", teams=["robot"])
    robot = wandb.add_user("robot")

    with WandbApi(wandb.url, ApiKey.parse(robot.api_key, "test")) as api:
        assert api.own_organizations() == (Organization("Other", "other-org"),)


def test_an_older_server_is_asked_as_it_understands(wandb: WandbStandIn, api: WandbApi) -> None:
    """
    It refuses what it does not know once; it is asked without from then on, and everything is MD5.
    """
    wandb.features = None
    logged = wandb.log_artifact(FLOWER, FILES)

    first = resolve(logged.reference, api)
    second = resolve(f"{FLOWER}:latest", api)
    third = resolve(f"{FLOWER}:v0", api)

    assert first.digest_algorithm is DigestAlgorithm.MD5
    assert first == second == third
    older = "OlderVersionByName"
    assert operations(wandb) == ["VersionById", "VersionById", "VersionByName", older, older]


@pytest.mark.parametrize("version_aliases", [True, False])
def test_an_older_server_knows_links(wandb: WandbStandIn, api: WandbApi, *, version_aliases: bool) -> None:
    """
    Their numbers are among their aliases; without these, what is asked for by alias has none.
    """
    wandb.features, wandb.version_aliases = None, version_aliases
    wandb.link(wandb.log_artifact("acme/vision/other", {"a": b"a"}), LINKED)
    wandb.link(wandb.log_artifact(FLOWER, FILES), LINKED, ["production"])
    wandb.unknown_fields = {"Artifact.artifactMemberships"}

    if version_aliases:
        version = resolve(f"{LINKED}:production", api)
        assert (version.name, version.aliases) == (f"{LINKED}:v1", ("latest", "production"))
        assert version.source_name == f"{FLOWER}:v0"
        reference = f"wandb-artifact://_id/{version.id}"
        where = CollectionPath(*LINKED.split("/"))
        assert resolve(reference, api, collection=where, expect_alias="production") == version
    else:
        with pytest.raises(ArtifactNotCommittedError, match="has no version in"):
            resolve(f"{LINKED}:production", api)


def test_an_older_server_tells_less_of_what_is_not_there(wandb: WandbStandIn, api: WandbApi) -> None:
    """
    Not which collections or organizations there are, but still entity, project and whose key it is.
    """
    wandb.log_artifact(FLOWER, FILES)
    wandb.unknown_fields = {"ArtifactCollection.artifactMembership", "Organization.orgEntity"}

    with pytest.raises(ArtifactNotFoundError, match=r"^acme/vision/flower has no version or alias 'v9'$"):
        resolve(f"{FLOWER}:v9", api)
    with pytest.raises(ArtifactNotFoundError, match=r"ana's, may not see it; the key's own .* none$"):
        resolve("acme/wandb-registry-model/x:v0", api)


def test_a_server_that_is_too_old_is_told(wandb: WandbStandIn, api: WandbApi) -> None:
    """
    Without any way to ask for what we need.
    """
    wandb.unknown_fields = {"Artifact.digest"}

    with pytest.raises(FetchError, match=r"127\.0\.0\.1:\d+ is too old: it does not know digest"):
        resolve(wandb.log_artifact(FLOWER, FILES).reference, api)


def test_files_of_an_older_server_are_found_by_id(wandb: WandbStandIn, api: WandbApi) -> None:
    """
    All of them, and one.
    """
    wandb.features = None
    version = resolve(wandb.log_artifact(FLOWER, {"a": b"a", "b": b"b"}).reference, api)

    assert [page.keys() for page in api.url_pages(version)] == [{"a", "b"}]
    assert api.file_url(version, "b") is not None
    assert operations(wandb)[-3:] == ["OlderFileUrls", "FileUrl", "OlderFileUrl"]


@pytest.mark.parametrize(
    ("features", "refused"),
    [
        (FEATURES, 0),
        (FEATURES - {"ARTIFACT_V2_DOWNLOAD_HANDLER_SUPPORTS_ARTIFACT_ID"}, 1),
        (None, 2),
    ],
    ids=["newest", "without the id", "short form"],
)
def test_files_without_urls_come_through_the_server(
    wandb: WandbStandIn, api: WandbApi, features: frozenset[str] | None, refused: int
) -> None:
    """
    It sends us on to the file store, where nobody sees the key; the form that it knows is tried first then.
    """
    wandb.direct_urls = False
    wandb.features = None if features is None else set(features)
    version = resolve(wandb.log_artifact(FLOWER, FILES).reference, api)
    manifest = Manifest.parse(api.manifest(version))
    assert list(api.url_pages(version)) == [{}]

    for _ in range(2):
        addresses = iter(api.file_endpoints(version, manifest, manifest.entries[0]))
        for address in addresses:
            with suppress(StaleUrlError), api.open(address, signed_in=True) as body:
                assert b"".join(body.chunks()) == FILES["labels.txt"]
                break

    asked = [each for each in wandb.requests if each.path.startswith("/artifactsV2/")]
    assert len(asked) == 2 + refused
    assert all("authorization" in each.headers for each in asked)
    stored = [each for each in wandb.requests if each.origin == "files"]
    assert len(stored) == 3
    assert not [each for each in stored if "authorization" in each.headers]


# --- where a version comes from


def test_the_run_that_logged_a_version_is_told(wandb: WandbStandIn, api: WandbApi) -> None:
    """
    With its commit and its page, and at no cost: the same question.
    """
    run = Run("a1b2c3", display_name="glad-sun-7", commit="0" * 40)
    logged = wandb.log_artifact(FLOWER, FILES, run=run)

    version = resolve(wandb.link(logged, LINKED).name, api)

    url = f"{wandb.url}/acme/vision/runs/a1b2c3"
    assert version.source_run == SourceRun("acme/vision/a1b2c3", "glad-sun-7", "0" * 40, url)
    assert version.created_by is None
    assert operations(wandb) == ["VersionByName"]


def test_who_logged_a_version_without_a_run_is_told(wandb: WandbStandIn, api: WandbApi) -> None:
    """
    By name.
    """
    version = resolve(wandb.log_artifact(FLOWER, FILES).reference, api)

    assert (version.source_run, version.created_by) == (None, "ana")


@pytest.mark.parametrize(
    ("unknown", "wanted"),
    [
        ({"Artifact.createdBy"}, None),
        ({"Run.commit"}, ("glad-sun-1", None)),
        ({"Run.displayName", "Run.commit"}, ("a1b2c3", None)),
    ],
)
def test_what_a_server_does_not_know_of_a_run_is_left_out(
    wandb: WandbStandIn, api: WandbApi, unknown: set[str], wanted: tuple[str, str | None] | None
) -> None:
    """
    The rest is told all the same.
    """
    wandb.unknown_fields = unknown
    logged = wandb.log_artifact(FLOWER, FILES, run=Run("a1b2c3", commit="0" * 40))

    run = resolve(logged.reference, api).source_run

    assert (run and (run.name, run.commit)) == wanted
    assert operations(wandb) == ["VersionById", "VersionById"]


def test_a_run_that_the_key_may_not_see_is_left_out(wandb: WandbStandIn, api: WandbApi) -> None:
    """
    Who sees a registry alone gets an error for it beside the answer; any other error still counts.
    """
    logged = wandb.log_artifact(FLOWER, FILES)
    error: dict[str, Any] = {"message": "permission denied", "path": ["artifact", "createdBy", "project"]}
    answer = {"data": {"artifact": {**ANSWER, "id": logged.id, "createdBy": None}}, "errors": [error]}
    wandb.faults.add("graphql:VersionById", body=json.dumps(answer).encode())
    assert resolve(logged.reference, api).source_run is None

    error["path"] = ["artifact", "digest"]
    wandb.faults.add("graphql:VersionById", body=json.dumps(answer).encode())
    with pytest.raises(AccessDeniedError, match="read this: permission denied"):
        resolve(logged.reference, api)


def test_xxh128_is_told(wandb: WandbStandIn, api: WandbApi) -> None:
    """
    Newer versions say how they were digested.
    """
    logged = wandb.log_artifact(FLOWER, FILES, algorithm="XXH128")

    assert resolve(logged.reference, api).digest_algorithm is DigestAlgorithm.XXH128


# --- keys and refusals


def test_the_key_is_sent_as_wandbs_clients_do(wandb: WandbStandIn, api: WandbApi) -> None:
    """
    Basic, as user ``api``; a netrc does not change that.
    """
    resolve(wandb.log_artifact(FLOWER, FILES).reference, api)

    prepared = requests.Request("GET", wandb.url, auth=("api", wandb.api_key)).prepare()
    assert wandb.requests[0].headers["authorization"] == prepared.headers["Authorization"]


def test_a_netrc_does_not_replace_the_key(
    wandb: WandbStandIn, api: WandbApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Requests would prefer its entry for the host; the key that was given counts.
    """
    (tmp_path / "netrc").write_text(f"machine 127.0.0.1 login api password {WRONG_KEY}\n", encoding="utf-8")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))

    assert resolve(wandb.log_artifact(FLOWER, FILES).reference, api).version == "v0"


def test_a_wrong_key_is_named_by_its_source(wandb: WandbStandIn) -> None:
    """
    Which server it was shown to, where it came from, never what it is.
    """
    with (
        WandbApi(wandb.url, ApiKey.parse(WRONG_KEY, "WANDB_API_KEY_FILE (/run/key)")) as api,
        pytest.raises(
            AccessDeniedError, match=r"127\.0\.0\.1:\d+ does not know the key from WANDB_API_K"
        ) as caught,
    ):
        resolve(f"{FLOWER}:v0", api)

    assert WRONG_KEY not in str(caught.value)


def test_no_key_where_one_is_wanted_says_so(wandb: WandbStandIn) -> None:
    """
    A public server of one's own may do without; this one does not.
    """
    with WandbApi(wandb.url, None) as api, pytest.raises(AccessDeniedError, match="none was given"):
        resolve(f"{FLOWER}:v0", api)


@pytest.mark.parametrize(
    ("fault", "error", "message"),
    [
        ({"status": 403}, AccessDeniedError, "does not let the key from WANDB_API_KEY read this: on demand"),
        (
            {"status": 403, "body": b"<html>"},
            AccessDeniedError,
            "read this: it answered 403",
        ),
        (
            {"body": b'{"errors": [{"message": "permission denied"}], "data": null}'},
            AccessDeniedError,
            "read this: permission denied",
        ),
        ({"body": b'{"errors": ["entity not found"]}'}, ArtifactNotFoundError, "entity not found"),
        ({"status": 404, "body": b"<html>"}, ConfigurationError, "answered 404 and a web page to /graphql"),
        ({"body": b"<!doctype html><HTML>hi"}, ConfigurationError, "is WANDB_BASE_URL that of the API"),
        ({"body": b"[]"}, ConfigurationError, "no JSON to /graphql"),
        ({"body": b"[" * 100_000}, ConfigurationError, "no JSON to /graphql"),
        ({"status": 400}, FetchError, "answered 400: on demand"),
        ({"status": 501}, FetchError, "answered 501: on demand"),
        ({"body": b'{"error": "odd"}'}, FetchError, "answered 200: odd"),
        ({"body": b'{"errors": "odd"}'}, FetchError, "answered 200: odd"),
        ({"body": b"{}"}, FetchError, "answered 200: without data"),
        ({"body": b'{"data": {"artifact": {"id": "x"}}}'}, FetchError, "in a form we do not know: KeyError"),
        ({"body": b'{"data": {"artifact": "x"}}'}, FetchError, "in a form we do not know: AttributeError"),
        (
            {"status": 308, "headers": {"Location": "https://elsewhere.test/graphql"}},
            FetchError,
            "sends us on to elsewhere.test; the key does not follow",
        ),
    ],
)
def test_refusals_become_our_errors(  # noqa: PLR0917 - fixtures and cases
    wandb: WandbStandIn,
    api: WandbApi,
    naps: list[float],
    fault: dict[str, Any],
    error: type[RegistryError],
    message: str,
) -> None:
    """
    Each answer of W&B, or of what stands in its place, says what to do next, at once.
    """
    wandb.faults.add("graphql:VersionById", **fault)

    with pytest.raises(error) as caught:
        resolve(wandb.log_artifact(FLOWER, FILES).reference, api)

    assert message in str(caught.value)
    assert naps == []


# --- tries


@pytest.mark.parametrize(
    ("fault", "least"),
    [
        ({"status": 500}, 0.5),
        ({"status": 503}, 0.5),
        ({"status": 429, "retry_after": "12"}, 12),
        ({"reset": True}, 0.5),
    ],
    ids=["500", "503", "429", "reset"],
)
def test_transient_faults_are_tried_again(
    wandb: WandbStandIn, api: WandbApi, naps: list[float], fault: dict[str, Any], least: float
) -> None:
    """
    After a pause, the server's own if it names one.
    """
    wandb.faults.add("graphql:VersionById", **fault)

    assert resolve(wandb.log_artifact(FLOWER, FILES).reference, api).version == "v0"
    assert len(naps) == 1
    assert least <= naps[0] <= max(least, 1)


def test_tries_end(wandb: WandbStandIn, api: WandbApi, naps: list[float]) -> None:
    """
    Five are enough: the error says how many there were, and that another run may help.
    """
    wandb.faults.add("graphql:VersionById", status=502, times=None)

    with pytest.raises(FetchError, match=r"answered 502 \(tried 5 times\)") as caught:
        resolve(wandb.log_artifact(FLOWER, FILES).reference, api)

    assert len(naps) == 4
    assert caught.value.retryable


def test_a_server_that_is_not_there_is_named(naps: list[float]) -> None:
    """
    Host and reason, without the library's own words.
    """
    with (
        WandbApi("http://127.0.0.1:1", None, sleep=naps.append) as api,
        pytest.raises(FetchError, match=r"^127\.0\.0\.1:1: Connection refused \(tried 5 times\)$"),
    ):
        resolve(f"{FLOWER}:v0", api)


def test_a_server_that_does_not_answer_is_left(wandb: WandbStandIn, naps: list[float]) -> None:
    """
    A question gets twice the read timeout.
    """
    wandb.faults.add("graphql:VersionById", stall=30)
    logged = wandb.log_artifact(FLOWER, FILES)

    with WandbApi(wandb.url, ApiKey.parse(wandb.api_key, "test"), sleep=naps.append, read_timeout=0.2) as api:
        assert resolve(logged.reference, api).version == "v0"

    assert len(naps) == 1


@pytest.mark.parametrize("fault", [{"status": 403}, {"status": 500}, {"cut_after": 3}])
def test_a_manifest_is_asked_for_again(
    wandb: WandbStandIn, api: WandbApi, naps: list[float], fault: dict[str, Any]
) -> None:
    """
    With a new URL each time.
    """
    version = resolve(wandb.log_artifact(FLOWER, FILES).reference, api)
    wandb.faults.add("manifest", **fault)

    assert json.loads(api.manifest(version))["version"] == 1
    assert len(naps) == 1
    assert operations(wandb).count("ManifestUrl") == 2


def test_a_version_without_a_manifest_is_an_error(wandb: WandbStandIn, api: WandbApi) -> None:
    """
    W&B answered, but not what we need.
    """
    version = resolve(wandb.log_artifact(FLOWER, FILES).reference, api)
    wandb.faults.add("graphql:ManifestUrl", body=b'{"data": {"artifact": {"currentManifest": null}}}')

    with pytest.raises(FetchError, match="in a form we do not know"):
        api.manifest(version)


def test_a_compressed_manifest_is_not_guessed_at(wandb: WandbStandIn, api: WandbApi) -> None:
    """
    We asked for it as it is.
    """
    version = resolve(wandb.log_artifact(FLOWER, FILES).reference, api)
    wandb.faults.add("manifest", gzip=True)

    with pytest.raises(FetchError, match="came as gzip"):
        api.manifest(version)


def test_endpoints_are_spelled_as_wandb_does(wandb: WandbStandIn, api: WandbApi) -> None:
    """
    By layout; each part is encoded, so that a name cannot become a path.
    """
    logged = wandb.log_artifact(FLOWER, {"dir/50% #1?.bin": b"hello"})
    version = resolve(wandb.link(logged, LINKED).name, api)
    manifest = Manifest.parse(api.manifest(version))
    entry = manifest.entries[0]
    digest = "5d41402abc4b2a76b9719d911017c592"

    assert api.file_endpoints(version, replace(manifest, storage_layout="V1"), entry) == (
        f"{wandb.url}/artifacts/acme-org/{digest}",
    )
    start, place = f"{wandb.url}/artifactsV2/default", "wandb-registry-model/Lemon%20Mold%20Detector"
    end = f"{logged.id}/{digest}"
    assert api.file_endpoints(version, manifest, entry) == (
        f"{start}/acme-org/{place}/{logged.id}/{end}/50%25%20%231%3F.bin",
        f"{start}/acme-org/{place}/{end}/50%25%20%231%3F.bin",
        f"{start}/acme-org/{end}",
    )


def test_pages_that_do_not_move_on_end(wandb: WandbStandIn, api: WandbApi) -> None:
    """
    A server that promises more and gives the same page is not asked for ever.
    """
    version = resolve(wandb.log_artifact(FLOWER, FILES).reference, api)
    page = {"pageInfo": {"endCursor": "x", "hasNextPage": True}, "edges": [{"node": None}]}
    answer = {"data": {"project": {"artifactCollection": {"artifactMembership": {"files": page}}}}}
    wandb.faults.add("graphql:FileUrls", times=None, body=json.dumps(answer).encode())

    assert list(api.url_pages(version)) == [{}, {}]
    assert operations(wandb).count("FileUrls") == 2


def test_urls_come_a_page_at_a_time(wandb: WandbStandIn, api: WandbApi) -> None:
    """
    The next page is asked for when the one before is used up: files flow meanwhile.
    """
    wandb.most_per_page = 2
    version = resolve(wandb.log_artifact(FLOWER, dict.fromkeys("abc", b"x")).reference, api)

    pages = api.url_pages(version)
    assert "FileUrls" not in operations(wandb)
    assert len(next(pages)) == 2
    assert operations(wandb).count("FileUrls") == 1
    assert [list(page) for page in pages] == [["c"]]


def test_a_part_of_a_file_can_be_asked_for(wandb: WandbStandIn, api: WandbApi) -> None:
    """
    Its bytes alone come, with the size of the whole.
    """
    version = resolve(wandb.log_artifact(FLOWER, FILES).reference, api)
    [urls] = api.url_pages(version)

    with api.open(urls["labels.txt"], offset=4, length=2) as body:
        assert b"".join(body.chunks()) == b"do"
        assert (body.offset, body.length, body.total, body.status) == (4, 2, 7, 206)


def test_a_fresh_url_is_for_one_file(wandb: WandbStandIn, api: WandbApi) -> None:
    """
    None when W&B has none.
    """
    version = resolve(wandb.log_artifact(FLOWER, {"a": b"a", "b": b"b"}).reference, api)

    url = api.file_url(version, "b")
    assert url is not None
    with api.open(url) as body:
        assert b"".join(body.chunks()) == b"b"
    assert api.file_url(version, "c") is None
