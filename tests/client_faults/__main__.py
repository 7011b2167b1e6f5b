"""`python -m tests.client_faults --rounds 30`: kill -9 as often as wanted, and a line for each round."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

from tests.client_faults.kills import Found, Plan, run
from tests.client_faults.trees import MIB


def main() -> int:
    """Run the rounds and print what was found; 1 when a promise was broken."""
    options = _options()
    luck = Random(options.seed)  # noqa: S311 - chooses sizes and numbers
    end = time.monotonic() + options.seconds
    found: list[Found] = []
    for number in range(options.rounds):
        if time.monotonic() > end:
            _say(f"the time is over after {number} rounds")
            break
        found.append(_round(number, luck, options.mib))
    killed = sum(each.killed for each in found)
    share = sum(each.twice for each in found) / max(sum(each.size for each in found), 1)
    worst = max((each.share / max(each.killed, 1) for each in found), default=0.0)
    broken = sum(bool(each.broken) for each in found)
    _say(
        f"{len(found)} downloads, {killed} kills, {broken} broken; fetched twice: {share:.2%} in all, "
        f"{worst:.2%} for one kill at worst"
    )
    return 1 if broken or share > 0.05 * max(killed / max(len(found), 1), 1) else 0


def _round(number: int, luck: Random, mib: int) -> Found:
    plan = Plan(
        seed=luck.randrange(2**32),
        large=luck.randrange(mib * MIB // 2, mib * MIB),
        small=luck.randrange(300),
        kills=luck.choice((1, 1, 2, 3)),
        algorithm=luck.choice(("MD5", "XXH128")),
    )
    with TemporaryDirectory(prefix="client-faults") as folder:
        found = run(plan, Path(folder))
    _say(
        f"{number + 1}: {plan.algorithm}, {found.size / MIB:.0f} MiB, {found.killed} kills, "
        f"{found.share:.2%} twice, {found.seconds:.1f} s" + "".join(f"\n  {each}" for each in found.broken)
    )
    return found


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.client_faults", description=__doc__)
    parser.add_argument("--rounds", type=int, default=30, help="downloads (30)")
    parser.add_argument("--mib", type=int, default=256, help="the size of the largest file, at most (256)")
    parser.add_argument("--seed", type=int, default=1, help="of the luck (1)")
    parser.add_argument(
        "--seconds", type=float, default=900, help="after which no further round begins (900)"
    )
    return parser.parse_args()


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
