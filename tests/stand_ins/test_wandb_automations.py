"""The stand-in for W&B posts what its automations say."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from werkzeug.wrappers import Request, Response

from tests.stand_ins.wandb import Membership, WandbStandIn, Webhook
from tests.stand_ins.wandb.serving import Server
from tests.stand_ins.wandb_client import (
    REGISTRY,
    SOURCE,
    ask,
)

SAMPLES = Path(__file__).parents[1] / "samples"


@dataclass
class Inbox:
    """A receiver that keeps what it is sent and answers as told."""

    status: int = 202
    received: list[tuple[dict[str, str], bytes]] = field(default_factory=list)

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        """Keep it, and answer."""
        request = Request(environ)
        self.received.append((dict(request.headers), request.get_data()))
        return Response("noted", self.status, {"Location": "/elsewhere"})(environ, start_response)


@pytest.fixture
def inbox() -> Inbox:
    return Inbox()


@pytest.fixture
def inbox_url(inbox: Inbox) -> Iterator[str]:
    server = Server(inbox)
    server.start()
    yield f"{server.url}/hook"
    server.stop()


def test_an_alias_posts_the_filled_in_template(wandb: WandbStandIn, inbox: Inbox, inbox_url: str) -> None:
    """
    Each variable is filled in from the event; what does not apply is empty; the history keeps what came back.
    """
    version = wandb.log_artifact(SOURCE, {"a": b"1"}, metadata={"accuracy": 0.9, "note": 'a "b"'})
    link = wandb.link(version, REGISTRY)
    template = {
        "what": "${event_type} ${alias} ${tag} by ${event_author}",
        "version": ["${artifact_version}", "${artifact_version_string}", "${artifact_version_index}"],
        "where": "${entity_name}|${project_name}|${artifact_collection_name}|${automation_name}",
        "metadata": "${artifact_metadata.accuracy} ${artifact_metadata.note}${artifact_metadata.none}",
        "secrets": "${ACCESS_TOKEN} ${SECRET_NAME}",
        "number": 1,
    }
    webhook = Webhook(inbox_url, access_token="token", secret="wandb-secret")
    wandb.add_automation(
        "promote", collection=REGISTRY, alias_regex="^production$", webhook=webhook, payload=template
    )

    wandb.add_alias(SOURCE, version, "production")
    wandb.add_alias(REGISTRY, version, "production-2")
    wandb.add_alias(REGISTRY, version, "production", by="bob")
    wandb.add_alias(REGISTRY, version, "production")

    ((headers, body),) = inbox.received
    assert json.loads(body) == {
        "what": "ADD_ARTIFACT_ALIAS production  by bob",
        "version": [version.reference, link.name, "0"],
        "where": "acme-org|wandb-registry-model|nature|promote",
        "metadata": '0.9 a "b"',
        "secrets": "token wandb-secret",
        "number": 1,
    }
    assert headers["Authorization"] == "Bearer token"
    assert headers["Content-Type"] == "application/json"
    (execution,) = wandb.executions
    assert (execution.status, execution.response_status, execution.response_body) == (
        "Finished",
        202,
        "noted",
    )
    assert (execution.automation, execution.payload) == ("promote", body)


@pytest.mark.parametrize(
    ("encoding", "signature"),
    [
        ("hex", "52559e38b703c126364613936a92a8b4382b409539f153b22c86e5c2e419327a"),
        ("base64", "UlWeOLcDwSY2RhOTapKotDgrQJU58VOyLIblwuQZMno="),
    ],
)
def test_the_signature_is_the_known_one(
    wandb: WandbStandIn, inbox: Inbox, inbox_url: str, encoding: str, signature: str
) -> None:
    """
    The test button without a template posts ``{}``, signed as a live header showed it.
    """
    wandb.press_test_button(Webhook(inbox_url, secret="wandb-secret", encoding=encoding))

    ((headers, body),) = inbox.received
    assert (body, headers["X-Wandb-Signature"]) == (b"{}", signature)
    assert "Authorization" not in headers


def test_the_test_button_fills_nothing_in(wandb: WandbStandIn, inbox: Inbox, inbox_url: str) -> None:
    """
    The test button posts the template as it was typed.
    """
    template = json.loads((SAMPLES / "docs_build_and_deploy.json").read_text())

    execution = wandb.press_test_button(Webhook(inbox_url), template)

    ((headers, body),) = inbox.received
    assert json.loads(body) == template
    assert "X-Wandb-Signature" not in headers
    assert wandb.executions == [execution]


def test_a_recorded_delivery_is_posted_byte_for_byte(
    wandb: WandbStandIn, inbox: Inbox, inbox_url: str
) -> None:
    """
    From the same event and template, the body is the one that was recorded, but for the version's id.
    """
    template = {
        "event_type": "${event_type}",
        "client_payload": {
            name: "${" + name + "}"
            for name in (
                "event_author",
                "artifact_version",
                "artifact_version_string",
                "artifact_collection_name",
                "project_name",
                "entity_name",
            )
        },
    }
    path = "tiny-ml/quantized edge training/CIFAR_10"
    wandb.add_automation("any", collection=path, webhook=Webhook(inbox_url), payload=template, author="frds")

    version = wandb.log_artifact(path, {"a": b"1"})

    recorded = (SAMPLES / "alias_added_project.json").read_text().strip()
    expected = recorded.replace("QXJ0aWZhY3Q6NjI0OTY3Mzkw", version.id)
    assert inbox.received[-1][1] == expected.encode()


@pytest.mark.parametrize(
    ("event", "act"),
    [
        ("CREATE_ARTIFACT", lambda wandb, _: wandb.log_artifact(SOURCE, {"a": b"2"})),
        ("LINK_ARTIFACT", lambda wandb, version: wandb.link(version, REGISTRY)),
        ("LINK_MODEL", lambda wandb, version: wandb.link(version, REGISTRY)),
        ("ADD_ARTIFACT_TAG", lambda wandb, version: wandb.add_tag(version, "good")),
        ("ADD_ARTIFACT_ALIAS", lambda wandb, version: wandb.add_alias(SOURCE, version, "best")),
    ],
)
def test_each_event_posts_under_its_name(
    wandb: WandbStandIn,
    inbox: Inbox,
    inbox_url: str,
    event: str,
    act: Callable[[WandbStandIn, Membership], object],
) -> None:
    """
    An automation of a whole entity waits for its event alone, and names it as it was set up.
    """
    version = wandb.log_artifact(SOURCE, {"a": b"1"})
    for scope in ("acme", "acme-org"):
        wandb.add_automation(
            "any", collection=scope, event=event, webhook=Webhook(inbox_url), payload="${event_type}"
        )

    act(wandb, version)

    assert [body for _, body in inbox.received][:1] == [f'"{event}"'.encode()]
    assert {json.loads(body) for _, body in inbox.received} == {event}


def test_a_change_by_graphql_posts_too(wandb: WandbStandIn, inbox: Inbox, inbox_url: str) -> None:
    """
    A link made through the API starts the automations, under the name of whoever asked.
    """
    version = wandb.log_artifact(SOURCE, {"a": b"1"})
    wandb.add_automation(
        "any",
        collection="acme-org",
        webhook=Webhook(inbox_url),
        payload="${event_author} ${alias} ${artifact_version_string}",
        alias_regex="^production$",
    )
    carol = wandb.add_user("carol").api_key
    link = "mutation Link($input: LinkArtifactInput!) { linkArtifact(input: $input) { versionIndex } }"
    where = {
        "entityName": "acme-org",
        "projectName": "wandb-registry-model",
        "artifactPortfolioName": "nature",
    }
    aliases = [{"artifactCollectionName": "nature", "alias": "production"}]

    ask(wandb, link, carol, input={"artifactID": version.id, **where, "aliases": aliases})

    assert [body for _, body in inbox.received] == [f'"carol production {REGISTRY}:v0"'.encode()]


@pytest.mark.parametrize("status", [None, 302, 500], ids=["nobody there", "a redirect", "an error"])
def test_a_failed_delivery_is_in_the_history(
    wandb: WandbStandIn, inbox: Inbox, inbox_url: str, status: int | None
) -> None:
    """
    Whatever is not a success stands in the history as Failed, and breaks nothing.
    """
    inbox.status = status or 0
    url = inbox_url if status else "http://127.0.0.1:9/"  # Nothing listens on the discard port.

    execution = wandb.press_test_button(Webhook(url))

    assert (execution.status, execution.response_status) == ("Failed", status)
    assert execution.error
    assert len(inbox.received) == (status is not None)
