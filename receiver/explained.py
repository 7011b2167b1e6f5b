"""`handoff route`: what each route makes of an event, and exactly what would be sent, in words.  Pure."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from receiver.dispatch import Dispatch, DispatchKind, Outcome
from receiver.event import RegistryEvent
from receiver.routing.choose import Choice, choose, explain, subject_of
from receiver.routing.conditions import Condition
from receiver.routing.planned import Arrival, plan_by_routes
from receiver.routing.question import Question
from receiver.routing.route import Launch, Post, Route
from receiver.routing.speaking import may_speak
from registry_client.escaping import printable

KEY, DELIVERY = "<key>", "<delivery>"
Ask = Callable[[Dispatch], Mapping[str, Any] | Outcome]


@dataclass(frozen=True)
class Asked:
    """What is to be explained.

    Attributes:
        entities: Globs of the entities that the source may speak for; none is any.
        verify: Whether W&B is asked before anything is sent.
        ask: Asks W&B; None leaves open what it would say.
    """

    event: RegistryEvent
    source: str
    routes: Sequence[Route]
    entities: tuple[str, ...] = ()
    verify: bool = False
    ask: Ask | None = None


def explained(asked: Asked, now: datetime) -> str:
    """The event, each route and why, and each dispatch."""
    lines = list(_event(asked.event, asked.source))
    if not may_speak(asked.entities, asked.event.entity):
        lines += [
            "",
            (
                f"Refused: {asked.source} may speak for {', '.join(asked.entities)}, "
                f"and this is of {asked.event.entity or 'no entity'}."
            ),
        ]
        return _text(lines)
    choices = choose(asked.routes, subject_of(asked.event, asked.source))
    lines += ["", *_routes(asked, choices)]
    if not choices:
        lines += ["", "No route takes it: it would be kept as unrouted, and nothing be sent."]
    arrival = Arrival(asked.event, asked.source, DELIVERY, now, asked.entities)
    routes = {route.name: route for route in asked.routes}
    for dispatch in plan_by_routes(asked.routes, arrival, verify=asked.verify):
        lines += ["", *_dispatch(dispatch, routes[dispatch.route or ""], asked.ask)]
    return _text(lines)


def _event(event: RegistryEvent, source: str) -> Iterator[str]:
    place = "/".join(part for part in (event.entity, event.project, event.collection) if part)
    told = {
        "event": event.event or f"none of W&B's; the body asks for {event.dispatch_type}",
        "source": source,
        "artifact": place,
        "version": event.version,
        "alias": event.alias,
        "tag": event.tag,
        "author": event.author,
        "automation": event.automation,
    }
    yield from (f"{name:<11} {value}" for name, value in told.items() if value)


def _routes(asked: Asked, choices: Sequence[Choice]) -> Iterator[str]:
    subject = subject_of(asked.event, asked.source)
    chosen = {choice.route.name: choice for choice in choices}
    ended: str | None = None
    for route in asked.routes:
        why = explain(route, subject)
        if ended is not None:
            yield f"– {route.name}: not looked at, for {ended} ends the list"
        elif route.name not in chosen:
            yield f"✗ {route.name}: {'; '.join(why)}"
        else:
            yield _taken(chosen[route.name])
            if not route.goes_on and not chosen[route.name].must:
                ended = route.name


def _taken(choice: Choice) -> str:
    conditions = [_wanted(condition) for condition in choice.must]
    if choice.unless:
        conditions.append("no route above it that ends the list is taken")
    return f"✓ {choice.route.name}" + (f": if W&B says {' and '.join(conditions)}" if conditions else "")


def _wanted(condition: Condition) -> str:
    wants = " or ".join(want if isinstance(want, str) else json.dumps(want) for want in condition.wants)
    return f"{condition.key} is {'none of ' if condition.negated else ''}{wants}"


def _dispatch(dispatch: Dispatch, route: Route, ask: Ask | None) -> Iterator[str]:
    yield f"{dispatch.route}: {_where(dispatch, route)}"
    if dispatch.unsendable is not None:
        yield f"  dead at once: {dispatch.unsendable}"
        return
    message: Mapping[str, Any] = dispatch.client_payload
    if dispatch.question is not None:
        question = Question.from_json(dispatch.question)
        message = shown(question.message.to_json())
        yield f"  W&B is asked first: {_asked(question)}"
        if ask is not None:
            answer = ask(dispatch)
            if isinstance(answer, Outcome):
                yield f"  {answer.kind.value} ({answer.reason}): {answer.detail}"
                return
            yield "  W&B agrees"
            message = answer
        else:
            yield "  and adds to handoff what it says of the version; with --online it is asked now"
    text = json.dumps(_with_places(message, dispatch.key), indent=2, ensure_ascii=False)
    yield from (f"  {line}" for line in text.splitlines())


def _where(dispatch: Dispatch, route: Route) -> str:
    kind, action = dispatch.kind, route.action
    if isinstance(action, Post):
        return f"post to {action.url.partition('?')[0]}"
    if isinstance(action, Launch):
        return "launch"
    if kind is DispatchKind.WORKFLOW_DISPATCH:
        return f"workflow_dispatch of {dispatch.event_type or 'a workflow'} in {dispatch.repository}"
    return f"repository_dispatch {dispatch.event_type} to {dispatch.repository}".replace("  ", " ")


def _asked(question: Question) -> str:
    parts = [f"is {question.reference} committed"]
    if question.collection is not None:
        parts.append(f"in {question.collection}")
    if question.alias is not None:
        parts.append(f"carrying {question.alias}")
    if question.tag is not None:
        parts.append(f"{'without' if question.gone else 'with'} the tag {question.tag}")
    return ", ".join(parts) + "?"


def shown(form: Any) -> Any:
    """A template's form as it was written: what is open stays ``${name}``."""
    ((kind, inner),) = form.items()
    if kind == "text":
        return "".join(part if isinstance(part, str) else f"${{{part['name']}}}" for part in inner)
    if kind == "map":
        return {key: shown(each) for key, each in inner.items()}
    return [shown(each) for each in inner] if kind == "list" else inner


def _with_places(message: Any, key: str) -> Any:
    """The message with a word in the place of the key: each delivery has its own."""
    if isinstance(message, Mapping):
        return {name: _with_places(each, key) for name, each in message.items()}
    if isinstance(message, list):
        return [_with_places(each, key) for each in message]
    return message.replace(key, KEY) if isinstance(message, str) else message


def _text(lines: Sequence[str]) -> str:
    return "".join(f"{printable(line)}\n" for line in lines)
