"""The story of a resolve, against a W&B in memory."""

from __future__ import annotations

from dataclasses import replace

import pytest

from registry_client.errors import (
    AliasMovedError,
    ArtifactDeletedError,
    ArtifactNotCommittedError,
    ArtifactNotFoundError,
    InvalidReferenceError,
)
from registry_client.record import ArtifactRecord, ArtifactState, Membership, Organization
from registry_client.reference import ArtifactId, CollectionPath, parse_reference
from registry_client.resolve import resolve
from registry_client.version import ArtifactVersion
from tests.fakes import FLOWER, LINKED, FakeRegistry, collection

ACME = Organization("Acme Inc", "acme-org")


class Answering(FakeRegistry):
    """Gives one answer, whatever is asked."""

    def __init__(self, record: ArtifactRecord) -> None:
        super().__init__()
        self.record = record
        self.asked = ""

    def by_id(self, artifact_id: ArtifactId) -> ArtifactRecord | None:
        """The record."""
        self.asked = str(artifact_id)
        return self.record

    def by_name(self, collection: CollectionPath, alias: str) -> ArtifactRecord | None:
        """The record."""
        self.asked = f"{collection}:{alias}"
        return self.record


def test_an_alias_is_pinned(registry: FakeRegistry) -> None:
    """
    What comes back names the version by id, digest and number, with the aliases it has there.
    """
    record = registry.log(aliases=("production",), metadata={"accuracy": 0.9})
    registry.log()

    version = resolve(f"{FLOWER}:production", registry)

    assert version == ArtifactVersion(
        id=record.id,
        collection=collection(FLOWER),
        version="v0",
        source=collection(FLOWER),
        source_version="v0",
        type="model",
        digest=record.digest,
        digest_algorithm=record.digest_algorithm,
        aliases=("production",),
        tags=(),
        metadata={"accuracy": 0.9},
        description=None,
        size=record.size,
        file_count=2,
        created_at=record.created_at,
        url="https://wandb.ai/acme/vision/artifacts/model/flower/v0",
    )


@pytest.mark.parametrize("form", ["{}:v0", "wandb-artifact://{}:v0"])
def test_text_and_parsed_references_mean_the_same(registry: FakeRegistry, form: str) -> None:
    """
    A reference may be text, or parsed already.
    """
    registry.log()
    text = form.format(FLOWER)

    assert resolve(text, registry) == resolve(parse_reference(text), registry)


def test_an_id_is_seen_from_where_it_was_logged(registry: FakeRegistry) -> None:
    """
    Without a collection the source is meant, with its aliases and not the registry's.
    """
    record = registry.log(aliases=("best",))
    registry.link(record, LINKED, "production")

    found = registry.by_id(ArtifactId(record.id))
    assert found is not None
    linked_first = Answering(replace(found, memberships=found.memberships[::-1]))

    for each in (registry, linked_first):
        version = resolve(ArtifactId(record.id), each)
        assert version.name == f"{FLOWER}:v0"
        assert version.aliases == ("latest", "best")


def test_an_id_is_seen_from_the_collection_that_is_asked_for(registry: FakeRegistry) -> None:
    """
    An event names the registry's collection; number and aliases are the ones there.
    """
    registry.link(registry.log(), LINKED)
    record = registry.log()
    registry.link(record, LINKED, "production")

    version = resolve(ArtifactId(record.id), registry, collection=collection(LINKED))

    assert version.name == f"{LINKED}:v1"
    assert version.source_name == f"{FLOWER}:v1"
    assert version.aliases == ("latest", "production")


def test_an_organizations_display_name_is_good_enough_in_an_event(registry: FakeRegistry) -> None:
    """
    When the entity differs but project and name fit one membership alone, that one is meant.
    """
    record = registry.log()
    registry.link(record, LINKED)

    version = resolve(
        ArtifactId(record.id), registry, collection=collection("Acme Inc/wandb-registry-model/Flower")
    )

    assert version.collection == collection(LINKED)


def test_the_exact_collection_wins_over_one_alike(registry: FakeRegistry) -> None:
    """
    Two organizations may have a registry of one name; the entity decides.
    """
    record = registry.log()
    registry.link(record, "other-org/wandb-registry-model/Flower")
    registry.link(record, LINKED)

    assert resolve(ArtifactId(record.id), registry, collection=collection(LINKED)).name == f"{LINKED}:v0"


@pytest.mark.parametrize(
    "wanted",
    ["Acme Inc/wandb-registry-model/Flower", f"{LINKED}s", "acme-org/wandb-registry-other/Flower"],
    ids=["two are alike", "another name", "another project"],
)
def test_an_id_that_is_not_in_the_collection_says_where_it_is(registry: FakeRegistry, wanted: str) -> None:
    """
    The message lists the collections in which the key sees it.
    """
    record = registry.log()
    registry.link(record, "other-org/wandb-registry-model/Flower")
    registry.link(record, LINKED)

    with pytest.raises(ArtifactNotFoundError, match=f"{FLOWER}:v0, other-org.*, {LINKED}:v0") as caught:
        resolve(ArtifactId(record.id), registry, collection=collection(wanted))

    assert wanted in str(caught.value)


def test_an_unknown_id_is_not_found(registry: FakeRegistry) -> None:
    """
    Perhaps it was made elsewhere: the message says so, and which server was asked.
    """
    with pytest.raises(ArtifactNotFoundError, match=r"is not at api\.wandb\.ai.*another W&B server"):
        resolve("wandb-artifact://_id/QXJ0aWZhY3Q6MQ==", registry)


def test_a_source_that_the_key_may_not_see_is_left_out(registry: FakeRegistry) -> None:
    """
    Who sees the registry alone gets the registry's names for both.
    """
    record = registry.log()
    registry.link(record, LINKED)
    registry.records[record.id] = replace(record, source=None, source_version="v7")

    version = resolve(f"{LINKED}:v0", registry)

    assert version.source_name == version.name == f"{LINKED}:v0"


def test_a_version_that_is_nowhere_visible_is_not_found(registry: FakeRegistry) -> None:
    """
    Without any collection there is no name to give it.
    """
    record = replace(registry.log(), source=None)

    with pytest.raises(ArtifactNotFoundError, match="no collection that the key sees"):
        resolve(ArtifactId(record.id), Answering(record))


@pytest.mark.parametrize(
    ("state", "error"),
    [
        (ArtifactState.DELETED, ArtifactDeletedError),
        (ArtifactState.PENDING, ArtifactNotCommittedError),
    ],
)
@pytest.mark.parametrize("by_id", [True, False], ids=["by id", "by name"])
def test_a_version_that_is_not_whole_is_refused(
    registry: FakeRegistry, state: ArtifactState, error: type[Exception], *, by_id: bool
) -> None:
    """
    Deleted and still uploading are two errors, because one of them may pass.
    """
    record = registry.log(state=state)

    with pytest.raises(error):
        resolve(ArtifactId(record.id) if by_id else f"{FLOWER}:v0", registry)


def test_an_expected_alias_that_is_there_is_fine(registry: FakeRegistry) -> None:
    """
    The alias, or the version's own number.
    """
    record = registry.log(aliases=("production",))

    assert resolve(ArtifactId(record.id), registry, expect_alias="production").version == "v0"
    assert resolve(ArtifactId(record.id), registry, expect_alias="v0").version == "v0"


def test_an_alias_that_moved_stops_the_resolve(registry: FakeRegistry) -> None:
    """
    The message says where the alias is now, and what the version still has.
    """
    record = registry.log(aliases=("production", "staging"))
    registry.log(aliases=("production",))

    with pytest.raises(AliasMovedError, match="v1 carries it now; v0 has staging"):
        resolve(ArtifactId(record.id), registry, expect_alias="production")


def test_an_alias_that_is_gone_stops_the_resolve(registry: FakeRegistry) -> None:
    """
    Aliases of another collection do not count.
    """
    record = registry.log()
    registry.link(record, LINKED, "production")

    with pytest.raises(AliasMovedError, match="no version there carries it now"):
        resolve(ArtifactId(record.id), registry, expect_alias="production")


def test_a_registry_without_its_organization_is_in_the_keys_own(registry: FakeRegistry) -> None:
    """
    One organization leaves no doubt.
    """
    registry.organizations = [ACME]
    registry.link(registry.log(), LINKED)

    assert resolve("wandb-registry-model/Flower:latest", registry).name == f"{LINKED}:v0"


@pytest.mark.parametrize(
    ("organizations", "problem"),
    [
        ([], "belongs to none: want ORGANIZATION/wandb-registry-model"),
        ([ACME, Organization("x", "x")], r"one of acme-org \(Acme Inc\), x before it: acme-org/wandb-reg"),
    ],
    ids=["none", "two"],
)
def test_a_registry_that_could_be_anywhere_is_refused(
    registry: FakeRegistry, organizations: list[Organization], problem: str
) -> None:
    """
    The candidates are named; nothing is guessed.
    """
    registry.organizations = organizations

    with pytest.raises(InvalidReferenceError, match=problem):
        resolve("wandb-registry-model/Flower:latest", registry)


def test_an_organizations_name_becomes_its_entity(registry: FakeRegistry) -> None:
    """
    People write the name that they see; paths are made of the entity.
    """
    registry.organizations = [ACME]
    registry.link(registry.log(), LINKED)

    assert resolve("Acme Inc/wandb-registry-model/Flower:v0", registry).name == f"{LINKED}:v0"


def test_the_answer_says_what_a_collection_is_called(registry: FakeRegistry) -> None:
    """
    W&B redirects old paths: the version's names come from the answer, not from the question.
    """
    record = registry.log()
    registry.link(record, LINKED)
    membership = Membership(collection(LINKED), "v0", (), linked=True)
    redirecting = Answering(replace(record, memberships=(membership,)))

    assert resolve("acme/model-registry/Flower:latest", redirecting).name == f"{LINKED}:v0"
    assert redirecting.asked == "acme/model-registry/Flower:latest"


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("nobody/vision/flower:v0", "entity 'nobody' is not at api.wandb.ai"),
        ("acme/other/flower:v0", "project acme/other is not at api.wandb.ai"),
        ("acme/vision/tree:v0", "acme/vision has no collection 'tree'"),
        (
            "acme/vision/flower:v9",
            "has no version or alias 'v9'; its aliases: latest, best; its newest is v0",
        ),
        (
            "acme/wandb-registry-model/Flower:v0",
            "the key's own organizations: acme-org (Acme Inc)",
        ),
    ],
    ids=["entity", "project", "collection", "version", "registry"],
)
def test_what_is_not_there_is_named(registry: FakeRegistry, reference: str, message: str) -> None:
    """
    The message says how far the path leads, whose key it is, and what is there instead.
    """
    registry.organizations = [ACME]
    registry.log(aliases=("best",))

    with pytest.raises(ArtifactNotFoundError) as caught:
        resolve(reference, registry)

    assert message in str(caught.value)


def test_an_empty_collection_has_no_newest(registry: FakeRegistry) -> None:
    """
    A collection may lose its versions.
    """
    registry.log()
    registry._places[collection(FLOWER)].aliases.clear()

    with pytest.raises(ArtifactNotFoundError, match=r"has no version or alias 'best'$"):
        resolve(f"{FLOWER}:best", registry)


def test_a_version_that_is_not_counted_yet_is_not_committed(registry: FakeRegistry) -> None:
    """
    Without a number it could not be pinned.
    """
    record = registry.log()
    uncounted = replace(record, memberships=(Membership(collection(FLOWER), None, (), linked=False),))

    with pytest.raises(ArtifactNotCommittedError, match="has no version in"):
        resolve(ArtifactId(record.id), Answering(uncounted))


@pytest.mark.parametrize(
    ("base_url", "site"),
    [
        ("https://api.wandb.ai", "https://wandb.ai"),
        ("https://api.forge.coreweave.com", "https://wandb.ai"),
        ("https://acme.wandb.io", "https://acme.wandb.io"),
    ],
)
def test_the_page_is_where_people_look(base_url: str, site: str) -> None:
    """
    The cloud has pages of its own; other servers show theirs under the base URL; names are encoded.
    """
    registry = FakeRegistry(base_url)
    registry.log("acme/my vision/f?ü")

    version = resolve("acme/my vision/f?ü:v0", registry)

    assert version.url == f"{site}/acme/my%20vision/artifacts/model/f%3F%C3%BC/v0"


@pytest.mark.parametrize(
    ("path", "organization", "page"),
    [
        (
            LINKED,
            "Acme Inc",
            (
                "/orgs/Acme%20Inc/registry/model?selectionPath=acme-org%2Fwandb-registry-model%2FFlower"
                "&view=membership&version=v0"
            ),
        ),
        (LINKED, None, "/acme-org/wandb-registry-model/artifacts/model/Flower/v0"),
        (
            "acme/model-registry/Flower",
            None,
            "/acme/registry/model?selectionPath=acme%2Fmodel-registry%2FFlower&view=membership&version=v0",
        ),
    ],
    ids=["registry", "organization unknown", "old registry"],
)
def test_a_registrys_page_is_another(
    registry: FakeRegistry, path: str, organization: str | None, page: str
) -> None:
    """
    Registries have a page of their own kind, the old and the new.
    """
    record = registry.log()
    membership = Membership(collection(path), "v0", (), linked=True, organization=organization)
    titled = Answering(replace(record, memberships=(membership,)))

    version = resolve(ArtifactId(record.id), titled, collection=collection(path))

    assert version.url == f"https://wandb.ai{page}"
