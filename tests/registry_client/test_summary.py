"""The step summary: what a person wants to know, and nothing that others could have forged."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry_client.manifest import ManifestEntry
from registry_client.outputs import Downloaded
from registry_client.reference import ArtifactId, CollectionPath
from registry_client.summary import summary
from registry_client.trigger import Trigger
from registry_client.version import ArtifactVersion, DigestAlgorithm
from tests.registry_client.test_manifest import version

ID = ArtifactId("QXJ0aWZhY3Q6MQ==")
BY_HAND = Trigger(reference=ID)


def downloaded(files: tuple[ManifestEntry, ...], path: str = "/x", **changes: Any) -> Downloaded:
    """What a step has done with these files."""
    known: dict[str, Any] = {"left_out": 0, "provenance": "", "references": "", "fetched": 5, "reused": 0}
    return Downloaded(path=path, files=files, **(known | changes))


class Page(HTMLParser):
    """The text and the tags, as a browser finds them."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note a tag and its attributes' names."""
        self.tags.append(f"{tag} {' '.join(name for name, _ in attrs)}".strip())

    def handle_data(self, data: str) -> None:
        """Note text."""
        self.text += data


def entries(number: int, algorithm: DigestAlgorithm = DigestAlgorithm.MD5) -> tuple[ManifestEntry, ...]:
    """That many files."""
    return tuple(
        ManifestEntry(f"f{each}.bin", "x==", 1_500_000, algorithm, None, None) for each in range(number)
    )


def test_it_tells_the_whole_story() -> None:
    """Model, version, who promoted it, aliases, size, files, digest, and what was verified."""
    promoted = Trigger(ID, alias="production", event="ADD_ARTIFACT_ALIAS", author="ana", automation="Deploy")
    made = summary(
        version(aliases=("production", "latest"), tags=("approved",)),
        promoted,
        downloaded(entries(1), "/models/m"),
    )
    text = re.sub(r"\s+", " ", Page(made).text)
    for words in (
        "Model cats:v0 downloaded and verified",
        "acme/models/cats:v0",
        "to production by ana through the automation Deploy (ADD_ARTIFACT_ALIAS)",
        "production latest",
        "approved",
        "2026-01-01 00:00 UTC",
        "5 bytes in 1 file(s)",
        "541f289bb3c6ae786d51e7288e523543 (MD5)",
        "/models/m",
        "Downloaded5 bytes fetched",
        "f0.bin1.5 MB",
        "MD5 of each of 1 file(s)",
        "MD5 finds damage, but not a forger",
    ):
        assert words in text
    assert "Logged as" not in text


def test_a_link_tells_where_it_was_logged() -> None:
    """And a model that nobody promoted has no such row."""
    source = CollectionPath("acme", "training", "run-7")
    made = summary(version(source=source, source_version="v9"), BY_HAND, None)
    assert "acme/training/run-7:v9" in made
    assert "Promoted" not in made
    assert "resolved" in made
    assert "Verified" not in made


def test_only_the_first_files_are_listed() -> None:
    """The rest is counted."""
    made = summary(version(), BY_HAND, downloaded(entries(25, DigestAlgorithm.XXH128)))
    assert "f19.bin" in made
    assert "f20.bin" not in made
    assert "… and 5 more" in made
    assert "MD5 or XXH128 of each of 25" in made


def test_what_came_from_where_is_told() -> None:
    """What was fetched, what was here, how many of the files were wanted, how many lie elsewhere."""
    done = downloaded(entries(2), fetched=1_000_000, reused=2_000_000, left_out=3)
    text = Page(summary(version(file_count=9), BY_HAND, done)).text
    assert (
        "1.0 MB fetched, 2.0 MB were here already, 2 file(s) selected, 3 file(s) outside W&B left out" in text
    )


@given(
    text=st.text(min_size=1),
    field=st.sampled_from(["author", "aliases", "type", "path", "collection", "url"]),
)
def test_nobody_can_forge_it(text: str, field: str) -> None:
    """Whatever others wrote, the same tags come out, and no empty line that would let Markdown in."""
    plain, made = (_with(field, value) for value in ("x", text))
    assert Page(made).tags == Page(plain).tags
    assert "\n\n" not in made
    assert made.count("\n") == plain.count("\n")


@pytest.mark.parametrize("url", ["javascript:alert(1)", "data:text/html,x", ""])
def test_only_pages_are_linked(url: str) -> None:
    """No other scheme becomes a link."""
    assert "href" not in summary(version(url=url), BY_HAND, None)


def _with(field: str, text: str) -> str:
    known: ArtifactVersion = version()
    if field == "author":
        return summary(known, Trigger(ID, author=text), None)
    if field == "path":
        entry = ManifestEntry(text, text, 1, DigestAlgorithm.MD5, None, None)
        return summary(known, BY_HAND, downloaded((entry,), text))
    changed = {
        "aliases": (text,),
        "type": "model" if text == "x" else text,
        "collection": CollectionPath(text, text, text),
        "url": f"https://wandb.ai/{text}",
    }
    return summary(version(**{field: changed[field]}), BY_HAND, None)
