"""From the webhook to the dispatch at GitHub: through Handoff, and straight from W&B, in one run.

Each promotion is posted when the one before has arrived, so this is latency, not throughput.  Straight is
what W&B's documentation shows: the webhook is GitHub's own dispatch URL; nothing is checked, nothing kept.
"""

from __future__ import annotations

import argparse
import hashlib
import hmac
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import requests

from demo.stage import PAYLOAD, REPOSITORY, github_with_app, receiver_at_work
from tests.stand_ins.github import GitHubStandIn

TOKEN = "github_pat_" + "b" * 40
_JSON = {"Content-Type": "application/json", "User-Agent": "latency"}


def payload(number: int) -> Mapping[str, object]:
    """One promotion, each of another version."""
    values = {
        "event_type": "ADD_ARTIFACT_ALIAS",
        "event_author": "ana",
        "alias": "production",
        "artifact_version": "wandb-artifact://_id/QXJ0aWZhY3Q6NTE3ODg5ODg3",
        "artifact_version_string": f"acme-org/wandb-registry-model/flowers:v{number}",
        "artifact_collection_name": "flowers",
        "project_name": "wandb-registry-model",
        "entity_name": "acme-org",
    }
    return {**PAYLOAD, "client_payload": values}


def measure(github: GitHubStandIn, post: Callable[[bytes], None], count: int) -> list[float]:
    """Milliseconds from before the post until the dispatch is at GitHub, for each promotion."""
    taken = []
    for number in range(count):
        body = json.dumps(payload(number)).encode()
        so_far = len(github.dispatches)
        began = time.perf_counter()
        post(body)
        github.wait_for_dispatches(so_far + 1, timeout=30)
        taken.append((time.perf_counter() - began) * 1000)
    return taken


def line(name: str, taken: Sequence[float]) -> str:
    """Median and 99th percentile, aligned."""
    p99 = statistics.quantiles(taken, n=100)[98]
    return (
        f"{name:<28} {statistics.median(taken):7.2f} ms median {p99:8.2f} ms p99   ({len(taken)} promotions)"
    )


def main() -> None:
    """Measure both and print the ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=200, help="promotions (default 200)")
    count = parser.parse_args().count
    with (
        tempfile.TemporaryDirectory() as folder,
        github_with_app() as (github, private_key),
        receiver_at_work(Path(folder), github.url, private_key) as receiver,
        requests.Session() as w_and_b,
    ):
        secret = receiver.environ["WANDB_WEBHOOK_SECRET"].encode()
        bearer = _JSON | {"Authorization": f"Bearer {receiver.environ['WANDB_WEBHOOK_TOKEN']}"}
        github.add_token(TOKEN, repositories=(REPOSITORY,), permissions={"contents": "write"})

        def through_handoff(body: bytes) -> None:
            signed = bearer | {"X-Wandb-Signature": hmac.new(secret, body, hashlib.sha256).hexdigest()}
            answer = w_and_b.post(receiver.webhook_url, data=body, headers=signed, timeout=30)
            answer.raise_for_status()

        def straight(body: bytes) -> None:
            answer = w_and_b.post(
                f"{github.url}/repos/{REPOSITORY}/dispatches",
                data=body,
                headers=_JSON | {"Authorization": f"Bearer {TOKEN}"},
                timeout=30,
            )
            answer.raise_for_status()

        measure(github, through_handoff, 5)
        ours, direct = measure(github, through_handoff, count), measure(github, straight, count)
    print(line("through Handoff", ours))
    print(line("straight to GitHub", direct))
    print(f"ratio of the medians         {statistics.median(ours) / statistics.median(direct):7.2f}")


if __name__ == "__main__":
    main()
