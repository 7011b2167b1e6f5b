"""The words of a configuration: Config and its parts.  Types only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Literal

from receiver.budget import Budget
from receiver.config.problems import Place
from receiver.config.secrets import Resolved
from receiver.plan import Rules
from receiver.routing.route import Route
from receiver.secret import Secret
from receiver.settings import (
    DEFAULT_BUDGET,
    DEFAULT_DUPLICATE_WINDOW,
    DEFAULT_MAX_BODY,
    DEFAULT_RETENTION,
    GitHubApp,
)
from receiver.urls import DEFAULT_API_URL, DEFAULT_DATABASE_URL
from registry_client.credentials import DEFAULT_BASE_URL

API_VERSIONS = ("2022-11-28", "2026-03-10")
NEWS = ("accepted", "failed", "run-finished", "no-run", "outdated")
Verify = Literal["off", "required"]
Service = Literal["slack", "teams"]
CardFormat = Literal["adaptive", "messagecard"]


@dataclass(frozen=True)
class Source:
    """A door for webhooks: ``POST /webhooks/NAME``.

    Attributes:
        secrets: It may sign with any of them; empty when only tokens are used.
        tokens: It may present any of them; empty when only secrets are used.
        entities: Globs of the entities that it may speak for; empty is any.
    """

    name: str
    secrets: tuple[Secret, ...] = ()
    tokens: tuple[Secret, ...] = ()
    entities: tuple[str, ...] = ()


@dataclass(frozen=True)
class GitHubConfig:
    """GitHub, and who we are there.

    Attributes:
        credentials: A token or an App; None where nothing goes to GitHub, or another process sends.
        webhook_secrets: GitHub signs with one of them at ``POST /webhooks/github``; empty closes that door.
        budget: How many attempts may begin in which time; None is any number.
    """

    credentials: Secret | GitHubApp | None = None
    api_url: str = DEFAULT_API_URL
    api_version: str = API_VERSIONS[0]
    budget: Budget | None = DEFAULT_BUDGET
    webhook_secrets: tuple[Secret, ...] = ()


@dataclass(frozen=True)
class WandbConfig:
    """W&B, where it is asked."""

    api_key: Secret | None = None
    base_url: str = DEFAULT_BASE_URL
    verify: Verify = "off"


@dataclass(frozen=True)
class Channel:
    """Where people read the news; ``on`` says which."""

    name: str
    service: Service
    url: Secret
    format: CardFormat = "adaptive"
    on: tuple[str, ...] = NEWS


@dataclass(frozen=True)
class LedgerConfig:
    """The ledger."""

    url: str = field(default=DEFAULT_DATABASE_URL, repr=False)
    retention: timedelta | None = DEFAULT_RETENTION
    duplicate_window: timedelta = DEFAULT_DUPLICATE_WINDOW


@dataclass(frozen=True)
class ServerConfig:
    """The pages."""

    max_body: int = DEFAULT_MAX_BODY


@dataclass(frozen=True)
class Config:
    """All that the receiver is told, sound once built by ``read_config``.

    Attributes:
        report_secrets: The end of a job may sign its report with any of them; empty takes no reports.
        route_places: Where each route stands in the file, by name; empty without a file.
        resolved: Where each secret came from; the way to it may be shown, never what it is.
        warnings: What works, but should not stay so; a line each, without a secret.
        all_secrets: Every secret value, to be kept out of whatever leaves.
        forward_fields: Without a file: undocumented fields that go on to GitHub.
        from_file: Whether there is a file.
    """

    sources: Mapping[str, Source] = field(default_factory=dict)
    github: GitHubConfig = GitHubConfig()
    wandb: WandbConfig = WandbConfig()
    routes: tuple[Route, ...] = ()
    channels: Mapping[str, Channel] = field(default_factory=dict)
    report_secrets: tuple[Secret, ...] = ()
    ledger: LedgerConfig = LedgerConfig()
    server: ServerConfig = ServerConfig()
    route_places: Mapping[str, Place] = field(default_factory=dict)
    resolved: tuple[Resolved, ...] = ()
    warnings: tuple[str, ...] = ()
    all_secrets: tuple[Secret, ...] = ()
    forward_fields: tuple[str, ...] = ()
    from_file: bool = True

    @property
    def rules(self) -> Rules:
        """What it says of planning."""
        return Rules(
            routes=self.routes,
            verify=self.wandb.verify == "required",
            channels={name: channel.on for name, channel in self.channels.items()},
            forward=self.forward_fields,
            strict=not self.from_file,
        )
