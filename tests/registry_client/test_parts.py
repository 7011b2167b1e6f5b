"""Which bytes are here and which are not, against a plain list of booleans."""

from __future__ import annotations

import itertools
import random

import pytest

from registry_client.parts import Extents, parts

SIZE = 40


def test_nothing_is_here_at_first() -> None:
    """
    The whole file is one gap; an empty file has none.
    """
    assert list(Extents().gaps(SIZE)) == [(0, SIZE)]
    assert list(Extents().gaps(0)) == []
    assert Extents().size == 0


@pytest.mark.parametrize("seed", range(30))
def test_extents_agree_with_a_list_of_booleans(seed: int) -> None:
    """
    Whatever comes in whatever order, twice or overlapping.
    """
    chance = random.Random(seed)  # noqa: S311 - the same each time
    extents, here = Extents(), [False] * SIZE
    for _ in range(12):
        start = chance.randrange(SIZE)
        end = chance.randint(start, min(SIZE, start + 9))
        extents.add(start, end)
        here[start:end] = [True] * (end - start)

        missing = {at for start, end in extents.gaps(SIZE) for at in range(start, end)}
        assert missing == {at for at in range(SIZE) if not here[at]}
        assert extents.size == sum(here)
        for at in range(SIZE):
            assert extents.end_of(at) == [*here, False].index(False, at)
        merged = list(extents)
        assert all(before[1] < after[0] for before, after in itertools.pairwise(merged))


@pytest.mark.parametrize(
    ("gaps", "wanted"),
    [
        ([(0, 19)], [(0, 19)]),
        ([(0, 20)], [(0, 10), (10, 20)]),
        ([(0, 35)], [(0, 10), (10, 20), (20, 35)]),
        ([(3, 5), (7, 30)], [(3, 5), (7, 17), (17, 30)]),
        ([], []),
    ],
    ids=["less than two", "two", "the last is longer", "two gaps", "none"],
)
def test_gaps_become_parts(gaps: list[tuple[int, int]], wanted: list[tuple[int, int]]) -> None:
    """
    Pieces of the part's size, in order; what is shorter than two of them stays whole.
    """
    assert list(parts(gaps, 10)) == wanted
