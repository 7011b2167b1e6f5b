"""What tests of whole receivers share: who sends to them, and GitHub behind them."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable

import requests

from receiver.signature import Encoding, sign
from tests.receiver.served import Served
from tests.receiver.web_fakes import SECRET, TOKEN
from tests.stand_ins.github import GitHubStandIn

REPOSITORY = "acme/serving"
GITHUB_TOKEN = "github_pat_for_tests_0123456789"
SENDER = {"WANDB_WEBHOOK_SECRET": SECRET, "WANDB_WEBHOOK_TOKEN": TOKEN}


def post(served: Served, raw: bytes, encoding: Encoding = Encoding.HEX) -> requests.Response:
    """Post a body as W&B would."""
    headers = {
        "X-Wandb-Signature": sign(raw, SECRET.encode(), encoding),
        "Authorization": f"Bearer {TOKEN}",
    }
    return requests.post(served.webhook_url, data=raw, headers=headers, timeout=20)


def wait_until(true: Callable[[], bool]) -> None:
    """Return as soon as it holds; fail after 20 seconds."""
    end = time.monotonic() + 20
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)


def keys(github: GitHubStandIn) -> set[str]:
    """The keys under which dispatches arrived."""
    return {one.client_payload["handoff"]["key"] for one in github.dispatches}


def artifact(version: int) -> str:
    """What W&B calls a version, whatever becomes of its aliases."""
    return f"wandb-artifact://_id/{base64.b64encode(f'Artifact:{version}'.encode()).decode()}"
