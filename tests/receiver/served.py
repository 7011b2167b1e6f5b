"""The real `handoff serve`, as a process of its own, for the tests that need one."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import requests

from receiver.settings import NAMES

LONGEST_START = 30.0


@dataclass
class Served:
    """A running receiver: where it listens, what it was told, what it logs."""

    process: subprocess.Popen[str]
    environ: Mapping[str, str]
    url: str = ""
    log: list[str] = field(default_factory=list)
    _up: threading.Event = field(default_factory=threading.Event)
    _said: threading.Condition = field(default_factory=threading.Condition)

    @property
    def webhook_url(self) -> str:
        """Where W&B would post to."""
        return f"{self.url}/webhooks/wandb"

    def read_log(self) -> None:
        """Take in the log until it ends; told to a thread, for a full pipe would stop the process."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._said:
                self.log.append(line)
                self._said.notify_all()
            if match := re.search(r"Listening at: (http://\S+)", line):
                self.url = match[1]
            if re.search(r"Booting worker", line):
                self._up.set()
        self._up.set()

    def wait_until_ready(self) -> None:
        """Return once it can do its work."""
        assert self._up.wait(LONGEST_START), self.log
        assert self.url, self.log
        # The listener is open before the worker boots: the request waits in its queue.
        answer = requests.get(f"{self.url}/readyz", timeout=LONGEST_START)
        assert answer.status_code == 200, (answer.text, self.log)

    def wait_for_log(self, text: str, timeout: float = 20.0) -> None:
        """Return once a line of the log has the text."""
        with self._said:
            assert self._said.wait_for(lambda: any(text in line for line in self.log), timeout), self.log

    def stop(self) -> int:
        """SIGTERM, then the exit code."""
        self.process.terminate()
        return self.process.wait(timeout=40)


def clean_environ() -> dict[str, str]:
    """The environment of the tests without any variable of ours."""
    return {name: value for name, value in os.environ.items() if name not in NAMES}


@contextlib.contextmanager
def started(
    environ: Mapping[str, str],
    folder: Path,
    *arguments: str,
    program: Sequence[str] = ("-m", "receiver"),
) -> Iterator[Served]:
    """A command of ours that runs until it is told to stop; told so at the end."""
    process = subprocess.Popen(
        [sys.executable, *program, *arguments],
        env={**clean_environ(), **environ},
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    served = Served(process, environ)
    reader = threading.Thread(target=served.read_log)
    reader.start()
    try:
        yield served
    finally:
        if process.poll() is None:
            served.stop()
        reader.join()
        assert process.stdout is not None
        process.stdout.close()


@contextlib.contextmanager
def serving(
    environ: Mapping[str, str],
    folder: Path,
    *arguments: str,
    program: Sequence[str] = ("-m", "receiver"),
) -> Iterator[Served]:
    """`handoff serve` on a port that the kernel chooses, ready; stopped at the end."""
    everything = ("serve", "--bind", "127.0.0.1:0", *arguments)
    with started(environ, folder, *everything, program=program) as served:
        served.wait_until_ready()
        yield served


@contextlib.contextmanager
def dispatching(environ: Mapping[str, str], folder: Path, *arguments: str) -> Iterator[Served]:
    """`handoff dispatch`, at work; stopped at the end."""
    with started(environ, folder, "dispatch", *arguments) as alone:
        alone.wait_for_log("dispatching, up to")
        yield alone
