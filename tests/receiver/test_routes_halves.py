"""Routes in several processes on one PostgreSQL: each half with its own secrets, each promotion once."""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from receiver.delivery import DispatchState
from receiver.dispatch import DispatchKind
from receiver.ledger import Ledger
from tests.receiver.served import dispatching, serving
from tests.receiver.test_routes_served import wait_for
from tests.receiver.web_fakes import SECRET
from tests.receiver.world import GITHUB_TOKEN, REPOSITORY
from tests.stand_ins.endpoints import SlackStandIn
from tests.stand_ins.endpoints.slack import everything_read
from tests.stand_ins.github import GitHubStandIn, Workflow
from tests.stand_ins.wandb import WandbStandIn, Webhook

COLLECTION = "acme/wandb-registry-model/nature"
PAYLOAD = {
    "event_type": "BUILD_AND_DEPLOY",
    "client_payload": {
        "event_type": "${event_type}",
        "event_author": "${event_author}",
        "alias": "${alias}",
        "artifact_version": "${artifact_version}",
        "artifact_collection_name": "${artifact_collection_name}",
        "project_name": "${project_name}",
        "entity_name": "${entity_name}",
    },
}
FILE = """
sources: {{wandb: {{secrets: [{{env: WANDB_WEBHOOK_SECRET}}]}}}}
github: {{token: {{env: GITHUB_TOKEN}}, api_url: "{github}", budget: "off"}}
wandb: {{api_key: {{env: WANDB_API_KEY}}, base_url: "{wandb}", verify: required}}
ledger: {{url: {{env: DATABASE}}}}
routes:
  - name: deploy
    when: {{event: ADD_ARTIFACT_ALIAS, artifact: acme/wandb-registry-model/*, alias: production}}
    dispatch: {{repository: acme/serving, event_type: BUILD_AND_DEPLOY}}
channels:
  ml-slack: {{slack: {{env: SLACK}}, on: [accepted, run-finished]}}
"""


@dataclass
class World:
    """W&B, GitHub and Slack, the file, and a database."""

    wandb: WandbStandIn
    github: GitHubStandIn
    slack: SlackStandIn
    config: Path
    database_url: str

    @property
    def way_in(self) -> dict[str, str]:
        """What the half that receives is told."""
        return {"WANDB_WEBHOOK_SECRET": SECRET, "DATABASE": self.database_url}

    @property
    def way_out(self) -> dict[str, str]:
        """What the half that dispatches is told."""
        secrets = {"WANDB_API_KEY": self.wandb.api_key, "SLACK": self.slack.url, "GITHUB_TOKEN": GITHUB_TOKEN}
        return {"DATABASE": self.database_url, **secrets}

    def automate(self, url: str) -> None:
        """Have W&B post promotions there."""
        self.wandb.add_automation(
            f"to {url}",
            collection=COLLECTION,
            event="ADD_ARTIFACT_ALIAS",
            webhook=Webhook(url, access_token=None, secret=SECRET),
            payload=PAYLOAD,
        )

    def promote(self, alias: str = "production") -> str:
        """Promote a new version; return its digest."""
        logged = self.wandb.log_artifact("acme/train/nature", {"m": str(id(object())).encode()})
        version = self.wandb.link(logged, COLLECTION)
        self.wandb.add_alias(COLLECTION, version, alias, by="ana")
        return str(version.artifact.manifest.digest)

    def states(self) -> Counter[tuple[str, str]]:
        """How many dispatches of each kind stand how."""
        with Ledger.read_only(self.database_url) as ledger:
            every = [each for delivery in ledger.deliveries(limit=100) for each in delivery.dispatches]
        return Counter((each.kind.value, each.state.value) for each in every)

    def heard(self) -> Counter[str]:
        """What Slack notifies of: the headline and the version."""
        return Counter(next(everything_read(post)) for post in self.slack.posts)


@pytest.fixture
def world(new_postgresql: Callable[[], str], tmp_path: Path) -> Iterator[World]:
    """Everything but us."""
    with ExitStack() as stack:
        wandb, github = stack.enter_context(WandbStandIn()), stack.enter_context(GitHubStandIn())
        slack = stack.enter_context(SlackStandIn())
        github.add_repository(REPOSITORY, workflows=(Workflow("build.yml", types=("BUILD_AND_DEPLOY",)),))
        permissions = {"contents": "write", "actions": "read", "metadata": "read"}
        github.add_token(GITHUB_TOKEN, repositories=(REPOSITORY,), permissions=permissions)
        config = tmp_path / "handoff.yaml"
        config.write_text(FILE.format(github=github.url, wandb=wandb.url))
        yield World(wandb, github, slack, config, new_postgresql())
    assert github.violations == []


def end_runs(github: GitHubStandIn) -> None:
    """Have every run that began succeed."""
    for run in github.runs:
        github.end_run(run, "success")


def _more_runs(github: GitHubStandIn, before: int) -> bool:
    return len(github.runs) > before


def test_each_half_with_its_own_secrets(world: World, tmp_path: Path) -> None:
    """
    Who receives holds no key of GitHub, W&B or Slack, who dispatches none of the webhook; it is verified,
    sent, followed and told all the same, and each takes a new file on hangup, and no bad one.
    """
    config = ("--config", str(world.config))
    with (
        serving(world.way_in, tmp_path, "--no-dispatcher", *config) as receiving,
        dispatching(world.way_out, tmp_path, *config) as sending,
    ):
        world.automate(receiving.webhook_url)
        digest = world.promote()
        wait_for(lambda: world.github.runs, f"nothing is sent: {receiving.log} {sending.log}")
        end_runs(world.github)
        (sent,) = world.github.dispatches
        assert sent.client_payload["handoff"]["digest"] == digest
        told = {("repository_dispatch", "sent"): 1, ("notice", "sent"): 2}
        wait_for(lambda: world.states() == told, f"not all is told: {sending.log}")

        good = world.config.read_text()
        world.config.write_text(good.replace("routes:", "rotes:"))
        for each in (receiving, sending):
            each.process.send_signal(signal.SIGHUP)
            each.wait_for_log("the configuration stays as it was")
        world.promote()
        wait_for(lambda: len(world.github.dispatches) == 2, f"it sends no more: {sending.log}")

        world.config.write_text(good.replace("alias: production", "alias: live"))
        for each in (receiving, sending):
            each.process.send_signal(signal.SIGHUP)
            each.wait_for_log("the configuration was read anew: 1 route(s)")
        world.promote("live")
        wait_for(lambda: len(world.github.dispatches) == 3, f"it sends no more: {sending.log}")
        assert sending.stop() == 0
    assert not any(SECRET in line or GITHUB_TOKEN in line for line in (*receiving.log, *sending.log))


def test_two_whole_receivers(world: World, tmp_path: Path) -> None:
    """
    Both receive, dispatch, verify and follow runs: each promotion is sent once, each of the news told once.
    """
    everything = {**world.way_in, **world.way_out}
    with ExitStack() as running:
        both = [
            running.enter_context(serving(everything, tmp_path, "--config", str(world.config)))
            for _ in range(2)
        ]
        for each in both:  # W&B tells both of every promotion.
            world.automate(each.webhook_url)
        for _ in range(3):
            before = len(world.github.runs)
            world.promote()
            wait_for(partial(_more_runs, world.github, before), f"{[each.log for each in both]}")
            end_runs(world.github)
        told = {
            (DispatchKind.REPOSITORY_DISPATCH.value, DispatchState.SENT.value): 3,
            (DispatchKind.NOTICE.value, DispatchState.SENT.value): 6,
        }
        wait_for(lambda: world.states() == told, f"{world.states()} {[each.log for each in both]}")

    assert len(world.github.dispatches) == 3
    news = ("🚀 Promotion dispatched", "✅ Run succeeded")
    once = {f"{what}: `nature {version} → production`": 1 for what in news for version in ("v0", "v1", "v2")}
    assert world.heard() == {text.replace(">", "&gt;"): count for text, count in once.items()}
