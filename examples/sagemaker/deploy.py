"""Put an image behind a SageMaker endpoint; where it does not predict, go back, and say why."""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError

VARIANT = "model"
LONGEST_NAME = 63
SETTLED = {"InService", "Failed", "OutOfService", "UpdateRollbackFailed"}


class DeployError(Exception):
    """The new model does not serve; what served before does, unless the message says otherwise."""


@dataclass(frozen=True)
class Release:
    """One image for one endpoint.

    Attributes:
        image: In ECR, by its digest: ``….amazonaws.com/name@sha256:…``.
        role: ARN of the role that the container runs as.
        tags: For people, and for bills: the artifact, the run.
    """

    endpoint: str
    image: str
    role: str
    instance: str
    instances: int
    tags: Mapping[str, str]

    @property
    def name(self) -> str:
        """Of model and configuration: it follows from the content, so nothing is made twice."""
        match = re.fullmatch(r"[^@\s]+@sha256:([0-9a-f]{64})", self.image)
        if match is None:
            raise DeployError(f"want an image by its digest, name@sha256:…, got {self.image!r}")
        rest = f"-{match.group(1)[:16]}-{self.instance.replace('.', '-')}-{self.instances}"
        return f"{self.endpoint[: LONGEST_NAME - len(rest)].rstrip('-')}{rest}"

    @property
    def tag_list(self) -> list[dict[str, str]]:
        """The tags as AWS takes them: in its letters, and not too long."""
        kept = {
            key: re.sub(r"[^\w .:/=+@-]", "_", value, flags=re.ASCII)[:256]
            for key, value in self.tags.items()
        }
        return [{"Key": key, "Value": value} for key, value in kept.items() if value]


@dataclass(frozen=True)
class SageMaker:
    """Both of its APIs, and how to wait."""

    control: Any
    runtime: Any
    sleep: Callable[[float], None] = time.sleep
    looks: int = 120
    seconds: float = 15.0

    def describe(self, endpoint: str) -> Mapping[str, Any] | None:
        """The endpoint as it is; None where there is none."""
        try:
            found: Mapping[str, Any] = self.control.describe_endpoint(EndpointName=endpoint)
        except ClientError as error:
            if "Could not find endpoint" in str(error):
                return None
            raise
        return found

    def settled(self, endpoint: str) -> Mapping[str, Any]:
        """The endpoint once nothing moves any more."""
        status = ""
        for _ in range(self.looks):
            found = self.describe(endpoint)
            if found is None:
                raise DeployError(f"the endpoint {endpoint} is gone")
            status = found["EndpointStatus"]
            if status in SETTLED:
                return found
            self.sleep(self.seconds)
        raise DeployError(f"the endpoint {endpoint} is still {status}; look at it in the console")

    def gone(self, endpoint: str) -> None:
        """Wait until there is no such endpoint any more."""
        for _ in range(self.looks):
            if self.describe(endpoint) is None:
                return
            self.sleep(self.seconds)
        raise DeployError(f"the failed endpoint {endpoint} is still there; delete it")

    def predict(self, endpoint: str, question: bytes) -> bytes:
        """One answer of the endpoint."""
        answer = self.runtime.invoke_endpoint(
            EndpointName=endpoint, ContentType="application/json", Accept="application/json", Body=question
        )
        body: bytes = answer["Body"].read()
        return body


def deploy(release: Release, sagemaker: SageMaker, sample: Mapping[str, Any]) -> str:
    """Serve this release, proven by a prediction; return what was served before, or nothing."""
    before = current(release.endpoint, sagemaker)
    make(release, sagemaker)
    if before is None:
        sagemaker.control.create_endpoint(
            EndpointName=release.endpoint, EndpointConfigName=release.name, Tags=release.tag_list
        )
    elif before["EndpointConfigName"] != release.name or before["EndpointStatus"] != "InService":
        switch(release.endpoint, release.name, sagemaker)
    served = "" if before is None else str(before["EndpointConfigName"])
    try:
        check(release, sagemaker, sample)
    except DeployError as error:
        raise DeployError(f"{error}; {go_back(release, served, sagemaker)}") from error
    return served


def current(endpoint: str, sagemaker: SageMaker) -> Mapping[str, Any] | None:
    """The endpoint once no other rollout is under way; None where there is none, or none that can serve."""
    if sagemaker.describe(endpoint) is None:
        return None
    found = sagemaker.settled(endpoint)
    if found["EndpointStatus"] != "Failed":
        return found
    sagemaker.control.delete_endpoint(EndpointName=endpoint)  # Nothing else can be done with a failed one.
    sagemaker.gone(endpoint)
    return None


def make(release: Release, sagemaker: SageMaker) -> None:
    """Make model and configuration, unless they are there."""
    container = {"Image": release.image, "Mode": "SingleModel"}
    variant = {
        "VariantName": VARIANT,
        "ModelName": release.name,
        "InstanceType": release.instance,
        "InitialInstanceCount": release.instances,
        "ContainerStartupHealthCheckTimeoutInSeconds": 300,
    }
    unless_there(
        sagemaker.control.create_model,
        ModelName=release.name,
        PrimaryContainer=container,
        ExecutionRoleArn=release.role,
        EnableNetworkIsolation=True,  # All that the model needs is in its image.
        Tags=release.tag_list,
    )
    unless_there(
        sagemaker.control.create_endpoint_config,
        EndpointConfigName=release.name,
        ProductionVariants=[variant],
        Tags=release.tag_list,
    )


def unless_there(create: Callable[..., Any], **arguments: Any) -> None:
    """Create it; that it is there already is as good, for its name says what it is."""
    try:
        create(**arguments)
    except ClientError as error:
        if "already existing" not in str(error):
            raise


def switch(endpoint: str, configuration: str, sagemaker: SageMaker) -> None:
    """Start new instances beside the old ones, and move over when they answer: no request is lost."""
    sagemaker.control.update_endpoint(
        EndpointName=endpoint,
        EndpointConfigName=configuration,
        DeploymentConfig={
            "BlueGreenUpdatePolicy": {
                "TrafficRoutingConfiguration": {"Type": "ALL_AT_ONCE", "WaitIntervalInSeconds": 0},
                "TerminationWaitInSeconds": 0,
            }
        },
    )


def check(release: Release, sagemaker: SageMaker, sample: Mapping[str, Any]) -> None:
    """It serves this release, and predicts what the model's own sample says."""
    now = sagemaker.settled(release.endpoint)
    if now["EndpointStatus"] != "InService" or now["EndpointConfigName"] != release.name:
        told = now.get("FailureReason", "SageMaker gives no reason")
        raise DeployError(f"{release.name} did not come into service ({now['EndpointStatus']}): {told}")
    try:
        answer = json.loads(
            sagemaker.predict(release.endpoint, json.dumps({"inputs": sample["inputs"]}).encode())
        )
        found = {each["name"]: each["data"] for each in answer["outputs"]}
    except (ClientError, BotoCoreError, ValueError, KeyError, TypeError) as error:
        raise DeployError(f"{release.name} does not predict: {error}") from error
    for wanted in sample.get("outputs", ()):
        if not close(found.get(wanted["name"]), wanted["data"]):
            got = found.get(wanted["name"])
            raise DeployError(f"{wanted['name']}: got {got}, want {wanted['data']} as sample.json says")


def close(got: Any, want: Any) -> bool:
    """The same, up to the rounding of another processor."""
    if isinstance(want, list):
        return isinstance(got, list) and len(got) == len(want) and all(map(close, got, want))
    if isinstance(want, float):
        return isinstance(got, (int, float)) and abs(got - want) <= 1e-5 + 1e-3 * abs(want)
    return bool(got == want)


def go_back(release: Release, served: str, sagemaker: SageMaker) -> str:
    """Serve what was served before, and say how that went."""
    now = sagemaker.describe(release.endpoint)
    if not served or served == release.name:
        return "nothing else was served before, so there is nothing to go back to"
    if now is not None and now["EndpointConfigName"] == served and now["EndpointStatus"] == "InService":
        return f"SageMaker went back to {served} by itself"
    if now is None or now["EndpointStatus"] not in SETTLED:
        return "and it is not settled, so it was left alone: look at the endpoint now"
    switch(release.endpoint, served, sagemaker)
    found = sagemaker.settled(release.endpoint)
    if found["EndpointStatus"] == "InService" and found["EndpointConfigName"] == served:
        return f"{served} serves again"
    return f"and {served} does not come back ({found['EndpointStatus']}): look at the endpoint now"


def main(arguments: Sequence[str], environ: Mapping[str, str]) -> None:
    """Deploy, tell the steps after this one, and end with the reason where it fails."""
    args = parser().parse_args(arguments)
    tags = {"wandb-artifact": args.artifact, "wandb-digest": args.digest, "run": args.run}
    release = Release(args.endpoint, args.image, args.role, args.instance, args.instances, tags)
    sagemaker = SageMaker(boto3.client("sagemaker"), boto3.client("sagemaker-runtime"))
    sample = json.loads(args.sample.read_text(encoding="utf-8"))
    try:
        served = deploy(release, sagemaker, sample)
    except (DeployError, ClientError, BotoCoreError) as error:
        tell(environ, "GITHUB_STEP_SUMMARY", f"### Not deployed\n\n{plain(str(error))}\n")
        raise SystemExit(f"not deployed: {error}") from error
    tell(environ, "GITHUB_OUTPUT", f"configuration={release.name}\nbefore={served}\n")
    rows = {
        "Endpoint": release.endpoint,
        "Serves": release.name,
        "Before": served or "nothing",
        "Image": release.image,
    }
    table = "".join(f"| {name} | {plain(value)} |\n" for name, value in rows.items())
    tell(environ, "GITHUB_STEP_SUMMARY", f"### Deployed\n\n| | |\n|-|-|\n{table}")


def parser() -> argparse.ArgumentParser:
    """The command line; region and credentials come from the environment, as boto3 finds them."""
    known = argparse.ArgumentParser(description=__doc__)
    known.add_argument("--endpoint", required=True)
    known.add_argument("--image", metavar="NAME@DIGEST", required=True)
    known.add_argument("--role", metavar="ARN", required=True)
    known.add_argument(
        "--sample", metavar="FILE", type=Path, required=True, help="the model's own sample.json"
    )
    known.add_argument("--instance", metavar="TYPE", default="ml.c7i.large")
    known.add_argument("--instances", metavar="N", type=int, default=1)
    known.add_argument("--artifact", default="")
    known.add_argument("--digest", default="")
    known.add_argument("--run", metavar="URL", default="")
    return known


def plain(text: str) -> str:
    """Others' words as code, in a cell of a table too."""
    return f"`{' '.join(text.split()).replace('`', '_').replace('|', '_')}`"


def tell(environ: Mapping[str, str], file: str, text: str) -> None:
    """Add to one of the runner's files; outside a workflow, print it."""
    if file in environ:
        with Path(environ[file]).open("a", encoding="utf-8") as out:
            out.write(text)
    else:
        sys.stdout.write(text)


if __name__ == "__main__":
    main(sys.argv[1:], os.environ)
