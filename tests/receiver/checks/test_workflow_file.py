"""What starts a workflow, read from its file."""

from __future__ import annotations

import pytest

from receiver.checks.workflow_file import UnreadableWorkflowError, WorkflowFile


def workflow(on: str, more: str = "") -> WorkflowFile:
    """A workflow with this ``on``."""
    return WorkflowFile.parse("deploy.yml", f"name: x\n{more}on: {on}\njobs: {{}}\n")


@pytest.mark.parametrize(
    ("on", "types"),
    [
        ("repository_dispatch", ()),
        ("[push, repository_dispatch]", ()),
        ("{repository_dispatch: }", ()),
        ("{repository_dispatch: {types: }}", ()),
        ("{repository_dispatch: {types: BUILD}}", ("BUILD",)),
        ("{repository_dispatch: {types: [BUILD, 7]}}", ("BUILD", "7")),
        ("push", None),
        ("{push: {branches: [main]}}", None),
    ],
)
def test_it_listens_for_what_it_says(on: str, types: tuple[str, ...] | None) -> None:
    """
    In each of the forms of ``on``; without types for any type.
    """
    read = workflow(on)

    assert read.types == types
    assert read.listens_for("BUILD") is (types is not None)
    assert read.listens_for("OTHER") is (types == ())


def test_inputs_that_must_be_given() -> None:
    """
    Those that are required and have no default; a workflow that declares none has none.
    """
    inputs = "{a: {required: true}, b: {required: true, default: x}, c: {type: string}, d: }"

    assert workflow(f"{{workflow_dispatch: {{inputs: {inputs}}}}}").inputs == {
        "a": True,
        "b": False,
        "c": False,
        "d": False,
    }
    assert workflow("workflow_dispatch").inputs == {}
    assert workflow("push").inputs is None


def test_whether_the_key_is_shown() -> None:
    """
    In run-name, as the README's workflow has it.
    """
    shown = "run-name: Deploy ${{ github.event.client_payload.handoff.key }}\n"

    assert workflow("repository_dispatch", shown).shows_key
    assert workflow("workflow_dispatch", "run-name: ${{ inputs.handoff_key }}\n").shows_key
    assert not workflow("repository_dispatch").shows_key


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("on: [", "deploy.yml:1:6: is no YAML"),
        ("jobs: {}", "has no on:"),
        ("text", "has no on:"),
        ("on: !!python/name:os.system x", "deploy.yml:1"),
        (
            "a: &a [1]\n" + "".join(f"{n}: &n{n} [*a, *a, *a, *a]\n" for n in range(3)) + "[" * 100,
            "deploy.yml",
        ),
    ],
)
def test_what_is_no_workflow(text: str, why: str) -> None:
    """
    Is told as such, with its name; nothing in it is ever run.
    """
    with pytest.raises(UnreadableWorkflowError, match=why):
        WorkflowFile.parse("deploy.yml", text)
