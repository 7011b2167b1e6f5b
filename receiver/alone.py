"""The dispatcher without the pages, until it is told to stop."""

from __future__ import annotations

import logging
import os
import select
import signal
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress

from receiver.config.types import Config
from receiver.service import Service

LOOK_EVERY = 5.0  # Seconds between two looks at whether the dispatcher lives.
_STOP, _HANGUP = "stop", "hangup"
_MEANING: dict[int, str] = {signal.SIGTERM: _STOP, signal.SIGINT: _STOP, signal.SIGHUP: _HANGUP}
_PIPE = 64 * 1024  # More than it holds.
_log = logging.getLogger(__name__)


def dispatch_alone(config: Config, *, threads: int, reread: Callable[[], Config] | None = None) -> bool:
    """Send what is due until SIGTERM or Ctrl-C, then finish what is being sent; False if it ends by itself.

    On SIGHUP the configuration is read anew, by ``reread``; a bad one changes nothing.

    Raises:
        SettingsError: SQLite is in use by another process.
        LedgerError: The ledger cannot be opened.
    """
    with closing(Service.start(config, threads=threads)) as service, _signals() as told_within:
        _log.info("dispatching, up to %d at once", threads)
        while (told := told_within(LOOK_EVERY)) != _STOP:
            if told == _HANGUP:
                _read_anew(service, reread)
            if not service.dispatching:
                _log.error("the dispatcher has stopped by itself")
                return False
        _log.info("stopping, when what is being sent is sent")
        service.close()  # Here, where a second signal does not cut it short.
    _log.info("stopped")
    return True


def _read_anew(service: Service, reread: Callable[[], Config] | None) -> None:
    config = service.read_anew(reread)
    if config is not None:
        _log.info("the configuration was read anew: %d route(s)", len(config.routes))


@contextmanager
def _signals() -> Iterator[Callable[[float], str | None]]:
    """Give a function that waits so many seconds for a signal, and tells which came; stopping goes first.

    By a pipe: a lock that the handler takes may be held by the very thread that it interrupts.
    """
    read, write = os.pipe()
    os.set_blocking(write, False)
    before = {
        number: signal.signal(number, lambda number, _frame: _poke(write, number)) for number in _MEANING
    }
    try:
        yield lambda seconds: _told(read, seconds)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(read)
        os.close(write)


def _told(descriptor: int, seconds: float) -> str | None:
    if not select.select([descriptor], [], [], seconds)[0]:
        return None
    told = {_MEANING[number] for number in os.read(descriptor, _PIPE)}
    return _STOP if _STOP in told else _HANGUP


def _poke(descriptor: int, number: int) -> None:
    with suppress(BlockingIOError):  # It is full of news already.
        os.write(descriptor, bytes([number]))
