"""Forgets what ended long ago, a little at a time; what is open is never touched."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Protocol

from sqlalchemy import Connection, bindparam, delete, select

from receiver.errors import LedgerError
from receiver.ledger.schema import attempts, deliveries, dispatches
from receiver.ledger.writes import Writes

BATCH = 500
EVERY = timedelta(hours=1)
REST = 0.05  # Seconds between two batches, for everybody else.

_log = logging.getLogger(__name__)

# Lets others go first; true when there is no time to go on.
Rest = Callable[[], bool]


def no_rest() -> bool:
    """Go on at once."""
    return False


def prune(writes: Writes, ended_before: datetime, *, batch: int = BATCH, rest: Rest = no_rest) -> int:
    """Delete the deliveries that came in, and ended with each of their dispatches, before then.

    Their dispatches and attempts go with them.  A transaction looks at ``batch`` deliveries at most and is
    over before the next begins, so that whoever accepts or claims comes in between.

    Returns:
        How many deliveries were deleted.

    Raises:
        LedgerError: The ledger cannot be written now; what was deleted until then stays deleted.
    """
    page = writes.run(partial(_prune_page, ended_before, 0, batch))
    pruned = page.pruned
    while page.last is not None and not rest():
        page = writes.run(partial(_prune_page, ended_before, page.last, batch))
        pruned += page.pruned
    return pruned


class Prunes(Protocol):
    """The ledger, as far as it is needed here."""

    def prune(self, ended_before: datetime, *, rest: Rest) -> int:
        """Delete what ended before then."""
        ...


class Retention:
    """A thread that prunes at its start and every hour from then on."""

    def __init__(
        self,
        ledger: Prunes,
        keep: timedelta,
        *,
        now: Callable[[], datetime],
        wait: Callable[[threading.Event, float], bool] = threading.Event.wait,
    ) -> None:
        self._ledger = ledger
        self._keep = keep
        self._now = now
        self._wait = wait
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._work, name="retention", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self, timeout: float) -> bool:
        """End after the batch that is being deleted; tell whether that was within ``timeout`` seconds."""
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join(timeout)
        return not self._thread.is_alive()

    def _work(self) -> None:
        self._prune()
        while not self._wait(self._stopping, EVERY.total_seconds()):
            self._prune()

    def _prune(self) -> None:
        """Prune once; whatever happens, the next hour brings another try."""
        try:
            pruned = self._ledger.prune(self._now() - self._keep, rest=self._rest)
        except LedgerError as error:
            _log.warning("what is older than %s is not pruned now: %s", self._keep, error)
        except Exception as error:  # noqa: BLE001 - the thread must outlive every bug
            _log.error("pruning: unexpected %s", type(error).__name__)
        else:
            _log.info("pruned %d deliveries that ended more than %s ago", pruned, self._keep)

    def _rest(self) -> bool:
        return self._wait(self._stopping, REST)


@dataclass(frozen=True)
class _Page:
    """What came of one batch: how many were deleted, and where the next one begins, if there is one."""

    pruned: int
    last: int | None


_NEXT = (
    select(deliveries.c.seq, deliveries.c.id, deliveries.c.received_at)
    .where(deliveries.c.seq > bindparam("after"))
    .order_by(deliveries.c.seq)
    .limit(bindparam("most"))
)
# Locked, so that nobody redelivers meanwhile; who just did so is waited for, and seen.
_DISPATCHES_OF = (
    select(dispatches.c.id, dispatches.c.delivery_id, dispatches.c.ended_at)
    .where(dispatches.c.delivery_id.in_(bindparam("these", expanding=True)))
    .order_by(dispatches.c.seq)
    .with_for_update()
)
_DELETE_ATTEMPTS = delete(attempts).where(attempts.c.dispatch_id.in_(bindparam("these", expanding=True)))
_DELETE_DISPATCHES = delete(dispatches).where(dispatches.c.id.in_(bindparam("these", expanding=True)))
_DELETE_DELIVERIES = delete(deliveries).where(deliveries.c.id.in_(bindparam("these", expanding=True)))


def _prune_page(ended_before: datetime, after: int, batch: int, connection: Connection) -> _Page:
    page = connection.execute(_NEXT, {"after": after, "most": batch}).all()
    old = [row.id for row in page if row.received_at < ended_before]
    pruned = _delete_ended(old, ended_before, connection) if old else 0
    # The rows are in the order of their arrival: a whole page without an old one is the end.
    return _Page(pruned, page[-1].seq if old and len(page) == batch else None)


def _delete_ended(old: Sequence[str], ended_before: datetime, connection: Connection) -> int:
    """Delete those of the deliveries that have no dispatch which is open or ended later."""
    sent = connection.execute(_DISPATCHES_OF, {"these": old}).all()
    kept = {row.delivery_id for row in sent if row.ended_at is None or row.ended_at >= ended_before}
    gone = [row.id for row in sent if row.delivery_id not in kept]
    if gone:
        connection.execute(_DELETE_ATTEMPTS, {"these": gone})
        connection.execute(_DELETE_DISPATCHES, {"these": gone})
    forgotten = [name for name in old if name not in kept]
    return connection.execute(_DELETE_DELIVERIES, {"these": forgotten}).rowcount if forgotten else 0
