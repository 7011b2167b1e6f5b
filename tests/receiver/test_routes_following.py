"""Runs that nobody may read, and two receivers that follow or compare the same: nobody is told twice."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial

import pytest

from receiver.dispatch import DispatchKind
from receiver.ledger import Ledger
from receiver.ledger.claims import FIRST_LOOK
from receiver.missed import Missed
from receiver.reconcile import Caught
from receiver.retry import Sent
from receiver.run import Run, RunsUnreadableError
from receiver.tracker import LONGEST_WAIT, Tracker
from tests.receiver.fakes import LEASE, START, TAKEN, delivery, dispatch
from tests.receiver.ledger.test_routes import TELLING
from tests.receiver.reconciling import World as Reconciling
from tests.receiver.test_tracker import SENT, FakeGitHub, World
from tests.receiver.test_tracker import dispatch as sent_dispatch

KEY = "ab" * 10
FINISHED = {"channels": {"run-finished": ["ml-slack", "ml-teams"]}, "about": TELLING["about"]}


class Forbidden(FakeGitHub):
    """A GitHub whose runs our token may not read, and who names no time to wait."""

    def runs(self, repository: str, event: str, since: datetime) -> Iterable[Run]:
        """Not for us."""
        self.asked.append((repository, event, since))
        raise RunsUnreadableError(f"the runs of {repository} cannot be read: 403")


def test_who_may_not_read_runs_does_not_ask_for_ever() -> None:
    """
    Without the permission GitHub is asked ever less often, and after three days no more.
    """
    world = World(sent_dispatch("ab"))
    world.tracker = Tracker(world.ledger, forbidden := Forbidden(), now=lambda: world.now)

    world.run_until(SENT + timedelta(hours=1))
    within_an_hour = len(forbidden.asked)
    world.run_until(SENT + timedelta(days=4))

    assert 5 <= within_an_hour <= 30
    assert len(forbidden.asked) <= 500
    assert world.ledger.next_look() is None
    assert world.ledger.told == []


def test_a_run_is_looked_for_soon() -> None:
    """
    Nobody tells the tracker of a new dispatch, so it looks no later than that one's first look is due.
    """
    assert LONGEST_WAIT <= FIRST_LOOK


@pytest.fixture
def two(new_postgresql: Callable[[], str]) -> Iterable[tuple[Ledger, Ledger]]:
    """Two receivers' ledgers in one PostgreSQL."""
    url = new_postgresql()
    with ExitStack() as stack:
        yield stack.enter_context(Ledger.open(url)), stack.enter_context(Ledger.open(url))


def test_two_that_follow_a_run_tell_its_end_once(two: tuple[Ledger, Ledger]) -> None:
    """
    Both see that it ended, and GitHub's webhook says so as well: each channel hears of it once.
    """
    planned = dispatch(key=KEY, route="deploy", telling=FINISHED, run_within=timedelta(minutes=2))
    two[0].accept(delivery(), [planned])
    claim = two[0].claim(START, LEASE)
    assert claim is not None
    two[0].record(claim, Sent(), TAKEN.outcome, START)
    run = Run(7, "https://github.example/runs/7", "completed", "success", f"deploy {KEY}")
    github = FakeGitHub()
    github.there["acme/deploy"] = [run]
    now = START + timedelta(seconds=10)
    trackers = [Tracker(ledger, github, now=lambda: now) for ledger in two]

    with ThreadPoolExecutor(3) as pool:
        told = [pool.submit(tracker.turn) for tracker in trackers]
        told.append(pool.submit(lambda: len(two[1].record_run("Acme/Deploy", run, now))))
        for each in told:
            each.result()

    kinds = [each.kind for each in two[0].delivery("d1").dispatches]
    assert kinds.count(DispatchKind.NOTICE) == 2


def test_two_that_compare_catch_up_once(two: tuple[Ledger, Ledger]) -> None:
    """
    Both find the same promotion missed at the same moment: one delivery and one dispatch come of it.
    """
    world = Reconciling()
    stories = [replace(world.story, memory=ledger) for ledger in two]
    for story in stories:
        assert story.look().missed == ()
    world.clock.move(minutes=1)
    world.promote()
    found = [story.look().missed for story in stories]
    assert [len(each) for each in found] == [1, 1]
    catching: list[Callable[[Missed], Caught]] = [story.catch_up for story in stories]

    with ThreadPoolExecutor(8) as pool:
        both = [partial(catch, each[0]) for catch, each in zip(catching, found, strict=True)]
        caught = [each.result() for each in [pool.submit(one) for one in both * 4]]

    receipts = [each.receipt for each in caught]
    assert [receipt.duplicate for receipt in receipts if receipt].count(False) == 1
    (kept,) = two[0].deliveries()
    assert (kept.reconciled, len(kept.dispatches)) == (True, 1)
    assert [story.look().missed for story in stories] == [(), ()]
