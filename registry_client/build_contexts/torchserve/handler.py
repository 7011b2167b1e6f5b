"""TorchServe's handler: rows of numbers in, the model's answer to each row out."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch


class Handler:
    """Answers ``{"data": [[…], …]}`` with ``{"predictions": [[…], …]}``."""

    def initialize(self, context: Any) -> None:
        """Load the archive's model; TorchServe calls this once in each worker."""
        directory = Path(context.system_properties["model_dir"])
        # TorchScript holds its own code, so another architecture needs no change here, and it is no pickle.
        self._model = torch.jit.load(str(directory / context.manifest["model"]["serializedFile"])).eval()

    def handle(self, requests: Sequence[Mapping[str, Any]], context: Any) -> list[dict[str, Any]]:
        """Answer each request of a batch; a wrong one gets 400, and the others their answers."""
        return [self._answered(request, index, context) for index, request in enumerate(requests)]

    def _answered(self, request: Mapping[str, Any], index: int, context: Any) -> dict[str, Any]:
        try:
            rows = torch.tensor(asked(request), dtype=torch.float32)
            with torch.inference_mode():
                return {"predictions": self._model(rows).tolist()}
        except (ValueError, TypeError, RuntimeError) as error:
            # RuntimeError is what PyTorch raises for a shape that the model does not take.
            context.set_response_status(code=400, phrase="Bad Request", idx=index)
            return {"error": str(error).strip().rpartition("\n")[2]}  # Without the model's own code above it.


def asked(request: Mapping[str, Any]) -> Any:
    """The rows of a request; TorchServe has decoded its JSON, or left the bytes."""
    body = request.get("body")
    if isinstance(body, (bytes, bytearray)):
        body = json.loads(body)
    if not isinstance(body, dict) or "data" not in body:
        raise ValueError('want {"data": [[number, …], …]}')
    return body["data"]
