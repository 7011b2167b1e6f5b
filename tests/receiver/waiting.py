"""Waiting for what happens elsewhere, without sleeping for luck."""

from __future__ import annotations

import threading

import pytest
from sqlalchemy import Engine, text


def until_blocked(other: Engine) -> None:
    """Wait until a session of the server waits for another's lock."""
    blocked = text("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
    for _ in range(10_000):
        with other.connect() as connection:
            if connection.scalar(blocked):
                return
        threading.Event().wait(0.001)
    pytest.fail("nobody waits")
