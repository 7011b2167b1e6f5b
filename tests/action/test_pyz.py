"""The packaged file: what the sources and the pinned wheels make, byte for byte, and nothing else."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGED = ROOT / "dist" / "registry_client.pyz"
REBUILD = "dist/registry_client.pyz is not what the sources build: run `make package` and commit it"
PYTHONS = ("3.10", "3.11", "3.12", "3.13", "3.14")


@pytest.fixture(scope="module")
def builder() -> ModuleType:
    """packaging/build_pyz.py."""
    spec = importlib.util.spec_from_file_location("build_pyz", ROOT / "packaging" / "build_pyz.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def wheels(builder: ModuleType) -> Path:
    """The pinned wheels, where the package index can be reached."""
    try:
        folder: Path = builder.download_wheels(ROOT / "build")
    except subprocess.CalledProcessError as error:
        pytest.skip(f"the pinned wheels cannot be had: pip exited {error.returncode}")
    return folder


def pythons() -> Iterator[Path]:
    """Every Python on this machine that the Action may meet, those included that pyenv keeps."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    for version in PYTHONS:
        kept = [str(path) for path in sorted(pyenv.glob(f"{version}.*/bin/python{version}"))]
        for each in (shutil.which(f"python{version}"), *kept):
            if each and subprocess.run([each, "-c", ""], capture_output=True, check=False).returncode == 0:
                yield Path(each)
                break


def test_it_holds_our_sources_as_they_are(builder: ModuleType) -> None:
    """Even where the wheels cannot be had: each of our modules, and none that is gone."""
    with zipfile.ZipFile(PACKAGED) as archive:
        packaged = {
            name: archive.read(name) for name in archive.namelist() if name.startswith("registry_client/")
        }
        licence = archive.read("LICENSE")
    sources = {name: content for name, content in builder.sources().items() if name != "LICENSE"}
    assert packaged == sources, REBUILD
    assert licence == (ROOT / "LICENSE").read_bytes()


def test_it_is_what_the_sources_build(builder: ModuleType, wheels: Path, tmp_path: Path) -> None:
    """Byte for byte, so whoever reads the sources has read the file."""
    builder.build(tmp_path / "again.pyz", wheels)
    assert (tmp_path / "again.pyz").read_bytes() == PACKAGED.read_bytes(), REBUILD


def test_every_python_builds_the_same(wheels: Path, tmp_path: Path) -> None:
    """Whichever Python, umask and time zone, the bytes are the same."""
    program = (
        "import os, sys, pathlib; os.umask(0o077); sys.path.insert(0, 'packaging'); import build_pyz; "
        "build_pyz.build(*map(pathlib.Path, sys.argv[1:]))"
    )
    for python in pythons():
        into = tmp_path / f"{python.name}.pyz"
        command = [str(python), "-B", "-c", program, str(into), str(wheels)]
        subprocess.run(command, cwd=ROOT, env={**os.environ, "TZ": "Asia/Tokyo"}, check=True)
        assert into.read_bytes() == PACKAGED.read_bytes(), f"{python}: {REBUILD}"


def test_it_holds_nothing_compiled_and_every_licence() -> None:
    """Plain Python for every system, and who wrote it under which terms."""
    with zipfile.ZipFile(PACKAGED) as archive:
        names = archive.namelist()
        assert all(info.compress_type == zipfile.ZIP_STORED for info in archive.infolist())
    assert names == sorted(names)
    code = [name for name in names if "dist-info" not in name and "/build_contexts/" not in name]
    assert {name.rpartition(".")[2] for name in code} == {"py", "pem", "LICENSE"}
    distributions = {name.split("/")[0] for name in names if ".dist-info/" in name}
    assert {name.split("-")[0] for name in distributions} == {"certifi", "urllib3"}
    for each in distributions:
        assert any(name.startswith(f"{each}/") and "LICENSE" in name.upper() for name in names), each


@pytest.mark.parametrize("python", list(pythons()), ids=lambda python: python.name)
def test_it_starts_on_every_python(python: Path, tmp_path: Path) -> None:
    """Alone: nothing beside it, in the environment or in the working directory gets in."""
    for name in ("requests", "json", "registry_client"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('shadowed')", encoding="utf-8")
    done = subprocess.run(
        [python, "-I", "-X", "utf8", "-W", "error", PACKAGED, "--version"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("handoff ")


def test_it_brings_its_own_certificates(tmp_path: Path) -> None:
    """Its TLS works from inside the file, where a bare Python has no certifi."""
    program = (
        f"import sys; sys.path.insert(0, {str(PACKAGED)!r}); import certifi, ssl; "
        "print(certifi.__file__); ssl.create_default_context(cafile=certifi.where())"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", program],
        cwd=tmp_path,
        capture_output=True,
        encoding="utf-8",
        check=True,
    )
    assert done.stdout.startswith(str(PACKAGED))
