"""A team's whole policy, served for real: README's file, with W&B, GitHub, Slack and Teams beside it."""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from receiver.delivery import DeliveryRecord, DispatchRecord, DispatchState
from receiver.dispatch import DispatchKind
from receiver.ledger import Ledger
from receiver.signature import HEADER, sign
from tests.receiver.served import Served, serving
from tests.stand_ins.endpoints import Endpoint, SlackStandIn, TeamsStandIn
from tests.stand_ins.endpoints.slack import everything_read
from tests.stand_ins.github import GitHubStandIn, Workflow
from tests.stand_ins.wandb import WandbStandIn, Webhook
from tests.stand_ins.wandb.state import Membership

FILE = Path(__file__).parent.parent / "samples" / "handoff.yaml"
SOURCE = "acme/training/nature"
COLLECTION = "acme/wandb-registry-model/nature-100"
SECRET, VISION_SECRET = "wandb-secret-for-tests", "vision-secret-for-tests"
TOKEN, MODAL_TOKEN = "access-token-for-tests", "modal-token-for-tests"
HOOK_SECRET = "github-webhook-secret-for-tests"
LONGEST = 30.0
PAYLOAD = {
    "event_type": "${event_type}",
    "event_author": "${event_author}",
    "alias": "${alias}",
    "tag": "${tag}",
    "artifact_version": "${artifact_version}",
    "artifact_version_string": "${artifact_version_string}",
    "artifact_collection_name": "${artifact_collection_name}",
    "project_name": "${project_name}",
    "entity_name": "${entity_name}",
}


def wait_for(what: Callable[[], Any], why: str) -> Any:
    """What it returns once that is true."""
    until = time.monotonic() + LONGEST
    while not (found := what()):
        assert time.monotonic() < until, why
        threading.Event().wait(0.02)
    return found


@dataclass
class World:
    """All of it, at work."""

    wandb: WandbStandIn
    github: GitHubStandIn
    slack: SlackStandIn
    teams: TeamsStandIn
    modal: Endpoint
    served: Served
    config: Path
    database_url: str

    def automate(self, source: str = "wandb", secret: str = SECRET, token: str | None = TOKEN) -> None:
        """Have W&B post every event of the three kinds that the file knows."""
        url = self.served.webhook_url.replace("/wandb", f"/{source}")
        for event in ("ADD_ARTIFACT_ALIAS", "LINK_ARTIFACT", "CREATE_ARTIFACT"):
            for place in ("acme",):
                self.wandb.add_automation(
                    f"{event} of {place}",
                    collection=place,
                    event=event,
                    webhook=Webhook(url, access_token=token, secret=secret),
                    payload=PAYLOAD,
                )

    def version(self, **metadata: float) -> Membership:
        """A new version of the model, linked to the registry without an alias."""
        logged = self.wandb.log_artifact(SOURCE, {"model.bin": b"weights"}, metadata=metadata)
        return self.wandb.link(logged, COLLECTION)

    def post(self, payload: dict[str, str], source: str = "wandb", secret: str = SECRET) -> requests.Response:
        """Post as W&B would, or as somebody would who knows the secret."""
        body = json.dumps(payload).encode()
        headers = {HEADER: sign(body, secret.encode()), "Authorization": f"Bearer {TOKEN}"}
        url = self.served.webhook_url.replace("/wandb", f"/{source}")
        return requests.post(url, data=body, headers=headers, timeout=10)

    def heard(self) -> str:
        """All that Slack shows."""
        return "\n".join(" ".join(everything_read(post)) for post in self.slack.posts)

    def deliveries(self) -> list[DeliveryRecord]:
        """All that were kept, newest first."""
        with Ledger.read_only(self.database_url) as ledger:
            return ledger.deliveries(limit=100)

    def dispatch(self, route: str) -> DispatchRecord | None:
        """The newest of that route, notices aside."""
        every = [each for delivery in self.deliveries() for each in delivery.dispatches]
        return next(
            (each for each in every if each.route == route and each.kind is not DispatchKind.NOTICE), None
        )

    def ended(self, route: str) -> DispatchRecord:
        """The newest of that route, once nothing more will come of it."""
        found: DispatchRecord = wait_for(
            lambda: (
                (record := self.dispatch(route))
                and record.state not in {DispatchState.PENDING, DispatchState.SENDING}
                and record
            ),
            f"{route} does not end: {self.served.log}",
        )
        return found


@contextmanager
def world_at(folder: Path, change: Callable[[str], str] = lambda text: text) -> Iterator[World]:
    """Everything up, with README's file but for addresses and paths."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = folder / "app.pem"
    pem.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.TraditionalOpenSSL,
            serialization.NoEncryption(),
        )
    )
    (folder / "previous").write_text("the-secret-before-for-tests")
    with ExitStack() as stack:
        wandb = stack.enter_context(WandbStandIn())
        github = stack.enter_context(GitHubStandIn())
        slack, teams = stack.enter_context(SlackStandIn()), stack.enter_context(TeamsStandIn())
        modal = stack.enter_context(Endpoint())
        _furnish(github, key)
        text = (
            FILE.read_text()
            .replace("/run/secrets/previous", str(folder / "previous"))
            .replace("/run/secrets/app.pem", str(pem))
            .replace("github:\n", f"github:\n  api_url: {github.url}\n  webhook_secret: {{env: HOOK}}\n")
            .replace("wandb:\n  api_key", f"wandb:\n  base_url: {wandb.url}\n  api_key")
            .replace("{url: https://acme--ci.modal.run,", f"{{url: '{modal.url}', allow_private: true,")
        )
        config = folder / "handoff.yaml"
        config.write_text(change(text))
        database_url = f"sqlite:///{folder}/handoff.db"
        environ = {
            "WANDB_WEBHOOK_SECRET": SECRET,
            "WANDB_WEBHOOK_TOKEN": TOKEN,
            "VISION_SECRET": VISION_SECRET,
            "WANDB_API_KEY": wandb.api_key,
            "MODAL_TOKEN": MODAL_TOKEN,
            "SLACK_WEBHOOK_URL": slack.url,
            "TEAMS_WEBHOOK_URL": teams.url,
            "HOOK": HOOK_SECRET,
            "HANDOFF_DATABASE_URL": database_url,
        }
        served = stack.enter_context(serving(environ, folder, "--config", str(config)))
        yield World(wandb, github, slack, teams, modal, served, config, database_url)
    assert github.violations == []


def _furnish(github: GitHubStandIn, key: rsa.RSAPrivateKey) -> None:
    repositories = {
        "acme/serving": Workflow("deploy.yml", types=("BUILD_AND_DEPLOY",)),
        "acme/nature-100": Workflow("evaluate.yml", types=("NONE",), inputs=("handoff_key",)),
        "acme/training": Workflow("retrain.yml", types=("RETRAIN",)),
    }
    for name, workflow in repositories.items():
        github.add_repository(name, workflows=(workflow,))
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    permissions = {"contents": "write", "actions": "write", "metadata": "read"}
    app = github.add_app(client_id="Iv23abc", public_key_pem=public.decode(), permissions=permissions)
    github.install(app, account="acme", repositories=tuple(repositories))


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """README's file, served."""
    with world_at(tmp_path) as world:
        yield world


def test_every_route_of_the_file_takes_effect(world: World) -> None:
    """
    One registry, four routes: a deployment, an evaluation, a retraining, an endpoint; each as it is written.
    """
    world.automate()

    version = world.version(accuracy=0.93)
    world.wandb.add_alias(COLLECTION, version, "production", by="release-bot")
    world.wandb.add_alias(COLLECTION, version, "candidate", by="ana")
    world.wandb.log_artifact("acme/reviews/texts", {"a.txt": b"a"}, type="dataset")

    assert world.ended("deploy-production").state is DispatchState.SENT
    (deployed,) = (each for each in world.github.dispatches if each.repository == "acme/serving")
    payload = deployed.client_payload
    assert {name: payload[name] for name in ("environment", "model")} == {
        "environment": "production",
        "model": "nature-100",
    }
    handoff = payload["handoff"]
    assert (handoff["version"], handoff["metadata"]) == ("v0", {"accuracy": 0.93})
    assert handoff["digest"] == version.artifact.manifest.digest

    assert world.ended("evaluate-candidates").state is DispatchState.SENT
    assert [(each.repository, each.ref) for each in world.github.started] == [("acme/nature-100", "main")]

    assert world.ended("retrain").state is DispatchState.SENT
    assert [each.event_type for each in world.github.dispatches if each.repository == "acme/training"] == [
        "RETRAIN"
    ]

    assert world.ended("modal").state is DispatchState.SENT
    posted = json.loads(world.modal.arrived[-1].body)
    assert posted["alias"] == "candidate"
    assert posted["handoff"]["digest"] == version.artifact.manifest.digest
    assert world.modal.arrived[-1].headers["authorization"] == f"Bearer {MODAL_TOKEN}"


def test_the_run_is_followed_and_the_channel_told(world: World) -> None:
    """
    The dispatch shows its run's link and conclusion, and Slack hears of the dispatch and of the run's end.
    """
    world.automate()
    world.wandb.add_alias(COLLECTION, world.version(), "production", by="ana")
    world.ended("deploy-production")
    (run,) = wait_for(lambda: [r for r in world.github.runs if r.repository.name == "acme/serving"], "no run")

    world.github.end_run(run, "failure")
    body, headers = world.github.workflow_run_webhook(run, HOOK_SECRET)
    github_url = world.served.webhook_url.replace("/wandb", "/github")
    assert requests.post(github_url, data=body, headers=headers, timeout=10).json() == {"status": "noted"}
    again = requests.post(github_url, data=body, headers=headers, timeout=10)

    assert again.status_code == 200
    record = world.dispatch("deploy-production")
    assert record is not None
    assert (record.run_status, record.run_conclusion) == ("completed", "failure")
    assert str(record.run_url).endswith(f"/actions/runs/{run.id}")
    wait_for(lambda: "Run failed" in world.heard(), f"Slack heard {world.heard()}, {world.served.log}")
    assert "Promotion dispatched" in world.heard()
    assert world.heard().count("Run failed") == 1
    every = [each for delivery in world.deliveries() for each in delivery.dispatches]
    told = [each.client_payload for each in every if each.kind is DispatchKind.NOTICE]
    assert {(each["version"], "/nature-100/v0" in each["artifact_url"]) for each in told} == {("v0", True)}


def test_an_older_promotion_is_outdated_not_deployed(world: World) -> None:
    """
    A webhook that comes when the alias has moved on starts nothing, and the ledger says why.
    """
    first, second = world.version(accuracy=0.5), world.version(accuracy=0.6)
    world.wandb.add_alias(COLLECTION, first, "production")
    world.wandb.add_alias(COLLECTION, second, "production")

    late = world.post(_told(first))

    assert late.status_code == 202
    record = world.ended("deploy-production")
    assert record.state is DispatchState.OUTDATED
    assert "v1 carries it now" in (record.detail or "")
    assert not world.github.dispatches


def test_a_forged_promotion_deploys_nothing(world: World) -> None:
    """
    Who has the secret and the token still cannot deploy what nobody promoted.
    """
    version = world.version()

    world.post(_told(version))

    assert world.ended("deploy-production").state is DispatchState.OUTDATED
    assert not world.github.dispatches


def test_a_source_speaks_for_its_entities_alone(world: World) -> None:
    """
    The vision team's webhook cannot promote acme's models, signed as it may be.
    """
    version = world.version()
    world.wandb.add_alias(COLLECTION, version, "production")

    refused = world.post(_told(version), source="vision-team", secret=VISION_SECRET)
    as_vision = {**_told(version), "entity_name": "vision", "artifact_version_string": ""}
    accepted = world.post(as_vision, source="vision-team", secret=VISION_SECRET)
    unknown = world.post(_told(version), source="nobody")

    assert (refused.status_code, refused.json()["reason"]) == (403, "entity-not-allowed")
    assert (accepted.status_code, accepted.json()["status"]) == (202, "unrouted")
    assert (unknown.status_code, unknown.json()["reason"]) == (404, "unknown-source")
    assert not world.github.dispatches


def test_what_no_route_wants_is_kept_and_shown(world: World) -> None:
    """
    An event that starts nothing is not lost.
    """
    version = world.version()

    answer = world.post({**_told(version), "alias": "staging"})

    assert answer.json()["status"] == "unrouted"
    assert [list(delivery.dispatches) for delivery in world.deliveries()] == [[]]


def test_a_new_file_is_taken_on_hangup_and_a_bad_one_is_not(world: World) -> None:
    """
    SIGHUP changes the routes at once; a file with a mistake changes nothing and is told with its line.
    """
    version = world.version()
    world.wandb.add_alias(COLLECTION, version, "production")
    good = world.config.read_text()

    world.config.write_text(good.replace("routes:", "rotes:"))
    world.served.process.send_signal(signal.SIGHUP)
    world.served.wait_for_log("the configuration stays as it was")
    assert world.post(_told(version)).json()["status"] == "accepted"

    world.config.write_text(good.replace("alias: production", "alias: never"))
    world.served.process.send_signal(signal.SIGHUP)
    world.served.wait_for_log("the configuration was read anew")
    assert world.post({**_told(version), "event_author": "release-2"}).json()["status"] in {
        "unrouted",
        "duplicate",
    }
    assert (
        world.post({**_told(version), "alias": "never", "event_author": "ana"}).json()["status"] == "accepted"
    )


def test_while_wandb_is_away_nothing_goes_out_unverified(world: World) -> None:
    """
    The dispatch waits; it is not lost, not sent, and not counted as failed.
    """
    version = world.version()
    told = _told(version)
    world.wandb.stop()

    world.post(told)

    record: DispatchRecord = wait_for(
        lambda: (
            (each := world.dispatch("deploy-production"))
            and each.attempts
            and each.attempts[0].outcome
            and each
        ),
        "it was not tried",
    )
    assert (record.state, record.attempts[0].reason) == (DispatchState.PENDING, "wandb-unreachable")
    assert record.attempts_used == 0
    assert not world.github.dispatches
    world.wandb.start()


def _told(version: Membership) -> dict[str, str]:
    """What W&B tells when production is given to that version."""
    entity, project, name = COLLECTION.split("/")
    return {
        "event_type": "ADD_ARTIFACT_ALIAS",
        "event_author": "ana",
        "alias": "production",
        "artifact_version": f"wandb-artifact://_id/{version.artifact.id}",
        "artifact_collection_name": name,
        "project_name": project,
        "entity_name": entity,
    }
