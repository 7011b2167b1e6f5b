"""The story of one dispatch, and the threads that tell it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone

import pytest

from receiver.budget import Budget
from receiver.delivery import DispatchRecord, DispatchState
from receiver.dispatch import Dispatch, Outcome, RunSearch
from receiver.dispatcher import STALLED_AFTER, Dispatcher
from receiver.errors import LedgerError
from receiver.ledger import Ledger
from receiver.retry import AMBIGUOUS_SCHEDULE
from tests.receiver.fakes import (
    BUSY,
    GONE,
    LEASE,
    RESET,
    START,
    TAKEN_SILENTLY,
    UNREACHABLE,
    Clock,
    FakeDestination,
    delivery,
    dispatch,
)

LEAK = "ghs_secret"  # What some exception's message might hold.
PATIENCE = 10  # Seconds until a test gives up; none waits that long.


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def destination() -> FakeDestination:
    return FakeDestination()


@pytest.fixture
def dispatcher(ledger: Ledger, destination: FakeDestination, clock: Clock) -> Dispatcher:
    """A dispatcher whose turns the test takes itself."""
    return Dispatcher(ledger, destination, now=clock, jitter=lambda: 0.5, lease=LEASE)


def accept(ledger: Ledger, *ids: str, **changes: str) -> None:
    for name in ids:
        ledger.accept(delivery(name), [dispatch(name, **changes)])  # type: ignore[arg-type]


def shown(ledger: Ledger, delivery_id: str = "d1") -> DispatchRecord:
    (record,) = ledger.delivery(delivery_id).dispatches
    return record


# --- the story


def test_what_is_due_is_sent_and_recorded(
    ledger: Ledger, dispatcher: Dispatcher, destination: FakeDestination
) -> None:
    """
    Claimed, sent as planned, recorded; then nothing is left to do.
    """
    accept(ledger, "d1")

    assert [dispatcher.run_once(), dispatcher.run_once()] == [True, False]
    assert destination.arrived == [dispatch("d1")]
    assert destination.looks == []
    record = shown(ledger)
    assert (record.state, record.reason, record.possibly_duplicated) == (DispatchState.SENT, "sent", False)


def test_what_surely_did_not_arrive_is_sent_again_without_a_look(
    ledger: Ledger, dispatcher: Dispatcher, destination: FakeDestination, clock: Clock
) -> None:
    """
    A refused connection is retried by the schedule, as the same dispatch, with no mark.
    """
    accept(ledger, "d1")
    destination.answers.extend([UNREACHABLE, UNREACHABLE])

    turns = [dispatcher.run_once(), dispatcher.run_once()]
    clock.move(seconds=5)
    turns += [dispatcher.run_once(), dispatcher.run_once()]
    clock.move(seconds=30)
    turns += [dispatcher.run_once()]

    assert turns == [True, False, True, False, True]
    assert destination.arrived_ids == ["d1-1"]
    assert destination.looks == []
    assert not shown(ledger).possibly_duplicated
    assert shown(ledger).attempts_used == 3


def test_what_arrived_without_an_answer_is_found_and_not_sent_again(
    ledger: Ledger, dispatcher: Dispatcher, destination: FakeDestination, clock: Clock
) -> None:
    """
    GitHub took it and then failed: its run is found, it is recorded as sent with the run's address.
    """
    accept(ledger, "d1")
    destination.answers.append(TAKEN_SILENTLY)

    dispatcher.run_once()
    clock.move(seconds=30)
    dispatcher.run_once()

    assert destination.arrived_ids == ["d1-1"]
    assert destination.looks == [("key-d1-1", START)]
    record = shown(ledger)
    assert (record.state, record.reason) == (DispatchState.SENT, "already-sent")
    assert record.run_url == "https://github.example/acme/deploy/runs/1"
    assert (record.possibly_duplicated, record.attempts_used) == (False, 1)


def test_what_no_run_shows_is_sent_again_and_marked(
    ledger: Ledger, dispatcher: Dispatcher, destination: FakeDestination, clock: Clock
) -> None:
    """
    Looked for, not found: sent again, and never again passed off as certainly single (D1).
    """
    accept(ledger, "d1")
    destination.answers.append(RESET)

    dispatcher.run_once()
    clock.move(seconds=30)
    dispatcher.run_once()

    assert destination.looks == [("key-d1-1", START)]
    assert destination.arrived_ids == ["d1-1"]
    assert shown(ledger).state is DispatchState.SENT
    assert shown(ledger).possibly_duplicated


def test_where_runs_may_not_be_read_it_is_sent_again_and_marked(
    ledger: Ledger, dispatcher: Dispatcher, destination: FakeDestination, clock: Clock
) -> None:
    """
    Twice is better than never, where it cannot be told; the mark says so.
    """
    destination.may_read = False
    accept(ledger, "d1")
    destination.answers.append(TAKEN_SILENTLY)

    dispatcher.run_once()
    clock.move(seconds=30)
    dispatcher.run_once()

    assert destination.arrived_ids == ["d1-1", "d1-1"]
    assert shown(ledger).possibly_duplicated


def test_the_mark_is_there_before_it_is_sent_again(ledger: Ledger, clock: Clock) -> None:
    """
    If we die while sending the second time, the ledger already says that it may be double.
    """
    marks: list[bool] = []

    class Watching(FakeDestination):
        def send(self, dispatch: Dispatch) -> Outcome:
            marks.append(shown(ledger).possibly_duplicated)
            return super().send(dispatch)

    watching = Watching()
    watching.answers.append(RESET)
    dispatcher = Dispatcher(ledger, watching, now=clock, jitter=lambda: 0.5)
    accept(ledger, "d1")
    dispatcher.run_once()
    clock.move(seconds=30)
    dispatcher.run_once()

    assert marks == [False, True]


def test_what_another_left_unanswered_is_looked_for_first(
    ledger: Ledger, dispatcher: Dispatcher, destination: FakeDestination, clock: Clock
) -> None:
    """
    A claim whose holder died after GitHub took it costs no second run.
    """
    accept(ledger, "d1")
    claim = ledger.claim(clock(), LEASE)
    assert claim is not None
    destination.send(claim.dispatch)

    clock.move(seconds=60)
    dispatcher.run_once()

    assert destination.arrived_ids == ["d1-1"]
    assert (shown(ledger).state, shown(ledger).reason) == (DispatchState.SENT, "already-sent")


def test_what_may_have_arrived_too_often_is_dead(
    ledger: Ledger, dispatcher: Dispatcher, destination: FakeDestination, clock: Clock
) -> None:
    """
    After four resends without an answer a person decides.
    """
    accept(ledger, "d1")
    destination.answers.extend([RESET] * 10)
    for wait in (*AMBIGUOUS_SCHEDULE, timedelta(hours=10)):
        assert dispatcher.run_once()
        clock.time += wait

    assert not dispatcher.run_once()
    assert len(destination.answers) == 10 - 5
    assert (shown(ledger).state, shown(ledger).reason) == (DispatchState.DEAD, "gave-up")


def test_what_kills_whoever_sends_it_is_dead_in_the_end(
    ledger: Ledger, dispatcher: Dispatcher, destination: FakeDestination, clock: Clock
) -> None:
    """
    A dispatch whose claimants all die is not tried for ever; the next in its lane goes (D9).
    """
    accept(ledger, "d1", "d2")
    for _ in range(3):
        claim = ledger.claim(clock(), LEASE)
        assert claim is not None
        assert claim.dispatch.id == "d1-1"
        clock.move(seconds=60)

    assert dispatcher.run_once()

    assert destination.arrived_ids == ["d2-1"]
    record = shown(ledger)
    assert (record.state, record.reason) == (DispatchState.DEAD, "crashed")
    assert "3 processes in a row ended, or stalled" in (record.detail or "")
    assert [attempt.reason for attempt in record.attempts] == ["no-answer"] * 3


def test_what_is_refused_is_dead_and_the_next_goes(
    ledger: Ledger, dispatcher: Dispatcher, destination: FakeDestination
) -> None:
    """
    It says why, and its lane moves on.
    """
    accept(ledger, "d1", "d2")
    destination.answers.append(GONE)

    dispatcher.run_once()
    dispatcher.run_once()

    assert (shown(ledger).state, shown(ledger).reason) == (DispatchState.DEAD, "github-404")
    assert destination.arrived_ids == ["d2-1"]


def test_a_throttle_waits_as_asked(
    ledger: Ledger, dispatcher: Dispatcher, destination: FakeDestination, clock: Clock
) -> None:
    """
    Not a second earlier than the server said, and no attempt is used up.
    """
    accept(ledger, "d1")
    destination.answers.append(BUSY)
    dispatcher.run_once()

    clock.move(seconds=89)
    assert not dispatcher.run_once()
    clock.move(seconds=1)
    assert dispatcher.run_once()
    assert shown(ledger).attempts_used == 1


def test_a_bug_while_sending_is_ambiguous_and_tells_no_secret(
    ledger: Ledger,
    dispatcher: Dispatcher,
    destination: FakeDestination,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """
    Its type is recorded and its place logged, its message is neither: nobody knows what it holds.
    """
    accept(ledger, "d1")
    destination.answers.append(KeyError(LEAK))

    assert dispatcher.run_once()

    record = shown(ledger)
    assert (record.state, record.reason) == (DispatchState.PENDING, "internal-error")
    assert record.attempts[0].outcome == "ambiguous"
    assert "KeyError" in (record.detail or "")
    assert "KeyError" in caplog.text
    assert LEAK not in caplog.text + str(record)


def test_a_bug_while_looking_is_a_look_that_could_not_be_taken(
    ledger: Ledger, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    """
    It is sent again and marked, as where runs may not be read.
    """

    class Blind(FakeDestination):
        def find_run(self, dispatch: Dispatch, since: datetime) -> RunSearch:  # noqa: ARG002 - it never looks
            raise ValueError(LEAK)

    blind = Blind()
    blind.answers.append(RESET)
    dispatcher = Dispatcher(ledger, blind, now=clock, jitter=lambda: 0.5)
    accept(ledger, "d1")
    dispatcher.run_once()
    clock.move(seconds=30)
    dispatcher.run_once()

    assert blind.arrived_ids == ["d1-1"]
    assert shown(ledger).possibly_duplicated
    assert LEAK not in caplog.text


def test_whoever_lost_the_lease_while_sending_records_nothing(
    ledger: Ledger, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    """
    A send that took too long, and was taken over meanwhile, ends with a warning and no record.
    """

    class Slow(FakeDestination):
        def send(self, dispatch: Dispatch) -> Outcome:
            clock.move(seconds=61)
            assert ledger.claim(clock(), LEASE) is not None
            return super().send(dispatch)

    dispatcher = Dispatcher(ledger, Slow(), now=clock, jitter=lambda: 0.5)
    accept(ledger, "d1")

    assert dispatcher.run_once()
    assert shown(ledger).state is DispatchState.SENDING
    assert "its lease ended and it was taken over" in caplog.text


def test_whoever_lost_the_lease_before_a_resend_sends_nothing(ledger: Ledger, clock: Clock) -> None:
    """
    Between the look and the second sending the fence is asked once more.
    """

    class SlowToFind(FakeDestination):
        def find_run(self, dispatch: Dispatch, since: datetime) -> RunSearch:
            clock.move(seconds=61)
            assert ledger.claim(clock(), LEASE) is not None
            return super().find_run(dispatch, since)

    slow = SlowToFind()
    slow.answers.append(RESET)
    dispatcher = Dispatcher(ledger, slow, now=clock, jitter=lambda: 0.5)
    accept(ledger, "d1")
    dispatcher.run_once()
    clock.move(seconds=30)
    dispatcher.run_once()

    assert slow.arrived == []


# --- the threads


class Gate(FakeDestination):
    """A destination that holds each send until it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.entered = threading.Semaphore(0)
        self.go = threading.Semaphore(0)

    def send(self, dispatch: Dispatch) -> Outcome:
        """Say that it came, wait, take it."""
        self.entered.release()
        assert self.go.acquire(timeout=PATIENCE)
        return super().send(dispatch)


@pytest.fixture
def started(ledger: Ledger) -> Iterator[Callable[..., Dispatcher]]:
    """Starts dispatchers on the real clock, and stops them; none looks for work now and then."""
    running: list[Dispatcher] = []

    def start(destination: FakeDestination, **options: object) -> Dispatcher:
        running.append(Dispatcher(ledger, destination, **options))  # type: ignore[arg-type]
        running[-1]._longest_wait = timedelta(hours=1)  # Whatever happens, happens because of a wake.
        running[-1].start()
        return running[-1]

    yield start
    for dispatcher in running:
        assert dispatcher.stop(PATIENCE)


def until(condition: Callable[[], bool]) -> None:
    """Wait for what another thread does."""
    for _ in range(PATIENCE * 1000):
        if condition():
            return
        threading.Event().wait(0.001)
    pytest.fail("it did not happen")


def until_idle(dispatcher: Dispatcher) -> None:
    """Wait until every thread of four waits."""
    until(lambda: len(dispatcher._changed._waiters) == 4)  # type: ignore[attr-defined]


def recently() -> datetime:
    return datetime.now(timezone.utc) - timedelta(seconds=1)


def test_what_is_accepted_is_sent_at_once(ledger: Ledger, started: Callable[..., Dispatcher]) -> None:
    """
    An idle dispatcher is woken; it does not find out by looking now and then.
    """
    gate = Gate()
    until_idle(started(gate))
    ledger.accept(delivery("d1", at=recently()), [dispatch("d1", at=recently())])

    assert gate.entered.acquire(timeout=PATIENCE)
    gate.go.release()
    until(lambda: shown(ledger).state is DispatchState.SENT)


def test_what_is_accepted_together_is_sent_together(
    ledger: Ledger, started: Callable[..., Dispatcher]
) -> None:
    """
    One wake starts one thread, and that wakes the next while there is more.
    """
    gate = Gate()
    until_idle(started(gate))
    ledger.accept(
        delivery("d1"), [dispatch("d1"), *(dispatch("d1", number=n, repository=f"acme/r{n}") for n in (2, 3))]
    )

    for _ in range(3):
        assert gate.entered.acquire(timeout=PATIENCE)
    for _ in range(3):
        gate.go.release()


def test_a_slow_repository_delays_no_other(ledger: Ledger, started: Callable[..., Dispatcher]) -> None:
    """
    Four are sent at the same time, to four repositories (D16).
    """
    gate = Gate()
    started(gate, threads=4)
    for number in range(4):
        ledger.accept(delivery(f"d{number}"), [dispatch(f"d{number}", repository=f"acme/r{number}")])

    for _ in range(4):
        assert gate.entered.acquire(timeout=PATIENCE)
    for _ in range(4):
        gate.go.release()


def test_what_waits_in_line_goes_when_the_first_has_ended(
    ledger: Ledger, started: Callable[..., Dispatcher]
) -> None:
    """
    A whole lane is worked off in order, without waiting for the clock.
    """
    destination = FakeDestination()
    started(destination)
    accept(ledger, *[f"d{number}" for number in range(10)])

    until(lambda: ledger.open_count() == 0)
    assert destination.arrived_ids == [f"d{number}-1" for number in range(10)]


def test_a_retry_that_is_due_is_taken_up(ledger: Ledger, started: Callable[..., Dispatcher]) -> None:
    """
    The wait ends by itself: nobody needs to wake us for a retry.
    """
    destination = FakeDestination()
    soon = datetime.now(timezone.utc) + timedelta(milliseconds=200)
    ledger.accept(delivery("d1"), [dispatch("d1", at=soon)])
    started(destination)

    until(lambda: ledger.open_count() == 0)
    assert datetime.now(timezone.utc) >= soon


def test_stopping_finishes_what_is_being_sent_and_claims_no_more(ledger: Ledger) -> None:
    """
    SIGTERM: the one under way is recorded, the next stays pending for the next start (E1).
    """
    gate = Gate()
    dispatcher = Dispatcher(ledger, gate, threads=1)
    dispatcher.start()
    accept(ledger, "d1", "d2")
    assert gate.entered.acquire(timeout=PATIENCE)

    assert not dispatcher.stop(0.01)
    gate.go.release()
    assert dispatcher.stop(PATIENCE)

    assert [shown(ledger, name).state for name in ("d1", "d2")] == [DispatchState.SENT, DispatchState.PENDING]
    assert not dispatcher.alive


def test_stopping_what_was_never_started_is_no_error(dispatcher: Dispatcher) -> None:
    """
    A start that failed half-way can be cleaned up.
    """
    assert dispatcher.stop(0)
    assert not dispatcher.alive


def test_alive_means_that_every_thread_turns(ledger: Ledger, started: Callable[..., Dispatcher]) -> None:
    """
    Alive while it waits and works; not when a thread has not turned for minutes.
    """
    time = [1000.0]
    gate = Gate()
    dispatcher = started(gate, threads=2, monotonic=lambda: time[0])
    until(lambda: dispatcher.alive)
    accept(ledger, "d1")
    assert gate.entered.acquire(timeout=PATIENCE)

    time[0] += STALLED_AFTER
    dispatcher.wake()
    assert not dispatcher.alive

    gate.go.release()

    def turned() -> bool:
        dispatcher.wake()
        return dispatcher.alive

    until(turned)


class Flaky:
    """A ledger that is away for as many calls as it is told."""

    def __init__(self, ledger: Ledger, **failures: int) -> None:
        self.one_process = ledger.one_process
        self._ledger = ledger
        self._failures = failures

    def __getattr__(self, name: str) -> object:
        if self._failures.get(name, 0):
            self._failures[name] -= 1
            raise LedgerError("the disk is full")
        return getattr(self._ledger, name)


@pytest.mark.parametrize("call", ["claim", "next_due", "record"])
def test_a_ledger_that_was_away_is_taken_up_again(ledger: Ledger, call: str) -> None:
    """
    No thread dies of it, and what was sent meanwhile is recorded in the end, not sent again.
    """
    destination = FakeDestination()
    dispatcher = Dispatcher(Flaky(ledger, **{call: 2}), destination, threads=1)  # type: ignore[arg-type]
    accept(ledger, "d1")
    dispatcher.start()

    until(lambda: ledger.open_count() == 0)
    assert dispatcher.alive
    assert destination.arrived_ids == ["d1-1"]
    assert dispatcher.stop(PATIENCE)


def test_stopping_does_not_wait_for_a_ledger_that_stays_away(ledger: Ledger) -> None:
    """
    What was sent and could not be recorded is left as it is: unanswered, to be looked for.
    """
    destination = FakeDestination()
    dispatcher = Dispatcher(Flaky(ledger, record=10**6), destination, threads=1)  # type: ignore[arg-type]
    accept(ledger, "d1")
    dispatcher.start()
    until(lambda: bool(destination.arrived))

    assert dispatcher.stop(PATIENCE)
    assert shown(ledger).state is DispatchState.SENDING


def test_a_bug_kills_no_thread(ledger: Ledger, caplog: pytest.LogCaptureFixture) -> None:
    """
    What nobody thought of is logged by type and place, and the next turn is taken.
    """

    class Buggy(Flaky):
        def __getattr__(self, name: str) -> object:
            try:
                return super().__getattr__(name)
            except LedgerError:
                raise ZeroDivisionError(LEAK) from None

    destination = FakeDestination()
    dispatcher = Dispatcher(Buggy(ledger, claim=1), destination, threads=1)  # type: ignore[arg-type]
    accept(ledger, "d1")
    dispatcher.start()

    until(lambda: ledger.open_count() == 0)
    assert dispatcher.stop(PATIENCE)
    assert "ZeroDivisionError" in caplog.text
    assert LEAK not in caplog.text


def test_a_lease_is_renewed_while_it_is_being_sent(ledger: Ledger, clock: Clock) -> None:
    """
    A send that outlasts its lease keeps it, as long as we live (D2).
    """
    gate = Gate()
    dispatcher = Dispatcher(ledger, gate, now=clock, threads=1)
    accept(ledger, "d1")
    dispatcher.start()
    assert gate.entered.acquire(timeout=PATIENCE)

    clock.move(seconds=50)
    dispatcher.beat()
    clock.move(seconds=50)
    assert ledger.claim(clock(), LEASE) is None

    gate.go.release()
    until(lambda: ledger.open_count() == 0)
    assert dispatcher.stop(PATIENCE)


def test_the_heart_beats_by_itself(ledger: Ledger, started: Callable[..., Dispatcher]) -> None:
    """
    Three times a lease, without being asked.
    """
    gate = Gate()
    accept(ledger, "d1")
    started(gate, threads=1, lease=timedelta(milliseconds=600))
    assert gate.entered.acquire(timeout=PATIENCE)
    first = ledger.next_due(START)
    assert first is not None

    until(lambda: (ledger.next_due(START) or first) > first)
    gate.go.release()


def test_a_renewal_that_fails_is_only_logged(
    ledger: Ledger, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    """
    Neither a ledger that is away nor a lease that is lost stops the heart.
    """
    caplog.set_level(logging.WARNING)
    accept(ledger, "d1")
    held = ledger.claim(clock(), LEASE)
    assert held is not None
    dispatcher = Dispatcher(Flaky(ledger, renew=1), FakeDestination(), now=clock)  # type: ignore[arg-type]
    dispatcher._held["d1-1", held.fence] = held

    dispatcher.beat()
    assert "its lease is not renewed: the disk is full" in caplog.text
    clock.move(seconds=61)
    ledger.claim(clock(), LEASE)
    dispatcher.beat()

    assert shown(ledger).state is DispatchState.SENDING


def test_while_nothing_may_go_news_are_not_looked_at(database_url: str, clock: Clock) -> None:
    """
    The budget is spent: what is accepted meanwhile makes nobody ask the ledger what is due.
    """
    with Ledger.open(database_url, budget=Budget.parse("1/h")) as ledger:
        asked_in_vain = Flaky(ledger, next_due=1)
        dispatcher = Dispatcher(asked_in_vain, FakeDestination(), now=clock)  # type: ignore[arg-type]
        accept(ledger, "d1", "d2")
        assert [dispatcher.run_once(), dispatcher.run_once()] == [True, False]
        dispatcher.stop(PATIENCE)  # So that no wait is long.

        dispatcher._wait(seen=0)

        clock.move(seconds=3600)
        with pytest.raises(LedgerError):
            dispatcher._wait(seen=0)


@pytest.fixture
def sending(ledger: Ledger, clock: Clock) -> Iterator[tuple[Dispatcher, Gate]]:
    """A dispatcher of which one thread is just sending d1; its other turns the test takes itself."""
    gate = Gate()
    dispatcher = Dispatcher(ledger, gate, now=clock, jitter=lambda: 0.5, threads=1, lease=LEASE)
    accept(ledger, "d1", "d2")
    dispatcher.start()
    assert gate.entered.acquire(timeout=PATIENCE)
    yield dispatcher, gate
    gate.go.release()
    gate.go.release()
    assert dispatcher.stop(PATIENCE)


@pytest.mark.parametrize("hours", [1, -1])
def test_a_clock_that_jumps_takes_nothing_from_ourselves(
    ledger: Ledger, clock: Clock, sending: tuple[Dispatcher, Gate], hours: int
) -> None:
    """
    What is being sent here is alive though its lease seems over: it goes once, unmarked, and none is lost.
    """
    dispatcher, gate = sending
    clock.move(hours=hours)

    assert not dispatcher.run_once()

    gate.go.release()
    until(lambda: shown(ledger).state is DispatchState.SENT)
    dispatcher.beat()  # Finds that d2 was accepted in what is the future now.
    gate.go.release()
    until(lambda: ledger.open_count() == 0)
    assert gate.arrived_ids == ["d1-1", "d2-1"]
    assert gate.looks == []
    assert len(shown(ledger).attempts) == 1


def test_nothing_is_claimed_while_what_is_held_cannot_be_renewed(ledger: Ledger, clock: Clock) -> None:
    """
    Else we might take it over from ourselves.
    """
    accept(ledger, "d1")
    held = ledger.claim(clock(), LEASE)
    assert held is not None
    destination = FakeDestination()
    dispatcher = Dispatcher(Flaky(ledger, renew=1), destination, now=clock)  # type: ignore[arg-type]
    dispatcher._held["d1-1", held.fence] = held
    clock.move(hours=1)

    with pytest.raises(LedgerError, match="the disk is full"):
        dispatcher.run_once()

    assert not dispatcher.run_once()
    assert destination.arrived == []


def test_what_was_accepted_before_the_clock_was_put_back_is_due(
    ledger: Ledger,
    dispatcher: Dispatcher,
    destination: FakeDestination,
    clock: Clock,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """
    It does not wait an hour until that time comes round again; what waits for its retry does.
    """
    destination.answers.append(UNREACHABLE)
    accept(ledger, "d1")
    dispatcher.run_once()
    accept(ledger, "d2", repository="acme/other")
    clock.move(hours=-1)

    assert not dispatcher.run_once()
    dispatcher.beat()
    assert [dispatcher.run_once(), dispatcher.run_once()] == [True, False]
    assert destination.arrived_ids == ["d2-1"]
    assert "the clock was put back" in caplog.text
    caplog.clear()
    dispatcher.beat()
    assert caplog.text == ""


def test_a_redelivery_has_three_days_of_its_own(
    ledger: Ledger, dispatcher: Dispatcher, destination: FakeDestination, clock: Clock
) -> None:
    """
    However old it is: when it fails now, it is tried again.
    """
    destination.answers.extend([GONE, UNREACHABLE])
    accept(ledger, "d1")
    dispatcher.run_once()
    ledger.redeliver("d1", now=clock.move(days=30))
    dispatcher.run_once()

    assert shown(ledger).state is DispatchState.PENDING
