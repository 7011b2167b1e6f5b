"""Globs: what each means, and that a selection that cannot be meant is refused."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry_client.errors import ConfigurationError, TooLargeError
from registry_client.manifest import Manifest, ManifestEntry
from registry_client.selection import Glob, check_size, select
from registry_client.version import DigestAlgorithm

PATHS = (
    "README.md",
    "config.json",
    "onnx/config.json",
    "onnx/int8/model.onnx",
    "weights.bin",
    ".hidden/x.bin",
)


def manifest(*paths: str) -> Manifest:
    entries = (ManifestEntry(path, "x", 1, DigestAlgorithm.MD5, None, None) for path in sorted(paths))
    return Manifest(tuple(entries), "V2", "default")


def selected(include: tuple[str, ...] = (), exclude: tuple[str, ...] = ()) -> set[str]:
    return {entry.path for entry in select(manifest(*PATHS), include, exclude).entries}


@pytest.mark.parametrize(
    ("glob", "path"),
    [
        ("*.bin", "weights.bin"),
        ("*.bin", "a/b/weights.bin"),
        ("*.bin", ".hidden/.x.bin"),
        ("/config.json", "config.json"),
        ("onnx/*.json", "onnx/config.json"),
        ("onnx/**", "onnx/int8/model.onnx"),
        ("onnx/**/*.onnx", "onnx/model.onnx"),
        ("onnx/**/*.onnx", "onnx/a/b/model.onnx"),
        ("**/int8/*", "int8/x"),
        ("**/int8/*", "a/b/int8/x"),
        ("**", "a/b"),
        ("onnx", "onnx/int8/model.onnx"),
        ("onnx/", "onnx/config.json"),
        ("onnx/int8", "onnx/int8/model.onnx"),
        ("int8", "onnx/int8/model.onnx"),
        ("int8/", "onnx/int8/model.onnx"),
        ("a/*/c/**/e", "a/b/c/d/c/e"),
        ("shard-?.bin", "shard-1.bin"),
        ("shard-[0-3].bin", "shard-2.bin"),
        ("shard-[!0-3].bin", "shard-7.bin"),
        ("[*].bin", "*.bin"),
        ("[!]x", "[!]x"),
        ("Füße/*", "Füße/猫.txt"),
    ],
)
def test_a_glob_means_a_path(glob: str, path: str) -> None:
    """What .gitignore would mean by it."""
    assert Glob.parse(glob).matches(path)


@pytest.mark.parametrize(
    ("glob", "path"),
    [
        ("*.bin", "weights.bin.txt"),
        ("*.bin", "Weights.BIN"),
        ("/config.json", "onnx/config.json"),
        ("onnx/*.json", "onnx/int8/config.json"),
        ("onnx/*.json", "a/onnx/config.json"),
        ("onnx/", "onnx"),
        ("onnx/", "onnx.txt"),
        ("onnx", "onnx2/x"),
        ("a/**/e", "a/b/c"),
        ("a/*/c", "a/b/b/c"),
        ("shard-?.bin", "shard-10.bin"),
        ("a?b", "a/b"),
        ("a[!x]b", "a/b"),
        ("model.onnx", "modelxonnx"),
    ],
)
def test_a_glob_does_not_mean_a_path(glob: str, path: str) -> None:
    """A star stays in its directory, capitals count, a dot is a dot."""
    assert not Glob.parse(glob).matches(path)


@pytest.mark.parametrize(
    ("glob", "want"),
    [
        ("", "is empty"),
        ("/", "is empty"),
        ("!*.bin", "belongs into exclude"),
        ("onnx\\x", "backslash"),
        ("../x", "'..'"),
        ("./x", "'.'"),
        ("a//b", "empty part"),
        ("a**b", "'**' beside letters"),
        ("***", "'**' beside letters"),
    ],
)
def test_a_glob_that_can_mean_nothing_is_refused(glob: str, want: str) -> None:
    """A pattern that no path can have would leave files in or out unnoticed."""
    with pytest.raises(ConfigurationError) as caught:
        Glob.parse(glob)
    assert repr(glob) in str(caught.value)
    assert want in str(caught.value)


def test_without_globs_all_is_selected() -> None:
    """All entries, and the manifest is the same."""
    assert select(manifest(*PATHS)) == manifest(*PATHS)


def test_exclude_wins_over_include() -> None:
    """What both mean is left out."""
    assert selected(include=("*.json", "*.bin"), exclude=("onnx", ".hidden/")) == {
        "config.json",
        "weights.bin",
    }
    assert selected(exclude=("*.bin", "*.onnx")) == {"README.md", "config.json", "onnx/config.json"}


def test_an_exclude_may_mean_nothing() -> None:
    """It leaves out what is not there, and nothing else."""
    assert selected(exclude=("*.ckpt",)) == set(PATHS)


def test_an_include_that_means_nothing_is_refused() -> None:
    """One that is misspelled would else leave a file out, and nobody would know."""
    with pytest.raises(ConfigurationError) as caught:
        selected(include=("*.json", "*.safetensor"))
    assert "'*.safetensor' means none of the 6 files, such as '.hidden/x.bin'" in str(caught.value)


def test_a_selection_of_nothing_is_refused() -> None:
    """An empty directory is no answer to a question for files."""
    with pytest.raises(ConfigurationError, match="leave none of the 6 files"):
        selected(exclude=("**",))


def test_an_empty_artifact_stays_empty() -> None:
    """There is nothing to select from, and that is fine without a glob."""
    assert select(manifest(), exclude=("*.bin",)).entries == ()


@given(
    st.lists(st.sampled_from(["a", "b", "**", "*"]), min_size=1, max_size=6),
    st.lists(st.sampled_from("abc"), min_size=1, max_size=6),
)
def test_it_agrees_with_the_plain_definition(parts: list[str], names: list[str]) -> None:
    """The quick way and the one that tries everything say the same."""

    def means(at: int, here: int) -> bool:
        if at == len(parts):
            return True  # The file itself, or a directory above it.
        if parts[at] == "**":
            return any(means(at + 1, end) for end in range(here, len(names) + 1))
        return here < len(names) and parts[at] in {names[here], "*"} and means(at + 1, here + 1)

    glob = Glob.parse("/" + "/".join(parts))
    assert glob.matches("/".join(names)) == means(0, 0)


@pytest.mark.parametrize(
    "glob", ["*a*a*a*a*a*a*a*a*b", "**/a/**/a/**/a/**/a/**/a/b"], ids=["name", "directories"]
)
def test_a_hostile_path_does_not_make_it_slow(glob: str) -> None:
    """No path that fits a manifest costs more than a moment, whatever the pattern."""
    began = time.process_time()
    Glob.parse(glob).matches("a" * 255 if "/" not in glob else "/".join("a" * 2000))
    assert time.process_time() - began < 1


@pytest.mark.parametrize("limit", [None, 10, 11])
def test_what_is_allowed_is_allowed(limit: int | None) -> None:
    """So many bytes, or no limit at all."""
    check_size(10, limit)


def test_more_than_allowed_is_refused_with_both_numbers() -> None:
    """The reader sees what to allow."""
    with pytest.raises(TooLargeError) as caught:
        check_size(12_345, 10_000)
    assert "12,345 bytes, 2,345 more than the 10,000 allowed" in str(caught.value)
