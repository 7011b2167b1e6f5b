"""The story of `handoff check --online`: ask everybody whom the configuration names, and start nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from receiver.checks.finding import Finding
from receiver.checks.github_look import GitHubLook
from receiver.checks.on_endpoints import on_endpoints
from receiver.checks.on_github import on_github
from receiver.checks.on_wandb import Registry, on_wandb
from receiver.config import Config
from receiver.destinations.addresses import Lookup


@dataclass(frozen=True)
class Outside:
    """Whom to ask.

    Attributes:
        github: None where the configuration names nobody to GitHub.
        wandb: None where it has no key for W&B.
        lookup: What a host's name means; None is the system's word.
    """

    github: GitHubLook | None
    wandb: Registry | None
    lookup: Lookup | None = None


def online(config: Config, outside: Outside) -> Iterator[Finding]:
    """Each credential, permission, repository, workflow, project and address."""
    if outside.github is not None:
        yield from on_github(config.routes, outside.github)
    if outside.wandb is not None:
        yield from on_wandb(config.routes, outside.wandb)
    yield from on_endpoints(config, lookup=outside.lookup)
