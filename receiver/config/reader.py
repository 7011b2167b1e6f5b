"""The story of a configuration: text → tree → sections → Config; all that is wrong is told at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from urllib.parse import unquote, urlsplit

from receiver.config.actions import route_of, unreachable
from receiver.config.description import DOCUMENT
from receiver.config.document import load, shown
from receiver.config.environment import Fallbacks
from receiver.config.problems import Problems, listed, nearest
from receiver.config.reading import Reading, Section
from receiver.config.secrets import Half, ReadFile, Secrets, read_bytes
from receiver.config.senders import sources_of
from receiver.config.told import CheckKey, Told
from receiver.config.types import NEWS, Channel, Config, LedgerConfig, ServerConfig
from receiver.config.upstream import Routes, github_of, wandb_of
from receiver.secret import Secret
from receiver.settings import GitHubApp


def read_config(  # noqa: PLR0913 - all that a configuration depends on
    text: str,
    *,
    file: str,
    environ: Mapping[str, str],
    read_file: ReadFile = read_bytes,
    check_key: CheckKey | None = None,
    receives: bool = True,
    dispatches: bool = True,
) -> Config:
    """Read `handoff.yaml`; where it is silent, the environment's variables of the same meaning count.

    A process that does half of the work reads, and so holds, no secret of the other half; one that does
    neither resolves none, and still reads all the rest.

    Args:
        text: What the file holds.
        file: Its name, for messages; secrets in files are looked for from its folder.
        environ: The variables by name.
        read_file: Reads the file of a secret, or raises OSError.
        check_key: Raises ValueError, with a hint, for text that is no private key.
        receives: Whether webhooks are to be received.
        dispatches: Whether what is due is to be dispatched.

    Raises:
        ConfigError: With every problem, each at its line and column.
    """
    wanted: dict[Half, bool] = {"receives": receives, "dispatches": dispatches}
    halves = frozenset(half for half, does in wanted.items() if does)
    reading = Reading(Problems(file), Secrets(environ, read_file, Path(file).parent, halves))
    node = load(text, reading.problems)
    document = None if node is None else DOCUMENT.read(node, "", reading)
    if not isinstance(document, Section):
        raise reading.problems.error()
    return _config(Told(document, reading, environ, halves, check_key))


def _config(told: Told) -> Config:
    """Put it together, or raise ConfigError."""
    fallen = told.fallbacks()
    routes = _routes(told, fallen)
    config = Config(
        sources=sources_of(told, fallen),
        github=github_of(told, fallen, routes),
        wandb=wandb_of(told, routes),
        routes=tuple(route for _, route in routes),
        channels=_channels(told, routes),
        report_secrets=told.section("reports").get("secrets", fallen.settings.report_secrets),
        ledger=_ledger(told.section("ledger"), fallen),
        server=ServerConfig(told.section("server").get("max_body", fallen.settings.max_body)),
        route_places={route.name: section.place for section, route in routes},
        resolved=tuple(told.reading.secrets.resolved),
    )
    if told.problems.found:
        raise told.problems.error()
    return replace(config, warnings=tuple(told.problems.warnings), all_secrets=_all_secrets(config))


def _routes(told: Told, fallen: Fallbacks) -> Routes:
    sections: Sequence[Section] = told.document.get("routes", ())
    channels = tuple(told.named("channels"))
    routes = [
        (section, route_of(section, channels, fallen.settings.order, told.problems)) for section in sections
    ]
    _check_names(told, routes)
    _check_sources(told)
    for place, message in unreachable(routes):
        told.problems.warn(place, message)
    return routes


def _check_names(told: Told, routes: Routes) -> None:
    """Note each name that two routes share: the ledger tells them apart by it."""
    lines: dict[str, int] = {}
    for section, route in routes:
        line = section.at("name").line
        if route.name and lines.setdefault(route.name, line) != line:
            told.problems.add(
                section.at("name"),
                f"{shown(route.name)} is the name of the route in line {lines[route.name]} too; want another",
            )


def _check_sources(told: Told) -> None:
    """Note each source that a condition names and that is none."""
    sources = tuple(told.named("sources")) or ("wandb",)
    for place, name in told.reading.sources if not told.is_broken("sources") else ():
        if name not in sources and not any(one in name for one in "*?["):
            there = f"{nearest(name, sources)} (there are: {listed(sources)})"
            told.problems.add(place, f"there is no source {shown(name)}{there}")


def _channels(told: Told, routes: Routes) -> dict[str, Channel]:
    used = {name for _, route in routes for name in route.notify}
    channels = {}
    for name, section in told.named("channels").items():
        if "format" in section and "teams" not in section:
            told.problems.add(section.at("format"), "is for teams; Slack has one form")
        if name not in used and routes:
            told.problems.warn(section.place, "is told of nothing: no route notifies it")
        channels[name] = Channel(
            name,
            "teams" if "teams" in section else "slack",
            section.get("teams") or section.get("slack") or Secret(""),
            section.get("format", "adaptive"),
            tuple(dict.fromkeys(section.get("on", NEWS))),
        )
    return channels


def _ledger(section: Section, fallen: Fallbacks) -> LedgerConfig:
    settings = fallen.settings
    return LedgerConfig(
        url=section.get("url") or settings.database_url,
        retention=section.get("retention", settings.retention),
        duplicate_window=section.get("duplicate_window", settings.duplicate_window) or timedelta(0),
    )


def _all_secrets(config: Config) -> tuple[Secret, ...]:
    """Every secret, from wherever it came."""
    who = config.github.credentials
    password = urlsplit(config.ledger.url).password
    every = [
        *(secret for source in config.sources.values() for secret in (*source.secrets, *source.tokens)),
        *config.report_secrets,
        who.private_key if isinstance(who, GitHubApp) else who or Secret(""),
        Secret(unquote(password or "")),
        *(each.secret for each in config.resolved),
    ]
    return tuple(dict.fromkeys(secret for secret in every if secret.value))
