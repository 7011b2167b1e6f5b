"""A Docker engine of the tests' own: its own data, socket and bridge, gone without a trace at the end."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.e2e.processes import running, unmount

_SLOWEST = 240


@dataclass(frozen=True)
class Engine:
    """A running engine.

    Attributes:
        host: What ``DOCKER_HOST`` is to be.
    """

    host: str

    @property
    def environ(self) -> Mapping[str, str]:
        """What a ``docker`` of anybody's needs to find it."""
        return {"DOCKER_HOST": self.host, "DOCKER_BUILDKIT": "1"}

    def docker(self, *words: str, check: bool = True) -> str:
        """Run ``docker``; return what it printed."""
        done = subprocess.run(
            ["docker", *words],
            env={**os.environ, **self.environ},
            capture_output=True,
            encoding="utf-8",
            check=False,
            timeout=_SLOWEST,
        )
        if check and done.returncode:
            raise RuntimeError(
                f"docker {' '.join(words)}: exit {done.returncode}\n{done.stdout}{done.stderr}"
            )
        return done.stdout.strip() if done.returncode == 0 else done.stdout + done.stderr

    def containers(self) -> Sequence[str]:
        """Names of what runs."""
        return self.docker("ps", "--format", "{{.Names}}").split()


@contextlib.contextmanager
def engine(folder: Path) -> Iterator[Engine]:
    """An engine with its state in that folder, which it leaves without containers or mounts."""
    host = f"unix://{folder / 'd.sock'}"
    with _bridge() as bridge:
        settings = {
            "hosts": [host],
            "data-root": str(folder / "data"),
            "exec-root": str(folder / "exec"),
            "pidfile": str(folder / "docker.pid"),
            "storage-driver": "overlay2",
            "bridge": bridge,
            "iptables": False,  # Nothing of this machine is changed: ports go through docker's own proxy.
            "ip6tables": False,
            "ip-forward": False,
            "features": {"buildkit": True},
        }
        (folder / "daemon.json").write_text(json.dumps(settings), encoding="utf-8")
        found = Engine(host)
        command = ["dockerd", "--config-file", str(folder / "daemon.json")]
        try:
            with running(command, folder / "dockerd.log", ready=lambda: _answers(found)):
                try:
                    yield found
                finally:
                    remaining = found.docker("ps", "-aq", check=False).split()
                    if remaining:
                        found.docker("rm", "-f", "-v", *remaining, check=False)
        finally:
            unmount(folder)
            shutil.rmtree(folder, ignore_errors=True)


def _answers(found: Engine) -> bool:
    done = subprocess.run(
        ["docker", "version"], env={**os.environ, **found.environ}, capture_output=True, check=False
    )
    return done.returncode == 0


@contextlib.contextmanager
def _bridge() -> Iterator[str]:
    """A bridge with a name and a network of its own, so that another engine here is not met."""
    name = f"hoff{os.getpid()}"
    taken = subprocess.run(
        ["ip", "-4", "-o", "addr"], capture_output=True, encoding="utf-8", check=True
    ).stdout
    network = next(f"172.{number}.0" for number in range(19, 32) if f"172.{number}." not in taken)
    # An address of its own: else it takes the lowest of its containers', and changes it as they come and go.
    subprocess.run(["ip", "link", "add", name, "address", "02:42:ac:13:00:01", "type", "bridge"], check=True)
    try:
        subprocess.run(["ip", "addr", "add", f"{network}.1/24", "dev", name], check=True)
        subprocess.run(["ip", "link", "set", name, "up"], check=True)
        yield name
    finally:
        subprocess.run(["ip", "link", "delete", name], check=False)
