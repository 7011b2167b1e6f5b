"""A promotion in the W&B registry becomes a dispatch on GitHub: the service that W&B's webhooks reach."""

from __future__ import annotations

import atexit
import os
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from receiver.errors import SettingsError
from receiver.settings import Settings

if TYPE_CHECKING:
    from flask import Flask

    from receiver.application import Application
    from receiver.config.types import Config
    from receiver.dispatcher import Destination

__all__ = ["Settings", "SettingsError", "close_app", "configure", "create_app", "read_settings", "reload_app"]


def read_settings(environ: Mapping[str, str], *, receives: bool = True, dispatches: bool = True) -> Settings:
    """Read the settings with all that there is to check, or raise SettingsError."""
    from receiver.github_app import load_private_key  # noqa: PLC0415 - the receiver's extra may be missing

    return Settings.from_env(environ, check_key=load_private_key, receives=receives, dispatches=dispatches)


def configure(
    environ: Mapping[str, str],
    file: str | None = None,
    *,
    receives: bool = True,
    dispatches: bool = True,
) -> Config:
    """Read the configuration: the file, or HANDOFF_CONFIG's, or without one the environment alone.

    Raises:
        SettingsError: With a line for each problem; those of the file say where.
    """
    from receiver.config import read_config  # noqa: PLC0415 - see read_settings
    from receiver.config.from_settings import config_of  # noqa: PLC0415 - see read_settings
    from receiver.github_app import load_private_key  # noqa: PLC0415 - see read_settings

    name = file or environ.get("HANDOFF_CONFIG")
    if not name:
        return config_of(read_settings(environ, receives=receives, dispatches=dispatches))
    try:
        text = Path(name).read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no text in UTF-8"
        raise SettingsError([f"{name}: cannot be read: {why}"]) from error
    return read_config(
        text, file=name, environ=environ, check_key=load_private_key, receives=receives, dispatches=dispatches
    )


def create_app(
    config: Config | Settings | None = None,
    *,
    dispatch: bool = True,
    now: Callable[[], datetime] = lambda: datetime.now(timezone.utc),
    destination: Destination | None = None,
    reread: Callable[[], Config] | None = None,
) -> Flask:
    """The WSGI application, with its ledger open and its dispatcher at work in this process.

    A server that forks must call this after the fork, in each worker.  It is closed at the end of the
    process, or by ``close_app``; ``reload_app`` reads the configuration anew.

    Args:
        config: Where it is not given, HANDOFF_CONFIG's file or the environment is read.
        dispatch: Whether this process dispatches too; where not, ``handoff dispatch`` has to.
        now: The clock.
        destination: Where dispatches go; where the configuration says, when it is not given.
        reread: Reads the configuration anew.

    Raises:
        SettingsError: Something is missing or wrong, or SQLite is in use by another process.
        LedgerError: The ledger cannot be opened.
    """
    from receiver.application import Application  # noqa: PLC0415 - see read_settings

    if config is None:
        environ = dict(os.environ)
        reread = partial(configure, environ, dispatches=dispatch)
        config = reread()
    application = Application.start(config, destination, now=now, dispatch=dispatch, reread=reread)
    atexit.register(application.close)
    return application.app


def close_app(app: Flask) -> None:
    """Stop the dispatcher, when what it sends is sent, and close the ledger."""
    application: Application = app.extensions["handoff"]
    application.close()


def reload_app(app: Flask) -> bool:
    """Read the configuration anew and go by it; a bad one changes nothing, is logged, and is False."""
    application: Application = app.extensions["handoff"]
    return application.reload()
