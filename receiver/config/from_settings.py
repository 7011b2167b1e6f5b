"""Without a file: the environment's Settings as a Config with one source and one route."""

from __future__ import annotations

from receiver.config.types import Config, GitHubConfig, LedgerConfig, ServerConfig, Source
from receiver.plan import Rules
from receiver.settings import Settings

SOURCE = "wandb"


def config_of(settings: Settings) -> Config:
    """The same, in the words of a configuration."""
    return Config(
        sources={SOURCE: Source(SOURCE, settings.secrets, settings.tokens)},
        github=GitHubConfig(settings.github, settings.github_api_url, budget=settings.budget),
        routes=Rules.of_one_repository(settings.repository, order=settings.order).routes,
        ledger=LedgerConfig(settings.database_url, settings.retention, settings.duplicate_window),
        server=ServerConfig(settings.max_body),
        report_secrets=settings.report_secrets,
        forward_fields=settings.forward_fields,
        from_file=False,
        warnings=settings.warnings,
        all_secrets=settings.all_secrets,
    )
