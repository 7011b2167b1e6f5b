"""Each row of what GitHub may answer, seen through by the real dispatcher: when, how often, to what end."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest

from receiver.delivery import DispatchRecord, DispatchState
from receiver.dispatcher import LOOK_FOR, Dispatcher
from receiver.exchange import Exchange
from receiver.github import Credentials, GitHub, TokenCredentials
from receiver.github_app import AppCredentials
from receiver.ledger import Ledger
from tests.receiver.fakes import START, Clock, delivery
from tests.receiver.github_world import (
    CLIENT_ID,
    DISPATCHES,
    PAT,
    REPOSITORY,
    a_dispatch,
    github_at,
    private_pem,
    public_pem,
)
from tests.stand_ins.github import GitHubStandIn, Installation

RUNS = f"GET /repos/{REPOSITORY}/actions/runs"
MINUTE = 60.0
HOUR = 60 * MINUTE
MOST_STEPS = 1_000
SENT, DEAD, PENDING = DispatchState.SENT, DispatchState.DEAD, DispatchState.PENDING


class World:
    """A ledger, a GitHub and the dispatcher between them, on a clock that moves to what is due next."""

    def __init__(self, ledger: Ledger, github: GitHubStandIn, clock: Clock) -> None:
        self.ledger = ledger
        self.github = github
        self.clock = clock
        self.sign_in(TokenCredentials(PAT))

    def sign_in(self, credentials: Credentials, exchange: Exchange | None = None) -> None:
        """Send with these from now on."""
        client = GitHub(self.github.url, credentials, now=self.clock, exchange=exchange)
        self.dispatcher = Dispatcher(self.ledger, client, now=self.clock, jitter=lambda: 0.5)

    def accept(self, number: int = 1, **changes: Any) -> None:
        """Take in a promotion, each of another collection."""
        name, key = f"v{number}", f"key-{number:03}"
        planned = a_dispatch(
            id=f"d{number}",
            delivery_id=name,
            key=key,
            client_payload={"handoff": {"key": key}},
            lane=f"lane-{number}",
            accepted_at=self.clock(),
            **changes,
        )
        taken = delivery(name, at=self.clock(), slot=f"slot-{number}", fingerprint=f"fingerprint-{number}")
        self.ledger.accept(taken, [planned])

    def run(self, seconds: float = 96 * HOUR) -> None:
        """Do what is due in so many seconds, each at its time."""
        end = self.clock() + timedelta(seconds=seconds)
        for _ in range(MOST_STEPS):
            while self.dispatcher.run_once():
                pass
            due = self.ledger.next_due(self.clock())
            if due is None or due > end:
                self.clock.time = max(self.clock(), end)
                return
            self.clock.time = max(due, self.clock() + timedelta(milliseconds=100))
        pytest.fail("it goes round in circles")

    def record(self, number: int = 1) -> DispatchRecord:
        """The dispatch as the ledger has it."""
        (record,) = self.ledger.delivery(f"v{number}").dispatches
        return record

    def story(self, number: int = 1) -> list[tuple[float, str | None]]:
        """Each attempt: the second at which it began, and what came of it."""
        return [
            ((attempt.started_at - START).total_seconds(), attempt.reason)
            for attempt in self.record(number).attempts
        ]

    @property
    def arrived(self) -> list[str]:
        """The keys that arrived, in order."""
        return [dispatched.client_payload["handoff"]["key"] for dispatched in self.github.dispatches]


@pytest.fixture
def clock() -> Clock:
    """A clock that stands still until it is moved."""
    return Clock()


@pytest.fixture
def world(sqlite_url: str, clock: Clock) -> Iterator[World]:
    """A promotion, and nothing wrong yet."""
    with github_at(clock) as github, Ledger.open(sqlite_url) as ledger:
        made = World(ledger, github, clock)
        made.accept()
        yield made


@pytest.fixture
def installation(world: World) -> Installation:
    """Our App, installed, and what we sign in with."""
    app = world.github.add_app(
        client_id=CLIENT_ID,
        public_key_pem=public_pem(),
        permissions={"contents": "write", "actions": "read"},
    )
    world.sign_in(AppCredentials(CLIENT_ID, private_pem(), world.github.url, now=world.clock))
    return world.github.install(app, account="acme", repositories=(REPOSITORY,))


def test_204(world: World) -> None:
    """
    What GitHub takes is sent, at once and once.
    """
    world.run()

    assert world.story() == [(0, "sent")]
    assert world.record().state is SENT


LIMIT = {"message": "You have exceeded a secondary rate limit."}
AT_NOON_AND_A_HALF = str(int((START + timedelta(minutes=30)).timestamp()))


@pytest.mark.parametrize(
    ("faults", "waits", "reason"),
    [
        pytest.param(
            [{"status": 429, "headers": {"Retry-After": "7"}}], [7], "secondary-rate-limit", id="429"
        ),
        pytest.param(
            [{"status": 403, "headers": {"Retry-After": "90"}}], [90], "secondary-rate-limit", id="403"
        ),
        pytest.param(
            [{"status": 429, "headers": {"Retry-After": "Sun, 01 Mar 2026 12:02:00 GMT"}}],
            [120],
            "secondary-rate-limit",
            id="429 until a time",
        ),
        *[
            pytest.param(
                [
                    {
                        "status": status,
                        "headers": {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": AT_NOON_AND_A_HALF},
                    }
                ],
                [1800],
                "rate-limited",
                id=f"{status} with nothing left",
            )
            for status in (403, 429)
        ],
        pytest.param([{"status": 403, "body": LIMIT}], [60], "secondary-rate-limit", id="403 in words alone"),
        pytest.param(
            [{"status": 403, "body": LIMIT}] * 3, [60, 120, 240], "secondary-rate-limit", id="in words, again"
        ),
        pytest.param(
            [{"status": 429}] * 9, [60, 120, 240, 480, 960, 1920, 3840, 7200, 7200], None, id="429 ever"
        ),
    ],
)
def test_rate_limits(
    world: World, faults: list[dict[str, Any]], waits: list[int], reason: str | None
) -> None:
    """
    Throttled: to the second as asked; where nothing is asked, a minute and then twice as long each time.
    No attempt is used up (D3, D4, D11).
    """
    for fault in faults:
        world.github.faults.add(DISPATCHES, **fault)

    world.run()

    begun = [sum(waits[:number]) for number in range(len(waits) + 1)]
    reasons = [reason or "secondary-rate-limit"] * len(waits)
    assert world.story() == list(zip(begun, [*reasons, "sent"], strict=True))
    assert world.record().attempts_used == 1
    assert world.arrived == ["key-001"]


def test_the_doubling_begins_anew(world: World) -> None:
    """
    After an answer that is no limit, a limit that names no time is a minute again.
    """
    world.github.faults.add(DISPATCHES, times=2, status=429)
    world.run(seconds=HOUR)
    world.accept(2)
    world.github.faults.add(DISPATCHES, status=429)

    world.run()

    assert [second for second, _ in world.story(1)] == [0, 60, 180]
    assert [second for second, _ in world.story(2)] == [HOUR, HOUR + 60]


def test_a_limit_pauses_every_dispatch_of_the_token(world: World) -> None:
    """
    Once GitHub asked to wait, nothing else is tried with the same token meanwhile; then all flows.
    """
    for number in range(2, 6):
        world.accept(number)
    world.github.faults.add(DISPATCHES, status=429, headers={"Retry-After": "40"})

    world.run()

    assert [world.story(number)[-1] for number in range(1, 6)] == [(40, "sent")] * 5
    assert len(world.github.requests) == 6


@pytest.mark.parametrize(("status", "asked"), [(301, 3), (308, 3), (302, 4), (307, 4)])
def test_moved(world: World, status: int, asked: int) -> None:
    """
    Posted again, with its body, to where the repository is now; 301 and 308 are remembered (D6).
    """
    world.github.move_repository(REPOSITORY, "acme/renamed", status=status)
    world.accept(2)

    world.run()

    assert [world.story(number) for number in (1, 2)] == [[(0, "sent")]] * 2
    assert sorted(world.arrived) == ["key-001", "key-002"]
    assert [request.method for request in world.github.requests] == ["POST"] * asked
    assert "acme/serving has moved" in str(world.record().detail)


@pytest.mark.parametrize(
    ("fault", "reason", "words"),
    [
        pytest.param({"status": 400, "body": {"message": "Bad"}}, "bad-request", "API version", id="400"),
        pytest.param(
            {"status": 401, "body": {"message": "Bad credentials"}},
            "bad-credentials",
            "GITHUB_TOKEN",
            id="401",
        ),
        pytest.param(
            {
                "status": 403,
                "body": {"message": "Resource not accessible by personal access token"},
                "headers": {"X-Accepted-GitHub-Permissions": "contents=write"},
            },
            "permission",
            "contents=write",
            id="403 for a permission",
        ),
        pytest.param(
            {"status": 403, "body": {"message": "Repository was archived so is read-only."}},
            "archived",
            "unarchive",
            id="403 for the archive",
        ),
        pytest.param(
            {"status": 403, "headers": {"X-GitHub-SSO": "required"}},
            "forbidden",
            "single sign-on",
            id="403 for SSO",
        ),
        pytest.param(
            {"status": 403, "body": {"message": "the IP allow list"}}, "forbidden", "IP allow", id="403 else"
        ),
        pytest.param(
            {"status": 404, "body": {"message": "Not Found"}},
            "not-found",
            "does not exist, or this token may not see it",
            id="404",
        ),
        pytest.param(
            {
                "status": 422,
                "body": {
                    "message": "Invalid request.",
                    "errors": [{"field": "event_type", "code": "too_long"}],
                },
            },
            "refused-payload",
            "Invalid request.; event_type too_long",
            id="422",
        ),
        pytest.param(
            {"status": 302, "headers": {"Location": "https://elsewhere.example/x"}},
            "moved",
            "the token goes to no other host",
            id="302 elsewhere",
        ),
    ],
)
def test_what_time_does_not_cure(world: World, fault: dict[str, Any], reason: str, words: str) -> None:
    """
    Dead after one request, with a reason, what to do, and GitHub's own words (D5).
    """
    world.github.faults.add(DISPATCHES, times=None, **fault)

    world.run()

    assert world.story() == [(0, reason)]
    assert (world.record().state, world.record().reason) == (DEAD, reason)
    assert words in str(world.record().detail)
    assert str(fault.get("body", {}).get("message", "")) in str(world.record().detail)
    assert len(world.github.requests) == 1


def test_a_refusal_holds_nobody_up(world: World) -> None:
    """
    What is dead has left its place to the next of its collection.
    """
    world.accept(2, event_type="x" * 101)
    world.accept(3)
    world.run()

    assert [world.record(number).state for number in (1, 2, 3)] == [SENT, DEAD, SENT]
    world.github.violations.clear()


class TestApp:
    """Signed in as a GitHub App."""

    def test_401_of_a_token_seconds_old(self, world: World, installation: Installation) -> None:
        """
        The same token after one second, after two and two more; it uses up no attempt.
        """
        del installation
        world.github.faults.add(DISPATCHES, times=3, status=401, body={"message": "Bad credentials"})

        world.run()

        assert world.story() == [*((second, "fresh-token-refused") for second in (0, 1, 3)), (5, "sent")]
        assert world.record().attempts_used == 1
        assert len([one for one in world.github.requests if one.path.endswith("/access_tokens")]) == 1

    def test_401_of_an_older_token(self, world: World, installation: Installation) -> None:
        """
        Minted anew and sent again within the attempt.
        """
        del installation
        world.run(seconds=10)
        world.accept(2)
        world.github.faults.add(DISPATCHES, status=401, body={"message": "Bad credentials"})

        world.run()

        assert world.story(2) == [(10, "sent")]
        assert world.arrived == ["key-001", "key-002"]

    def test_401_for_ever(self, world: World, installation: Installation) -> None:
        """
        Tried as often as anything else, not for ever: a second token is no reason to go round in circles.
        """
        del installation
        world.github.faults.add(DISPATCHES, times=None, status=401, body={"message": "Bad credentials"})

        world.run()

        assert world.record().state is DEAD
        assert len([one for one in world.github.requests if one.path.endswith("/access_tokens")]) < 50

    @pytest.mark.parametrize("hours", [-2, 2])
    def test_a_wrong_clock(self, world: World, installation: Installation, hours: int) -> None:
        """
        GitHub's own time is taken, within the attempt.
        """
        del installation
        ours = Clock(START + timedelta(hours=hours))
        world.sign_in(AppCredentials(CLIENT_ID, private_pem(), world.github.url, now=ours))

        world.run()

        assert world.story() == [(0, "sent")]

    @pytest.mark.parametrize(
        ("end", "reason"),
        [
            pytest.param(GitHubStandIn.suspend, "app-suspended", id="suspended"),
            pytest.param(GitHubStandIn.uninstall, "app-not-installed", id="removed"),
        ],
    )
    @pytest.mark.parametrize("known", [True, False], ids=["while in use", "before"])
    def test_an_installation_that_ends(
        self,
        world: World,
        installation: Installation,
        end: Callable[[GitHubStandIn, Installation], None],
        reason: str,
        *,
        known: bool,
    ) -> None:
        """
        Dead at once, named as what it is, whether a token was minted before or not.
        """
        if known:
            world.run(seconds=60)
            world.accept(2)
        end(world.github, installation)

        world.run()

        last = world.record(2 if known else 1)
        assert (last.state, last.reason) == (DEAD, reason)
        assert len(last.attempts) == 1


class TestNotSent:
    """No connection: nothing has arrived, it is safe to send again."""

    def test_the_schedule(self, world: World) -> None:
        """
        The waits after the attempts, and the end; the breaker may only make them longer.
        """
        world.github.stop()

        world.run()

        begun = [second for second, _ in world.story()]
        waits = [late - early for early, late in pairwise(begun)]
        assert waits[:4] == [5, 30, 120, 600]
        assert all(
            got >= want for got, want in zip(waits[4:], [1800, 7200, 18000, 36000, 50400], strict=True)
        )
        assert (world.record().state, world.record().reason) == (DEAD, "gave-up")
        assert world.record().attempts_used == 10
        assert not world.record().possibly_duplicated

    def test_ten_minutes(self, world: World) -> None:
        """
        GitHub is away for ten minutes and comes back: sent once, unmarked, at the next attempt.
        """
        world.github.stop()
        world.run(seconds=10 * MINUTE)
        world.github.start()

        world.run()

        assert world.story() == [*((second, "unreachable") for second in (0, 5, 35, 155)), (755, "sent")]
        assert world.arrived == ["key-001"]
        assert not world.record().possibly_duplicated


AMBIGUOUS = [
    pytest.param({"status": 500}, "github-5xx", id="500"),
    pytest.param({"status": 503, "headers": {"Retry-After": "120"}}, "github-5xx", id="503"),
    pytest.param({"hang": True}, "no-answer", id="hangs"),
    pytest.param({"reset": True}, "no-answer", id="resets"),
]


def strike(world: World, where: str, fault: dict[str, Any], *, accepted: bool, times: int | None = 1) -> None:
    """Let a request meet the fault, before or after GitHub did as asked."""
    what = dict(fault)
    if what.pop("reset", False):
        what["reset_after" if accepted else "reset_before"] = True
    else:
        what["accept_first"] = accepted
    if what.pop("hang", False):
        what["hang"] = threading.Event()
        world.sign_in(TokenCredentials(PAT), Exchange(read_seconds=1))
    world.github.faults.add(where, times=times, **what)


class TestAmbiguous:
    """The request went out, and nobody knows what became of it."""

    @pytest.mark.parametrize(("fault", "reason"), AMBIGUOUS)
    def test_it_had_arrived(self, world: World, fault: dict[str, Any], reason: str) -> None:
        """
        After half a minute its run is found: not sent again, not marked (D1).
        """
        strike(world, DISPATCHES, fault, accepted=True)

        world.run()

        assert world.story() == [(0, reason), (30, "already-sent")]
        assert world.arrived == ["key-001"]
        assert not world.record().possibly_duplicated
        assert str(world.record().run_url).startswith("https://github.com/acme/serving/actions/runs/")

    @pytest.mark.parametrize(("fault", "reason"), AMBIGUOUS)
    def test_it_had_not_arrived(self, world: World, fault: dict[str, Any], reason: str) -> None:
        """
        After half a minute no run is found: sent again, and marked (D1).
        """
        strike(world, DISPATCHES, fault, accepted=False)

        world.run()

        assert world.story() == [(0, reason), (30, "sent")]
        assert world.arrived == ["key-001"]
        assert world.record().possibly_duplicated

    def test_a_few_spaced_retries(self, world: World) -> None:
        """
        Looked for, sent again, and again in doubt: after five sendings it is dead, not sent for ever.
        """
        strike(world, DISPATCHES, {"status": 502}, accepted=False, times=None)

        world.run()

        begun = [second for second, _ in world.story()]
        assert begun[:4] == [0, 30, 330, 2130]
        assert (world.record().state, world.record().reason) == (DEAD, "gave-up")
        assert len([one for one in world.github.requests if one.method == "POST"]) == 5

    def test_runs_that_nobody_may_read(self, world: World) -> None:
        """
        Where the token may not look, it is sent again after half a minute, and marked.
        """
        world.github.add_token(PAT, repositories=(REPOSITORY,), permissions={"contents": "write"})
        strike(world, DISPATCHES, {"status": 502}, accepted=True)

        world.run()

        assert world.story() == [(0, "github-5xx"), (30, "sent")]
        assert world.arrived == ["key-001"] * 2
        assert world.record().possibly_duplicated

    def test_a_look_that_fails_is_taken_again(self, world: World) -> None:
        """
        While GitHub cannot answer the look either, nothing is sent: half a minute later it may know.
        """
        strike(world, DISPATCHES, {"status": 502}, accepted=True)
        world.github.faults.add(RUNS, times=2, status=502)
        world.github.faults.add(RUNS, status=429, headers={"Retry-After": "45"})

        world.run()

        reasons = ["github-5xx", "github-5xx", "github-5xx", "secondary-rate-limit", "already-sent"]
        assert world.story() == list(zip([0, 30, 60, 90, 135], reasons, strict=True))
        assert world.arrived == ["key-001"]
        assert not world.record().possibly_duplicated

    def test_a_look_that_fails_for_ever(self, world: World) -> None:
        """
        An hour after the doubt began it is sent without a look, and marked: late is bad, never is worse.
        """
        strike(world, DISPATCHES, {"status": 502}, accepted=False)
        world.github.faults.add(RUNS, times=None, status=500)

        world.run()

        last, reason = world.story()[-1]
        assert LOOK_FOR.total_seconds() <= last < LOOK_FOR.total_seconds() + 10 * MINUTE
        assert reason == "sent"
        assert world.arrived == ["key-001"]
        assert world.record().possibly_duplicated


class TestTenMinutes:
    """A GitHub that fails for ten minutes, and thirty promotions meanwhile."""

    COUNT = 30

    @pytest.mark.parametrize("accepted", [True, False], ids=["after accepting", "before accepting"])
    @pytest.mark.parametrize("fault", [{"status": 503}, {"reset": True}], ids=["5xx", "resets"])
    def test_in_doubt(self, world: World, fault: dict[str, Any], *, accepted: bool) -> None:
        """
        Every request fails, the looks as well: each promotion arrives once all the same; what was in doubt
        and not to be found is marked, and GitHub is not hammered meanwhile.
        """
        for number in range(2, self.COUNT + 1):
            world.accept(number)
        strike(world, DISPATCHES, fault, accepted=accepted, times=None)
        strike(world, RUNS, fault, accepted=False, times=None)
        world.run(seconds=10 * MINUTE)
        asked = len(world.github.requests)
        world.github.faults.clear()

        world.run(seconds=4 * HOUR)

        assert sorted(world.arrived) == [f"key-{number:03}" for number in range(1, self.COUNT + 1)]
        assert {world.record(number).state for number in range(1, self.COUNT + 1)} == {SENT}
        if accepted:
            assert not any(world.record(number).possibly_duplicated for number in range(1, self.COUNT + 1))
        assert asked < 60

    def test_a_storm_of_429(self, world: World) -> None:
        """
        Asked to wait a minute, again and again: one request a minute, no attempt used up, nothing doubled.
        """
        for number in range(2, self.COUNT + 1):
            world.accept(number)
        world.github.faults.add("*", times=None, status=429, headers={"Retry-After": "60"})
        world.run(seconds=10 * MINUTE)
        asked = len(world.github.requests)
        world.github.faults.clear()

        world.run(seconds=HOUR)

        assert asked <= 11
        assert sorted(world.arrived) == [f"key-{number:03}" for number in range(1, self.COUNT + 1)]
        records = [world.record(number) for number in range(1, self.COUNT + 1)]
        assert {(one.state, one.attempts_used, one.possibly_duplicated) for one in records} == {
            (SENT, 1, False)
        }


class TestClockJumps:
    """The clock on the wall is put right, by an hour, one way or the other (C8)."""

    @pytest.mark.parametrize("hours", [-1, 1])
    def test_while_one_waits(self, world: World, hours: int) -> None:
        """
        A wait may end early or late by the jump; it is sent once, and nothing is marked.
        """
        world.github.faults.add(DISPATCHES, status=429, headers={"Retry-After": "60"})
        world.run(seconds=1)
        world.clock.move(hours=hours)

        world.run(seconds=2 * HOUR)

        assert [reason for _, reason in world.story()] == ["secondary-rate-limit", "sent"]
        assert world.arrived == ["key-001"]
        assert not world.record().possibly_duplicated

    @pytest.mark.parametrize("hours", [-1, 1])
    def test_while_one_is_sent(self, world: World, hours: int) -> None:
        """
        Even where the lease seems over, what is on its way is not sent twice unmarked.
        """
        hang = threading.Event()
        world.github.faults.add(DISPATCHES, hang=hang, accept_first=True, status=204)
        sending = threading.Thread(target=world.dispatcher.run_once)
        sending.start()
        world.github.wait_for_requests(1, timeout=10)
        world.clock.move(hours=hours)
        world.run(seconds=1)
        hang.set()
        sending.join()

        world.run(seconds=2 * HOUR)

        record = world.record()
        assert record.state is SENT
        assert len(world.arrived) == 1 or record.possibly_duplicated

    @pytest.mark.parametrize("hours", [-1, 1])
    def test_while_many_wait(self, world: World, hours: int) -> None:
        """
        What was accepted before the jump and what is accepted after it: each is sent once.
        """
        world.accept(2)
        world.clock.move(hours=hours)
        world.accept(3)

        world.run(seconds=2 * HOUR)

        assert sorted(world.arrived) == ["key-001", "key-002", "key-003"]
        assert world.story(3) == [(hours * HOUR, "sent")]


def test_a_repository_that_keeps_failing_is_paused_alone(world: World) -> None:
    """
    After five failures in a row one probe at a time, half a minute later, then twice as long each time;
    another repository notices nothing, and all goes out when the probe succeeds (D11).
    """
    world.github.add_repository("acme/other")
    world.github.add_token(PAT, repositories=(REPOSITORY, "acme/other"), permissions={"contents": "write"})
    for number in range(2, 9):
        world.accept(number)
    for number in range(9, 17):
        world.accept(number, repository="acme/other")
    strike(world, DISPATCHES, {"status": 502}, accepted=False, times=None)

    world.run(seconds=10 * MINUTE)
    begun = sorted(second for number in range(1, 9) for second, _ in world.story(number))
    others = [world.story(number) for number in range(9, 17)]
    world.github.faults.clear()
    world.run(seconds=4 * HOUR)

    assert begun == [0, 0, 0, 0, 0, 30, 90, 210, 450]
    assert others == [[(0, "sent")]] * 8
    assert sorted(world.arrived) == [f"key-{number:03}" for number in range(1, 17)]


class TestRedelivered:
    """A person sends it again."""

    def test_while_a_retry_is_pending(self, world: World) -> None:
        """
        It goes now, and not once more when the retry would have been due (D12).
        """
        world.github.stop()
        world.run(seconds=1)
        world.github.start()
        world.ledger.redeliver("v1", now=world.clock())

        world.run()

        assert world.story() == [(0, "unreachable"), (1, "sent")]
        assert world.arrived == ["key-001"]

    def test_what_is_dead(self, world: World) -> None:
        """
        It has the same key, and shows: as one more attempt of the same dispatch, and counted (D13).
        """
        world.github.faults.add(DISPATCHES, status=404, body={"message": "Not Found"})
        world.run(seconds=HOUR)
        world.ledger.redeliver("v1", now=world.clock())

        world.run()

        assert world.story() == [(0, "not-found"), (HOUR, "sent")]
        assert [attempt.number for attempt in world.record().attempts] == [1, 2]
        assert (world.record().redeliveries, world.record().state) == (1, SENT)
        assert world.arrived == ["key-001"]
