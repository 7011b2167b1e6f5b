"""The machine that models are served on: a new container takes over from the old one only once it answers."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

_PREFIX = "model-"
_PORT = "8080"
_DRAINED = 20.0
_BETWEEN = 0.2


class NotServedError(Exception):
    """The new one does not answer as it should; it is gone, and what served goes on."""


@dataclass(frozen=True)
class Machine:
    """Docker, and nginx before it.

    Attributes:
        front: The folder with nginx's ``upstream.conf`` and ``nginx.pid``.
    """

    front: Path

    @classmethod
    def from_env(cls) -> Machine:
        """The one that a runner's steps are told of."""
        return cls(Path(os.environ["FRONT"]))

    def start(self, image: str, name: str) -> str:
        """Start a container of the image, as tightly as the examples say; returns its name."""
        docker("pull", "--quiet", image)
        docker(
            *(
                "run",
                "--detach",
                "--init",
                "--read-only",
                "--mount",
                "type=tmpfs,target=/tmp",
                "--cap-drop",
                "ALL",
            ),
            *("--security-opt", "no-new-privileges", "--publish", f"127.0.0.1::{_PORT}"),
            *("--name", f"{_PREFIX}{name}", image),
        )
        return f"{_PREFIX}{name}"

    def wait(
        self, container: str, answers: Callable[[], str | None], *, within: float, refusals: int = 3
    ) -> None:
        """Return when it answers; ``answers`` says why it does not, and is asked until it did or gave up.

        Raises:
            NotServedError: The container ended, refused that often or took too long.  It is left for its log.
        """
        limit, why = time.monotonic() + within, None
        while time.monotonic() < limit:
            if docker("inspect", "--format", "{{.State.Running}}", container) != "true":
                raise NotServedError("its container ended")
            why = answers()
            if why is None:
                return
            refusals -= why != ""
            if not refusals:
                break
            time.sleep(_BETWEEN)
        raise NotServedError(why or f"it did not answer within {within:.0f} s")

    def switch_to(self, container: str) -> None:
        """Send everybody to this one; the others end when they have answered what they were asked."""
        new = self.front / "upstream.conf.new"
        new.write_text(f"upstream model {{ server {address(container)}; }}\n", encoding="utf-8")
        new.replace(self.front / "upstream.conf")
        nginx = int((self.front / "nginx.pid").read_text(encoding="utf-8"))
        workers = _children(nginx)
        os.kill(nginx, signal.SIGHUP)
        limit = time.monotonic() + _DRAINED
        while set(workers) & set(_children(nginx)) and time.monotonic() < limit:
            time.sleep(_BETWEEN)
        for each in running():
            if each != container:
                docker("stop", "--time", "10", each)
                docker("rm", "--volumes", each)


def docker(*words: str, check: bool = True) -> str:
    """Run ``docker``; return what it printed, errors included where they are no exception."""
    done = subprocess.run(["docker", *words], capture_output=True, encoding="utf-8", check=False)
    if check and done.returncode:
        raise NotServedError(f"docker {words[0]}: {done.stderr.strip()}")
    return (done.stdout if check else done.stdout + done.stderr).strip()


def running() -> Sequence[str]:
    """The names of the models that run."""
    return docker("ps", "--filter", f"name=^{_PREFIX}", "--format", "{{.Names}}").split()


def address(container: str) -> str:
    """Where its port is."""
    return docker("port", container, _PORT)


def last_words(container: str, lines: int = 15) -> str:
    """The end of its log."""
    return docker("logs", "--tail", str(lines), container, check=False)


def remove(container: str) -> None:
    """Take it away, whatever it does."""
    docker("rm", "--force", "--volumes", container)


def _children(process: int) -> list[int]:
    told = Path(f"/proc/{process}/task/{process}/children").read_text(encoding="utf-8")
    return [int(each) for each in told.split()]
