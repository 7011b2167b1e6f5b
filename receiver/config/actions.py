"""Sections of the file, sound by themselves, to routes: what goes together, and what does not."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import timedelta

from receiver.config.document import shown
from receiver.config.problems import Place, Problems, listed, nearest
from receiver.config.reading import Section
from receiver.config.reconciled import wrong_with_reconciled
from receiver.config.wrong import wrong_with_signing_secret, wrong_with_target
from receiver.routing.route import Action, Launch, Order, Post, RepositoryDispatch, Route, WorkflowDispatch
from receiver.routing.template import Template, of_wandb

_NONE = Template.parse("")  # Stands for what was noted as a problem; no Config comes of it.
_RUN_WITHIN = timedelta(minutes=2)
_OF_GITHUB = ("run",)
_WHERE = ("repository", "event_type", "workflow", "ref")


def route_of(section: Section, channels: Collection[str], order: Order, problems: Problems) -> Route:
    """The route of a section; what does not go together is noted.

    Args:
        section: As the description of a route has read it.
        channels: The names of all channels: each is told where the route does not say.
        order: Where the route does not say.
        problems: Where to note.
    """
    run = section.get("run", {"within": _RUN_WITHIN})
    if isinstance(run, Section):
        run = run.values
    reconcile = section.get("reconcile")
    route = Route(
        name=section.get("name", ""),
        action=_action(section, problems),
        when=section.get("when", ()),
        notify=section.get("notify", tuple(channels)),
        goes_on=section.get("continue", True),
        order=section.get("order", order),
        ambiguous=section.get("ambiguous", "retry"),
        reconcile=reconcile.get("every") if reconcile else None,
        run_within=run.get("within") if run else None,
    )
    _check_route(route, section, channels, problems)
    return route


def _action(section: Section, problems: Problems) -> Action:
    if "post" in section:
        return _post(section.get("post"), problems)
    if "launch" in section:
        return _launch(section.get("launch"))
    return _dispatch(section.get("dispatch"), problems)


def _dispatch(section: Section | None, problems: Problems) -> RepositoryDispatch | WorkflowDispatch:
    if section is None:
        return RepositoryDispatch(_NONE, _NONE)
    repository = section.get("repository", _NONE)
    _check_known(section, problems)
    if "workflow" in section:
        return WorkflowDispatch(
            repository, section.get("workflow", _NONE), section.get("ref", _NONE), section.get("inputs")
        )
    event_type, event_types = section.get("event_type", _NONE), section.get("event_types", ())
    from_body = [name for name in event_type.names if name.startswith("payload.")]
    if from_body and "event_types" not in section:
        problems.add(
            section.at("event_type"),
            f"${{{from_body[0]}}} is whatever the sender writes; want event_types: [A, B] beside it, "
            "a list of what it may come to",
        )
    if event_types and event_type is not _NONE and not event_type.names:
        problems.add(
            section.at("event_types"),
            "is for an event_type with ${…} in it, and this one is written out; want one of both",
        )
    return RepositoryDispatch(repository, event_type, event_types, section.get("client_payload"))


def _check_known(section: Section, problems: Problems) -> None:
    """Note each name that says where a message goes and that only W&B tells: it is planned before that."""
    for key in _WHERE:
        late = sorted(name for name in section.get(key, _NONE).names if of_wandb(name))
        if late:
            problems.add(
                section.at(key),
                f"only W&B tells ${{{late[0]}}}, when it is sent, and where to must be known before; "
                "want what the event tells, or a route each",
            )


def _post(section: Section | None, problems: Problems) -> Post:
    if section is None:
        return Post("")
    for one, other in (("signature", "secret"), ("secret", "signature")):
        if one in section and other not in section:
            problems.add(section.at(one), f"stands without {other}; want both, or neither")
    secret, allow = section.get("secret"), section.get("allow_private", False)
    if secret and section.get("signature") == "standard":
        why = wrong_with_signing_secret(secret.value)
        if why:
            problems.add(section.at("secret"), why)
    url = section.get("url", "")
    why = wrong_with_target(url, allow_private=allow) if url else None
    if why:
        problems.add(section.at("url"), why)
    return Post(
        url=url,
        token=section.get("token"),
        signature=section.get("signature"),
        secret=secret,
        body=section.get("body"),
        allow_private=allow,
        timeout=section.get("timeout", Post.timeout),
    )


def _launch(section: Section | None) -> Launch:
    if section is None:
        return Launch(_NONE, _NONE, _NONE, _NONE)
    queue, job, entity, project = (section.get(name, _NONE) for name in ("queue", "job", "entity", "project"))
    return Launch(queue, job, entity, project, section.get("overrides"))


def _check_route(route: Route, section: Section, channels: Collection[str], problems: Problems) -> None:
    """Note what one part of a route says against another."""
    for at, name in enumerate(route.notify if "notify" in section else ()):
        if name not in channels:
            there = f" (there are: {listed(channels)})" if channels else "; want it under channels"
            place = section.at("notify")
            problems.add(
                Place(place.line, place.column, place.of(at)),
                f"there is no channel {shown(name)}{nearest(name, channels)}{there}",
            )
    if not isinstance(route.action, (RepositoryDispatch, WorkflowDispatch)):
        for key in _OF_GITHUB:
            if key in section:
                problems.add(section.at(key), "is for a dispatch: only GitHub has runs to follow")
    if "reconcile" in section:
        _check_reconcile(route, section, problems)


def _check_reconcile(route: Route, section: Section, problems: Problems) -> None:
    """Reconciling asks which version of which collection carries which alias, and W&B tells no more."""
    if "when" not in section:
        return  # Noted already.
    place = section.at("reconcile")
    for why in wrong_with_reconciled(route):
        problems.add(place, why)


def unreachable(routes: Sequence[tuple[Section, Route]]) -> list[tuple[Place, str]]:
    """Routes that no event reaches, because one above takes all and ends the list."""
    for number, (_, route) in enumerate(routes):
        if not route.when and not route.goes_on:
            message = f"is never reached: route {route.name} above it takes everything and ends the list"
            return [(section.place, message) for section, _ in routes[number + 1 :]]
    return []
