"""`python -m tests.faults --rounds 30`: the same rounds as in the tests, as many as wanted, and a table."""

from __future__ import annotations

import argparse
import sys
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.faults import databases
from tests.faults.rounds import Found, Plan, run

_TITLES = (
    *("ledger", "rounds", "workers killed", "processes killed"),
    *("acknowledged", "repeats", "unanswered", "marked", "doubled", "broken", "seconds"),
)


def main() -> int:
    """Run the rounds and print what was found; 1 when the promise was broken."""
    options = _options()
    with ExitStack() as ends:
        urls = [_url(name, ends) for name in options.database]
        acks = (options.acks // 4, options.acks * 7 // 4)
        plan = Plan(options.rounds, options.seed, acks, options.seconds / len(urls))
        _say(" | ".join(_TITLES))
        whole = [_told(name, run(plan, url, folder)) for name, url, folder in urls]
    return 0 if all(whole) else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--rounds", type=int, default=30, help="kills on each ledger (30)")
    parser.add_argument(
        "--acks", type=int, default=350, help="acknowledgements between two kills, about (350)"
    )
    parser.add_argument("--seed", type=int, default=1, help="of the luck: which, and when (1)")
    parser.add_argument("--seconds", type=float, default=1200, help="for all rounds together, at most (1200)")
    ledgers = ["sqlite", "postgresql"]
    parser.add_argument("--database", nargs="+", choices=ledgers, default=ledgers, help="on which (both)")
    return parser.parse_args()


def _url(name: str, ends: ExitStack) -> tuple[str, str, Path]:
    folder = Path(ends.enter_context(TemporaryDirectory(prefix="faults")))
    if name == "sqlite":
        return name, databases.new_sqlite(folder), folder
    return name, databases.new_postgresql(ends.enter_context(databases.postgresql_server())), folder


def _told(name: str, found: Found) -> bool:
    """Print what was found, and return whether the promise was kept."""
    _say(_row(name, found))
    _say("\n".join(found.broken[:20]))
    return not found.broken


def _row(name: str, found: Found) -> str:
    kills = (found.worker_kills + found.process_kills, found.worker_kills, found.process_kills)
    told = (found.acknowledged, found.repeats, found.unanswered, found.marked, found.doubled)
    return " | ".join(map(str, (name, *kills, *told, len(found.broken), round(found.seconds))))


def _say(line: str) -> None:
    if line:
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
