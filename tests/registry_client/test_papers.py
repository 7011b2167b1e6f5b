"""Papers: whole, beside the directory, and never through a link."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from registry_client.download import Download
from registry_client.errors import TargetError
from registry_client.manifest import Manifest, ManifestEntry
from registry_client.papers import write_papers
from registry_client.version import DigestAlgorithm
from tests.registry_client.test_manifest import body, version

ELSEWHERE = ManifestEntry("b.txt", "etag", 3, DigestAlgorithm.MD5, None, "https://files.test/b.txt")


@pytest.fixture
def done(tmp_path: Path) -> Download:
    """A download into ``model``."""
    (tmp_path / "model").mkdir()
    return Download(tmp_path / "model", version(), Manifest.parse(body()))


def left_out(done: Download) -> Download:
    """The same, with a file that lies elsewhere."""
    return Download(done.directory, done.version, done.manifest, references=(ELSEWHERE,))


def test_they_lie_beside_the_directory(done: Download, tmp_path: Path) -> None:
    """
    And nothing else does; the directory holds the artifact's files alone.
    """
    papers = write_papers(left_out(done), {"artifact": "ü"})

    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "model",
        "model.provenance.json",
        "model.references.json",
    ]
    assert json.loads(papers.provenance.read_text(encoding="utf-8")) == {"artifact": "ü"}
    assert papers.references is not None
    (told,) = json.loads(papers.references.read_text(encoding="utf-8"))["references"]
    assert (told["path"], told["url"]) == ("b.txt", "https://files.test/b.txt")
    assert list(done.directory.iterdir()) == []


def test_without_references_there_is_no_list_of_them(done: Download, tmp_path: Path) -> None:
    """
    An empty one would say nothing.
    """
    assert write_papers(done, {}).references is None
    assert not (tmp_path / "model.references.json").exists()


def test_earlier_papers_are_replaced(done: Download, tmp_path: Path) -> None:
    """
    A link in their place is replaced too, and what it leads to stays.
    """
    (tmp_path / "mine").write_text("mine", encoding="utf-8")
    (tmp_path / "model.provenance.json").symlink_to(tmp_path / "mine")

    write_papers(done, {"artifact": "new"})

    assert (tmp_path / "mine").read_text(encoding="utf-8") == "mine"
    assert json.loads((tmp_path / "model.provenance.json").read_text(encoding="utf-8")) == {"artifact": "new"}


def test_what_cannot_be_written_is_told(done: Download, tmp_path: Path) -> None:
    """
    By name, and nothing half written is left.
    """
    (tmp_path / "model.provenance.json").mkdir()

    with pytest.raises(TargetError, match=r"model\.provenance\.json cannot be written: "):
        write_papers(done, {})

    assert sorted(path.name for path in tmp_path.iterdir()) == ["model", "model.provenance.json"]
