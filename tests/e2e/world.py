"""Everything at once: W&B, receiver, GitHub, runner, registry, engine, and nginx before the model."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from receiver.delivery import DeliveryRecord
from receiver.ledger import Ledger
from tests.action import act
from tests.action.act import Act
from tests.e2e.bases import PYTHON, ROOT, TORCHSERVE, Base
from tests.e2e.ci import Ci, Hook, Told
from tests.e2e.engine import engine
from tests.e2e.front import front, program
from tests.e2e.images import Builder, builder
from tests.e2e.registry import registry
from tests.e2e.stand_in_actions import repositories
from tests.receiver.served import Served, serving
from tests.stand_ins.endpoints import SlackStandIn
from tests.stand_ins.github import GitHubStandIn, Workflow
from tests.stand_ins.wandb import Membership, WandbStandIn, Webhook

SOURCE = "acme/training/flowers"
COLLECTION = "acme-org/wandb-registry-model/flowers"
REPOSITORY = "acme/serving"
_ALIASES = ("production", "deployed")
_SECRETS = {
    "WANDB_WEBHOOK_SECRET": "wandb-secret-of-the-tests",
    "WANDB_WEBHOOK_TOKEN": "access-token-of-the-tests",
    "GITHUB_TOKEN": "github_pat_" + "e" * 40,
    "HANDOFF_REPORT_SECRET": "report-secret-of-thirty-two-chars",
    "HOOK": "github-webhook-secret-of-the-tests",
}
_PROGRAMS = ("dockerd", "docker", "buildah", "docker-registry", "mmdebstrap", "ip", "kubectl")
_PROGRAMS_OF_OURS = Path(__file__).with_name("programs")


def why_not() -> str | None:
    """Why none of this can be done here; None where it can."""
    missing = [name for name in _PROGRAMS if shutil.which(name) is None]
    if missing:
        return (
            f"{', '.join(missing)} of Debian's packages are not here: .ci/install-e2e installs them, as root"
        )
    if act.PROGRAM is None:
        return act.WHY_NOT
    if program() is None:
        return "nginx is not here: .ci/install-nginx unpacks it"
    try:
        with tempfile.TemporaryDirectory(prefix="hoff-", dir="/tmp") as folder, engine(Path(folder)):
            pass
        with ThreadPoolExecutor() as both:
            list(both.map(Base.make, (PYTHON, TORCHSERVE)))
    except (AssertionError, OSError, RuntimeError, subprocess.SubprocessError) as error:
        return f"an engine or its base images cannot be had here: {error}"
    return None


@dataclass(frozen=True)
class Example:
    """What is served and how it is asked, from a folder of examples/.

    Attributes:
        folder: What is in the repository that deploys, its workflow included.
        stages: Stages of the Dockerfile that one of the bases is already.
        ask: The path that predictions are asked at.
    """

    folder: Path
    bases: Sequence[Base]
    stages: Mapping[str, str] = field(default_factory=dict)

    @property
    def workflow(self) -> str:
        """The text of its only workflow."""
        (file,) = (self.folder / ".github" / "workflows").glob("*.yml")
        return file.read_text(encoding="utf-8")


@dataclass(frozen=True)
class World:
    """All that is up."""

    folder: Path
    wandb: WandbStandIn
    github: GitHubStandIn
    slack: SlackStandIn
    receiver: Served
    ci: Ci
    builder: Builder
    url: str

    def log_and_link(self, files: Mapping[str, bytes]) -> Membership:
        """Log the next version of the model, and link it to the registry."""
        return self.wandb.link(self.wandb.log_artifact(SOURCE, files, type="model"), COLLECTION)

    def promote(self, version: Membership) -> None:
        """Give it the alias, which is what starts everything."""
        self.wandb.add_alias(COLLECTION, version, "production")

    def deliveries(self) -> Sequence[DeliveryRecord]:
        """What the receiver knows, oldest first."""
        with Ledger.read_only(self.receiver.environ["HANDOFF_DATABASE_URL"]) as ledger:
            return ledger.deliveries(limit=100)[::-1]


@contextlib.contextmanager
def world(example: Example) -> Iterator[World]:
    """Have all of it, and none of it at the end: no process, no container, no mount."""
    with contextlib.ExitStack() as stack:
        # Directly below, for the path of a socket is short.
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="hoff-", dir="/tmp")))
        images = stack.enter_context(builder(_in(folder, "images"), example.bases))
        docker = stack.enter_context(engine(_in(folder, "engine")))
        pushed_to = stack.enter_context(registry(_in(folder, "registry")))
        url = stack.enter_context(front(_in(folder, "front")))
        wandb = stack.enter_context(WandbStandIn())
        wandb.add_organization("Acme Inc", entity="acme-org", teams=("acme",))
        github, slack = stack.enter_context(GitHubStandIn()), stack.enter_context(SlackStandIn())
        receiver = stack.enter_context(_receiver(_in(folder, "receiver"), github, slack))
        _automate(wandb, receiver, example)
        runner = Act(
            folder / "act",
            repositories(example.workflow, folder / "actions", _handoff(folder / "handoff")),
            patience=400,
        )
        _repository(runner.repository, example)
        told = Told(
            secrets={
                "WANDB_API_KEY": wandb.api_key,
                "WANDB_WRITE_API_KEY": wandb.api_key,
                "GITHUB_TOKEN": "ghs_none",
                "HANDOFF_REPORT_SECRET": _SECRETS["HANDOFF_REPORT_SECRET"],
            },
            variables={"HANDOFF_URL": receiver.url},
            environ={
                **docker.environ,
                "E2E_BUILDAH": shlex.join(images.words),
                "E2E_BASES": json.dumps(
                    {base.stands_for: f"localhost/{base.name}" for base in example.bases}
                ),
                "E2E_STAGES": json.dumps(dict(example.stages)),
                "E2E_REGISTRIES": json.dumps({"ghcr.io": pushed_to}),
                "WANDB_BASE_URL": wandb.url,
                "FRONT": str(folder / "front"),
                "PATH": os.pathsep.join(
                    (str(_PROGRAMS_OF_OURS), str(Path(sys.executable).parent), os.environ["PATH"])
                ),
                "PYTHONPATH": str(ROOT),
            },
        )
        hook = Hook(f"{receiver.url}/webhooks/github", _SECRETS["HOOK"])
        ci = stack.enter_context(Ci(github, runner, example.workflow, told, hook).watching())
        yield World(folder, wandb, github, slack, receiver, ci, images, url)


def _receiver(
    folder: Path, github: GitHubStandIn, slack: SlackStandIn
) -> contextlib.AbstractContextManager[Served]:
    """`handoff serve`, whose one route wants our own mark too: only knowing it for ours ends the circle."""
    github.add_repository(REPOSITORY, workflows=[Workflow("deploy.yml", types=("BUILD_AND_DEPLOY",))])
    permissions = {"contents": "write", "actions": "read"}
    github.add_token(_SECRETS["GITHUB_TOKEN"], repositories=[REPOSITORY], permissions=permissions)
    config = {
        "sources": {
            "wandb": {
                "secrets": [{"env": "WANDB_WEBHOOK_SECRET"}],
                "tokens": [{"env": "WANDB_WEBHOOK_TOKEN"}],
            }
        },
        "github": {
            "api_url": github.url,
            "token": {"env": "GITHUB_TOKEN"},
            "webhook_secret": [{"env": "HOOK"}],
        },
        "reports": {"secrets": [{"env": "HANDOFF_REPORT_SECRET"}]},
        "routes": [
            {
                "name": "deploy",
                "when": {"event": "ADD_ARTIFACT_ALIAS", "alias": list(_ALIASES)},
                "dispatch": {"repository": REPOSITORY, "event_type": "BUILD_AND_DEPLOY"},
                "notify": ["team"],
            }
        ],
        "channels": {"team": {"slack": {"env": "SLACK_WEBHOOK_URL"}, "on": ["failed", "run-finished"]}},
    }
    file = folder / "handoff.yaml"
    file.write_text(json.dumps(config), encoding="utf-8")  # JSON is YAML too.
    environ = {
        **_SECRETS,
        "SLACK_WEBHOOK_URL": slack.url,
        "HANDOFF_DATABASE_URL": f"sqlite:///{folder / 'handoff.db'}",
    }
    return serving(environ, folder, "--config", str(file))


def _repository(folder: Path, example: Example) -> None:
    """What is checked out of the repository that deploys."""
    shutil.copytree(example.folder, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns(".github"))
    for words in (
        ["init", "-q", "-b", "main"],
        ["remote", "add", "origin", f"https://github.com/{REPOSITORY}"],
    ):
        subprocess.run(["git", *words], cwd=folder, check=True)


def _in(folder: Path, name: str) -> Path:
    (folder / name).mkdir()
    return folder / name


def _copy(source: Path, into: Path) -> None:
    into.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, into, dirs_exist_ok=True)
    else:
        shutil.copy(source, into)


def _automate(wandb: WandbStandIn, receiver: Served, example: Example) -> None:
    """One automation for what is to be deployed, and one for the mark that says that it was."""
    payload = json.loads((example.folder / "payload.json").read_text(encoding="utf-8"))
    secret, token = _SECRETS["WANDB_WEBHOOK_SECRET"], _SECRETS["WANDB_WEBHOOK_TOKEN"]
    for alias in _ALIASES:
        wandb.add_automation(
            f"Deploy {alias}",
            collection=COLLECTION,
            event="ADD_ARTIFACT_ALIAS",
            alias_regex=f"^{alias}$",
            webhook=Webhook(receiver.webhook_url, access_token=token, secret=secret),
            payload=payload,
        )


def _handoff(folder: Path) -> Path:
    """What GitHub would fetch for our actions, packaged from the sources as they are now."""
    spec = importlib.util.spec_from_file_location("build_pyz", ROOT / "packaging" / "build_pyz.py")
    assert spec is not None
    assert spec.loader is not None
    packaging = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(packaging)
    packaging.build(folder / "dist" / "registry_client.pyz", packaging.download_wheels(ROOT / "build"))
    for name in ("action.yml", "report"):
        if (ROOT / name).exists():
            _copy(ROOT / name, folder / name)
    return folder
