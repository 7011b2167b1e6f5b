"""A promotion in the W&B registry becomes a dispatch on GitHub: the service that W&B's webhooks reach."""

from __future__ import annotations

import atexit
import os
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from receiver.errors import SettingsError
from receiver.settings import Settings

if TYPE_CHECKING:
    from flask import Flask

    from receiver.dispatcher import Destination
    from receiver.service import Service

__all__ = ["Settings", "SettingsError", "create_app", "read_settings"]


def read_settings(environ: Mapping[str, str], *, receives: bool = True, dispatches: bool = True) -> Settings:
    """Read the settings with all that there is to check, or raise SettingsError."""
    from receiver.github_app import load_private_key  # noqa: PLC0415 - the receiver's extra may be missing

    return Settings.from_env(environ, check_key=load_private_key, receives=receives, dispatches=dispatches)


def create_app(
    settings: Settings | None = None,
    *,
    dispatch: bool = True,
    now: Callable[[], datetime] = lambda: datetime.now(timezone.utc),
    destination: Destination | None = None,
) -> Flask:
    """The WSGI application, with its ledger open and its dispatcher at work in this process.

    A server that forks must call this after the fork, in each worker.  It is closed at the end of the
    process, or by ``close_app``.

    Args:
        settings: Where it is not given, the environment is read.
        dispatch: Whether this process dispatches too; where not, ``handoff dispatch`` has to.
        now: The clock.
        destination: Where dispatches go; GitHub, where it is not given.

    Raises:
        SettingsError: Something is missing or wrong, or SQLite is in use by another process.
        LedgerError: The ledger cannot be opened.
    """
    from receiver.intake import Intake, new_id  # noqa: PLC0415 - see read_settings
    from receiver.service import Service  # noqa: PLC0415 - see read_settings
    from receiver.views import web_app  # noqa: PLC0415 - see read_settings

    told = read_settings(os.environ, dispatches=dispatch) if settings is None else settings
    service = Service.start(told, destination, now=now, dispatch=dispatch)
    intake = Intake(
        secrets=told.secrets,
        tokens=told.tokens,
        hidden=told.all_secrets,
        repository=told.repository,
        forward=told.forward_fields,
        store=service.ledger,
        now=now,
        new_id=new_id,
        window=told.duplicate_window,
        overtakes=told.order == "overtake",
    )
    checks = {"settings": _sound, "ledger": service.ledger.check_writable}
    if dispatch:
        checks["dispatcher"] = service.check_dispatcher
    app = web_app(intake, checks, max_body=told.max_body)
    app.extensions["handoff"] = service
    app.before_request(service.check_process)
    atexit.register(service.close)
    return app


def close_app(app: Flask) -> None:
    """Stop the dispatcher, when what it sends is sent, and close the ledger."""
    service: Service = app.extensions["handoff"]
    service.close()


def _sound() -> None:
    """Settings are sound once they are built."""
