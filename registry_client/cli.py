"""The commands `handoff resolve` and `handoff download`."""

from __future__ import annotations

import argparse
import json
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, TextIO

from registry_client import connect
from registry_client.api import WandbApi
from registry_client.download import download
from registry_client.errors import RegistryError
from registry_client.escaping import printable
from registry_client.progress import Quiet, in_words, progress_for
from registry_client.resolve import resolve
from registry_client.version import ArtifactVersion

Run = Callable[[argparse.Namespace, Mapping[str, str], TextIO, TextIO], int]
_REFERENCE = "entity/project/collection:alias, …:v3, [org/]wandb-registry-NAME/… or wandb-artifact://_id/…"
_ENVIRONMENT = (
    "The key comes from WANDB_API_KEY, the file WANDB_API_KEY_FILE or the netrc; "
    "WANDB_BASE_URL says where W&B is, if not in its own cloud."
)


def add_commands(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add both commands; each sets ``run``, to be called with arguments, environment, stdout and stderr."""
    resolving = subparsers.add_parser(
        "resolve", help="say which version a name means now", epilog=_ENVIRONMENT
    )
    resolving.set_defaults(run=_told(_resolve))
    downloading = subparsers.add_parser(
        "download", help="fetch a version's files, every byte verified", epilog=_ENVIRONMENT
    )
    downloading.set_defaults(run=_told(_download))
    for parser in (resolving, downloading):
        parser.add_argument("reference", metavar="REF", help=_REFERENCE)
        parser.add_argument("--json", action="store_true", help="print one JSON object")
        parser.add_argument(
            "--expect-alias", metavar="A", help="fail when the version does not carry this alias (any more)"
        )
    downloading.add_argument("directory", metavar="DIR", type=Path, help="a new name, or an empty directory")
    downloading.add_argument("--concurrency", metavar="N", type=int, help="how many files at a time")
    downloading.add_argument("--quiet", action="store_true", help="show no progress")


@contextmanager
def sigterm_unwinds() -> Iterator[None]:
    """Inside the block SIGTERM raises SystemExit, so that what is half done is removed."""
    if threading.current_thread() is not threading.main_thread():
        yield  # Signals are the main thread's.
        return
    before = signal.signal(signal.SIGTERM, _exit)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def as_json(version: ArtifactVersion) -> dict[str, Any]:
    """The version as plain JSON types, under the names that README documents."""
    return {
        "artifact": version.name,
        "id": version.id,
        "entity": version.collection.entity,
        "project": version.collection.project,
        "collection": version.collection.name,
        "version": version.version,
        "source": version.source_name,
        "type": version.type,
        "digest": version.digest,
        "digest_algorithm": version.digest_algorithm.name,
        "aliases": list(version.aliases),
        "tags": list(version.tags),
        "metadata": dict(version.metadata),
        "description": version.description,
        "size": version.size,
        "file_count": version.file_count,
        "created_at": version.created_at.isoformat(),
        "url": version.url,
    }


def _resolve(args: argparse.Namespace, wandb: WandbApi, stdout: TextIO, _stderr: TextIO) -> None:
    version = resolve(args.reference, wandb, expect_alias=args.expect_alias)
    if args.json:
        _print_json(stdout, as_json(version))
        return
    stdout.write(f"{printable(version.name)}\n")
    stdout.writelines(f"  {name:<10}  {printable(value)}\n" for name, value in _lines(version))


def _download(args: argparse.Namespace, wandb: WandbApi, stdout: TextIO, stderr: TextIO) -> None:
    version = resolve(args.reference, wandb, expect_alias=args.expect_alias)
    progress = Quiet() if args.quiet else progress_for(stderr, args.environ)
    with sigterm_unwinds():
        done = download(version, args.directory, wandb, concurrency=args.concurrency, progress=progress)
    if args.json:
        _print_json(stdout, as_json(version) | {"path": str(done.directory.absolute())})
        return
    stdout.write(
        f"{printable(version.name)} is in {done.directory}: {done.file_count:,} files, "
        f"{in_words(done.size)}, every byte verified\n"
    )


def _told(command: Callable[[argparse.Namespace, WandbApi, TextIO, TextIO], None]) -> Run:
    """The command as the parser's ``run``: our errors become a line and an exit code."""

    def run(args: argparse.Namespace, environ: Mapping[str, str], stdout: TextIO, stderr: TextIO) -> int:
        args.environ = environ
        try:
            with connect(environ) as wandb:
                command(args, wandb, stdout, stderr)
        except RegistryError as error:
            said = "\n".join(printable(line) for line in str(error).split("\n"))
            stderr.write(f"handoff: {error.reason}: {said}\n")
            return error.exit_code
        return 0

    return run


def _lines(version: ArtifactVersion) -> Iterator[tuple[str, str]]:
    yield "id", version.id
    yield "logged as", version.source_name
    yield "type", version.type
    yield "digest", f"{version.digest_algorithm.name} {version.digest}"
    yield "aliases", ", ".join(version.aliases) or "none"
    yield "tags", ", ".join(version.tags) or "none"
    yield "size", f"{in_words(version.size)} in {version.file_count:,} files"
    yield "created", f"{version.created_at:%Y-%m-%d %H:%M:%S} UTC"
    if version.description:
        yield "about", version.description.strip().partition("\n")[0]
    for key, value in version.metadata.items():
        yield "metadata", f"{key}: {json.dumps(value, ensure_ascii=False)}"
    yield "page", version.url


def _print_json(stdout: TextIO, data: Mapping[str, Any]) -> None:
    stdout.write(json.dumps(data, indent=2) + "\n")


def _exit(number: int, _frame: FrameType | None) -> None:
    raise SystemExit(128 + number)
