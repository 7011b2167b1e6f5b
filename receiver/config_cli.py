"""The part of the `handoff` command that looks at a configuration, and at W&B by it."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from contextlib import closing, nullcontext
from datetime import datetime, timezone
from pathlib import Path
from time import sleep
from typing import TYPE_CHECKING, TextIO

from receiver import configure
from receiver.errors import BadPayloadError, SettingsError
from registry_client.escaping import printable

if TYPE_CHECKING:
    from receiver.checks import Outside
    from receiver.config import Config, Source
    from receiver.ledger_cli import Run
    from receiver.missed import Missed
    from receiver.reconcile import Found, Reconcile
    from registry_client.api import WandbApi

_WAIT = 120
_NO_KEY = "wandb.api_key: is missing, and W&B is to be asked; want wandb: {api_key: {env: WANDB_API_KEY}}"


def add_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `check`, `route`, `schema` and `reconcile`."""
    _add_check(commands.add_parser("check", help="tell whether the configuration is right, and all it names"))
    _add_route(commands.add_parser("route", help="tell what a payload would start; nothing is sent"))
    schema = commands.add_parser("schema", help="print the JSON Schema of handoff.yaml, for editors")
    _running(schema, _schema)
    _add_reconcile(commands.add_parser("reconcile", help="catch up what W&B's webhooks missed"))


def _running(parser: argparse.ArgumentParser, run: Run) -> None:
    parser.set_defaults(run=run)


def _add_config(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--config", metavar="FILE", help="handoff.yaml; default: HANDOFF_CONFIG, else the environment alone"
    )


def _add_check(parser: argparse.ArgumentParser) -> None:
    parser.description = "Ends with 1 where something is to be mended.  Nothing is started anywhere."
    _add_config(parser)
    parser.add_argument(
        "--online",
        action="store_true",
        help="also ask GitHub and W&B: credentials, permissions, repositories, workflows, projects",
    )
    _running(parser, _check)


def _add_route(parser: argparse.ArgumentParser) -> None:
    parser.description = "Which routes take it, why the others do not, and exactly what would be sent."
    _add_config(parser)
    parser.add_argument("file", metavar="FILE", help="the payload; - is the standard input")
    parser.add_argument("--source", metavar="NAME", help="the door it comes in by; default: the first")
    parser.add_argument("--online", action="store_true", help="also ask W&B what only W&B can tell")
    _running(parser, _route)


def _add_reconcile(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "For each route with `reconcile`: which version carries the alias in W&B, and which was told last?  "
        "What nobody told is dispatched once.  The first look at a route only takes note of what is there."
    )
    _add_config(parser)
    parser.add_argument("--dry-run", action="store_true", help="only say what was missed")
    parser.add_argument("--all", action="store_true", help="also what was there before the first look")
    parser.add_argument(
        "--wait",
        type=int,
        default=_WAIT,
        metavar="SECONDS",
        help="look once more after so long, not to overtake a webhook under way; default: %(default)s",
    )
    _running(parser, _reconcile)


def _schema(_arguments: argparse.Namespace, _environ: Mapping[str, str], out: TextIO, _err: TextIO) -> int:
    from receiver.config import json_schema  # noqa: PLC0415 - the receiver's extra may be missing

    out.write(json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n")
    return 0


def _check(arguments: argparse.Namespace, environ: Mapping[str, str], out: TextIO, _err: TextIO) -> int:
    from receiver import checks  # noqa: PLC0415 - the receiver's extra may be missing
    from receiver.config import ConfigError  # noqa: PLC0415 - as above
    from receiver.secret import without  # noqa: PLC0415 - as above

    try:
        config = configure(environ, arguments.config)
    except ConfigError as error:
        out.write("".join(f"✗ {printable(problem)}\n" for problem in error.problems))
        return 1
    findings = list(checks.offline(config))
    if arguments.online:
        with closing(_Wandb(config)) as wandb:
            findings += checks.online(config, _outside(config, wandb.api))
    out.write(without(checks.table(findings), config.all_secrets))
    return 0 if checks.is_good(findings) else 1


class _Wandb:
    """W&B by a configuration, to be closed in the end; ``api`` is None where there is no key for it."""

    def __init__(self, config: Config) -> None:
        from receiver.outlets import Outlets  # noqa: PLC0415 - the receiver's extra may be missing

        self.outlets = Outlets.of(config, _now)
        self.api: WandbApi | None = self.outlets.wandb

    def close(self) -> None:
        """Close the connections."""
        if self.api is not None:
            self.api.close()


def _outside(config: Config, wandb: WandbApi | None) -> Outside:
    from receiver.checks import Outside  # noqa: PLC0415 - the receiver's extra may be missing
    from receiver.checks.github_look import GitHubLook  # noqa: PLC0415 - as above
    from receiver.outlets import credentials_of  # noqa: PLC0415 - as above

    credentials = credentials_of(config.github, _now)
    github = None if credentials is None else GitHubLook(config.github.api_url, credentials, now=_now)
    return Outside(github, wandb)


def _route(arguments: argparse.Namespace, environ: Mapping[str, str], out: TextIO, _err: TextIO) -> int:
    from receiver.event import TrialMessage, read_event  # noqa: PLC0415 - the receiver's extra may be missing
    from receiver.explained import Asked, explained  # noqa: PLC0415 - as above
    from receiver.secret import without  # noqa: PLC0415 - as above

    config = configure(environ, arguments.config, receives=False, dispatches=arguments.online)
    event = read_event(_payload(arguments.file))
    if isinstance(event, TrialMessage):
        raise BadPayloadError("Its variables are not filled in: want a payload as W&B would render it.")
    source = _source(config, arguments.source)
    with closing(_Wandb(config)) if arguments.online else nullcontext() as wandb:
        if wandb is not None and wandb.api is None:
            raise SettingsError([_NO_KEY])
        asked = Asked(
            event,
            source.name,
            config.routes,
            entities=source.entities,
            verify=config.wandb.verify == "required",
            ask=None if wandb is None else wandb.outlets.settling.message,
        )
        out.write(without(explained(asked, _now()), config.all_secrets))
    return 0


def _payload(name: str) -> bytes:
    try:
        return sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
    except OSError as error:
        raise SettingsError([f"{name}: cannot be read: {error.strerror}"]) from error


def _source(config: Config, name: str | None) -> Source:
    from receiver.config import Source  # noqa: PLC0415 - the receiver's extra may be missing

    if name is None:
        return next(iter(config.sources.values()), Source("wandb"))
    if name not in config.sources:
        there = ", ".join(config.sources) or "none"
        raise SettingsError([f"--source: there is no source {name!r} (there are: {there})"])
    return config.sources[name]


def _reconcile(arguments: argparse.Namespace, environ: Mapping[str, str], out: TextIO, err: TextIO) -> int:
    from receiver.ledger import Ledger  # noqa: PLC0415 - as above
    from receiver.reconcile import Reconcile  # noqa: PLC0415 - as above

    config = configure(environ, arguments.config)
    if not any(route.reconcile for route in config.routes):
        raise SettingsError(["routes: none is to be reconciled; want reconcile: {every: 10m} on one"])
    url = config.ledger.url
    with closing(_Wandb(config)) as wandb, Ledger.open(url) as ledger:
        if wandb.api is None:
            raise SettingsError([_NO_KEY])
        story = Reconcile.of(config, config.rules, wandb.api, ledger, _now)
        found = story.look(everything=arguments.all, keep=not arguments.dry_run)
        _tell(found, out, err)
        if arguments.dry_run or not found.missed:
            return 1 if found.problems else 0
        missed = found.missed
        if arguments.wait > 0:
            _say(err, f"Looking once more in {arguments.wait} s: a webhook may be under way.")
            sleep(arguments.wait)
            missed = _still(missed, story.look(everything=arguments.all).missed)
        done = _caught_up(story, missed, out)
    return 0 if done and not found.problems else 1


def _still(before: Sequence[Missed], now: Sequence[Missed]) -> tuple[Missed, ...]:
    """Of what seemed missed, what still does."""
    names = {(each.name, each.artifact_id) for each in now}
    return tuple(each for each in before if (each.name, each.artifact_id) in names)


def _tell(found: Found, out: TextIO, err: TextIO) -> None:
    for problem in found.problems:
        _say(err, f"not compared: {problem}")
    for missed in found.missed:
        _say(out, str(missed))
    noted = f", {found.noted} of them noted for the first time" if found.noted else ""
    _say(out, f"{len(found.missed)} missed; {found.compared} as they were told{noted}.")


def _caught_up(story: Reconcile, missed: Sequence[Missed], out: TextIO) -> bool:
    """Catch up each; whether all of them could be."""
    good = True
    for promotion in missed:
        caught = story.catch_up(promotion)
        good = good and caught.problem is None
        if caught.receipt is None:
            _say(out, f"{promotion.name}: not caught up: {caught.problem}")
        elif caught.receipt.duplicate:
            _say(out, f"{promotion.name}: came meanwhile, as delivery {caught.receipt.delivery_id}")
        else:
            _say(out, f"{promotion.name}: caught up, as delivery {caught.receipt.delivery_id}")
    return good


def _say(stream: TextIO, line: str) -> None:
    stream.write(f"{printable(line)}\n")


def _now() -> datetime:
    return datetime.now(timezone.utc)
