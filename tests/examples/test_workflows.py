"""Every workflow that people copy from examples/."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.check_workflows import checks, workflow_files
from tests.examples.workflows import ROOT, Workflow, example_workflows

WORKFLOWS = example_workflows()
OURS = re.compile(r"wandb-handoff/handoff(/report)?@v\d+\.\d+\.\d+")
PINNED = re.compile(r"uses: [\w.-]+/[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$")
KEY = "github.event.client_payload.handoff.key"
# What a job may need beyond reading.  contents: write would let a model's name into the repository.
WRITES = {"packages", "id-token", "attestations", "deployments"}


@pytest.fixture(params=WORKFLOWS, ids=lambda found: str(found.path.relative_to(ROOT / "examples")))
def workflow(request: pytest.FixtureRequest) -> Workflow:
    found: Workflow = request.param
    return found


def test_nothing_is_allowed_that_no_job_asks_for(workflow: Workflow) -> None:
    """
    The workflow has no permissions, and each job those that it names.
    """
    assert workflow.data["permissions"] == {}
    for job in workflow.jobs.values():
        assert isinstance(job["permissions"], dict)


def test_a_job_may_write_only_what_a_deployment_needs(workflow: Workflow) -> None:
    """
    No job may write to the repository, to other workflows or to issues.
    """
    for job in workflow.jobs.values():
        assert {name for name, access in job["permissions"].items() if access != "read"} <= WRITES


def test_actions_are_pinned_by_commit(workflow: Workflow) -> None:
    """
    Each action is named by a commit, with its version beside it; ours, which cannot know its own, by a tag.
    """
    for step in workflow.steps:
        if step.uses and not OURS.fullmatch(step.uses):
            assert PINNED.search(step.line), step.line


def test_one_action_has_one_commit_everywhere() -> None:
    """
    All examples, and the workflow in README, take the same version of an action.
    """
    files = [*(each.path for each in WORKFLOWS), ROOT / "README.md"]
    named = re.findall(r"uses: (\S+@[0-9a-f]{40})", "\n".join(file.read_text("utf-8") for file in files))
    assert len({each.partition("@")[0] for each in named}) == len(set(named)), sorted(set(named))


def test_nothing_of_the_event_gets_into_a_script(workflow: Workflow) -> None:
    """
    Values reach scripts through the environment: there is no expression in any of them.
    """
    for script in workflow.scripts:
        assert "${{" not in script


def test_the_run_shows_the_key(workflow: Workflow) -> None:
    """
    The receiver finds the run by the key in its name, where a dispatch of the receiver starts it.
    """
    assert f"${{{{ {KEY}" in workflow.data["run-name"]


def test_doubles_wait_and_different_promotions_do_not_push_each_other_out(workflow: Workflow) -> None:
    """
    Runs are grouped by the key, and none is cancelled.
    """
    concurrency = workflow.data["concurrency"]
    assert f"${{{{ {KEY}" in concurrency["group"]
    assert concurrency["cancel-in-progress"] is False


def test_every_job_ends_in_time(workflow: Workflow) -> None:
    """
    No job may hang for GitHub's six hours.
    """
    for job in workflow.jobs.values():
        assert 0 < job["timeout-minutes"] <= 120


def test_no_credentials_stay_in_the_checkout(workflow: Workflow) -> None:
    """
    What runs later finds no token in .git/config.
    """
    for step in workflow.steps:
        if step.uses.startswith("actions/checkout@"):
            assert step.data["with"]["persist-credentials"] is False


def test_who_deploys_can_be_asked_first(workflow: Workflow) -> None:
    """
    A job that deploys has an environment, so that a person can be asked for approval.
    """
    deploying = [job for name, job in workflow.jobs.items() if name.startswith("deploy")]
    assert all("environment" in job for job in deploying)


def test_an_image_gets_the_model_as_a_context_of_its_own(workflow: Workflow) -> None:
    """
    Where an image is built, the model comes from outside the workspace, with our labels and tag, and the
    image's attestation names the artifact.
    """
    steps = list(workflow.steps)
    built = [step.data["with"] for step in steps if step.uses.startswith("docker/build-push-action@")]
    for each in built:
        assert "steps.model.outputs.path" in each["build-contexts"]
        assert "steps.model.outputs.labels" in each["labels"]
        assert "steps.model.outputs.image-tag" in each["tags"]
    attested = [step.data["with"] for step in steps if step.uses.startswith("actions/attest@")]
    if built and len(workflow.path.relative_to(ROOT / "examples").parts) > 1:
        assert any("steps.model.outputs.provenance" in each.get("predicate-path", "") for each in attested)


def test_the_linters_see_every_example() -> None:
    """
    zizmor, actionlint and check-jsonschema get each of these files.
    """
    listed = set(workflow_files(ROOT))
    assert {str(each.path.relative_to(ROOT)) for each in WORKFLOWS} <= listed
    for check in checks(ROOT):
        if check.name in {"zizmor, pedantic", "schema of workflows", "actionlint"}:
            assert listed <= set(check.command)


def test_an_example_is_complete() -> None:
    """
    Each directory has a README, a workflow, and the payload for the automation.
    """
    for folder in sorted(path for path in (ROOT / "examples").iterdir() if path.is_dir()):
        assert (folder / "README.md").is_file(), folder.name
        assert (folder / "payload.json").is_file(), folder.name
        assert any(_below(each.path, folder / ".github" / "workflows") for each in WORKFLOWS), folder.name


def _below(path: Path, folder: Path) -> bool:
    return folder in path.parents
