"""The checks of GitHub: for each repository that a route names, may we, and does anything listen?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from receiver.checks.finding import Finding
from receiver.checks.github_look import GitHubLook, LookError, NothingThereError
from receiver.checks.workflow_file import WorkflowFile
from receiver.config.problems import nearest
from receiver.routing.planned import MOST_INPUTS
from receiver.routing.route import RepositoryDispatch, Route, WorkflowDispatch
from receiver.routing.template import Template

_KEY_INPUT = "handoff_key"


@dataclass
class _Wanted:
    """What the routes want of one repository."""

    dispatches: list[tuple[Route, RepositoryDispatch]] = field(default_factory=list)
    starts: list[tuple[Route, WorkflowDispatch]] = field(default_factory=list)

    @property
    def follows_runs(self) -> bool:
        return any(route.run_within is not None for route, _ in (*self.dispatches, *self.starts))


def on_github(routes: Sequence[Route], look: GitHubLook) -> Iterator[Finding]:
    """What GitHub says to each repository, and then to each route."""
    wanted: dict[str, _Wanted] = {}
    for route in routes:
        action = route.action
        if not isinstance(action, (RepositoryDispatch, WorkflowDispatch)):
            continue
        repository = written(action.repository)
        if repository is None:
            yield Finding.open(f"route {route.name}", "the event decides which repository it is")
        elif isinstance(action, RepositoryDispatch):
            wanted.setdefault(repository, _Wanted()).dispatches.append((route, action))
        else:
            wanted.setdefault(repository, _Wanted()).starts.append((route, action))
    for repository, each in wanted.items():
        yield from _repository(repository, each, look)


def written(template: Template) -> str | None:
    """The text of a template in which nothing is open."""
    return template.tree if isinstance(template.tree, str) else None


def _repository(repository: str, wanted: _Wanted, look: GitHubLook) -> Iterator[Finding]:
    if wanted.dispatches:
        yield from _dispatches(repository, wanted.dispatches, look)
    for route, action in wanted.starts:
        yield from _start(repository, route, action, look)
    if wanted.follows_runs:
        what = f"{repository}, actions: read"
        try:
            look.check_runs(repository)
            yield Finding.good(what, "its runs can be followed")
        except LookError as error:
            yield Finding.bad(what, f"{error}; or give these routes run: off")


def _dispatches(
    repository: str, routes: Sequence[tuple[Route, RepositoryDispatch]], look: GitHubLook
) -> Iterator[Finding]:
    what = f"{repository}, contents: write"
    try:
        moved = look.check_dispatch(repository)
    except LookError as error:
        yield Finding.bad(what, str(error))
        return
    yield _allowed(what, "it may be dispatched to", moved=moved)
    try:
        files, unread = look.workflows(repository)
    except NothingThereError:
        files, unread = (), ()
    except LookError as error:
        yield Finding.open(f"{repository}, workflows", str(error))
        return
    yield from (Finding.warning(f"{repository}, workflows", why) for why in unread)
    for route, action in routes:
        yield from _listened(repository, route, action, files, all_read=not unread)


def _allowed(what: str, why: str, *, moved: bool) -> Finding:
    if moved:
        return Finding.warning(what, f"{why}, under another name by now: write that one into the route")
    return Finding.good(what, why)


def _listened(
    repository: str,
    route: Route,
    action: RepositoryDispatch,
    files: Sequence[WorkflowFile],
    *,
    all_read: bool,
) -> Iterator[Finding]:
    """Whether a workflow listens to each type that the route may send."""
    event_type = written(action.event_type)
    types = (event_type,) if event_type else action.event_types
    if not types:
        yield Finding.open(f"route {route.name}", "the event decides which type it has")
    for each in types:
        listening = [file for file in files if file.listens_for(each)]
        if listening:
            names = ", ".join(file.name for file in listening)
            yield Finding.good(f"route {route.name}", f"{names} of {repository} listens for {each}")
            yield from _shown(route, listening)
        else:
            yield _unheard(repository, route, each, files, all_read=all_read)


def _unheard(
    repository: str, route: Route, event_type: str, files: Sequence[WorkflowFile], *, all_read: bool
) -> Finding:
    others = [name for file in files for name in file.types or ()]
    advice = f"want on: {{repository_dispatch: {{types: [{event_type}]}}}} in one of them"
    detail = (
        f"no workflow on the default branch of {repository} listens for {event_type}: GitHub would take the "
        f"dispatch and start nothing; {advice}{nearest(event_type, others)}"
    )
    return (Finding.bad if all_read else Finding.warning)(f"route {route.name}", detail)


def _shown(route: Route, files: Sequence[WorkflowFile]) -> Iterator[Finding]:
    """Whether the runs of these workflows can be found."""
    hidden = [file.name for file in files if not file.shows_key]
    if hidden and route.run_within is not None:
        yield Finding.warning(
            f"route {route.name}",
            f"the run-name of {', '.join(hidden)} does not show the key, so its runs cannot be found; "
            "want ${{ github.event.client_payload.handoff.key }} in it",
        )


def _start(repository: str, route: Route, action: WorkflowDispatch, look: GitHubLook) -> Iterator[Finding]:
    name, ref = written(action.workflow), written(action.ref)
    if name is None:
        yield Finding.open(f"route {route.name}", "the event decides which workflow it is")
        return
    what = f"{repository}, actions: write"
    try:
        moved = look.check_start(repository, name)
    except NothingThereError:
        why = f"there is no {repository}, or no workflow {name} on its default branch, or we may see neither"
        yield Finding.bad(what, f"{why}: check repository and workflow of the route")
        return
    except LookError as error:
        yield Finding.bad(what, str(error))
        return
    yield _allowed(what, "its workflows may be started", moved=moved)
    if name.isdecimal():
        yield Finding.open(f"route {route.name}", "the workflow is named by its number, not by its file")
        return
    yield from _startable(repository, route, action, look, ref)


def _startable(
    repository: str, route: Route, action: WorkflowDispatch, look: GitHubLook, ref: str | None
) -> Iterator[Finding]:
    name, what = written(action.workflow) or "", f"route {route.name}"
    where = f"{name} of {repository}" + (f" on {ref}" if ref else "")
    try:
        file = look.workflow(repository, name, ref)
    except NothingThereError:
        yield Finding.bad(what, f"there is no {where}: check workflow and ref of the route")
        return
    except LookError as error:
        yield Finding.open(what, str(error))
        return
    wrong = _wrong_with_inputs(action, file)
    if wrong:
        yield Finding.bad(what, f"{where}: {wrong}")
    else:
        yield Finding.good(what, f"{where} can be started as the route does it")


def _wrong_with_inputs(action: WorkflowDispatch, file: WorkflowFile) -> str | None:
    if file.inputs is None:
        return "has no on: workflow_dispatch; add it there"
    given = set(action.inputs.tree if action.inputs else ())
    unknown = sorted(given - file.inputs.keys())
    if unknown:
        return f"declares no input {', '.join(unknown)}{nearest(unknown[0], file.inputs)}"
    added = {_KEY_INPUT} if len(given) < MOST_INPUTS else set()
    missing = sorted(name for name, needed in file.inputs.items() if needed and name not in given | added)
    return f"wants the input {', '.join(missing)}, and the route gives none" if missing else None
