"""What report/action.yml runs: W&B is marked, GitHub has a deployment, the receiver knows how it ended."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from registry_client import __version__, credentials
from registry_client.api import WandbApi
from registry_client.connections import Connections
from registry_client.errors import AccessDeniedError, ConfigurationError, RegistryError
from registry_client.mark import Changes
from registry_client.reference import ArtifactId, parse_reference
from registry_client.report import MARKING, Mark, Report, own_marks
from registry_client.report_deployment import STATES, Deployments
from registry_client.report_inputs import ReportInputs
from registry_client.report_post import Receiver
from registry_client.report_summary import Done, summary
from registry_client.resolve import resolve
from registry_client.trigger import Trigger, artifact_from_event
from registry_client.version import ArtifactVersion
from registry_client.workflow import Workflow
from registry_client.writeback import prepare, write

WHAT_TO_DO = {
    "access-denied": "The message names the right that is missing, and who gives it.",
    "not-found": "Check the name, and that the user behind `api-key:` may see its project or registry.",
    "fetch-failed": "Run this job again: what is written already stays as it is.",
}


@dataclass(frozen=True)
class Job:
    """What the runner and the event say of this job."""

    repository: str
    run_url: str
    commit: str
    github: str
    delivery: str | None
    key: str | None

    @classmethod
    def from_env(cls, environ: Mapping[str, str], event: Mapping[str, Any]) -> Job:
        """Read it; what is missing is empty, and missed only where it is needed."""
        server, repository = environ.get("GITHUB_SERVER_URL", ""), environ.get("GITHUB_REPOSITORY", "")
        run = environ.get("GITHUB_RUN_ID", "")
        handoff = _object(_object(event.get("client_payload")).get("handoff"))
        return cls(
            repository=repository,
            run_url=f"{server}/{repository}/actions/runs/{run}" if server and repository and run else "",
            commit=environ.get("GITHUB_SHA", ""),
            github=environ.get("GITHUB_API_URL", "") or "https://api.github.com",
            delivery=_text(handoff, "delivery"),
            key=_text(handoff, "key") or _text(_object(event.get("inputs")), "handoff_key"),
        )


@dataclass
class _Step:
    """One report under way."""

    inputs: ReportInputs
    job: Job
    receiver: Receiver | None
    deployments: Deployments | None
    now: Callable[[], datetime]
    subject: Report
    version: ArtifactVersion | None = None
    changes: Changes = field(default_factory=Changes)
    written: list[Changes] = field(default_factory=list)
    deployment: int | None = None
    told: bool | None = None
    problems: list[RegistryError] = field(default_factory=list)

    def act(self, trigger: Trigger, registry: WandbApi | None) -> None:
        """Look what the key may, announce, create the deployment, write: a refusal stops what follows."""
        try:
            if registry is not None:
                self._look(trigger, registry)
                self._announce()
            if self.deployments is not None:
                self.deployment = self.deployments.create(
                    self.job.commit, self.inputs.environment, self.subject.version, _payload(self.subject)
                )
            if registry is not None and self.version is not None:
                write(self.changes, self.version, registry, self.written.append)
        except RegistryError as error:
            self.problems.append(error)

    def _look(self, trigger: Trigger, registry: WandbApi) -> None:
        version = resolve(trigger.reference, registry, collection=trigger.collection)
        self.subject = replace(self.subject, version=version.name, artifact=version.id, digest=version.digest)
        self.changes = prepare(version, self.inputs.marks, registry)
        self.version = version

    def _announce(self) -> None:
        """Tell the receiver what is about to be written, so that nothing follows from it there."""
        receiver, self.receiver = self.receiver, None
        if receiver is not None:
            receiver.tell(replace(self.subject, at=self.now(), state=MARKING, marks=self.marks()))
        self.receiver = receiver  # One that could not be told now is not asked again in the end.

    def end(self) -> None:
        """Say at GitHub and to the receiver how it ended, whatever went wrong before."""
        try:
            if self.deployments is not None and self.deployment is not None:
                self.deployments.tell(
                    self.deployment,
                    STATES[self.inputs.state],
                    self.subject.version,
                    log_url=self.job.run_url,
                    url=self.inputs.environment_url,
                )
        except RegistryError as error:
            self.problems.append(error)
        try:
            if self.receiver is not None:
                problem = "; ".join(map(str, self.problems))[:1000] or None
                report = replace(self.subject, at=self.now(), problem=problem, withdrawn=self.withdrawn())
                self.told = self.receiver.tell(report)
        except RegistryError as error:
            self.problems.append(error)

    def marks(self) -> tuple[Mark, ...]:
        """What the receiver shall know as our own."""
        if self.version is None or self.inputs.may_dispatch:
            return ()
        return own_marks(self.version, self.changes)

    def withdrawn(self) -> tuple[Mark, ...]:
        """What of it is surely not written; where no answer came, nobody knows."""
        if self.version is None or any(each.retryable for each in self.problems):
            return ()
        written = {mark for part in self.written for mark in own_marks(self.version, part)}
        return tuple(mark for mark in self.marks() if mark not in written)

    def done(self) -> Done:
        """What it came to."""
        return Done(
            name=self.subject.version,
            state=self.inputs.state,
            page=self.version.url if self.version else "",
            written=tuple(line for part in self.written for line in part.lines()),
            wanted=self.version is not None and bool(self.inputs.marks),
            image=self.inputs.image,
            environment=self.inputs.environment,
            environment_url=self.inputs.environment_url,
            deployment=self.deployment,
            told=self.told,
            problems=tuple(map(str, self.problems)),
        )


def run(
    environ: Mapping[str, str],
    event: Mapping[str, Any],
    workflow: Workflow,
    now: Callable[[], datetime],
    sleep: Callable[[float], object] = time.sleep,
) -> None:
    """The story of one report: rights → the receiver knows what comes → deployment, marks → how it ended.

    Where the job failed, W&B is not asked, and nothing is written there.

    Raises:
        RegistryError: The first of what went wrong; the message has all of it.
    """
    inputs = ReportInputs.from_env(environ)
    if inputs.secret:
        workflow.mask(inputs.secret)
    job = Job.from_env(environ, event)
    trigger = Trigger(parse_reference(inputs.artifact)) if inputs.artifact else artifact_from_event(event)
    with ExitStack() as closing:
        step = _step(inputs, job, trigger, environ, now, sleep, closing)
        registry = None
        if inputs.state == "success":
            registry = closing.enter_context(_registry(inputs, environ, workflow, sleep))
        step.act(trigger, registry)
        step.end()
    _tell(step, workflow)


def _tell(step: _Step, workflow: Workflow) -> None:
    done = step.done()
    for line in done.written:
        workflow.log(f"{done.name}: {line}")
    if done.told is not None:
        workflow.log(f"the receiver was told that {done.name} came to {done.state}")
    workflow.set_outputs(
        {
            "artifact": done.name,
            "changed": json.dumps(list(done.written)),
            "deployment": str(done.deployment or ""),
            "known": {None: "", True: "true", False: "false"}[done.told],
            "reason": "",
        }
    )
    if step.inputs.summary:
        workflow.summarize(summary(done))
    if step.problems:
        first = step.problems[0]
        raise type(first)("\n".join(done.problems)) from first


def _step(  # noqa: PLR0913, PLR0917 - what a step is made of
    inputs: ReportInputs,
    job: Job,
    trigger: Trigger,
    environ: Mapping[str, str],
    now: Callable[[], datetime],
    sleep: Callable[[float], object],
    closing: ExitStack,
) -> _Step:
    connections = Connections(environ, user_agent=f"wandb-handoff/{__version__}")
    closing.callback(connections.close)
    receiver = Receiver(inputs.receiver, inputs.secret, connections, sleep) if inputs.receiver else None
    deployments = None
    if inputs.environment:
        if not (job.repository and job.commit):
            raise ConfigurationError("GITHUB_REPOSITORY and GITHUB_SHA are not set, as they are on a runner")
        deployments = Deployments(job.github, job.repository, inputs.github_token, connections, sleep)
    subject = Report(
        at=now(),
        state=inputs.state,
        version=str(trigger.reference),
        artifact=trigger.reference.value if isinstance(trigger.reference, ArtifactId) else None,
        delivery=job.delivery,
        key=job.key,
        repository=job.repository or None,
        run_url=job.run_url or None,
        image=inputs.image or None,
        url=inputs.environment_url or None,
    )
    return _Step(inputs, job, receiver, deployments, now, subject)


def _registry(
    inputs: ReportInputs, environ: Mapping[str, str], workflow: Workflow, sleep: Callable[[float], object]
) -> WandbApi:
    base_url = credentials.base_url(environ)
    credential = credentials.sign_in(
        environ, base_url, auth=inputs.auth, audience=inputs.audience or None, mask=workflow.mask
    )
    if credential is None and inputs.marks:
        raise AccessDeniedError("nobody writes to W&B without a key: want the input api-key, or auth: oidc")
    if credential is not None:
        workflow.mask(credential.authorization().partition(" ")[2])
    return WandbApi(base_url, credential, environ=environ, sleep=sleep)


def _payload(subject: Report) -> Mapping[str, Any]:
    told = {
        "artifact": subject.version,
        "id": subject.artifact,
        "digest": subject.digest,
        "image": subject.image,
        "key": subject.key,
    }
    return {name: value for name, value in told.items() if value is not None}


def _object(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _text(data: Mapping[str, Any], name: str) -> str | None:
    value = data.get(name)
    return value or None if isinstance(value, str) else None
