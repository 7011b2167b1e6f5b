"""The story of one dispatch – claim, look, send, record – and the threads that tell it over and over."""

from __future__ import annotations

import logging
import random
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from itertools import chain, repeat
from typing import Protocol

from receiver.dispatch import GITHUB_KINDS, Claim, Dispatch, Outcome, OutcomeKind, RunSearch
from receiver.errors import LedgerError, LostLeaseError
from receiver.retry import GAVE_UP, Dead, Decision, decide, held_back, may_resend
from receiver.telling import after_attempt

LEASE = timedelta(seconds=60)
# No wait is longer: the clock on the wall may jump while we wait by the one that cannot.
LONGEST_WAIT = timedelta(seconds=10)
SHORTEST_WAIT = timedelta(milliseconds=10)
# Where other processes accept too, and nobody wakes us for theirs just now.
POLL = timedelta(seconds=1)
BACKOFF = (0.1, 0.5, 2.0, 5.0)  # Seconds, while the ledger is away.
# Where GitHub fails, the look for a run does too: only after so long is one sent again without it.
LOOK_FOR = timedelta(hours=1)
STALLED_AFTER = 180.0  # Seconds without a turn; a send has its own deadlines, well below.

_log = logging.getLogger(__name__)


class Destination(Protocol):
    """Where dispatches go."""

    def send(self, dispatch: Dispatch) -> Outcome:
        """Try once, and say what came of it."""
        ...

    def find_run(self, dispatch: Dispatch, since: datetime) -> RunSearch:
        """Look for a run that shows the key of the dispatch."""
        ...


# Makes of a dispatch the one to send, or tells what comes of it instead.
Settle = Callable[[Dispatch], Dispatch | Outcome]


def as_it_is(dispatch: Dispatch) -> Dispatch | Outcome:
    """Send what was planned; what W&B has to be asked about waits, for nobody is there to ask."""
    if dispatch.question is None:
        return dispatch
    return Outcome(OutcomeKind.POSTPONED, "wandb-denied", "W&B cannot be asked: no key for it is configured")


class Claims(Protocol):
    """The ledger, as far as it is needed here."""

    @property
    def hears_all(self) -> bool:
        """Whether we are woken by all that is accepted, in other processes too."""
        ...

    def claim(self, now: datetime, lease: timedelta) -> Claim | None:
        """Take what may go now."""
        ...

    def renew(self, claim: Claim, now: datetime, lease: timedelta) -> Claim:
        """Hold it for longer."""
        ...

    def mark_possibly_duplicated(self, claim: Claim) -> None:
        """Write down that it may arrive twice."""
        ...

    def keep_message(self, claim: Claim, settled: Dispatch) -> None:
        """Write down what is about to be sent, and what is to be told of it."""
        ...

    def record(
        self, claim: Claim, decision: Decision, outcome: Outcome, now: datetime, also: Sequence[Dispatch] = ()
    ) -> None:
        """End the attempt, and take in the notices of it."""
        ...

    def next_due(self, now: datetime) -> datetime | None:
        """Tell when to claim next."""
        ...

    def closed_until(self, now: datetime) -> datetime | None:
        """Tell until when nothing at all may be claimed, whatever comes."""
        ...

    def mend(self, now: datetime) -> int:
        """Have nothing wait for a clock that was put back."""
        ...

    def subscribe(self, wake: Callable[[], None]) -> None:
        """Have us told of what is new."""
        ...


def deliver(
    claim: Claim, claims: Claims, destination: Destination, settle: Settle = as_it_is
) -> tuple[Outcome, bool, Dispatch]:
    """Send what is claimed; say what came of it, whether it was tried, and as what.

    What may have arrived already is looked for first; what depends on W&B is settled by what W&B says now.

    Raises:
        LostLeaseError: It was taken over before it was sent; it was not sent.
    """
    instead = None if claim.unanswered is None else _looked(claim, claim.unanswered, destination)
    if instead is not None:
        return instead, False, claim.dispatch
    settled = settle(claim.dispatch)
    if isinstance(settled, Outcome):
        return settled, False, claim.dispatch
    if claim.dispatch.question is not None:
        claims.keep_message(claim, settled)
    if claim.unanswered is not None:
        claims.mark_possibly_duplicated(claim)  # Before, not after: we may not live to say so.
    return _send(destination, settled), True, settled


def _looked(claim: Claim, since: datetime, destination: Destination) -> Outcome | None:
    """What comes of a dispatch that may have arrived, other than sending it again."""
    search = _look(destination, claim.dispatch, since)
    if search.url is not None:
        return _found(search.url)
    if search.not_now is not None and claim.begun_at < since + LOOK_FOR:
        return search.not_now
    if search.why_not is not None and claim.dispatch.holds:
        return held_back(search.why_not)
    return None if may_resend(claim.doubts) else _not_again(claim, search)


def _send(destination: Destination, dispatch: Dispatch) -> Outcome:
    try:
        return destination.send(dispatch)
    except Exception as error:  # noqa: BLE001 - a bug in one destination must not stop the others
        _log_bug(f"sending dispatch {dispatch.id}", error)
        detail = f"{type(error).__name__} in Handoff while sending: please report it"
        return Outcome(OutcomeKind.AMBIGUOUS, "internal-error", detail)


def _look(destination: Destination, dispatch: Dispatch, since: datetime) -> RunSearch:
    try:
        return destination.find_run(dispatch, since)
    except Exception as error:  # noqa: BLE001 - as above
        _log_bug(f"looking for the run of dispatch {dispatch.id}", error)
        return RunSearch(why_not=f"{type(error).__name__} in Handoff")


def _log_bug(doing: str, error: Exception) -> None:
    """Log where it happened, but not the message: nobody knows what it holds."""
    where = "".join(traceback.format_tb(error.__traceback__))
    _log.error("%s: unexpected %s\n%s", doing, type(error).__name__, where)


@contextmanager
def _logged(what: str) -> Iterator[None]:
    """Go on though the ledger is away, which is only logged."""
    try:
        yield
    except LedgerError as error:
        _log.warning("%s: %s", what, error)


def _found(url: str) -> Outcome:
    detail = "an earlier attempt got no answer, but its run is there: not sent again"
    return Outcome(OutcomeKind.SENT, "already-sent", detail, run_url=url)


def _not_again(claim: Claim, search: RunSearch) -> Outcome:
    looked = f"the look for its run failed ({search.why_not})" if search.why_not else "no run shows its key"
    detail = f"{claim.doubts} attempts may have arrived, and {looked}: see whether it ran, then redeliver it"
    return Outcome(OutcomeKind.REFUSED, GAVE_UP, detail)


def _key(claim: Claim) -> tuple[str, int]:
    return claim.dispatch.id, claim.fence


class Dispatcher:
    """Sends what the ledger has due, with a few threads; each tells the story of one dispatch at a time."""

    def __init__(  # noqa: PLR0913 - the clocks come in, so that no test needs to wait
        self,
        ledger: Claims,
        destination: Destination,
        *,
        settle: Settle = as_it_is,
        now: Callable[[], datetime] = lambda: datetime.now(timezone.utc),
        jitter: Callable[[], float] = random.random,
        monotonic: Callable[[], float] = time.monotonic,
        threads: int = 4,
        lease: timedelta = LEASE,
    ) -> None:
        self._ledger = ledger
        self._destination = destination
        self._settle = settle
        self._now = now
        self._jitter = jitter
        self._monotonic = monotonic
        self._lease = lease
        self._longest_wait = LONGEST_WAIT
        self._changed = threading.Condition()
        self._choosing = threading.Lock()
        self._wakes = 0
        self._stopping = threading.Event()
        self._drained = threading.Event()
        # By fence as well: when the clock jumps past a lease, two threads of ours may hold the same dispatch.
        self._held: dict[tuple[str, int], Claim] = {}
        self._turned: dict[int, float] = {}
        names = [f"dispatcher-{number}" for number in range(1, threads + 1)]
        self._threads = [threading.Thread(target=self._work, name=name, daemon=True) for name in names]
        self._heart = threading.Thread(target=self._beat, name="dispatcher-heart", daemon=True)

    def start(self) -> None:
        """Begin to claim and send."""
        self._ledger.subscribe(self.wake)
        self._heart.start()
        for thread in self._threads:
            thread.start()

    def stop(self, timeout: float) -> bool:
        """Claim no more, finish what is being sent; tell whether that was done within ``timeout`` seconds."""
        deadline = time.monotonic() + timeout
        with self._changed:
            self._stopping.set()
            self._changed.notify_all()
        for thread in self._threads:
            if thread.ident is not None:
                thread.join(max(0.0, deadline - time.monotonic()))
        self._drained.set()  # Until then the heart beats for what is still being sent.
        return not any(thread.is_alive() for thread in self._threads)

    @property
    def alive(self) -> bool:
        """Whether every thread lives and has turned lately."""
        late = self._monotonic() - STALLED_AFTER
        return all(
            thread.is_alive() and self._turned.get(thread.ident or 0, late) > late for thread in self._threads
        )

    def wake(self) -> None:
        """Have one thread look for something to send, now."""
        with self._changed:
            self._wakes += 1
            self._changed.notify()

    def run_once(self) -> bool:
        """Claim one dispatch and see its attempt through; False when nothing is due."""
        claim = self._claim()
        if claim is None:
            return False
        self.wake()  # Where there was one there may be more, for another thread.
        try:
            self._see_through(claim)
        except LostLeaseError as error:
            _log.warning("%s", error)
        finally:
            del self._held[_key(claim)]
        return True

    def _claim(self) -> Claim | None:
        """Claim one, but never from ourselves: what is held here is alive, whatever the clock shows now."""
        with self._choosing:
            now = self._now()
            for held in self._held.copy().values():
                if held.lease_until <= now:
                    self._renew(held, now)
            claim = self._ledger.claim(now, self._lease)
            if claim is not None:
                self._held[_key(claim)] = claim
            return claim

    def _see_through(self, claim: Claim) -> None:
        outcome, tried, dispatch = deliver(claim, self._ledger, self._destination, self._settle)
        now = self._now()
        decision = decide(
            outcome,
            attempts_used=claim.attempts_used,
            open_since=claim.open_since,
            now=now,
            jitter=self._jitter,
            doubts=claim.doubts,
            holds=claim.dispatch.holds
            and claim.dispatch.kind not in GITHUB_KINDS,  # Only runs can be looked for.
        )
        dead = isinstance(decision, Dead)
        said = replace(outcome, detail=decision.detail) if isinstance(decision, Dead) else outcome
        notices = after_attempt(dispatch, said, dead=dead, now=now)
        self._record(claim, decision if tried else replace(decision, counts=False), outcome, now, notices)
        if notices:
            self.wake()
        what = (claim.dispatch.id, claim.dispatch.repository, claim.attempt, type(decision).__name__.lower())
        _log.info("dispatch %s to %s, attempt %d: %s (%s)", *what, outcome.reason)

    def _record(
        self, claim: Claim, decision: Decision, outcome: Outcome, now: datetime, also: Sequence[Dispatch]
    ) -> None:
        """Write it down, however often that takes: what is sent is sent, and the fence keeps us honest."""
        pauses = chain(BACKOFF, repeat(BACKOFF[-1]))
        while not self._recorded(claim, decision, outcome, now, also):
            if self._stopping.wait(next(pauses)):
                raise LedgerError(
                    f"dispatch {claim.dispatch.id}: we stop, and {outcome.reason} is not recorded"
                )

    def _recorded(
        self, claim: Claim, decision: Decision, outcome: Outcome, now: datetime, also: Sequence[Dispatch]
    ) -> bool:
        try:
            self._ledger.record(claim, decision, outcome, now, also)
        except LedgerError as error:
            _log.warning("dispatch %s: %s is not recorded yet: %s", claim.dispatch.id, outcome.reason, error)
            return False
        return True

    def _work(self) -> None:
        """Turn until told to stop, whatever happens."""
        failures = 0
        while not self._stopping.is_set():
            self._turned[threading.get_ident()] = self._monotonic()
            failures = 0 if self._turn() else failures + 1
            if failures:
                self._stopping.wait(BACKOFF[min(failures, len(BACKOFF)) - 1])

    def _turn(self) -> bool:
        """Send one, or wait for one; False when the ledger is away or we have a bug."""
        seen = self._wakes
        try:
            if not self.run_once():
                self._wait(seen)
        except LedgerError as error:
            _log.error("nothing can be sent now: %s", error)
            return False
        except Exception as error:  # noqa: BLE001 - the thread must outlive every bug
            _log_bug("dispatching", error)
            return False
        return True

    def _wait(self, seen: int) -> None:
        """Wait until something is due, or for news since ``seen``."""
        now = self._now()
        closed_until = self._ledger.closed_until(now)
        if closed_until is not None:  # News change nothing, and looking at each costs more than it did.
            self._stopping.wait(max(min(closed_until - now, POLL), SHORTEST_WAIT).total_seconds())
            return
        due = self._ledger.next_due(now)
        longest = self._longest_wait if self._ledger.hears_all else POLL
        wait = longest if due is None else min(due - now, longest)
        with self._changed:
            self._changed.wait_for(
                lambda: self._wakes != seen or self._stopping.is_set(),
                max(wait, SHORTEST_WAIT).total_seconds(),
            )

    def _beat(self) -> None:
        while not self._drained.wait(self._lease.total_seconds() / 3):
            self.beat()

    def beat(self) -> None:
        """Hold for longer what is being sent, which a slow server must not cost us; and heed the clock."""
        now = self._now()
        for claim in self._held.copy().values():
            with _logged(f"dispatch {claim.dispatch.id}: its lease is not renewed"):
                self._renew(claim, now)
        with _logged("nobody looks whether the clock was put back"):
            self._mend(now)

    def _mend(self, now: datetime) -> None:
        if self._ledger.mend(now):
            _log.warning("the clock was put back: what waited for it to come round is due now")
            self.wake()

    def _renew(self, claim: Claim, now: datetime) -> None:
        try:
            renewed = self._ledger.renew(claim, now, self._lease)
        except LostLeaseError:
            return  # Ended meanwhile, or taken over: whoever records it will see which.
        if _key(claim) in self._held:
            self._held[_key(claim)] = renewed
