#!/usr/bin/env python3
"""Build the one file that action.yml runs: our sources and the pinned wheels, the same bytes everywhere."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
REQUIREMENTS = ROOT / "requirements" / "package.txt"
_START = b"""import os
import sys

from registry_client.__main__ import main

sys.exit(main(os.environ, sys.stdout, sys.argv[1:]))
"""
# What an import needs, and what tells whose work it is under which licence.
_KEPT = (".py", ".pem", "METADATA")
_EARLIEST = (1980, 1, 1, 0, 0, 0)  # Zip knows no earlier time.
# Wheels that run on every Python >= 3.10 and every system, of files with the pinned hashes.
_PURE = "--only-binary=:all: --platform=any --implementation=py --abi=none --python-version=3.10"


def build(into: Path, wheels: Path) -> None:
    """Write the file, from the sources in this tree and the wheels in that folder."""
    members = {"__main__.py": _START, **sources()}
    for wheel in sorted(wheels.glob("*.whl")):
        members.update(_of_wheel(wheel))
    into.parent.mkdir(parents=True, exist_ok=True)
    # Stored, not deflated: another zlib makes other bytes, and git compresses by itself.
    with zipfile.ZipFile(into, "w", zipfile.ZIP_STORED) as archive:
        for name, content in sorted(members.items()):
            archive.writestr(_member(name), content)


def sources() -> Mapping[str, bytes]:
    """Our own part of the file, by name."""
    modules = {f"registry_client/{path.name}": path for path in (ROOT / "registry_client").glob("*.py")}
    beside = (ROOT / "registry_client" / "build_contexts").glob("*/*")
    templates = {path.relative_to(ROOT).as_posix(): path for path in beside if path.is_file()}
    files = {**modules, **templates, "LICENSE": ROOT / "LICENSE"}
    return {name: path.read_bytes().replace(b"\r\n", b"\n") for name, path in files.items()}


def download_wheels(cache: Path) -> Path:
    """The pinned wheels, fetched by pip unless they are there; the folder they are in."""
    folder = cache / f"wheels-{hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()[:16]}"
    if not (folder / "complete").exists():
        options = [*_PURE.split(), "--no-deps", "--require-hashes", "--disable-pip-version-check", "--quiet"]
        command = [sys.executable, "-m", "pip", "download", *options, "--dest", str(folder)]
        subprocess.run([*command, "-r", str(REQUIREMENTS)], check=True)  # noqa: S603 - our own words
        (folder / "complete").touch()
    return folder


def _of_wheel(wheel: Path) -> Iterator[tuple[str, bytes]]:
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            licence = ".dist-info/" in name and any(
                word in name.upper() for word in ("LICENSE", "NOTICE", "COPYING")
            )
            if name.endswith(_KEPT) or (licence and not name.endswith("/")):
                yield name, archive.read(name)


def _member(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name, _EARLIEST)
    info.create_system = 3  # Unix, wherever it is built.
    info.external_attr = 0o100644 << 16
    return info


if __name__ == "__main__":
    target = Path(sys.argv[1])
    build(target, download_wheels(ROOT / "build"))
    sys.stdout.write(
        f"{target}: {target.stat().st_size} bytes, sha256 {hashlib.sha256(target.read_bytes()).hexdigest()}\n"
    )
