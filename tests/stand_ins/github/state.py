"""What the stand-in knows: repositories, tokens, Apps, dispatches, runs."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import count
from typing import Any

HOURLY = 5_000


@dataclass(frozen=True)
class Workflow:
    """A workflow on the default branch that listens for ``repository_dispatch``.

    Attributes:
        types: Its ``types:``; empty listens to every type.
        run_name_shows_key: Its ``run-name`` holds ``${{ github.event.client_payload.handoff.key }}``, or with
            workflow_dispatch ``${{ inputs.handoff_key }}``.
        inputs: What ``workflow_dispatch`` declares; None where it does not listen to that.
        text: What the file holds; None is what the above amounts to.
    """

    file: str
    types: tuple[str, ...] = ()
    run_name_shows_key: bool = True
    enabled: bool = True
    inputs: tuple[str, ...] | None = ()
    text: str | None = None

    def listens_to(self, event_type: str) -> bool:
        """Whether a dispatch of this type starts it."""
        return self.enabled and (not self.types or event_type in self.types)

    @property
    def content(self) -> str:
        """The file, as far as it says what starts it."""
        if self.text is not None:
            return self.text
        key = "${{ github.event.client_payload.handoff.key || inputs.handoff_key }}"
        lines = [f"run-name: {self.file} {key}"] if self.run_name_shows_key else []
        lines += [
            "on:",
            "  repository_dispatch:" + (f" {{types: [{', '.join(self.types)}]}}" if self.types else ""),
        ]
        if self.inputs is not None:
            inputs = ", ".join(f"{name}: {{}}" for name in self.inputs)
            lines.append(f"  workflow_dispatch: {{inputs: {{{inputs}}}}}")
        return "\n".join([*lines, "jobs: {}", ""])


@dataclass
class Repository:
    """A repository; its id stays when its name changes."""

    id: int
    name: str
    workflows: tuple[Workflow, ...] = ()
    archived: bool = False
    private: bool = True


@dataclass
class Budget:
    """What is left of a rate limit, until it is whole again."""

    remaining: int
    reset: datetime


@dataclass
class App:
    """A registered GitHub App."""

    id: int
    client_id: str
    public_key_pem: str | bytes
    permissions: dict[str, str]
    slug: str = "handoff"


@dataclass
class Installation:
    """An App, installed at an account for some of its repositories (by id)."""

    id: int
    app: App
    account: str
    repository_ids: set[int]
    permissions: dict[str, str]
    suspended_at: datetime | None = None


@dataclass(frozen=True)
class Token:
    """A token and what it may do.  ``bucket`` names the rate limit that it draws on."""

    value: str
    kind: str  # "fine-grained", "classic" or "installation".
    repository_ids: frozenset[int]
    permissions: Mapping[str, str]
    bucket: str
    installation: Installation | None = None
    expires_at: datetime | None = None


@dataclass(frozen=True)
class Dispatched:
    """A ``repository_dispatch`` that was accepted."""

    repository: str
    event_type: str
    client_payload: dict[str, Any]
    at: datetime
    token_kind: str
    installation_id: int | None = None


@dataclass(frozen=True)
class Started:
    """A ``workflow_dispatch`` that was accepted."""

    repository: str
    workflow: str
    ref: str
    inputs: dict[str, Any]


@dataclass
class Deployment:
    """A deployment of a commit to an environment, with the states that it was given."""

    id: int
    repository: Repository
    ref: str
    environment: str
    description: str | None
    payload: dict[str, Any] | str
    at: datetime
    statuses: list[dict[str, Any]] = field(default_factory=list)


@dataclass
class Run:
    """A workflow run that a dispatch started."""

    id: int
    repository: Repository
    workflow: Workflow
    display_title: str
    event: str
    created_at: datetime
    status: str = "queued"
    conclusion: str | None = None


@dataclass
class State:
    """All of it, behind one lock; ``changed`` is told of each dispatch."""

    repositories: dict[int, Repository] = field(default_factory=dict)
    moved: dict[str, tuple[int, int]] = field(default_factory=dict)  # Old name → repository, redirect status.
    tokens: dict[str, Token] = field(default_factory=dict)
    apps: dict[str, App] = field(default_factory=dict)
    installations: dict[int, Installation] = field(default_factory=dict)
    dispatches: list[Dispatched] = field(default_factory=list)
    started: list[Started] = field(default_factory=list)
    runs: list[Run] = field(default_factory=list)
    deployments: list[Deployment] = field(default_factory=list)
    budgets: dict[str, Budget] = field(default_factory=dict)
    knows_run_details: bool = True  # GitHub Enterprise Server up to 3.20 does not.
    secondary: list[str | None] = field(default_factory=list)  # Retry-After of the refusals to come.
    ids: count[int] = field(default_factory=lambda: count(1001))
    changed: threading.Condition = field(default_factory=lambda: threading.Condition(threading.RLock()))

    def repository(self, name: str) -> Repository | None:
        """Return the repository that has this name now; case does not count."""
        wanted = name.lower()
        return next((each for each in self.repositories.values() if each.name.lower() == wanted), None)

    def installation_for(self, app: App, repository: Repository) -> Installation | None:
        """Return where the App is installed for this repository."""
        return next(
            (
                each
                for each in self.installations.values()
                if each.app is app and repository.id in each.repository_ids
            ),
            None,
        )

    def budget(self, bucket: str, now: datetime) -> Budget:
        """Return what is left in the bucket at this time."""
        budget = self.budgets.get(bucket)
        if budget is None or budget.reset <= now:
            budget = self.budgets[bucket] = Budget(HOURLY, now + timedelta(hours=1))
        return budget

    def accept(self, repository: Repository, dispatched: Dispatched) -> None:
        """Keep the dispatch and start the runs of the workflows that listen."""
        with self.changed:
            self.dispatches.append(dispatched)
            for workflow in repository.workflows:
                if workflow.listens_to(dispatched.event_type):
                    self._start(repository, workflow, dispatched)
            self.changed.notify_all()

    def start(self, repository: Repository, workflow: Workflow, started: Started, at: datetime) -> Run:
        """Keep the workflow_dispatch and start its run."""
        key = started.inputs.get("handoff_key", "") if workflow.run_name_shows_key else ""
        with self.changed:
            self.started.append(started)
            title = f"{workflow.file} {key}".strip()
            run = Run(next(self.ids), repository, workflow, title, "workflow_dispatch", at)
            self.runs.append(run)
            self.changed.notify_all()
        return run

    def _start(self, repository: Repository, workflow: Workflow, dispatched: Dispatched) -> None:
        handoff = dispatched.client_payload.get("handoff")
        key = handoff.get("key", "") if isinstance(handoff, dict) else ""
        title = dispatched.event_type
        if workflow.run_name_shows_key:
            title = f"{title} {key}".strip()
        run = Run(next(self.ids), repository, workflow, title, "repository_dispatch", dispatched.at)
        self.runs.append(run)
