"""What is to be sent for an event, and what makes two events the same: pure, no I/O."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from receiver.dispatch import Dispatch
from receiver.errors import BadPayloadError
from receiver.event import VARIABLES, RegistryEvent
from receiver.routing.planned import Arrival, UnsendableError, digest, plan_by_routes
from receiver.routing.question import OWN_FIELD
from receiver.routing.route import Order, RepositoryDispatch, Route
from receiver.routing.template import Template
from receiver.secret import Secret, holds_one
from receiver.strict_json import strings
from receiver.telling import Telling

RESERVED_NAMES = frozenset({*VARIABLES, OWN_FIELD, "client_payload"})
DEFAULT_ROUTE = "default"
_ONLY_IN_OURS = frozenset({"automation_name", "artifact_version_index"})


@dataclass(frozen=True)
class Rules:
    """All that the configuration says of planning.

    Attributes:
        verify: Whether W&B is asked before anything is sent.
        channels: What each channel hears of.
        forward: Undocumented fields that go on to GitHub.
        strict: Whether what can never be sent is refused at the door, where W&B shows why.
    """

    routes: tuple[Route, ...]
    verify: bool = False
    channels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    forward: tuple[str, ...] = ()
    strict: bool = False

    @classmethod
    def of_one_repository(
        cls, repository: str, *, forward: Sequence[str] = (), order: Order = "keep"
    ) -> Rules:
        """Without a file: whatever happens goes to one repository, under the body's own word for it."""
        action = RepositoryDispatch(Template(repository), Template.parse("${payload.event_type}"))
        return cls((Route(DEFAULT_ROUTE, action, order=order),), forward=tuple(forward), strict=True)


def plan(arrival: Arrival, rules: Rules) -> tuple[Dispatch, ...]:
    """The messages that the event asks for, each ready to be sent, or to be asked about first.

    Raises:
        BadPayloadError: With strict rules: GitHub would not take it, or a route cannot write it.
    """
    try:
        dispatches = plan_by_routes(rules.routes, arrival, verify=rules.verify, strict=rules.strict)
    except UnsendableError as error:
        hint = " Name fewer in HANDOFF_FORWARD_FIELDS." if error.reason == "too-many-properties" else ""
        raise BadPayloadError(f"{error}.{hint}", reason=error.reason) from error
    by_name = {route.name: route for route in rules.routes}
    return tuple(_in_company(each, by_name[each.route or ""], arrival, rules) for each in dispatches)


def slot(event: RegistryEvent, source: str) -> str:
    """What a later promotion of the same kind would replace, as a digest."""
    return digest(*_slot(event, source))


def fingerprint(event: RegistryEvent, source: str) -> str:
    """What happened, exactly, as a digest: the same promotion told twice has the same."""
    version = event.artifact_id or event.fields.get("artifact_version_string")
    return digest(*_slot(event, source), event.dispatch_type, version or event.fields.get("run_name"))


def fingerprint_if_missed(event: RegistryEvent, source: str) -> str:
    """What ``fingerprint`` would be, had W&B been asked: without the body's own word for the dispatch."""
    return fingerprint(replace(event, dispatch_type=event.event or event.dispatch_type), source)


def ignored(event: RegistryEvent, dispatches: Iterable[Dispatch]) -> tuple[str, ...]:
    """The names of what the body carries and no dispatch does."""
    sent = {name for dispatch in dispatches for name in dispatch.client_payload} | _ONLY_IN_OURS
    return tuple(name for name in (*event.fields, *event.others) if name not in sent)


def check_no_secret(
    event: RegistryEvent, dispatches: Iterable[Dispatch], secrets: Collection[Secret]
) -> None:
    """Pass when nothing that is kept, sent or answered holds one of the secrets.

    A body in W&B can hold ``${ACCESS_TOKEN}`` and ``${SECRET_NAME}``, by mistake or by intent.

    Raises:
        BadPayloadError: One does; the message names the field.
    """
    leaving: list[tuple[str, Any]] = [("event_type", event.dispatch_type), *event.fields.items()]
    for dispatch in dispatches:
        leaving += dispatch.client_payload.items()
        leaving += (dispatch.question or {}).items()
    everything = [text for pair in leaving for value in pair for text in strings(value)]
    if not holds_one("\n".join([*everything, *event.others]), secrets):
        return  # Nearly always; only then is it worth knowing where.
    for name, value in leaving:
        if any(holds_one(text, secrets) for text in strings(value)):
            raise _secret_in(name)
    if any(holds_one(name, secrets) for name in (*dict(leaving), *event.others)):
        raise _secret_in("the name of a field")


def _in_company(dispatch: Dispatch, route: Route, arrival: Arrival, rules: Rules) -> Dispatch:
    """The dispatch, with who hears of it."""
    heard = {name: rules.channels[name] for name in route.notify if name in rules.channels}
    telling = Telling.plan(heard, arrival.event, dispatch) if heard else None
    return dispatch if telling is None else replace(dispatch, telling=telling.to_json())


def _slot(event: RegistryEvent, source: str) -> tuple[str | None, ...]:
    return (source, event.event, event.entity, event.project, event.collection, event.alias, event.tag)


def _secret_in(where: str) -> BadPayloadError:
    return BadPayloadError(
        f"{where} holds a secret of this receiver, and what it holds would be kept and sent on. Take "
        "${ACCESS_TOKEN} or ${SECRET_NAME} out of the automation's payload.",
        reason="secret-in-payload",
    )
