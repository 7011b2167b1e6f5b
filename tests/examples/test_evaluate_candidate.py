"""The example that evaluates: it promotes what is better, and neither luck nor what harms one class."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from tests.action import act
from tests.action.act import Act
from tests.examples import flowers
from tests.examples.environments import EXAMPLES, loaded, python_with
from tests.stand_ins.wandb import Membership, WandbStandIn

EXAMPLE = EXAMPLES / "evaluate-candidate"
WORKFLOW = (EXAMPLE / ".github" / "workflows" / "evaluate-candidate.yml").read_text(encoding="utf-8")
REGISTRY = "acme-org/wandb-registry-model/flower"
HELD_OUT = "acme-org/wandb-registry-dataset/flowers-held-out"
# Weights of the three measures for each kind, by their means; the poor one has learned the contrary.
GOOD = [[0.0, 1.0, 2.0], [2.0, 1.0, 0.0], [0.0, 0.5, 1.0]]
POOR = [[-each for each in row] for row in GOOD]
BIAS = [-2.0, -1.125, -2.5]
example = loaded(EXAMPLE / "evaluate.py")


def model(weights: Sequence[Sequence[float]], note: str = "") -> bytes:
    """A linear model that says which kind a flower is; a note makes it another one."""
    kinds = helper.make_node(
        "LabelEncoder",
        ["best"],
        ["label"],
        domain="ai.onnx.ml",
        keys_int64s=list(range(3)),
        values_strings=list(flowers.KINDS),
    )
    graph = helper.make_graph(
        [
            helper.make_node("Gemm", ["x", "W", "b"], ["scores"]),
            helper.make_node("ArgMax", ["scores"], ["best"], axis=1, keepdims=0),
            kinds,
        ],
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["rows", 3])],
        [helper.make_tensor_value_info("label", TensorProto.STRING, ["rows"])],
        [
            helper.make_tensor("W", TensorProto.FLOAT, [3, 3], np.ravel(weights)),
            helper.make_tensor("b", TensorProto.FLOAT, [3], BIAS),
        ],
        doc_string=note,
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    made = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    return bytes(made.SerializeToString())


def judged(*right: int) -> Any:
    """A model that got these rows right."""
    return example.Judged([bool(each) for each in right], milliseconds=1.0)


ONE_KIND = ["a"] * 40


@pytest.mark.parametrize(
    ("candidate", "production", "wins", "why"),
    [
        pytest.param([1] * 40, [0] * 10 + [1] * 30, True, "10 rows gained", id="better"),
        pytest.param([1] * 40, None, True, "nothing is in production", id="the first"),
        pytest.param([0] * 30 + [1] * 10, None, False, "want 50.0%", id="the first, too bad"),
        pytest.param([1] * 40, [0] * 2 + [1] * 38, False, "2 rows gained.*25.0%", id="luck"),
        pytest.param([1] * 30 + [0] * 10, [1] * 40, False, "0 rows gained.*100.0%", id="worse"),
        pytest.param([1] * 40, [1] * 40, False, "0 rows gained.*0 lost.*100.0%", id="the same"),
    ],
)
def test_the_better_one_wins(
    candidate: list[int], production: list[int] | None, wins: bool, why: str
) -> None:
    """
    It must lead by more than luck explains, and be good enough where it has no rival.
    """
    rival = None if production is None else judged(*production)

    verdict = example.decide(judged(*candidate), rival, ONE_KIND, example.Rules())

    assert verdict.wins is wins
    assert re.search(why, verdict.why)


def test_no_class_pays_for_the_others() -> None:
    """
    A candidate that is better on the whole, and much worse at one class, does not win.
    """
    labels = ["a"] * 100 + ["b"] * 20
    candidate = judged(*[1] * 100, *[0] * 10, *[1] * 10)
    production = judged(*[0] * 50, *[1] * 50, *[1] * 20)

    strict = example.decide(candidate, production, labels, example.Rules())
    lenient = example.decide(candidate, production, labels, example.Rules(most_lost=0.5))

    assert (strict.wins, strict.why) == (False, "the class b falls from 100.0% to 50.0%")
    assert lenient.wins


@pytest.mark.parametrize(
    ("gained", "differing", "chance"),
    [(0, 0, 1.0), (1, 1, 0.5), (5, 5, 1 / 32), (2, 4, 11 / 16), (5200, 10_000, 3.3e-5)],
)
def test_luck_is_counted_exactly(gained: int, differing: int, chance: float) -> None:
    """
    The sign test, for many rows too.
    """
    assert example.chance_of(gained, differing) == pytest.approx(chance, rel=0.03)


def test_others_words_stay_words() -> None:
    """
    Names of classes and versions can neither draw, link, break the table nor leave the chart.
    """
    labels = ['a"] ]\n```\n# x', "<img src=x>"]
    names = ["x|y [z](https://example.com) <b>", "`p`"]

    shown = example.summary(
        judged(1, 1), judged(0, 1), labels, example.Verdict(True, "the *class* | <a>"), names
    )

    assert "<img" not in shown
    assert "\n# x" not in shown
    assert r"x\|y \[z\]\(https://example.com\) \<b\>" in shown
    assert r"the \*class\* \| \<a\>" in shown
    assert shown.count("```") == 2


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        pytest.param(b"", "want rows with a column 'label', got none", id="empty"),
        pytest.param(b"x,y\n1,2\n", "want rows with a column 'label', got", id="no label"),
        pytest.param(b"x,label\n1,a\n", "takes 3 features, the held-out data have 1", id="other features"),
    ],
)
def test_data_that_do_not_fit_are_named(tmp_path: Path, content: bytes, problem: str) -> None:
    """
    Held-out data of another form end the job with what was wanted.
    """
    (tmp_path / "data.csv").write_bytes(content)
    (tmp_path / "model.onnx").write_bytes(model(GOOD))
    arguments = ["--candidate", str(tmp_path), "--held-out", str(tmp_path), "--production", ""]

    with pytest.raises(SystemExit, match=problem):
        example.main(arguments, {})


def test_scores_count_by_the_highest(tmp_path: Path) -> None:
    """
    A model that gives a score for each class, as networks do, is judged by the highest.
    """
    graph = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["y"])],
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["rows", 2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["rows", 2])],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(made, tmp_path / "any-name.onnx")

    found = example.judge(tmp_path, np.array([[3, 1], [1, 3], [3, 1]], dtype=np.float32), ["0", "1", "1"])

    assert found.right == [True, True, False]


# --- the whole workflow, in a real runner


@pytest.fixture
def wandb() -> Iterator[WandbStandIn]:
    """W&B with an organization and the held-out data."""
    with WandbStandIn() as serving:
        serving.add_organization("Acme", entity="acme-org", teams=["acme"])
        data = serving.log_artifact("acme/data/held-out", {"data.csv": flowers.data(600, 9)}, type="dataset")
        serving.link(data, HELD_OUT)
        yield serving


def linked(wandb: WandbStandIn, content: bytes, *aliases: str) -> Membership:
    """A version of the model in the registry."""
    logged = wandb.log_artifact("acme/training/flower", {"model.onnx": content})
    return wandb.link(logged, REGISTRY, aliases=aliases)


@pytest.fixture
def runner(tmp_path: Path) -> Act:
    """A runner with the example's files in its repository, and actions that need GitHub stood in for."""
    handoff = act.packaged(tmp_path / "handoff")
    stubs = {
        "actions/setup-python": ("python-version",),
        "actions/upload-artifact": ("name", "path"),
    }
    repositories = {"wandb-handoff/handoff@v0.1.0": handoff}
    for name, inputs in stubs.items():
        pin = WORKFLOW.split(f"uses: {name}@")[1].split()[0]
        repositories[f"{name}@{pin}"] = act.stub(tmp_path / "stubs" / name.partition("/")[2], inputs)
    made = Act(tmp_path / "act", repositories)
    for name in ("evaluate.py", "requirements.txt"):
        (made.repository / name).write_bytes((EXAMPLE / name).read_bytes())
    return made


def evaluated(runner: Act, wandb: WandbStandIn, version: Membership) -> act.ActRun:
    """The example's workflow, started by the dispatch for a version that was linked."""
    python = python_with(EXAMPLE / "requirements.txt")
    handoff = {
        "key": "k1",
        "event": "LINK_ARTIFACT",
        "artifact": version.reference,
        "version": version.version,
        "entity": version.entity,
        "project": version.collection.project.name,
        "collection": version.collection.name,
    }
    payload = {"artifact_version_string": version.name, "handoff": handoff}
    return runner.run(
        WORKFLOW,
        {"action": "EVALUATE_CANDIDATE", "client_payload": payload},
        "--var",
        f"HELD_OUT={HELD_OUT}:v0",
        secrets={"WANDB_API_KEY": wandb.api_key, "WANDB_WRITE_API_KEY": wandb.add_user("writer").api_key},
        environ={
            "PATH": f"{python.parent}{os.pathsep}{os.environ['PATH']}",
            "WANDB_BASE_URL": wandb.url,
        },
    )


in_a_runner = pytest.mark.skipif(act.PROGRAM is None, reason=act.WHY_NOT)


@in_a_runner
def test_a_better_candidate_gets_the_alias(wandb: WandbStandIn, runner: Act) -> None:
    """
    Candidate and production are judged on the same data, and the alias is written back for the candidate.
    """
    linked(wandb, model(POOR), "production")
    candidate = linked(wandb, model(GOOD))

    run = evaluated(runner, wandb, candidate)

    assert run.results["job"] == "success", run.log
    assert candidate.aliases == ["latest", "staging"]
    assert 0.6 < float(candidate.artifact.metadata["held_out_accuracy"]) < 1


@in_a_runner
def test_a_worse_candidate_does_not(wandb: WandbStandIn, runner: Act) -> None:
    """
    The run is green, for it did its work; nothing is written back.
    """
    linked(wandb, model(GOOD), "production")

    candidate = linked(wandb, model(GOOD, note="the same, newer"))

    run = evaluated(runner, wandb, candidate)

    assert run.exit_code == 0, run.log
    assert candidate.aliases == ["latest"]


@in_a_runner
def test_the_first_candidate_has_no_rival(wandb: WandbStandIn, runner: Act) -> None:
    """
    That nothing is in production yet is no failure.
    """
    candidate = linked(wandb, model(GOOD))

    run = evaluated(runner, wandb, candidate)

    assert run.exit_code == 0, run.log
    assert "staging" in candidate.aliases


@in_a_runner
def test_production_that_cannot_be_had_is_no_missing_rival(wandb: WandbStandIn, runner: Act) -> None:
    """
    Where production is there, but cannot be had whole, the job ends and nothing is promoted.
    """
    logged = wandb.log_artifact(
        "acme/training/flower", {"model.onnx": model(POOR)}, references={"x.bin": "s3://bucket/x.bin"}
    )
    wandb.link(logged, REGISTRY, aliases=["production"])

    candidate = linked(wandb, model(GOOD))

    run = evaluated(runner, wandb, candidate)

    assert run.exit_code != 0
    assert "reference-entries" in run.annotations["Production"]
    assert candidate.aliases == ["latest"]


def test_alone_it_tells_the_terminal(tmp_path: Path) -> None:
    """
    Outside a workflow the same is printed, table and plot.
    """
    for name, content in (("good", model(GOOD)), ("poor", model(POOR)), ("data", b"")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.onnx").write_bytes(content)
    (tmp_path / "data" / "data.csv").write_bytes(flowers.data(300, 9))
    command = [sys.executable, str(EXAMPLE / "evaluate.py"), "--candidate", "good", "--production", "poor"]
    done = subprocess.run(
        [*command, "--held-out", "data"], cwd=tmp_path, capture_output=True, encoding="utf-8", check=True
    )

    assert done.stdout.startswith("### The candidate wins\n")
    assert "xychart-beta" in done.stdout
    assert "wins=true" in done.stdout
    assert json.loads((tmp_path / "evaluation.json").read_text(encoding="utf-8"))["rows"] == 300
