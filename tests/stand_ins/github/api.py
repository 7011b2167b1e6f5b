"""What GitHub does with each request that we send: one function per path, checks in GitHub's order."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from urllib.parse import unquote

from tests.stand_ins.github import documents, tokens
from tests.stand_ins.github.asked import Answer, Asked, Refused
from tests.stand_ins.github.description import Broken
from tests.stand_ins.github.state import (
    HOURLY,
    Deployment,
    Dispatched,
    Repository,
    Started,
    State,
    Token,
    Workflow,
)

API_VERSIONS = ("2022-11-28", "2026-03-10")
LARGEST_PAYLOAD = 65_535
WORKFLOWS = ".github/workflows"
LONGEST_STATUS = 140
_MOST_RUNS = 100


@dataclass
class Call:
    """One request, on its way through the checks.

    Attributes:
        values: What the path names.
        problem: What the description has against it; GitHub minds that once it knows who asks.
        headers: Of the answer, so far.
    """

    asked: Asked
    values: dict[str, str]
    now: datetime
    problem: Sequence[Broken | str] = ()
    headers: dict[str, str] = field(default_factory=lambda: {"X-GitHub-Media-Type": "github.v3; format=json"})

    @property
    def authorization(self) -> str | None:
        """Who asks."""
        return self.asked.headers.get("authorization")

    def check_body(self) -> None:
        """Refuse what is not JSON, and what the description refuses."""
        try:
            json.loads(self.asked.body or b"{}")
        except ValueError:
            raise Refused(400, "Problems parsing JSON") from None
        if self.problem:
            raise Refused(422, in_githubs_words(self.problem))


class Api:
    """The rules, over one state; ``api`` and ``html`` are the addresses that documents show."""

    def __init__(self, state: State, api: str, html: str) -> None:
        self.state = state
        self.api = api
        self.html = html

    def answer(self, template: str, call: Call) -> Answer:
        """Return the answer to a request for this path template."""
        handle = self._handlers()[f"{call.asked.method} {template}"]
        try:
            check_headers(call.asked)
            answer = handle(call)
        except Refused as refused:
            answer = refused.answer
        answer.headers = {**call.headers, **answer.headers}
        return answer

    def _handlers(self) -> dict[str, Callable[[Call], Answer]]:
        repository = "/repos/{owner}/{repo}"
        return {
            "GET /app": self._app,
            "POST /app/installations/{installation_id}/access_tokens": self._access_token,
            "GET /rate_limit": self._rate_limit,
            f"GET {repository}": self._repository,
            f"GET {repository}/installation": self._installation,
            f"GET {repository}/actions/runs": self._runs,
            f"GET {repository}/contents/{{path}}": self._contents,
            f"POST {repository}/deployments": self._deployment,
            f"POST {repository}/deployments/{{deployment_id}}/statuses": self._deployment_status,
            f"POST {repository}/dispatches": self._dispatch,
            f"POST {repository}/actions/workflows/{{workflow_id}}/dispatches": self._workflow_dispatch,
        }

    # As an App.

    def _app(self, call: Call) -> Answer:
        app = tokens.app(self.state, call.authorization, call.now)
        return Answer(200, documents.app(app, self.api, self.html))

    def _installation(self, call: Call) -> Answer:
        app = tokens.app(self.state, call.authorization, call.now)
        repository = self._find(call)
        installation = self.state.installation_for(app, repository)
        if installation is None:
            raise Refused(404, "Not Found")
        return Answer(200, documents.installation(installation, self.api, self.html))

    def _access_token(self, call: Call) -> Answer:
        app = tokens.app(self.state, call.authorization, call.now)
        installation = self.state.installations.get(int(call.values["installation_id"]))
        if installation is None or installation.app is not app:
            raise Refused(404, "Not Found")
        if installation.suspended_at is not None:
            raise Refused(403, "This installation has been suspended")
        call.check_body()
        token = tokens.mint(self.state, installation, json.loads(call.asked.body or b"{}"), call.now)
        assert token.expires_at is not None
        document = {
            "token": token.value,
            "expires_at": documents.instant(token.expires_at),
            "permissions": dict(token.permissions),
            "repository_selection": "selected",
        }
        return Answer(201, document)

    # With a token.

    def _rate_limit(self, call: Call) -> Answer:
        token = tokens.token(self.state, call.authorization, call.now)
        budget = self.state.budget(token.bucket, call.now)
        shown = {
            "limit": HOURLY,
            "used": HOURLY - budget.remaining,
            "remaining": budget.remaining,
            "reset": int(budget.reset.timestamp()),
        }
        return Answer(200, {"resources": {"core": shown, "search": shown}, "rate": shown})

    def _repository(self, call: Call) -> Answer:
        _, repository = self._seen(call)
        return Answer(200, documents.full_repository(repository, self.api, self.html))

    def _runs(self, call: Call) -> Answer:
        token, repository = self._seen(call)
        if repository.private:
            check_permission(token, "actions", "read", call.headers)
        call.check_body()
        query = call.asked.query
        holds = created_filter(query.get("created"))
        runs = [
            run
            for run in reversed(self.state.runs)
            if run.repository is repository
            and query.get("event") in {None, run.event}
            and holds(run.created_at)
        ]
        size = min(int(query.get("per_page", 30)), _MOST_RUNS)
        start = (int(query.get("page", 1)) - 1) * size
        shown = [documents.run(run, self.api, self.html) for run in runs[start : start + size]]
        return Answer(200, {"total_count": len(runs), "workflow_runs": shown})

    def _contents(self, call: Call) -> Answer:
        token, repository = self._seen(call)
        if repository.private:
            check_permission(token, "contents", "read", call.headers)
        ref = call.asked.query.get("ref", "main")
        if ref != "main":
            raise Refused(404, f"No commit found for the ref {ref}")
        files = {f"{WORKFLOWS}/{each.file}": each.content for each in repository.workflows}
        path = unquote(call.values["path"])
        if path == WORKFLOWS and files:
            return Answer(200, [documents.entry(repository, name, self.api, self.html) for name in files])
        if path not in files:
            raise Refused(404, "Not Found")
        return Answer(200, documents.file(repository, path, files[path], self.api, self.html))

    def _dispatch(self, call: Call) -> Answer:
        token, repository = self._seen(call)
        check_permission(token, "contents", "write", call.headers)
        if repository.archived:
            raise Refused(403, "Repository was archived so is read-only.")
        call.check_body()
        wanted = call.asked.json
        payload = wanted.get("client_payload", {})
        if len(json.dumps(payload, ensure_ascii=False, separators=(",", ":"))) > LARGEST_PAYLOAD:
            raise Refused(422, "client_payload is too large.")
        installation = None if token.installation is None else token.installation.id
        dispatched = Dispatched(
            repository.name, wanted["event_type"], payload, call.now, token.kind, installation
        )
        self.state.accept(repository, dispatched)
        return Answer(204)

    def _deployment(self, call: Call) -> Answer:
        token, repository = self._seen(call)
        check_permission(token, "deployments", "write", call.headers)
        call.check_body()
        wanted = call.asked.json
        if (
            wanted.get("required_contexts") != []
        ):  # It waits for every check of the commit, this run's own too.
            raise Refused(409, "Conflict: Commit status checks failed for main.")
        deployment = Deployment(
            next(self.state.ids),
            repository,
            wanted["ref"],
            wanted.get("environment", "production"),
            wanted.get("description"),
            wanted.get("payload", ""),
            call.now,
        )
        self.state.deployments.append(deployment)
        return Answer(201, documents.deployment(deployment, self.api, self.html))

    def _deployment_status(self, call: Call) -> Answer:
        token, repository = self._seen(call)
        check_permission(token, "deployments", "write", call.headers)
        number = call.values["deployment_id"]
        known = [
            each
            for each in self.state.deployments
            if each.repository is repository and str(each.id) == number
        ]
        if not known:
            raise Refused(404, "Not Found")
        call.check_body()
        told = call.asked.json
        if len(told.get("description", "")) > LONGEST_STATUS:
            raise Refused(422, "Validation Failed")
        known[0].statuses.append(told)
        shown = documents.deployment_status(known[0], next(self.state.ids), call.now, self.api, self.html)
        return Answer(201, shown)

    def _workflow_dispatch(self, call: Call) -> Answer:
        token, repository = self._seen(call)
        check_permission(token, "actions", "write", call.headers)
        wanted = call.asked.json if call.asked.body else {}
        if "return_run_details" in wanted and not self.state.knows_run_details:
            raise Refused(400, 'Invalid request.\n\n"return_run_details" is not a permitted key.')
        call.check_body()
        workflow = next(
            (each for each in repository.workflows if each.file == call.values["workflow_id"]), None
        )
        if workflow is None:
            raise Refused(404, "Not Found")
        started = Started(repository.name, workflow.file, wanted["ref"], wanted.get("inputs", {}))
        check_start(workflow, started)
        run = self.state.start(repository, workflow, started, call.now)
        newest = call.asked.headers.get("x-github-api-version") == API_VERSIONS[-1]
        if not (wanted.get("return_run_details") or newest):
            return Answer(204)
        shown = documents.run(run, self.api, self.html)
        return Answer(
            200, {"workflow_run_id": run.id, "run_url": shown["url"], "html_url": shown["html_url"]}
        )

    # What several need.

    def _seen(self, call: Call) -> tuple[Token, Repository]:
        """Return who asks and what they ask about, when they may see it and are within their rate."""
        token = tokens.token(self.state, call.authorization, call.now)
        self._spend(token, call)
        if token.kind == "classic":
            may_write = tokens.allows(token.permissions, "contents", "write")
            call.headers["X-OAuth-Scopes"] = "repo, workflow" if may_write else "read:org"
        repository = self._find(call)
        if repository.private and repository.id not in token.repository_ids:
            raise Refused(404, "Not Found")
        return token, repository

    def _find(self, call: Call) -> Repository:
        values = call.values
        if "repository_id" in values:
            known = self.state.repositories.get(int(values["repository_id"]))
        else:
            name = f"{values['owner']}/{values['repo']}"
            self._redirect(name, call.asked)
            known = self.state.repository(name)
        if known is None:
            raise Refused(404, "Not Found")
        return known

    def _redirect(self, name: str, asked: Asked) -> None:
        if name.lower() in self.state.moved:
            number, status = self.state.moved[name.lower()]
            rest = asked.target.split("/", 4)[4:]
            location = "/".join([f"{self.api}/repositories/{number}", *rest])
            raise Refused(status, "Moved Permanently", Location=location)

    def _spend(self, token: Token, call: Call) -> None:
        budget = self.state.budget(token.bucket, call.now)
        exhausted = budget.remaining <= 0
        budget.remaining = max(0, budget.remaining - 1)
        call.headers.update(
            {
                "X-RateLimit-Limit": str(HOURLY),
                "X-RateLimit-Remaining": str(budget.remaining),
                "X-RateLimit-Used": str(HOURLY - budget.remaining),
                "X-RateLimit-Reset": str(int(budget.reset.timestamp())),
                "X-RateLimit-Resource": "core",
            }
        )
        if exhausted:
            raise Refused(403, f"API rate limit exceeded for {token.bucket}.")
        if self.state.secondary:
            after = self.state.secondary.pop(0)
            waits = {} if after is None else {"Retry_After": after}
            raise Refused(
                403,
                "You have exceeded a secondary rate limit. Please wait a few minutes before you try again.",
                **waits,
            )


def check_headers(asked: Asked) -> None:
    """Refuse what names no program, and an API version that does not exist."""
    if not asked.headers.get("user-agent"):
        raise Refused(
            403,
            "Request forbidden by administrative rules. Please make sure your request has a User-Agent"
            " header",
        )
    version = asked.headers.get("x-github-api-version", API_VERSIONS[0])
    if version not in API_VERSIONS:
        raise Refused(400, f"{version!r} is not a supported version.")


def check_start(workflow: Workflow, started: Started) -> None:
    """Refuse what GitHub refuses of a workflow_dispatch, in its words."""
    if not workflow.enabled:
        raise Refused(422, "Cannot trigger a 'workflow_dispatch' on a disabled workflow")
    if started.ref not in {"main", "refs/heads/main"}:
        raise Refused(422, f"No ref found for: {started.ref}")
    if workflow.inputs is None:
        raise Refused(422, "Workflow does not have 'workflow_dispatch' trigger")
    unexpected = sorted(started.inputs.keys() - set(workflow.inputs))
    if unexpected:
        raise Refused(422, f"Unexpected inputs provided: {json.dumps(unexpected)}")


def check_permission(token: Token, name: str, level: str, headers: dict[str, str]) -> None:
    """Refuse a token that lacks the permission, and name what it would need."""
    headers["X-Accepted-GitHub-Permissions"] = f"{name}={level}"
    if not tokens.allows(token.permissions, name, level):
        who = "integration" if token.kind == "installation" else "personal access token"
        raise Refused(403, f"Resource not accessible by {who}")


def created_filter(text: str | None) -> Callable[[datetime], bool]:
    """Read GitHub's range of times: ``>=T``, ``<T``, ``T..T``, or one day."""
    if text is None:
        return lambda _: True
    compare = re.fullmatch(r"(>=|>|<=|<)(.+)", text)
    if compare is not None:
        sign, moment = compare[1], _moment(compare[2])
        return lambda at: {">=": at >= moment, ">": at > moment, "<=": at <= moment, "<": at < moment}[sign]
    if ".." in text:
        first, _, last = text.partition("..")
        return lambda at: _moment(first) <= at <= _moment(last)
    return lambda at: at.date() == _moment(text).date()


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        raise Refused(422, f"Invalid value for created: {text}") from None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=timezone.utc)


def in_githubs_words(problem: Sequence[Broken | str]) -> str:
    """Say what the description has against a request, as GitHub says it."""
    return "\n\n".join(["Invalid request.", *(_words(each) for each in problem)])


def _words(broken: Broken | str) -> str:
    if isinstance(broken, str):
        return broken
    if broken.keyword == "required":
        return f'"{broken.words.split(chr(39))[1]}" wasn\'t supplied.'
    if broken.keyword == "maxProperties":
        return f"No more than {broken.limit} properties are allowed; {len(broken.value)} were supplied."
    where = "/".join(["properties", *broken.path])
    kinds = {"object": "an object", "string": "a string", "array": "an array", "integer": "an integer"}
    if broken.keyword == "type":
        return f"For '{where}', {json.dumps(broken.value)} is not {kinds.get(broken.limit)}."
    return f"For '{where}', {broken.words}."
