"""GitHubStandIn: a GitHub to test against, on 127.0.0.1."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from email.utils import format_datetime
from types import TracebackType
from typing import Any, final

from openapi_core.testing import MockRequest

from tests.stand_ins.github import description, documents
from tests.stand_ins.github.api import Api, Call
from tests.stand_ins.github.asked import Answer, Asked
from tests.stand_ins.github.faults import Fault, Faults
from tests.stand_ins.github.server import Server
from tests.stand_ins.github.state import (
    App,
    Budget,
    Deployment,
    Dispatched,
    Installation,
    Repository,
    Run,
    Started,
    State,
    Token,
    Workflow,
)

_BY_ID = re.compile(r"/repositories/(?P<repository_id>[0-9]+)(?P<rest>/.*)?")


def _system_clock() -> datetime:
    return datetime.now(timezone.utc)


@dataclass(frozen=True)
class Violation:
    """A request or an answer that GitHub's description does not allow."""

    of: str  # "request" or "answer"
    what: str
    why: str


@final
class GitHubStandIn:
    """A stateful GitHub: Apps, tokens, dispatches, runs, rate limits, faults on demand.

    Attributes:
        requests: All that came in.
        violations: All that disagreed with GitHub's OpenAPI description, ours and the program's.
        faults: What goes wrong next; see ``Faults.add``.
    """

    def __init__(
        self,
        *,
        now: Callable[[], datetime] = _system_clock,
        port: int = 0,
        base_path: str = "",
        html_url: str = "https://github.com",
        knows_run_details: bool = True,
    ) -> None:
        self._now = now
        self._port = port
        self._base_path = base_path
        self._html_url = html_url
        self._state = State(knows_run_details=knows_run_details)
        self._judge = description.load()
        self._server: Server | None = None
        self._thread: threading.Thread | None = None
        self.requests: list[Asked] = []
        self.violations: list[Violation] = []
        self.faults = Faults()

    # Life.

    def start(self) -> GitHubStandIn:
        """Listen; the address is ``url``."""
        self._server = Server(self._port, self)
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, name="github-stand-in"
        )
        self._thread.start()
        return self

    def stop(self) -> None:
        """Let go of what hangs, end every connection and thread."""
        if self._server is None or self._thread is None:
            return
        self._port = self._server.server_port  # The same address, if it starts again.
        self.faults.release()
        self._server.close()
        self._thread.join()
        self._server = self._thread = None

    def __enter__(self) -> GitHubStandIn:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """What ``GITHUB_API_URL`` is to be."""
        port = self._port if self._server is None else self._server.server_port
        return f"http://127.0.0.1:{port}{self._base_path}"

    # What there is.

    def add_repository(
        self,
        name: str,
        *,
        workflows: Iterable[Workflow] = (),
        archived: bool = False,
        private: bool = True,
    ) -> Repository:
        """Create ``owner/name``."""
        with self._state.changed:
            number = next(self._state.ids)
            repository = Repository(number, name, tuple(workflows), archived, private)
            self._state.repositories[number] = repository
            return repository

    def add_token(
        self, value: str, *, repositories: Iterable[str] = (), permissions: Mapping[str, str] | None = None
    ) -> Token:
        """Create a personal access token; the names are those of now."""
        kind = "fine-grained" if value.startswith("github_pat_") else "classic"
        held = {"contents": "write"} if permissions is None else permissions
        with self._state.changed:
            token = Token(
                value, kind, self._ids(repositories), {"metadata": "read", **held}, f"user {value[-4:]}"
            )
            self._state.tokens[value] = token
            return token

    def revoke_token(self, value: str) -> None:
        """Let the token be unknown from now on."""
        with self._state.changed:
            self._state.tokens.pop(value, None)

    def add_app(
        self, *, client_id: str, public_key_pem: str | bytes, permissions: Mapping[str, str] | None = None
    ) -> App:
        """Register a GitHub App with the public half of its key."""
        held = {"contents": "write"} if permissions is None else permissions
        with self._state.changed:
            app = App(next(self._state.ids), client_id, public_key_pem, {"metadata": "read", **held})
            self._state.apps[client_id] = self._state.apps[str(app.id)] = app
            return app

    def install(self, app: App, *, account: str, repositories: Iterable[str]) -> Installation:
        """Install the App at the account, for these repositories."""
        with self._state.changed:
            number = next(self._state.ids)
            chosen = set(self._ids(repositories))
            installation = Installation(number, app, account, chosen, dict(app.permissions))
            self._state.installations[number] = installation
            return installation

    def suspend(self, installation: Installation) -> None:
        """Suspend the installation."""
        with self._state.changed:
            installation.suspended_at = self._now()

    def unsuspend(self, installation: Installation) -> None:
        """Let the installation work again."""
        with self._state.changed:
            installation.suspended_at = None

    def uninstall(self, installation: Installation) -> None:
        """Remove the installation; its tokens are worth nothing now."""
        with self._state.changed:
            del self._state.installations[installation.id]

    def move_repository(self, old: str, new: str, *, status: int = 301) -> None:
        """Rename the repository; its old name answers with a redirect, as GitHub does."""
        with self._state.changed:
            repository = self._state.repository(old)
            assert repository is not None, f"there is no repository {old}"
            repository.name = new
            self._state.moved.pop(new.lower(), None)
            self._state.moved[old.lower()] = (repository.id, status)

    def rate_limit(self, token: str | None = None, *, remaining: int, reset: datetime) -> None:
        """Leave this much of a token's rate limit, or of everybody's, until ``reset``."""
        with self._state.changed:
            chosen = self._state.tokens.values() if token is None else [self._state.tokens[token]]
            for each in chosen:
                self._state.budgets[each.bucket] = Budget(remaining, reset)

    def secondary_limit(self, *, times: int = 1, retry_after: str | None = "60") -> None:
        """Refuse the next requests with the secondary rate limit."""
        with self._state.changed:
            self._state.secondary.extend([retry_after] * times)

    # What happened.

    @property
    def dispatches(self) -> Sequence[Dispatched]:
        """The dispatches that were accepted, in order."""
        with self._state.changed:
            return tuple(self._state.dispatches)

    @property
    def deployments(self) -> Sequence[Deployment]:
        """The deployments, in order, with the states that they were given."""
        with self._state.changed:
            return tuple(self._state.deployments)

    @property
    def started(self) -> Sequence[Started]:
        """The workflows that were started by name, in order."""
        with self._state.changed:
            return tuple(self._state.started)

    @property
    def runs(self) -> Sequence[Run]:
        """The runs that dispatches started, in order."""
        with self._state.changed:
            return tuple(self._state.runs)

    def wait_for_dispatches(self, count: int, timeout: float) -> Sequence[Dispatched]:
        """Return the dispatches as soon as there are so many; TimeoutError when they do not come."""
        with self._state.changed:
            if not self._state.changed.wait_for(lambda: len(self._state.dispatches) >= count, timeout):
                raise TimeoutError(
                    f"got {len(self._state.dispatches)} dispatches in {timeout} s, want {count}"
                )
            return tuple(self._state.dispatches)

    def wait_for_requests(self, count: int, timeout: float) -> None:
        """Return as soon as so many requests came in, answered or not; TimeoutError when they do not come."""
        with self._state.changed:
            if not self._state.changed.wait_for(lambda: len(self.requests) >= count, timeout):
                raise TimeoutError(f"got {len(self.requests)} requests in {timeout} s, want {count}")

    def start_run(self, repository: str, workflow: Workflow, display_title: str) -> Run:
        """Start a run that no dispatch of ours asked for."""
        with self._state.changed:
            known = self._state.repository(repository)
            assert known is not None, f"there is no repository {repository}"
            run = Run(
                next(self._state.ids), known, workflow, display_title, "repository_dispatch", self._now()
            )
            self._state.runs.append(run)
            return run

    def end_run(self, run: Run, conclusion: str) -> None:
        """Let a run come to its end."""
        with self._state.changed:
            run.status, run.conclusion = "completed", conclusion

    def workflow_run_webhook(self, run: Run, secret: str) -> tuple[bytes, dict[str, str]]:
        """What GitHub posts of a run to a webhook with that secret: body and headers."""
        told = {
            "action": "completed" if run.status == "completed" else "requested",
            "workflow_run": documents.run(run, self.url, self._html_url),
            "repository": {"id": run.repository.id, "full_name": run.repository.name},
        }
        body = json.dumps(told).encode()
        signed = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
        return body, {"X-GitHub-Event": "workflow_run", "X-Hub-Signature-256": f"sha256={signed}"}

    def event(self, dispatched: Dispatched) -> dict[str, Any]:
        """Return the event file that a runner gets for this dispatch."""
        owner = dispatched.repository.partition("/")[0]
        with self._state.changed:
            repository = self._state.repository(dispatched.repository)
        assert repository is not None, f"there is no repository {dispatched.repository}"
        number = dispatched.installation_id or 1
        event = {
            "action": dispatched.event_type,
            "branch": "main",
            "client_payload": dispatched.client_payload,
            "repository": documents.full_repository(repository, self.url, self._html_url),
            "sender": documents.user(owner, self.url, self._html_url),
            "installation": {"id": number, "node_id": documents.node_id("IntegrationInstallation", number)},
        }
        self._judge_event(event)
        return event

    # What the server asks of us.

    def date(self) -> str:
        """Return our time, as a header has it."""
        return format_datetime(self._now().astimezone(timezone.utc), usegmt=True)

    def take_fault(self, asked: Asked) -> Fault | None:
        """Keep the request; return what is to go wrong with it."""
        with self._state.changed:
            self.requests.append(asked)
            self._state.changed.notify_all()
        return self.faults.take(asked.method, asked.path.removeprefix(self._base_path))

    def answer(self, asked: Asked) -> Answer:
        """Do as asked; keep what the description would not allow."""
        found = self._route(asked)
        if found is None:
            self._violated("request", asked, "no such path in the description")
            return Answer(404, documents.error(404, "Not Found"))
        template, values = found
        request = _as_described(asked, template, values)
        answer = self._answer(asked, template, values, request)
        disagreement = self._judge.disagrees(request, answer.status, "application/json", answer.body)
        if disagreement is not None:
            self._violated("answer", asked, f"{answer.status}: {disagreement}")
        return answer

    def _answer(self, asked: Asked, template: str, values: dict[str, str], request: MockRequest) -> Answer:
        problem = self._judge.refuses(request)
        if problem:
            self._violated("request", asked, "; ".join(map(str, problem)))
        with self._state.changed:
            api = Api(self._state, self.url, self._html_url)
            return api.answer(template, Call(asked, values, self._now(), problem))

    def _route(self, asked: Asked) -> tuple[str, dict[str, str]] | None:
        path = asked.path
        if not path.startswith(f"{self._base_path}/"):
            return None
        path = path.removeprefix(self._base_path)
        by_id = _BY_ID.fullmatch(path)
        if by_id is not None:
            path = f"/repos/by/id{by_id['rest'] or ''}"
        for template, operations in self._judge.paths.items():
            pattern = template.replace("{path}", "(?P<path>.+)")
            match = re.fullmatch(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", pattern), path)
            if match is not None and asked.method.lower() in operations:
                values = match.groupdict()
                if by_id is not None:
                    values["repository_id"] = by_id["repository_id"]
                return template, values
        return None

    def _ids(self, names: Iterable[str]) -> frozenset[int]:
        found = [(name, self._state.repository(name)) for name in names]
        missing = [name for name, repository in found if repository is None]
        assert not missing, f"no such repositories: {missing}"
        return frozenset(repository.id for _, repository in found if repository is not None)

    def _violated(self, of: str, asked: Asked, why: str) -> None:
        with self._state.changed:
            self.violations.append(Violation(of, f"{asked.method} {asked.target}", why))

    def _judge_event(self, event: Mapping[str, Any]) -> None:
        problem = self._judge.disagrees_with_event(event)
        if problem is not None:
            self.violations.append(Violation("answer", "event of a repository_dispatch", problem))


def _as_described(asked: Asked, template: str, values: dict[str, str]) -> MockRequest:
    """Return the request for the judge.

    Without ``created``: the description wants a date and time there, GitHub itself a range (``>=…``).
    """
    query = {name: value for name, value in asked.query.items() if name != "created"}
    path = template
    for name, value in values.items():
        path = path.replace(f"{{{name}}}", value)
    return MockRequest(
        description.API,
        asked.method,
        path,
        path_pattern=template,
        args=query,
        view_args={name: value for name, value in values.items() if name != "repository_id"},
        headers=dict(asked.headers),
        data=asked.body,
        content_type=asked.headers.get("content-type", "application/octet-stream"),
    )
