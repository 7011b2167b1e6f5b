"""Real receivers: `handoff serve` in a process group of its own, to be killed, frozen and started again."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from random import Random
from types import TracebackType

from tests.faults.program import LEASE_SECONDS
from tests.receiver.served import Served, clean_environ

ROOT = Path(__file__).resolve().parent.parent.parent


class Receiver:
    """One receiver.  Each start has a new port; the ledger stays the same."""

    def __init__(
        self, environ: Mapping[str, str], folder: Path, *arguments: str, lease: float | None = None
    ) -> None:
        self._environ = {**clean_environ(), **environ, "PYTHONPATH": str(ROOT)}
        self._program = "receiver"
        if lease is not None:
            self._program = "tests.faults.program"
            self._environ[LEASE_SECONDS] = str(lease)
        self._folder = folder
        self._arguments = arguments
        self._served: Served | None = None
        self._reader: threading.Thread | None = None

    def start(self) -> Receiver:
        """Start it and return once it is ready."""
        served = Served(
            subprocess.Popen(
                [sys.executable, "-m", self._program, "serve", "--bind", "127.0.0.1:0", *self._arguments],
                env=self._environ,
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,
            ),
            self._environ,
        )
        self._served, self._reader = served, threading.Thread(target=served.read_log)
        self._reader.start()
        served.wait_until_ready()
        return self

    @property
    def served(self) -> Served:
        """The process that runs, or ran last."""
        assert self._served is not None
        return self._served

    @property
    def webhook_url(self) -> str:
        """Where W&B would post to."""
        return self.served.webhook_url

    def workers(self) -> list[int]:
        """The workers that live, by their ids."""
        booted = [
            int(found) for found in re.findall(r"Booting worker with pid: (\d+)", "".join(self.served.log))
        ]
        return [worker for worker in booted if _parent(worker) == self.served.process.pid]

    def kill_worker(self, luck: Random) -> None:
        """SIGKILL for one of the workers; gunicorn starts another."""
        workers = self.workers()
        if workers:  # Else it is about to be started.
            os.kill(luck.choice(workers), signal.SIGKILL)

    def kill(self) -> None:
        """SIGKILL for all of it at once."""
        os.killpg(self.served.process.pid, signal.SIGKILL)
        self.served.process.wait(30)
        self._let_go()

    def freeze(self) -> None:
        """SIGSTOP for all of it: it neither works nor knows that time passes."""
        os.killpg(self.served.process.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on as if nothing had been."""
        os.killpg(self.served.process.pid, signal.SIGCONT)

    def stop(self) -> int:
        """SIGTERM, then the exit code."""
        code = self.served.stop()
        self._let_go()
        return code

    def __enter__(self) -> Receiver:  # noqa: PYI034 - Self is not in Python 3.10's typing
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._served is not None and self._served.process.poll() is None:
            self.thaw()
            self.kill()

    def _let_go(self) -> None:
        assert self._reader is not None
        self._reader.join(30)
        assert self.served.process.stdout is not None
        self.served.process.stdout.close()


def _parent(process: int) -> int | None:
    """The parent of a process that is there and no zombie."""
    try:
        state, parent = (
            Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[:2]
        )
    except OSError:
        return None
    return None if state == "Z" else int(parent)
