"""`handoff check --online` at GitHub: each permission proven, each workflow found, nothing started."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta

import pytest

from receiver.checks import Finding, Mark
from receiver.checks.github_look import GitHubLook
from receiver.checks.on_github import on_github
from receiver.github import TokenCredentials
from receiver.github_app import AppCredentials
from receiver.routing.route import Post, RepositoryDispatch, Route, WorkflowDispatch
from receiver.routing.template import Template
from tests.receiver.fakes import Clock
from tests.receiver.github_world import CLIENT_ID, PAT, private_pem, public_pem
from tests.stand_ins.github import GitHubStandIn, Workflow

REPOSITORY = "acme/serving"
ALL = {"contents": "write", "actions": "write"}
DISPATCH = Route("deploy", RepositoryDispatch(Template("acme/serving"), Template("BUILD")))
START = Route(
    "evaluate", WorkflowDispatch(Template("acme/serving"), Template("evaluate.yml"), Template("main"))
)
WORKFLOWS = (
    Workflow("deploy.yml", types=("BUILD",)),
    Workflow("evaluate.yml", types=("X",), inputs=("name",)),
)
PROBES = {
    f"POST /repos/{REPOSITORY}/dispatches",
    f"POST /repos/{REPOSITORY}/actions/workflows/evaluate.yml/dispatches",
}


@pytest.fixture
def github() -> Iterator[GitHubStandIn]:
    """A GitHub; in the end nothing was dispatched, and nothing broke its description but empty bodies."""
    with GitHubStandIn(now=Clock()) as standing:
        standing.add_repository(REPOSITORY, workflows=WORKFLOWS)
        yield standing
    assert standing.dispatches == ()
    assert standing.started == ()
    assert {violation.what for violation in standing.violations} <= PROBES
    assert {violation.of for violation in standing.violations} <= {"request"}


def by_token(github: GitHubStandIn, permissions: Mapping[str, str] = ALL) -> GitHubLook:
    """Who has a token with these permissions."""
    github.add_token(PAT, repositories=(REPOSITORY,), permissions=permissions)
    return GitHubLook(github.url, TokenCredentials(PAT), now=Clock())


def by_app(
    github: GitHubStandIn, permissions: Mapping[str, str] = ALL, *, installed: bool = True
) -> GitHubLook:
    """An App with these permissions."""
    app = github.add_app(client_id=CLIENT_ID, public_key_pem=public_pem(), permissions=permissions)
    github.install(app, account="acme", repositories=(REPOSITORY,) if installed else ())
    credentials = AppCredentials(CLIENT_ID, private_pem(), github.url, now=Clock())
    return GitHubLook(github.url, credentials, now=Clock())


def told(look: GitHubLook, *routes: Route) -> Sequence[Finding]:
    """What is found."""
    return list(on_github(routes, look))


def bad(findings: Sequence[Finding]) -> list[str]:
    """What has to be mended."""
    return [f"{each.what}: {each.detail}" for each in findings if each.mark is Mark.BAD]


@pytest.mark.parametrize("who", [by_token, by_app])
def test_all_is_well(github: GitHubStandIn, who: type) -> None:
    """
    With a token as with an App: it may dispatch, start and read, and something listens.
    """
    assert told(who(github), DISPATCH, START) == [
        Finding.good("acme/serving, contents: write", "it may be dispatched to"),
        Finding.good("route deploy", "deploy.yml of acme/serving listens for BUILD"),
        Finding.good("acme/serving, actions: write", "its workflows may be started"),
        Finding.good(
            "route evaluate", "evaluate.yml of acme/serving on main can be started as the route does it"
        ),
        Finding.good("acme/serving, actions: read", "its runs can be followed"),
    ]


def test_a_token_that_may_not(github: GitHubStandIn) -> None:
    """
    Each permission that it lacks is named.
    """
    found = bad(told(by_token(github, {"contents": "read"}), DISPATCH, START))

    assert len(found) == 3
    assert found[0].startswith("acme/serving, contents: write: ")
    assert "contents=write" in found[0]
    assert "actions=write" in found[1]
    assert "actions=read" in found[2]
    assert found[2].endswith("; or give these routes run: off")


def test_runs_that_nobody_follows_take_no_permission(github: GitHubStandIn) -> None:
    """
    With run: off nobody asks for actions: read.
    """
    route = replace(DISPATCH, run_within=None)

    assert bad(told(by_token(github, {"contents": "write"}), route)) == []


def test_an_app_that_is_not_installed(github: GitHubStandIn) -> None:
    """
    Is told to be installed.
    """
    assert "is not installed for acme/serving" in bad(told(by_app(github, installed=False), DISPATCH))[0]


def test_an_app_that_may_not_read_files(github: GitHubStandIn) -> None:
    """
    Starting takes no contents: what is in the workflow is then not checked, and that is said.
    """
    findings = told(by_app(github, {"actions": "write"}), START)

    assert bad(findings) == []
    assert [each.mark for each in findings] == [Mark.GOOD, Mark.OPEN, Mark.GOOD]
    assert findings[1].detail.startswith("not checked: the App may not have a token for acme/serving")


@pytest.mark.parametrize("who", [by_token, by_app])
def test_a_repository_that_is_not_there(github: GitHubStandIn, who: type) -> None:
    """
    A wrong name, or one that we may not see.
    """
    route = replace(DISPATCH, action=RepositoryDispatch(Template("acme/gone"), Template("BUILD")))

    found = bad(told(who(github), route))
    assert found
    assert "acme/gone" in found[0]
    github.violations.clear()


def test_a_repository_that_moved(github: GitHubStandIn) -> None:
    """
    Works for now; the new name should be written.
    """
    look = by_token(github)
    github.move_repository(REPOSITORY, "acme/moved", status=308)

    findings = told(look, replace(DISPATCH, run_within=None))
    assert findings[0].mark is Mark.WARNING
    assert "under another name by now" in findings[0].detail
    github.violations.clear()


def test_nobody_listens(github: GitHubStandIn) -> None:
    """
    The nearest type that somebody does listen for is named.
    """
    action = RepositoryDispatch(Template("acme/serving"), Template("BULID"))

    found = bad(told(by_token(github), replace(DISPATCH, action=action)))
    assert len(found) == 1
    assert "no workflow on the default branch of acme/serving listens for BULID" in found[0]
    assert found[0].endswith("{types: [BULID]}} in one of them; did you mean BUILD?")


def test_each_type_that_a_route_may_send(github: GitHubStandIn) -> None:
    """
    Of a templated type each that is allowed; where any is, nobody can tell.
    """
    one_of = RepositoryDispatch(
        Template("acme/serving"), Template.parse("${event.type}"), ("BUILD", "X", "Z")
    )
    look = by_token(github)

    findings = told(look, replace(DISPATCH, action=one_of))
    assert [each.mark for each in findings if each.what == "route deploy"] == [Mark.GOOD, Mark.GOOD, Mark.BAD]
    findings = told(look, replace(DISPATCH, action=replace(one_of, event_types=())))
    assert [each.mark for each in findings if each.what == "route deploy"] == [Mark.OPEN]


def test_a_repository_that_the_event_decides(github: GitHubStandIn) -> None:
    """
    Is not checked; what is no dispatch to GitHub is not either.
    """
    action = RepositoryDispatch(Template.parse("acme/${artifact.collection}"), Template("BUILD"))
    findings = told(
        by_token(github), replace(DISPATCH, action=action), Route("post", Post("https://x.example"))
    )

    assert [(each.what, each.mark) for each in findings] == [("route deploy", Mark.OPEN)]
    assert github.requests == []


def test_a_run_name_without_the_key(github: GitHubStandIn) -> None:
    """
    Its runs could not be found: a warning, unless nobody looks for them.
    """
    github.add_repository("acme/other", workflows=(Workflow("a.yml", run_name_shows_key=False),))
    github.add_token("other", repositories=("acme/other",), permissions=ALL)
    look = GitHubLook(github.url, TokenCredentials("other"), now=Clock())
    route = replace(DISPATCH, action=RepositoryDispatch(Template("acme/other"), Template("BUILD")))

    warned = [each.detail for each in told(look, route) if each.mark is Mark.WARNING]
    assert len(warned) == 1
    assert warned[0].startswith("the run-name of a.yml does not show the key")
    assert [each.mark for each in told(look, replace(route, run_within=None))] == [Mark.GOOD] * 2
    github.violations.clear()


def test_a_workflow_that_cannot_be_read(github: GitHubStandIn) -> None:
    """
    Is warned of; that nobody listens is then no more than a warning, for that one may.
    """
    github.add_repository("acme/other", workflows=(Workflow("a.yml", text="on: ["),))
    github.add_token("other", repositories=("acme/other",), permissions=ALL)
    look = GitHubLook(github.url, TokenCredentials("other"), now=Clock())
    route = replace(
        DISPATCH, action=RepositoryDispatch(Template("acme/other"), Template("BUILD")), run_within=None
    )

    assert [each.mark for each in told(look, route)] == [Mark.GOOD, Mark.WARNING, Mark.WARNING]
    github.violations.clear()


@pytest.mark.parametrize(
    ("inputs", "ref", "text", "said"),
    [
        ({"nmae": 1}, "main", None, "declares no input nmae; did you mean name?"),
        (None, "gone", None, "there is no evaluate.yml of acme/other on gone"),
        (None, "main", "on: push\n", "has no on: workflow_dispatch; add it there"),
        (
            None,
            "main",
            "on: {workflow_dispatch: {inputs: {a: {required: true}, handoff_key: {required: true}}}}\n",
            "wants the input a, and the route gives none",
        ),
        ({"name": 1}, "main", None, None),
    ],
    ids=["unknown input", "no such ref", "no trigger", "missing input", "good"],
)
def test_a_workflow_that_would_not_start(
    github: GitHubStandIn, inputs: dict[str, int] | None, ref: str, text: str | None, said: str | None
) -> None:
    """
    Its trigger, its inputs and the branch are looked at before anybody promotes anything.
    """
    look = by_token(github)
    github.add_repository("acme/other", workflows=(replace(WORKFLOWS[1], text=text),))
    github.add_token("other", repositories=("acme/other",), permissions=ALL)
    look = GitHubLook(github.url, TokenCredentials("other"), now=Clock())
    action = WorkflowDispatch(
        Template("acme/other"),
        Template("evaluate.yml"),
        Template(ref),
        None if inputs is None else Template(inputs),
    )

    found = bad(told(look, replace(START, action=action)))
    assert [str(said) in each for each in found] == ([True] if said else [])
    github.violations.clear()


def test_a_workflow_that_is_not_there(github: GitHubStandIn) -> None:
    """
    Or has another name.
    """
    action = WorkflowDispatch(Template("acme/serving"), Template("evalute.yml"), Template("main"))

    found = bad(told(by_token(github), replace(START, action=action)))
    assert len(found) == 1
    assert "there is no evalute.yml of acme/serving on main" in found[0]
    github.violations.clear()


def test_a_github_that_does_not_answer(github: GitHubStandIn) -> None:
    """
    Is told as it is, for each permission.
    """
    look = by_token(github)
    github.stop()

    found = bad(told(look, replace(DISPATCH, run_within=timedelta(minutes=1))))
    assert [("no connection to 127.0.0.1" in each) for each in found] == [True, True]


def test_a_repository_without_workflows(github: GitHubStandIn) -> None:
    """
    Nobody can listen in it.
    """
    github.add_repository("acme/bare")
    github.add_token("bare", repositories=("acme/bare",), permissions=ALL)
    look = GitHubLook(github.url, TokenCredentials("bare"), now=Clock())
    route = replace(DISPATCH, action=RepositoryDispatch(Template("acme/bare"), Template("BUILD")))

    found = bad(told(look, route))
    assert [("listens for BUILD" in each) for each in found] == [True]
    github.violations.clear()


@pytest.mark.parametrize(
    ("answer", "mark", "said"),
    [
        ({"status": 502, "body": {"message": "Bad Gateway"}}, Mark.OPEN, "not checked: GitHub failed"),
        (
            {"status": 200, "body": {"content": "/w=="}},
            Mark.OPEN,
            "not checked: evaluate.yml: GitHub's answer is",
        ),
    ],
    ids=["a fault", "no text"],
)
def test_a_workflow_that_github_does_not_show(
    github: GitHubStandIn, answer: dict[str, object], mark: Mark, said: str
) -> None:
    """
    Is not checked, and that is said.
    """
    look = by_token(github)
    path = f"GET /repos/{REPOSITORY}/contents/.github/workflows/evaluate.yml"
    github.faults.add(path, **answer)

    finding = next(each for each in told(look, START) if each.what == "route evaluate")
    assert finding.mark is mark
    assert finding.detail.startswith(said)


def test_a_list_that_github_does_not_show(github: GitHubStandIn) -> None:
    """
    Says nothing of what listens.
    """
    look = by_token(github)
    github.faults.add(f"GET /repos/{REPOSITORY}/contents/.github/workflows", status=502)

    assert [(each.what, each.mark) for each in told(look, DISPATCH)[1:2]] == [
        ("acme/serving, workflows", Mark.OPEN)
    ]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (Template.parse("${alias}.yml"), "not checked: the event decides which workflow it is"),
        (Template("123"), "not checked: the workflow is named by its number, not by its file"),
    ],
    ids=["a template", "a number"],
)
def test_a_workflow_by_another_name(github: GitHubStandIn, name: Template, said: str) -> None:
    """
    Cannot be read beforehand.
    """
    action = WorkflowDispatch(Template("acme/serving"), name, Template("main"))

    findings = told(by_token(github), replace(START, action=action, run_within=None))
    assert findings[-1] == Finding("route evaluate", Mark.OPEN, said)
    github.violations.clear()


def test_a_start_that_github_knows_no_workflow_for(github: GitHubStandIn) -> None:
    """
    Whatever it is that is not there, it is told.
    """
    action = WorkflowDispatch(Template("acme/gone"), Template("a.yml"), Template("main"))

    (found,) = bad(told(by_token(github), replace(START, action=action, run_within=None)))
    assert "there is no acme/gone, or no workflow a.yml on its default branch" in found
    github.violations.clear()
