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
_log = logging.getLogger(__name__)


def dispatch_alone(config: Config, *, threads: int) -> bool:
    """Send what is due until SIGTERM or Ctrl-C, then finish what is being sent; False if it ends by itself.

    Raises:
        SettingsError: SQLite is in use by another process.
        LedgerError: The ledger cannot be opened.
    """
    with closing(Service.start(config, threads=threads)) as service, _signals() as told_within:
        _log.info("dispatching, up to %d at once", threads)
        while not told_within(LOOK_EVERY):
            if not service.dispatching:
                _log.error("the dispatcher has stopped by itself")
                return False
        _log.info("stopping, when what is being sent is sent")
        service.close()  # Here, where a second signal does not cut it short.
    _log.info("stopped")
    return True


@contextmanager
def _signals() -> Iterator[Callable[[float], bool]]:
    """Give a function that waits so many seconds for SIGTERM or SIGINT, and tells whether one came.

    By a pipe: a lock that the handler takes may be held by the very thread that it interrupts.
    """
    read, write = os.pipe()
    os.set_blocking(write, False)
    before = {
        number: signal.signal(number, lambda _number, _frame: _poke(write))
        for number in (signal.SIGTERM, signal.SIGINT)
    }
    try:
        yield lambda seconds: bool(select.select([read], [], [], seconds)[0])
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(read)
        os.close(write)


def _poke(descriptor: int) -> None:
    with suppress(BlockingIOError):  # It is full of news already.
        os.write(descriptor, b"!")
