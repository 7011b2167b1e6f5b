"""The example onnx-fastapi: a promotion becomes an answer, a second one changes it, a broken one does not."""

from __future__ import annotations

import pytest

from tests.e2e import bases, models
from tests.e2e.asker import ask, asking
from tests.e2e.world import Example, world

WORKFLOW = """
name: Build and deploy
on:
  repository_dispatch:
    types: [BUILD_AND_DEPLOY]
run-name: ${{ github.event.client_payload.handoff.key }}
permissions: {}
jobs:
  build:
    runs-on: ubuntu-24.04
    outputs:
      digest: ${{ steps.push.outputs.digest }}
    steps:
      - name: Download the model, every byte verified
        id: model
        uses: wandb-handoff/handoff@v0.1.0
        with:
          api-key: ${{ secrets.WANDB_API_KEY }}
          context: onnx
      - name: Build and push
        id: push
        uses: docker/build-push-action@53b7df96c91f9c12dcc8a07bcb9ccacbed38856a
        with:
          context: ${{ steps.model.outputs.context }}
          tags: ${{ env.REGISTRY }}/model:${{ steps.model.outputs.image-tag }}
          push: true
  deploy:
    needs: build
    runs-on: ubuntu-24.04
    steps:
      - name: Roll out
        env:
          DIGEST: ${{ needs.build.outputs.digest }}
        run: |
          "$ROLLOUT" "$REGISTRY/model@$DIGEST"
"""
ASK = "/v2/models/model/infer"
QUESTION = {"inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP32", "data": list(models.FLOWER)}]}


def test_from_the_event_to_a_running_model() -> None:
    """Three promotions."""
    first, second = models.trained(rounds=5, flowers=60), models.trained(rounds=60, flowers=300)
    example = Example(WORKFLOW, {}, [bases.PYTHON], ASK, QUESTION)

    with world(example) as there:
        one = there.log_and_link({"model.onnx": models.onnx(first)})
        began = there.promote(one)
        done = there.ci.wait(1)[0]
        assert done.run.exit_code == 0
        assert ask(there.url, ASK, QUESTION) == pytest.approx(models.shares(first, models.FLOWER), rel=1e-4)

        with asking(there.url, ASK, QUESTION) as answers:
            two = there.log_and_link({"model.onnx": models.onnx(second)})
            began = there.promote(two)
            done = there.ci.wait(2)[1]
            assert done.run.exit_code == 0
            broken = there.log_and_link({"model.onnx": models.onnx(second, inputs=3)})
            began = there.promote(broken)
            done = there.ci.wait(3)[2]
            assert done.run.exit_code != 0
        assert answers.failures == []
        assert ask(there.url, ASK, QUESTION) == pytest.approx(models.shares(second, models.FLOWER), rel=1e-4)
