"""Three promotions: one model serves, the next takes over unnoticed, the third is broken and does not."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from receiver.delivery import DispatchRecord
from receiver.dispatch import DispatchKind
from tests.e2e.asker import Answers, ask, asking
from tests.e2e.bases import ROOT
from tests.e2e.ci import Finished
from tests.e2e.models import Trained
from tests.e2e.processes import wait_until
from tests.e2e.summary_page import page
from tests.e2e.world import World
from tests.stand_ins.wandb import Membership

TRANSCRIPTS = ROOT / "build" / "e2e"
_BRIEFLY = 20.0


@dataclass(frozen=True)
class Promoted:
    """What one promotion came to.

    Attributes:
        began: When the alias was added, by ``time.time``.
        answered: When the first of its predictions came back; None where it never did.
    """

    name: str
    version: Membership
    began: float
    run: Finished
    answered: float | None

    def lines(self) -> Iterator[tuple[str, str]]:
        """Its rows of the transcript: seconds since the alias was added, and what had happened by then."""
        yield "0.0", "the alias `production` is added; W&B posts its webhook"
        yield self._at(self.run.dispatched.at.timestamp()), "the receiver has dispatched to GitHub"
        at = self.run.began.timestamp()
        yield self._at(at), "the runner starts"
        for name, seconds in self.run.steps.items():
            at += seconds
            yield f"+{seconds:.1f}", name
        if self.answered is not None:
            yield self._at(self.answered), "**the first prediction of the new model**"
        yield self._at(self.run.ended.timestamp()), "the run has ended"

    def _at(self, moment: float) -> str:
        return f"{moment - self.began:.1f}"


def three(there: World, name: str, first: Trained, second: Trained, *, ask_at: str, question: Any) -> None:
    """Promote the first, the second, and one that does not predict what its own sample says."""
    broken = second.with_sample_of(first)
    with asking(there.url, ask_at, question) as answers:
        one = _promoted(there, "The first version", first, answers)
    assert one.run.run.exit_code == 0, one.run.run.log
    assert one.answered is not None
    with asking(there.url, ask_at, question) as answers:
        two = _promoted(there, "The second version", second, answers)
        assert two.run.run.exit_code == 0, two.run.run.log
        assert two.answered is not None
        last = _promoted(there, "A broken version", broken, answers)
        assert last.run.run.exit_code != 0, last.run.run.log
    assert answers.failures == []
    assert ask(there.url, ask_at, question) == _near(second)
    assert ["deployed" in each.version.aliases for each in (one, two, last)] == [False, True, False]
    _check_told(there)
    _write(name, [one, two, last], answers.count)


def _promoted(there: World, name: str, model: Trained, answers: Answers) -> Promoted:
    version = there.log_and_link(model.files)
    began, count = time.time(), len(there.ci.finished)
    there.promote(version)
    run = there.ci.wait(count + 1)[count]
    seen = [at for at, prediction in answers.seen if at > began and prediction == _near(model)]
    return Promoted(f"{name} ({version.name})", version, began, run, seen[0] if seen else None)


def _near(model: Trained) -> Any:
    return pytest.approx(model.predicted, rel=1e-3, abs=1e-5)


def _check_told(there: World) -> None:
    """What W&B, the receiver and the team know in the end."""
    answers = [json.loads(each.response_body)["status"] for each in there.wandb.executions]
    assert answers == ["accepted", "own-mark", "accepted", "own-mark", "accepted"]
    assert len(there.github.dispatches) == len(there.ci.finished)
    wait_until("the team is told of every run", lambda: len(there.slack.posts) >= 3, within=_BRIEFLY)
    sent = _sent(there)
    assert [each.run_conclusion for each in sent] == ["success", "success", "failure"]
    assert [(each.report or {}).get("state") for each in sent] == ["success", "success", "failure"]
    assert "@sha256:" in str((sent[1].report or {}).get("image"))
    assert ["Run failed" in json.dumps(post) for post in there.slack.posts] == [False, False, True]
    assert there.github.violations == []


def _sent(there: World) -> list[DispatchRecord]:
    every = [each for delivery in there.deliveries() for each in delivery.dispatches]
    return [each for each in every if each.kind is DispatchKind.REPOSITORY_DISPATCH]


def _write(name: str, promotions: Sequence[Promoted], asked: int) -> None:
    """A transcript, for whoever wants to know where the time goes."""
    lines = [f"# {name}", ""]
    for each in promotions:
        lines += [f"## {each.name}", "", "| seconds | |", "|---:|---|"]
        lines += [f"| {at} | {what} |" for at, what in each.lines()]
        lines += [""]
    lines += [f"{asked} questions were asked during the last two, and each was answered.", ""]
    TRANSCRIPTS.mkdir(parents=True, exist_ok=True)
    (TRANSCRIPTS / f"{name}.md").write_text("\n".join(lines), encoding="utf-8")
    for each in promotions:
        kept = TRANSCRIPTS / f"{name}-{each.version.version}"
        kept.with_suffix(".log").write_text(each.run.run.log, encoding="utf-8")
        kept.with_suffix(".html").write_text(page(each.run.summary), encoding="utf-8")
