"""Base images made of Debian's packages: no hub of images has to be reached.  Each is kept as a tar file."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
KEPT = ROOT / ".tools" / "e2e"
_TRUST = Path("/etc/ssl/certs/ca-certificates.crt")
_LEFT_OUT = ("doc", "locale", "info")  # Java does not install without the folders of man pages.
_SITE = "/opt/venv/lib/python3.11/site-packages"
_PIP = "install --quiet --no-deps --no-compile --only-binary=:all: --disable-pip-version-check"


@dataclass(frozen=True)
class Base:
    """What stands in for an image of a hub.

    Attributes:
        stands_for: The image, without tag and digest.
        packages: Of Debian 12.
        wheels: From PyPI, without what they ask for: Debian's packages have that.
        unneeded: What the packages bring and a server does not use: files, from the root.
    """

    name: str
    stands_for: str
    packages: Sequence[str]
    wheels: Sequence[str] = ()
    unneeded: Sequence[str] = ()

    @property
    def file(self) -> Path:
        """Where it is kept."""
        return KEPT / f"{self.name}.tar"

    def make(self) -> Path:
        """The file, made unless it is there."""
        if not self.file.exists():
            KEPT.mkdir(parents=True, exist_ok=True)
            new = self.file.with_suffix(".new.tar")
            done = subprocess.run(
                ["mmdebstrap", *self._options(), "bookworm", new],
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                encoding="utf-8",
                check=False,
            )
            if done.returncode:
                raise RuntimeError(f"mmdebstrap could not make {self.name}:\n{done.stdout[-3000:]}")
            new.rename(self.file)
        return self.file

    def _options(self) -> list[str]:
        included = ",".join(("python3", "python3-venv", "ca-certificates", *self.packages))
        return [
            "--variant=minbase",
            "--skip=check/empty",
            f"--include={included}",
            *(f"--dpkgopt=path-exclude=/usr/share/{each}/*" for each in _LEFT_OUT),
            *(f"--customize-hook={hook}" for hook in self._hooks()),
        ]

    def _hooks(self) -> list[str]:
        """As the hub's images have it: ``python`` is on the path, and pip may install."""
        conf = ["[global]", f"cert = {_TRUST}"]  # Of this machine: it may be behind a proxy of its own.
        if "PIP_INDEX_URL" in os.environ:
            conf.append(f"index-url = {os.environ['PIP_INDEX_URL']}")
        lines = "\\n".join(conf)
        hooks = [
            'ln -s python3 "$1/usr/bin/python"',
            f'cp {_TRUST} "$1{_TRUST}"',
            f'printf "{lines}\\n" > "$1/etc/pip.conf"',
        ]
        if self.unneeded:
            hooks.append(f"cd \"$1\" && bash -c 'rm -rf {' '.join(self.unneeded)}'")
        if self.wheels:
            hooks += [
                'chroot "$1" python3 -m venv --system-site-packages /opt/venv',
                f'python3 -m pip {_PIP} --target "$1{_SITE}" {" ".join(self.wheels)}',
                f'mv "$1{_SITE}"/bin/* "$1/opt/venv/bin/"',
                'sed -i "1s|.*|#!/opt/venv/bin/python|" "$1"/opt/venv/bin/torch*',
            ]
        return hooks


PYTHON = Base("python", "python", ())
TORCHSERVE = Base(
    "torchserve",
    "pytorch/torchserve",
    (
        "python3-torch",
        "python3-psutil",
        "python3-pil",
        "python3-yaml",
        "python3-packaging",
        "python3-setuptools",
        "python3-wheel",
        "openjdk-17-jre-headless",
        "tini",
    ),
    ("torchserve==0.12.0", "torch-model-archiver==0.12.0"),
    (
        "usr/lib/x86_64-linux-gnu/dri",  # Drivers of graphics cards.
        "usr/lib/x86_64-linux-gnu/lib{LLVM,z3}*",  # What those compile with.
        "usr/lib/x86_64-linux-gnu/mfx",
        "usr/lib/python3/dist-packages/torch/{bin/*[Tt]est*,test}",
        "usr/lib/python3/dist-packages/sympy/*/rubi",
        "usr/share/{proj,gdal,icons,fonts}",
    ),
)
