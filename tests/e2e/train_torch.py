"""Trains a small network, and writes it as TorchScript with a sample of its predictions; runs where torch is.

``train_torch.py DIRECTORY ROUNDS``
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch

_MEANS = ((5.0, 3.4, 1.5, 0.2), (5.9, 2.8, 4.3, 1.3), (6.6, 3.0, 5.6, 2.0))


def main(directory: Path, rounds: int) -> None:
    """Fit it to flowers, drawn with a seed."""
    torch.manual_seed(1)
    torch.set_num_threads(1)
    kinds = torch.arange(300) % len(_MEANS)
    flowers = torch.tensor(_MEANS)[kinds] + 0.3 * torch.randn(300, 4)
    network = torch.nn.Sequential(
        torch.nn.Linear(4, 8), torch.nn.Tanh(), torch.nn.Linear(8, 3), torch.nn.Softmax(1)
    )
    optimizer = torch.optim.Adam(network.parameters(), lr=0.03)
    for _ in range(rounds):
        optimizer.zero_grad()
        loss = torch.nn.functional.nll_loss(torch.log(network(flowers)), kinds)
        loss.backward()
        optimizer.step()
    torch.jit.save(torch.jit.script(network.eval()), str(directory / "model.pt"))
    with torch.inference_mode():
        rows = flowers[:2]
        sample = {"data": rows.tolist(), "predictions": network(rows).tolist()}
    (directory / "sample.json").write_text(json.dumps(sample), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
