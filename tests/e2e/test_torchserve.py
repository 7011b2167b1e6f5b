"""The example torchserve-kubernetes, with Docker for a cluster, and Debian's torch in the image."""

from __future__ import annotations

from tests.e2e import bases, models
from tests.e2e.bases import ROOT
from tests.e2e.promotions import three
from tests.e2e.world import Example, world

FOLDER = ROOT / "examples" / "torchserve-kubernetes"


def test_from_the_event_to_a_running_model() -> None:
    """By the workflow, the Dockerfile, the manifests and the rollout that users copy."""
    with world(Example(FOLDER, [bases.TORCHSERVE], {"runtime": "localhost/torchserve"})) as there:
        first = models.torch(there.builder, there.folder / "first", rounds=5)
        second = models.torch(there.builder, there.folder / "second", rounds=100)
        question = models.torch_question(first)
        three(there, FOLDER.name, first, second, ask_at="/predictions/model", question=question)
