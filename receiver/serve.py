"""gunicorn, told what we need: checked before it listens, never held up by a client, drained at its end."""

from __future__ import annotations

import logging
import signal
import sys
from collections.abc import Callable
from threading import Thread
from types import FrameType
from typing import Any

from gunicorn.app.base import BaseApplication  # type: ignore[import-untyped]  # It has no types.
from gunicorn.arbiter import Arbiter  # type: ignore[import-untyped]  # As above.

from receiver import close_app, create_app, reload_app
from receiver.config.types import Config
from receiver.errors import ReceiverError, SettingsError
from receiver.ledger import Ledger
from receiver.log import log_to_stderr
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


def serve(  # noqa: PLR0913 - by keyword, all but the one
    config: Config,
    *,
    bind: str,
    workers: int,
    threads: int,
    dispatch: bool = True,
    reread: Callable[[], Config] | None = None,
) -> None:
    """Serve until SIGTERM or Ctrl-C; the ledger is made or migrated before anything listens or forks.

    On SIGHUP each worker reads the configuration anew, by ``reread``.

    Raises:
        SettingsError: More than one worker on SQLite.
        LedgerError: The ledger cannot be opened.
    """
    sqlite = config.ledger.url.startswith("sqlite:")
    if workers > 1 and sqlite:
        raise SettingsError([_ONE_WORKER.format(workers)])
    log_to_stderr()
    if sqlite and not dispatch:
        _log.warning(_NOTHING_SENT)
    Ledger.open(config.ledger.url).close()
    options = {**_OPTIONS, "bind": bind, "workers": workers, "threads": threads}
    _Gunicorn(config, options, dispatch=dispatch, reread=reread).run()


def _reload_on_hangup(worker: Any) -> None:
    """Read the configuration anew on SIGHUP, beside the requests that are being answered."""

    def reload(_number: int, _frame: FrameType | None) -> None:
        Thread(target=reload_app, args=(worker.app.callable,), name="reload", daemon=True).start()

    signal.signal(signal.SIGHUP, reload)


def _worker_exit(_server: object, worker: Any) -> None:
    if worker.app.callable is not None:
        close_app(worker.app.callable)


_OPTIONS = {
    "worker_class": "receiver.worker.Worker",
    "worker_connections": CONNECTIONS,
    "worker_exit": _worker_exit,
    "post_worker_init": _reload_on_hangup,
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

    def __init__(
        self,
        config: Config,
        options: dict[str, Any],
        *,
        dispatch: bool = True,
        reread: Callable[[], Config] | None = None,
    ) -> None:
        self._told = config
        self._options = options
        self._dispatch = dispatch
        self._reread = reread
        super().__init__(prog="handoff")

    def load_config(self) -> None:
        """Set what this version of gunicorn knows."""
        for name, value in self._options.items():
            if name in self.cfg.settings:
                self.cfg.set(name, value)

    def load(self) -> Any:
        """Make the application, in a worker."""
        try:
            return create_app(self._current(), dispatch=self._dispatch, reread=self._reread)
        except ReceiverError as error:
            _log.error("%s", error)  # For a person: where it was raised tells nothing.
            sys.exit(_WORKER_BOOT_ERROR)

    def run(self) -> None:
        """Serve."""
        try:
            _Arbiter(self).run()
        except RuntimeError as error:
            _log.error("%s", error)
            sys.exit(1)

    def _current(self) -> Config:
        """The configuration as it is now: a worker may be started long after the first."""
        if self._reread is None:
            return self._told
        try:
            return self._reread()
        except SettingsError as error:
            _log.error("the configuration stays as it was at the start: %s", error)
            return self._told


class _Arbiter(Arbiter):  # type: ignore[misc]  # As above.
    """gunicorn's master, which passes SIGHUP on: new workers would need what the old ones hold."""

    def handle_hup(self) -> None:
        """Have each worker read its configuration anew."""
        for process in tuple(self.WORKERS):
            self.kill_worker(process, signal.SIGHUP)
