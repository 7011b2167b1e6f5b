"""One thing wrong in a good file, told where it stands: what the samples of mistakes leave over."""

from __future__ import annotations

import pytest

from receiver.config import ConfigError, read_config
from tests.receiver.config.reading import ENVIRON, GOOD, ROUTE, TOP, problems, read

ACTION = "dispatch: {repository: acme/serving, event_type: DEPLOY}"
LONG = "x" * 101


@pytest.mark.parametrize(
    ("was", "becomes", "said"),
    [
        ("{alias: production}", "production", "when: got 'production', want a mapping with some of event,"),
        ("{alias: production}", "{not: {not: {tag: x}}}", "when.not.not: a not within a not"),
        ("{alias: production}", "{not: [x]}", "when.not: got a list, want a mapping with some of"),
        (
            "{alias: production}",
            "{event: LINK_MODEL}",
            "when.event: got 'LINK_MODEL', which is read as LINK_ART",
        ),
        ("{alias: production}", "{event: '[z-a]'}", "when.event: '[z-a]' is no glob"),
        (
            "{alias: production}",
            "{artifact: a/b/}",
            "when.artifact: got 'a/b/', want entity/project/collection",
        ),
        ("{alias: production}", "{metadata: {x: null}}", "when.metadata.x: got nothing, want a number"),
        ("{alias: production}", "{metadata.: 1}", "when.metadata.: unknown key; did you mean metadata?"),
        ("{alias: production}", "{metadta: {x: 1}}", "when.metadta: unknown key; did you mean metadata?"),
        ("name: deploy", "name: Deploy It", "name: got 'Deploy It', want small letters, digits and '-'"),
        ("name: deploy", "name: -deploy", "name: got '-deploy', want small letters"),
        ("name: deploy", f"name: {'a' * 64}", f"name: got '{'a' * 60}'…, want small letters"),
        ("event_type: DEPLOY", f"event_type: {LONG}", "event_type: got 'xxxxx"),
        (
            "event_type: DEPLOY",
            "event_type: A, event_types: [A]",
            "event_types: is for an event_type with ${…}",
        ),
        (
            "event_type: DEPLOY",
            "event_type: '${alias}', event_types: []",
            "event_types: is an empty list, want",
        ),
        ("event_type: DEPLOY", "event_type: [A]", "event_type: got a list, want text of at most 100"),
        (
            "event_type: DEPLOY",
            "event_type: A, client_payload: x",
            "client_payload: got 'x', want a mapping of",
        ),
        (ACTION, "dispatch: acme/serving", "dispatch: got 'acme/serving', want a mapping with repository"),
        (ACTION, "post: https://example.com", "post: got 'https://example.com', want a mapping with url"),
        (ACTION, "launch: gpu", "launch: got 'gpu', want a mapping with queue"),
        (
            "event_type: DEPLOY",
            "workflow: a.yml, ref: main, inputs: {a: [1]}",
            "dispatch.inputs.a: got a list, want text, a number, true or false",
        ),
        (ACTION, f"{ACTION}\n    run: on", "run: got 'on', want off, or a mapping with within"),
        (ACTION, f"{ACTION}\n    run: {{}}", "run.within: is missing; want a time from 10s to 1d"),
        (ACTION, f"{ACTION}\n    ambiguous: [hold]", "ambiguous: got a list, want retry or hold"),
        (ACTION, f"{ACTION}\n    continue: [true]", "continue: got a list, want true or false"),
        (
            ACTION,
            f"{ACTION}\n    reconcile: {{every: true}}",
            "reconcile.every: got true, want a time from 1m",
        ),
        (ACTION, "post: {url: 'https://example.com/${alias}'}", "post.url: holds ${…}; want an address that"),
        (ACTION, "post: {url: 'https://exa mple.com/'}", "post.url: is no address"),
        (ACTION, "post: {url: 'https://example.com:port/'}", "post.url: is no address"),
        (ACTION, "post: {url: 'https:///path'}", "post.url: is no address"),
        (ACTION, "post: {url: 'https://[::1/'}", "post.url: is no address"),
        (ACTION, "post: {url: 'https://example.com/#x'}", "post.url: is no address"),
    ],
)
def test_a_route_s_value_is_told_where_it_stands(was: str, becomes: str, said: str) -> None:
    """
    What was found, and what is wanted, under the path of the key.
    """
    told = problems(GOOD.replace(was, becomes))

    assert any(f".{said}" in each for each in told), told


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("ledger: {url: 'mysql://db/x'}", "ledger.url: got 'mysql'://…, want sqlite:///relative/handoff.db"),
        ("ledger: {url: {env: MYSQL}}", "ledger.url: got 'mysql'://…, want sqlite:///relative/handoff.db"),
        ("ledger: {url: [x]}", "ledger.url: got a list, want a URL like sqlite:///handoff.db"),
        ("ledger: {retention: 1h}", "ledger.retention: got '1h', want a time from 1d to 36500d"),
        ("server: {max_body: true}", "server.max_body: got true, want a whole number from 1024"),
        ("server: {max_body: 10}", "server.max_body: got the number 10, want a whole number"),
        ("wandb: {base_url: 'http://wandb.acme.example'}", "wandb.base_url: is http://wandb.acme.example…"),
        ("channels: {ml: {slack: {env: SPACED}}}", "channels.ml.slack: holds no https URL"),
        ("channels: {ml: {slack: {env: PLAIN}}}", "channels.ml.slack: holds no https URL"),
        ("channels: {ml: {slack: {env: BROKEN}}}", "channels.ml.slack: holds no https URL"),
        (
            "channels: [ml]",
            "channels: got a list, want a mapping from the name of each channel to what it is",
        ),
    ],
)
def test_another_section_s_value_is_told_where_it_stands(line: str, said: str) -> None:
    """
    The same for the ledger, the server, W&B and the channels.
    """
    environ = {
        "MYSQL": "mysql://ana:hunter22@db/x",
        "SPACED": "https://hooks.slack.example/x ",
        "PLAIN": "http://hooks.slack.example/x",
        "BROKEN": "https://[::1/x",
    }

    assert [
        f"{each.where}: {each.message}"[: len(said)] for each in problems(f"{GOOD}{line}\n", environ)
    ] == [said]


@pytest.mark.parametrize("budget", ["1/s", "'off'", "off", "1/s,80/m"])
def test_a_budget_is_taken(budget: str) -> None:
    """
    Limits as they are written in the variable; off is a word.
    """
    config = read(GOOD.replace("github: {", f"github: {{budget: '{budget}', ").replace("''", "'"))

    assert (config.github.budget is None) is ("off" in budget)


@pytest.mark.parametrize(
    ("github", "said"),
    [
        ("{token: {env: ACME_TOKEN}, budget: lots}", "github.budget: got 'lots', want off, or one limit"),
        (
            "{token: {env: ACME_TOKEN}, api_url: https://github.com}",
            "github.api_url: got 'https://github.com', wh",
        ),
        (
            "{token: {env: ACME_TOKEN}, api_version: 2022-11-29}",
            "github.api_version: got '2022-11-29', want 2022",
        ),
        (
            "{app: {client_id: 'a b', private_key: {env: ACME_TOKEN}}}",
            "github.app.client_id: got 'a b', want the",
        ),
        ("{app: ana}", "github.app: got 'ana', want a mapping with client_id, private_key"),
    ],
)
def test_what_is_wrong_with_github_is_told(github: str, said: str) -> None:
    """
    Credentials, address, version and budget are looked at one by one.
    """
    told = problems(GOOD.replace("{token: {env: ACME_TOKEN}}", github))

    assert f"{told[0].where}: {told[0].message}".startswith(said)


def test_nobody_may_post_is_a_problem_only_where_somebody_is_to() -> None:
    """
    Without sources, in file or environment, receiving is refused; dispatching alone is not.
    """
    text = GOOD.replace("sources:\n  wandb: {secrets: [{env: WANDB_WEBHOOK_SECRET}]}\n", "")
    environ = {"ACME_TOKEN": ENVIRON["ACME_TOKEN"]}

    with pytest.raises(ConfigError, match="sources: is missing; want sources:"):
        read_config(text, file="handoff.yaml", environ=environ)
    assert read_config(text, file="handoff.yaml", environ=environ, receives=False).sources == {}
    assert (
        "sources: has none"
        in problems(TOP.replace("\n  wandb: {secrets: [{env: WANDB_WEBHOOK_SECRET}]}", " {}") + ROUTE)[0]
    )


def test_a_chat_on_this_machine_may_be_plain() -> None:
    """
    What stands in for Slack in a test speaks http, on loopback alone.
    """
    text = f"{GOOD}channels: {{ml: {{slack: {{env: LOCAL}}}}}}\n"

    assert read(text, {"LOCAL": "http://127.0.0.1:8081/hook"}).channels["ml"].service == "slack"


@pytest.mark.parametrize(
    ("secret", "good"), [("whsec_MTIzNDU2", True), ("whsec_", False), ("plain words", True)]
)
def test_a_signing_secret_is_what_its_prefix_says(secret: str, good: bool) -> None:
    """
    Behind whsec_ stands base64; without it the text itself is the secret.
    """
    route = ROUTE.replace(
        ACTION, "post: {url: 'https://example.com', signature: standard, secret: {env: SIGN}}"
    )

    assert (
        bool(read(TOP + route, {"SIGN": secret}).routes) if good else problems(TOP + route, {"SIGN": secret})
    )
