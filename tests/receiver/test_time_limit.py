"""A connection ends when its time is up, whoever reads from it."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing

import pytest

from receiver import time_limit
from receiver.time_limit import TimeLimit

SOON = 0.01
Pair = tuple[socket.socket, socket.socket]


def pair() -> Pair:
    """Two ends of a connection, of which none waits for ever."""
    here, far = socket.socketpair()
    here.settimeout(20)
    far.settimeout(20)
    return here, far


@pytest.fixture
def ends() -> Iterator[Pair]:
    """A connection."""
    here, far = pair()
    with here, far:
        yield here, far


def test_when_the_time_is_up_it_ends(ends: Pair) -> None:
    """
    Who waits for its next byte is told so, at both ends.
    """
    here, far = ends
    with closing(TimeLimit(SOON)) as limit:
        limit.begin(here)

        assert here.recv(1) == far.recv(1) == b""
        assert limit.over


def test_a_later_limit_that_is_shorter(ends: Pair) -> None:
    """
    It is not kept waiting for a longer one that was there before.
    """
    here, far = ends
    with closing(TimeLimit(3600)), closing(TimeLimit(SOON)) as limit:
        limit.begin(here)

        assert far.recv(1) == b""


def test_a_connection_that_comes_too_late(ends: Pair) -> None:
    """
    When the time is up before it stands, it is ended as soon as it does.
    """
    here, far = ends
    limit = TimeLimit(3600)
    limit.expire()
    limit.begin(here)

    assert far.recv(1) == b""


@pytest.mark.parametrize("done_with", [TimeLimit.end, TimeLimit.close])
def test_what_is_not_watched_any_more_stays(ends: Pair, done_with: object) -> None:
    """
    A connection of which the answer is there is nobody's to end.
    """
    assert callable(done_with)
    here, far = ends
    other, its_far = pair()
    with other, its_far, closing(TimeLimit(SOON)) as limit, closing(TimeLimit(2 * SOON)) as second:
        limit.begin(here)
        done_with(limit)
        second.begin(other)
        assert its_far.recv(1) == b""  # The second is over, so the first was before it.
        here.sendall(b"x")

        assert far.recv(1) == b"x"


def test_only_the_last_one_is_watched(ends: Pair) -> None:
    """
    Of two connections one after the other, as where a redirect is followed, the second ends.
    """
    here, far = ends
    other, its_far = pair()
    with other, its_far, closing(TimeLimit(SOON)) as limit:
        limit.begin(here)
        limit.begin(other)
        assert its_far.recv(1) == b""
        here.sendall(b"x")

        assert far.recv(1) == b"x"


def test_what_is_closed_is_forgotten(ends: Pair) -> None:
    """
    However many requests go out within the time of one limit, few are remembered; those that hold are kept.
    """
    here, far = ends
    with closing(TimeLimit(1)) as limit, closing(TimeLimit(3600)):
        limit.begin(here)
        before = len(time_limit._KEEPER)
        for _ in range(10 * time_limit.MOST_CLOSED):
            TimeLimit(3600).close()

        assert len(time_limit._KEEPER) <= 2 * (before + time_limit.MOST_CLOSED)
        assert far.recv(1) == b""


def test_in_a_process_that_was_forked() -> None:
    """
    Where threads did not come along, limits are kept all the same.
    """
    code = f"""
import os, socket
from receiver.time_limit import TimeLimit
TimeLimit({SOON})
child = os.fork()
if child:
    raise SystemExit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
here, far = socket.socketpair()
far.settimeout(20)
TimeLimit({SOON}).begin(here)
os._exit(0 if far.recv(1) == b"" else 1)
"""
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0
