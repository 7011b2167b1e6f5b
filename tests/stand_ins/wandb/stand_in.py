"""A W&B of our own: its API, its file store and its automations, over one state."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from werkzeug.wrappers import Request

from tests.stand_ins.wandb import api, automations, graph, manifest
from tests.stand_ins.wandb.addresses import Addresses
from tests.stand_ins.wandb.answers import Asker
from tests.stand_ins.wandb.automations import Automation, Execution, Webhook
from tests.stand_ins.wandb.bucket import Bucket
from tests.stand_ins.wandb.faults import Faults
from tests.stand_ins.wandb.federation import Federation
from tests.stand_ins.wandb.serving import Server
from tests.stand_ins.wandb.state import Event, Membership, Organization, Run, State, User


@dataclass(frozen=True)
class RecordedRequest:
    """One request as it came.

    Attributes:
        origin: ``api`` or ``files``.
        operation: The name of the GraphQL operation, else None.
        variables: Of the GraphQL operation, else None.
        target: What faults call the file, else None.
        headers: All of them, names in lower case.
    """

    origin: str
    method: str
    path: str
    headers: Mapping[str, str]
    operation: str | None = None
    variables: Mapping[str, Any] | None = None
    target: str | None = None


class WandbStandIn:
    """W&B on 127.0.0.1: stateful, with signed file addresses on an origin of their own.

    Attributes:
        api_key: The key of ``ana``, who sees everything.
        features: What the server says it can do; None for one too old to list it.
        unknown_fields: Fields, as ``Run.commit``, that the server is too old to know.
        direct_urls: Whether files have signed addresses; else they are behind the API's own alone.
        federation: Whose identity tokens are exchanged for W&B's own.
        url_lifetime: How long a file's address works, by the clock passed in.
        most_per_page: A cap on every page, whatever the client asks for.
        version_aliases: Whether ``aliases`` lists ``vN`` among the others, as W&B may.
        requests: Every request so far.
        executions: Every delivery of an automation so far.
        faults: What goes wrong next.
    """

    def __init__(
        self, *, now: Callable[[], datetime] | None = None, port: int = 0, files_port: int = 0
    ) -> None:
        self.now = now or (lambda: datetime.now(timezone.utc))
        self.features: set[str] | None = set(graph.FEATURES)
        self.unknown_fields: set[str] = set()
        self.direct_urls = True
        self.federation = Federation(self.now)
        self.url_lifetime = timedelta(hours=1)
        self.most_per_page: int | None = None
        self.version_aliases = True
        self.requests: list[RecordedRequest] = []
        self.executions: list[Execution] = []
        self.faults = Faults()
        self._lock = threading.RLock()
        self._events: list[Event] = []
        self._automations: list[Automation] = []
        self._state = State(self.now, self._events.append)
        self._addresses = Addresses(
            self._state.artifacts,
            origin=lambda: self.files_url,
            now=self.now,
            lifetime=lambda: self.url_lifetime,
        )
        self._api = Server(api.create_app(self), port)
        self._files = Server(
            Bucket(self._addresses.find, self._addresses.refusal, self._record_file, self.faults), files_port
        )
        self.api_key = self.add_user("ana").api_key

    # --- serving

    def start(self) -> WandbStandIn:
        """Serve the API and the files."""
        self.faults.released.clear()
        self._api.start()
        self._files.start()
        return self

    def stop(self) -> None:
        """Stop serving; the state stays."""
        self.faults.released.set()
        self._api.stop()
        self._files.stop()

    def __enter__(self) -> WandbStandIn:  # noqa: PYI034 - typing.Self is newer than our oldest Python
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """The API: what ``WANDB_BASE_URL`` is set to."""
        return self._api.url

    @property
    def files_url(self) -> str:
        """The file store: another origin."""
        return self._files.url

    # --- what people do in W&B

    def add_user(
        self,
        name: str,
        *,
        api_key: str | None = None,
        entities: Iterable[str] | None = None,
        roles: Mapping[str, str] | None = None,
    ) -> User:
        """Add a person who sees these entities (None means all), with roles in ``entity/project``."""
        seen = None if entities is None else frozenset(entities)
        with self._changing() as state:
            key = api_key or secrets.token_hex(20)
            state.users.append(User(next(state.numbers), name, key, seen, dict(roles or {})))
            return state.users[-1]

    def add_team(self, project: str, team: str, role: str) -> None:
        """Let the members of a team be this in the project or registry."""
        entity, _, name = project.partition("/")
        with self._changing() as state:
            state.projects[entity, name].team_roles[team] = role

    def protect_alias(self, project: str, alias: str) -> None:
        """Let only admins of this project or registry give and take that alias."""
        entity, _, name = project.partition("/")
        with self._changing() as state:
            state.projects[entity, name].protected.add(alias)

    def add_organization(self, name: str, *, entity: str, teams: Iterable[str] = ()) -> Organization:
        """Found an organization: its entity holds the registries."""
        with self._changing() as state:
            state.organizations.append(Organization(next(state.numbers), name, entity, tuple(teams)))
            return state.organizations[-1]

    def log_artifact(
        self,
        path: str,
        files: Mapping[str, bytes | Path],
        *,
        type: str = "model",  # noqa: A002 - W&B's own word
        metadata: Mapping[str, Any] | None = None,
        algorithm: str = "MD5",
        layout: str = "V2",
        aliases: Iterable[str] = ("latest",),
        tags: Iterable[str] = (),
        state: str = "COMMITTED",
        references: Mapping[str, str | Mapping[str, Any]] | None = None,
        description: str | None = None,
        run: Run | None = None,
    ) -> Membership:
        """Log the next version of ``entity/project/collection``; its paths are taken as they are."""
        built = manifest.build(files, references or {}, algorithm=algorithm, layout=layout)
        with self._changing() as rules:
            return rules.log(
                path,
                built,
                type=type,
                metadata=metadata or {},
                description=description,
                tags=tags,
                aliases=aliases,
                state=state,
                created_by=run or rules.users[0],
            )

    def commit(self, version: Membership) -> None:
        """End the upload of a version that was logged as PENDING."""
        with self._changing() as state:
            state.commit(version.artifact)

    def delete(self, version: Membership) -> None:
        """Delete a version everywhere."""
        with self._changing() as state:
            state.delete(version.artifact)

    def link(
        self, version: Membership, path: str, aliases: Iterable[str] = (), by: str | None = None
    ) -> Membership:
        """Link a version to a registry's collection, made when it is new."""
        with self._changing() as state:
            return state.link(version.artifact, path, aliases, by)

    def unlink(self, path: str, version: Membership | str, by: str | None = None) -> None:
        """Take a version out of a registry's collection."""
        with self._changing() as state:
            state.unlink(state.membership(path, version), by)

    def add_alias(self, path: str, version: Membership | str, alias: str, by: str | None = None) -> None:
        """Give the version (or what ``v1`` or an alias names there) this alias; another may lose it."""
        with self._changing() as state:
            state.add_alias(state.membership(path, version), alias, by)

    def remove_alias(self, path: str, version: Membership | str, alias: str) -> None:
        """Take the alias from the version in that collection."""
        with self._changing() as state:
            state.remove_alias(state.membership(path, version), alias)

    def add_tag(self, version: Membership, tag: str, by: str | None = None) -> None:
        """Tag a version."""
        with self._changing() as state:
            state.tag(version.artifact, tag, by)

    def add_automation(
        self,
        name: str,
        *,
        collection: str,
        webhook: Webhook,
        event: str = "ADD_ARTIFACT_ALIAS",
        alias_regex: str | None = None,
        tag_regex: str | None = None,
        payload: Any = None,
        author: str = "ana",
    ) -> Automation:
        """Post to the webhook whenever this happens; ``collection`` may be a whole project or entity."""
        added = Automation(name, collection, event, webhook, payload, alias_regex, tag_regex, author)
        self._automations.append(added)
        return added

    def press_test_button(self, webhook: Webhook, payload: Any = None) -> Execution:
        """Send the template as it is, nothing filled in; no template is ``{}``."""
        body = automations.serialised(payload)
        self.executions.append(automations.deliver("(test)", "(test)", webhook, body, self.now))
        return self.executions[-1]

    # --- what the servers ask

    def user_with_key(self, api_key: str) -> User | None:
        """Whose key this is."""
        return self._state.user_with_key(api_key)

    def user_with_token(self, token: str) -> User | None:
        """Whose access token this is, as long as it lives."""
        name = self.federation.holder(token)
        return next((each for each in self._state.users if each.name == name), None)

    def execute(self, query: str, variables: dict[str, Any] | None, user: User) -> tuple[int, dict[str, Any]]:
        """The status and body for a GraphQL document."""
        features = None if self.features is None else frozenset(self.features)
        with self._changing() as state:
            asker = Asker(
                state,
                user,
                features or frozenset(),
                self._addresses.of_file,
                self._addresses.of_manifest,
                self.most_per_page,
                self.version_aliases,
                self.direct_urls,
            )
            return graph.answer(query, variables, features, asker, frozenset(self.unknown_fields))

    def stored_under(self, entity: str, hex_digest: str, user: User) -> tuple[str, str] | None:
        """The path and the signed address of a file, found by what the fallback addresses say of it."""
        if not user.sees(entity):
            return None
        with self._lock:
            for artifact in self._state.committed_in(entity):
                for entry in artifact.manifest.entries:
                    if entry.content is not None and entry.hex_digest == hex_digest:
                        return entry.path, self._addresses.of_file(artifact, entry)
        return None

    def record(self, origin: str, request: Request, **what: Any) -> None:
        """Remember a request."""
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.requests.append(RecordedRequest(origin, request.method, request.path, headers, **what))

    def _record_file(self, request: Request, target: str | None) -> None:
        self.record("files", request, target=target)

    @contextmanager
    def _changing(self) -> Iterator[State]:
        """The state under its lock; what happened is then told to the automations, without the lock."""
        with self._lock:
            try:
                yield self._state
            finally:
                events = self._events[:]
                self._events.clear()
        for event in events:
            for automation in self._automations:
                if automation.matches(event):
                    self.executions.append(automation.execute(event, self.now))
