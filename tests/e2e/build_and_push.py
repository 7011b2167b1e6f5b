"""What docker/build-push-action does with the inputs that our workflows give it, done with buildah."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

_MOST_SHOWN = 200


def main(inputs: Mapping[str, str]) -> int:
    """Build, push, and tell the digest; the exit code is buildah's."""
    buildah = shlex.split(os.environ["E2E_BUILDAH"])
    context = Path(inputs.get("context") or ".")
    file = Path(inputs["file"]) if inputs.get("file") else context / "Dockerfile"
    tags = _lines(inputs["tags"])
    command = [
        *buildah,
        "build",
        "--isolation",
        "chroot",
        "--format",
        "docker",
        "--layers",
        "--network",
        "host",
    ]
    command += [f"--file={file}", *(f"--tag={tag}" for tag in tags)]
    command += [f"--label={each}" for each in _lines(inputs.get("labels"))]
    command += [f"--build-context={each}" for each in _lines(inputs.get("build-contexts"))]
    command += [f"--build-arg={each}" for each in (*_lines(inputs.get("build-args")), *_bases(file))]
    subprocess.run([*command, str(context)], check=True)
    if inputs.get("push") == "true":
        _push(buildah, tags)
    return 0


def _push(buildah: list[str], tags: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        told = Path(folder) / "digest"
        for tag in tags:
            subprocess.run(
                [*buildah, "push", "--quiet", "--tls-verify=false", f"--digestfile={told}", tag], check=True
            )
        with Path(os.environ["GITHUB_OUTPUT"]).open("a", encoding="utf-8") as outputs:
            outputs.write(f"digest={told.read_text(encoding='utf-8')}\n")


def _bases(file: Path) -> Iterator[str]:
    """``BASE=…`` for a Dockerfile whose base is an image of a hub that we have another one for."""
    ours: Mapping[str, str] = json.loads(os.environ["E2E_BASES"])
    for name, image in re.findall(r"^ARG (\w+)=([\w./-]+)", file.read_text(encoding="utf-8"), re.MULTILINE):
        if image in ours:
            yield f"{name}={ours[image]}"


def _lines(text: str | None) -> list[str]:
    return [line.strip() for line in (text or "").splitlines() if line.strip()]


if __name__ == "__main__":
    sys.exit(main(json.loads(sys.argv[1])))
