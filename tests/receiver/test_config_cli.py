"""`handoff check`, `route`, `schema` and `reconcile`, as a person runs them."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from receiver import config_cli
from receiver.cli import main
from receiver.ledger import Ledger
from receiver.settings import NAMES
from tests.stand_ins.github import GitHubStandIn, Workflow
from tests.stand_ins.wandb import WandbStandIn
from tests.test_architecture import ROOT

REGISTRY = "acme/wandb-registry-model"
SECRET, TOKEN = "whatever-signs-the-webhooks-here", "github_pat_0123456789abcdef"
FILE = """\
sources:
  wandb: {{secrets: [{{env: SIGNED_WITH}}]}}
  vision: {{secrets: [{{env: VISION}}], entities: [vision]}}
github: {{token: {{env: ACME_TOKEN}}, api_url: {github}}}
wandb: {{api_key: {{env: ACME_KEY}}, base_url: {wandb}, verify: required}}
ledger: {{url: "sqlite:///{folder}/handoff.db"}}
routes:
  - name: deploy
    when: {{artifact: acme/wandb-registry-model/*, alias: production}}
    dispatch: {{repository: acme/serving, event_type: BUILD}}
    reconcile: {{every: 10m}}
"""


class World:
    """GitHub, W&B, and a file that names both."""

    def __init__(self, github: GitHubStandIn, wandb: WandbStandIn, folder: Path) -> None:
        self.github, self.wandb, self.folder = github, wandb, folder
        self.file = folder / "handoff.yaml"
        self.write(FILE)

    def write(self, text: str) -> None:
        """Write the file."""
        text = text.format(github=self.github.url, wandb=self.wandb.url, folder=self.folder)
        self.file.write_text(text, encoding="utf-8")

    def promote(self, alias: str = "production") -> Path:
        """Promote a new version; the payload that W&B would post, in a file."""
        version = self.wandb.log_artifact("acme/training/nature", {"a": str(len(alias)).encode()})
        linked = self.wandb.link(version, f"{REGISTRY}/nature", [alias])
        payload = self.folder / "payload.json"
        told = {
            "event_type": "ADD_ARTIFACT_ALIAS",
            "alias": alias,
            "artifact_version": linked.reference,
            "artifact_version_string": linked.name,
            "artifact_collection_name": "nature",
            "project_name": "wandb-registry-model",
            "entity_name": "acme",
        }
        payload.write_text(json.dumps(told), encoding="utf-8")
        return payload

    def run(self, *arguments: str) -> int:
        """Run a command with the file."""
        return main([*arguments, "--config", str(self.file)])


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """All is well in it; and in the end no secret was printed, and nothing dispatched."""
    with GitHubStandIn() as github, WandbStandIn() as wandb:
        github.add_repository("acme/serving", workflows=(Workflow("deploy.yml", types=("BUILD",)),))
        github.add_token(
            TOKEN, repositories=["acme/serving"], permissions={"contents": "write", "actions": "read"}
        )
        wandb.log_artifact("acme/wandb-registry-model/first", {"a": b"1"})
        for name in NAMES:
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("SIGNED_WITH", SECRET)
        monkeypatch.setenv("VISION", f"{SECRET}-too")
        monkeypatch.setenv("ACME_TOKEN", TOKEN)
        monkeypatch.setenv("ACME_KEY", wandb.api_key)
        yield World(github, wandb, tmp_path)
    assert github.dispatches == ()


def printed(capsys: pytest.CaptureFixture[str], world: World) -> str:
    """What was printed, without any secret in it."""
    output = "".join(capsys.readouterr())
    assert not [secret for secret in (SECRET, TOKEN, world.wandb.api_key) if secret in output]
    return output


def test_check_tells_where_each_secret_is(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    """
    And what each route does; nobody is asked.
    """
    assert world.run("check") == 0
    output = printed(capsys, world)

    assert "✓ github.token               from env ACME_TOKEN, 27 characters\n" in output
    assert "✓ route deploy" in output
    assert output.endswith("5 right\n")
    assert world.github.requests == []
    assert world.wandb.requests == []


def test_check_online_asks_everybody(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    """
    Each credential and permission, each workflow and project.
    """
    assert world.run("check", "--online") == 0
    output = printed(capsys, world)

    for line in (
        "✓ acme/serving, contents: write",
        "deploy.yml of acme/serving listens for BUILD",
        "✓ acme/serving, actions: read",
        "W&B takes it; its organizations: none",
        f"✓ {REGISTRY}      the key, which is ana's, sees it",
    ):
        assert line in output
    assert "✗" not in output


def test_check_online_ends_with_one(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    """
    Where something is to be mended.
    """
    world.github.revoke_token(TOKEN)
    world.write(FILE.replace("acme/wandb-registry-model", "acme/gone"))

    assert world.run("check", "--online") == 1
    output = printed(capsys, world)
    assert "✗ acme/serving, contents: write" in output
    assert "✗ acme/gone" in output


def test_check_of_a_bad_file(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    """
    Every problem at its line, in the same table.
    """
    world.write(FILE.replace("alias: production", "alais: production").replace("BUILD", "''"))

    assert world.run("check") == 1
    lines = printed(capsys, world).splitlines()
    assert [line.startswith(f"✗ {world.file}:") for line in lines] == [True] * len(lines)
    assert "alais" in lines[0]


def test_check_of_no_file(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    """
    Is a wrong question.
    """
    assert main(["check", "--config", str(world.folder / "gone.yaml")]) == 2
    assert "gone.yaml: cannot be read: No such file or directory" in capsys.readouterr().err


def test_route_needs_no_secret(
    world: World, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    So that a policy can be tried in CI, where there is none.
    """
    payload = world.promote()
    for name in ("SIGNED_WITH", "VISION", "ACME_TOKEN", "ACME_KEY"):
        monkeypatch.delenv(name)

    assert world.run("route", str(payload)) == 0
    output = printed(capsys, world)
    assert "✓ deploy\n" in output
    assert "deploy: repository_dispatch BUILD to acme/serving\n" in output
    assert "  W&B is asked first: is wandb-artifact://_id/" in output


def test_route_reads_standard_input(
    world: World, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    And tells by which door: one may not speak for what another may.
    """
    payload = world.promote()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(payload.read_bytes())))

    assert world.run("route", "-", "--source", "vision") == 0
    assert "Refused: vision may speak for vision, and this is of acme.\n" in printed(capsys, world)


def test_route_online_asks_wandb(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    """
    Whether it still holds, and what the dispatch would say; still nothing is sent.
    """
    older = json.loads(world.promote().read_text(encoding="utf-8"))
    assert world.run("route", "--online", str(world.folder / "payload.json")) == 0
    output = printed(capsys, world)
    assert "  W&B agrees\n" in output
    assert '"digest": "' in output

    world.promote()
    (world.folder / "older.json").write_text(json.dumps(older), encoding="utf-8")
    assert world.run("route", "--online", str(world.folder / "older.json")) == 0
    assert "  outdated (outdated): not sent: " in printed(capsys, world)


@pytest.mark.parametrize(
    ("body", "said"),
    [(b"{}", "bad-payload: Its variables are not filled in"), (b"[", "not-json")],
    ids=["a test", "no JSON"],
)
def test_route_of_what_is_no_event(
    world: World, capsys: pytest.CaptureFixture[str], body: bytes, said: str
) -> None:
    """
    Says so.
    """
    file = world.folder / "payload.json"
    file.write_bytes(body)

    assert world.run("route", str(file)) == 1
    assert said in printed(capsys, world)


def test_route_of_no_file(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    """
    Is a wrong question.
    """
    assert world.run("route", str(world.folder / "payload.json")) == 2
    assert "payload.json: cannot be read: No such file" in printed(capsys, world)


def test_route_by_a_door_that_is_not_there(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    """
    Those that are there are named.
    """
    assert world.run("route", "--source", "x", str(world.promote())) == 2
    assert "--source: there is no source 'x' (there are: wandb, vision)" in printed(capsys, world)


def test_route_online_without_a_key(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    """
    Says what is missing.
    """
    text = FILE.replace("wandb: {{api_key: {{env: ACME_KEY}}, base_url: {wandb}, verify: required}}\n", "")
    world.write(text.replace("    reconcile: {{every: 10m}}\n", ""))

    assert world.run("route", "--online", str(world.promote())) == 2
    assert "wandb.api_key: is missing, and W&B is to be asked" in printed(capsys, world)


def test_schema_is_the_published_one(capsys: pytest.CaptureFixture[str]) -> None:
    """
    Byte for byte.
    """
    assert main(["schema"]) == 0
    assert capsys.readouterr().out == (ROOT / "handoff.schema.json").read_text(encoding="utf-8")


def deliveries(world: World) -> list[bool]:
    """Of each delivery, whether it was caught up."""
    with Ledger.read_only(f"sqlite:///{world.folder}/handoff.db") as ledger:
        return [delivery.reconciled for delivery in ledger.deliveries()]


def test_reconcile_catches_up_once(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    """
    The first look takes note; what comes after is caught up, and then it is known.
    """
    world.promote()
    for more in ("--dry-run", "--wait=0"):
        assert world.run("reconcile", more) == 0
        assert (
            printed(capsys, world) == "0 missed; 1 as they were told, 1 of them noted for the first time.\n"
        )

    world.promote()
    assert world.run("reconcile", "--dry-run") == 0
    assert printed(capsys, world).endswith(
        "nature:production is v1, and none came so far: missed by deploy\n1 missed; 0 as they were told.\n"
    )
    assert deliveries(world) == []

    assert world.run("reconcile", "--wait", "0") == 0
    assert "nature:production: caught up, as delivery " in printed(capsys, world)
    assert world.run("reconcile", "--wait", "0") == 0
    assert printed(capsys, world) == "0 missed; 1 as they were told.\n"
    assert deliveries(world) == [True]


def test_reconcile_all_catches_up_what_was_there(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    """
    On request.
    """
    world.promote()

    assert world.run("reconcile", "--all", "--wait", "0") == 0
    assert "caught up, as delivery" in printed(capsys, world)
    assert deliveries(world) == [True]


def test_reconcile_does_not_overtake_a_webhook(
    world: World, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    What seems missed is looked at once more; here it has moved on meanwhile.
    """
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        world.promote()

    assert world.run("reconcile", "--wait", "0") == 0
    world.promote()
    monkeypatch.setattr(config_cli, "sleep", sleep)

    assert world.run("reconcile") == 0
    assert slept == [120]
    output = printed(capsys, world)
    assert "Looking once more in 120 s: a webhook may be under way.\n" in output
    assert "caught up" not in output
    assert deliveries(world) == []


def test_reconcile_without_wandb(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    """
    Says what could not be compared, and fails.
    """
    world.write(FILE.replace("acme/wandb-registry-model", "acme/gone"))

    assert world.run("reconcile") == 1
    assert "not compared: acme/gone/*:production (deploy): the key sees no such project" in printed(
        capsys, world
    )


def test_reconcile_with_nothing_to_do(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    """
    Is a wrong question.
    """
    world.write(FILE.replace("    reconcile: {{every: 10m}}\n", ""))

    assert world.run("reconcile") == 2
    assert "routes: none is to be reconciled" in printed(capsys, world)
