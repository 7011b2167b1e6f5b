"""A pinned version and its names."""

from __future__ import annotations

import registry_client
from registry_client.version import DigestAlgorithm
from tests.fakes import FLOWER, LINKED, FakeRegistry, collection


def test_a_link_has_two_names(registry: FakeRegistry) -> None:
    """
    A version is counted anew in each collection.
    """
    registry.log()
    record = registry.log()
    registry.link(record, LINKED)

    version = registry_client.resolve(f"{LINKED}:latest", registry)

    assert (version.name, version.source_name) == (f"{LINKED}:v0", f"{FLOWER}:v1")
    assert version.collection == collection(LINKED)


def test_algorithms_have_graphqls_names() -> None:
    """
    The values are what W&B answers.
    """
    assert [each.value for each in DigestAlgorithm] == ["MANIFEST_MD5", "MANIFEST_XXH128"]


def test_every_public_name_is_there() -> None:
    """
    ``__all__`` names what can be imported, errors included.
    """
    assert [name for name in registry_client.__all__ if not hasattr(registry_client, name)] == []
    errors = {name for name in vars(registry_client.errors) if name.endswith("Error")}
    assert errors <= set(registry_client.__all__)
