"""`handoff check --online` at W&B: is the key good, does it see what the routes name?"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from receiver.checks import Finding, Mark
from receiver.checks.on_wandb import on_wandb
from receiver.routing.conditions import Condition
from receiver.routing.route import Launch, Post, Route
from receiver.routing.template import Template
from registry_client.api import WandbApi
from registry_client.credentials import ApiKey
from tests.stand_ins.wandb import WandbStandIn


@pytest.fixture
def wandb() -> Iterator[WandbStandIn]:
    """A W&B with a registry, and a person who does not see all of it."""
    with WandbStandIn() as standing:
        standing.add_organization("Acme Inc", entity="acme-org", teams=["acme"])
        version = standing.log_artifact("acme/training/nature", {"a": b"1"})
        standing.link(version, "acme-org/wandb-registry-model/nature", ["production"])
        standing.log_artifact("secret/training/nature", {"a": b"1"})
        yield standing


def told(wandb: WandbStandIn, *places: str, key: str | None = None) -> list[Finding]:
    """What is found for one route that names these places."""
    when = (
        Condition.parse("artifact", places),
        Condition.parse("artifact", ["acme/never/asked"], negated=True),
        Condition.parse("alias", "production"),
    )
    routes = [Route("deploy", Post("https://x.example"), when)]
    with WandbApi(wandb.url, ApiKey(key or wandb.api_key, "the file"), sleep=lambda _: None) as api:
        return list(on_wandb(routes, api))


def test_what_the_key_sees(wandb: WandbStandIn) -> None:
    """
    A registry by its entity or by its organization's name, a project, a collection; what is not there yet.
    """
    findings = told(
        wandb,
        "acme-org/wandb-registry-model/*",
        "Acme Inc/wandb-registry-model/nature",
        "acme/training/other",
        "acme/*/nature",
    )

    who = "the key, which is ana's,"
    assert findings == [
        Finding.good("wandb.api_key", "W&B takes it; its organizations: acme-org (Acme Inc)"),
        Finding.good("acme-org/wandb-registry-model", f"{who} sees it"),
        Finding.good("Acme Inc/wandb-registry-model/nature", f"{who} sees it"),
        Finding.warning("acme/training/other", f"{who} sees no such collection yet (of route deploy)"),
        Finding.open("acme/*", "a glob may mean many (of route deploy)"),
    ]


def test_what_it_does_not_see(wandb: WandbStandIn) -> None:
    """
    A project or an entity that is not there, or is another's, is to be mended.
    """
    bea = wandb.add_user("bea", entities=["acme"]).api_key

    places = ("acme/nothing/*", "secret/training/nature", "nobody/wandb-registry-model/*")
    findings = told(wandb, *places, key=bea)[1:]
    assert [each.mark for each in findings] == [Mark.BAD] * 3
    assert findings[0].detail.startswith("the key, which is bea's, sees no such project (of route deploy)")
    assert "sees no such entity" in findings[1].detail


def test_a_wrong_key(wandb: WandbStandIn) -> None:
    """
    Is said once, and nothing else is asked; the key is not shown.
    """
    findings = told(wandb, "acme/training/nature", key="f" * 40)

    assert [(each.what, each.mark) for each in findings] == [("wandb.api_key", Mark.BAD)]
    assert "f" * 40 not in findings[0].detail


def test_a_server_that_is_not_there() -> None:
    """
    Is not the key's fault.
    """
    with WandbStandIn() as standing:
        url, key = standing.url, ApiKey(standing.api_key, "the file")
    with WandbApi(url, key, sleep=lambda _: None) as api:
        findings = list(on_wandb([], api))

    assert [(each.what, each.mark) for each in findings] == [("wandb.base_url", Mark.BAD)]


def test_a_question_that_wandb_does_not_answer(wandb: WandbStandIn) -> None:
    """
    Is told for its place; the others are asked for all the same.
    """
    wandb.faults.add("graphql:Surroundings", status=422)

    findings = told(wandb, "acme/training/*", "acme-org/wandb-registry-model/*")[1:]
    assert [each.mark for each in findings] == [Mark.BAD, Mark.GOOD]


def test_where_a_launch_goes(wandb: WandbStandIn) -> None:
    """
    Its project is looked at too, where it is written out.
    """
    parts = (Template("gpu"), Template("job"), Template("acme"))
    routes = [
        Route("one", Launch(*parts, Template("training"))),
        Route("two", Launch(*parts, Template.parse("${artifact.project}"))),
    ]
    with WandbApi(wandb.url, ApiKey(wandb.api_key, "the file")) as api:
        findings = list(on_wandb(routes, api))

    assert findings[1:] == [Finding.good("acme/training", "the key, which is ana's, sees it")]
