"""W&B's automations: an event, a template filled in, a signed POST, and a history of what came back."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import requests

from tests.stand_ins.wandb.state import Event

_TIMEOUT = 10
_HISTORY_SHOWS = 2000
_LEGACY_NAMES = {"LINK_MODEL": "LINK_ARTIFACT"}


@dataclass(frozen=True)
class Webhook:
    """An address with its secrets, as a team's settings hold it.

    Attributes:
        url: Where to post.
        access_token: Sent as ``Authorization: Bearer``, and ``${ACCESS_TOKEN}`` in a template.
        secret: The key of ``X-Wandb-Signature``, and ``${SECRET_NAME}`` in a template.
        encoding: How the signature is written: ``hex`` or ``base64``.
        secret_name: The team's name for the secret.
    """

    url: str
    access_token: str | None = None
    secret: str | None = None
    encoding: str = "hex"
    secret_name: str = "SECRET_NAME"

    def headers(self, body: bytes) -> dict[str, str]:
        """What is sent beside the body."""
        headers = {"Content-Type": "application/json"}
        if self.access_token is not None:
            headers["Authorization"] = f"Bearer {self.access_token}"
        if self.secret is not None:
            headers["X-Wandb-Signature"] = sign(body, self.secret, self.encoding)
        return headers

    @property
    def variables(self) -> dict[str, str]:
        """What a template may say of its secrets."""
        return {"ACCESS_TOKEN": self.access_token or "", self.secret_name: self.secret or ""}


@dataclass(frozen=True)
class Automation:
    """When this happens there, post that."""

    name: str
    scope: str
    event: str
    webhook: Webhook
    payload: Any
    alias_regex: str | None = None
    tag_regex: str | None = None
    author: str = "ana"

    def matches(self, event: Event) -> bool:
        """Whether it is this kind of event, in this scope, for such an alias or tag."""
        path = str(event.collection)
        return (
            _LEGACY_NAMES.get(self.event, self.event) == event.kind
            and (path == self.scope or path.startswith(f"{self.scope}/"))
            and (self.alias_regex is None or re.search(self.alias_regex, event.alias) is not None)
            and (self.tag_regex is None or re.search(self.tag_regex, event.tag) is not None)
        )

    def body(self, event: Event) -> bytes:
        """The payload for this event, as it is sent."""
        return serialised(rendered(self.payload, {**self._variables(event), **self.webhook.variables}))

    def execute(self, event: Event, now: Callable[[], datetime]) -> Execution:
        """Post for this event."""
        return deliver(self.name, event.kind, self.webhook, self.body(event), now)

    def _variables(self, event: Event) -> dict[str, str]:
        membership, project = event.membership, event.collection.project
        metadata = membership.artifact.metadata.items()
        return {
            "automation_name": self.name,
            "event_type": self.event,
            "event_author": event.author or self.author,
            "entity_name": project.entity,
            "project_name": project.name,
            "artifact_collection_name": event.collection.name,
            "artifact_version": membership.reference,
            "artifact_version_string": membership.name,
            "artifact_version_index": str(membership.index),
            "alias": event.alias,
            "tag": event.tag,
            **{f"artifact_metadata.{key}": _text(value) for key, value in metadata},
        }


@dataclass(frozen=True)
class Execution:
    """One line of the history: what was sent, and what came back."""

    automation: str
    event: str
    at: datetime
    payload: bytes
    headers: Mapping[str, str]
    response_status: int | None
    response_body: str
    error: str | None

    @property
    def status(self) -> str:
        """W&B's word for it."""
        return "Finished" if self.error is None else "Failed"


def sign(body: bytes, secret: str, encoding: str) -> str:
    """The signature of exactly these bytes, in the one encoding or the other."""
    mac = hmac.new(secret.encode(), body, hashlib.sha256).digest()
    if encoding not in {"hex", "base64"}:
        raise ValueError(f"want hex or base64, got {encoding!r}")
    return mac.hex() if encoding == "hex" else base64.b64encode(mac).decode()


def rendered(template: Any, variables: Mapping[str, str]) -> Any:
    """The template with every ``${…}`` filled in; what does not apply becomes an empty string."""
    if isinstance(template, str):
        return re.sub(r"\$\{([^}]*)\}", lambda match: variables.get(match[1], ""), template)
    if isinstance(template, Mapping):
        return {rendered(key, variables): rendered(value, variables) for key, value in template.items()}
    if isinstance(template, list):
        return [rendered(value, variables) for value in template]
    return template


def serialised(payload: Any) -> bytes:
    """JSON as recorded deliveries show it: compact, keys in alphabetical order; nothing is ``{}``."""
    document = {} if payload is None else payload
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def deliver(name: str, event: str, webhook: Webhook, body: bytes, now: Callable[[], datetime]) -> Execution:
    """Post the body once; a redirect is not followed, and no answer is an error in the history."""
    headers, at = webhook.headers(body), now()
    with requests.Session() as session:
        session.trust_env = False
        try:
            response = session.post(
                webhook.url, data=body, headers=headers, timeout=_TIMEOUT, allow_redirects=False
            )
        except requests.RequestException as error:
            return Execution(name, event, at, body, headers, None, "", f"{type(error).__name__}: {error}")
    shown = response.text[:_HISTORY_SHOWS]
    failure = None if 200 <= response.status_code < 300 else f"HTTP {response.status_code}"
    return Execution(name, event, at, body, headers, response.status_code, shown, failure)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
