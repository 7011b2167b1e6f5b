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


def main(inputs: Mapping[str, str]) -> int:
    """Build, push, and tell the digest; the exit code is buildah's."""
    buildah = shlex.split(os.environ["E2E_BUILDAH"])
    context = Path(inputs.get("context") or ".")
    file = Path(inputs["file"]) if inputs.get("file") else context / "Dockerfile"
    tags = _lines(inputs["tags"])
    contexts = _lines(inputs.get("build-contexts"))
    dockerfile = _dockerfile(file.read_text(encoding="utf-8"), {each.partition("=")[0] for each in contexts})
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
    command += ["--file=-", *(f"--tag={tag}" for tag in tags)]
    command += [f"--label={each}" for each in _lines(inputs.get("labels"))]
    command += [f"--build-context={each}" for each in contexts]
    command += [f"--build-arg={each}" for each in (*_lines(inputs.get("build-args")), *_bases(dockerfile))]
    subprocess.run([*command, str(context)], input=dockerfile, encoding="utf-8", check=True)
    if inputs.get("push") == "true":
        _push(buildah, tags)
    return 0


def _push(buildah: list[str], tags: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        told = Path(folder) / "digest"
        for tag in tags:
            words = [
                "push",
                "--quiet",
                "--tls-verify=false",
                f"--digestfile={told}",
                tag,
                f"docker://{_here(tag)}",
            ]
            subprocess.run([*buildah, *words], check=True)
        with Path(os.environ["GITHUB_OUTPUT"]).open("a", encoding="utf-8") as outputs:
            outputs.write(f"digest={told.read_text(encoding='utf-8')}\n")


def _here(tag: str) -> str:
    """The registry of this machine that stands in for the one in the tag."""
    host, _, rest = tag.partition("/")
    registries: Mapping[str, str] = json.loads(os.environ["E2E_REGISTRIES"])
    return f"{registries.get(host, host)}/{rest}"


def _dockerfile(text: str, contexts: set[str]) -> str:
    """As BuildKit reads it: a stage that a context takes the place of is not built.

    And a stage that only installs what a base of ours has already (``E2E_STAGES``) is that base.
    """
    ours: Mapping[str, str] = json.loads(os.environ["E2E_STAGES"])
    stages = re.split(r"(?m)^(?=FROM )", text)
    kept = [stages[0]]
    for stage in stages[1:]:
        named = re.match(r"FROM \S+ AS (\S+)", stage)
        if named is not None and named[1] in ours:
            kept.append(f"FROM {ours[named[1]]} AS {named[1]}\n")
        elif named is None or named[1] not in contexts:
            kept.append(stage)
    return "".join(kept)


def _bases(dockerfile: str) -> Iterator[str]:
    """``BASE=…`` for a Dockerfile whose base is an image of a hub that we have another one for."""
    ours: Mapping[str, str] = json.loads(os.environ["E2E_BASES"])
    for name, image in re.findall(r"^ARG (\w+)=([\w./-]+)", dockerfile, re.MULTILINE):
        if image in ours:
            yield f"{name}={ours[image]}"


def _lines(text: str | None) -> list[str]:
    return [line.strip() for line in (text or "").splitlines() if line.strip()]


if __name__ == "__main__":
    sys.exit(main(json.loads(sys.argv[1])))
