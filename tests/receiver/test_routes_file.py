"""What a file may not say, for nobody would know in time."""

from __future__ import annotations

import pytest

from receiver.config import ConfigError, read_config

FILE = """
sources: {{wandb: {{secrets: [{{env: SECRET}}]}}}}
github: {{token: {{env: GITHUB_TOKEN}}}}
wandb: {{api_key: {{env: WANDB_API_KEY}}, verify: required}}
routes:
  - name: deploy
    when: {{alias: production}}
    dispatch: {{{dispatch}}}
"""
ENVIRON = {"SECRET": "s" * 20, "GITHUB_TOKEN": "t" * 20, "WANDB_API_KEY": "a" * 40}


def read(dispatch: str) -> list[str]:
    """The problems of a file with this dispatch."""
    try:
        read_config(FILE.format(dispatch=dispatch), file="handoff.yaml", environ=ENVIRON)
    except ConfigError as error:
        return [str(problem) for problem in error.problems]
    return []


@pytest.mark.parametrize(
    ("dispatch", "key", "name"),
    [
        ('repository: "acme/${artifact.type}", event_type: BUILD', "repository", "artifact.type"),
        ('repository: acme/serving, event_type: "${metadata.kind}"', "event_type", "metadata.kind"),
        (
            'repository: acme/serving, workflow: "${metadata.kind}.yml", ref: main',
            "workflow",
            "metadata.kind",
        ),
        ('repository: acme/serving, workflow: a.yml, ref: "${artifact.digest}"', "ref", "artifact.digest"),
    ],
    ids=["repository", "event_type", "workflow", "ref"],
)
def test_where_it_goes_is_known_from_the_event(dispatch: str, key: str, name: str) -> None:
    """
    What only W&B tells can stand in a message, and not where the message goes: that is said with its line.
    """
    (problem,) = read(dispatch)

    assert problem.startswith("handoff.yaml:8:")
    assert f"routes[0].dispatch.{key}: only W&B tells ${{{name}}}, when it is sent" in problem


def test_what_the_event_tells_may_say_where() -> None:
    """
    Its collection, its alias and its project are known at once; and in a message everything is.
    """
    assert read('repository: "acme/${artifact.collection}", event_type: "${alias}"') == []
    assert read('repository: acme/a, event_type: BUILD, client_payload: {d: "${artifact.digest}"}') == []
    assert read('repository: acme/a, workflow: a.yml, ref: main, inputs: {d: "${metadata.kind}"}') == []
