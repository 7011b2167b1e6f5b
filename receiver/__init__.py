"""A promotion in the W&B registry becomes a dispatch on GitHub: the service that W&B's webhooks reach."""

from __future__ import annotations

import atexit
import logging
import os
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

from receiver.errors import LedgerError, SettingsError
from receiver.settings import GitHubApp, Settings

if TYPE_CHECKING:
    from flask import Flask

    from receiver.dispatcher import Destination, Dispatcher
    from receiver.ledger import Ledger
    from receiver.process_lock import ProcessLock

__all__ = ["Settings", "SettingsError", "create_app", "read_settings"]

DRAIN = 20.0  # Seconds for a dispatch that is being sent: 5 to connect, 15 to read.
_log = logging.getLogger(__name__)


def read_settings(environ: Mapping[str, str]) -> Settings:
    """Read the settings with all that there is to check, or raise SettingsError."""
    from receiver.github_app import load_private_key  # noqa: PLC0415 - the receiver's extra may be missing

    return Settings.from_env(environ, check_key=load_private_key)


def create_app(
    settings: Settings | None = None,
    *,
    now: Callable[[], datetime] = lambda: datetime.now(timezone.utc),
    destination: Destination | None = None,
) -> Flask:
    """The WSGI application, with its ledger open and its dispatcher at work in this process.

    A server that forks must call this after the fork, in each worker.  It is closed at the end of the
    process, or by ``close_app``.

    Args:
        settings: Where it is not given, the environment is read.
        now: The clock.
        destination: Where dispatches go; GitHub, where it is not given.

    Raises:
        SettingsError: Something is missing or wrong, or SQLite is in use by another process.
        LedgerError: The ledger cannot be opened.
    """
    from receiver.intake import Intake, new_id  # noqa: PLC0415 - see read_settings
    from receiver.views import web_app  # noqa: PLC0415 - see read_settings

    told = read_settings(os.environ) if settings is None else settings
    for warning in told.warnings:
        _log.warning("%s", warning)
    service = _Service.start(told, now, destination or _github(told, now))
    intake = Intake(
        secrets=told.secrets,
        tokens=told.tokens,
        hidden=told.all_secrets,
        repository=told.repository,
        forward=told.forward_fields,
        store=service.ledger,
        now=now,
        new_id=new_id,
    )
    checks = {
        "settings": _sound,
        "ledger": service.ledger.check_writable,
        "dispatcher": service.check_dispatcher,
    }
    app = web_app(intake, checks, max_body=told.max_body)
    app.extensions["handoff"] = service
    app.before_request(service.check_process)
    atexit.register(service.close)
    return app


def close_app(app: Flask) -> None:
    """Stop the dispatcher, when what it sends is sent, and close the ledger."""
    service: _Service = app.extensions["handoff"]
    service.close()


class _Service:
    """What works behind the pages: the ledger, the dispatcher, and on SQLite the lock that makes us alone."""

    def __init__(self, ledger: Ledger, dispatcher: Dispatcher, lock: ProcessLock | None) -> None:
        self.ledger = ledger
        self._dispatcher = dispatcher
        self._lock = lock
        self._process = os.getpid()
        self._closed = False

    @classmethod
    def start(cls, settings: Settings, now: Callable[[], datetime], destination: Destination) -> _Service:
        """Take the lock, open the ledger, start the dispatcher."""
        from receiver.dispatcher import Dispatcher  # noqa: PLC0415 - see read_settings
        from receiver.ledger import Ledger  # noqa: PLC0415 - see read_settings

        lock = _lock(settings.database_url)
        try:
            ledger = Ledger.open(settings.database_url)
        except BaseException:
            if lock:
                lock.release()
            raise
        if lock:
            ledger.release_leases()  # Whoever held them has ended: the lock says so.
        dispatcher = Dispatcher(ledger, destination, now=now)
        dispatcher.start()
        return cls(ledger, dispatcher, lock)

    def check_process(self) -> None:
        """Raise LedgerError in a fork of the process that started us: there, no thread of ours lives."""
        if os.getpid() != self._process:
            raise LedgerError("create_app() was called before a fork; do not preload the application")

    def check_dispatcher(self) -> None:
        """Raise RuntimeError when nothing is being sent any more."""
        if not self._dispatcher.alive:
            raise RuntimeError("the dispatcher has stopped; restart Handoff")

    def close(self) -> None:
        """End all of it, once."""
        if self._closed or os.getpid() != self._process:
            return
        self._closed = True
        if not self._dispatcher.stop(DRAIN):
            _log.warning("a dispatch was still being sent; the next start goes on with it")
        self.ledger.close()
        if self._lock:
            self._lock.release()


def _sound() -> None:
    """Settings are sound once they are built."""


def _lock(database_url: str) -> ProcessLock | None:
    from receiver.process_lock import ProcessLock  # noqa: PLC0415 - only where a service starts

    scheme, _, path = database_url.partition(":///")
    return ProcessLock.hold(Path(f"{path}.lock").absolute()) if scheme == "sqlite" else None


def _github(settings: Settings, now: Callable[[], datetime]) -> Destination:
    from receiver.github import GitHub, TokenCredentials  # noqa: PLC0415 - see read_settings
    from receiver.github_app import AppCredentials  # noqa: PLC0415 - see read_settings

    url = settings.github_api_url
    if isinstance(settings.github, GitHubApp):
        app = settings.github
        return GitHub(url, AppCredentials(app.client_id, app.private_key.value, url, now=now), now=now)
    return GitHub(url, TokenCredentials(settings.github.value), now=now)
