"""The example for SageMaker: every call is valid to AWS's own SDK, and the server answers as asked there."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import onnx
import pytest
import requests
from botocore.response import StreamingBody
from botocore.stub import Stubber
from onnx import TensorProto, helper

from tests.examples.environments import EXAMPLES, ROOT, loaded

EXAMPLE = EXAMPLES / "sagemaker"
example = loaded(EXAMPLE / "deploy.py")
IMAGE = f"123456789012.dkr.ecr.eu-west-1.amazonaws.com/flower@sha256:{'ab' * 32}"
ROLE = "arn:aws:iam::123456789012:role/sagemaker"
ARN = "arn:aws:sagemaker:eu-west-1:123456789012:endpoint/flower"
NAME = "flower-abababababababab-ml-c7i-large-1"
OLD = "flower-0000000000000000-ml-c7i-large-1"
SAMPLE = {
    "inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [3.0, 1.0]}],
    "outputs": [{"name": "label", "shape": [1], "datatype": "INT64", "data": [0]}],
}
RIGHT = {"outputs": [{"name": "label", "datatype": "INT64", "shape": [1], "data": [0]}]}
WRONG = {"outputs": [{"name": "label", "datatype": "INT64", "shape": [1], "data": [1]}]}
TAGS = [{"Key": "wandb-artifact", "Value": "acme-org/wandb-registry-model/flower:v7"}]


@dataclass(frozen=True)
class Aws:
    """Both APIs: what is asked must be what is expected, in AWS's own terms, in this order and no more."""

    control: Stubber
    runtime: Stubber
    sagemaker: Any

    def shows(self, configuration: str, status: str = "InService", **more: Any) -> None:
        """The endpoint is looked at, and is so."""
        self.control.add_response(
            "describe_endpoint",
            {
                "EndpointName": "flower",
                "EndpointArn": ARN,
                "EndpointConfigName": configuration,
                "EndpointStatus": status,
                "CreationTime": "2026-03-04T05:06:07Z",
                "LastModifiedTime": "2026-03-04T05:06:07Z",
                **more,
            },
            {"EndpointName": "flower"},
        )

    def shows_none(self) -> None:
        """The endpoint is looked at, and there is none, in SageMaker's words."""
        self.control.add_client_error(
            "describe_endpoint",
            "ValidationException",
            f'Could not find endpoint "{ARN}".',
            expected_params={"EndpointName": "flower"},
        )

    def makes(self, *, there: bool = False) -> None:
        """Model and configuration are made, or are there already."""
        model = {
            "ModelName": NAME,
            "PrimaryContainer": {"Image": IMAGE, "Mode": "SingleModel"},
            "ExecutionRoleArn": ROLE,
            "EnableNetworkIsolation": True,
            "Tags": TAGS,
        }
        variant = {
            "VariantName": "model",
            "ModelName": NAME,
            "InstanceType": "ml.c7i.large",
            "InitialInstanceCount": 1,
            "ContainerStartupHealthCheckTimeoutInSeconds": 300,
        }
        configuration = {"EndpointConfigName": NAME, "ProductionVariants": [variant], "Tags": TAGS}
        for call, asked, answer in (
            ("create_model", model, {"ModelArn": ARN}),
            ("create_endpoint_config", configuration, {"EndpointConfigArn": ARN}),
        ):
            if there:
                words = f'Cannot create already existing model "{ARN}".'
                self.control.add_client_error(call, "ValidationException", words, expected_params=asked)
            else:
                self.control.add_response(call, answer, asked)

    def switches(self, configuration: str) -> None:
        """The endpoint is told to serve another configuration, new instances beside the old ones."""
        routing = {"Type": "ALL_AT_ONCE", "WaitIntervalInSeconds": 0}
        policy = {"TrafficRoutingConfiguration": routing, "TerminationWaitInSeconds": 0}
        self.control.add_response(
            "update_endpoint",
            {"EndpointArn": ARN},
            {
                "EndpointName": "flower",
                "EndpointConfigName": configuration,
                "DeploymentConfig": {"BlueGreenUpdatePolicy": policy},
            },
        )

    def creates(self) -> None:
        """The endpoint is made."""
        asked = {"EndpointName": "flower", "EndpointConfigName": NAME, "Tags": TAGS}
        self.control.add_response("create_endpoint", {"EndpointArn": ARN}, asked)

    def answers(self, answer: Mapping[str, Any]) -> None:
        """The sample's question is asked, and this is the answer."""
        body = json.dumps(answer).encode()
        self.runtime.add_response(
            "invoke_endpoint",
            {"Body": StreamingBody(io.BytesIO(body), len(body))},
            {
                "EndpointName": "flower",
                "ContentType": "application/json",
                "Accept": "application/json",
                "Body": json.dumps({"inputs": SAMPLE["inputs"]}).encode(),
            },
        )


@pytest.fixture
def aws() -> Iterator[Aws]:
    """AWS's SDK, which validates each request and answer by its own description, and sends nothing."""
    with contextmanager(_clients)() as (control, runtime), Stubber(control) as one, Stubber(runtime) as other:
        sagemaker = example.SageMaker(control, runtime, sleep=lambda _: None, looks=3)
        yield Aws(one, other, sagemaker)
        one.assert_no_pending_responses()
        other.assert_no_pending_responses()


def _clients() -> Iterator[tuple[Any, Any]]:
    keys = {"aws_access_key_id": "AKIA0", "aws_secret_access_key": "none", "region_name": "eu-west-1"}
    clients = [boto3.client(name, **keys) for name in ("sagemaker", "sagemaker-runtime")]
    yield clients[0], clients[1]
    for client in clients:
        client.close()


def release(**changes: Any) -> Any:
    """Version v7 for the endpoint flower."""
    tags = {"wandb-artifact": "acme-org/wandb-registry-model/flower:v7", "run": ""}
    values = {
        "endpoint": "flower",
        "image": IMAGE,
        "role": ROLE,
        "instance": "ml.c7i.large",
        "instances": 1,
        "tags": tags,
    }
    return example.Release(**(values | changes))


def test_the_first_release_makes_the_endpoint(aws: Aws) -> None:
    """
    Where there is no endpoint it is made, waited for and asked.
    """
    aws.shows_none()
    aws.makes()
    aws.creates()
    aws.shows(NAME, "Creating")
    aws.shows(NAME)
    aws.answers(RIGHT)

    assert example.deploy(release(), aws.sagemaker, SAMPLE) == ""


def test_the_next_release_takes_over(aws: Aws) -> None:
    """
    A rollout that is under way is waited for; then the endpoint moves, and is asked.
    """
    aws.shows(OLD, "Updating")
    aws.shows(OLD)
    aws.makes()
    aws.switches(NAME)
    aws.shows(NAME, "Updating")
    aws.shows(NAME)
    aws.answers(RIGHT)

    assert example.deploy(release(), aws.sagemaker, SAMPLE) == OLD


def test_a_repeated_run_makes_nothing_twice(aws: Aws) -> None:
    """
    What is there under its name is as good as made; an endpoint that serves it is only asked.
    """
    aws.shows(NAME)
    aws.shows(NAME)
    aws.makes(there=True)
    aws.shows(NAME)
    aws.answers(RIGHT)

    assert example.deploy(release(), aws.sagemaker, SAMPLE) == NAME


def test_a_release_that_predicts_wrongly_is_taken_back(aws: Aws) -> None:
    """
    It is in service, but does not say what its sample says: what served before serves again.
    """
    aws.shows(OLD)
    aws.shows(OLD)
    aws.makes()
    aws.switches(NAME)
    aws.shows(NAME)
    aws.answers(WRONG)
    aws.shows(NAME)
    aws.switches(OLD)
    aws.shows(OLD)

    with pytest.raises(example.DeployError, match=rf"label: got \[1\], want \[0\].*; {OLD} serves again"):
        example.deploy(release(), aws.sagemaker, SAMPLE)


def test_sagemakers_own_way_back_is_told(aws: Aws) -> None:
    """
    A container that never answers: SageMaker keeps the old one, and its reason is in the message.
    """
    aws.shows(OLD)
    aws.shows(OLD)
    aws.makes()
    aws.switches(NAME)
    aws.shows(OLD, FailureReason="The container did not pass the ping health check.")
    aws.shows(OLD)

    with pytest.raises(
        example.DeployError, match=rf"ping health check.*SageMaker went back to {OLD} by itself"
    ):
        example.deploy(release(), aws.sagemaker, SAMPLE)


def test_an_endpoint_that_never_served_is_made_anew(aws: Aws) -> None:
    """
    With a failed endpoint nothing can be done but to delete it, which loses nothing.
    """
    aws.shows(OLD, "Failed")
    aws.shows(OLD, "Failed")
    aws.control.add_response("delete_endpoint", {}, {"EndpointName": "flower"})
    aws.shows(OLD, "Deleting")
    aws.shows_none()
    aws.makes()
    aws.creates()
    aws.shows(NAME)
    aws.answers(RIGHT)

    assert example.deploy(release(), aws.sagemaker, SAMPLE) == ""


def test_one_that_does_not_settle_is_left_alone(aws: Aws) -> None:
    """
    Nothing is switched while something moves; the message says that somebody must look.
    """
    aws.shows(OLD)
    aws.shows(OLD)
    aws.makes()
    aws.switches(NAME)
    for _ in range(3 + 1):
        aws.shows(OLD, "Updating")

    with pytest.raises(example.DeployError, match=r"still Updating.*left alone: look at the endpoint now"):
        example.deploy(release(), aws.sagemaker, SAMPLE)


@pytest.mark.parametrize("image", ["flower:v7", "flower@sha256:abc", "flower:latest@sha1:00"])
def test_an_image_that_may_be_another_tomorrow_is_refused(aws: Aws, image: str) -> None:
    """
    Only a digest says what will run.
    """
    aws.shows_none()

    with pytest.raises(example.DeployError, match="want an image by its digest"):
        example.deploy(release(image=image), aws.sagemaker, SAMPLE)


def test_names_fit_and_tags_are_in_letters_that_aws_takes() -> None:
    """
    A long endpoint's release has a name of 63 letters that ends in what makes it unique.
    """
    long = release(endpoint="a-" * 31 + "b", tags={"wandb-artifact": "acme/x/Nature é?:v1", "none": ""})

    assert re.fullmatch(r"[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}", long.name)
    assert long.name.endswith("-abababababababab-ml-c7i-large-1")
    assert long.tag_list == [{"Key": "wandb-artifact", "Value": "acme/x/Nature __:v1"}]


def test_the_instance_is_one_that_sagemaker_has() -> None:
    """
    AWS's own list of instances for endpoints has the default.
    """
    with contextmanager(_clients)() as (control, _):
        shape = control.meta.service_model.shape_for("ProductionVariantInstanceType")

    assert example.parser().get_default("instance") in shape.enum


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A model that says which of two numbers is larger, and its sample."""
    graph = helper.make_graph(
        [helper.make_node("ArgMax", ["x"], ["label"], axis=1, keepdims=0)],
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["rows", 2])],
        [helper.make_tensor_value_info("label", TensorProto.INT64, ["rows"])],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(made, tmp_path / "model.onnx")
    (tmp_path / "sample.json").write_text(json.dumps(SAMPLE), encoding="utf-8")
    return tmp_path


@contextmanager
def serving(model: Path) -> Iterator[str]:
    """The server of the image, on a port that the kernel chooses."""
    template = ROOT / "registry_client" / "build_contexts" / "onnx"
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    environ = kept | {"MODEL_DIR": str(model), "MODEL_VERSION": "v7", "PYTHONPATH": str(template)}
    command = [sys.executable, "-m", "uvicorn", "invocations:app", "--port", "0"]
    with subprocess.Popen(
        command,
        cwd=EXAMPLE / "serving",
        env=environ | {"PYTHONUNBUFFERED": "1", "PYTHONDONTWRITEBYTECODE": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        try:
            log = ""
            assert process.stdout is not None
            for line in process.stdout:
                log += line
                if found := re.search(r"running on (http://127\.0\.0\.1:\d+)", line):
                    yield found[1]
                    break
            else:
                pytest.fail(log)
        finally:
            process.terminate()


def test_the_server_answers_as_sagemaker_asks(model: Path) -> None:
    """
    GET /ping is 200 once the model is proven, and POST /invocations gives what deploy.py compares.
    """
    with serving(model) as address:
        ping = requests.get(f"{address}/ping", timeout=10)
        asked = {"inputs": SAMPLE["inputs"]}
        answer = requests.post(f"{address}/invocations", json=asked, timeout=10).json()

    assert ping.status_code == 200
    assert {each["name"]: each["data"] for each in answer["outputs"]} == {"label": [0]}
    assert answer["model_version"] == "v7"
