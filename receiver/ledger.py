"""What was delivered, what is to be sent, what came of it: what the ledger confirms is on disk, synced."""

from __future__ import annotations

import threading
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, TypeVar

from sqlalchemy import (
    ColumnElement,
    Connection,
    Engine,
    Row,
    bindparam,
    delete,
    exists,
    func,
    insert,
    literal_column,
    select,
    update,
)
from sqlalchemy.exc import IntegrityError

from receiver import schema
from receiver.delivery import (
    AttemptRecord,
    Delivery,
    DeliveryRecord,
    DispatchRecord,
    DispatchState,
    Rejection,
)
from receiver.dispatch import Dispatch, Outcome, OutcomeKind
from receiver.errors import LedgerError, LostLeaseError, ReceiverError
from receiver.retry import Decision, Sent, Wait
from receiver.schema import attempts, deliveries, dispatches, meta, rejections
from receiver.writes import (
    GroupCommit,
    NoWrites,
    OwnTransaction,
    Writes,
    create_sqlite_file,
    ledger_errors,
    parse_url,
    postgresql_engine,
    sqlite_engine,
)

REJECTIONS_KEPT = 1_000
_LONG_AGO = datetime(1970, 1, 1, tzinfo=timezone.utc)

R = TypeVar("R")


class NoSuchDeliveryError(LedgerError):
    """No delivery, or more than one, has an id that begins like that."""

    reason = "no-such-delivery"


@dataclass(frozen=True)
class Claim:
    """The right to send one dispatch, until ``lease_until`` or until somebody holds a higher fence.

    Attributes:
        attempt: The number of the attempt that the ledger has as begun; it counts every try.
        attempts_used: Tries before this one that count.
        unanswered: When the first try began that may have arrived though its answer is not known.
        doubts: How many such tries there were.
    """

    dispatch: Dispatch
    fence: int
    attempt: int
    begun_at: datetime
    attempts_used: int
    unanswered: datetime | None
    doubts: int
    lease_until: datetime


class _Candidate(NamedTuple):
    seq: int
    due_at: datetime


class Ledger:
    """Deliveries, their dispatches and the attempts at these, in one database; safe to use from any thread.

    Attributes:
        one_process: Whether only one process may have it open to write: SQLite, not PostgreSQL.
    """

    def __init__(self, reads: Engine, writes: Writes, *, one_process: bool) -> None:
        self.one_process = one_process
        self._reads = reads
        self._writes = writes
        self._claiming = threading.Lock()
        self._wakes: list[Callable[[], None]] = []
        self._traces: deque[Rejection] = deque(maxlen=REJECTIONS_KEPT)

    @classmethod
    def open(cls, url: str) -> Ledger:
        """Open the ledger, made or migrated first where it must be.

        To be called in the process that uses it: neither threads nor connections outlive a fork.

        Raises:
            LedgerError: It cannot be reached.
            LedgerSchemaError: It is newer than we are, or no ledger.
        """
        parsed = parse_url(url)
        if parsed.get_backend_name() != "sqlite":
            with _opening(postgresql_engine(parsed)) as engine:
                schema.migrate(engine)
            return cls(engine, OwnTransaction(engine), one_process=False)
        path = Path(str(parsed.database)).absolute()
        create_sqlite_file(path)
        with _opening(sqlite_engine(path, writes=True)) as engine:
            schema.migrate(engine)
        return cls(sqlite_engine(path, writes=False), GroupCommit(engine), one_process=True)

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
        self._writes.close()
        self._reads.dispose()

    def __enter__(self) -> Ledger:  # noqa: PYI034 - Self is not in Python 3.10's typing
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # --- the way in

    def accept(self, delivery: Delivery, planned: Sequence[Dispatch]) -> None:
        """Keep a delivery and what is to be sent for it; once this returns they are on disk.

        Raises:
            LedgerError: Nothing of it was kept.
        """
        self._writes.run(partial(_insert, delivery, planned))
        if planned:
            self._wake()

    def note_rejection(self, rejection: Rejection) -> None:
        """Keep the trace of what was not taken, soon, if it can be: never waits, never raises."""
        self._traces.append(rejection)
        self._writes.submit(self._keep_traces)

    def subscribe(self, wake: Callable[[], None]) -> None:
        """Have ``wake`` called whenever this process has accepted something to send."""
        self._wakes.append(wake)

    def check_writable(self) -> None:
        """Write and sync, for real; raise LedgerError where that fails."""
        now = datetime.now(timezone.utc).isoformat()
        checked = update(meta).where(meta.c.name == schema.CHECKED_ROW).values(value=now)
        self._writes.run(lambda connection: connection.execute(checked).rowcount)

    # --- the way out

    def claim(self, now: datetime, lease: timedelta) -> Claim | None:
        """Take what is due first and may go now, with its next attempt written down as begun; or None.

        In a lane the earliest open dispatch goes first; a repository gets one at a time; what
        another holds is theirs until its lease ends.
        """
        with self._claiming:  # Among ourselves one after another: nobody looks at what a neighbour takes.
            for _ in range(3):  # Other processes look too: who comes second looks again.
                candidate = self._next(due_by=now)
                claim = None if candidate is None else self._take(candidate, now, lease)
                if candidate is None or claim is not None:
                    return claim
        return None

    def renew(self, claim: Claim, now: datetime, lease: timedelta) -> Claim:
        """Hold the claim for longer, or raise LostLeaseError."""
        self._update_held(claim, {"due_at": now + lease})
        return replace(claim, lease_until=now + lease)

    def mark_possibly_duplicated(self, claim: Claim) -> None:
        """Write down, before it is sent again, that it may arrive twice; or raise LostLeaseError."""
        self._update_held(claim, {"possibly_duplicated": True})

    def record(self, claim: Claim, decision: Decision, outcome: Outcome, now: datetime) -> None:
        """End the attempt, and the dispatch unless it waits for another.

        Raises:
            LostLeaseError: The claim was taken over; what happened since stays as it is.
        """
        self._writes.run(partial(_record, claim, decision, outcome, now))

    def release_leases(self) -> int:
        """End every lease, and tell how many there were.

        For a process that has the ledger to itself, at its start: what a dead one held is free at once.
        """
        ended = update(dispatches).where(_SENDING).values(due_at=_LONG_AGO)
        released = self._writes.run(lambda connection: connection.execute(ended).rowcount)
        self._wake()
        return released

    def next_due(self) -> datetime | None:
        """Tell when there is something to claim, as far as is known now; None when nothing is open."""
        candidate = self._next()
        return None if candidate is None else candidate.due_at

    def open_count(self) -> int:
        """Tell how many dispatches have not ended."""
        with self._reading() as connection:
            return int(connection.scalar(select(func.count()).select_from(dispatches).where(_OPEN)) or 0)

    # --- what people look at

    def deliveries(self, limit: int = 50, before: str | None = None) -> list[DeliveryRecord]:
        """Return the newest deliveries, newest first; ``before`` is the id where the last page ended."""
        query = select(deliveries).order_by(deliveries.c.seq.desc()).limit(limit)
        if before is not None:
            edge = select(deliveries.c.seq).where(deliveries.c.id == before).scalar_subquery()
            query = query.where(deliveries.c.seq < edge)
        with self._reading() as connection:
            return _delivery_records(connection, connection.execute(query).all())

    def delivery(self, id_prefix: str) -> DeliveryRecord:
        """Return the one delivery whose id begins like that, or raise NoSuchDeliveryError."""
        begins = (deliveries.c.id >= id_prefix) & (deliveries.c.id < id_prefix + "\x7f")
        query = select(deliveries).where(begins).order_by(deliveries.c.id).limit(2)
        with self._reading() as connection:
            found = connection.execute(query).all()
            if not found:
                raise NoSuchDeliveryError(f"no delivery has an id that begins with {id_prefix!r}")
            if len(found) > 1 and found[0].id != id_prefix:
                raise NoSuchDeliveryError(f"more than one delivery has an id that begins with {id_prefix!r}")
            return _delivery_records(connection, found[:1])[0]

    def rejections(self, limit: int = 50) -> list[Rejection]:
        """Return the newest traces of what was not taken, newest first."""
        query = select(rejections).order_by(rejections.c.seq.desc()).limit(limit)
        with self._reading() as connection:
            return [
                Rejection(row.at, row.source, row.address, row.reason, row.status)
                for row in connection.execute(query)
            ]

    # --- behind the counter

    def _next(self, *, due_by: datetime | None = None) -> _Candidate | None:
        with self._reading() as connection:
            if due_by is None:
                first = connection.execute(_NEXT).first()
            else:
                first = connection.execute(_NEXT_DUE, {"due_by": due_by}).first()
            return None if first is None else _Candidate(*first)

    def _take(self, candidate: _Candidate, now: datetime, lease: timedelta) -> Claim | None:
        try:
            return self._writes.run(partial(_begin_attempt, candidate, now, lease))
        except LedgerError as error:
            if isinstance(error.__cause__, IntegrityError):
                return None  # Another process took one for the same repository at the same moment.
            raise

    def _update_held(self, claim: Claim, values: Mapping[str, Any]) -> None:
        self._writes.run(partial(_write_held, claim, values))

    def _keep_traces(self, connection: Connection) -> None:
        rows = [_trace_row(self._traces.popleft()) for _ in range(len(self._traces))]
        if rows:
            connection.execute(insert(rejections), rows)
        newest = select(rejections.c.seq).order_by(rejections.c.seq.desc())
        too_old = newest.offset(REJECTIONS_KEPT).limit(1).scalar_subquery()
        connection.execute(delete(rejections).where(rejections.c.seq <= too_old))

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


_OPEN = dispatches.c.ended_at.is_(None)
# Written out, not bound: only so do both databases see that the index of what is being sent fits.
_SENDING_LITERAL: ColumnElement[str] = literal_column(f"'{DispatchState.SENDING.value}'")
_SENDING = dispatches.c.state == _SENDING_LITERAL


def _claimable() -> tuple[ColumnElement[bool], ...]:
    """Open, the first of its lane, and its repository free."""
    earlier, other = dispatches.alias("earlier"), dispatches.alias("other")
    in_line = exists().where(
        earlier.c.lane == dispatches.c.lane, earlier.c.seq < dispatches.c.seq, earlier.c.ended_at.is_(None)
    )
    busy = exists().where(
        other.c.repository == dispatches.c.repository,
        other.c.state == _SENDING_LITERAL,
        other.c.seq != dispatches.c.seq,
    )
    return _OPEN, ~in_line, ~busy


# What every delivery needs is put together once: that takes longer than running it.
_NEXT = (
    select(dispatches.c.seq, dispatches.c.due_at)
    .where(*_claimable())
    .order_by(dispatches.c.due_at, dispatches.c.seq)
    .limit(1)
)
_NEXT_DUE = _NEXT.where(dispatches.c.due_at <= bindparam("due_by"))
_STILL_DUE = (
    select(dispatches)
    .where(dispatches.c.seq == bindparam("seen_seq"))
    .where(dispatches.c.due_at <= bindparam("due_by"), *_claimable())
    .with_for_update(skip_locked=True, of=dispatches)
)
_HELD = (dispatches.c.id == bindparam("its_id")) & (dispatches.c.fence == bindparam("its_fence")) & _SENDING
_ITS_ATTEMPT = (attempts.c.dispatch_id == bindparam("its_id")) & (
    attempts.c.number == bindparam("its_number")
)
_INSERT_DELIVERY, _INSERT_DISPATCH, _INSERT_ATTEMPT = insert(deliveries), insert(dispatches), insert(attempts)
_UPDATE_TAKEN = update(dispatches).where(dispatches.c.seq == bindparam("seen_seq"))
_UPDATE_HELD = update(dispatches).where(_HELD)
_UPDATE_ATTEMPT = update(attempts).where(_ITS_ATTEMPT)


def _insert(delivery: Delivery, planned: Sequence[Dispatch], connection: Connection) -> None:
    connection.execute(_INSERT_DELIVERY, _delivery_row(delivery))
    if planned:
        connection.execute(_INSERT_DISPATCH, [_dispatch_row(dispatch) for dispatch in planned])


def _delivery_row(delivery: Delivery) -> dict[str, Any]:
    return {
        "id": delivery.id,
        "source": delivery.source,
        "received_at": delivery.received_at,
        "address": delivery.address,
        "encoding": delivery.encoding,
        "body_sha256": delivery.body_sha256,
        "event": delivery.event.event,
        "fields": dict(delivery.event.fields),
        "slot": delivery.slot,
        "fingerprint": delivery.fingerprint,
    }


def _dispatch_row(dispatch: Dispatch) -> dict[str, Any]:
    return {
        "id": dispatch.id,
        "delivery_id": dispatch.delivery_id,
        "repository": dispatch.repository,
        "event_type": dispatch.event_type,
        "client_payload": dict(dispatch.client_payload),
        "key": dispatch.key,
        "lane": dispatch.lane,
        "accepted_at": dispatch.accepted_at,
        "state": DispatchState.PENDING.value,
        "due_at": dispatch.accepted_at,
        "fence": 0,
        "attempts_begun": 0,
        "attempts_used": 0,
        "doubts": 0,
        "possibly_duplicated": False,
    }


def _begin_attempt(
    candidate: _Candidate, now: datetime, lease: timedelta, connection: Connection
) -> Claim | None:
    """Take the candidate if it may still go, and write its attempt down."""
    row = connection.execute(_STILL_DUE, {"seen_seq": candidate.seq, "due_by": now}).first()
    if row is None:
        return None
    taken: dict[str, Any] = {"seen_seq": row.seq, "state": DispatchState.SENDING.value, "due_at": now + lease}
    taken |= {"fence": row.fence + 1, "attempts_begun": row.attempts_begun + 1}
    taken |= {name: getattr(row, name) for name in ("attempts_used", "doubts", "doubt_since")}
    if row.state == DispatchState.SENDING.value:
        taken |= _close_unanswered(row, now, connection)
    connection.execute(_UPDATE_TAKEN, taken)
    begun = {"dispatch_id": row.id, "number": taken["attempts_begun"], "started_at": now}
    connection.execute(_INSERT_ATTEMPT, begun)
    return _claim(row, taken, now)


def _close_unanswered(row: Row[Any], now: datetime, connection: Connection) -> dict[str, Any]:
    """End the attempt of a claimant that died or stalled; nobody knows whether it arrived."""
    which = {"its_id": row.id, "its_number": row.attempts_begun}
    started_at = connection.scalar(select(attempts.c.started_at).where(_ITS_ATTEMPT), which)
    end = {
        "ended_at": now,
        "outcome": OutcomeKind.AMBIGUOUS.value,
        "reason": "no-answer",
        "detail": "the process that was sending it ended, or stalled, before an answer was recorded",
    }
    connection.execute(_UPDATE_ATTEMPT, which | end)
    return {
        "attempts_used": row.attempts_used + 1,
        "doubts": row.doubts + 1,
        "doubt_since": row.doubt_since or started_at,
    }


def _claim(row: Row[Any], taken: Mapping[str, Any], now: datetime) -> Claim:
    return Claim(
        dispatch=Dispatch(
            id=row.id,
            delivery_id=row.delivery_id,
            repository=row.repository,
            event_type=row.event_type,
            client_payload=row.client_payload,
            key=row.key,
            lane=row.lane,
            accepted_at=row.accepted_at,
        ),
        fence=taken["fence"],
        attempt=taken["attempts_begun"],
        begun_at=now,
        attempts_used=taken["attempts_used"],
        unanswered=taken["doubt_since"],
        doubts=taken["doubts"],
        lease_until=taken["due_at"],
    )


def _write_held(claim: Claim, values: Mapping[str, Any], connection: Connection) -> None:
    """Change the dispatch of a claim that still holds: the fence stands in the statement itself."""
    held = {"its_id": claim.dispatch.id, "its_fence": claim.fence}
    if connection.execute(_UPDATE_HELD, {**held, **values}).rowcount != 1:
        raise LostLeaseError(
            f"dispatch {claim.dispatch.id}: its lease ended and it was taken over; our result is dropped"
        )


def _record(
    claim: Claim, decision: Decision, outcome: Outcome, now: datetime, connection: Connection
) -> None:
    _write_held(claim, _after(claim, decision, outcome, now), connection)
    which = {"its_id": claim.dispatch.id, "its_number": claim.attempt}
    end = {
        "ended_at": now,
        "outcome": outcome.kind.value,
        "reason": outcome.reason,
        "detail": outcome.detail,
        "status": outcome.status,
    }
    connection.execute(_UPDATE_ATTEMPT, which | end)


def _after(claim: Claim, decision: Decision, outcome: Outcome, now: datetime) -> dict[str, Any]:
    """Return what becomes of the dispatch's row."""
    values: dict[str, Any] = {
        "attempts_used": claim.attempts_used + decision.counts,
        "reason": outcome.reason,
        "detail": outcome.detail,
    }
    if outcome.kind is OutcomeKind.AMBIGUOUS:
        values |= {"doubts": claim.doubts + 1, "doubt_since": claim.unanswered or claim.begun_at}
    if isinstance(decision, Wait):
        return values | {"state": DispatchState.PENDING.value, "due_at": decision.until}
    values |= {"due_at": None, "ended_at": now}
    if isinstance(decision, Sent):
        return values | {"state": DispatchState.SENT.value, "run_url": outcome.run_url}
    return values | {"state": DispatchState.DEAD.value, "reason": decision.reason, "detail": decision.detail}


def _trace_row(rejection: Rejection) -> dict[str, Any]:
    return {
        "at": rejection.at,
        "source": rejection.source,
        "address": rejection.address,
        "reason": rejection.reason,
        "status": rejection.status,
    }


def _delivery_records(connection: Connection, rows: Sequence[Row[Any]]) -> list[DeliveryRecord]:
    """Put each delivery's dispatches and their attempts with it: three queries, however many rows."""
    if not rows:
        return []
    seqs = [row.seq for row in rows]  # Neighbours: what belongs to them is found between the outermost.
    here = deliveries.c.seq.between(min(seqs), max(seqs))
    sent = dispatches.join(deliveries)
    of_these = select(dispatches).select_from(sent).where(here).order_by(dispatches.c.seq)
    of_those = select(attempts).select_from(sent.join(attempts)).where(here).order_by(attempts.c.number)
    attempts_of = _grouped(connection.execute(of_those).all(), "dispatch_id", _attempt_record)
    dispatches_of = _grouped(
        connection.execute(of_these).all(),
        "delivery_id",
        lambda row: _dispatch_record(row, attempts_of.get(row.id, ())),
    )
    return [_delivery_record(row, dispatches_of.get(row.id, ())) for row in rows]


def _grouped(rows: Iterable[Row[Any]], by: str, read: Callable[[Row[Any]], R]) -> dict[str, tuple[R, ...]]:
    groups: dict[str, list[R]] = defaultdict(list)
    for row in rows:
        groups[getattr(row, by)].append(read(row))
    return {name: tuple(group) for name, group in groups.items()}


def _attempt_record(row: Row[Any]) -> AttemptRecord:
    return AttemptRecord(
        row.number, row.started_at, row.ended_at, row.outcome, row.reason, row.detail, row.status
    )


def _dispatch_record(row: Row[Any], tried: Sequence[AttemptRecord]) -> DispatchRecord:
    state = DispatchState(row.state)
    return DispatchRecord(
        id=row.id,
        repository=row.repository,
        event_type=row.event_type,
        key=row.key,
        client_payload=row.client_payload,
        state=state,
        next_attempt_at=row.due_at if state is DispatchState.PENDING else None,
        attempts_used=row.attempts_used,
        possibly_duplicated=row.possibly_duplicated,
        reason=row.reason,
        detail=row.detail,
        run_url=row.run_url,
        attempts=tried,
    )


def _delivery_record(row: Row[Any], planned: Sequence[DispatchRecord]) -> DeliveryRecord:
    return DeliveryRecord(
        id=row.id,
        source=row.source,
        received_at=row.received_at,
        address=row.address,
        encoding=row.encoding,
        body_sha256=row.body_sha256,
        event=row.event,
        fields=row.fields,
        dispatches=planned,
    )
