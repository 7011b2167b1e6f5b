"""Images built without a daemon, on base images of our own, and pushed to a registry."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.e2e.bases import KEPT, Base
from tests.e2e.processes import unmount

_SLOWEST = 400
_PATH = "/opt/venv/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_IMAGES = KEPT / "images"  # Base images, unpacked once; never written by a build.


@dataclass(frozen=True)
class Builder:
    """buildah, with its state in a folder that goes away."""

    words: Sequence[str]

    def run(self, *words: str | Path) -> str:
        """Run buildah; return what it printed last."""
        done = subprocess.run(
            [*self.words, *map(str, words)],
            capture_output=True,
            encoding="utf-8",
            check=False,
            timeout=_SLOWEST,
        )
        if done.returncode:
            raise RuntimeError(
                f"buildah {' '.join(map(str, words))}: exit {done.returncode}\n{done.stdout}{done.stderr}"
            )
        return done.stdout.strip()


@contextlib.contextmanager
def builder(folder: Path, bases: Sequence[Base]) -> Iterator[Builder]:
    """Have a builder that knows these bases by ``localhost/NAME``."""
    for base in bases:
        _unpack(base, folder)
    found = Builder([*_storage(folder / "layers", folder), f"--storage-opt=overlay.imagestore={_IMAGES}"])
    try:
        yield found
    finally:
        unmount(folder / "layers")


def _unpack(base: Base, folder: Path) -> None:
    """Make an image of a base's file, unless there is one of just this file."""
    stamp = _IMAGES / f"{base.name}.stamp"
    made = str(base.make().stat().st_mtime_ns)
    if stamp.exists() and stamp.read_text(encoding="utf-8") == made:
        return
    kept = Builder(_storage(_IMAGES, folder))
    try:
        container = kept.run("from", "scratch")
        kept.run("add", "--quiet", container, base.file, "/")
        kept.run("config", "--env", f"PATH={_PATH}", container)
        kept.run("commit", "--quiet", "--rm", container, f"localhost/{base.name}")
    finally:
        unmount(_IMAGES)
    stamp.write_text(made, encoding="utf-8")


def _storage(root: Path, folder: Path) -> list[str]:
    return ["buildah", "--root", str(root), "--runroot", str(folder / "run"), "--storage-driver", "overlay"]
