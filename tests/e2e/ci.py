"""Runs a repository's workflow, as GitHub would, for every dispatch that reaches the stand-in for GitHub."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone

import requests

from tests.action.act import Act, ActRun
from tests.stand_ins.github import Dispatched, GitHubStandIn

_SLOWEST = 420.0
_OWN_MACHINE = ("-P", "self-hosted=-self-hosted")


@dataclass(frozen=True)
class Finished:
    """A run that has ended.

    Attributes:
        steps: Seconds of each step, by its name, in order.
    """

    dispatched: Dispatched
    began: datetime
    ended: datetime
    run: ActRun

    @property
    def steps(self) -> Mapping[str, float]:
        """What the runner says of each of its steps."""
        return {
            str(entry["step"]): entry["executionTime"] / 1e9
            for entry in self.run.entries
            if "stepResult" in entry and entry.get("stage") == "Main" and "executionTime" in entry
        }

    @property
    def summary(self) -> str:
        """What the steps wrote to the run's summary, one after the other; act tells some of it twice."""
        told = [str(entry["content"]) for entry in self.run.entries if entry.get("command") == "summary"]
        return "\n\n".join(dict.fromkeys(told))


@dataclass(frozen=True)
class Told:
    """What the repository's settings tell a run, and what its machine does."""

    secrets: Mapping[str, str]
    variables: Mapping[str, str]
    environ: Mapping[str, str]


@dataclass(frozen=True)
class Hook:
    """Where the repository tells of its runs."""

    url: str
    secret: str


class Ci:
    """One run after the other, as one runner would."""

    def __init__(self, github: GitHubStandIn, runner: Act, workflow: str, told: Told, hook: Hook) -> None:
        self.finished: list[Finished] = []
        self._github = github
        self._runner = runner
        self._workflow = workflow
        self._told = told
        self._hook = hook
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._work, name="ci")

    @contextlib.contextmanager
    def watching(self) -> Iterator[Ci]:
        """Run what is dispatched, as long as the block lasts."""
        self._thread.start()
        try:
            yield self
        finally:
            self._stopping.set()
            self._thread.join()

    def wait(self, count: int) -> Sequence[Finished]:
        """The runs, when so many have ended."""
        limit = time.monotonic() + _SLOWEST
        while len(self.finished) < count:
            assert time.monotonic() < limit, (
                f"{len(self.finished)} runs ended in {_SLOWEST:.0f} s, want {count}"
            )
            assert self._thread.is_alive(), "the runner is gone"
            time.sleep(0.02)
        return self.finished

    def _work(self) -> None:
        while not self._stopping.wait(0.02):
            for dispatched in self._github.dispatches[len(self.finished) :]:
                began = datetime.now(timezone.utc)
                run = self._run(dispatched)
                self._tell(run)
                self.finished.append(Finished(dispatched, began, datetime.now(timezone.utc), run))

    def _run(self, dispatched: Dispatched) -> ActRun:
        return self._runner.run(
            self._workflow,
            self._github.event(dispatched),
            *_OWN_MACHINE,
            *(f"--var={name}={value}" for name, value in self._told.variables.items()),
            secrets=self._told.secrets,
            environ=self._told.environ,
        )

    def _tell(self, run: ActRun) -> None:
        """GitHub's webhook about the run that has ended."""
        known = self._github.runs[len(self.finished)]
        self._github.end_run(known, "failure" if run.exit_code else "success")
        body, headers = self._github.workflow_run_webhook(known, self._hook.secret)
        requests.post(self._hook.url, data=body, headers=headers, timeout=10).raise_for_status()
