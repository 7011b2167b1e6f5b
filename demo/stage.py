"""The demo's stage: a W&B stand-in with a model, a GitHub stand-in with an App, and the real receiver."""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import requests
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from demo.flower_model import FlowerModel
from demo.story import wait_until
from tests.stand_ins.github import GitHubStandIn, Workflow
from tests.stand_ins.wandb import WandbStandIn, Webhook

SOURCE = "acme/training/flowers"
COLLECTION = "acme-org/wandb-registry-model/flowers"
REPOSITORY = "acme/serving"
CLIENT_ID = "Iv23demo"
PAYLOAD = {
    "event_type": "BUILD_AND_DEPLOY",
    "client_payload": {
        "event_type": "${event_type}",
        "event_author": "${event_author}",
        "alias": "${alias}",
        "artifact_version": "${artifact_version}",
        "artifact_version_string": "${artifact_version_string}",
        "artifact_collection_name": "${artifact_collection_name}",
        "project_name": "${project_name}",
        "entity_name": "${entity_name}",
    },
}


@dataclass(frozen=True)
class Receiver:
    """The running ``handoff serve``: where it listens, what it was told, where it logs."""

    url: str
    environ: Mapping[str, str]
    log: Path

    @property
    def webhook_url(self) -> str:
        """Where W&B posts to."""
        return f"{self.url}/webhooks/wandb"

    def ready(self) -> bool:
        """Whether it says that it can do its work."""
        try:
            return requests.get(f"{self.url}/readyz", timeout=5).ok
        except requests.ConnectionError:
            return False


@contextlib.contextmanager
def wandb_with_models() -> Iterator[WandbStandIn]:
    """W&B with a first and a better version of one model, both linked to the registry."""
    with WandbStandIn() as wandb:
        wandb.add_organization("Acme Inc", entity="acme-org", teams=("acme",))
        for rounds, flowers in ((5, 60), (120, 450)):
            model = FlowerModel.train(seed=1, rounds=rounds, flowers=flowers)
            metadata = {"accuracy": model.accuracy(seed=99), "kind": "softmax regression"}
            version = wandb.log_artifact(SOURCE, model.files(), type="model", metadata=metadata)
            wandb.link(version, COLLECTION, aliases=())
        yield wandb


@contextlib.contextmanager
def github_with_app() -> Iterator[tuple[GitHubStandIn, str]]:
    """GitHub with one repository that listens and an App installed there; gives its private key too."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    )
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    with GitHubStandIn() as github:
        workflow = Workflow("deploy.yml", types=("BUILD_AND_DEPLOY",), run_name_shows_key=True)
        github.add_repository(REPOSITORY, workflows=(workflow,))
        app = github.add_app(
            client_id=CLIENT_ID,
            public_key_pem=public.decode(),
            permissions={"contents": "write", "metadata": "read"},
        )
        github.install(app, account="acme", repositories=(REPOSITORY,))
        yield github, private.decode()


@contextlib.contextmanager
def receiver_at_work(folder: Path, github_url: str, private_key: str, **others: str) -> Iterator[Receiver]:
    """``handoff serve`` with its six variables and any others, up and ready; SIGTERM at the end."""
    settings = {
        "WANDB_WEBHOOK_SECRET": secrets.token_urlsafe(32),
        "WANDB_WEBHOOK_TOKEN": secrets.token_urlsafe(32),
        "GITHUB_APP_CLIENT_ID": CLIENT_ID,
        "GITHUB_APP_PRIVATE_KEY": private_key,
        "GITHUB_API_URL": github_url,
        "HANDOFF_REPOSITORY": REPOSITORY,
        "HANDOFF_DATABASE_URL": f"sqlite:///{folder / 'handoff.db'}",
        **others,
    }
    port = _free_port()
    log = folder / "receiver.log"
    with log.open("wb") as lines:
        process = subprocess.Popen(
            [sys.executable, "-m", "receiver", "serve", "--bind", f"127.0.0.1:{port}"],
            env=_environ_without_ours() | settings,
            stdout=lines,
            stderr=lines,
        )
    receiver = Receiver(f"http://127.0.0.1:{port}", settings, log)
    try:
        wait_until(
            "the receiver is ready",
            lambda: process.poll() is not None or receiver.ready(),
            hint=lambda: log.read_text(encoding="utf-8"),
        )
        yield receiver
    finally:
        process.terminate()
        process.wait(timeout=40)


def webhook_of(receiver: Receiver) -> Webhook:
    """W&B's side of the two secrets that both sides know."""
    return Webhook(
        url=receiver.webhook_url,
        access_token=receiver.environ["WANDB_WEBHOOK_TOKEN"],
        secret=receiver.environ["WANDB_WEBHOOK_SECRET"],
    )


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
    return port


def _environ_without_ours() -> dict[str, str]:
    ours = ("WANDB_", "GITHUB_", "HANDOFF_")
    return {name: value for name, value in os.environ.items() if not name.startswith(ours)}
