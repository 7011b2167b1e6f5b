"""What was sent is followed to its run, and the channels hear how that ended, once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta, timezone

from receiver.dispatch import Dispatch
from receiver.notice import Notice, What
from receiver.run import COMPLETED, NOT_SEEN, Look, Run, RunsUnreadableError, Watch
from receiver.telling import Telling
from receiver.tracker import Tracker

SENT = datetime(2026, 11, 20, 12, tzinfo=timezone.utc)
TELLING = Telling(
    {"run-finished": ("ml-slack",), "no-run": ("ml-slack", "ml-teams")},
    {"route": "deploy", "destination": "acme/serving", "delivery": "D", "artifact": "acme/reg/flower"},
)


def dispatch(key: str, repository: str = "acme/serving") -> Dispatch:
    """One that was sent."""
    return Dispatch(
        id=f"d-{key[:2]}",
        delivery_id="D",
        repository=repository,
        event_type="BUILD",
        client_payload={},
        key=key * 10,
        lane="l",
        accepted_at=SENT,
        route="deploy",
        telling=TELLING.to_json(),
        run_within=timedelta(minutes=2),
    )


class FakeGitHub:
    """Runs by repository; how often it was asked."""

    def __init__(self) -> None:
        self.there: dict[str, list[Run]] = {}
        self.asked: list[tuple[str, str, datetime]] = []
        self.down: timedelta | None = None

    def runs(self, repository: str, event: str, since: datetime) -> Iterable[Run]:
        """As GitHub would."""
        self.asked.append((repository, event, since))
        if self.down is not None:
            raise RunsUnreadableError("GitHub asks to wait", self.down)
        return self.there.get(repository, [])


class FakeWatches:
    """A ledger that keeps what is due when, and that a look replaces only what it looked at."""

    def __init__(self, *dispatches: Dispatch) -> None:
        self.kept = {each.id: Watch(each, SENT, None, None, 0) for each in dispatches}
        self.due: dict[str, datetime | None] = {each.id: SENT for each in dispatches}
        self.told: list[Dispatch] = []

    def watches(self, now: datetime, limit: int) -> Sequence[Watch]:
        """What is due."""
        due = [each for each, at in self.due.items() if at is not None and at <= now]
        return [self.kept[each] for each in due[:limit]]

    def record_look(self, watch: Watch, look: Look, notices: Sequence[Dispatch]) -> bool:
        """Keep it, unless another look came between."""
        if self.kept[watch.dispatch.id] != watch:
            return False
        self.kept[watch.dispatch.id] = replace(watch, run=look.run, status=look.status, looks=look.looks)
        self.due[watch.dispatch.id] = look.next_at
        self.told += notices
        return True

    def postpone_look(self, watch: Watch, until: datetime | None) -> None:
        """Later."""
        self.due[watch.dispatch.id] = until

    def next_look(self) -> datetime | None:
        """The earliest."""
        return min((at for at in self.due.values() if at is not None), default=None)


class World:
    """A tracker whose clock is moved by hand."""

    def __init__(self, *dispatches: Dispatch) -> None:
        self.now = SENT
        self.github = FakeGitHub()
        self.ledger = FakeWatches(*dispatches)
        self.woken = 0
        self.tracker = Tracker(self.ledger, self.github, now=lambda: self.now, wake=self.wake)

    def wake(self) -> None:
        """Notices are there."""
        self.woken += 1

    def run_until(self, end: datetime) -> None:
        """Take each look when it is due."""
        while (due := self.ledger.next_look()) is not None and due <= end:
            self.now = max(self.now, due)
            assert self.tracker.turn()


def run(key: str, status: str = "queued", conclusion: str | None = None) -> Run:
    """A run that shows the key."""
    return Run(
        int(key, 16), f"https://github.com/acme/serving/actions/runs/{key}", status, conclusion, key * 10
    )


def test_a_run_is_followed_and_its_end_told_once() -> None:
    """
    The channel gets the link and the conclusion; then nobody asks GitHub any more.
    """
    world = World(dispatch("a1"))
    world.github.there = {"acme/serving": [run("a1")]}
    world.run_until(SENT + timedelta(seconds=30))
    assert not world.ledger.told

    world.github.there = {"acme/serving": [run("a1", "completed", "failure")]}
    world.run_until(SENT + timedelta(days=1))

    (told,) = world.ledger.told
    notice = Notice.from_message(told.client_payload)
    assert (told.repository, notice.what, notice.conclusion) == (
        "notice:ml-slack",
        What.RUN_FINISHED,
        "failure",
    )
    assert notice.run_url == run("a1").url
    assert world.ledger.kept["d-a1"].status == COMPLETED
    assert world.ledger.next_look() is None
    assert world.woken == 1


def test_all_runs_of_a_repository_are_one_question() -> None:
    """
    A burst of promotions does not use up GitHub's patience.
    """
    world = World(dispatch("a1"), dispatch("b2"), dispatch("c3", "acme/other"))

    world.tracker.turn()

    assert [repository for repository, _, _ in world.github.asked] == ["acme/serving", "acme/other"]


def test_a_dispatch_that_no_workflow_listened_to_is_found_out() -> None:
    """
    After its time every channel that wants to know hears that no run came.
    """
    world = World(dispatch("a1"))

    world.run_until(SENT + timedelta(minutes=2))

    assert {Notice.from_message(told.client_payload).what for told in world.ledger.told} == {What.NO_RUN}
    assert [told.repository for told in world.ledger.told] == ["notice:ml-slack", "notice:ml-teams"]
    assert world.ledger.kept["d-a1"].status == NOT_SEEN


def test_a_turn_asks_for_ten_pages_and_leaves_the_rest_for_the_next() -> None:
    """
    Many repositories at once, or one with many runs, do not use up what GitHub allows.
    """
    many = [dispatch(f"{number:02x}", f"acme/r{number}") for number in range(25)]
    world = World(*many)

    world.tracker.turn()
    assert len(world.github.asked) == 10
    world.tracker.turn()
    world.tracker.turn()
    assert len(world.github.asked) == 25

    world = World(dispatch("a1"), dispatch("b2", "acme/other"))
    world.github.there = {"acme/serving": [run("c3")] * 1000}
    world.tracker.turn()
    assert [repository for repository, _, _ in world.github.asked] == ["acme/serving"]


def test_what_github_asks_for_is_heeded() -> None:
    """
    While it will not be asked, nothing is concluded.
    """
    world = World(dispatch("a1"))
    world.github.down = timedelta(minutes=5)

    world.tracker.turn()

    assert world.ledger.next_look() == SENT + timedelta(minutes=5)
    assert world.ledger.kept["d-a1"].status is None


def test_who_comes_second_tells_nobody() -> None:
    """
    A webhook of GitHub's that was quicker has told already.
    """
    world = World(dispatch("a1"))
    world.github.there = {"acme/serving": [run("a1", "completed", "success")]}
    seen = world.ledger.watches(SENT, 1)
    world.ledger.kept["d-a1"] = replace(seen[0], status=COMPLETED)

    class Late(FakeWatches):
        def watches(self, now: datetime, limit: int) -> Sequence[Watch]:  # noqa: ARG002 - what was read before
            return seen

    late = Late(dispatch("a1"))
    late.kept = world.ledger.kept
    Tracker(late, world.github, now=lambda: SENT, wake=world.wake).turn()

    assert not late.told
    assert world.woken == 0
