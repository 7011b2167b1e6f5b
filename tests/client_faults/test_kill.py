"""A client killed in the middle leaves nothing unproven, and the next one goes on where it was."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.client_faults import kills
from tests.client_faults.kills import Plan
from tests.client_faults.trees import MIB


@pytest.mark.parametrize("algorithm", ["MD5", "XXH128"])
def test_killed_and_begun_again(tmp_path: Path, algorithm: str) -> None:
    """
    After two SIGKILLs the tree is whole, nothing is left beside it, and at most 5 % was fetched twice.
    """
    found = kills.run(Plan(seed=len(algorithm), large=96 * MIB, algorithm=algorithm), tmp_path)

    assert found.broken == ()
    assert found.share <= 0.05


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_asked_to_end_and_begun_again(tmp_path: Path, number: signal.Signals) -> None:
    """
    A runner that cancels a job asks first: what is proven by then is not fetched again either.
    """
    found = kills.run(Plan(seed=1, large=64 * MIB, small=50, kills=1, signal=number), tmp_path)

    assert found.broken == ()
    assert found.killed == 1
    assert found.share <= 0.05
