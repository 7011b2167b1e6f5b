"""An environment with exactly what an example's hash-pinned requirements say, as its workflow makes it."""

from __future__ import annotations

import hashlib
import importlib.util
import shutil
import subprocess
import sys
import uuid
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"
_KEPT = ROOT / "build" / "examples"


def python_with(*requirements: Path) -> Path:
    """A Python that has these files' packages; made once, and kept as long as the files stay as they are."""
    content = hashlib.sha256(sys.version.encode())
    for file in requirements:
        content.update(file.read_bytes())
    place = _KEPT / content.hexdigest()[:16]
    if not place.exists():
        _make(place, requirements)
    return place / "bin" / "python"


def _make(place: Path, requirements: Sequence[Path]) -> None:
    _KEPT.mkdir(parents=True, exist_ok=True)
    new = place.with_name(f"new-{uuid.uuid4().hex}")
    subprocess.run([sys.executable, "-m", "venv", new], check=True, capture_output=True)
    files = [word for file in requirements for word in ("--requirement", str(file))]
    install = [*_pip(new / "bin" / "python"), "--quiet", "--require-hashes", "--only-binary=:all:", *files]
    done = subprocess.run(install, capture_output=True, encoding="utf-8", check=False)
    if done.returncode != 0:
        shutil.rmtree(new)
        pytest.skip(f"the example's requirements cannot be had here: {done.stderr.strip()[-300:]}")
    try:
        new.rename(place)
    except OSError:  # Another worker was faster.
        shutil.rmtree(new)


def _pip(python: Path) -> list[str]:
    """What installs for that Python: uv where it is, for pip takes minutes."""
    uv = shutil.which("uv", path=Path(sys.executable).parent)
    return (
        [str(python), "-m", "pip", "install"]
        if uv is None
        else [uv, "pip", "install", "--python", str(python)]
    )


def loaded(file: Path) -> ModuleType:
    """An example's file as a module, though it lies in no package."""
    spec = importlib.util.spec_from_file_location(f"example_{file.stem}", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # Dataclasses look their module up.
    spec.loader.exec_module(module)
    return module
