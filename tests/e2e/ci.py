"""Runs a repository's workflow, as GitHub would, for every dispatch that reaches the stand-in for GitHub."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone

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


class Ci:
    """One run after the other, as one runner would."""

    def __init__(
        self,
        github: GitHubStandIn,
        runner: Act,
        workflow: str,
        secrets: Mapping[str, str],
        environ: Mapping[str, str],
    ) -> None:
        self.finished: list[Finished] = []
        self._github = github
        self._runner = runner
        self._workflow = workflow
        self._secrets = secrets
        self._environ = environ
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
                event = self._github.event(dispatched)
                run = self._runner.run(
                    self._workflow, event, *_OWN_MACHINE, secrets=self._secrets, environ=self._environ
                )
                self.finished.append(Finished(dispatched, began, datetime.now(timezone.utc), run))
