"""The commands `handoff resolve`, `list`, `download`, `cat` and `mark`."""

from __future__ import annotations

import argparse
import json
import signal
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, TextIO

from registry_client import __version__, connect, listing, mark_cli
from registry_client.api import WandbApi
from registry_client.cache import Cache
from registry_client.download import Download, download
from registry_client.errors import RegistryError
from registry_client.escaping import printable
from registry_client.expect import check_digest, parse_digest
from registry_client.inputs import cache_place
from registry_client.manifest import Manifest
from registry_client.papers import write_papers
from registry_client.progress import Quiet, in_words, progress_for
from registry_client.provenance import provenance
from registry_client.references import ReferencePolicy
from registry_client.resolve import resolve
from registry_client.selection import select
from registry_client.signals import unwinding
from registry_client.single import send
from registry_client.sizes import parse_size
from registry_client.version import ArtifactVersion

Command = Callable[[argparse.Namespace, WandbApi, TextIO, TextIO], None]
Run = Callable[[argparse.Namespace, Mapping[str, str], TextIO, TextIO], int]
_REFERENCE = "entity/project/collection:alias, …:v3, [org/]wandb-registry-NAME/… or wandb-artifact://_id/…"
_ENVIRONMENT = (
    "The key comes from WANDB_API_KEY, the file WANDB_API_KEY_FILE or the netrc, or W&B gives one for the "
    "token in WANDB_IDENTITY_TOKEN_FILE; WANDB_BASE_URL says where W&B is, if not in its own cloud."
)


def add_commands(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add all five; each sets ``run``, to be called with arguments, environment, stdout and stderr."""
    resolving = _command(subparsers, "resolve", _resolve, "say which version a name means now")
    listing_files = _command(subparsers, "list", _list, "list a version's files, the manifest verified")
    downloading = _command(
        subparsers, "download", _download, "have a version's files in a directory, every byte verified"
    )
    writing = _command(subparsers, "cat", _cat, "write one file of a version to the standard output")
    for parser in (resolving, listing_files, downloading):
        parser.add_argument("--json", action="store_true", help="print one JSON object")
    for parser in (listing_files, downloading):
        _add_selection(parser)
    _add_download(downloading)
    marking = _command(
        subparsers, "mark", mark_cli.mark, "write aliases, tags, metadata and links to a version"
    )
    mark_cli.add_arguments(marking)
    writing.add_argument("path", metavar="PATH", help="as `handoff list` has it")
    writing.description = (
        "Up to 8 MiB, not a byte is written before all are verified; a larger file is verified while it is "
        "written.  If the exit code is not 0, what was written is not the file."
    )


def _command(
    subparsers: argparse._SubParsersAction[argparse.ArgumentParser], name: str, command: Command, about: str
) -> argparse.ArgumentParser:
    parser = subparsers.add_parser(name, help=about, epilog=_ENVIRONMENT)
    parser.set_defaults(run=_told(command))
    parser.add_argument("reference", metavar="REF", help=_REFERENCE)
    parser.add_argument(
        "--expect-alias", metavar="A", help="fail when the version does not carry this alias (any more)"
    )
    parser.add_argument("--expect-digest", metavar="HEX", help="fail when the version has another digest")
    return parser


def _add_selection(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--include", metavar="GLOB", action="append", default=[], help="only such files; may be given again"
    )
    parser.add_argument(
        "--exclude", metavar="GLOB", action="append", default=[], help="no such files; may be given again"
    )


def _add_download(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("directory", metavar="DIR", type=Path, help="a new name, or a directory with files of the version")
    add(
        "--references",
        choices=[policy.value for policy in ReferencePolicy],
        default=ReferencePolicy.FAIL.value,
        help="what to do about files outside W&B; default: %(default)s",
    )
    add("--max-size", metavar="SIZE", help="fail before the first byte if it is more, like 20GB")
    add(
        "--cache-dir", metavar="DIR", help="keep files there, like the SDK; default: WANDB_CACHE_DIR, or none"
    )
    add("--cache-size", metavar="SIZE", help="how much the cache may keep; default: any number of bytes")
    add("--replace", action="store_true", help="replace a directory that holds other files")
    add("--concurrency", metavar="N", type=int, help="how many connections at a time")
    add("--quiet", action="store_true", help="show no progress")


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
        "source_run": None if version.source_run is None else asdict(version.source_run),
        "created_by": version.created_by,
        "size": version.size,
        "file_count": version.file_count,
        "created_at": version.created_at.isoformat(),
        "url": version.url,
    }


def _resolve(args: argparse.Namespace, wandb: WandbApi, stdout: TextIO, _stderr: TextIO) -> None:
    version = _version(args, wandb)
    if args.json:
        _print_json(stdout, as_json(version))
        return
    stdout.write(f"{printable(version.name)}\n")
    stdout.writelines(f"  {name:<10}  {printable(value)}\n" for name, value in _lines(version))


def _list(args: argparse.Namespace, wandb: WandbApi, stdout: TextIO, _stderr: TextIO) -> None:
    version = _version(args, wandb)
    manifest = Manifest.parse(wandb.manifest(version))
    manifest.check(version)
    manifest = select(manifest, args.include, args.exclude)
    if args.json:
        _print_json(stdout, listing.as_json(version, manifest))
        return
    stdout.writelines(f"{line}\n" for line in listing.lines(manifest))


def _cat(args: argparse.Namespace, wandb: WandbApi, stdout: TextIO, _stderr: TextIO) -> None:
    stdout.flush()
    send(_version(args, wandb), args.path, wandb, stdout.buffer.write)
    stdout.buffer.flush()


def _download(args: argparse.Namespace, wandb: WandbApi, stdout: TextIO, stderr: TextIO) -> None:
    max_size = None if args.max_size is None else parse_size("--max-size", args.max_size)
    cache = _cache(args)
    version = _version(args, wandb)
    with unwinding(signal.SIGTERM):
        done = download(
            version,
            args.directory,
            wandb,
            include=args.include,
            exclude=args.exclude,
            references=ReferencePolicy(args.references),
            cache=cache,
            max_size=max_size,
            replace=args.replace,
            concurrency=args.concurrency,
            progress=Quiet() if args.quiet else progress_for(stderr, args.environ),
        )
    papers = write_papers(done, _known(done))
    if args.json:
        told = {
            "path": str(done.directory.absolute()),
            "provenance": str(papers.provenance.absolute()),
            "references": None if papers.references is None else str(papers.references.absolute()),
            "fetched": done.fetched,
            "reused": done.reused,
        }
        _print_json(stdout, as_json(version) | told)
        return
    stdout.write(
        f"{printable(version.name)} is in {done.directory}: {done.file_count:,} files, "
        f"{in_words(done.size)}, every byte verified\n"
    )


def _version(args: argparse.Namespace, wandb: WandbApi) -> ArtifactVersion:
    expected = None if args.expect_digest is None else parse_digest("--expect-digest", args.expect_digest)
    version = resolve(args.reference, wandb, expect_alias=args.expect_alias)
    check_digest(version, expected)
    return version


def _cache(args: argparse.Namespace) -> Cache | None:
    limit = None if args.cache_size is None else parse_size("--cache-size", args.cache_size)
    place = cache_place(args.cache_dir or "", args.environ)
    return None if place is None else Cache(place[0].expanduser(), limit=limit or place[1])


def _known(done: Download) -> Mapping[str, Any]:
    at, tool = datetime.now(timezone.utc), f"wandb-handoff/{__version__}"
    return provenance(done.version, done.present, verified_at=at, tool=tool, listed=done.references)


def _told(command: Command) -> Run:
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
    if version.source_run is not None:
        commit = f", commit {version.source_run.commit}" if version.source_run.commit else ""
        yield "by", f"run {version.source_run.name} ({version.source_run.path}{commit})"
    elif version.created_by is not None:
        yield "by", version.created_by
    if version.description:
        yield "about", version.description.strip().partition("\n")[0]
    for key, value in version.metadata.items():
        yield "metadata", f"{key}: {json.dumps(value, ensure_ascii=False)}"
    yield "page", version.url


def _print_json(stdout: TextIO, data: Mapping[str, Any]) -> None:
    stdout.write(json.dumps(data, indent=2) + "\n")
