"""Names for artifacts, as W&B writes and shows them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry_client.errors import InvalidReferenceError
from registry_client.reference import (
    ArtifactId,
    ArtifactRef,
    CollectionPath,
    is_version_alias,
    parse_reference,
)

ID = "QXJ0aWZhY3Q6NTE3ODg5ODg3"


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("acme/vision/flower:production", ArtifactRef("acme", "vision", "flower", "production")),
        ("acme/vision/flower:v3", ArtifactRef("acme", "vision", "flower", "v3")),
        (
            "wandb_course/model-registry/Lemon Mold Detector:v1",
            ArtifactRef("wandb_course", "model-registry", "Lemon Mold Detector", "v1"),
        ),
        (
            "tiny-ml/quantized edge training/CIFAR_10:v0",
            ArtifactRef("tiny-ml", "quantized edge training", "CIFAR_10", "v0"),
        ),
        ("wandb-registry-model/F:prod", ArtifactRef(None, "wandb-registry-model", "F", "prod")),
        (
            "Acme Inc/wandb-registry-model/F:prod",
            ArtifactRef("Acme Inc", "wandb-registry-model", "F", "prod"),
        ),
        ("wandb-artifact://acme/vision/flower:v3", ArtifactRef("acme", "vision", "flower", "v3")),
        (f"wandb-artifact://_id/{ID}", ArtifactId(ID)),
        (f'wandb-artifact://_id/{ID}"', ArtifactId(ID)),
        (f"  '{'acme/vision/flower:v3'}' \n", ArtifactRef("acme", "vision", "flower", "v3")),
    ],
)
def test_every_form_is_read(text: str, wanted: object) -> None:
    """
    Names with spaces, registries with and without their organization, ids; stray quotes go.
    """
    assert parse_reference(text) == wanted


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "is empty"),
        ("acme/vision/flower", "names no version"),
        ("acme/vision/flower:", "names no version"),
        ("flower:v3", "has 1 part"),
        ("vision/flower:v3", "has 2 part"),
        ("a/b/c/d:v3", "has 4 part"),
        ("acme//flower:v3", "empty part"),
        ("acme/ /flower:v3", "empty part"),
        ("acme/vision/flower:a:b", "neither ':' nor '/'"),
        ("acme/vision/flower:a/b", "neither ':' nor '/'"),
        ("acme/vision/flo\nwer:v3", "control character"),
        ("acme/vision/" + "f" * 129 + ":v3", "129 characters"),
        ("${artifact_version}", "template variable"),
        ("wandb-artifact://_id/***", "not base64"),
        ("wandb-artifact://_id/UnVuOjE=", "does not name an artifact"),
        ("wandb-artifact://_id/", "does not name an artifact"),
    ],
)
def test_anything_else_is_refused_with_what_is_wrong(text: str, problem: str) -> None:
    """
    The message says which part cannot be read.
    """
    with pytest.raises(InvalidReferenceError) as caught:
        parse_reference(text)

    assert problem in str(caught.value)


@given(st.text())
def test_no_text_breaks_the_parser(text: str) -> None:
    """
    Any text is a reference or an InvalidReferenceError, and what is one reads back as itself.
    """
    try:
        reference = parse_reference(text)
    except InvalidReferenceError:
        return
    assert parse_reference(str(reference)) == reference


def test_an_id_shows_its_number() -> None:
    """
    The number is inside the base64.
    """
    assert ArtifactId(ID).number == 517889887
    assert str(ArtifactId(ID)) == f"wandb-artifact://_id/{ID}"


@pytest.mark.parametrize(("alias", "is_one"), [("v0", True), ("v12", True), ("v", False), ("latest", False)])
def test_versions_are_told_from_aliases(alias: str, *, is_one: bool) -> None:
    """
    ``v`` and digits, nothing else.
    """
    assert is_version_alias(alias) is is_one


@pytest.mark.parametrize(
    ("project", "is_one"), [("wandb-registry-model", True), ("model-registry", True), ("vision", False)]
)
def test_registries_are_told_from_projects(project: str, *, is_one: bool) -> None:
    """
    The new kind by its prefix, the old one by its name.
    """
    assert CollectionPath("acme", project, "flower").in_registry is is_one
