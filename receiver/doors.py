"""Who may come in where: the doors of one configuration, replaced whole with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from receiver.github_webhook import check_signature, read_run
from receiver.intake import Intake
from receiver.reports import Reports
from receiver.run import Run
from receiver.secret import Secret


class RunNewsStore(Protocol):
    """The ledger, as far as it is needed here."""

    def record_run(self, repository: str, run: Run, now: datetime, /) -> Sequence[object]:
        """Note how the run of one of our dispatches goes; return what that changed."""
        ...


@dataclass(frozen=True)
class GitHubDoor:
    """Takes GitHub's webhooks about runs.

    Attributes:
        secrets: Any of them may have signed.
        wake: Is called when there are notices to send.
    """

    secrets: Sequence[Secret]
    store: RunNewsStore
    now: Callable[[], datetime]
    wake: Callable[[], None] = lambda: None

    def receive(self, body: bytes, signature: str | None, event: str | None) -> bool:
        """Note what it tells of a run of ours; False where it tells of none.

        Raises:
            RejectedError: It is not GitHub's, or says that it is of a run and is not.
            LedgerError: It could not be noted; GitHub's page of deliveries can send it anew.
        """
        check_signature(body, signature, [bytes(secret) for secret in self.secrets])
        news = read_run(event, body)
        if news is None or not news.run.keys:
            return False
        if self.store.record_run(news.repository, news.run, self.now()):
            self.wake()
        return True


@dataclass(frozen=True)
class Doors:
    """All doors that are open.

    Attributes:
        intakes: By the name of the source: ``POST /webhooks/NAME``.
        github: ``POST /webhooks/github``, where GitHub's webhooks are wanted.
        reports: ``POST /reports``, where jobs tell how they ended.
    """

    intakes: Mapping[str, Intake]
    github: GitHubDoor | None = None
    reports: Reports | None = None
