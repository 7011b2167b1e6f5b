"""How often a thing is tried, and how long is waited."""

from __future__ import annotations

import pytest

from registry_client.errors import FetchError
from registry_client.patience import TransientError, patiently, pause


def test_patience_ends() -> None:
    """
    Other errors pass at once; transient ones after the last try, with their number.
    """
    naps: list[float] = []

    def failing() -> None:
        raise TransientError("files.test answered 503")

    with pytest.raises(FetchError, match=r"^files\.test answered 503 \(tried 3 times\)$"):
        patiently(failing, sleep=naps.append, tries=3)

    assert len(naps) == 2


def test_pauses_have_an_end() -> None:
    """
    However many faults there were, a pause of our own is a minute at most.
    """
    assert 30 <= pause(50, TransientError("x")) <= 60
    assert 30 <= pause(50_000, TransientError("x")) <= 60
    assert pause(1, TransientError("x", asked=120)) == 120


def test_a_server_that_wants_too_long_a_pause_is_left() -> None:
    """
    Its wish is told: it is better run again later.
    """
    with pytest.raises(FetchError, match=r"^x answered 429, and asks to wait 3600 s: run this again later$"):
        pause(1, TransientError("x answered 429", asked=3600))
