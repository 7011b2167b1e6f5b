"""The `handoff` command."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TextIO
from urllib.parse import urlsplit

from receiver import config_cli, configure, ledger_cli
from receiver.errors import ReceiverError, SettingsError
from receiver.ledger_cli import Run, positive
from receiver.log import log_to_stderr
from receiver.settings import read_sender
from receiver.signature import HEADER, Encoding, sign
from registry_client import __version__
from registry_client.cli import add_commands
from registry_client.escaping import printable

if TYPE_CHECKING:
    import requests

DEFAULT_BIND = "127.0.0.1:8080"
DEFAULT_URL = f"http://{DEFAULT_BIND}/webhooks/wandb"
_EXTRA = frozenset({"cryptography", "flask", "gunicorn", "jwt", "requests", "sqlalchemy", "werkzeug", "yaml"})
_INSTALL = 'pip install "wandb-handoff[receiver]"'
_SEND_TIMEOUT = 30.0
_MOST_SHOWN = 4096


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the exit code is 0 when it did what was asked, 2 when it was asked wrongly.

    1 is for what failed, and 3 for `deliveries --dead` that found some.
    """
    arguments = _parser().parse_args(argv)
    run: Run = arguments.run
    try:
        return run(arguments, os.environ, sys.stdout, sys.stderr)
    except SettingsError as error:
        sys.stderr.write("".join(f"handoff: {printable(problem)}\n" for problem in error.problems))
        return 2
    except ReceiverError as error:
        sys.stderr.write(f"handoff: {error.reason}: {printable(str(error))}\n")
        return 1
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in _EXTRA:
            raise
        sys.stderr.write(f"handoff: this command needs more: {_INSTALL}\n")
        return 2
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # The reader, `head` for one, has seen enough.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="handoff", description="A promotion in the W&B registry becomes a build on GitHub."
    )
    parser.add_argument("--version", action="version", version=f"handoff {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_serve(commands.add_parser("serve", help="receive W&B's webhooks and dispatch to GitHub"))
    _add_dispatch(commands.add_parser("dispatch", help="dispatch to GitHub, beside `serve --no-dispatcher`"))
    _add_send(commands.add_parser("send", help="post a payload, signed as W&B would sign it"))
    config_cli.add_commands(commands)
    ledger_cli.add_commands(commands)
    add_commands(commands)
    return parser


def _add_config(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--config", metavar="FILE", help="handoff.yaml; default: HANDOFF_CONFIG, else the environment alone"
    )


def _add_serve(parser: argparse.ArgumentParser) -> None:
    _add_config(parser)
    parser.add_argument("--bind", default=DEFAULT_BIND, metavar="HOST:PORT", help="default: %(default)s")
    parser.add_argument(
        "--workers", type=positive, default=1, metavar="N", help="processes; more than one needs PostgreSQL"
    )
    parser.add_argument("--threads", type=positive, default=8, metavar="N", help="default: %(default)s")
    parser.add_argument(
        "--no-dispatcher",
        action="store_false",
        dest="dispatch",
        help="only receive, without GitHub's settings; `handoff dispatch` sends",
    )
    parser.set_defaults(run=_serve)


def _add_dispatch(parser: argparse.ArgumentParser) -> None:
    parser.description = "Needs the settings of GitHub and of the ledger, none of W&B's.  SIGTERM drains."
    _add_config(parser)
    parser.add_argument(
        "--threads", type=positive, default=4, metavar="N", help="sent at once; default: %(default)s"
    )
    parser.set_defaults(run=_dispatch)


def _add_send(parser: argparse.ArgumentParser) -> None:
    parser.description = "The secret and the token come from the same variables as the receiver's."
    parser.add_argument("file", metavar="FILE", help="the payload; - is the standard input")
    parser.add_argument("--url", help=f"default: HANDOFF_URL, or {DEFAULT_URL}")
    parser.add_argument(
        "--encoding",
        choices=[encoding.value for encoding in Encoding],
        default=Encoding.HEX.value,
        help="how to write the signature; default: %(default)s",
    )
    parser.set_defaults(run=_send)


def _serve(arguments: argparse.Namespace, environ: Mapping[str, str], _out: TextIO, _err: TextIO) -> int:
    _check_platform("serve")
    from receiver.serve import serve  # noqa: PLC0415 - the receiver's extra may be missing

    read = partial(configure, environ, arguments.config, dispatches=arguments.dispatch)
    serve(
        read(),
        bind=arguments.bind,
        workers=arguments.workers,
        threads=arguments.threads,
        dispatch=arguments.dispatch,
        reread=read if arguments.config or environ.get("HANDOFF_CONFIG") else None,
    )
    return 0


def _dispatch(arguments: argparse.Namespace, environ: Mapping[str, str], _out: TextIO, _err: TextIO) -> int:
    _check_platform("dispatch")
    from receiver.alone import dispatch_alone  # noqa: PLC0415 - the receiver's extra may be missing

    read = partial(configure, environ, arguments.config, receives=False)
    config = read()
    log_to_stderr()
    file = arguments.config or environ.get("HANDOFF_CONFIG")
    return 0 if dispatch_alone(config, threads=arguments.threads, reread=read if file else None) else 1


def _check_platform(command: str) -> None:
    if sys.platform == "win32":
        raise SettingsError([f"handoff {command}: does not run on Windows; want Linux, macOS or WSL"])


def _send(arguments: argparse.Namespace, environ: Mapping[str, str], out: TextIO, err: TextIO) -> int:
    import requests  # noqa: PLC0415 - the receiver's extra may be missing

    url = arguments.url or environ.get("HANDOFF_URL") or DEFAULT_URL
    secret, token = read_sender(environ)
    body = _payload(arguments.file)
    headers = {"Content-Type": "application/json"}
    if token:
        headers["Authorization"] = f"Bearer {token.value}"
    if secret:
        headers[HEADER] = sign(body, bytes(secret), Encoding(arguments.encoding))
    try:
        answer = _post(url, body, headers)
    except (requests.RequestException, ValueError) as error:
        err.write(f"handoff: {printable(url)}: {type(error).__name__}: is the receiver up there?\n")
        return 1
    out.write(f"{answer.status_code} {printable(answer.reason or '')}\n")
    out.write("".join(f"{printable(line)}\n" for line in answer.text[:_MOST_SHOWN].splitlines()))
    return 0 if answer.ok and not answer.is_redirect else 1


def _payload(name: str) -> bytes:
    try:
        return sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
    except OSError as error:
        raise SettingsError([f"{name}: cannot be read: {error.strerror}"]) from error


def _post(url: str, body: bytes, headers: Mapping[str, str | bytes]) -> requests.Response:
    import requests  # noqa: PLC0415 - as above

    with requests.Session() as session:
        # What the machine is told about proxies and netrc must not change what W&B would send.
        session.trust_env = urlsplit(url).hostname not in {"127.0.0.1", "::1", "localhost"}
        return session.post(
            url,
            data=body,
            headers=headers,
            timeout=_SEND_TIMEOUT,
            allow_redirects=False,
            auth=lambda request: request,
        )
