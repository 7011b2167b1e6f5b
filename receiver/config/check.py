"""What can be told of a configuration without asking anybody: the first half of `handoff check`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from receiver.config.types import Config
from receiver.routing.route import Launch, Post, RepositoryDispatch, Route, WorkflowDispatch
from receiver.routing.template import Template
from receiver.settings import GitHubApp


@dataclass(frozen=True)
class Check:
    """One line of the table.

    Attributes:
        what: What was looked at.
        good: Whether it may stay so.
        detail: What was found, or what to do; holds no secret.
    """

    what: str
    good: bool
    detail: str


def check_offline(config: Config, *, check_key: Callable[[str], object] | None = None) -> tuple[Check, ...]:
    """Each secret and where it came from, the key, each route in a line, and each warning.

    Whatever is wrong with the file itself, ``read_config`` has refused by now.

    Args:
        config: As read.
        check_key: Raises ValueError, with a hint, for text that is no private key.
    """
    checks = [
        Check(each.place.where, True, f"from {each.origin}, {len(each.secret.value)} characters")
        for each in config.resolved
    ]
    if check_key is not None and isinstance(config.github.credentials, GitHubApp):
        checks.append(_key(config.github.credentials, check_key))
    checks += [Check(f"route {route.name}", True, _in_words(route)) for route in config.routes]
    checks += [Check(*_parted(warning)) for warning in config.warnings]
    return tuple(checks)


def _key(app: GitHubApp, check_key: Callable[[str], object]) -> Check:
    what = f"private key of {app.client_id}"
    try:
        check_key(app.private_key.value)
    except ValueError as error:
        return Check(what, False, str(error))
    return Check(what, True, "is one")


def _in_words(route: Route) -> str:
    action = route.action
    if isinstance(action, RepositoryDispatch):
        words = f"{_shown(action.event_type)} to {_shown(action.repository)}"
    elif isinstance(action, WorkflowDispatch):
        words = f"{_shown(action.workflow)} of {_shown(action.repository)} on {_shown(action.ref)}"
    elif isinstance(action, Post):
        words = f"post to {action.url.partition('?')[0]}"
    else:
        words = f"{_shown(action.job)} into queue {_shown(action.queue)}"
    return words + (", W&B is asked first" if route.asks_wandb or isinstance(action, Launch) else "")


def _shown(template: Template) -> str:
    """The template as it was written."""
    form = template.to_json()
    if "text" not in form:
        return str(form.get("value", ""))
    return "".join(part if isinstance(part, str) else f"${{{part['name']}}}" for part in form["text"])


def _parted(warning: str) -> tuple[str, bool, str]:
    where, _, words = warning.partition(": ")
    return where, False, words
