"""Manifests: what W&B writes is read, and nothing unsafe or doubtful becomes a Manifest."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
import subprocess
import sys
import time
from datetime import datetime, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry_client.errors import ManifestError
from registry_client.manifest import Manifest, ManifestEntry
from registry_client.reference import CollectionPath
from registry_client.version import ArtifactVersion, DigestAlgorithm

MD5, XXH128 = DigestAlgorithm.MD5, DigestAlgorithm.XXH128
HELLO = {"digest": "XUFAKrxLKna5cZ2REBfFkg==", "size": 5, "birthArtifactID": "QXJ0aWZhY3Q6MQ=="}
READING = """
import resource, sys, time
from registry_client.manifest import Manifest

body = sys.stdin.buffer.read()
before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
manifest = Manifest.parse(body)
after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(len(manifest.entries), after - before, time.process_time() - began)
"""
HELLO_DIGEST = "541f289bb3c6ae786d51e7288e523543"


def body(contents: Any = None, **changes: Any) -> bytes:
    """A manifest's JSON; ``changes`` replace its top-level keys."""
    manifest = {
        "version": 1,
        "storagePolicy": "wandb-storage-policy-v1",
        "storagePolicyConfig": {"storageLayout": "V2", "storageRegion": "eu"},
        "contents": {"a.txt": HELLO} if contents is None else contents,
    }
    return json.dumps({**manifest, **changes}).encode()


def version(**changes: Any) -> ArtifactVersion:
    """The version that ``body()`` belongs to."""
    where = CollectionPath("acme", "models", "cats")
    known = ArtifactVersion(
        id="QXJ0aWZhY3Q6MQ==",
        collection=where,
        version="v0",
        source=where,
        source_version="v0",
        type="model",
        digest=HELLO_DIGEST,
        digest_algorithm=MD5,
        aliases=(),
        tags=(),
        metadata={},
        description=None,
        size=5,
        file_count=1,
        created_at=datetime(2026, 1, 1, tzinfo=timezone.utc),
        url="https://wandb.ai/acme/models/artifacts/model/cats/v0",
    )
    return dataclasses.replace(known, **changes)


def problems(raw: bytes, *, windows: bool = False) -> str:
    """What is said of a manifest that must not be read."""
    with pytest.raises(ManifestError) as caught:
        Manifest.parse(raw, windows=windows)
    return str(caught.value)


def test_what_wandb_writes_is_read() -> None:
    """Entries, layout and region come out as they stand; unknown keys are passed over."""
    manifest = Manifest.parse(
        body(
            {
                "b/x.bin": {**HELLO, "extra": {"alg": "XXH128", "other": 1}, "skip_cache": True},
                "a.txt": HELLO,
            },
            added="later",
        )
    )
    assert manifest == Manifest(
        entries=(
            ManifestEntry("a.txt", HELLO["digest"], 5, MD5, HELLO["birthArtifactID"], None),  # type: ignore[arg-type]
            ManifestEntry("b/x.bin", HELLO["digest"], 5, XXH128, HELLO["birthArtifactID"], None),  # type: ignore[arg-type]
        ),
        storage_layout="V2",
        storage_region="eu",
    )
    assert manifest.total_size == 10
    assert manifest.files == manifest.entries


@pytest.mark.parametrize("config", [{}, None, {"storageLayout": None}])
def test_an_old_manifest_has_the_first_layout(config: Any) -> None:
    """Without a layout and a region they are V1 and default."""
    manifest = Manifest.parse(body(storagePolicyConfig=config))
    assert (manifest.storage_layout, manifest.storage_region) == ("V1", "default")


@pytest.mark.parametrize("digest", ["d41d8cd98f00b204", "https://example.org/x", '"etag"', ""])
def test_a_reference_keeps_its_foreign_digest(digest: str) -> None:
    """What lies elsewhere is listed apart, and its digest may have any shape."""
    entry = {"digest": digest, "ref": "s3://bucket/x", "extra": {"etag": "x"}}
    manifest = Manifest.parse(body({"x": entry, "a.txt": HELLO}))
    assert [found.path for found in manifest.references] == ["x"]
    assert [found.path for found in manifest.files] == ["a.txt"]
    assert manifest.references[0].reference == "s3://bucket/x"


@pytest.mark.parametrize("version", ["3sL4kqtJlcpXroDTDmJ", 1700000000123456])
def test_a_reference_keeps_its_storages_own_version(version: str | int) -> None:
    """S3 and Azure have text, Google has a number; a file in W&B has none, whatever it says."""
    extra = {"etag": "x", "versionID": version}
    manifest = Manifest.parse(
        body({"x": {"digest": "x", "ref": "s3://b/x", "extra": extra}, "y": {**HELLO, "extra": extra}})
    )
    assert [entry.version_id for entry in manifest.entries] == [str(version), None]


@pytest.mark.parametrize(
    ("changes", "want"),
    [
        ({"version": 2}, "version: got 2, want 1"),
        ({"version": True}, "version: got True, want 1"),
        ({"version": None}, "version: got None"),
        ({"storagePolicy": "mine"}, "storagePolicy: got 'mine'"),
        ({"storagePolicyConfig": {"storageLayout": "V3"}}, "storageLayout: got 'V3'"),
        ({"storagePolicyConfig": {"storageRegion": 7}}, "storageRegion should be text"),
        ({"storagePolicyConfig": []}, "storagePolicyConfig should be an object"),
        ({"contents": []}, "contents should be an object, got list"),
    ],
)
def test_another_kind_of_manifest_is_refused(changes: dict[str, Any], want: str) -> None:
    """Only the version, policy and layouts that we know are read."""
    assert want in problems(body(**changes))


@pytest.mark.parametrize(
    "raw",
    [b"", b"{", b"[]", b"null", b"\xff{}", b"[" * 100_000, b'{"version": ' + b"1" * 5000 + b"}"],
    ids=["empty", "cut", "list", "null", "not UTF-8", "deep", "long number"],
)
def test_what_is_not_a_json_object_is_refused(raw: bytes) -> None:
    """Whatever the bytes, the error is ours."""
    assert "manifest" in problems(raw)


@pytest.mark.parametrize(
    ("change", "want"),
    [
        ({"size": -1}, "size should be a whole number of bytes, got -1"),
        ({"size": True}, "got True"),
        ({"size": 5.0}, "got 5.0"),
        ({"size": "5"}, "got '5'"),
        ({"size": None}, "got None"),
        ({"size": 2**63}, "got 9223372036854775808"),
        ({"digest": None}, "digest should be 16 bytes in base64"),
        ({"digest": "XUFAKrxLKna5cZ2REBfF"}, "digest should be 16 bytes"),
        ({"digest": "abc"}, "digest should be 16 bytes"),
        ({"digest": "Füße"}, "digest should be 16 bytes"),
        ({"digest": "XUFAKrxLKna5cZ2REBfFkh=="}, "digest should be 16 bytes"),
        ({"digest": "XUFAKrxLKna5cZ2REBfFkg==\n"}, "digest should be 16 bytes"),
        ({"digest": "5d41402abc4b2a76b9719d911017c592"}, "digest should be 16 bytes"),
        ({"birthArtifactID": 7}, "birthArtifactID should be text"),
        ({"extra": []}, "extra should be an object"),
        ({"extra": {"alg": "SHA1"}}, "'SHA1' is no digest algorithm"),
        ({"extra": {"alg": ["MD5"]}}, "is no digest algorithm"),
        ({"ref": ""}, "ref should be a URL"),
        ({"ref": 7}, "ref should be a URL"),
        ({"ref": "s3://b/x", "digest": "a\nb.txt:x"}, "digest should be printable"),
        ({"ref": "s3://b/x", "size": -1}, "size should be"),
        ({"ref": "s3://b/x\n- safe.bin: s3://b/y"}, "ref should be printable"),
        (
            {"ref": "s3://b/x", "extra": {"versionID": "x\r\nRange: y"}},
            "extra.versionID should be printable text",
        ),
        ({"ref": "s3://b/x", "extra": {"versionID": {}}}, "extra.versionID should be printable text"),
        ({"ref": "s3://b/x", "extra": {"versionID": True}}, "extra.versionID should be printable text"),
    ],
)
def test_a_doubtful_entry_is_refused(change: dict[str, Any], want: str) -> None:
    """Sizes are whole numbers, digests have 16 bytes in their one spelling, algorithms are known."""
    told = problems(body({"a.txt": {**HELLO, **change}}))
    assert "'a.txt': " in told
    assert want in told


def test_an_entry_is_an_object() -> None:
    """Anything else in an entry's place is refused."""
    assert "'a.txt' should be an object, got str" in problems(body({"a.txt": "x"}))


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/etc/passwd",
        "../x",
        "a/../x",
        "a/..",
        "..",
        ".",
        "./a",
        "a/./b",
        "a//b",
        "a/",
        "a\\b",
        "..\\x",
        "C:x",
        "c:/x",
        "a\0b",
        "a\nb",
        "a\x1b[2Jb",
        "a\x7f",
        "a\x85b",
        "a\u2028b",
        "a\ud800b",
        "CON",
        "a/nul",
        "NUL.txt",
        "com1",
        "lpt9.tar.gz",
        "COM¹",
        "CONIN$",
        "aux .txt",
        "a.",
        "a ",
        "a./b",
        "a /b",
        "...",
    ],
)
def test_an_unsafe_path_is_refused(path: str) -> None:
    """No path leaves the directory or means something else on another system."""
    assert f"{path!r}: " in problems(body({path: HELLO}))


@pytest.mark.parametrize("path", ["/etc/passwd", "C:x", "c:/x"])
def test_an_absolute_path_is_called_one(path: str) -> None:
    """The reader need not guess what an empty part means."""
    assert f"{path!r}: is absolute" in problems(body({path: HELLO}))


@pytest.mark.parametrize(
    "path",
    [
        "a.txt",
        "a/b/c.bin",
        ".hidden",
        "a..b",
        "..a",
        "console",
        "com10",
        "auxiliary.py",
        "Füße/猫.txt",
        "a b",
    ],
)
def test_an_ordinary_path_is_read(path: str) -> None:
    """What only looks odd is taken."""
    assert Manifest.parse(body({path: HELLO}), windows=True).entries[0].path == path


@pytest.mark.parametrize(
    "path", ["12:30.log", "at:noon", "a?", "a*", "a|b", "<a>", 'a"b', "x/model.bin::$DATA"]
)
def test_what_windows_keeps_for_itself_is_refused_there(path: str) -> None:
    """A colon names a stream of another file on Windows; elsewhere it is a letter like any other."""
    assert "Windows keeps for itself" in problems(body({path: HELLO}), windows=True)
    assert Manifest.parse(body({path: HELLO}), windows=False).entries[0].path == path


@pytest.mark.parametrize(
    "paths",
    [("A.txt", "a.txt"), ("é", "e\u0301"), ("Straße", "STRASSE"), ("d/x", "D/X"), ("ﬁ", "fi")],
)
def test_names_that_some_disks_take_for_one_are_refused(paths: tuple[str, ...]) -> None:
    """Two files never end up as one, whatever the disk."""
    assert "are one name on some disks" in problems(body(dict.fromkeys(paths, HELLO)))


@pytest.mark.parametrize("paths", [("a", "a/b"), ("a/b/c", "a"), ("A", "a/b"), ("a/b", "a/b/c/d")])
def test_a_file_is_not_a_directory(paths: tuple[str, ...]) -> None:
    """No file lies where another needs a directory."""
    assert "needs a directory there" in problems(body(dict.fromkeys(paths, HELLO)))


def test_two_directories_may_differ_in_case_only() -> None:
    """On a disk that takes them for one, their files still do not meet."""
    assert len(Manifest.parse(body({"a/x": HELLO, "A/y": HELLO})).entries) == 2


@pytest.mark.parametrize(
    "raw",
    [
        body().replace(b'"version": 1', b'"version": 2, "version": 1'),
        body().replace(b'{"a.txt"', b'{"a.txt": {}, "a.txt"'),
        body().replace(b'"size": 5', b'"size": 5, "size": 5'),
    ],
    ids=["top", "contents", "entry"],
)
def test_a_key_that_comes_twice_is_refused(raw: bytes) -> None:
    """Two readers could read two manifests out of one."""
    assert "comes twice" in problems(raw)


def test_all_problems_are_told_at_once() -> None:
    """The first twenty are listed, the rest counted."""
    told = problems(body({f"{number:02}/../x": HELLO for number in range(30)}, version=3))
    assert "the manifest has 31 problem(s)" in told
    assert "version: got 3" in told
    assert told.count("\n- ") == 20
    assert told.endswith("… and 11 more")


def test_a_problem_is_told_briefly() -> None:
    """A monstrous value does not become a monstrous message."""
    assert len(problems(body({"a.txt": {**HELLO, "digest": "x" * 100_000}}))) < 1000


def test_a_manifest_too_long_to_read_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its length and the limit are told."""
    monkeypatch.setattr("registry_client.manifest.LARGEST_BODY", 100)
    assert f"the manifest has {len(body()):,} bytes, more than the 100 we read" in problems(body())


def test_too_many_entries_are_not_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """The message comes at once, and is about their number alone."""
    monkeypatch.setattr("registry_client.manifest._MOST_ENTRIES", 2)
    told = problems(body({f"../{number}": HELLO for number in range(3)}))
    assert told == "the manifest has 3 entries, more than 2"


class TestManyEntries:
    """100,000 of them, good and bad."""

    MANY = 100_000

    def test_they_are_read_in_bounded_time_and_memory(self) -> None:
        """A new process reads them with 100 MB and in ten seconds, several times what it takes."""
        raw = body({f"data/shard-{number // 1000:03}/{number:06}.bin": HELLO for number in range(self.MANY)})
        done = subprocess.run([sys.executable, "-c", READING], input=raw, check=True, capture_output=True)
        count, kilobytes, seconds = map(float, done.stdout.split())

        assert count == self.MANY
        assert kilobytes < 100_000
        assert seconds < 10

    def test_their_problems_are_counted_not_kept(self) -> None:
        """However many and long they are, what is told is short."""
        raw = body(
            {f"../{number}/" + "\0" * 100: {"digest": "x" * 500, "size": -1} for number in range(20_000)}
        )
        began = time.process_time()
        told = problems(raw)

        assert "the manifest has 80000 problem(s)" in told
        assert len(told) < 20 * 510
        assert time.process_time() - began < 10


class TestDigest:
    """The artifact's digest, over the manifest."""

    def test_the_known_answer(self) -> None:
        """One entry, as computed by W&B."""
        assert Manifest.parse(body()).digest(MD5) == HELLO_DIGEST

    def test_entries_count_in_the_order_of_their_paths(self) -> None:
        """By code point, however the JSON has them; references count too."""
        contents = {"é": HELLO, "b": HELLO, "Z": HELLO, "a/b": HELLO, "a.b": {**HELLO, "ref": "s3://b/x"}}
        there, back = (
            Manifest.parse(body(dict(order))) for order in (contents.items(), reversed(contents.items()))
        )
        assert there.digest(XXH128) == back.digest(XXH128)
        text = "wandb-artifact-manifest-v1\n" + "".join(
            f"{path}:{HELLO['digest']}\n" for path in sorted(contents)
        )
        assert there.digest(MD5) == hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()

    @given(st.integers(0, 2**63 - 1), st.binary(min_size=16, max_size=16), st.sampled_from(["a", "b/c", "ü"]))
    def test_it_covers_paths_and_digests(self, size: int, raw: bytes, path: str) -> None:
        """Another path or another file digest is another artifact digest."""
        digest = base64.b64encode(raw).decode()
        got = Manifest.parse(body({path: {"digest": digest, "size": size}})).digest(MD5)
        assert got != Manifest.parse(body({path + "x": {"digest": digest, "size": size}})).digest(MD5)


class TestCheck:
    """Whether a manifest is the one of a version."""

    def test_the_right_one_passes(self) -> None:
        """Digest, size and number agree; the digest's case does not matter."""
        Manifest.parse(body()).check(version())
        Manifest.parse(body()).check(version(digest=HELLO_DIGEST.upper(), file_count=0))

    @pytest.mark.parametrize(
        ("changes", "want"),
        [
            ({"digest": "0" * 32}, f"digest: got {HELLO_DIGEST}, want {'0' * 32}"),
            ({"digest_algorithm": XXH128}, "digest: got "),
            ({"size": 6}, "size: got 5 bytes, want 6"),
            ({"file_count": 2}, "files: got 1, want 2"),
        ],
    )
    def test_another_is_refused(self, changes: dict[str, Any], want: str) -> None:
        """One disagreement is enough, and is told with the version's name."""
        with pytest.raises(ManifestError) as caught:
            Manifest.parse(body()).check(version(**changes))
        assert str(caught.value).startswith("the manifest is not that of acme/models/cats:v0: ")
        assert want in str(caught.value)

    def test_with_references_only_the_digest_counts(self) -> None:
        """W&B does not say what a reference counts in size and number."""
        manifest = Manifest.parse(body({"x": {"digest": "etag", "ref": "s3://b/x", "size": 9}}))
        manifest.check(version(digest=manifest.digest(MD5), size=1, file_count=7))
