"""A standing order: when this happens in W&B, that is to be done.  Types only."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from typing import Literal

from receiver.routing.conditions import Condition
from receiver.routing.template import Template
from receiver.secret import Secret

Order = Literal["keep", "overtake"]
Ambiguous = Literal["retry", "hold"]
Signature = Literal["standard", "wandb"]


@dataclass(frozen=True)
class RepositoryDispatch:
    """A ``repository_dispatch``.

    Attributes:
        event_types: What a templated ``event_type`` may come to; not used for one that is written out.
        client_payload: Instead of the event's own fields; our ``handoff`` object is always added.
    """

    repository: Template
    event_type: Template
    event_types: tuple[str, ...] = ()
    client_payload: Template | None = None


@dataclass(frozen=True)
class WorkflowDispatch:
    """A ``workflow_dispatch`` of one workflow file on one ref."""

    repository: Template
    workflow: Template
    ref: Template
    inputs: Template | None = None


@dataclass(frozen=True)
class Post:
    """Any other HTTPS endpoint.

    Attributes:
        secret: What the body is signed with, in the manner of ``signature``.
        body: Instead of the event's own fields and our ``handoff`` object.
        allow_private: Whether the address may be a private one, and plain http.
    """

    url: str
    token: Secret | None = None
    signature: Signature | None = None
    secret: Secret | None = None
    body: Template | None = None
    allow_private: bool = False
    timeout: timedelta = timedelta(seconds=15)


@dataclass(frozen=True)
class Launch:
    """A job put into a queue of W&B Launch."""

    queue: Template
    job: Template
    entity: Template
    project: Template
    overrides: Template | None = None


Action = RepositoryDispatch | WorkflowDispatch | Post | Launch


@dataclass(frozen=True)
class Route:
    """What is to be done, and when.

    Attributes:
        when: All of these must hold.
        notify: Names of channels.
        goes_on: Whether the routes below are looked at when this one matched.
        ambiguous: What to do when nobody knows whether it arrived and no run can be looked for.
        reconcile: How often to compare what W&B has with what was dispatched; None is never.
        run_within: How soon its run should be seen; None is not looked for.
    """

    name: str
    action: Action
    when: tuple[Condition, ...] = ()
    notify: tuple[str, ...] = ()
    goes_on: bool = True
    order: Order = "keep"
    ambiguous: Ambiguous = "retry"
    reconcile: timedelta | None = None
    run_within: timedelta | None = timedelta(minutes=2)

    @cached_property
    def asks_wandb(self) -> bool:
        """Whether W&B has to be asked before it can be decided or written."""
        return any(condition.asks_wandb for condition in self.when) or any(
            template.asks_wandb for template in templates(self.action)
        )


def templates(action: Action) -> tuple[Template, ...]:
    """All templates of an action."""
    every: tuple[Template | None, ...]
    if isinstance(action, RepositoryDispatch):
        every = (action.repository, action.event_type, action.client_payload)
    elif isinstance(action, WorkflowDispatch):
        every = (action.repository, action.workflow, action.ref, action.inputs)
    elif isinstance(action, Post):
        every = (action.body,)
    else:
        every = (action.queue, action.job, action.entity, action.project, action.overrides)
    return tuple(template for template in every if template is not None)
