"""What later steps get: names that never lie, and strings that stay data."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from registry_client.manifest import ManifestEntry
from registry_client.outputs import Downloaded, directory_name, image_tag, label_lines, outputs
from registry_client.reference import CollectionPath
from registry_client.version import DigestAlgorithm
from tests.registry_client.test_manifest import version

ACTION = Path(__file__).resolve().parents[2] / "action.yml"
DONE = Downloaded(
    path="/m",
    files=(ManifestEntry("a", "x==", 7, DigestAlgorithm.MD5, None, None),),
    left_out=2,
    provenance="/m.p.json",
    references="/m.r.json",
    fetched=4,
    reused=3,
)


def test_they_are_those_of_the_action() -> None:
    """Each output of action.yml is set, and no other."""
    action = yaml.safe_load(ACTION.read_text(encoding="utf-8"))
    assert set(outputs(version(), {}, DONE)) == set(action["outputs"])
    assert {each["value"] for each in action["outputs"].values()} == {
        f"${{{{ steps.handoff.outputs.{name} }}}}" for name in action["outputs"]
    }


def test_they_say_what_the_version_says() -> None:
    """Names are pinned, lists and objects are JSON."""
    source = CollectionPath("acme", "training", "run-7")
    found = outputs(
        version(
            aliases=("production", "latest"),
            metadata={"b": [1], "a": "ü"},
            source=source,
            source_version="v9",
        ),
        {"a": "1", "b": "2"},
        None,
    )
    assert found["artifact"] == "acme/models/cats:v0"
    assert found["collection"] == "acme/models/cats"
    assert found["source"] == "acme/training/run-7:v9"
    assert json.loads(found["aliases"]) == ["production", "latest"]
    assert found["metadata"] == '{"a":"\\u00fc","b":[1]}'
    assert (found["size"], found["file-count"], found["labels"]) == ("5", "1", "a=1\nb=2")


def test_what_was_not_downloaded_is_empty() -> None:
    """With resolve-only nothing was fetched, and no path leads anywhere."""
    found = outputs(version(), {}, None)
    assert {found[name] for name in ("path", "provenance", "references")} == {""}
    assert (found["fetched"], found["reused"]) == ("0", "0")


def test_what_was_downloaded_is_counted() -> None:
    """Of the files that were selected, not of all that the version has."""
    found = outputs(version(), {}, DONE)
    assert (found["path"], found["provenance"], found["references"]) == ("/m", "/m.p.json", "/m.r.json")
    assert (found["size"], found["file-count"]) == ("7", "1")
    assert (found["fetched"], found["reused"]) == ("4", "3")


@pytest.mark.parametrize(
    ("metadata", "want"),
    [
        (
            {"loss": math.nan, "best": [math.inf, {"x": -math.inf}]},
            {"loss": "nan", "best": ["inf", {"x": "-inf"}]},
        ),
        ({"deep": {"a": None, "b": True}}, {"deep": {"a": None, "b": True}}),
        ({"half": "\ud800"}, {"half": "\ud800"}),
    ],
)
def test_metadata_is_json_for_every_reader(metadata: Mapping[str, Any], want: Any) -> None:
    """Numbers that JSON does not have become text; the rest stays."""
    found = outputs(version(metadata=metadata), {}, None)["metadata"]
    assert found.isascii()
    assert json.loads(found, parse_constant=pytest.fail) == want


class TestImageTag:
    """The image's tag."""

    def test_it_names_version_and_content(self) -> None:
        """VN and the start of the digest."""
        assert image_tag(version()) == "v0-541f289bb3c6"

    @given(st.text(max_size=200), st.text(max_size=40))
    def test_it_is_always_a_tag(self, name: str, digest: str) -> None:
        """Whatever W&B may say one day."""
        assert re.fullmatch(
            r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}", image_tag(version(version=name, digest=digest))
        )


class TestDirectoryName:
    """The default directory's name."""

    @pytest.mark.parametrize(
        ("collection", "want"),
        [
            ("cats", "cats-v0-541f289bb3c6"),
            ("Lemon Mold Detector", "Lemon-Mold-Detector-v0-541f289bb3c6"),
            ("../..", "artifact-v0-541f289bb3c6"),
            ("猫", "artifact-v0-541f289bb3c6"),
            (".hidden", "hidden-v0-541f289bb3c6"),
        ],
    )
    def test_it_is_safe(self, collection: str, want: str) -> None:
        """It stays in its directory and is readable."""
        assert directory_name(version(collection=CollectionPath("a", "b", collection))) == want


class TestLabels:
    """Labels of the image."""

    def test_they_are_lines_of_key_and_value(self) -> None:
        """As docker/build-push-action reads them."""
        assert label_lines({"a.b": "1 = 2", "c": ""}) == "a.b=1 = 2\nc="

    @pytest.mark.parametrize(
        "text", ["a\nb=c", "{{commit_date}}", "{{{x}}}", 'a"b', "a#b", "a\x00\u2028b", "\ud800"]
    )
    def test_what_others_wrote_adds_no_label(self, text: str) -> None:
        """No line, template, quote or comment gets through."""
        made = label_lines({"a": text, "b": text})
        assert made.count("\n") == 1
        assert not re.search(r'\{\{|["#\x00]', made)
        assert "\ud800" not in made

    def test_what_is_left_of_a_value_can_be_read(self) -> None:
        """Braces are set apart, quotes become single ones, what does not print goes."""
        assert label_lines({"type": '{{x}} a="b"\n#'}) == "type={ {x}} a='b'"
