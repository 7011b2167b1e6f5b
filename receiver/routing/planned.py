"""The dispatches that an event asks for, by the routes.  Pure, no I/O."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from receiver.dispatch import GITHUB_KINDS, Dispatch, DispatchKind
from receiver.event import EXTRA_VARIABLES, WEBHOOK_VARIABLES, RegistryEvent
from receiver.moment import iso
from receiver.routing.choose import Choice, choose, subject_of
from receiver.routing.question import OWN_FIELD, Question
from receiver.routing.route import Action, Launch, Post, RepositoryDispatch, Route, WorkflowDispatch
from receiver.routing.template import Template, TemplateError
from receiver.routing.values import values_of_event, without_uncertain
from receiver.strict_json import shown
from registry_client.reference import ArtifactId

MOST_PROPERTIES = 10  # GitHub's own limit.
MOST_INPUTS = 25
MOST_BYTES = 60_000  # GitHub takes 65,535 characters; a margin for how it counts them.
LONGEST_EVENT_TYPE = 100
_REPOSITORY = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,38}/(?!\.{1,2}$)[A-Za-z0-9._-]{1,100}")
_WORKFLOW = re.compile(r"(?!\.{1,2}$)[\w.-]+\.ya?ml|[0-9]+", re.ASCII)
_ONLY_IN_OURS = frozenset({"automation_name", "artifact_version_index"})
_COMPACT = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))


class UnsendableError(ValueError):
    """What a route makes of the event can never be sent; the message says why."""

    def __init__(self, message: str, reason: str = "unsendable") -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True)
class Arrival:
    """An event with all that the plan needs of how it came.

    Attributes:
        entities: Globs of the entities that its source may speak for; none is any.
        forward: Undocumented fields that go on to GitHub.
        reconciled: Whether nobody told of it, and W&B was looked at.
    """

    event: RegistryEvent
    source: str
    delivery_id: str
    received_at: datetime
    entities: tuple[str, ...] = ()
    forward: Sequence[str] = ()
    reconciled: bool = False


@dataclass(frozen=True)
class _Message:
    """Where it goes and what it says; ``content`` may still have open names."""

    kind: DispatchKind
    destination: str
    event_type: str
    content: Template


def plan_by_routes(
    routes: Sequence[Route], arrival: Arrival, *, verify: bool, strict: bool = False
) -> tuple[Dispatch, ...]:
    """The dispatches for an event, one for each route that takes it, in the routes' order.

    One that can never be sent is among them, with the reason: it is dead from the start, and a person
    hears of it, while the others go.

    Args:
        routes: All routes.
        arrival: The event.
        verify: Whether W&B is asked before anything is sent.
        strict: Whether one that can never be sent is an UnsendableError instead.
    """
    choices = choose(routes, subject_of(arrival.event, arrival.source))
    return tuple(
        _dispatch(choice, arrival, number, verify=verify, strict=strict)
        for number, choice in enumerate(choices, start=1)
    )


def compact(value: Any) -> bytes:
    """The JSON as it is counted and sent: UTF-8, no spaces."""
    return _COMPACT.encode(value).encode("utf-8", "replace")


def check_size(kind: DispatchKind, message: Mapping[str, Any]) -> None:
    """Raise UnsendableError when the destination would not take as much."""
    what = "inputs" if kind is DispatchKind.WORKFLOW_DISPATCH else "client_payload"
    counted = message.get("inputs", {}) if kind is DispatchKind.WORKFLOW_DISPATCH else message
    most = MOST_INPUTS if kind is DispatchKind.WORKFLOW_DISPATCH else MOST_PROPERTIES
    if kind in GITHUB_KINDS and len(counted) > most:
        raise UnsendableError(
            f"{what} would have {len(counted)} properties, and GitHub takes {most}: {', '.join(counted)}",
            "too-many-properties",
        )
    size = len(compact(message))
    if kind in GITHUB_KINDS and size > MOST_BYTES:
        largest = max(message, key=lambda name: len(compact(message[name])))
        raise UnsendableError(
            f"{what} would have {size} bytes; want at most {MOST_BYTES}. "
            f"The largest field is {shown(largest)}",
            "payload-too-large",
        )


def _dispatch(choice: Choice, arrival: Arrival, number: int, *, verify: bool, strict: bool) -> Dispatch:
    route, event = choice.route, arrival.event
    key = digest(arrival.delivery_id, route.name)[:20]
    values = values_of_event(event, arrival.source, arrival.delivery_id, key, arrival.received_at)
    wrong = question = None
    content: dict[str, Any] = {}
    try:
        message = _message(route, arrival, values, key, asks=verify or route.asks_wandb)
        if verify or route.asks_wandb or choice.must or choice.unless:
            question = Question.about(event, choice, message.content, entities=arrival.entities)
            if question is None:
                raise UnsendableError(f"{event.event or 'the event'} names no version to ask W&B about")  # noqa: TRY301 - the same end
        else:
            content = message.content.result()
            check_size(message.kind, content)
    except (TemplateError, UnsendableError) as error:
        if strict:
            raise error if isinstance(error, UnsendableError) else UnsendableError(str(error)) from error
        wrong = str(error)
        kind, destination = _nearest_destination(route)
        message = _Message(kind, destination, "", Template({}))
        question, content = None, {}
    return Dispatch(
        id=f"{arrival.delivery_id}-{number}",
        delivery_id=arrival.delivery_id,
        repository=message.destination,
        event_type=message.event_type,
        client_payload=content,
        key=key,
        lane="/".join((message.destination, event.entity or "", event.project or "", event.collection or "")),
        accepted_at=arrival.received_at,
        overtakes=route.order == "overtake",
        kind=message.kind,
        route=route.name,
        holds=route.ambiguous == "hold",
        run_within=route.run_within if message.kind in GITHUB_KINDS else None,
        question=None if question is None else question.to_json(),
        unsendable=wrong,
    )


def _message(route: Route, arrival: Arrival, values: Mapping[str, Any], key: str, *, asks: bool) -> _Message:
    action = route.action
    late = without_uncertain(values) if asks else values
    if isinstance(action, RepositoryDispatch):
        return _Message(
            DispatchKind.REPOSITORY_DISPATCH,
            _repository(action.repository, values),
            _event_type(action, values),
            _payload(action.client_payload, arrival, late, key),
        )
    if isinstance(action, WorkflowDispatch):
        inputs = Template({}) if action.inputs is None else action.inputs.fill(late)
        ref = _text("ref", action.ref, values)
        workflow = _text("workflow", action.workflow, values)
        if _WORKFLOW.fullmatch(workflow) is None:
            raise UnsendableError(f"workflow: got {workflow!r}, want a file's name like evaluate.yml")
        return _Message(
            DispatchKind.WORKFLOW_DISPATCH,
            _repository(action.repository, values),
            workflow,
            Template({"ref": ref, "inputs": inputs.tree}),
        )
    if isinstance(action, Post):
        return _Message(
            DispatchKind.POST,
            f"post:{route.name}",
            "POST",
            _payload(action.body, arrival, late, key, own=action.body is None),
        )
    return _Message(DispatchKind.LAUNCH, f"launch:{route.name}", "launch", _launch(action, late))


def _launch(action: Launch, values: Mapping[str, Any]) -> Template:
    parts = {
        "queue": action.queue,
        "job": action.job,
        "entity": action.entity,
        "project": action.project,
        "overrides": action.overrides or Template({}),
    }
    return Template({name: template.fill(values).tree for name, template in parts.items()})


def _nearest_destination(route: Route) -> tuple[DispatchKind, str]:
    """Where what cannot be written was to go."""
    action: Action = route.action
    if isinstance(action, (RepositoryDispatch, WorkflowDispatch)):
        repository = f"route:{route.name}" if action.repository.names else str(action.repository.tree)
        repo_kind = isinstance(action, RepositoryDispatch)
        return (
            DispatchKind.REPOSITORY_DISPATCH if repo_kind else DispatchKind.WORKFLOW_DISPATCH,
            repository,
        )
    if isinstance(action, Post):
        return DispatchKind.POST, f"post:{route.name}"
    return DispatchKind.LAUNCH, f"launch:{route.name}"


def _payload(
    wanted: Template | None, arrival: Arrival, values: Mapping[str, Any], key: str, *, own: bool = True
) -> Template:
    """What the route says, else W&B's documented fields; with our own object."""
    caught_up = {"reconciled": True} if arrival.reconciled else {}
    handoff = {OWN_FIELD: {**_own(arrival, key), **caught_up}} if own else {}
    if wanted is not None:
        written = wanted.fill(values).tree
        if not isinstance(written, dict):
            raise UnsendableError(f"the payload: got {type(written).__name__}, want an object")
        return Template({**written, **handoff})
    event = arrival.event
    payload: dict[str, Any] = {
        **{name: event.fields[name] for name in WEBHOOK_VARIABLES if name in event.fields},
        **{name: event.others[name] for name in arrival.forward if name in event.others},
        **handoff,
    }
    for name in EXTRA_VARIABLES:
        if name in event.fields and name not in _ONLY_IN_OURS and len(payload) < MOST_PROPERTIES:
            payload[name] = event.fields[name]
    return Template(payload)


def _own(arrival: Arrival, key: str) -> dict[str, str | None]:
    event = arrival.event
    return {
        "delivery": arrival.delivery_id,
        "key": key,
        "event": event.event,
        "artifact": str(ArtifactId(event.artifact_id)) if event.artifact_id else None,
        "version": event.version,
        "entity": event.entity,
        "project": event.project,
        "collection": event.collection,
        "alias": event.alias,
        "tag": event.tag,
        "author": event.author,
        "automation": event.automation,
        "received_at": iso(arrival.received_at),
    }


def _repository(template: Template, values: Mapping[str, Any]) -> str:
    text = _text("repository", template, values)
    if _REPOSITORY.fullmatch(text) is None:
        raise UnsendableError(f"repository: got {text!r}, want owner/name")
    return text


def _event_type(action: RepositoryDispatch, values: Mapping[str, Any]) -> str:
    text = _text("event_type", action.event_type, values)
    if action.event_type.names and action.event_types and text not in action.event_types:
        raise UnsendableError(
            f"event_type: got {text!r}, and the route allows {', '.join(action.event_types)}"
        )
    if not 0 < len(text) <= LONGEST_EVENT_TYPE:
        raise UnsendableError(f"event_type: got {len(text)} characters, want 1 to {LONGEST_EVENT_TYPE}")
    return text


def _text(what: str, template: Template, values: Mapping[str, Any]) -> str:
    value = template.fill(values).result()
    if not isinstance(value, str):
        raise UnsendableError(f"{what}: got {value!r}, want text")
    return value


def digest(*parts: str | None) -> str:
    """A digest of the parts in their order, hex."""
    return hashlib.sha256(json.dumps(parts).encode("ascii")).hexdigest()
