"""The example onnx-fastapi, as it stands."""

from __future__ import annotations

from tests.e2e import bases, models
from tests.e2e.bases import ROOT
from tests.e2e.promotions import three
from tests.e2e.world import Example, world

FOLDER = ROOT / "examples" / "onnx-fastapi"


def test_from_the_event_to_a_running_model() -> None:
    """By the workflow, the Dockerfile and the rollout that users copy."""
    first, second = models.onnx(rounds=5, flowers=60), models.onnx(rounds=60, flowers=300)
    with world(Example(FOLDER, [bases.PYTHON])) as there:
        question = models.onnx_question()
        three(there, FOLDER.name, first, second, ask_at="/v2/models/model/infer", question=question)
