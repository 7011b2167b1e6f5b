"""The command `handoff mark`: what report/action.yml writes to W&B, from a shell."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from contextlib import closing
from datetime import datetime, timezone
from time import sleep
from typing import TextIO

from registry_client import __version__
from registry_client.api import WandbApi
from registry_client.connections import Connections
from registry_client.errors import ConfigurationError
from registry_client.escaping import printable
from registry_client.expect import check_digest, parse_digest
from registry_client.mark import NAMES, Changes, Marks
from registry_client.report import MARKING, SECRET, Report, own_marks, reports_url
from registry_client.report_post import Receiver
from registry_client.resolve import resolve
from registry_client.version import ArtifactVersion
from registry_client.writeback import prepare, write

_METAVARS = {"metadata": "KEY=VALUE", "link": "REGISTRY/COLLECTION[:ALIAS]"}
_HELP = {
    "alias": "give it this alias in its collection; the version that had it loses it",
    "remove-alias": "take this alias from it",
    "tag": "tag it",
    "remove-tag": "take this tag from it",
    "metadata": "set a key of its metadata to this text",
    "link": "link it to this collection of a registry too",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what can be written; each may be given again."""
    parser.description = (
        "What the key may not write is said before anything is changed.  Done twice, it changes nothing more."
    )
    for name in NAMES:
        parser.add_argument(
            f"--{name}",
            metavar=_METAVARS.get(name, "NAME"),
            action="append",
            default=[],
            help=f"{_HELP[name]}; may be given again",
        )
    parser.add_argument(
        "--dry-run", action="store_true", help="say what would be changed, and change nothing"
    )
    parser.add_argument(
        "--receiver",
        metavar="URL",
        help=f"have this receiver dispatch nothing for it; {SECRET} is what it shares with us",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def mark(args: argparse.Namespace, wandb: WandbApi, stdout: TextIO, _stderr: TextIO) -> None:
    """Mark a version, or say what that would change."""
    given = {name: getattr(args, name.replace("-", "_")) for name in NAMES}
    marks = Marks.parse(given)
    if not marks:
        raise ConfigurationError(
            f"there is nothing to write: want {', '.join(f'--{name}' for name in NAMES)}"
        )
    where = None if args.receiver is None else reports_url("--receiver", args.receiver)
    expected = None if args.expect_digest is None else parse_digest("--expect-digest", args.expect_digest)
    version = resolve(args.reference, wandb, expect_alias=args.expect_alias)
    check_digest(version, expected)
    changes = prepare(version, marks, wandb)
    if not args.dry_run:
        if where is not None:
            _announce(where, version, changes, args.environ)
        write(changes, version, wandb)
    _print(args, version, changes, stdout)


def _announce(url: str, version: ArtifactVersion, changes: Changes, environ: Mapping[str, str]) -> None:
    secret = environ.get(SECRET, "").strip()
    if not secret:
        raise ConfigurationError(f"--receiver wants {SECRET} in the environment")
    with closing(Connections(environ, user_agent=f"wandb-handoff/{__version__}")) as connections:
        Receiver(url, secret, connections, sleep).tell(
            Report(
                at=datetime.now(timezone.utc),
                state=MARKING,
                version=version.name,
                artifact=version.id,
                digest=version.digest,
                marks=own_marks(version, changes),
            )
        )


def _print(args: argparse.Namespace, version: ArtifactVersion, changes: Changes, stdout: TextIO) -> None:
    lines = changes.lines()
    if args.json:
        told = {"artifact": version.name, "id": version.id, "changed": list(lines), "dry_run": args.dry_run}
        stdout.write(json.dumps(told, indent=2) + "\n")
        return
    verb = "would get" if args.dry_run else "got"
    said = [f"{verb} {printable(line)}" for line in lines] or ["carries all of that already"]
    stdout.writelines(f"{printable(version.name)} {each}\n" for each in said)
