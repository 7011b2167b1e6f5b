"""How a receiver hears at once of what others accepted into the same PostgreSQL."""

from __future__ import annotations

import logging
import selectors
import socket
import threading
from collections.abc import Callable
from contextlib import closing
from typing import Any

from sqlalchemy import URL, Connection, create_engine, text

from receiver.ledger.writes import reach_postgresql

CHANNEL = "handoff"
BACKOFF = (0.1, 0.5, 2.0, 5.0)  # Seconds, while the server is away; the last one repeats.
QUIET = 30.0  # Seconds without a word, then we ask whether the connection is still there.
_IN_USE = 0x48414E44  # "HAND": the lock that every listener shares.

_log = logging.getLogger(__name__)

_NOTIFY = text("SELECT pg_notify(:channel, :sender || ' ' || current_schema())")
_ALONE = text("SELECT pg_try_advisory_xact_lock(:key, hashtext(current_schema()))")
_SHARE = f"SELECT pg_try_advisory_lock_shared({_IN_USE}, hashtext(current_schema()))"


def notify(sender: str, connection: Connection) -> None:
    """Tell every listener at this ledger, once the transaction is committed; ``sender`` hears nothing.

    To be done in a transaction of its own, after what it tells of: PostgreSQL lets those that notify
    commit one after another only, and sixteen that accept at once were four times slower for it.
    """
    connection.execute(_NOTIFY, {"channel": CHANNEL, "sender": sender})


def is_unused(connection: Connection) -> bool:
    """Tell whether no receiver listens at this ledger, as far as its server knows."""
    return bool(connection.scalar(_ALONE, {"key": _IN_USE}))


class Listener:
    """A thread with a connection of its own that wakes us whenever somebody else notifies.

    It reconnects for as long as it lives, and wakes us each time it did: something may have been missed.
    """

    def __init__(
        self,
        url: URL,
        us: str,
        wake: Callable[[], None],
        *,
        wait: Callable[[threading.Event, float], bool] = threading.Event.wait,
    ) -> None:
        self._url = url
        self._dialect = create_engine(url).dialect
        self._us = us
        self._wake = wake
        self._wait = wait
        self._listening = threading.Event()
        self._stopping = threading.Event()
        self._stop_read, self._stop_write = socket.socketpair()
        self._thread = threading.Thread(target=self._work, name="ledger-listener", daemon=True)
        self._thread.start()

    @property
    def listening(self) -> bool:
        """Whether we hear of everything just now; while not, whoever wants to know has to look."""
        return self._listening.is_set()

    def close(self) -> None:
        """Listen no more; a second time does nothing."""
        if self._stopping.is_set():
            return
        self._stopping.set()
        self._stop_write.send(b"!")
        self._thread.join()
        self._stop_read.close()
        self._stop_write.close()

    def _work(self) -> None:
        failures = 0
        while not self._stopping.is_set():
            failures = 1 if self._listened() else failures + 1
            self._wait(self._stopping, BACKOFF[min(failures, len(BACKOFF)) - 1])

    def _listened(self) -> bool:
        """Listen until told to stop or until it fails; tell whether it worked for a while."""
        worked = False
        try:
            with closing(self._connect()) as connection:
                connection.autocommit = True
                connection.execute(_SHARE)
                connection.execute(f"LISTEN {CHANNEL}")
                worked = True
                self._listening.set()
                self._wake()
                self._hear(connection)
        except Exception as error:  # noqa: BLE001 - whatever the network does, the thread must try again
            reason = next(iter(str(error).splitlines()), "")
            _log.warning("not told of what others accept: %s: %s", type(error).__name__, reason)
        finally:
            self._listening.clear()
        return worked

    def _connect(self) -> Any:
        """Connect as the pool does, but past it: psycopg's own connection can wait for notices."""
        words, options = self._dialect.create_connect_args(self._url)
        return self._dialect.connect(*words, **{**options, **reach_postgresql(self._url)})

    def _hear(self, connection: Any) -> None:
        here = connection.execute("SELECT current_schema()").fetchone()[0]
        with selectors.DefaultSelector() as readable:
            readable.register(connection.fileno(), selectors.EVENT_READ)
            readable.register(self._stop_read, selectors.EVENT_READ)
            while not self._stopping.is_set():
                quiet = not readable.select(QUIET)
                if quiet:
                    connection.execute("SELECT 1")  # Raises where the server went without a word.
                told = [notice.payload.split(" ", 1) for notice in connection.notifies(timeout=0)]
                if quiet or any(schema == here and sender != self._us for sender, schema in told):
                    self._wake()
