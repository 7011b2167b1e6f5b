"""What goes out, made from a configuration: destinations by kind, W&B to ask, runs to look up."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from receiver.config.types import Channel as ChannelConfig
from receiver.config.types import Config, GitHubConfig
from receiver.destinations.channels import Channel, Channels, Style
from receiver.destinations.launch import Launches
from receiver.destinations.post import Posts
from receiver.destinations.workflow import Workflows
from receiver.dispatch import Dispatch, DispatchKind, Outcome, OutcomeKind, RunSearch
from receiver.dispatcher import Destination
from receiver.exchange import READ_SECONDS
from receiver.github import Credentials, GitHub, TokenCredentials
from receiver.github_app import AppCredentials
from receiver.promotion import Promotions, Settling
from receiver.routing.route import Post
from receiver.settings import GitHubApp
from receiver.tracker import Runs
from registry_client.api import WandbApi
from registry_client.credentials import ApiKey
from registry_client.errors import FetchError

_FORMATS = {"adaptive": Style.ADAPTIVE, "messagecard": Style.MESSAGE_CARD}
NOBODY = "the configuration names nobody to GitHub any more: set github.app or github.token"


class ByKind:
    """All destinations as one: each dispatch goes the way of its kind."""

    def __init__(self, destinations: Mapping[DispatchKind, Destination]) -> None:
        self._destinations = destinations

    def send(self, dispatch: Dispatch) -> Outcome:
        """Try once to send it."""
        destination = self._destinations.get(dispatch.kind)
        if destination is None:
            return Outcome(OutcomeKind.REFUSED, "no-credentials", f"not sent: {_missing(dispatch.kind)}")
        return destination.send(dispatch)

    def find_run(self, dispatch: Dispatch, since: datetime) -> RunSearch:
        """Look for its run."""
        destination = self._destinations.get(dispatch.kind)
        if destination is None:
            return RunSearch(why_not=_missing(dispatch.kind))
        return destination.find_run(dispatch, since)


@dataclass(frozen=True)
class Outlets:
    """All that goes out by one configuration.

    Attributes:
        runs: Where runs are looked up; None where nobody is named to GitHub.
        wandb: W&B, asked with patience; None where there is no key for it.
    """

    destination: Destination
    settling: Settling
    runs: Runs | None
    wandb: WandbApi | None

    @classmethod
    def of(cls, config: Config, now: Callable[[], datetime]) -> Outlets:
        """Make them; nothing is connected yet."""
        github = config.github
        credentials = credentials_of(github, now)
        there: dict[DispatchKind, Destination] = {
            DispatchKind.POST: Posts(_posts(config).get, now=now),
            DispatchKind.NOTICE: Channels(_channels(config).get, now=now),
        }
        runs = None
        if credentials is not None:
            runs = GitHub(github.api_url, credentials, now=now)
            there[DispatchKind.REPOSITORY_DISPATCH] = runs
            there[DispatchKind.WORKFLOW_DISPATCH] = Workflows(
                github.api_url, credentials, now=now, api_version=github.api_version
            )
        wandb = _wandb(config)
        if config.wandb.api_key is not None and wandb is not None:
            there[DispatchKind.LAUNCH] = Launches(config.wandb.base_url, config.wandb.api_key, now=now)
        asked_once = _wandb(config, sleep=_not_we, read_timeout=READ_SECONDS)
        promotions = None if asked_once is None else Promotions(asked_once, now=now)
        return cls(ByKind(there), Settling(promotions, hidden=config.all_secrets), runs, wandb)


def credentials_of(github: GitHubConfig, now: Callable[[], datetime]) -> Credentials | None:
    """Who we are at GitHub; None where nobody is named."""
    who = github.credentials
    if who is None:
        return None
    if isinstance(who, GitHubApp):
        return AppCredentials(who.client_id, who.private_key.value, github.api_url, now=now)
    return TokenCredentials(who.value)


def _wandb(config: Config, **how: Any) -> WandbApi | None:
    key = config.wandb.api_key
    if key is None or not key.value:
        return None
    return WandbApi(config.wandb.base_url, ApiKey.parse(key.value, "wandb.api_key"), **how)


def _not_we(_seconds: float) -> None:
    """In the place of a wait: end with the fault at hand: the ledger waits, a thread has others to send."""
    raise FetchError(str(sys.exc_info()[1])) from None


def _posts(config: Config) -> Mapping[str, Post]:
    return {route.name: route.action for route in config.routes if isinstance(route.action, Post)}


def _channels(config: Config) -> Mapping[str, Channel]:
    return {name: Channel(channel.url, _style(channel)) for name, channel in config.channels.items()}


def _style(channel: ChannelConfig) -> Style:
    return Style.SLACK if channel.service == "slack" else _FORMATS[channel.format]


def _missing(kind: DispatchKind) -> str:
    return "the configuration has no wandb.api_key any more" if kind is DispatchKind.LAUNCH else NOBODY
