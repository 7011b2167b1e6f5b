#!/usr/bin/env python3
"""Roll an image out to Kubernetes; where it does not predict, go back to the version before, and say why.

Needs kubectl 1.27 or newer with a kubeconfig for the namespace, and Python's standard library alone.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import secrets
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DEPLOYMENT = "model-server"
IMAGE = "model-server"  # The placeholder in the manifests.
ARTIFACT = "io.github.wandb-handoff/artifact"
_REVISION = "deployment.kubernetes.io/revision"
_LINES = 20
_OURS = ("--server-side", "--force-conflicts", "--field-manager=handoff")


class RolloutError(Exception):
    """It was not rolled out; the message says why, and what runs now."""


class Kubectl:
    """The program, with one namespace."""

    def __init__(self, namespace: str, program: str = "kubectl") -> None:
        self._command = (program, "--namespace", namespace)

    def run(self, *arguments: str, stdin: str | None = None) -> str:
        """Its output; a RolloutError with its own words when it fails."""
        done = subprocess.run(  # noqa: S603 - arguments as a list, no shell
            [*self._command, *arguments], input=stdin, capture_output=True, encoding="utf-8", check=False
        )
        if done.returncode != 0:
            raise RolloutError(f"kubectl {arguments[0]}: {(done.stderr or done.stdout).strip()}")
        return done.stdout

    def one(self, kind: str, name: str) -> Any:
        """That object; None where it does not exist."""
        told = self.run("get", kind, name, "--ignore-not-found", "--output=json")
        return json.loads(told) if told.strip() else None

    def all(self, kind: str, selector: str) -> list[Any]:
        """The objects that are so."""
        found: list[Any] = json.loads(self.run("get", kind, selector, "--output=json"))["items"]
        return found


@dataclass(frozen=True)
class Release:
    """What is to run.

    Attributes:
        image: ``NAME@sha256:…``; a tag could mean another image tomorrow.
        artifact: Which version of the model is in it, for ``kubectl rollout history``.
    """

    image: str
    artifact: str

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[^@\s]+@sha256:[0-9a-f]{64}", self.image):
            raise RolloutError(f"want the image as NAME@sha256:DIGEST, got {self.image!r}")

    def kustomization(self, overlay: str) -> str:
        """The overlay with this image in it, as kustomize reads it: JSON is YAML."""
        name, digest = self.image.split("@")
        return json.dumps(
            {
                "apiVersion": "kustomize.config.k8s.io/v1beta1",
                "kind": "Kustomization",
                "resources": [f"../{overlay}"],
                "images": [{"name": IMAGE, "newName": name, "digest": digest}],
                "commonAnnotations": {ARTIFACT: self.artifact, "kubernetes.io/change-cause": self.artifact},
            }
        )


def roll_out(release: Release, overlay: Path, kubectl: Kubectl, timeout: int) -> None:
    """Apply the overlay with the release's image, and wait until every replica predicts.

    Raises:
        RolloutError: They do not; what ran before is running again, or nothing was changed at all.
    """
    manifests = rendered(release, overlay, kubectl)
    kubectl.run("apply", *_OURS, "--dry-run=server", "--filename=-", stdin=manifests)
    before = revision(kubectl)
    kubectl.run("apply", *_OURS, "--filename=-", stdin=manifests)
    try:
        wait(kubectl, timeout)
    except RolloutError as error:
        why = "\n".join([str(error), *symptoms(release.image, kubectl)])
        raise RolloutError(f"{why}\n{gone_back(before, kubectl, timeout)}") from error


def rendered(release: Release, overlay: Path, kubectl: Kubectl) -> str:
    """All manifests, with the image and its digest."""
    # Beside the overlay, because kustomize takes relative paths only.
    with tempfile.TemporaryDirectory(dir=overlay.parent, prefix="release-") as folder:
        file = Path(folder) / "kustomization.yaml"
        file.write_text(release.kustomization(overlay.name), encoding="utf-8")
        return kubectl.run("kustomize", folder)


def revision(kubectl: Kubectl) -> str | None:
    """The Deployment's revision now; None where there is no Deployment yet."""
    found = kubectl.one("deployment", DEPLOYMENT)
    return None if found is None else found["metadata"]["annotations"].get(_REVISION)


def wait(kubectl: Kubectl, timeout: int) -> None:
    """Return when all replicas run the newest revision and predict."""
    kubectl.run("rollout", "status", f"deployment/{DEPLOYMENT}", f"--timeout={timeout}s")


def gone_back(before: str | None, kubectl: Kubectl, timeout: int) -> str:
    """Take the Deployment to that revision, and say what runs now."""
    if before is None:
        return "No version ran before this one, so it is left as it is, for you to look at."
    if revision(kubectl) == before:
        return "It is the same image that ran before, so there is nothing to go back to."
    kubectl.run("rollout", "undo", f"deployment/{DEPLOYMENT}", f"--to-revision={before}")
    runs = kubectl.one("deployment", DEPLOYMENT)["spec"]["template"]["metadata"].get("annotations", {})
    name = runs.get(ARTIFACT, "the version before")
    try:
        wait(kubectl, timeout)
    except RolloutError as error:
        return f"Rolled back to {name}, but that is not complete: {error}"
    return f"Rolled back: {name} serves, as it did all the time."


def symptoms(image: str, kubectl: Kubectl) -> Iterator[str]:
    """What the new pods, their events and their logs say."""
    for pod in kubectl.all("pods", f"--selector=app.kubernetes.io/name={DEPLOYMENT}"):
        if pod["spec"]["containers"][0]["image"] != image:
            continue
        name = pod["metadata"]["name"]
        events = kubectl.all("events", f"--field-selector=involvedObject.name={name},type=Warning")
        yield f"{name}: {state(pod)}"
        yield from (f"  {line}" for event in events[-3:] for line in event.get("message", "").splitlines())
        try:
            log = kubectl.run("logs", name, f"--tail={_LINES}")
        except RolloutError as error:  # It has not started, say.
            log = str(error)
        yield from (f"  | {line}" for line in log.splitlines())
        return


def state(pod: Any) -> str:
    """Why it does not serve, in Kubernetes' own words."""
    for container in pod.get("status", {}).get("containerStatuses", ()):
        why = container.get("state", {}).get("waiting") or container.get("lastState", {}).get("terminated")
        if why:
            return f"{why.get('reason', 'waiting')} {why.get('message', '')}".strip()
    return f"{pod.get('status', {}).get('phase', 'Unknown')}, but not ready"


def told(text: str) -> None:
    """To the log, and to the step summary on GitHub; others' words in it are words there, nothing else."""
    if os.environ.get("GITHUB_ACTIONS"):
        token = secrets.token_hex(16)
        sys.stdout.write(f"::stop-commands::{token}\n{text}\n::{token}::\n")
    else:
        sys.stdout.write(f"{text}\n")
    if summary := os.environ.get("GITHUB_STEP_SUMMARY"):
        with Path(summary).open("a", encoding="utf-8") as file:
            file.writelines(f"    {line}\n" for line in ("", *text.splitlines(), ""))


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit 0 when the image serves, 1 when it does not."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--image", required=True, help="NAME@sha256:DIGEST")
    parser.add_argument("--artifact", required=True, help="which version of the model is in it")
    parser.add_argument("--overlay", required=True, type=Path, help="like kubernetes/overlays/production")
    parser.add_argument("--namespace", default="models")
    parser.add_argument("--timeout", type=int, default=300, metavar="SECONDS")
    given = parser.parse_args(arguments)
    try:
        release = Release(given.image, given.artifact)
        roll_out(release, given.overlay.resolve(), Kubectl(given.namespace), given.timeout)
    except RolloutError as error:
        told(f"Not rolled out: {given.artifact}\n{error}")
        sys.stdout.write("::error title=Rollout::The new version does not serve; the log says why.\n")
        return 1
    told(f"{given.artifact} serves, as {given.image}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
