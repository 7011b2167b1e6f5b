"""Inputs: defaults first, and everything wrong told at once."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from registry_client.build_context_recipe import ContextKind
from registry_client.errors import ConfigurationError
from registry_client.inputs import Inputs, cache_place, with_inputs
from registry_client.references import ReferencePolicy

ACTION = Path(__file__).resolve().parents[2] / "action.yml"


def test_nothing_given_means_the_defaults() -> None:
    """An environment without any input is fine."""
    defaults = Inputs(
        artifact="",
        path="",
        expect_alias="",
        expect_digest=None,
        resolve_only=False,
        include=(),
        exclude=(),
        references=ReferencePolicy.FAIL,
        max_size=None,
        cache_dir="",
        cache_size=None,
        replace=False,
        auth=None,
        audience="",
        concurrency=None,
        context=ContextKind.NONE,
        summary=True,
    )
    assert Inputs.from_env({}) == defaults


def test_the_actions_own_defaults_are_the_same() -> None:
    """What action.yml writes where nothing is given reads as nothing given."""
    action = yaml.safe_load(ACTION.read_text(encoding="utf-8"))
    environ = {
        f"HANDOFF_INPUT_{name.upper().replace('-', '_')}": each["default"]
        for name, each in action["inputs"].items()
    }
    assert Inputs.from_env(environ) == Inputs.from_env({})
    assert with_inputs(environ) == environ


def test_each_input_is_mapped_and_none_is_in_the_script() -> None:
    """GitHub sets no INPUT_* here, and an expression in ``run`` would execute what others wrote."""
    action = yaml.safe_load(ACTION.read_text(encoding="utf-8"))
    (step,) = action["runs"]["steps"]
    mapped = {re.sub(r"\W", "", each.removeprefix("${{ inputs.")): name for name, each in step["env"].items()}
    assert {name.replace("-", "") for name in action["inputs"]} == set(mapped)
    for name in action["inputs"]:
        assert step["env"][f"HANDOFF_INPUT_{name.upper().replace('-', '_')}"] == f"${{{{ inputs.{name} }}}}"
    assert "${{" not in step["run"]


@pytest.mark.parametrize(
    ("text", "want"),
    [("true", True), ("True", True), (" yes ", True), ("false", False), ("off", False), ("0", False)],
)
def test_flags_are_read_as_people_write_them(text: str, want: bool) -> None:
    """In any of YAML's spellings."""
    inputs = Inputs.from_env({"HANDOFF_INPUT_RESOLVE_ONLY": text, "HANDOFF_INPUT_SUMMARY": text})
    assert (inputs.resolve_only, inputs.summary) == (want, want)


@pytest.mark.parametrize("text", ["0", "65", "-1", "1.5", "many", "９", "9" * 5000])
def test_a_number_out_of_range_is_told(text: str) -> None:
    """The name, what it was and what it should be."""
    with pytest.raises(ConfigurationError, match=r"the input concurrency: got .*want a number from 1 to 64"):
        Inputs.from_env({"HANDOFF_INPUT_CONCURRENCY": text})


def test_everything_wrong_is_told_at_once() -> None:
    """Nobody fixes one input per run."""
    with pytest.raises(ConfigurationError) as caught:
        Inputs.from_env(
            {
                "HANDOFF_INPUT_RESOLVE_ONLY": "maybe",
                "HANDOFF_INPUT_SUMMARY": "perhaps",
                "HANDOFF_INPUT_CONCURRENCY": "x",
                "HANDOFF_INPUT_REPLACE": "x",
                "HANDOFF_INPUT_MAX_SIZE": "x",
                "HANDOFF_INPUT_CACHE_SIZE": "0",
                "HANDOFF_INPUT_EXPECT_DIGEST": "541f",
                "HANDOFF_INPUT_REFERENCES": "follow",
                "HANDOFF_INPUT_AUTH": "password",
            }
        )
    named = ("resolve-only", "summary", "concurrency", "replace", "max-size", "cache-size", "expect-digest")
    for name in (*named, "references", "auth"):
        assert f"the input {name}: got " in str(caught.value)


def test_key_and_url_go_where_wandbs_users_have_them() -> None:
    """An input wins over the variable; an empty one does not."""
    environ = {"WANDB_API_KEY": "old", "WANDB_BASE_URL": "https://old", "HANDOFF_INPUT_API_KEY": " new "}
    assert with_inputs(environ)["WANDB_API_KEY"] == "new"
    assert with_inputs(environ)["WANDB_BASE_URL"] == "https://old"
    assert with_inputs({**environ, "HANDOFF_INPUT_BASE_URL": "https://n"})["WANDB_BASE_URL"] == "https://n"


def test_globs_come_a_line_each() -> None:
    """As YAML's block scalars give them; a wrong one is told with its input."""
    inputs = Inputs.from_env(
        {"HANDOFF_INPUT_INCLUDE": "*.bin\n\n  config/**  \n", "HANDOFF_INPUT_EXCLUDE": "old/"}
    )
    assert (inputs.include, inputs.exclude) == (("*.bin", "config/**"), ("old/",))
    with pytest.raises(ConfigurationError, match=r"include: .*'!a' .*; the input exclude: .*'\.\./x'"):
        Inputs.from_env({"HANDOFF_INPUT_EXCLUDE": "ok\n../x", "HANDOFF_INPUT_INCLUDE": "!a"})


def test_what_is_given_is_read() -> None:
    """Words in any letters, sizes with their unit, a digest in small letters."""
    inputs = Inputs.from_env(
        {
            "HANDOFF_INPUT_REFERENCES": "List",
            "HANDOFF_INPUT_AUTH": "OIDC",
            "HANDOFF_INPUT_AUDIENCE": "Acme Inc",
            "HANDOFF_INPUT_MAX_SIZE": "20GB",
            "HANDOFF_INPUT_CACHE_SIZE": "1 GiB",
            "HANDOFF_INPUT_EXPECT_DIGEST": "541F289BB3C6AE786D51E7288E523543",
            "HANDOFF_INPUT_REPLACE": "yes",
        }
    )
    assert (inputs.references, inputs.auth, inputs.audience) == (ReferencePolicy.LIST, "oidc", "Acme Inc")
    assert (inputs.max_size, inputs.cache_size) == (20_000_000_000, 1024**3)
    assert (inputs.expect_digest, inputs.replace) == ("541f289bb3c6ae786d51e7288e523543", True)


@pytest.mark.parametrize(
    ("given", "environ", "want"),
    [
        ("", {}, None),
        ("", {"RUNNER_TOOL_CACHE": "/tools", "RUNNER_ENVIRONMENT": "github-hosted"}, None),
        ("", {"RUNNER_ENVIRONMENT": "self-hosted"}, None),
        (
            "",
            {"RUNNER_TOOL_CACHE": "/tools", "RUNNER_ENVIRONMENT": "self-hosted"},
            ("/tools/wandb-handoff", 50 * 10**9),
        ),
        ("none", {"RUNNER_TOOL_CACHE": "/tools", "RUNNER_ENVIRONMENT": "self-hosted"}, None),
        ("None", {"WANDB_CACHE_DIR": "/sdk"}, None),
        ("", {"WANDB_CACHE_DIR": "/sdk"}, ("/sdk", None)),
        ("mine", {"WANDB_CACHE_DIR": "/sdk", "RUNNER_ENVIRONMENT": "self-hosted"}, ("mine", None)),
        (
            "",
            {"WANDB_CACHE_DIR": "none", "RUNNER_TOOL_CACHE": "/t", "RUNNER_ENVIRONMENT": "self-hosted"},
            None,
        ),
    ],
)
def test_where_the_cache_is(given: str, environ: dict[str, str], want: tuple[str, int | None] | None) -> None:
    """The input, the SDK's variable, or a runner's tool cache that lasts, with a limit of its own."""
    assert cache_place(given, environ) == (want and (Path(want[0]), want[1]))
