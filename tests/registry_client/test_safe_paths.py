"""Paths: one file each, on every disk, in time that grows with their length."""

from __future__ import annotations

import time
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry_client.safe_paths import collisions, unsafe

NAMES = st.sampled_from(["a", "A", "b", "é", "e\u0301", "É", "ß", "ss"])
PATHS = st.lists(st.lists(NAMES, min_size=1, max_size=4).map("/".join), unique=True, max_size=8)


@pytest.mark.parametrize(
    ("path", "want"),
    [
        ("x" * 256, "a part longer than 255 bytes"),
        ("a/" + "é" * 128, "a part longer than 255 bytes"),
        ("/".join(["x" * 100] * 41), "longer than 4096 bytes"),
    ],
)
def test_what_no_disk_takes_is_refused(path: str, want: str) -> None:
    """Before anything is fetched, not when it is written."""
    assert any(want in problem for problem in unsafe(path, windows=False))


def test_the_longest_names_are_taken() -> None:
    """255 bytes, and 4096 of all."""
    assert not list(unsafe("x" * 255, windows=True))
    assert not list(unsafe("/".join(["x" * 127] * 32), windows=True))


@pytest.mark.parametrize("pair", [("ab", "a\u200db"), ("ab", "a\ufeffb"), ("x/ab", "X/a\u2060B")])
def test_what_cannot_be_seen_makes_no_other_name(pair: tuple[str, str]) -> None:
    """Some disks pass over joiners and marks of order."""
    assert any("are one name on some disks" in problem for problem in collisions(pair))


def folded(path: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", path).casefold())


@given(PATHS)
def test_it_finds_what_the_plain_definition_finds(paths: list[str]) -> None:
    """No two files with one name, no file above another: and nothing else is a collision."""
    names = [folded(path) for path in paths]
    twice = len(set(names)) != len(names)
    above = any(other.startswith(f"{name}/") for name in names for other in names)

    assert bool(list(collisions(paths))) == (twice or above)


@given(PATHS)
def test_it_does_not_matter_which_comes_first(paths: list[str]) -> None:
    """A manifest's order is not ours to rely on."""
    assert bool(list(collisions(paths))) == bool(list(collisions(reversed(paths))))


def test_deep_paths_cost_what_they_are_long() -> None:
    """Two thousand directories in each of a thousand paths are done in a few seconds."""
    deep = "/".join("a" * 2000)
    began = time.process_time()
    found = list(collisions(f"{deep}/{number}" for number in range(1000)))
    assert not found
    assert time.process_time() - began < 8
