"""What a route may not ask for that is to be reconciled.  Pure."""

from __future__ import annotations

from collections.abc import Iterator

from receiver.config.document import shown
from receiver.routing.conditions import Verdict
from receiver.routing.route import Route, templates

_UNTOLD = frozenset({"author", "automation", "tag"})
_CAUGHT_UP = "ADD_ARTIFACT_ALIAS"
_GLOB = frozenset("*?[")


def wrong_with_reconciled(route: Route) -> Iterator[str]:
    """Why what the route missed cannot be found out, or not be sent."""
    named = {condition.key: condition.wants for condition in route.when if not condition.negated}
    missing = [key for key in ("artifact", "alias") if key not in named]
    if missing:
        yield f"needs {' and '.join(missing)} under when: it asks W&B which version carries the alias"
    for condition in route.when:
        if condition.key in _UNTOLD:
            yield f"cannot go with {condition.key} under when: W&B does not tell it of what was missed"
    aliases = [want for want in named.get("alias", ()) if _GLOB & set(want)]
    if aliases:
        yield f"needs aliases without globs under when, got {shown(aliases[0])}"
    places = [want for want in named.get("artifact", ()) if _GLOB & set(want.rpartition("/")[0])]
    if places:
        yield (
            f"needs entity and project without globs in artifact under when, got {shown(places[0])}; "
            "the collection may be one"
        )
    events = [condition for condition in route.when if condition.key == "event"]
    if any(condition.verdict({"event": _CAUGHT_UP}) is Verdict.FAILS for condition in events):
        yield f"needs {_CAUGHT_UP} among the events under when: only that can be caught up"
    names = sorted(name for template in templates(route.action) for name in template.names)
    bodies = [name for name in names if name.startswith("payload.")]
    if bodies:
        yield f"cannot go with ${{{bodies[0]}}}: what was missed came with no body"
