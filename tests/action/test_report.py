"""The second action, at the end of a job: through ``env:`` alone, and in a real runner."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from registry_client.report import signature
from tests.action import act
from tests.action.act import Act
from tests.stand_ins.endpoints import Arrived, Endpoint, Said
from tests.stand_ins.runner import CompositeRunner
from tests.stand_ins.wandb import Membership, WandbStandIn

SOURCE = "acme/training/flower"
REGISTRY = "acme-org/wandb-registry-model/Flower Shop"
SECRET = "report secret of thirty-two chars"
HANDOFF = "wandb-handoff/handoff@v0.1.0"
REPORT = "wandb-handoff/handoff/report@v0.1.0"


@pytest.fixture
def wandb() -> Iterator[WandbStandIn]:
    """W&B with an organization."""
    with WandbStandIn() as serving:
        serving.add_organization("Acme", entity="acme-org", teams=["acme"])
        yield serving


@pytest.fixture
def promoted(wandb: WandbStandIn) -> Membership:
    """A model in the registry with the alias production."""
    return wandb.link(wandb.log_artifact(SOURCE, {"a": b"1"}), REGISTRY, aliases=["production"])


@pytest.fixture
def receiver() -> Iterator[Endpoint]:
    """Whoever takes reports that are signed."""

    def answer(arrived: Arrived) -> Said:
        right = signature(arrived.body, SECRET.encode())
        if arrived.headers.get("x-handoff-signature") != right:
            return Said(401, b'{"message": "another secret"}')
        return Said(200, b'{"status": "noted"}')

    with Endpoint(answer) as standing:
        yield standing


def states(receiver: Endpoint) -> list[str]:
    """What the receiver was told, in order."""
    return [each.json["state"] for each in receiver.arrived]


class TestComposite:
    """As GitHub runs it: each input through ``env:``, no INPUT_* anywhere."""

    @staticmethod
    def _runner(tmp_path: Path) -> CompositeRunner:
        act.packaged(tmp_path / "action")
        return CompositeRunner(tmp_path / "action" / "report", tmp_path / "work")

    def test_a_version_is_marked(
        self, wandb: WandbStandIn, promoted: Membership, receiver: Endpoint, tmp_path: Path
    ) -> None:
        """
        By name, with outputs and a summary, and the receiver told before and after.
        """
        done = self._runner(tmp_path).run(
            {
                "artifact": f"{REGISTRY}:production",
                "api-key": wandb.api_key,
                "base-url": wandb.url,
                "alias": "deployed\neu west\n",
                "metadata": "image=sha256:ab\n",
                "receiver-url": receiver.url,
                "report-secret": SECRET,
            },
            event={},
        )

        assert done.exit_code == 0, done.log
        assert promoted.aliases == ["latest", "production", "deployed", "eu west"]
        assert done.outputs == {
            "artifact": f"{REGISTRY}:v0",
            "changed": '["alias deployed", "alias eu west", "metadata image"]',
            "deployment": "",
            "known": "true",
            "reason": "",
        }
        assert "Written in W&amp;B" in done.summary
        assert states(receiver) == ["marking", "success"]

    @pytest.mark.parametrize("nasty", ['"; touch pwned; "', "$(touch pwned)", "x'\ntouch pwned\n'"])
    def test_no_input_becomes_a_command(self, tmp_path: Path, nasty: str) -> None:
        """
        Whatever an event put into an input stays text.
        """
        names = ("artifact", "alias", "tag", "metadata", "link", "image", "environment-url", "state")

        done = self._runner(tmp_path).run(dict.fromkeys(names, nasty), event={})

        assert done.exit_code == 2
        assert done.outputs["reason"] == "configuration"
        assert list(tmp_path.rglob("pwned")) == []


WORKFLOW = f"""
on:
  repository_dispatch:
    types: [BUILD_AND_DEPLOY]
jobs:
  build:
    runs-on: ubuntu-latest
    steps:
      - name: Download
        id: model
        uses: {HANDOFF}
        with:
          api-key: ${{{{ secrets.WANDB_API_KEY }}}}
      - name: Deploy
        run: exit ${{{{ vars.EXIT }}}}
      - name: Report
        id: report
        if: always()
        uses: {REPORT}
        with:
          state: ${{{{ job.status }}}}
          api-key: ${{{{ secrets.WANDB_API_KEY }}}}
          alias: deployed
          receiver-url: ${{{{ vars.RECEIVER }}}}
          report-secret: ${{{{ secrets.HANDOFF_REPORT_SECRET }}}}
      - name: Record
        if: always()
        env:
          OUTPUTS: ${{{{ toJSON(steps.report.outputs) }}}}
        run: printf %s "$OUTPUTS" > "$RECORD/outputs.json"
"""


@pytest.mark.skipif(act.PROGRAM is None, reason=act.WHY_NOT)
@pytest.mark.parametrize("code", [0, 1])
def test_a_job_reports_its_end(
    wandb: WandbStandIn, promoted: Membership, receiver: Endpoint, tmp_path: Path, code: int
) -> None:
    """
    In a real runner, of the version of its event: what was deployed is marked, what failed is told alone.
    """
    runner = Act(tmp_path / "act", {HANDOFF: act.packaged(tmp_path / "action")})
    handoff = {"artifact": promoted.reference, "key": "k1", "delivery": "d1", "entity": "acme-org"}
    handoff |= {"project": "wandb-registry-model", "collection": "Flower Shop", "alias": "production"}

    done = runner.run(
        WORKFLOW,
        {"action": "BUILD_AND_DEPLOY", "client_payload": {"handoff": handoff}},
        f"--var=EXIT={code}",
        f"--var=RECEIVER={receiver.url}",
        secrets={
            "WANDB_API_KEY": wandb.api_key,
            "HANDOFF_REPORT_SECRET": SECRET,
            "GITHUB_TOKEN": "ghs_none",
        },
        environ={"WANDB_BASE_URL": wandb.url},
    )

    assert done.results["Report"] == "success", done.log
    assert done.results["job"] == ("success" if code == 0 else "failure")
    assert states(receiver) == (["marking", "success"] if code == 0 else ["failure"])
    assert {(each.json["key"], each.json["delivery"]) for each in receiver.arrived} == {("k1", "d1")}
    assert promoted.aliases == ["latest", "production", *(["deployed"] if code == 0 else [])]
    outputs = json.loads((runner.recorded / "outputs.json").read_text(encoding="utf-8"))
    assert outputs["known"] == "true"
    assert SECRET not in done.log
