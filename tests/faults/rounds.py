"""Rounds of load and SIGKILL, and what is found in the ledger and at GitHub when they are over."""

from __future__ import annotations

import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from random import Random

from receiver.delivery import DeliveryRecord, DispatchState
from receiver.ledger import Ledger
from tests.faults import databases
from tests.faults.receivers import Receiver
from tests.faults.senders import REPOSITORY, Senders, Told
from tests.receiver.web_fakes import SECRET
from tests.stand_ins.github import GitHubStandIn, Workflow

GITHUB_TOKEN = "github_pat_for_tests_0123456789"
LEASE = 2.0
SENDERS = 6
LONGEST_DELAY = 0.03  # Seconds from an acknowledgement to the kill: anywhere in the requests that follow.
_BETWEEN_LOOKS = 0.1
_NEVER = datetime(2100, 1, 1, tzinfo=timezone.utc)


@dataclass(frozen=True)
class Found:
    """What came of it all; the promise holds when ``broken`` is empty."""

    worker_kills: int
    process_kills: int
    acknowledged: int
    repeats: int
    unanswered: int
    marked: int
    doubled: int
    seconds: float
    broken: Sequence[str]


@contextmanager
def a_github() -> Iterator[GitHubStandIn]:
    """A GitHub with our repository, whose workflow shows the key and whose token may look for it."""
    with GitHubStandIn() as github:
        github.add_repository(REPOSITORY, workflows=(Workflow("build.yml"),))
        permissions = {"contents": "write", "actions": "read"}
        github.add_token(GITHUB_TOKEN, repositories=(REPOSITORY,), permissions=permissions)
        # More than its hour allows: what is tested here is not the waiting for it.
        github.rate_limit(GITHUB_TOKEN, remaining=10**9, reset=_NEVER)
        yield github
    assert github.violations == [], github.violations


def environ(github: GitHubStandIn, database_url: str) -> dict[str, str]:
    """The variables of a receiver that is to send as fast as it can."""
    return {
        "WANDB_WEBHOOK_SECRET": SECRET,
        "GITHUB_TOKEN": GITHUB_TOKEN,
        "GITHUB_API_URL": github.url,
        "HANDOFF_REPOSITORY": REPOSITORY,
        "HANDOFF_DATABASE_URL": database_url,
        "HANDOFF_GITHUB_BUDGET": "off",
    }


@dataclass(frozen=True)
class Plan:
    """How hard it is going to be.

    Attributes:
        acks: The fewest and the most acknowledgements before each kill.
        seconds: When it is over, no further round begins.
    """

    rounds: int
    seed: int
    acks: tuple[int, int] = (5, 60)
    seconds: float = 600.0


def run(plan: Plan, database_url: str, folder: Path) -> Found:
    """Load and kill, round after round; then let it finish, and look."""
    began = time.monotonic()
    with ExitStack() as ends:
        github = ends.enter_context(a_github())
        receivers = [ends.enter_context(one) for one in _receivers(environ(github, database_url), folder)]
        senders = Senders(lambda: [one.webhook_url for one in receivers], SENDERS, plan.seed)
        senders.start()
        ends.callback(senders.stop)
        worker_kills, process_kills = _rounds(plan, senders, receivers, github)
        senders.stop()
        left = drained(database_url, timeout=plan.seconds)
        for receiver in receivers:
            receiver.stop()
        arrived = [dispatched.client_payload["handoff"]["delivery"] for dispatched in github.dispatches]
    told = senders.told
    with Ledger.read_only(database_url) as ledger:
        kept = ledger.deliveries(limit=10**6)
    marked = [record.id for record in kept if any(each.possibly_duplicated for each in record.dispatches)]
    return Found(
        worker_kills,
        process_kills,
        acknowledged=len(told.acknowledged),
        repeats=told.repeats,
        unanswered=told.unanswered,
        marked=len(marked),
        doubled=sum(count > 1 for count in Counter(arrived).values()),
        seconds=time.monotonic() - began,
        broken=[
            *([] if left == 0 else [f"{left} dispatches are still open"]),
            *([] if databases.is_sound(database_url) else ["SQLite finds the file broken"]),
            *broken(told, kept, arrived),
        ],
    )


def _receivers(variables: dict[str, str], folder: Path) -> list[Receiver]:
    """One process on SQLite; on PostgreSQL two, of two workers each."""
    if variables["HANDOFF_DATABASE_URL"].startswith("sqlite"):
        return [Receiver(variables, folder, lease=LEASE)]
    return [Receiver(variables, folder, "--workers", "2", lease=LEASE) for _ in range(2)]


def _rounds(
    plan: Plan, senders: Senders, receivers: Sequence[Receiver], github: GitHubStandIn
) -> tuple[int, int]:
    """Kill once in each round, somewhere behind an acknowledgement; tell how many of which kind.

    What kills its process three times is taken for poison: between any three kills something is sent.
    """
    luck, end = Random(plan.seed), time.monotonic() + plan.seconds  # noqa: S311 - luck that can be repeated
    kills, sent = [0, 0], [0]
    for _ in range(plan.rounds):
        if time.monotonic() > end:
            break
        senders.wait_for(len(senders.told.acknowledged) + luck.randint(*plan.acks))
        github.wait_for_dispatches(sent[-2:][0] + 2, timeout=60)  # The first may be the one in doubt.
        threading.Event().wait(luck.uniform(0, LONGEST_DELAY))
        receiver, whole = luck.choice(receivers), luck.random() < 0.5
        kills[whole] += 1
        if whole:
            receiver.kill()
            sent.append(len(github.dispatches))
            receiver.start()
        else:
            receiver.kill_worker(luck)
            sent.append(len(github.dispatches))
    return kills[0], kills[1]


def drained(database_url: str, timeout: float = 60.0) -> int:
    """Wait until nothing is open; tell how much still is when that takes too long."""
    end = time.monotonic() + timeout
    with Ledger.read_only(database_url) as ledger:
        while (count := ledger.open_count()) and time.monotonic() < end:
            threading.Event().wait(_BETWEEN_LOOKS)
    return count


def broken(told: Told, kept: Sequence[DeliveryRecord], arrived: Sequence[str]) -> Iterator[str]:
    """Each way in which the promise was not kept, in a line."""
    by_id, times = {record.id: record for record in kept}, Counter(arrived)
    lost = set(told.acknowledged.values()) - set(by_id)
    yield from (f"{one} was acknowledged and is not in the ledger" for one in lost)
    yield from (f"{one} arrived and is not in the ledger" for one in set(arrived) - set(by_id))
    yield from (f"a sender was told {words}" for words in told.wrong)
    for record in kept:
        yield from (f"{record.id} {what}" for what in _wrong_with(record, times[record.id]))
    yield from _told_twice(told, kept)
    yield from _out_of_order(kept, arrived)


def _wrong_with(record: DeliveryRecord, times: int) -> Iterator[str]:
    if len(record.dispatches) != 1:
        yield f"is half there: {len(record.dispatches)} dispatches"
        return
    (dispatch,) = record.dispatches
    if dispatch.state is not DispatchState.SENT:
        yield f"is {dispatch.state.value}: {dispatch.reason}"
    if times == 0:
        yield "never arrived"
    if times > 1 and not dispatch.possibly_duplicated:
        yield f"arrived {times} times, and is not marked"


def _told_twice(told: Told, kept: Sequence[DeliveryRecord]) -> Iterator[str]:
    deliveries = Counter(record.fields["artifact_version"] for record in kept)
    for promotion in told.begun:
        count = deliveries.pop(promotion.artifact, 0)
        if count > 1:
            yield f"{promotion} became {count} deliveries"
        if count == 0 and promotion in told.acknowledged:
            yield f"{promotion} was acknowledged and became none"
    yield from (f"{artifact} was never posted" for artifact in deliveries)


def _out_of_order(kept: Sequence[DeliveryRecord], arrived: Sequence[str]) -> Iterator[str]:
    """In a collection, the first arrivals come as the deliveries were accepted: ids sort by time."""
    collection = {record.id: record.fields["artifact_collection_name"] for record in kept}
    lanes: defaultdict[str, list[str]] = defaultdict(list)
    for delivery in dict.fromkeys(arrived):
        lanes[collection.get(delivery, "")].append(delivery)
    accepted = [record.id for record in reversed(kept)]
    place = {delivery: number for number, delivery in enumerate(accepted)}
    for name, lane in lanes.items():
        if lane != sorted(lane, key=lambda one: place.get(one, -1)):
            yield f"{name} did not arrive in order"
