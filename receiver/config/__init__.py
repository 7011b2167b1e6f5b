"""`handoff.yaml`: read, checked whole, and made a Config."""

from receiver.config.check import Check, check_offline
from receiver.config.description import json_schema
from receiver.config.problems import ConfigError, Place, Problem
from receiver.config.reader import read_config
from receiver.config.types import (
    Channel,
    Config,
    GitHubConfig,
    LedgerConfig,
    ServerConfig,
    Source,
    WandbConfig,
)

__all__ = [
    "Channel",
    "Check",
    "Config",
    "ConfigError",
    "GitHubConfig",
    "LedgerConfig",
    "Place",
    "Problem",
    "ServerConfig",
    "Source",
    "WandbConfig",
    "check_offline",
    "json_schema",
    "read_config",
]
