"""The example torchserve-kubernetes, with Docker in the place of a cluster and Debian's torch in the image."""

from __future__ import annotations

import pytest

from tests.e2e import bases, models
from tests.e2e.asker import ask, asking
from tests.e2e.bases import ROOT
from tests.e2e.world import Example, world

FOLDER = ROOT / "examples" / "torchserve-kubernetes"
ASK = "/predictions/model"


def test_from_the_event_to_a_running_model() -> None:
    """Three promotions: one serves, the next takes over unnoticed, the third is broken and does not."""
    example = Example(FOLDER, [bases.TORCHSERVE], ASK, {"runtime": "localhost/torchserve"})

    with world(example) as there:
        first = models.torch(there.builder, there.folder / "first", rounds=5)
        second = models.torch(there.builder, there.folder / "second", rounds=100)
        question = models.torch_question(first)

        there.promote(there.log_and_link(first.files))
        done = there.ci.wait(1)[0]
        assert done.run.exit_code == 0, done.run.log
        assert ask(there.url, ASK, question) == pytest.approx(first.predicted, rel=1e-4)

        with asking(there.url, ASK, question) as answers:
            there.promote(there.log_and_link(second.files))
            done = there.ci.wait(2)[1]
            assert done.run.exit_code == 0, done.run.log
            there.promote(there.log_and_link(second.with_sample_of(first).files))
            done = there.ci.wait(3)[2]
            assert done.run.exit_code != 0, done.run.log
        assert answers.failures == []
        assert ask(there.url, ASK, question) == pytest.approx(second.predicted, rel=1e-4)
