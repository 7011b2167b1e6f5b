"""The files of a version as people and programs read them."""

from __future__ import annotations

from registry_client.listing import as_json, lines
from registry_client.manifest import Manifest, ManifestEntry
from registry_client.version import DigestAlgorithm
from tests.fakes import FakeRegistry
from tests.registry_client.pointers import pointer

DIGEST = "XUFAKrxLKna5cZ2REBfFkg=="


def manifest(*entries: ManifestEntry) -> Manifest:
    return Manifest(entries, "V2", "default")


def file(path: str, size: int) -> ManifestEntry:
    return ManifestEntry(path, DIGEST, size, DigestAlgorithm.XXH128, None, None)


def test_each_file_has_a_line() -> None:
    """Its size first; the last line counts."""
    assert list(lines(manifest(file("a b.txt", 0), file("w/model.bin", 1_500_000_000)))) == [
        "    0 bytes  a b.txt",
        "     1.5 GB  w/model.bin",
        "     1.5 GB  in 2 files",
    ]


def test_one_file_and_none_are_counted() -> None:
    """In words that fit."""
    assert list(lines(manifest(file("x", 7))))[-1] == "    7 bytes  in 1 file"
    assert list(lines(manifest())) == ["    0 bytes  in 0 files"]


def test_what_lies_elsewhere_says_where() -> None:
    """Its size may be unknown; what could sign somebody in is left out."""
    assert list(lines(manifest(pointer("https://example.org/x?sig=1"), pointer("s3://b/x", "e", 9)))) == [
        "          ?  far.bin  -> https://example.org/x",
        "    9 bytes  far.bin  -> s3://b/x",
        "    9 bytes  in 2 files, 2 of them elsewhere",
    ]


def test_no_name_writes_to_the_terminal() -> None:
    """What does not print is written out."""
    told = "\n".join(lines(manifest(file("a\u202eb", 1), pointer("s3://b/\x1b[2J"))))
    assert "a\\u202eb" in told
    assert "\x1b" not in told


def test_programs_get_every_digest(registry: FakeRegistry) -> None:
    """And of what lies elsewhere all that is known."""
    version = registry.version()
    assert as_json(version, manifest(file("x", 7), pointer("s3://b/x", "e", 9, version_id="v1"))) == {
        "artifact": version.name,
        "id": version.id,
        "digest": version.digest,
        "digest_algorithm": "MD5",
        "size": 16,
        "file_count": 2,
        "files": [
            {"path": "x", "size": 7, "digest": DIGEST, "algorithm": "XXH128"},
            {
                "path": "far.bin",
                "size": 9,
                "digest": "e",
                "kind": "s3",
                "reference": "s3://b/x",
                "version_id": "v1",
            },
        ],
    }
