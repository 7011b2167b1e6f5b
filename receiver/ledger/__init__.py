"""What was delivered, what is to be sent, what came of it: what the ledger confirms is on disk, synced."""

from __future__ import annotations

import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any

from sqlalchemy import Connection, Engine, update
from sqlalchemy.exc import IntegrityError

from receiver.budget import Budget
from receiver.delivery import Baseline, ByHand, Delivery, DeliveryRecord, Receipt, Rejection
from receiver.dispatch import Claim, Dispatch, Outcome, Pause
from receiver.errors import LedgerError, ReceiverError
from receiver.ledger import (
    accepts,
    claims,
    memory,
    notices,
    pauses,
    records,
    redeliveries,
    retention,
    runs,
    schema,
    turns,
)
from receiver.ledger.accepts import DUPLICATE_WINDOW
from receiver.ledger.retention import Rest, no_rest
from receiver.ledger.schema import meta
from receiver.ledger.turns import Gate
from receiver.ledger.writes import (
    GroupCommit,
    NoWrites,
    OwnTransaction,
    Pending,
    Writes,
    create_sqlite_file,
    ledger_errors,
    parse_url,
    postgresql_engine,
    sqlite_engine,
)
from receiver.retry import Decision
from receiver.run import Look, Run, Watch

FAILURE_COUNTS = 30.0  # Seconds; whoever was told 503 is back by then.


class Accepting:
    """A delivery on its way to the disk."""

    def __init__(
        self,
        pending: Pending[Receipt],
        noting_failure: Callable[[], AbstractContextManager[None]],
        tell: Callable[[], None],
    ) -> None:
        self.wait = pending.wait
        self._pending = pending
        self._noting_failure = noting_failure
        self._tell = tell

    def result(self) -> Receipt:
        """Wait, and return the receipt: it is on disk now; or raise LedgerError: nothing of it is."""
        with self._noting_failure():
            receipt = self._pending.result()
        if receipt.dispatches and not receipt.duplicate:
            self._tell()
        return receipt


class Ledger:
    """Deliveries, their dispatches and the attempts at these, in one database; safe to use from any thread.

    Attributes:
        one_process: Whether only one process may have it open to write: SQLite, not PostgreSQL.
    """

    def __init__(
        self, reads: Engine, writes: Writes, *, one_process: bool, budget: Budget | None = None
    ) -> None:
        self.one_process = one_process
        self._reads = reads
        self._writes = writes
        self._gate = Gate(budget)
        self._claiming = threading.Lock()
        self._wakes: list[Callable[[], None]] = []
        self._listener: notices.Listener | None = None
        self._us = uuid.uuid4().hex
        self._failed: tuple[float, LedgerError] | None = None
        self._notify = partial(notices.notify, self._us)
        self._traces: deque[Rejection] = deque(maxlen=accepts.REJECTIONS_KEPT)

    @classmethod
    def open(cls, url: str, *, budget: Budget | None = None) -> Ledger:
        """Open the ledger, made or migrated first where it must be.

        To be called in the process that uses it: neither threads nor connections outlive a fork.

        Args:
            url: Which database.
            budget: How many attempts may begin; those of all receivers that share the database count.

        Raises:
            LedgerError: It cannot be reached.
            LedgerSchemaError: It is newer than we are, or no ledger.
        """
        parsed = parse_url(url)
        if parsed.get_backend_name() != "sqlite":
            with _opening(postgresql_engine(parsed)) as engine:
                schema.migrate(engine)
            return cls(engine, OwnTransaction(engine), one_process=False, budget=budget)
        path = Path(str(parsed.database)).absolute()
        create_sqlite_file(path)
        with _opening(sqlite_engine(path, writes=True)) as engine:
            schema.migrate(engine)
        reads = sqlite_engine(path, writes=False)
        return cls(reads, GroupCommit(engine), one_process=True, budget=budget)

    @classmethod
    def read_only(cls, url: str) -> Ledger:
        """Open a ledger that is there, to look at it: nothing is made, migrated or written."""
        parsed = parse_url(url)
        if parsed.get_backend_name() != "sqlite":
            engine = postgresql_engine(parsed)
        else:
            path = Path(str(parsed.database)).absolute()
            if not path.is_file():
                raise LedgerError(
                    f"{path}: there is no ledger. Name the one of the receiver in HANDOFF_DATABASE_URL."
                )
            engine = sqlite_engine(path, writes=False)
        with _opening(engine), engine.connect() as connection:
            schema.check_version(connection)
        return cls(engine, NoWrites(), one_process=False)

    def close(self) -> None:
        """Finish what was handed in and let go of the database."""
        if self._listener is not None:
            self._listener.close()
        self._writes.close()
        self._reads.dispose()

    def __enter__(self) -> Ledger:  # noqa: PYI034 - Self is not in Python 3.10's typing
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # --- the way in

    def accept(
        self, delivery: Delivery, planned: Sequence[Dispatch], *, window: timedelta = DUPLICATE_WINDOW
    ) -> Receipt:
        """Keep a delivery and what is to be sent for it; once this returns they are on disk.

        Where it repeats the latest of its slot within ``window``, that one's receipt comes back; none does
        with a window of zero.

        Raises:
            LedgerError: Nothing of it was kept.
        """
        return self.hand_in(delivery, planned, window=window).result()

    def hand_in(
        self, delivery: Delivery, planned: Sequence[Dispatch], *, window: timedelta = DUPLICATE_WINDOW
    ) -> Accepting:
        """Begin to accept, and never wait: what is returned tells when it is on disk.

        Raises:
            LedgerError: Nothing of it was kept.
        """
        arrival = accepts.Arrival.of(delivery, planned, window, self._reads.dialect)
        with self._noting_failure():
            return Accepting(self._writes.hand_in(accepts.accept, arrival), self._noting_failure, self._tell)

    def note_rejection(self, rejection: Rejection) -> None:
        """Keep the trace of what was not taken, soon, if it can be: never waits, never raises."""
        self._traces.append(rejection)
        self._writes.submit(self._keep_traces)

    def subscribe(self, wake: Callable[[], None]) -> None:
        """Have ``wake`` called whenever this process has accepted something to send."""
        self._wakes.append(wake)

    def listen(self) -> None:
        """From now on be woken by what other processes accept too, within milliseconds; once is enough."""
        if not self.one_process and self._listener is None:
            self._listener = notices.Listener(self._reads.url, self._us, self._wake)

    @property
    def hears_all(self) -> bool:
        """Whether whoever subscribed is woken by all that is accepted; where not, it has to look often."""
        return self.one_process or (self._listener is not None and self._listener.listening)

    def check_writable(self) -> None:
        """Write and sync, for real; raise LedgerError where that fails, or where accepting just did.

        On a full disk there may be room for us, and none for a delivery: the latest one that came tells.
        """
        failed = self._failed
        if failed is not None and time.monotonic() < failed[0] + FAILURE_COUNTS:
            raise LedgerError(str(failed[1])) from failed[1]
        now = datetime.now(timezone.utc).isoformat()
        checked = update(meta).where(meta.c.name == schema.CHECKED_ROW).values(value=now)
        self._writes.run(lambda connection: connection.execute(checked).rowcount)

    # --- the way out

    def claim(self, now: datetime, lease: timedelta) -> Claim | None:
        """Take what is due first and may go now, with its next attempt written down as begun; or None.

        In a lane the earliest open dispatch goes first; a destination gets one at a time, and none while it
        is paused; what another holds is theirs until its lease ends.  Nothing goes to GitHub while the
        budget is spent or GitHub asked us to wait; the others go on.
        """
        with self._claiming:  # Among ourselves one after another: nobody looks at what a neighbour takes.
            for _ in range(3):  # Other processes look too: who comes second looks again.
                found, claim = self._begin_next(now, lease)
                if claim is not None or not found:
                    return claim
        return None

    def renew(self, claim: Claim, now: datetime, lease: timedelta) -> Claim:
        """Hold the claim for longer, or raise LostLeaseError."""
        self._update_held(claim, {"due_at": now + lease})
        return replace(claim, lease_until=now + lease)

    def mark_possibly_duplicated(self, claim: Claim) -> None:
        """Write down, before it is sent again, that it may arrive twice; or raise LostLeaseError."""
        self._update_held(claim, {"possibly_duplicated": True})

    def keep_message(self, claim: Claim, settled: Dispatch) -> None:
        """Write down, before it is sent, what W&B made of it; or raise LostLeaseError."""
        self._update_held(claim, {"client_payload": dict(settled.client_payload), "telling": settled.telling})

    def record(
        self,
        claim: Claim,
        decision: Decision,
        outcome: Outcome,
        now: datetime,
        also: Sequence[Dispatch] = (),
    ) -> None:
        """End the attempt, and the dispatch unless it waits for another; have the notices ``also`` sent.

        Raises:
            LostLeaseError: The claim was taken over; what happened since stays as it is.
        """
        self._writes.run(partial(claims.record, claim, decision, outcome, now, also=also))
        if also:
            self._tell()

    def release_leases(self) -> int:
        """End every lease, and tell how many there were.

        For a process that has the ledger to itself, at its start: what a dead one held is free at once.
        """
        released = self._writes.run(claims.release_leases)
        self._tell()
        return released

    def mend(self, now: datetime) -> int:
        """After the clock was put back, have nothing wait for what it showed before; tell how much did."""
        return self._writes.run(partial(claims.mend, now))

    def next_due(self, now: datetime) -> datetime | None:
        """Tell when there is something to claim, as far as is known now; None when nothing is open."""
        with self._reading() as connection:
            due = turns.look_again_at(connection, now)
            opens = self._gate.opens_at(connection, now)
            if due is None or opens is None or opens <= due:
                return due
            elsewhere = turns.next_due(connection, now, opens, elsewhere=True)
        return opens if elsewhere is None else elsewhere.due_at

    def closed_until(self, now: datetime) -> datetime | None:
        """Tell until when nothing of what is there may be claimed; None when something may.

        The budget is spent, or GitHub asked us to wait, and nothing goes elsewhere before that is over.
        """
        with self._reading() as connection:
            opens = self._gate.opens_at(connection, now)
            if opens is None or opens <= now:
                return None
            elsewhere = turns.next_due(connection, now, opens, elsewhere=True)
        return opens if elsewhere is None else None

    def open_count(self) -> int:
        """Tell how many dispatches have not ended."""
        with self._reading() as connection:
            return claims.count_open(connection)

    def redeliver(
        self, id_prefix: str, *, now: datetime, force: bool = False, only_tell: bool = False
    ) -> list[ByHand]:
        """Have the dispatches of a delivery, or one dispatch, sent anew with the same key; tell of each.

        Where an earlier attempt may have arrived its run is looked for first.  What waits for a retry is
        due now, and sent once, not twice.

        Args:
            id_prefix: How the id begins.
            now: The time.
            force: Also what was sent, superseded, outdated or unwanted; and without a look.
            only_tell: Change nothing.

        Raises:
            NoSuchDeliveryError: No id, or more than one, begins like that.
            NotRedeliveredError: None can be sent anew, as it stands; nothing was changed.
        """
        work = partial(redeliveries.redeliver, id_prefix, now, force=force, only_tell=only_tell)
        if only_tell:
            with self._reading() as connection:
                return work(connection)
        told = self._writes.run(work)
        self._tell()
        return told

    def dismiss(self, id_prefix: str, *, now: datetime, only_tell: bool = False) -> list[ByHand]:
        """Have what is dead of a delivery, or one dispatch, count as seen to, and what waits not sent at all.

        Args:
            id_prefix: How the id begins.
            now: The time.
            only_tell: Change nothing.

        Raises:
            NoSuchDeliveryError: No id, or more than one, begins like that.
            NotDismissedError: None is dead or waits; nothing was changed.
        """
        work = partial(redeliveries.dismiss, id_prefix, now, only_tell=only_tell)
        if only_tell:
            with self._reading() as connection:
                return work(connection)
        told = self._writes.run(work)
        self._tell()  # What waited behind it may go.
        return told

    # --- the runs that were started, and what their jobs told

    def watches(self, now: datetime, limit: int) -> list[Watch]:
        """Take the dispatches whose run is to be looked for now, the longest due first, for half a minute."""
        return self._writes.run(partial(runs.watches, now, limit))

    def record_look(self, watch: Watch, look: Look, notices: Sequence[Dispatch]) -> bool:
        """Write down what a look came to, and have the notices sent; False where others did meanwhile."""
        written = self._writes.run(partial(runs.record_look, watch, look, notices))
        if written and notices:
            self._tell()
        return written

    def postpone_look(self, watch: Watch, until: datetime | None) -> None:
        """Look again then, or never."""
        self._writes.run(partial(runs.postpone_look, watch, until))

    def next_look(self) -> datetime | None:
        """Tell when the next look is due; None when none is."""
        with self._reading() as connection:
            return runs.next_look(connection)

    def record_run(self, repository: str, run: Run, now: datetime) -> list[tuple[Watch, Look]]:
        """Write down what GitHub tells of a run, for each dispatch whose key it shows; have notices sent.

        Returns:
            What was known before and is now, of each for which that is news; nothing when told again.
        """
        told = self._writes.run(partial(runs.record_run, repository, run, now))
        if told:
            self._tell()
        return told

    def record_report(self, delivery: str | None, key: str | None, report: Mapping[str, Any], /) -> bool:
        """Keep what a job told in the end with the dispatch of that key, of that delivery.

        One of the two is enough: a delivery alone stands for all that was sent for it.

        Returns:
            Whether there is one.
        """
        return self._writes.run(partial(memory.record_report, delivery, key, report))

    def put_mark(self, artifact_id: str, collection: str, name: str, until: datetime, /) -> None:
        """Keep until when an event of this counts as ours, in the place of what was kept of it."""
        self._writes.run(partial(memory.put_mark, artifact_id, collection, name, until))

    def mark_until(self, artifact_id: str, collection: str, name: str, /) -> datetime | None:
        """Tell until when an event of this counts as ours; None where it never did."""
        with self._reading() as connection:
            return memory.mark_until(connection, artifact_id, collection, name)

    # --- what was compared with W&B

    def last_promoted(self, slots: Collection[str], /) -> tuple[str | None, str] | None:
        """Of the latest delivery in any of the slots: the artifact id, where it named one, and its own id."""
        with self._reading() as connection:
            return memory.last_promoted(connection, slots)

    def baseline(self, route: str, collection: str, alias: str, /) -> Baseline | None:
        """Return what carried the alias when the route was last compared; None where it never was."""
        with self._reading() as connection:
            return memory.baseline(connection, route, collection, alias)

    def set_baseline(self, route: str, collection: str, alias: str, baseline: Baseline, /) -> None:
        """Remember it in the place of what was there."""
        self._writes.run(partial(memory.set_baseline, route, collection, alias, baseline))

    def prune(self, ended_before: datetime, *, rest: Rest = no_rest) -> int:
        """Forget the deliveries that ended with all their dispatches before then; tell how many.

        Marks that counted until before then go with them.
        """
        self._writes.run(partial(memory.forget_marks, ended_before))
        return retention.prune(self._writes, ended_before, rest=rest)

    # --- what people look at

    def deliveries(self, limit: int = 50, before: str | None = None) -> list[DeliveryRecord]:
        """Return the newest deliveries, newest first; ``before`` is the id where the last page ended."""
        with self._reading() as connection:
            return records.newest(connection, limit, before)

    def delivery(self, id_prefix: str) -> DeliveryRecord:
        """Return the one delivery whose id begins like that, or raise NoSuchDeliveryError."""
        with self._reading() as connection:
            return records.by_prefix(connection, id_prefix)

    def dead(self, limit: int = 50) -> list[DeliveryRecord]:
        """Return the newest deliveries of which a dispatch is dead, newest first."""
        with self._reading() as connection:
            return records.dead(connection, limit)

    def unfinished(self, limit: int = 50) -> list[DeliveryRecord]:
        """Return the newest deliveries of which a dispatch has not ended, newest first."""
        with self._reading() as connection:
            return records.unfinished(connection, limit)

    def pauses(self) -> list[Pause]:
        """Return what gets nothing for now, or is tried again since its time is over; the longest first."""
        with self._reading() as connection:
            return pauses.listed(connection)

    def rejections(self, limit: int = 50) -> list[Rejection]:
        """Return the newest traces of what was not taken, newest first."""
        with self._reading() as connection:
            return records.newest_rejections(connection, limit)

    # --- behind the counter

    def _begin_next(self, now: datetime, lease: timedelta) -> tuple[bool, Claim | None]:
        """Whether something may go now, and the claim on it, unless another process was faster."""
        try:
            return self._writes.run(partial(claims.begin_next, self._gate, now, lease))
        except LedgerError as error:
            if isinstance(error.__cause__, IntegrityError):
                return True, None  # Another process took one for the same repository at the same moment.
            raise

    def _update_held(self, claim: Claim, values: Mapping[str, Any]) -> None:
        self._writes.run(partial(claims.write_held, claim, values))

    def _keep_traces(self, connection: Connection) -> None:
        accepts.keep_traces(self._traces, connection)

    @contextmanager
    def _noting_failure(self) -> Iterator[None]:
        try:
            yield
        except LedgerError as error:
            if not isinstance(error.__cause__, IntegrityError):  # That is one delivery's, not the database's.
                self._failed = (time.monotonic(), error)
            raise
        self._failed = None

    def _tell(self) -> None:
        """Wake whoever sends here, and in other processes; who waits is never held up by it."""
        self._wake()
        if not self.one_process:
            self._writes.submit(self._notify)

    def _wake(self) -> None:
        for wake in self._wakes:
            wake()

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        with ledger_errors(), self._reads.connect() as connection:
            yield connection


@contextmanager
def _opening(engine: Engine) -> Iterator[Engine]:
    """Let go of the database again when it cannot be used."""
    try:
        with ledger_errors():
            yield engine
    except ReceiverError:
        engine.dispose()
        raise
