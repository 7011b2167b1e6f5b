"""The end of a job, told to a W&B, a GitHub and a receiver that behave like them."""

from __future__ import annotations

import io
import json
import signal
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from receiver.errors import RejectedError
from receiver.event import RegistryEvent, read_event
from receiver.reports import OwnMarks, Reports
from receiver.secret import Secret
from registry_client import patience
from registry_client.__main__ import main
from tests.receiver.fakes import Clock
from tests.receiver.report_fakes import FakeReportStore
from tests.stand_ins.endpoints import Arrived, Endpoint, Said
from tests.stand_ins.github import GitHubStandIn
from tests.stand_ins.runner import _heredocs
from tests.stand_ins.wandb import Membership, WandbStandIn, Webhook

SOURCE = "acme/training/flower"
MODELS = "acme-org/wandb-registry-model"
LINKED = f"{MODELS}/Flower"
REPOSITORY = "acme/serving"
SECRET = "report secret of thirty-two chars"
IMAGE = f"ghcr.io/acme/serving@sha256:{'ab' * 32}"
RUN = "https://github.com/acme/serving/actions/runs/17"
HOOK = Webhook("http://127.0.0.1:9/closed")


class FakeReceiver(Endpoint):
    """The receiver's story behind HTTP, as its view answers."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(self._answer)
        self.clock = clock
        self.store = FakeReportStore("key-1")
        self.reports = Reports((Secret(SECRET),), self.store, clock)

    def ours(self, body: bytes) -> bool:
        """Whether the webhook with this body is about what a job of ours wrote."""
        event = read_event(body)
        assert isinstance(event, RegistryEvent)
        return OwnMarks(self.store)(event, self.clock())

    def _answer(self, arrived: Arrived) -> Said:
        if (arrived.method, arrived.path) != ("POST", "/reports"):
            return Said(404)
        try:
            known = self.reports.receive(arrived.body, arrived.headers.get("x-handoff-signature"))
        except RejectedError as error:
            return Said(error.status, json.dumps({"message": str(error)}).encode())
        return Said(200, json.dumps({"status": "noted" if known else "unknown"}).encode())


@dataclass
class Step:
    """The last step of a job, and what it left behind."""

    folder: Path
    wandb: WandbStandIn
    github: GitHubStandIn
    receiver: FakeReceiver
    clock: Clock
    environ: dict[str, str] = field(default_factory=dict)
    log: str = ""

    def run(self, event: Mapping[str, Any] | None = None, **inputs: str) -> int:
        """Run it for that event with these inputs."""
        for name in ("output", "summary"):
            (self.folder / name).write_text("", encoding="utf-8")
        (self.folder / "event.json").write_text(json.dumps(event or {}), encoding="utf-8")
        stdout = io.StringIO()
        environ = {
            "GITHUB_EVENT_PATH": str(self.folder / "event.json"),
            "GITHUB_OUTPUT": str(self.folder / "output"),
            "GITHUB_STEP_SUMMARY": str(self.folder / "summary"),
            "GITHUB_REPOSITORY": REPOSITORY,
            "GITHUB_SERVER_URL": "https://github.com",
            "GITHUB_API_URL": self.github.url,
            "GITHUB_RUN_ID": "17",
            "GITHUB_SHA": "6dcb09b5b57875f334f61aebed695e2e4193db5e",
            "HANDOFF_INPUT_BASE_URL": self.wandb.url,
            "HANDOFF_INPUT_API_KEY": self.wandb.api_key,
            "HANDOFF_INPUT_GITHUB_TOKEN": "github_pat_1",
            "HANDOFF_INPUT_REPORT_SECRET": SECRET,
            **self.environ,
            **{f"HANDOFF_INPUT_{name.upper()}": value for name, value in inputs.items()},
        }
        code = main(environ, stdout, ["report"], now=self.clock)
        self.log = stdout.getvalue()
        return code

    def tell_everybody(self, **inputs: str) -> int:
        """Run it with everything that there is to tell."""
        given = {
            "artifact": f"{LINKED}:v0",
            "alias": "deployed",
            "tag": "serving",
            "metadata": f"image={IMAGE}\nrun={RUN}",
            "image": IMAGE,
            "environment": "production",
            "environment_url": "https://models.example.com",
            "receiver_url": self.receiver.url,
        }
        event = {"client_payload": {"handoff": {"delivery": "delivery-1", "key": "key-1"}}}
        return self.run(event, **{**given, **inputs})

    @property
    def outputs(self) -> dict[str, str]:
        """The outputs as the runner reads them."""
        return _heredocs((self.folder / "output").read_text(encoding="utf-8"))

    @property
    def summary(self) -> str:
        """The step summary."""
        return (self.folder / "summary").read_text(encoding="utf-8")

    @property
    def told(self) -> list[str]:
        """The states that the receiver was told, in order."""
        return [each["state"] for each in self.receiver.store.reports]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def receiver(clock: Clock) -> Iterator[FakeReceiver]:
    with FakeReceiver(clock) as standing:
        yield standing


@pytest.fixture
def github(clock: Clock) -> Iterator[GitHubStandIn]:
    """GitHub, with a token that may write deployments; nothing is said that GitHub does not describe."""
    with GitHubStandIn(now=clock) as standing:
        standing.add_repository(REPOSITORY)
        standing.add_token("github_pat_1", repositories=(REPOSITORY,), permissions={"deployments": "write"})
        standing.add_token("github_pat_2", repositories=(REPOSITORY,), permissions={"contents": "read"})
        yield standing
    assert standing.violations == []


@pytest.fixture
def flower(wandb: WandbStandIn) -> Membership:
    return wandb.link(wandb.log_artifact(SOURCE, {"a": b"1"}), LINKED, ["production"])


@pytest.fixture
def step(
    tmp_path: Path, wandb: WandbStandIn, github: GitHubStandIn, receiver: FakeReceiver, flower: Membership
) -> Step:
    assert flower.version == "v0"
    return Step(tmp_path, wandb, github, receiver, receiver.clock)


@pytest.fixture(autouse=True)
def _no_naps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "pause", lambda _number, _fault: 0.0)


def test_everybody_is_told(step: Step, flower: Membership) -> None:
    """
    The version is marked, GitHub has a deployment with its outcome, the delivery shows it.
    """
    assert step.tell_everybody() == 0, step.log

    assert flower.aliases == ["latest", "production", "deployed"]
    assert (flower.artifact.tags, flower.artifact.metadata) == (["serving"], {"image": IMAGE, "run": RUN})
    [deployment] = step.github.deployments
    assert (deployment.environment, deployment.ref) == (
        "production",
        "6dcb09b5b57875f334f61aebed695e2e4193db5e",
    )
    assert deployment.payload == {
        "artifact": f"{LINKED}:v0",
        "id": flower.id,
        "digest": flower.digest,
        "image": IMAGE,
        "key": "key-1",
    }
    assert deployment.statuses == [
        {
            "state": "success",
            "description": f"{LINKED}:v0",
            "log_url": RUN,
            "environment_url": "https://models.example.com",
        }
    ]
    assert step.told == ["marking", "success"]
    assert step.receiver.store.reports[-1] == {
        "delivery": "delivery-1",
        "key": "key-1",
        "at": "2026-03-01T12:00:00.000Z",
        "state": "success",
        "version": f"{LINKED}:v0",
        "digest": flower.digest,
        "image": IMAGE,
        "url": "https://models.example.com",
        "run_url": RUN,
    }
    assert step.outputs == {
        "artifact": f"{LINKED}:v0",
        "changed": '["alias deployed", "tag serving", "metadata image", "metadata run"]',
        "deployment": str(deployment.id),
        "known": "true",
        "reason": "",
    }
    assert "<code>alias deployed</code>" in step.summary


def test_a_second_run_changes_nothing_more_in_wandb(step: Step) -> None:
    """
    A job that is run again says so.
    """
    assert (step.tell_everybody(), step.tell_everybody()) == (0, 0)

    assert step.outputs["changed"] == "[]"
    assert "nothing: it was so already" in step.summary


def test_what_is_written_starts_nothing(step: Step, flower: Membership) -> None:
    """
    With automations on those very marks: the receiver knows each as our own, and a person's as theirs.
    """
    payload = {
        "event_type": "${event_type}",
        "client_payload": {
            name: f"${{{name}}}"
            for name in (
                *("alias", "tag", "artifact_version", "artifact_version_string"),
                *("artifact_collection_name", "project_name", "entity_name"),
            )
        },
    }
    for event in ("ADD_ARTIFACT_ALIAS", "LINK_MODEL", "ADD_ARTIFACT_TAG"):
        step.wandb.add_automation(event, collection="acme-org", webhook=HOOK, event=event, payload=payload)
    step.wandb.add_automation(
        "source", collection="acme", webhook=HOOK, event="ADD_ARTIFACT_TAG", payload=payload
    )
    step.wandb.link(flower, "acme-org/wandb-registry-staging/Other")
    theirs = len(step.wandb.executions)

    assert step.tell_everybody(link="wandb-registry-staging/Flower:best", remove_alias="production") == 0, (
        step.log
    )

    ours = [each.payload for each in step.wandb.executions[theirs:]]
    # The alias; the link with `latest` and `best`; the tag, in each of the four collections.
    assert len(ours) == 8
    assert [step.receiver.ours(each) for each in ours] == [True] * 8
    assert not any(step.receiver.ours(each.payload) for each in step.wandb.executions[:theirs])

    step.wandb.add_alias(LINKED, "v0", "production", by="ana")
    assert not step.receiver.ours(step.wandb.executions[-1].payload)


def test_a_chain_may_be_wanted(step: Step, flower: Membership) -> None:
    """
    Then nothing is announced.
    """
    assert step.tell_everybody(may_dispatch="true") == 0, step.log

    assert "deployed" in flower.aliases
    assert step.receiver.store.marks == {}


@pytest.mark.parametrize(("state", "shown"), [("failure", "failure"), ("cancelled", "error")])
def test_a_job_that_failed_marks_nothing(step: Step, flower: Membership, state: str, shown: str) -> None:
    """
    GitHub and the receiver hear of it, and W&B is not even asked: it may be down.
    """
    step.environ["HANDOFF_INPUT_API_KEY"] = ""

    assert step.tell_everybody(state=state) == 0, step.log

    assert step.github.deployments[0].statuses[0]["state"] == shown
    assert step.told == [state]
    assert (flower.aliases, step.outputs["artifact"]) == (["latest", "production"], f"{LINKED}:v0")
    assert step.wandb.requests == []


def test_the_version_is_the_events(step: Step, flower: Membership) -> None:
    """
    In the collection of the event, for a job that names none; the alias goes there.
    """
    handoff = {
        "artifact": flower.reference,
        "entity": "acme-org",
        "project": "wandb-registry-model",
        "collection": "Flower",
        "alias": "production",
        "key": "key-1",
    }

    assert step.run({"client_payload": {"handoff": handoff}}, alias="deployed") == 0, step.log

    assert "deployed" in flower.aliases
    assert flower.artifact.source.aliases == ["latest"]
    assert (step.outputs["deployment"], step.outputs["known"]) == ("", "")


def test_a_key_of_a_started_workflow_is_told(step: Step) -> None:
    """
    Where a workflow_dispatch carries it as an input.
    """
    event = {"inputs": {"handoff_key": "key-1"}}

    assert step.run(event, artifact=f"{LINKED}:v0", receiver_url=step.receiver.url, state="failure") == 0

    assert step.receiver.store.reports[0]["key"] == "key-1"
    assert step.outputs["known"] == "true"


@pytest.mark.parametrize(
    ("inputs", "reason", "words"),
    [
        pytest.param({"report_secret": "another"}, "access-denied", "HANDOFF_REPORT_SECRET", id="secret"),
        pytest.param({"github_token": "github_pat_2"}, "access-denied", "deployments: write", id="github"),
        pytest.param({"link": "wandb-registry-none/X"}, "not-found", "to link to, is not there", id="link"),
        pytest.param({"artifact": f"{LINKED}:v9"}, "not-found", "no version or alias 'v9'", id="version"),
        pytest.param({"alias": "v1"}, "configuration", "'v1' is a version", id="alias"),
    ],
)
def test_what_is_refused_is_refused_before_anything_is_written(
    step: Step, flower: Membership, inputs: dict[str, str], reason: str, words: str
) -> None:
    """
    By the receiver, by GitHub or by W&B: the version stays as it was, and there is one annotation.
    """
    assert step.tell_everybody(**inputs) != 0

    assert (flower.aliases, flower.artifact.tags) == (["latest", "production"], [])
    assert step.github.deployments == ()
    assert (step.outputs["reason"], step.log.count("::error")) == (reason, 1)
    assert words in step.log


def test_a_viewer_marks_nothing_and_the_receiver_is_told_why(step: Step, flower: Membership) -> None:
    """
    The delivery shows it: the model is deployed, but W&B does not know.
    """
    user = step.wandb.add_user("ben", roles={MODELS: "viewer"})

    assert step.tell_everybody(api_key=user.api_key) == 3

    assert flower.aliases == ["latest", "production"]
    assert step.github.deployments == ()
    assert step.told == ["success"]
    assert f"is viewer in {MODELS}" in step.receiver.store.reports[0]["problem"]
    assert "Problem" in step.summary


def test_a_refused_mark_is_withdrawn(step: Step, flower: Membership) -> None:
    """
    When W&B refuses a protected alias and an admin adds it by hand, that is a promotion like any other.
    """
    step.wandb.protect_alias(MODELS, "deployed")
    user = step.wandb.add_user("ben", roles={MODELS: "member"})

    assert step.tell_everybody(api_key=user.api_key) == 3

    assert flower.artifact.tags == []
    assert [each["state"] for each in step.github.deployments[0].statuses] == ["success"]
    assert {until < step.clock() for until in step.receiver.store.marks.values()} == {True}
    assert "only admins may give and take" in step.log


def test_where_no_answer_came_marks_stay(step: Step) -> None:
    """
    They may be written all the same.
    """
    step.wandb.faults.add("graphql:AddAliases", status=502, times=5)

    assert step.tell_everybody() == 12

    assert {until > step.clock() for until in step.receiver.store.marks.values()} == {True}
    assert step.told == ["marking", "success"]


def test_a_receiver_that_is_down_stops_it_before_anything_is_written(step: Step, flower: Membership) -> None:
    """
    What it does not hear of would start something there; in the end it is not asked once more.
    """
    step.receiver.faults.add("POST *", status=503, times=10)

    assert step.tell_everybody() == 12

    assert flower.aliases == ["latest", "production"]
    assert len(step.receiver.arrived) == 5
    assert step.outputs["reason"] == "fetch-failed"


@pytest.mark.parametrize(
    ("fault", "code", "words"),
    [
        ({"status": 404}, 2, "nothing takes reports at 127.0.0.1"),
        ({"status": 301}, 12, "answered 301 to the report: nothing"),
        ({"status": 422, "body": {"message": "report: want 2."}}, 12, "report: want 2."),
    ],
)
def test_what_is_no_receiver(step: Step, fault: dict[str, Any], code: int, words: str) -> None:
    """
    Is told as what it seems to be.
    """
    step.receiver.faults.add("POST *", **fault)

    assert step.tell_everybody() == code
    assert words in step.log


def test_a_receiver_of_another_kind_answers_something(step: Step) -> None:
    """
    Taken is taken; what is not said is not known.
    """
    for body in ("nonsense", "[]"):
        step.receiver.faults.add("POST *", status=200, body=body.encode())
    assert step.tell_everybody() == 0, step.log

    assert step.outputs["known"] == "false"
    assert "it knows nothing of what started this job" in step.summary


@pytest.mark.parametrize(
    ("fault", "code", "words"),
    [
        ({"status": 502}, 12, "whether the deployment was created is not known"),
        ({"status": 201, "body": b"nonsense"}, 12, "and no JSON"),
        ({"status": 201, "body": b"[]"}, 12, "did not say which"),
        (
            {"status": 422, "body": {"message": "No ref found"}},
            2,
            "answered 422 to a deployment: No ref found",
        ),
    ],
)
def test_github_fails(step: Step, flower: Membership, fault: dict[str, Any], code: int, words: str) -> None:
    """
    A deployment is asked for once, and without it nothing is written.
    """
    step.github.faults.add("POST *", **fault)

    assert step.tell_everybody() == code

    assert words in step.log
    assert flower.aliases == ["latest", "production"]
    assert len(step.github.requests) == 1
    assert step.told == ["marking", "success"]


def test_what_fails_in_the_end_does_not_stop_the_rest(step: Step, flower: Membership) -> None:
    """
    GitHub takes no state: the receiver hears why, the version is marked, and the step fails all the same.
    """
    step.github.faults.add("POST */statuses", status=403, body={"message": "Resource not accessible"})

    assert step.tell_everybody() == 3

    assert "deployed" in flower.aliases
    assert "Resource not accessible" in step.receiver.store.reports[-1]["problem"]
    assert step.receiver.store.reports[-1]["state"] == "success"


def test_a_receiver_that_goes_down_in_between(step: Step, flower: Membership) -> None:
    """
    What is written stays, what was not told is told by another run of the job.
    """
    for status in (None, *[503] * 5):
        if status is None:
            step.receiver.faults.add("POST *", reset_after=False, accept_first=True, status=200, body=b"{}")
        else:
            step.receiver.faults.add("POST *", status=status)

    assert step.tell_everybody() == 12
    assert step.told == ["marking"]
    assert "deployed" in flower.aliases

    assert step.tell_everybody() == 0
    assert step.told == ["marking", "marking", "success"]


def test_without_marks_no_key_is_wanted_by_us(step: Step) -> None:
    """
    Whether W&B shows the version to everybody is W&B's to say.
    """
    step.environ |= {"HANDOFF_INPUT_API_KEY": "", "HOME": str(step.folder)}

    assert step.run({}, artifact=f"{LINKED}:v0") == 3
    assert "wants a key, and none was given" in step.log


def test_without_a_summary(step: Step) -> None:
    """
    The outputs alone.
    """
    assert step.run({}, artifact=f"{LINKED}:v0", alias="deployed", summary="false") == 0

    assert (step.summary, step.outputs["changed"]) == ("", '["alias deployed"]')


def test_a_deployment_without_an_address(step: Step) -> None:
    """
    Its environment is named all the same, and nobody is told of an address.
    """
    assert step.run({}, artifact=f"{LINKED}:v0", environment="staging") == 0, step.log

    assert "<code>staging</code>, GitHub's" in step.summary
    assert "environment_url" not in step.github.deployments[0].statuses[0]


def test_a_state_is_told_again(step: Step) -> None:
    """
    The same state twice is the same.
    """
    step.github.faults.add("POST */statuses", status=502)

    assert step.tell_everybody() == 0, step.log
    assert len(step.github.deployments[0].statuses) == 1


def test_a_deployment_wants_a_runner(step: Step) -> None:
    """
    Outside of one, it says what is missing.
    """
    step.environ["GITHUB_SHA"] = ""

    assert step.tell_everybody() == 2
    assert "GITHUB_REPOSITORY and GITHUB_SHA are not set" in step.log


def test_nobody_writes_without_a_key(step: Step) -> None:
    """
    And that is said before W&B is asked.
    """
    step.environ |= {"HANDOFF_INPUT_API_KEY": "", "HOME": str(step.folder)}

    assert step.tell_everybody() == 3
    assert "nobody writes to W&amp;B" not in step.log
    assert "nobody writes to W&B without a key" in step.log


def test_secrets_are_masked_and_nowhere_else(step: Step) -> None:
    """
    The report's secret and the key; neither is in the summary or an output.
    """
    assert step.tell_everybody(report_secret="another secret") == 3

    lines = [line for line in step.log.splitlines() if "another secret" in line or step.wandb.api_key in line]
    assert {"::add-mask::another secret", f"::add-mask::{step.wandb.api_key}"} <= set(lines)
    assert all(line.startswith("::add-mask::") for line in lines)
    assert "another secret" not in step.summary
    assert "github_pat_1" not in step.log


def test_nothing_in_the_summary_is_forged(step: Step) -> None:
    """
    What an event holds is text.
    """
    nasty = "acme/x/<img src=x>:a"

    assert step.run({}, artifact=nasty, state="failure") == 0

    assert "<img" not in step.summary
    assert "&lt;img src=x&gt;" in step.summary


def test_a_step_that_is_ended_says_so(step: Step, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    As the download's.
    """

    def stopped() -> None:
        raise SystemExit(128 + signal.SIGTERM)

    monkeypatch.setattr(type(step.clock), "__call__", lambda _: stopped())
    assert step.tell_everybody() == 143
    assert step.outputs["reason"] == "cancelled"
