"""gunicorn, told what we need: checked before it listens, never held up by a client, drained at its end."""

from __future__ import annotations

import logging
import sys
from typing import Any

from gunicorn.app.base import BaseApplication  # type: ignore[import-untyped]  # It has no types.

from receiver import close_app, create_app
from receiver.errors import ReceiverError, SettingsError
from receiver.ledger import Ledger
from receiver.log import log_to_stderr
from receiver.settings import Settings
from receiver.worker import CONNECTIONS

GRACE = 30
_WORKER_BOOT_ERROR = 3  # gunicorn's: the master ends instead of trying for ever.
_ONE_WORKER = (
    "--workers: got {}; on SQLite one worker process works, with threads (--threads). "
    "For more want HANDOFF_DATABASE_URL=postgresql://…"
)
_NOTHING_SENT = (
    "--no-dispatcher: on SQLite one process works, so nothing is sent while this one runs. "
    "To dispatch beside it want HANDOFF_DATABASE_URL=postgresql://…"
)
_log = logging.getLogger(__name__)


def serve(settings: Settings, *, bind: str, workers: int, threads: int, dispatch: bool = True) -> None:
    """Serve until SIGTERM or Ctrl-C; the ledger is made or migrated before anything listens or forks.

    Raises:
        SettingsError: More than one worker on SQLite.
        LedgerError: The ledger cannot be opened.
    """
    sqlite = settings.database_url.startswith("sqlite:")
    if workers > 1 and sqlite:
        raise SettingsError([_ONE_WORKER.format(workers)])
    log_to_stderr()
    if sqlite and not dispatch:
        _log.warning(_NOTHING_SENT)
    Ledger.open(settings.database_url).close()
    options = {**_OPTIONS, "bind": bind, "workers": workers, "threads": threads}
    _Gunicorn(settings, options, dispatch=dispatch).run()


def _worker_exit(_server: object, worker: Any) -> None:
    if worker.app.callable is not None:
        close_app(worker.app.callable)


_OPTIONS = {
    "worker_class": "receiver.worker.Worker",
    "worker_connections": CONNECTIONS,
    "worker_exit": _worker_exit,
    "proc_name": "handoff",
    "timeout": 60,  # For a worker that no longer answers its master.
    "graceful_timeout": GRACE,
    "keepalive": 5,
    "backlog": 4096,
    "limit_request_line": 4094,
    "limit_request_fields": 64,
    "limit_request_field_size": 8190,
    "errorlog": "-",
    "accesslog": None,  # The pages log a line each, and gunicorn's would hold the query.
    "control_socket_disable": True,
}


class _Gunicorn(BaseApplication):  # type: ignore[misc]  # As above.
    """gunicorn without its command line and files."""

    def __init__(self, settings: Settings, options: dict[str, Any], *, dispatch: bool = True) -> None:
        self._settings = settings
        self._options = options
        self._dispatch = dispatch
        super().__init__(prog="handoff")

    def load_config(self) -> None:
        """Set what this version of gunicorn knows."""
        for name, value in self._options.items():
            if name in self.cfg.settings:
                self.cfg.set(name, value)

    def load(self) -> Any:
        """Make the application, in a worker."""
        try:
            return create_app(self._settings, dispatch=self._dispatch)
        except ReceiverError as error:
            _log.error("%s", error)  # For a person: where it was raised tells nothing.
            sys.exit(_WORKER_BOOT_ERROR)
