"""The story of what was sent: which run did it start, how did that end?  A thread tells it over and over."""

from __future__ import annotations

import logging
import threading
import traceback
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta, timezone
from typing import Protocol

from receiver.dispatch import Dispatch, DispatchKind
from receiver.errors import LedgerError
from receiver.run import Look, Run, RunsUnreadableError, Watch, find, looked, unlooked
from receiver.telling import after_look

MOST_WATCHED = 200  # At a time; the others' turn comes.
MOST_PAGES = 10  # Asked for in one turn; each costs a second of waiting: 3,600 an hour, whatever is watched.
LONGEST_WAIT = timedelta(seconds=3)  # After as long a run is first looked for; nobody tells us of new ones.
SHORTEST_WAIT = timedelta(seconds=1)  # Between two looks: GitHub asks for patience, and nobody waits for us.

_RUNS_A_PAGE = 100

_log = logging.getLogger(__name__)


class Runs(Protocol):
    """Where runs are looked up."""

    def runs(self, repository: str, event: str, since: datetime) -> Iterable[Run]:
        """Those that the event started since then, or raise RunsUnreadableError."""
        ...


class Watches(Protocol):
    """The ledger, as far as it is needed here."""

    def watches(self, now: datetime, limit: int) -> Sequence[Watch]:
        """Take what is to be looked for now; for a while nobody else takes it."""
        ...

    def record_look(self, watch: Watch, look: Look, notices: Sequence[Dispatch]) -> bool:
        """Write down what a look came to, with the notices; False where somebody else did meanwhile."""
        ...

    def postpone_look(self, watch: Watch, until: datetime | None) -> None:
        """Look again then."""
        ...

    def next_look(self) -> datetime | None:
        """Tell when the next look is due."""
        ...


class Tracker:
    """Follows dispatches to their runs: for one repository, one question answers for all."""

    def __init__(
        self,
        ledger: Watches,
        runs: Runs,
        *,
        now: Callable[[], datetime] = lambda: datetime.now(timezone.utc),
        wake: Callable[[], None] = lambda: None,
    ) -> None:
        """``wake`` is called when there are notices to send."""
        self._ledger = ledger
        self._runs = runs
        self._now = now
        self._wake = wake
        self._pages = 0  # Asked for in this turn.
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._work, name="tracker", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self, timeout: float) -> None:
        """Look no more."""
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join(timeout)

    def turn(self) -> int:
        """Take the looks that are due, as many as are not too many at once; tell how many are due."""
        self._pages = 0
        watches = self._ledger.watches(self._now(), MOST_WATCHED)
        together: dict[tuple[str, DispatchKind], list[Watch]] = defaultdict(list)
        for watch in watches:
            together[watch.dispatch.repository, watch.dispatch.kind].append(watch)
        for (repository, kind), group in together.items():
            if self._stopping.is_set() or self._pages >= MOST_PAGES:
                break
            self._look(repository, kind, group)
        return len(watches)

    def _look(self, repository: str, kind: DispatchKind, group: Sequence[Watch]) -> None:
        since = min(watch.sent_at for watch in group)
        self._pages += 1
        try:
            runs = list(self._runs.runs(repository, kind.value, since))
            self._pages += len(runs) // _RUNS_A_PAGE
        except RunsUnreadableError as error:
            _log.warning("%s", error)
            for watch in group:
                self._ledger.postpone_look(watch, unlooked(watch, self._now(), error.wait))
            return
        for watch in group:
            self._note(watch, find(watch, runs))

    def _note(self, watch: Watch, run: Run | None) -> None:
        now = self._now()
        look = looked(watch, run, now)
        notices = after_look(watch.dispatch, look, now) if look.news(watch) else ()
        if self._ledger.record_look(watch, look, notices) and notices:
            self._wake()

    def _work(self) -> None:
        while not self._stopping.wait(self._pause().total_seconds()):
            self._turn_whatever_comes()

    def _turn_whatever_comes(self) -> None:
        try:
            self.turn()
        except LedgerError as error:
            _log.warning("runs are not followed now: %s", error)
        except Exception as error:  # noqa: BLE001 - the thread must outlive every bug
            where = "".join(traceback.format_tb(error.__traceback__))
            _log.error("following runs: unexpected %s\n%s", type(error).__name__, where)

    def _pause(self) -> timedelta:
        try:
            due = self._ledger.next_look()
        except LedgerError:
            return LONGEST_WAIT
        wait = LONGEST_WAIT if due is None else due - self._now()
        return min(max(wait, max(self._pages, 1) * SHORTEST_WAIT), LONGEST_WAIT)
