"""A route with ``reconcile`` asks only for what W&B can still tell of a promotion that was missed."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.receiver.config.reading import TOP, problems, read

WHEN = "artifact: acme/models/nature-*, alias: [production, staging]"
ROUTE = f"""\
wandb: {{api_key: {{env: WANDB_API_KEY}}}}
routes:
  - name: deploy
    when: {{{WHEN}}}
    dispatch: {{repository: acme/serving, event_type: DEPLOY}}
    reconcile: {{every: 5m}}
"""


def test_collections_may_be_a_glob() -> None:
    """
    Of one project, with any number of aliases; events, types and metadata are W&B's to tell.
    """
    more = (
        f"{WHEN}, event: [ADD_ARTIFACT_*], not: {{alias: latest}}, type: model, metadata.x: 1, source: wandb"
    )

    assert read(TOP + ROUTE).routes[0].reconcile == timedelta(minutes=5)
    assert read(TOP + ROUTE.replace(WHEN, more)).routes[0].reconcile == timedelta(minutes=5)


@pytest.mark.parametrize(
    ("was", "becomes", "said"),
    [
        (WHEN, "alias: production", "needs artifact under when: it asks W&B which version carries"),
        (WHEN, f"{WHEN}, author: ana", "cannot go with author under when: W&B does not tell it of what"),
        (WHEN, f"{WHEN}, not: {{author: bot}}", "cannot go with author under when"),
        (WHEN, f"{WHEN}, automation: deploy", "cannot go with automation under when"),
        (WHEN, f"{WHEN}, tag: x", "cannot go with tag under when"),
        ("production", "prod-*", "needs aliases without globs under when, got 'prod-*'"),
        (
            "acme/models",
            "acme/*",
            "needs entity and project without globs in artifact under when, got 'acme/*/",
        ),
        (WHEN, f"{WHEN}, event: LINK_ARTIFACT", "needs ADD_ARTIFACT_ALIAS among the events under when"),
        ("DEPLOY", '"${payload.kind}", event_types: [A]', "cannot go with ${payload.kind}: what was missed"),
    ],
    ids=["no artifact", "author", "not author", "automation", "tag", "alias", "project", "event", "body"],
)
def test_what_nobody_can_tell_any_more_is_a_problem(was: str, becomes: str, said: str) -> None:
    """
    The file says so before anything is missed.
    """
    found = problems(TOP + ROUTE.replace(was, becomes))

    assert [problem.where for problem in found] == ["routes[0].reconcile"]
    assert found[0].message.startswith(said)
