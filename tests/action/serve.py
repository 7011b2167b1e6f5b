"""The W&B that the self-test's jobs meet: ``python -m tests.action.serve FILE`` serves for ten minutes.

FILE then holds lines for GITHUB_OUTPUT: the base URL, a key, what the jobs ask for, and whom to end.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.stand_ins.wandb import WandbStandIn

SOURCE = "acme/training/flower"
REGISTRY = "acme-org/wandb-registry-model/Flower Shop"
DAMAGED = "acme/training/damaged"
FILES = {"model.bin": bytes(range(256)) * 5000, "config/labels.txt": b"rose\ntulip\n", "empty": b""}
_LIFETIME = 600.0


@contextmanager
def served() -> Iterator[Mapping[str, str]]:
    """W&B with a model whose alias has moved on from v0 to v1, and one whose file is damaged."""
    with WandbStandIn() as wandb:
        wandb.add_organization("Acme", entity="acme-org", teams=["acme"])
        first = wandb.link(wandb.log_artifact(SOURCE, FILES), REGISTRY, aliases=["production"])
        newer = wandb.log_artifact(SOURCE, FILES | {"model.bin": b"newer"}, algorithm="XXH128")
        second = wandb.link(newer, REGISTRY, aliases=["production"])
        wandb.log_artifact(DAMAGED, {"broken.bin": b"right"})
        wandb.faults.add("file:broken.bin", times=None, flip_byte=0)
        yield {
            "base-url": wandb.url,
            "api-key": wandb.api_key,
            "first-digest": first.digest,
            "second-digest": second.digest,
        }


def _serve(told: Path) -> None:
    with served() as lines:
        part = told.with_suffix(".part")
        pairs = {**lines, "pid": str(os.getpid())}
        part.write_text("".join(f"{key}={value}\n" for key, value in pairs.items()), encoding="utf-8")
        part.replace(told)  # It is there only when it is whole.
        threading.Event().wait(_LIFETIME)


if __name__ == "__main__":
    _serve(Path(sys.argv[1]))
