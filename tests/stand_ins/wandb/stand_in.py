"""A W&B of our own: its API, its file store and its automations, over one state."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from types import TracebackType
from typing import Any

from werkzeug.wrappers import Request

from tests.stand_ins.wandb import api, automations, graph, manifest
from tests.stand_ins.wandb.automations import Automation, Execution, Webhook
from tests.stand_ins.wandb.bucket import Bucket, Stored
from tests.stand_ins.wandb.faults import Faults
from tests.stand_ins.wandb.manifest import Content, Entry
from tests.stand_ins.wandb.serving import Server
from tests.stand_ins.wandb.signed_urls import SignedUrls
from tests.stand_ins.wandb.state import (
    Artifact,
    Event,
    Membership,
    Organization,
    RefusedError,
    Run,
    State,
    User,
)


@dataclass(frozen=True)
class RecordedRequest:
    """One request as it came.

    Attributes:
        origin: ``api`` or ``files``.
        operation: The name of the GraphQL operation, else None.
        variables: Of the GraphQL operation.
        target: What faults call the file, else None.
        headers: All of them, names in lower case.
    """

    origin: str
    method: str
    path: str
    operation: str | None
    variables: Mapping[str, Any] | None
    target: str | None
    headers: Mapping[str, str]


class WandbStandIn:
    """W&B on 127.0.0.1: stateful, with signed file addresses on an origin of their own.

    Attributes:
        api_key: The key of ``ana``, who sees everything.
        features: What the server says it can do; None for one too old to list it.
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
        self.features: frozenset[str] | set[str] | None = set(graph.FEATURES)
        self.url_lifetime = timedelta(hours=1)
        self.most_per_page: int | None = None
        self.version_aliases = True
        self.requests: list[RecordedRequest] = []
        self.executions: list[Execution] = []
        self.faults = Faults()
        self._events: list[Event] = []
        self._automations: list[Automation] = []
        self._lock = threading.RLock()
        self._signer = SignedUrls(secrets.token_bytes(32))
        self._state = State(self.now, self._events.append)
        self.api_key = self.add_user("ana").api_key
        self._api = Server(api.create_app(self), port)
        self._files = Server(Bucket(self._find, self._refusal, self._record_file, self.faults), files_port)

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

    def __enter__(self) -> WandbStandIn:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
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
        """Log the next version of ``entity/project/collection``; paths are kept as they are, safe or not."""
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
        """End the upload of a version logged as PENDING."""
        with self._changing() as rules:
            rules.commit(version.artifact)

    def delete(self, version: Membership) -> None:
        """Delete a version everywhere."""
        with self._changing() as rules:
            rules.delete(version.artifact)

    def link(
        self, version: Membership, path: str, aliases: Iterable[str] = (), by: str | None = None
    ) -> Membership:
        """Link a version to a registry's collection."""
        with self._changing() as rules:
            return rules.link(version.artifact, path, aliases, by)

    def unlink(self, version: Membership, path: str, by: str | None = None) -> None:
        """Take a version out of a registry's collection."""
        with self._changing() as rules:
            rules.unlink(_member(rules, path, version), by)

    def add_alias(self, path: str, version: Membership, alias: str, by: str | None = None) -> None:
        """Give the version this alias in that collection; it leaves the version that had it."""
        with self._changing() as rules:
            rules.add_alias(_member(rules, path, version), alias, by)

    def remove_alias(self, path: str, version: Membership, alias: str) -> None:
        """Take the alias from the version in that collection."""
        with self._changing() as rules:
            rules.remove_alias(_member(rules, path, version), alias)

    def add_tag(self, version: Membership, tag: str, by: str | None = None) -> None:
        """Tag a version."""
        with self._changing() as rules:
            rules.tag(version.artifact, tag, by)

    def add_organization(self, name: str, *, entity: str, teams: Iterable[str] = ()) -> Organization:
        """Found an organization: its entity holds the registries."""
        with self._changing() as rules:
            rules.organizations.append(Organization(next(rules.numbers), name, entity, tuple(teams)))
            return rules.organizations[-1]

    def add_user(
        self, name: str, *, api_key: str | None = None, entities: Iterable[str] | None = None
    ) -> User:
        """Add a person who sees these entities; None means all."""
        seen = None if entities is None else frozenset(entities)
        with self._changing() as rules:
            rules.users.append(User(next(rules.numbers), name, api_key or secrets.token_hex(20), seen))
            return rules.users[-1]

    # --- automations

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
        """Post to the webhook whenever this happens; a shorter ``collection`` means the whole project or entity."""
        automation = Automation(name, collection, event, webhook, payload, alias_regex, tag_regex, author)
        self._automations.append(automation)
        return automation

    def press_test_button(self, webhook: Webhook, payload: Any = None) -> Execution:
        """Send the template as it is, nothing filled in; no template is ``{}``."""
        body = automations.serialised(payload)
        self.executions.append(automations.deliver("(test)", "(test)", webhook, body, self.now))
        return self.executions[-1]

    @contextmanager
    def _changing(self) -> Iterator[State]:
        """The state under its lock; afterwards, without the lock, what happened is told to the automations."""
        with self._lock:
            try:
                yield self._state
            finally:
                events = self._events[:]
                self._events.clear()
        for event in events:
            for automation in self._automations:
                if automation.matches(event):
                    self._execute(automation, event)

    def _execute(self, automation: Automation, event: Event) -> None:
        body = automation.body(event)
        done = automations.deliver(automation.name, event.kind, automation.webhook, body, self.now)
        self.executions.append(done)

    # --- what the servers ask

    def user_with_key(self, api_key: str) -> User | None:
        """Whose key this is."""
        with self._lock:
            return self._state.user_with_key(api_key)

    def execute(self, query: str, variables: dict[str, Any] | None, user: User) -> tuple[int, dict[str, Any]]:
        """The status and body for a GraphQL document."""
        features = None if self.features is None else frozenset(self.features)
        with self._changing() as rules:
            asker = graph.Asker(
                rules,
                user,
                features,
                self._file_url,
                self._manifest_url,
                self.most_per_page,
                self.version_aliases,
            )
            return graph.answer(query, variables, asker)

    def stored_under(self, entity: str, hex_digest: str, user: User) -> tuple[str, str] | None:
        """The path and the signed address of a file, by what the fallback addresses say of it."""
        with self._lock:
            for artifact in self._state.artifacts.values():
                if artifact.state == "COMMITTED" and _belongs(artifact, entity, user):
                    for entry in artifact.manifest.entries:
                        if entry.content is not None and entry.hex_digest == hex_digest:
                            return entry.path, self._file_url(artifact, entry)
        return None

    def record(self, origin: str, request: Request, **what: Any) -> None:
        """Remember a request."""
        headers = {name.lower(): value for name, value in request.headers.items()}
        known = {"operation": None, "variables": None, "target": None, **what}
        self.requests.append(RecordedRequest(origin, request.method, request.path, headers=headers, **known))

    def _record_file(self, request: Request, target: str | None) -> None:
        self.record("files", request, target=target)

    def _file_url(self, artifact: Artifact, entry: Entry) -> str:
        place = artifact.manifest.entries.index(
            entry
        )  # Not its path: no path can then mislead a client's URL parser.
        return self._sign(f"/bucket/{artifact.number}/{place}/{entry.hex_digest}")

    def _manifest_url(self, artifact: Artifact) -> str:
        return self._sign(f"/bucket/{artifact.number}/wandb_manifest.json")

    def _sign(self, path: str) -> str:
        return f"{self.files_url}{path}?{self._signer.query(path, self.now(), self.url_lifetime)}"

    def _refusal(self, path: str, query: Mapping[str, str]) -> str | None:
        return self._signer.refusal(
            path, query.get("X-Expires", ""), query.get("X-Signature", ""), self.now()
        )

    def _find(self, path: str) -> Stored | None:
        number, _, rest = path.removeprefix("/bucket/").partition("/")
        with self._lock:
            artifact = self._state.artifacts.get(int(number)) if number.isdigit() else None
        if artifact is None or artifact.state != "COMMITTED":
            return None
        if rest == "wandb_manifest.json":
            return Stored("manifest", Content.of(artifact.manifest_file))
        entry = artifact.manifest.entries[int(rest.partition("/")[0])]
        return Stored(f"file:{entry.path}", entry.content) if entry.content else None


def _member(rules: State, path: str, version: Membership) -> Membership:
    for membership in rules.find_collection(path).memberships:
        if membership.artifact is version.artifact:
            return membership
    raise RefusedError(f"{version.name} is not in {path}")


def _belongs(artifact: Artifact, entity: str, user: User) -> bool:
    return user.sees(entity) and any(
        each.collection.project.entity == entity for each in artifact.memberships
    )
