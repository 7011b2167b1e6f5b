"""A thread that reconciles: each route as often as it says, what seems missed once more before it goes."""

from __future__ import annotations

import logging
import threading
import traceback
from collections.abc import Callable
from datetime import datetime, timedelta, timezone

from receiver.errors import LedgerError
from receiver.missed import Missed
from receiver.reconcile import Caught, Reconcile

PATIENCE = timedelta(minutes=2)  # A webhook that is under way is not overtaken.
LONGEST_WAIT = timedelta(seconds=30)
_FIRST_AFTER = timedelta(seconds=20)  # What was posted while nobody listened may be sent again at once.

_log = logging.getLogger(__name__)


class Sightings:
    """What seems missed, and since when: it is caught up when it still does after some time."""

    def __init__(self, patience: timedelta = PATIENCE) -> None:
        self._patience = patience
        self._since: dict[tuple[str, str, str], datetime] = {}

    def ripe(self, route: str, missed: tuple[Missed, ...], now: datetime) -> list[Missed]:
        """Take note of what a look at the route found; return what it has seen for long enough."""
        seen = {(route, each.name, each.artifact_id): each for each in missed}
        self._since = {key: at for key, at in self._since.items() if key[0] != route or key in seen}
        return [
            each for key, each in seen.items() if now - self._since.setdefault(key, now) >= self._patience
        ]

    def waiting(self, route: str) -> bool:
        """Whether something of the route is to be looked at again."""
        return any(key[0] == route for key in self._since)


class Reconciler:
    """Reconciles over and over."""

    def __init__(
        self,
        story: Reconcile,
        *,
        now: Callable[[], datetime] = lambda: datetime.now(timezone.utc),
        wake: Callable[[], None] = lambda: None,
    ) -> None:
        """``wake`` is called when there is something to send."""
        self._story = story
        self._now = now
        self._wake = wake
        self._sightings = Sightings()
        self._every = {route.name: route.reconcile for route in story.routes if route.reconcile is not None}
        self._due = dict.fromkeys(self._every, now() + _FIRST_AFTER)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._work, name="reconciler", daemon=True)

    def start(self) -> None:
        """Begin, where a route wants it."""
        if self._every:
            self._thread.start()

    def stop(self, timeout: float) -> None:
        """Reconcile no more."""
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join(timeout)

    def turn(self) -> list[Caught]:
        """Compare each route that is due, catch up what was missed for long enough; tell what came of it."""
        now = self._now()
        caught: list[Caught] = []
        for route, every in self._every.items():
            if self._due[route] <= now and not self._stopping.is_set():
                self._due[route] = now + every  # Also when it fails: W&B is not asked more often.
                caught += self._one(route, now)
                if self._sightings.waiting(route):
                    self._due[route] = now + min(every, PATIENCE)
        return caught

    def _one(self, route: str, now: datetime) -> list[Caught]:
        found = self._story.look({route})
        for problem in found.problems:
            _log.warning("reconciling: %s", problem)
        caught = []
        for promotion in self._sightings.ripe(route, found.missed, now):
            caught.append(self._story.catch_up(promotion))
            _log_caught(caught[-1])
        if any(each.receipt and not each.receipt.duplicate for each in caught):
            self._wake()
        return caught

    def _work(self) -> None:
        while not self._stopping.wait(self._pause().total_seconds()):
            self._turn_whatever_comes()

    def _turn_whatever_comes(self) -> None:
        try:
            self.turn()
        except LedgerError as error:
            _log.warning("nothing is reconciled now: %s", error)
        except Exception as error:  # noqa: BLE001 - the thread must outlive every bug
            where = "".join(traceback.format_tb(error.__traceback__))
            _log.error("reconciling: unexpected %s\n%s", type(error).__name__, where)

    def _pause(self) -> timedelta:
        wait = min(self._due.values()) - self._now()
        return min(max(wait, timedelta(seconds=1)), LONGEST_WAIT)


def _log_caught(caught: Caught) -> None:
    if caught.receipt is None:
        _log.warning("%s: not caught up: %s", caught.promotion, caught.problem)
    elif caught.receipt.duplicate:
        _log.info("%s: came meanwhile", caught.promotion)
    else:
        _log.info("%s: caught up as delivery %s", caught.promotion, caught.receipt.delivery_id)
