"""Marking a version at a W&B that has roles, protected aliases and several collections."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack

import pytest

from registry_client.api import WandbApi
from registry_client.credentials import ApiKey
from registry_client.errors import (
    AccessDeniedError,
    ArtifactNotFoundError,
    FetchError,
    InvalidReferenceError,
    RegistryError,
)
from registry_client.mark import Marks
from registry_client.resolve import resolve
from registry_client.writeback import prepare, write
from tests.stand_ins.wandb import Membership, WandbStandIn

SOURCE = "acme/training/flower"
MODELS = "acme-org/wandb-registry-model"
LINKED = f"{MODELS}/Flower"
STAGING = "acme-org/wandb-registry-staging"
EVERYTHING: Mapping[str, list[str]] = {
    "alias": ["deployed"],
    "remove-alias": ["candidate"],
    "tag": ["serving"],
    "remove-tag": ["waiting"],
    "metadata": ["image=sha256:ab"],
    "link": [f"{STAGING}/Flower:best"],
}
pytestmark = pytest.mark.usefixtures("flower")
WRITES = {"AddAliases", "DeleteAliases", "LinkArtifact", "UpdateArtifact"}


@pytest.fixture
def flower(wandb: WandbStandIn) -> Membership:
    """The second of two versions; the first is deployed."""
    wandb.link(wandb.log_artifact(SOURCE, {"a": b"1"}), LINKED, ["deployed"])
    version = wandb.log_artifact(SOURCE, {"a": b"2"}, tags=["waiting"], metadata={"accuracy": 0.9})
    wandb.link(wandb.log_artifact("acme/training/other", {"b": b"1"}), f"{STAGING}/Other")
    return wandb.link(version, LINKED, ["candidate"])


@pytest.fixture
def signed_in(wandb: WandbStandIn) -> Iterator[Callable[..., WandbApi]]:
    """A client of somebody with these roles."""
    with ExitStack() as open_clients:

        def client(roles: Mapping[str, str] | None = None, **others: list[str]) -> WandbApi:
            user = wandb.add_user("ben", roles=roles, **others)  # type: ignore[arg-type]
            key = ApiKey.parse(user.api_key, "WANDB_API_KEY")
            return open_clients.enter_context(WandbApi(wandb.url, key, sleep=lambda _: None, read_timeout=5))

        yield client


def mark(given: Mapping[str, list[str]], api: WandbApi) -> tuple[str, ...]:
    """Mark the linked version, and tell what was changed."""
    version = resolve(f"{LINKED}:v1", api)
    changes = prepare(version, Marks.parse(given), api)
    write(changes, version, api)
    return changes.lines()


def writes(wandb: WandbStandIn) -> list[str]:
    """The mutations that W&B was asked for."""
    return [each.operation for each in wandb.requests if each.operation in WRITES]


def test_all_marks_are_written_and_once(wandb: WandbStandIn, flower: Membership, api: WandbApi) -> None:
    """
    The alias leaves the version that had it, other metadata stays, and a second time nothing is asked for.
    """
    told = mark(EVERYTHING, api)

    version = flower.artifact
    assert flower.aliases == ["latest", "deployed"]
    assert (version.tags, version.metadata) == (["serving"], {"accuracy": 0.9, "image": "sha256:ab"})
    assert [f"{each.name} {each.aliases}" for each in version.memberships[2:]] == [
        f"{STAGING}/Flower:v0 ['latest', 'best']"
    ]
    assert told == (
        "alias deployed",
        "no alias candidate",
        f"link to {STAGING}/Flower as best (a new collection)",
        "tag serving",
        "no tag waiting",
        "metadata image",
    )
    assert writes(wandb) == ["AddAliases", "DeleteAliases", "LinkArtifact", "UpdateArtifact"]

    assert mark(EVERYTHING, api) == ()
    assert len(writes(wandb)) == 4


@pytest.mark.parametrize(
    ("roles", "given", "words"),
    [
        pytest.param({MODELS: "viewer"}, {"alias": ["deployed"]}, f"is viewer in {MODELS}", id="viewer"),
        pytest.param(
            {MODELS: "restricted_viewer"}, {"remove-alias": ["candidate"]}, "restricted_viewer", id="taking"
        ),
        pytest.param({STAGING: "viewer"}, EVERYTHING, f"is viewer in {STAGING}", id="link"),
        pytest.param({"acme/training": "viewer"}, EVERYTHING, "in acme/training", id="read-only source"),
    ],
)
def test_what_a_key_may_not_is_said_before_anything_is_changed(
    wandb: WandbStandIn,
    signed_in: Callable[..., WandbApi],
    roles: Mapping[str, str],
    given: Mapping[str, list[str]],
    words: str,
) -> None:
    """
    Where it may write the rest, too: nothing is asked for.
    """
    with pytest.raises(AccessDeniedError) as refused:
        mark(given, signed_in(roles))

    assert words in str(refused.value)
    assert str(refused.value).endswith("; nothing was changed")
    assert writes(wandb) == []


def test_all_that_a_key_may_not_is_said_at_once(signed_in: Callable[..., WandbApi]) -> None:
    """
    Three places, three reasons.
    """
    with pytest.raises(AccessDeniedError) as refused:
        mark(EVERYTHING, signed_in({MODELS: "viewer", STAGING: "viewer", "acme/training": "viewer"}))

    assert [place in str(refused.value) for place in (MODELS, STAGING, "acme/training")] == [True] * 3


def test_a_source_that_is_not_seen_is_not_tagged(signed_in: Callable[..., WandbApi]) -> None:
    """
    Who sees the registry alone can give aliases there, and is told why no tags.
    """
    api = signed_in(entities=["acme-org"])

    with pytest.raises(AccessDeniedError, match="belong to the version where it was logged"):
        mark({"alias": ["deployed"], "tag": ["serving"]}, api)

    assert mark({"alias": ["deployed"]}, api) == ("alias deployed",)


def test_a_role_may_come_through_a_team(wandb: WandbStandIn, signed_in: Callable[..., WandbApi]) -> None:
    """
    The highest counts: a viewer whose team is a member may write.
    """
    wandb.add_team(MODELS, "acme", "member")
    api = signed_in({MODELS: "viewer"}, entities=["acme", "acme-org"])

    assert api.marks.role("acme-org", "wandb-registry-model") == "member"
    assert mark({"alias": ["deployed"]}, api) == ("alias deployed",)


def test_a_protected_alias_is_explained(
    wandb: WandbStandIn, flower: Membership, signed_in: Callable[..., WandbApi]
) -> None:
    """
    W&B does not tell beforehand which are; so it is asked for first, and refuses before anything is changed.
    """
    wandb.protect_alias(MODELS, "deployed")

    with pytest.raises(AccessDeniedError) as refused:
        mark(EVERYTHING, signed_in({MODELS: "member"}))

    assert "does not let the key from WANDB_API_KEY change this" in str(refused.value)
    assert "only admins may give and take the aliases that its settings protect" in str(refused.value)
    assert "; nothing was changed; not done: alias deployed, " in str(refused.value)
    assert (flower.aliases, flower.artifact.tags) == (["latest", "candidate"], ["waiting"])


def test_a_refusal_in_between_tells_how_far_it_came(
    wandb: WandbStandIn, flower: Membership, signed_in: Callable[..., WandbApi]
) -> None:
    """
    What is done, and what is not: another run does the rest.
    """
    wandb.protect_alias(STAGING, "best")

    with pytest.raises(AccessDeniedError) as refused:
        mark(EVERYTHING, signed_in({STAGING: "member"}))

    assert "; done: alias deployed, no alias candidate; not done: link to " in str(refused.value)
    assert flower.artifact.tags == ["waiting"]


def test_a_fault_is_overcome(
    wandb: WandbStandIn, flower: Membership, api: WandbApi, naps: list[float]
) -> None:
    """
    Each mutation may be asked for again, for a second time changes nothing.
    """
    for operation in sorted(WRITES):
        wandb.faults.add(f"graphql:{operation}", status=502)

    mark(EVERYTHING, api)

    assert "deployed" in flower.aliases
    assert len(naps) == 4


def test_a_lasting_fault_says_what_is_done(wandb: WandbStandIn, api: WandbApi) -> None:
    """
    And stays one that may be cured by another run.
    """
    wandb.faults.add("graphql:UpdateArtifact", status=502, times=5)

    with pytest.raises(FetchError) as fault:
        mark({"alias": ["deployed"], "tag": ["serving"]}, api)

    assert "; done: alias deployed; not done: tag serving" in str(fault.value)
    assert fault.value.retryable


def test_a_server_that_does_not_tell_roles_is_asked_all_the_same(
    wandb: WandbStandIn, signed_in: Callable[..., WandbApi]
) -> None:
    """
    W&B itself decides then.
    """
    wandb.unknown_fields = {"Project.members", "Project.teamMembers"}
    api = signed_in({MODELS: "viewer"})
    assert api.marks.role("acme-org", "wandb-registry-model") is None

    with pytest.raises(AccessDeniedError, match="cannot change what is in"):
        mark({"alias": ["deployed"]}, api)


@pytest.mark.parametrize(
    ("target", "kind", "words"),
    [
        ("acme-org/wandb-registry-nowhere/Flower", ArtifactNotFoundError, "to link to, is not there"),
        ("wandb-registry-staging/Flower", InvalidReferenceError, "with one of acme-org (Acme Inc), zoo-org"),
    ],
)
def test_a_target_that_is_none(
    wandb: WandbStandIn, api: WandbApi, target: str, kind: type[RegistryError], words: str
) -> None:
    """
    Is told before anything is changed.
    """
    wandb.add_organization("Zoo", entity="zoo-org")

    with pytest.raises(kind) as refused:
        mark({**EVERYTHING, "link": [target]}, api)

    assert words in str(refused.value)
    assert writes(wandb) == []


@pytest.mark.parametrize(
    "target", ["Acme Inc/wandb-registry-staging/Flower", "wandb-registry-staging/Flower"]
)
def test_a_target_by_its_organization(api: WandbApi, target: str) -> None:
    """
    By the name that people see, or by none where the key has only one.
    """
    assert mark({"link": [target]}, api) == (f"link to {STAGING}/Flower (a new collection)",)
    assert mark({"link": [target]}, api) == ()


def test_a_project_that_may_only_be_read(signed_in: Callable[..., WandbApi]) -> None:
    """
    Outside registries W&B tells by itself whether it may be written.
    """
    api = signed_in({"acme/training": "viewer"})
    version = resolve(f"{SOURCE}:v1", api)

    with pytest.raises(AccessDeniedError, match="may only read acme/training"):
        prepare(version, Marks.parse({"alias": ["deployed"]}), api)


def test_a_version_that_is_gone(wandb: WandbStandIn, api: WandbApi) -> None:
    """
    Between resolving and marking.
    """
    version = resolve(f"{LINKED}:v1", api)
    wandb.faults.add("graphql:VersionById", status=200, body=b'{"data": {"artifact": null}}')

    with pytest.raises(ArtifactNotFoundError, match="is not there any more"):
        prepare(version, Marks.parse({"alias": ["deployed"]}), api)
