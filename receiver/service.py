"""What works behind the pages, or without any: the ledger, the dispatcher, and what looks after them."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from contextlib import ExitStack
from datetime import datetime, timezone
from pathlib import Path

from receiver.dispatcher import Destination, Dispatcher
from receiver.errors import LedgerError, SettingsError
from receiver.github import GitHub, TokenCredentials
from receiver.github_app import AppCredentials
from receiver.ledger import Ledger
from receiver.ledger.retention import Retention
from receiver.process_lock import ProcessLock
from receiver.settings import GitHubApp, Settings

DRAIN = 20.0  # Seconds for a dispatch that is being sent: 5 to connect, 15 to read.
LAST_BATCH = 5.0  # Seconds for what is being pruned.
THREADS = 4
_log = logging.getLogger(__name__)


def _utc() -> datetime:
    return datetime.now(timezone.utc)


class Service:
    """The ledger, open, and the dispatcher at work; on SQLite with the lock that makes us alone.

    It belongs to the process that started it: neither threads nor connections outlive a fork.
    """

    def __init__(self, ledger: Ledger, dispatcher: Dispatcher | None, parts: ExitStack) -> None:
        self.ledger = ledger
        self._dispatcher = dispatcher
        self._parts = parts
        self._process = os.getpid()

    @classmethod
    def start(
        cls,
        settings: Settings,
        destination: Destination | None = None,
        *,
        now: Callable[[], datetime] = _utc,
        dispatch: bool = True,
        threads: int = THREADS,
    ) -> Service:
        """Take the lock, open the ledger, start the dispatcher; where one fails, let go of the others.

        Args:
            settings: What to work with.
            destination: Where dispatches go; GitHub, where it is not given.
            now: The clock.
            dispatch: Whether to dispatch at all.
            threads: How many dispatches may be under way at once.

        Raises:
            SettingsError: SQLite is in use by another process, or nobody is named to GitHub.
            LedgerError: The ledger cannot be opened.
        """
        for warning in settings.warnings:
            _log.warning("%s", warning)
        with ExitStack() as parts:
            alone = _take_lock(settings.database_url, parts)
            ledger = Ledger.open(settings.database_url, budget=settings.budget)
            parts.callback(ledger.close)
            ledger.listen()
            if alone:
                ledger.release_leases()  # Whoever held them has ended: the lock says so.
            dispatcher = None
            if dispatch:
                to = destination or _github(settings, now)
                dispatcher = Dispatcher(ledger, to, now=now, threads=threads)
                _start_forgetting(ledger, settings, now, parts)
                parts.callback(_drain, dispatcher)
                dispatcher.start()
            return cls(ledger, dispatcher, parts.pop_all())

    def check_process(self) -> None:
        """Raise LedgerError in a fork of the process that started us: there, no thread of ours lives."""
        if os.getpid() != self._process:
            raise LedgerError("create_app() was called before a fork; do not preload the application")

    @property
    def dispatching(self) -> bool:
        """Whether the dispatcher lives."""
        return self._dispatcher is not None and self._dispatcher.alive

    def check_dispatcher(self) -> None:
        """Raise RuntimeError when nothing is being sent any more."""
        if not self.dispatching:
            raise RuntimeError("the dispatcher has stopped; restart Handoff")

    def close(self) -> None:
        """Finish what is being sent, then let go of everything; a second time does nothing."""
        if os.getpid() == self._process:
            self._parts.close()


def _take_lock(database_url: str, parts: ExitStack) -> bool:
    """Hold the lock on SQLite's file, and tell whether there is one to hold."""
    scheme, _, path = database_url.partition(":///")
    if scheme != "sqlite":
        return False
    parts.callback(ProcessLock.hold(Path(f"{path}.lock").absolute()).release)
    return True


def _start_forgetting(
    ledger: Ledger, settings: Settings, now: Callable[[], datetime], parts: ExitStack
) -> None:
    if settings.retention is not None:
        retention = Retention(ledger, settings.retention, now=now)
        parts.callback(retention.stop, LAST_BATCH)
        retention.start()


def _drain(dispatcher: Dispatcher) -> None:
    if not dispatcher.stop(DRAIN):
        _log.warning("a dispatch was still being sent; the next start goes on with it")


def _github(settings: Settings, now: Callable[[], datetime]) -> Destination:
    url, credentials = settings.github_api_url, settings.github
    if credentials is None:
        raise SettingsError(["GITHUB_TOKEN: was not read; want settings that dispatch, or dispatch=False"])
    if isinstance(credentials, GitHubApp):
        key = credentials.private_key.value
        return GitHub(url, AppCredentials(credentials.client_id, key, url, now=now), now=now)
    return GitHub(url, TokenCredentials(credentials.value), now=now)
