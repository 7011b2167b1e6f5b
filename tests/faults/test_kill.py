"""SIGKILL under load: of a worker, of the whole process, anywhere."""

from __future__ import annotations

from pathlib import Path

from tests.faults.rounds import Plan, run


def test_nothing_acknowledged_is_lost(database_url: str, tmp_path: Path) -> None:
    """
    Killed four times at random moments while six senders promote: every acknowledged delivery is whole
    in the ledger and arrives in the order of its collection, once, or is marked (C1, D1, E7).
    """
    found = run(Plan(rounds=4, seed=20_260_301), database_url, tmp_path)

    assert found.broken == []
    assert found.worker_kills + found.process_kills == 4
    assert found.acknowledged > 20
