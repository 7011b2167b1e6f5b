"""What a report says, and where it goes."""

from __future__ import annotations

import hashlib
import hmac
import json
from datetime import datetime, timedelta, timezone

import pytest

from registry_client.errors import ConfigurationError
from registry_client.mark import Changes, Linking
from registry_client.reference import CollectionPath
from registry_client.report import Mark, Report, own_marks, reports_url, signature
from registry_client.version import ArtifactVersion
from tests.fakes import FakeRegistry

STAGING = CollectionPath("acme-org", "wandb-registry-staging", "Flower")


@pytest.fixture
def version(registry: FakeRegistry) -> ArtifactVersion:
    return registry.version()


def test_the_body_is_plain_json() -> None:
    """
    The time in UTC, whatever zone it was taken in; every field is there.
    """
    at = datetime(2026, 3, 1, 14, 0, tzinfo=timezone(timedelta(hours=2)))
    body = Report(at=at, state="success", version="a/b/c:v1", marks=(Mark("b/c", "link"),)).to_bytes()

    told = json.loads(body)
    assert (told["at"], told["report"], told["marks"]) == (
        "2026-03-01T12:00:00.000Z",
        1,
        [{"collection": "b/c", "name": "link"}],
    )
    assert set(told) == {"report", *Report.__dataclass_fields__}


def test_the_signature_is_an_hmac_of_the_body() -> None:
    """
    SHA-256, in hex, with the algorithm before it.
    """
    wanted = hmac.new(b"secret", b"{}", hashlib.sha256).hexdigest()

    assert signature(b"{}", b"secret") == f"sha256={wanted}"


def test_what_wandb_will_tell_of(version: ArtifactVersion) -> None:
    """
    Aliases in their collection, a link with what W&B gives by itself, tags everywhere; nothing else.
    """
    changes = Changes(
        ("deployed",),
        ("old",),
        ("serving",),
        ("waiting",),
        {"k": "1"},
        {"k": "1"},
        (Linking(STAGING, ("best",)), Linking(STAGING, ())),
    )

    here = f"{version.collection.project}/{version.collection.name}"
    assert own_marks(version, changes) == (
        Mark(here, "alias:deployed"),
        Mark("wandb-registry-staging/Flower", "link"),
        Mark("wandb-registry-staging/Flower", "alias:latest"),
        Mark("wandb-registry-staging/Flower", "alias:best"),
        Mark("", "tag:serving"),
        Mark("", "untag:waiting"),
    )
    assert own_marks(version, Changes(without_aliases=("old",), metadata={"k": "1"})) == ()


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("https://handoff.example.com", "https://handoff.example.com/reports"),
        (" https://handoff.example.com/ ", "https://handoff.example.com/reports"),
        ("https://example.com/handoff/", "https://example.com/handoff/reports"),
        ("https://example.com/handoff/reports", "https://example.com/handoff/reports"),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080/reports"),
    ],
)
def test_reports_have_an_address(text: str, url: str) -> None:
    """
    At the receiver's own, wherever that is mounted.
    """
    assert reports_url("--receiver", text) == url


@pytest.mark.parametrize(
    "text",
    [
        "http://handoff.example.com",
        "handoff.example.com",
        "ftp://handoff.example.com",
        "https://ana:secret@handoff.example.com",
        "https://handoff.example.com/?a=b",
        "https://[handoff",
        "https://",
    ],
)
def test_what_is_no_address(text: str) -> None:
    """
    In the clear nothing is told; the text itself, with what it may hold, is not repeated.
    """
    with pytest.raises(ConfigurationError, match="--receiver: want the receiver's URL") as refused:
        reports_url("--receiver", text)

    assert "secret" not in str(refused.value)
