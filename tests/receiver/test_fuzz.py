"""What a fuzz run holds against a second opinion holds in every run of the tests, with fewer examples."""

from __future__ import annotations

import logging
import sys

import pytest

from tests import fuzz


@pytest.mark.parametrize("name", fuzz.TARGETS)
def test_a_few_examples(name: str) -> None:
    """Each target agrees with its second opinion."""
    assert fuzz.run(name, 60, number=1) >= 60


def test_a_run_tells_what_disagrees(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A run ends with 1 and the example where something disagrees, and with 0 where nothing does."""

    def disagree(_example: object) -> None:
        raise AssertionError("as small as can be")

    monkeypatch.setattr(logging, "disable", lambda _level: None)  # For a program of its own, not for a test.
    token = fuzz.TARGETS["token"]
    monkeypatch.setattr(fuzz, "ROUND", 5)
    monkeypatch.setattr(sys, "argv", ["fuzz", "--minutes", "0.0001", "--seed", "7"])
    monkeypatch.setattr(fuzz, "TARGETS", {"token": token})
    assert fuzz.main() == 0
    monkeypatch.setattr(fuzz, "TARGETS", {"token": fuzz.Target(token.examples, disagree)})
    assert fuzz.main() == 1
    assert "token, seed 7:" in capsys.readouterr().out
