"""TorchServe's handler for any TorchScript model: JSON numbers in, JSON numbers out.

A question is ``{"data": [[…]]}`` or the list itself; each is one row of the model's input, or several.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import torch
from ts.torch_handler.base_handler import BaseHandler


class TensorHandler(BaseHandler):  # type: ignore[misc]  # TorchServe has no types.
    """Rows of numbers, as one batch."""

    def preprocess(self, data: Sequence[dict[str, Any]]) -> Any:
        """One tensor of all questions."""
        self._lengths = []
        rows: list[Any] = []
        for question in data:
            asked = read(question)
            self._lengths.append(len(asked))
            rows.extend(asked)
        return torch.tensor(rows, dtype=torch.float32, device=self.device)

    def postprocess(self, data: Any) -> list[Any]:
        """Each question's own rows."""
        return [part.tolist() for part in torch.split(data, self._lengths)]


def read(question: dict[str, Any]) -> list[Any]:
    """The rows of one question; TorchServe gives JSON decoded, or its bytes."""
    body = question.get("data", question.get("body", question))
    if isinstance(body, (bytes, bytearray)):
        body = json.loads(body)
    asked = body["data"] if isinstance(body, dict) else body
    return asked if asked and isinstance(asked[0], list) else [asked]
