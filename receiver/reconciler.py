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
        story: Callable[[], Reconcile | None],
        *,
        now: Callable[[], datetime] = lambda: datetime.now(timezone.utc),
        wake: Callable[[], None] = lambda: None,
    ) -> None:
        """Tell it how to get the story, and whom to wake.

        Args:
            story: By the configuration in force; None where W&B cannot be asked.
            now: The clock.
            wake: Is called when there is something to send.
        """
        self._story = story
        self._now = now
        self._wake = wake
        self._sightings = Sightings()
        self._first = now() + _FIRST_AFTER
        self._due: dict[str, datetime] = {}
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._work, name="reconciler", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self, timeout: float) -> None:
        """Reconcile no more."""
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join(timeout)

    def turn(self) -> list[Caught]:
        """Compare each route that is due, catch up what was missed for long enough; tell what came of it."""
        now, story = self._now(), self._story()
        routes = story.routes if story else ()
        every = {route.name: route.reconcile for route in routes if route.reconcile is not None}
        self._due = {name: self._due.get(name, self._first) for name in every}
        caught: list[Caught] = []
        for name, often in every.items():
            if story is None or self._due[name] > now or self._stopping.is_set():
                continue
            self._due[name] = now + often  # Also when it fails: W&B is not asked more often.
            caught += self._one(story, name, now)
            if self._sightings.waiting(name):
                self._due[name] = now + min(often, PATIENCE)
        return caught

    def _one(self, story: Reconcile, name: str, now: datetime) -> list[Caught]:
        found = story.look({name})
        for problem in found.problems:
            _log.warning("reconciling: %s", problem)
        caught = [story.catch_up(promotion) for promotion in self._sightings.ripe(name, found.missed, now)]
        for each in caught:
            _log_caught(each)
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
        now = self._now()
        wait = min(self._due.values(), default=max(self._first, now + LONGEST_WAIT)) - now
        return min(max(wait, timedelta(seconds=1)), LONGEST_WAIT)


def _log_caught(caught: Caught) -> None:
    if caught.receipt is None:
        _log.warning("%s: not caught up: %s", caught.promotion, caught.problem)
    elif caught.receipt.duplicate:
        _log.info("%s: came meanwhile", caught.promotion)
    else:
        _log.info("%s: caught up as delivery %s", caught.promotion, caught.receipt.delivery_id)
