"""What works behind the pages, or without any: the ledger, the dispatcher, and what looks after them."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from datetime import datetime, timezone
from pathlib import Path

from receiver.config.from_settings import config_of
from receiver.config.types import Config
from receiver.dispatch import Dispatch, Outcome, RunSearch
from receiver.dispatcher import Destination, Dispatcher
from receiver.errors import LedgerError, SettingsError
from receiver.ledger import Ledger
from receiver.ledger.retention import Retention
from receiver.outlets import NOBODY, Outlets
from receiver.process_lock import ProcessLock
from receiver.reconcile import Reconcile
from receiver.reconciler import Reconciler
from receiver.routing.route import RepositoryDispatch, WorkflowDispatch
from receiver.run import Run, RunsUnreadableError
from receiver.settings import Settings
from receiver.tracker import Tracker

DRAIN = 20.0  # Seconds for a dispatch that is being sent: 5 to connect, 15 to read.
LAST_BATCH = 5.0  # Seconds for what is being pruned.
LAST_LOOK = 5.0  # Seconds for a look at runs that is being taken.
THREADS = 4
_log = logging.getLogger(__name__)


def _utc() -> datetime:
    return datetime.now(timezone.utc)


class Service:
    """The ledger, open, and who works on it; on SQLite with the lock that makes us alone.

    It belongs to the process that started it: neither threads nor connections outlive a fork.
    """

    def __init__(
        self, ledger: Ledger, working: Working, dispatcher: Dispatcher | None, parts: ExitStack
    ) -> None:
        self.ledger = ledger
        self._working = working
        self._dispatcher = dispatcher
        self._parts = parts
        self._process = os.getpid()

    @classmethod
    def start(
        cls,
        config: Config | Settings,
        destination: Destination | None = None,
        *,
        now: Callable[[], datetime] = _utc,
        dispatch: bool = True,
        threads: int = THREADS,
    ) -> Service:
        """Take the lock, open the ledger, start who works on it; where one fails, let go of the others.

        Args:
            config: What to work with.
            destination: Where dispatches go; where the configuration says, when it is not given.
            now: The clock.
            dispatch: Whether to dispatch at all, and so to follow runs and to reconcile.
            threads: How many dispatches may be under way at once.

        Raises:
            SettingsError: SQLite is in use by another process, or nobody is named to GitHub.
            LedgerError: The ledger cannot be opened.
        """
        config = config_of(config) if isinstance(config, Settings) else config
        for warning in config.warnings:
            _log.warning("%s", warning)
        with ExitStack() as parts:
            alone = _take_lock(config.ledger.url, parts)
            ledger = Ledger.open(config.ledger.url, budget=config.github.budget)
            parts.callback(ledger.close)
            ledger.listen()
            if alone:
                ledger.release_leases()  # Whoever held them has ended: the lock says so.
            working = Working(config, now, destination)
            dispatcher = None
            if dispatch:
                if destination is None:
                    _check_somebody(config)
                dispatcher = _start_all(ledger, working, now, threads, parts)
            return cls(ledger, working, dispatcher, parts.pop_all())

    @property
    def config(self) -> Config:
        """The configuration in force."""
        return self._working.config

    def take(self, config: Config) -> None:
        """Work with another configuration from now on; what cannot change while we run is told of."""
        old = self._working.config
        self._working.take(config)
        for what, changed in (
            ("ledger.url", old.ledger.url != config.ledger.url),
            ("ledger.retention", old.ledger.retention != config.ledger.retention),
            ("github.budget", old.github.budget != config.github.budget),
            ("server.max_body", old.server != config.server),
        ):
            if changed:
                _log.warning("%s is another now, which takes a restart", what)

    def read_anew(self, reread: Callable[[], Config] | None) -> Config | None:
        """Read the configuration and work with it; a bad one is logged, changes nothing, and is None."""
        if reread is None:
            _log.warning("there is no file to read anew: the environment is read at the start alone")
            return None
        try:
            config = reread()
            self.take(config)
        except SettingsError as error:
            for problem in error.problems:
                _log.error("%s", problem)
            many = len(error.problems)
            _log.error("the configuration stays as it was: the new one has %d problem(s)", many)
            return None
        for warning in config.warnings:
            _log.warning("%s", warning)
        return config

    def wake(self) -> None:
        """There is something new to send."""
        if self._dispatcher is not None:
            self._dispatcher.wake()

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


class Working:
    """What goes out by the configuration in force; both change at once."""

    def __init__(
        self, config: Config, now: Callable[[], datetime], destination: Destination | None = None
    ) -> None:
        self._now = now
        self._destination = destination
        self._state = (config, Outlets.of(config, now))

    @property
    def config(self) -> Config:
        """The configuration."""
        return self._state[0]

    @property
    def outlets(self) -> Outlets:
        """What goes out by it."""
        return self._state[1]

    def take(self, config: Config) -> None:
        """Go by another one; where it does not do, by the old one still, and raise SettingsError."""
        self._state = (config, Outlets.of(config, self._now))

    def send(self, dispatch: Dispatch) -> Outcome:
        """Send by the destinations in force."""
        return (self._destination or self.outlets.destination).send(dispatch)

    def find_run(self, dispatch: Dispatch, since: datetime) -> RunSearch:
        """Look by the destinations in force."""
        return (self._destination or self.outlets.destination).find_run(dispatch, since)

    def settle(self, dispatch: Dispatch) -> Dispatch | Outcome:
        """Settle by the W&B in force."""
        return self.outlets.settling.settled(dispatch)

    def runs(self, repository: str, event: str, since: datetime) -> Iterable[Run]:
        """Look up runs by the GitHub in force."""
        runs = None if self._destination is not None else self.outlets.runs
        if runs is None:
            raise RunsUnreadableError(f"the runs of {repository} cannot be read: {NOBODY}")
        return runs.runs(repository, event, since)


def _check_somebody(config: Config) -> None:
    """Raise SettingsError where something goes to GitHub and nobody is named there."""
    to_github = any(
        isinstance(route.action, (RepositoryDispatch, WorkflowDispatch)) for route in config.routes
    )
    if config.github.credentials is None and to_github:
        raise SettingsError(["GITHUB_TOKEN: was not read; want settings that dispatch, or dispatch=False"])


def _start_all(
    ledger: Ledger, working: Working, now: Callable[[], datetime], threads: int, parts: ExitStack
) -> Dispatcher:
    """Start what sends, follows and forgets; the first to be started is the last to be stopped."""
    _start_forgetting(ledger, working.config, now, parts)
    dispatcher = Dispatcher(ledger, working, settle=working.settle, now=now, threads=threads)
    parts.callback(_drain, dispatcher)
    dispatcher.start()
    tracker = Tracker(ledger, working, now=now, wake=dispatcher.wake)
    parts.callback(tracker.stop, LAST_LOOK)
    tracker.start()
    reconciler = Reconciler(lambda: _story(ledger, working, now), now=now, wake=dispatcher.wake)
    parts.callback(reconciler.stop, LAST_LOOK)
    reconciler.start()
    return dispatcher


def _story(ledger: Ledger, working: Working, now: Callable[[], datetime]) -> Reconcile | None:
    """How to reconcile by the configuration in force; None where no route wants it, or nobody can."""
    config, wandb = working.config, working.outlets.wandb
    if wandb is None or not any(route.reconcile for route in config.routes):
        return None
    return Reconcile.of(config, config.rules, wandb, ledger, now)


def _start_forgetting(ledger: Ledger, config: Config, now: Callable[[], datetime], parts: ExitStack) -> None:
    if config.ledger.retention is not None:
        retention = Retention(ledger, config.ledger.retention, now=now)
        parts.callback(retention.stop, LAST_BATCH)
        retention.start()


def _drain(dispatcher: Dispatcher) -> None:
    if not dispatcher.stop(DRAIN):
        _log.warning("a dispatch was still being sent; the next start goes on with it")
