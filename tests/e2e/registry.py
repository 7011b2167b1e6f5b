"""An OCI registry of the tests' own, plain HTTP on loopback."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path

from tests.e2e.processes import free_port, listens, running


@contextlib.contextmanager
def registry(folder: Path) -> Iterator[str]:
    """Serve a registry whose blobs are in that folder; yields ``127.0.0.1:PORT``."""
    port = free_port()
    settings = {
        "version": 0.1,
        "log": {"level": "warn"},
        "storage": {"filesystem": {"rootdirectory": str(folder / "blobs")}},
        "http": {"addr": f"127.0.0.1:{port}"},
    }
    config = folder / "registry.yml"
    config.write_text(json.dumps(settings), encoding="utf-8")  # JSON is YAML too.
    log = folder / "registry.log"
    with running(["docker-registry", "serve", config], log, ready=lambda: listens(port)):
        yield f"127.0.0.1:{port}"
