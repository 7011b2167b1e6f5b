"""From the webhook to the dispatch at GitHub: through Handoff and straight from W&B, and when many wait.

Three measurements in one run.  Beside a stand-in that checks every request against GitHub's description:
through Handoff, and straight to GitHub as in W&B's documentation (nothing checked, nothing kept).  Beside a
stand-in that only notes the time: Handoff idle, so that it is Handoff that is measured.  And a ledger with
thousands of dispatches waiting, against that same stand-in without limits: how many a second, and memory.
"""

from __future__ import annotations

import argparse
import hashlib
import hmac
import http.client
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import requests

from benchmarks.filling import fill_pending
from benchmarks.load import body
from benchmarks.servers import REPOSITORY, SECRET, handoff
from benchmarks.sink import Sink, sink
from demo.stage import REPOSITORY as DEMO_REPOSITORY
from demo.stage import github_with_app, receiver_at_work
from receiver.signature import HEADER, sign
from receiver.views import WEBHOOK_PATH
from tests.stand_ins.github import GitHubStandIn

TOKEN = "github_pat_" + "b" * 40
_JSON = {"Content-Type": "application/json", "User-Agent": "latency"}
_QUIET = 0.05  # Seconds between two promotions, so that the receiver is idle again.
_LONGEST = 30.0

Post = Callable[[bytes], None]


def measure(post: Post, arrived: Callable[[int], float], count: int, first: int) -> list[float]:
    """Milliseconds from before the post until the dispatch is at GitHub, for each promotion."""
    taken = []
    for number in range(first, first + count):
        content = body(number)
        time.sleep(_QUIET)
        began = time.perf_counter()
        post(content)
        taken.append((arrived(number) - began) * 1000)
    return taken


def post_to(port: int, path: str, headers: Callable[[bytes], Mapping[str, str]]) -> Post:
    """Post on a connection of its own, as W&B does, and want a 2xx."""

    def post(content: bytes) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_LONGEST)
        connection.request("POST", path, content, dict(headers(content)))
        status = connection.getresponse().status
        connection.close()
        if status not in {202, 204}:
            raise SystemExit(f"{path} answered {status}")

    return post


def line(name: str, taken: Sequence[float]) -> str:
    """Median and 99th percentile, aligned."""
    p99 = statistics.quantiles(taken, n=100)[98]
    return f"{name:<44} p50 {statistics.median(taken):7.2f} ms, p99 {p99:7.2f} ms   ({len(taken)} promotions)"


def beside_the_description(count: int) -> None:
    """Handoff as an App, and a plain post, to the stand-in that checks requests and answers."""
    with (
        tempfile.TemporaryDirectory() as folder,
        github_with_app() as (github, private_key),
        receiver_at_work(Path(folder), github.url, private_key, HANDOFF_GITHUB_BUDGET="off") as receiver,
        requests.Session() as w_and_b,
    ):
        secret = receiver.environ["WANDB_WEBHOOK_SECRET"].encode()
        bearer = _JSON | {"Authorization": f"Bearer {receiver.environ['WANDB_WEBHOOK_TOKEN']}"}
        github.add_token(TOKEN, repositories=(DEMO_REPOSITORY,), permissions={"contents": "write"})

        def through_handoff(content: bytes) -> None:
            signed = bearer | {HEADER: hmac.new(secret, content, hashlib.sha256).hexdigest()}
            w_and_b.post(receiver.webhook_url, data=content, headers=signed, timeout=30).raise_for_status()

        def straight(content: bytes) -> None:
            url = f"{github.url}/repos/{DEMO_REPOSITORY}/dispatches"
            headers = _JSON | {"Authorization": f"Bearer {TOKEN}"}
            w_and_b.post(url, data=content, headers=headers, timeout=30).raise_for_status()

        measure(through_handoff, _arrival(github, 0), 5, 0)
        ours = measure(through_handoff, _arrival(github, 0), count, 5)
        direct = measure(straight, _arrival(github, 0), count, count + 5)
    print("Beside a stand-in that checks every request:")
    print(line("  through Handoff, as a GitHub App", ours))
    print(line("  straight to GitHub", direct))
    print(f"  ratio of the medians {statistics.median(ours) / statistics.median(direct):.2f}")


def _arrival(github: GitHubStandIn, first: int) -> Callable[[int], float]:
    def arrived(number: int) -> float:
        github.wait_for_dispatches(number + 1 - first, timeout=_LONGEST)
        return time.perf_counter()

    return arrived


def idle(count: int) -> None:
    """Handoff, and a plain post, to the stand-in that only notes the time."""
    with tempfile.TemporaryDirectory() as folder, sink() as github:
        url = f"sqlite:///{Path(folder) / 'handoff.db'}"
        with handoff(Path(folder), url, github.url, budget="off") as server:
            post = post_to(
                server.port, WEBHOOK_PATH, lambda content: {HEADER: sign(content, SECRET.encode())}
            )
            measure(post, _noted(github), 5, 0)
            ours = measure(post, _noted(github), count, 5)
        straight = post_to(github.port, f"/repos/{REPOSITORY}/dispatches", lambda _: _JSON)
        direct = measure(straight, _noted(github), count, count + 5)
    print("Beside a stand-in that only notes the time, Handoff idle, SQLite:")
    print(line("  the request's arrival to the dispatch's", ours))
    print(line("  the same post straight there", direct))


def _noted(github: Sink) -> Callable[[int], float]:
    return lambda number: github.wait_for(number + 1, timeout=_LONGEST)


def queued(count: int) -> None:
    """Have so many wait; the receiver starts, and sends them to its one repository, one after the other."""
    with tempfile.TemporaryDirectory() as folder, sink() as github:
        url = f"sqlite:///{Path(folder) / 'handoff.db'}"
        fill_pending(url, count)
        with handoff(Path(folder), url, github.url, budget="off") as server:
            began = github.wait_for(count // 20, timeout=_LONGEST)
            before, cpu = server.resident_mib(), server.cpu_seconds()
            ended = github.wait_for(count, timeout=count / 5)
            after, cpu = server.resident_mib(), server.cpu_seconds() - cpu
            peak = server.peak_mib()
    keys = {key for _, key in github.arrived}
    if len(keys) != count or len(github.arrived) != count:
        raise SystemExit(f"{len(github.arrived)} dispatches arrived, {len(keys)} keys, want {count} of each")
    sent = count - count // 20
    print(f"{count:,} dispatches waiting, one repository (one at a time by design), each arrived once:")
    print(f"  {sent / (ended - began):.0f} a second, {cpu / sent * 1e3:.1f} ms of CPU each")
    print(
        f"  resident {before:.1f} MiB after a twentieth of them, {after:.1f} MiB after all, peak {peak:.1f}"
    )


def main() -> None:
    """Measure all three and print them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=200, help="promotions of each kind (default 200)")
    parser.add_argument("--queued", type=int, default=10_000, help="dispatches that wait (default 10,000)")
    told = parser.parse_args()
    beside_the_description(told.count)
    idle(told.count)
    if told.queued:
        queued(told.queued)


if __name__ == "__main__":
    main()
