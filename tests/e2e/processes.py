"""Programs that run beside a test: each ends by its own id, with its last words kept."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

_STARTING = 30.0
_ENDING = 20.0


@contextlib.contextmanager
def running(
    command: Sequence[str | Path],
    log: Path,
    *,
    ready: Callable[[], bool],
    environ: Mapping[str, str] | None = None,
) -> Iterator[subprocess.Popen[bytes]]:
    """Start the program in a group of its own, wait until it is ready, and end it when the block does."""
    with log.open("wb") as lines:
        process = subprocess.Popen(
            [str(word) for word in command],
            stdin=subprocess.DEVNULL,
            stdout=lines,
            stderr=lines,
            env=None if environ is None else dict(environ),
            start_new_session=True,
        )
    try:
        wait_until(
            f"{Path(command[0]).name} is ready",
            lambda: process.poll() is not None or ready(),
            within=_STARTING,
            hint=lambda: log.read_text(encoding="utf-8", errors="replace")[-2000:],
        )
        if process.poll() is not None:
            raise RuntimeError(
                f"{command[0]} ended: {log.read_text(encoding='utf-8', errors='replace')[-2000:]}"
            )
        yield process
    finally:
        end(process)


def end(process: subprocess.Popen[bytes]) -> None:
    """Ask the program to end; after a while no longer ask."""
    process.terminate()
    try:
        process.wait(_ENDING)
    except subprocess.TimeoutExpired:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # The group that it was started as the leader of.
        process.wait()


def wait_until(
    what: str, holds: Callable[[], bool], *, within: float, hint: Callable[[], str] = lambda: ""
) -> None:
    """Ask again and again until it holds; AssertionError when it does not in that many seconds."""
    limit = time.monotonic() + within
    while not holds():
        assert time.monotonic() < limit, f"waited {within:.0f} s in vain: {what}\n{hint()}"
        time.sleep(0.05)


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
    return port


def listens(port: int) -> bool:
    """Whether somebody takes connections there."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def unmount(folder: Path) -> None:
    """Let go of every mount in that folder."""
    mounts = Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines()
    for target in sorted((line.split()[1] for line in mounts), reverse=True):
        if Path(target).is_relative_to(folder):
            subprocess.run(["umount", target], check=False)
