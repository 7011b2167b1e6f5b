"""A promotion, its job's report, and what W&B tells of that, at the real receiver."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from registry_client.__main__ import main
from tests.receiver.served import Served, clean_environ, serving
from tests.receiver.web_fakes import SECRET, TOKEN
from tests.receiver.world import GITHUB_TOKEN, REPOSITORY, SENDER, wait_until
from tests.stand_ins.github import GitHubStandIn
from tests.stand_ins.wandb import WandbStandIn, Webhook

ROOT = Path(__file__).resolve().parents[2]
LINKED = "acme-org/wandb-registry-model/Flower"
REPORT_SECRET = "report secret of thirty-two chars"
PAYLOAD = json.loads((ROOT / "tests" / "samples" / "readme_template.json").read_text(encoding="utf-8"))


@pytest.fixture
def github() -> Iterator[GitHubStandIn]:
    with GitHubStandIn() as standing:
        standing.add_repository(REPOSITORY)
        standing.add_token(
            GITHUB_TOKEN,
            repositories=(REPOSITORY,),
            permissions={"contents": "write", "deployments": "write"},
        )
        yield standing


@pytest.fixture
def wandb() -> Iterator[WandbStandIn]:
    with WandbStandIn() as standing:
        standing.add_organization("Acme Inc", entity="acme-org", teams=["acme"])
        yield standing


@pytest.fixture
def receiver(github: GitHubStandIn, tmp_path: Path) -> Iterator[Served]:
    environ = {
        **SENDER,
        "GITHUB_TOKEN": GITHUB_TOKEN,
        "GITHUB_API_URL": github.url,
        "HANDOFF_REPOSITORY": REPOSITORY,
        "HANDOFF_DATABASE_URL": f"sqlite:///{tmp_path}/handoff.db",
        "HANDOFF_REPORT_SECRET": REPORT_SECRET,
    }
    with serving(environ, tmp_path) as served:
        yield served


def report(wandb: WandbStandIn, github: GitHubStandIn, receiver: Served, folder: Path) -> tuple[int, str]:
    """Run the last step of the job that the dispatch started."""
    (folder / "event.json").write_text(json.dumps(github.event(github.dispatches[-1])), encoding="utf-8")
    stdout = io.StringIO()
    environ = {
        "GITHUB_EVENT_PATH": str(folder / "event.json"),
        "GITHUB_OUTPUT": str(folder / "output"),
        "GITHUB_REPOSITORY": REPOSITORY,
        "GITHUB_API_URL": github.url,
        "GITHUB_SHA": "6dcb09b5b57875f334f61aebed695e2e4193db5e",
        "HANDOFF_INPUT_BASE_URL": wandb.url,
        "HANDOFF_INPUT_API_KEY": wandb.api_key,
        "HANDOFF_INPUT_GITHUB_TOKEN": GITHUB_TOKEN,
        "HANDOFF_INPUT_ALIAS": "deployed",
        "HANDOFF_INPUT_TAG": "serving",
        "HANDOFF_INPUT_ENVIRONMENT": "production",
        "HANDOFF_INPUT_ENVIRONMENT_URL": "https://models.example.com",
        "HANDOFF_INPUT_RECEIVER_URL": receiver.url,
        "HANDOFF_INPUT_REPORT_SECRET": REPORT_SECRET,
    }
    return main(environ, stdout, ["report"]), stdout.getvalue()


def deliveries(receiver: Served, folder: Path) -> list[dict[str, Any]]:
    """What `handoff deliveries` shows."""
    done = subprocess.run(
        [sys.executable, "-m", "receiver", "deliveries", "--json"],
        env={**clean_environ(), **receiver.environ},
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )
    shown: list[dict[str, Any]] = json.loads(done.stdout)["deliveries"]
    return shown


def test_a_report_shows_and_starts_no_loop(
    wandb: WandbStandIn, github: GitHubStandIn, receiver: Served, tmp_path: Path
) -> None:
    """
    With an automation on every alias and tag: the job's own are answered `own-mark`, a person's are not.
    """
    hook = Webhook(receiver.webhook_url, access_token=TOKEN, secret=SECRET)
    for event in ("ADD_ARTIFACT_ALIAS", "ADD_ARTIFACT_TAG"):
        wandb.add_automation(event, collection="acme-org", webhook=hook, event=event, payload=PAYLOAD)
    version = wandb.log_artifact("acme/training/flower", {"a": b"1"})
    linked = wandb.link(version, LINKED)
    wait_until(lambda: len(github.dispatches) == 1)  # Of `latest`, as this automation asks for any alias.
    wandb.add_alias(LINKED, linked, "production")
    wait_until(lambda: len(github.dispatches) == 2)

    before = len(wandb.executions)
    code, log = report(wandb, github, receiver, tmp_path)

    assert code == 0, log
    assert linked.aliases == ["latest", "production", "deployed"]
    answers = [json.loads(each.response_body) for each in wandb.executions[before:]]
    assert [each.response_status for each in wandb.executions[before:]] == [200, 200]
    assert [each["status"] for each in answers] == ["own-mark", "own-mark"]
    [told] = [each for each in deliveries(receiver, tmp_path) if each["fields"].get("alias") == "production"]
    assert told["dispatches"][0]["report"]["state"] == "success"
    assert told["dispatches"][0]["report"]["url"] == "https://models.example.com"

    wandb.add_alias(LINKED, linked, "canary", by="ana")
    wait_until(lambda: len(github.dispatches) == 3)
    assert [each.client_payload["alias"] for each in github.dispatches] == ["latest", "production", "canary"]
