"""The inputs of report/action.yml."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from registry_client.errors import ConfigurationError
from registry_client.report_inputs import ReportInputs

ACTION: dict[str, Any] = yaml.safe_load(
    (Path(__file__).resolve().parents[2] / "report" / "action.yml").read_text(encoding="utf-8")
)
IMAGE = f"ghcr.io/acme/serving@sha256:{'ab' * 32}"


def read(environ: dict[str, str] | None = None, /, **inputs: str) -> ReportInputs:
    """Read these inputs; those of the runner's defaults beside them."""
    given = {f"HANDOFF_INPUT_{name.upper()}": value for name, value in inputs.items()}
    return ReportInputs.from_env({**(environ or {}), **given})


def test_nothing_given_is_a_success_with_nothing_to_write() -> None:
    """
    Of the event's version.
    """
    inputs = read()

    assert (inputs.artifact, inputs.state, bool(inputs.marks), inputs.receiver) == ("", "success", False, "")
    assert (inputs.environment, inputs.may_dispatch, inputs.summary, inputs.auth) == ("", False, True, None)


def test_lists_come_a_line_each() -> None:
    """
    As a block scalar gives them, with empty lines.
    """
    inputs = read(alias="\ndeployed\n\n eu west \n", metadata="a=1\nb=2 = 3\n", link="wandb-registry-x/Y")

    assert inputs.marks.aliases == ("deployed", "eu west")
    assert inputs.marks.metadata == {"a": "1", "b": "2 = 3"}
    assert [str(each) for each in inputs.marks.links] == ["wandb-registry-x/Y:latest"]


def test_all_others_are_read() -> None:
    """
    In any case that GitHub's expressions may give them.
    """
    inputs = read(
        {"HANDOFF_REPORT_SECRET": "from the environment"},
        state="Cancelled",
        image=IMAGE,
        environment="production",
        environment_url="https://models.example.com",
        github_token="ghs_1",
        receiver_url="https://handoff.example.com/",
        may_dispatch="True",
        auth="OIDC",
        summary="off",
    )

    assert (inputs.state, inputs.image, inputs.may_dispatch) == ("cancelled", IMAGE, True)
    assert (inputs.receiver, inputs.secret) == (
        "https://handoff.example.com/reports",
        "from the environment",
    )
    assert (inputs.auth, inputs.summary, inputs.environment_url) == (
        "oidc",
        False,
        "https://models.example.com",
    )
    assert "from the environment" not in repr(inputs)
    assert "ghs_1" not in repr(inputs)


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        ({"state": "splendid"}, "the input state: got 'splendid', want success, failure or cancelled"),
        ({"image": "ghcr.io/acme/serving:latest"}, "the input image: got 'ghcr.io/acme/serving:latest'"),
        ({"image": f"two {IMAGE}"}, "want one with its digest"),
        ({"environment": "production"}, "the input environment wants github-token"),
        ({"environment_url": "models.example.com", "environment": "x"}, "the input environment-url: got"),
        ({"environment_url": "https://["}, "the input environment-url: got"),
        ({"environment_url": "https://a.example.com"}, "else nobody is told"),
        ({"receiver_url": "handoff"}, "the input receiver-url: want the receiver's URL"),
        ({"receiver_url": "https://handoff.example.com"}, "wants report-secret, or HANDOFF_REPORT_SECRET"),
        ({"may_dispatch": "perhaps"}, "the input may-dispatch: got 'perhaps', want true or false"),
        ({"auth": "none"}, "the input auth: got 'none', want key or oidc"),
        ({"alias": "v3"}, "the alias 'v3' is a version"),
    ],
)
def test_what_is_wrong_is_named(inputs: dict[str, str], words: str) -> None:
    """
    With what is wanted.
    """
    with pytest.raises(ConfigurationError) as refused:
        read(**inputs)

    assert words in str(refused.value)


def test_all_that_is_wrong_is_named_at_once() -> None:
    """
    A workflow is pushed once more, not five times.
    """
    with pytest.raises(ConfigurationError) as refused:
        read(state="x", alias="v1", image="y", may_dispatch="z", environment="e")

    assert str(refused.value).count("; ") == 4


def test_the_action_hands_over_each_input() -> None:
    """
    Through ``env:`` alone, each under the name that is read.
    """
    [step] = ACTION["runs"]["steps"]

    wanted = {f"HANDOFF_INPUT_{name.upper().replace('-', '_')}": name for name in ACTION["inputs"]}
    handed = {
        name: value.removeprefix("${{ inputs.").removesuffix(" }}") for name, value in step["env"].items()
    }
    assert handed == wanted
    assert "${{" not in step["run"]


def test_the_two_actions_agree() -> None:
    """
    What they have in common is said in the same words, and the outputs are those that are written.
    """
    root = Path(__file__).resolve().parents[2]
    other: dict[str, Any] = yaml.safe_load((root / "action.yml").read_text(encoding="utf-8"))
    for name in ("auth", "audience", "base-url", "summary"):
        assert ACTION["inputs"][name] == other["inputs"][name]
    source = (root / "registry_client" / "report_step.py").read_text(encoding="utf-8")

    assert set(ACTION["outputs"]) == set(re.findall(r'^            "([a-z]+)":', source, re.MULTILINE))
