"""Signals: the first one unwinds, the second does not disturb that."""

from __future__ import annotations

import signal
import threading

import pytest

from registry_client.signals import unwinding


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_first_one_unwinds(number: int) -> None:
    """
    With the exit code of a shell; those that follow change nothing, and afterwards all is as before.
    """
    before = [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)]
    ended: list[str] = []

    def work() -> None:
        try:
            signal.raise_signal(number)
        finally:
            signal.raise_signal(signal.SIGTERM)
            signal.raise_signal(signal.SIGINT)
            ended.append("in order")

    with pytest.raises(SystemExit) as caught, unwinding(signal.SIGINT, signal.SIGTERM):
        work()

    assert caught.value.code == 128 + number
    assert ended == ["in order"]
    assert [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)] == before


def test_signals_are_left_alone_outside_the_main_thread() -> None:
    """
    Only the main thread may handle them; elsewhere the block runs as it is.
    """
    before = signal.getsignal(signal.SIGTERM)
    seen: list[object] = []

    def run() -> None:
        with unwinding(signal.SIGTERM):
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()

    assert seen == [before]
