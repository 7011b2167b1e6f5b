"""Files that an artifact points at: whose they are, and what is said of them."""

from __future__ import annotations

import json

import pytest

from registry_client.errors import ConfigurationError, ReferenceEntriesError
from registry_client.reference import ArtifactId
from registry_client.references import (
    InArtifact,
    ReferencePolicy,
    as_text,
    check_none,
    kind,
    pinned,
    refused,
    shown,
)
from tests.fakes import FakeRegistry
from tests.registry_client.pointers import pointer


@pytest.mark.parametrize("text", ["fail", "LIST", " fetch "])
def test_a_policy_is_read(text: str) -> None:
    """However it is spelled."""
    assert ReferencePolicy.parse(text).value == text.strip().lower()


def test_another_policy_is_refused() -> None:
    """The three are named."""
    with pytest.raises(ConfigurationError, match="got 'skip', want fail, list or fetch"):
        ReferencePolicy.parse("skip")


@pytest.mark.parametrize(
    ("reference", "want"),
    [
        ("https://example.org/x", "https"),
        ("http://example.org/x", "http"),
        ("https://acme.blob.core.windows.net/c/x", "az"),
        ("https://blob.core.windows.net.example.org/c/x", "https"),
        ("https://example.org/acme.blob.core.windows.net/x", "https"),
        ("http://acme.blob.core.windows.net/c/x", "http"),
        ("s3://bucket/x", "s3"),
        ("gs://bucket/x", "gs"),
        ("wandb-artifact://41727469666163743a31/x", "wandb-artifact"),
        ("wandb-client-artifact://abc/x", "wandb-client-artifact"),
        ("file:///etc/passwd", "file"),
        ("/etc/passwd", "unknown"),
        ("https://[::1/x", "unknown"),
    ],
)
def test_a_reference_has_a_kind(reference: str, want: str) -> None:
    """By scheme, and for Azure by its host."""
    assert kind(pointer(reference)) == want


def test_a_file_in_another_artifact_is_read() -> None:
    """Its id is in hex, and its path goes to the end, whatever is in it."""
    assert InArtifact.parse("wandb-artifact://41727469666163743a31/a b/c?d#e.bin") == InArtifact(
        ArtifactId("QXJ0aWZhY3Q6MQ=="), "a b/c?d#e.bin"
    )


@pytest.mark.parametrize(
    "reference",
    [
        "wandb-artifact://41727469666163743a31",
        "wandb-artifact://41727469666163743a31/",
        "wandb-artifact://41727469666163743a3/x",
        "wandb-artifact://52756e3a31/x",
        "wandb-artifact://acme/models/x:v0",
        "wandb-artifact://_id/QXJ0aWZhY3Q6MQ==",
        "s3://41727469666163743a31/x",
    ],
)
def test_what_names_no_file_of_an_artifact_is_none(reference: str) -> None:
    """Half an id, another kind of id, a name or no path."""
    assert InArtifact.parse(reference) is None


def test_without_a_checksum_nothing_is_pinned() -> None:
    """W&B's client then writes the URL once more."""
    assert pinned(pointer("s3://b/x"))
    assert not pinned(pointer("s3://b/x", "s3://b/x"))
    assert not pinned(pointer("s3://b/x", ""))


@pytest.mark.parametrize(
    ("reference", "want"),
    [
        ("https://ana:secret@example.org:1/x?sig=secret#secret", "https://example.org:1/x"),
        ("https://acme.blob.core.windows.net/c/x?sv=1&sig=secret", "https://acme.blob.core.windows.net/c/x"),
        ("s3://bucket/what?.bin", "s3://bucket/what?.bin"),
        ("secret?", "secret"),
    ],
)
def test_what_may_sign_in_is_not_shown(reference: str, want: str) -> None:
    """Logs are read by many; in S3 a question mark is a letter."""
    assert shown(pointer(reference)) == want


def test_the_refusal_lists_some_and_counts_the_rest(registry: FakeRegistry) -> None:
    """And says what to do."""
    version = registry.version()
    check_none(version, [])
    with pytest.raises(ReferenceEntriesError) as caught:
        check_none(version, [pointer(f"s3://b/{number}") for number in range(12)])
    said = str(caught.value)
    assert said.startswith(
        f"{version.name} points at 12 file(s) that it does not hold:\n- far.bin: s3://b/0\n"
    )
    assert said.count("\n- ") == 10
    assert "\n… and 2 more\n" in said
    assert "references: list" in said
    assert "references: fetch" in said


def test_what_cannot_be_fetched_is_told_with_its_reason(registry: FakeRegistry) -> None:
    """One line each."""
    said = str(refused(registry.version(), ["far.bin: boto3 is not installed"]))
    assert "cannot be fetched:\n- far.bin: boto3 is not installed\nreferences: list" in said


def test_the_file_has_all_that_a_clouds_own_tool_needs(registry: FakeRegistry) -> None:
    """URL, version, ETag and size, each where it is known; a file in an artifact has a digest."""
    version = registry.version()
    text = as_text(
        version,
        [
            pointer("s3://b/x", "abc", 5, version_id="v1"),
            pointer("https://example.org/x?sig=1", "https://example.org/x?sig=1"),
            pointer("wandb-artifact://41727469666163743a31/x", "XUFAKrxLKna5cZ2REBfFkg=="),
        ],
    )
    assert json.loads(text) == {
        "artifact": version.name,
        "digest": version.digest,
        "references": [
            {
                "path": "far.bin",
                "kind": "s3",
                "url": "s3://b/x",
                "etag": "abc",
                "version_id": "v1",
                "size": 5,
            },
            {"path": "far.bin", "kind": "https", "url": "https://example.org/x?sig=1"},
            {
                "path": "far.bin",
                "kind": "wandb-artifact",
                "url": "wandb-artifact://41727469666163743a31/x",
                "digest": "XUFAKrxLKna5cZ2REBfFkg==",
            },
        ],
    }
