"""handoff.yaml becomes a Config; where it is silent, the environment counts."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from receiver.budget import Budget
from receiver.config import (
    Channel,
    ConfigError,
    GitHubConfig,
    LedgerConfig,
    ServerConfig,
    Source,
    WandbConfig,
    read_config,
)
from receiver.errors import SettingsError
from receiver.routing.conditions import Condition
from receiver.routing.route import Launch, Post, RepositoryDispatch, Route, WorkflowDispatch
from receiver.routing.template import Template
from receiver.secret import Secret
from receiver.settings import GitHubApp
from tests.receiver.config.reading import ENVIRON, FILES, GOOD, PEM, ROUTE, SAMPLES, TOP, problems, read

ISSUED = (SAMPLES / "handoff.yaml").read_text(encoding="utf-8")


def secret(name: str) -> Secret:
    """The secret in a variable of the samples."""
    return Secret(ENVIRON[name])


def when(**wants: object) -> tuple[Condition, ...]:
    """Conditions."""
    return tuple(Condition.parse(key, want) for key, want in wants.items())


def test_the_sample_is_read_as_it_stands() -> None:
    """
    Sources, App, W&B, four routes of three kinds, two channels; all else by default, no warning.
    """
    config = read(ISSUED)
    previous = Secret(FILES["/run/secrets/previous"].decode().rstrip("\n"))

    assert config.sources == {
        "wandb": Source(
            "wandb",
            (secret("WANDB_WEBHOOK_SECRET"), previous),
            (secret("WANDB_WEBHOOK_TOKEN"),),
        ),
        "vision-team": Source("vision-team", (secret("VISION_SECRET"),), (), ("vision",)),
    }
    assert config.github == GitHubConfig(GitHubApp("Iv23abc", Secret(PEM)))
    assert config.wandb == WandbConfig(secret("WANDB_API_KEY"), "https://api.wandb.ai", "required")
    assert config.channels == {
        "ml-slack": Channel(
            "ml-slack", "slack", secret("SLACK_WEBHOOK_URL"), on=("accepted", "failed", "run-finished")
        ),
        "ml-teams": Channel("ml-teams", "teams", secret("TEAMS_WEBHOOK_URL"), on=("failed",)),
    }
    assert (config.ledger, config.server, config.warnings) == (LedgerConfig(), ServerConfig(), ())
    assert config.routes == (
        Route(
            "deploy-production",
            RepositoryDispatch(
                Template.parse("acme/serving"),
                Template.parse("BUILD_AND_DEPLOY"),
                client_payload=Template.parse(
                    {"environment": "production", "model": "${artifact.collection}"}
                ),
            ),
            when(
                event="ADD_ARTIFACT_ALIAS",
                artifact="acme/wandb-registry-model/nature-*",
                alias="production",
                author=["ana", "release-*"],
            ),
            ("ml-slack",),
        ),
        Route(
            "evaluate-candidates",
            WorkflowDispatch(
                Template.parse("acme/${artifact.collection}"),
                Template.parse("evaluate.yml"),
                Template.parse("main"),
            ),
            when(event="LINK_ARTIFACT", artifact="acme/wandb-registry-model/*"),
            ("ml-slack", "ml-teams"),
        ),
        Route(
            "retrain",
            RepositoryDispatch(Template.parse("acme/training"), Template.parse("RETRAIN")),
            when(event="CREATE_ARTIFACT", artifact="acme/reviews/*", type="dataset"),
            ("ml-slack", "ml-teams"),
        ),
        Route(
            "modal",
            Post("https://acme--ci.modal.run", secret("MODAL_TOKEN")),
            when(alias="candidate"),
            ("ml-slack", "ml-teams"),
        ),
    )


def test_every_secret_is_known_and_none_is_seen() -> None:
    """
    All nine are among those that are kept out of what leaves; no repr shows one.
    """
    config = read(ISSUED)
    held = {each.value for each in config.all_secrets}
    files = {data.decode().rstrip("\n") for data in FILES.values()}

    assert held == (set(ENVIRON.values()) - {ENVIRON["ACME_TOKEN"]}) | files
    assert not [value for value in held if value in repr(config)]


def test_all_that_a_route_can_say() -> None:
    """
    Each key of a route, of a post and of a launch arrives where it belongs.
    """
    config = read(
        f"""{TOP}
wandb: {{api_key: {{env: WANDB_API_KEY}}}}
routes:
  - name: all
    when:
      not: {{type: [ci-*, bot], metadata.draft: true}}
      metadata.accuracy: ">= 0.9"
      metadata: {{layers: [12, 24], dotted.key: x}}
      artifact: acme/models/nature
      alias: production
    dispatch: {{repository: acme/serving, event_type: "${{event.type}}", event_types: [A, B]}}
    notify: []
    continue: false
    order: overtake
    ambiguous: hold
    reconcile: {{every: 10m}}
    run: {{within: 600}}
  - name: send
    when: {{source: wandb}}
    post:
      url: https://10.0.0.7:8443/hook?x=1
      signature: standard
      secret: {{env: VISION_SECRET}}
      body: {{digest: "${{artifact.digest}}", version: 1}}
      allow_private: true
      timeout: 5s
    ambiguous: hold
  - name: train
    when: {{}}
    launch:
      {{queue: gpu, job: "acme/jobs/train:latest", entity: acme, project: nature, overrides: {{args: [1]}}}}
"""
    )
    first, second, third = config.routes

    assert first == Route(
        "all",
        RepositoryDispatch(Template.parse("acme/serving"), Template.parse("${event.type}"), ("A", "B")),
        (
            Condition.parse("type", ["ci-*", "bot"], negated=True),
            Condition.parse("metadata.draft", True, negated=True),
            Condition.parse("metadata.accuracy", ">= 0.9"),
            Condition.parse("metadata.layers", [12, 24]),
            Condition.parse("metadata.dotted.key", "x"),
            Condition.parse("artifact", "acme/models/nature"),
            Condition.parse("alias", "production"),
        ),
        (),
        goes_on=False,
        order="overtake",
        ambiguous="hold",
        reconcile=timedelta(minutes=10),
        run_within=timedelta(minutes=10),
    )
    assert second.action == Post(
        "https://10.0.0.7:8443/hook?x=1",
        signature="standard",
        secret=secret("VISION_SECRET"),
        body=Template.parse({"digest": "${artifact.digest}", "version": 1}),
        allow_private=True,
        timeout=timedelta(seconds=5),
    )
    assert third.action == Launch(
        Template.parse("gpu"),
        Template.parse("acme/jobs/train:latest"),
        Template.parse("acme"),
        Template.parse("nature"),
        Template.parse({"args": [1]}),
    )


def test_one_value_is_a_list_of_one() -> None:
    """
    Secrets, entities, notify and on take one value as they take a list; run may be off.
    """
    config = read(
        """
sources: {wandb: {secrets: {env: WANDB_WEBHOOK_SECRET}, entities: acme}}
github: {token: {env: ACME_TOKEN}, webhook_secret: {env: VISION_SECRET}, api_version: '2026-03-10'}
routes:
  - name: deploy
    when: {alias: production}
    dispatch: {repository: acme/serving, event_type: DEPLOY}
    notify: ml
    run: off
channels: {ml: {teams: {env: TEAMS_WEBHOOK_URL}, format: messagecard, on: failed}}
"""
    )

    assert config.sources["wandb"].entities == ("acme",)
    assert config.routes[0].notify == ("ml",)
    assert config.routes[0].run_within is None
    assert (config.channels["ml"].on, config.channels["ml"].format) == (("failed",), "messagecard")
    assert config.github == GitHubConfig(
        secret("ACME_TOKEN"), api_version="2026-03-10", webhook_secrets=(secret("VISION_SECRET"),)
    )


def test_a_silent_file_leaves_the_rest_to_the_environment() -> None:
    """
    The variables of the same meaning go on counting where the file says nothing.
    """
    config = read(
        ROUTE,
        {
            "WANDB_WEBHOOK_TOKEN_PREVIOUS": "the-token-before-this-one",
            "GITHUB_TOKEN": "github-token-of-the-environment",
            "GITHUB_API_URL": "https://github.acme.example/api/v3",
            "HANDOFF_GITHUB_BUDGET": "2/s",
            "HANDOFF_DATABASE_URL": "sqlite:////data/ledger.db",
            "HANDOFF_RETENTION": "off",
            "HANDOFF_DUPLICATE_WINDOW": "1h",
            "HANDOFF_MAX_BODY": "4096",
            "HANDOFF_ORDER": "overtake",
            "WANDB_BASE_URL": "https://wandb.acme.example/",
        },
    )

    assert config.sources == {
        "wandb": Source(
            "wandb",
            (secret("WANDB_WEBHOOK_SECRET"),),
            (secret("WANDB_WEBHOOK_TOKEN"), Secret("the-token-before-this-one")),
        )
    }
    assert config.github == GitHubConfig(
        Secret("github-token-of-the-environment"),
        "https://github.acme.example/api/v3",
        budget=Budget.parse("2/s"),
    )
    assert config.ledger == LedgerConfig("sqlite:////data/ledger.db", None, timedelta(hours=1))
    assert config.server == ServerConfig(4096)
    assert config.wandb.base_url == "https://wandb.acme.example"
    assert config.routes[0].order == "overtake"
    assert Secret("github-token-of-the-environment") in config.all_secrets
    assert config.warnings == ()


def test_where_both_speak_the_file_counts_and_says_so() -> None:
    """
    A variable beside a key of the same meaning is warned of, unless the file itself names the variable.
    """
    config = read(
        f"""{TOP}{ROUTE}
ledger: {{url: {{env: HANDOFF_DATABASE_URL}}, retention: 30d, duplicate_window: off}}
server: {{max_body: 2048}}
""",
        {
            "GITHUB_TOKEN": "another-token-altogether",
            "HANDOFF_DATABASE_URL": "sqlite:///named.db",
            "HANDOFF_RETENTION": "60d",
            "HANDOFF_REPOSITORY": "acme/elsewhere",
            "HANDOFF_RETENTOIN": "1d",
        },
    )

    assert config.ledger == LedgerConfig("sqlite:///named.db", timedelta(days=30), timedelta(0))
    assert config.server == ServerConfig(2048)
    assert config.github.credentials == secret("ACME_TOKEN")
    assert config.warnings == (
        "WANDB_WEBHOOK_TOKEN: set beside sources in handoff.yaml; the file is what counts",
        "GITHUB_TOKEN: set beside github.app or github.token in handoff.yaml; the file is what counts",
        "HANDOFF_RETENTION: set beside ledger.retention in handoff.yaml; the file is what counts",
        (
            "HANDOFF_REPOSITORY: counts for nothing beside handoff.yaml, "
            "where dispatch.repository of a route says it"
        ),
        "HANDOFF_RETENTOIN: is no setting of Handoff; did you mean HANDOFF_RETENTION?",
    )


def test_the_environment_s_mistakes_are_told_with_the_file_s() -> None:
    """
    A bad variable that counts is a problem like others, told before those of the file.
    """
    told = problems(
        GOOD.replace("alias:", "alais:"), {"HANDOFF_MAX_BODY": "lots", "WANDB_BASE_URL": "https://wandb.ai"}
    )

    assert [each.split(";")[0].split(" at W&B")[0] for each in told] == [
        "HANDOFF_MAX_BODY: got 'lots', want bytes from 1024 to 16777216",
        (
            "handoff.yaml:1:1: wandb.base_url: the environment's WANDB_BASE_URL names wandb.ai, "
            "where people look"
        ),
        "handoff.yaml:6:12: routes[0].when.alais: unknown key",
    ]
    assert (told[0].line, told[0].where) == (0, "HANDOFF_MAX_BODY")


def test_one_half_holds_no_secret_of_the_other() -> None:
    """
    A process that receives resolves the sources' secrets alone, one that dispatches all others.
    """
    way_in, way_out = read(ISSUED, dispatches=False), read(ISSUED, receives=False)

    assert {each.origin for each in way_in.resolved} == {
        "env WANDB_WEBHOOK_SECRET",
        "file /run/secrets/previous",
        "env WANDB_WEBHOOK_TOKEN",
        "env VISION_SECRET",
    }
    assert {each.origin for each in way_out.resolved} == {
        "file /run/secrets/app.pem",
        "env WANDB_API_KEY",
        "env MODAL_TOKEN",
        "env SLACK_WEBHOOK_URL",
        "env TEAMS_WEBHOOK_URL",
    }
    assert way_in.github.credentials is None
    assert not {each.value for each in way_in.all_secrets} & {each.value for each in way_out.all_secrets}


def test_one_half_reads_no_variable_of_the_other() -> None:
    """
    Where the environment counts, each half is told of its own variables' mistakes alone.
    """
    environ = {"WANDB_WEBHOOK_TOKEN": "two words", "GITHUB_APP_CLIENT_ID": "Iv1", "GITHUB_TOKEN": ""}

    def told(*, receives: bool) -> list[str]:
        with pytest.raises(ConfigError) as caught:
            read_config(
                ROUTE, file="handoff.yaml", environ=environ, receives=receives, dispatches=not receives
            )
        return [each.where for each in caught.value.problems]

    assert told(receives=True) == ["WANDB_WEBHOOK_TOKEN"]
    assert told(receives=False) == ["GITHUB_APP_PRIVATE_KEY"]


def test_the_ledger_s_password_is_a_secret() -> None:
    """
    It is kept out of what leaves by itself, not only within its address.
    """
    text = f"{GOOD}ledger: {{url: {{env: LEDGER}}}}\n"
    config = read(text, {"LEDGER": "postgresql://ana:hunter%2F22@db/handoff"})

    assert Secret("hunter/22") in config.all_secrets
    assert "hunter" not in repr(config)


def test_a_file_is_read_where_its_secrets_are_not() -> None:
    """
    Who does neither half, like a test in CI, needs no secret, and is still told of all other mistakes.
    """
    config = read_config(ISSUED, file="handoff.yaml", environ={}, receives=False, dispatches=False)
    assert config.all_secrets == ()
    assert len(config.routes) == 4

    with pytest.raises(ConfigError) as caught:
        read_config(
            ISSUED.replace("alias:", "alais:"), file="x", environ={}, receives=False, dispatches=False
        )
    assert len(caught.value.problems) == 2


def test_files_of_secrets_are_sought_beside_the_configuration(tmp_path: Path) -> None:
    """
    A path is read from the folder of handoff.yaml, and one line end at the end is no part of the secret.
    """
    (tmp_path / "token.txt").write_text("token-in-a-file-beside-it\n", encoding="utf-8")
    (tmp_path / "empty.txt").write_text("\n", encoding="utf-8")
    (tmp_path / "latin.txt").write_bytes(b"\xff")
    text = GOOD.replace("{env: ACME_TOKEN}", "{file: token.txt}")

    def reading(text: str) -> object:
        file = str(tmp_path / "handoff.yaml")
        return read_config(text, file=file, environ=ENVIRON).github.credentials

    assert reading(text) == Secret("token-in-a-file-beside-it")
    for name, why in (("empty.txt", "is empty"), ("latin.txt", "it is no text in UTF-8")):
        with pytest.raises(SettingsError, match=why):
            reading(text.replace("token.txt", name))


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("{file: pasted-secret}", "cannot read this file: No such file or directory"),
        ('{file: "-----BEGIN RSA PRIVATE KEY-----"}', "is the secret itself; want the path of the file"),
        ("{env: pasted-secret}", "is no name of an environment variable"),
        ("{env: pasted_secret}", "this variable is not set in the environment"),
        ("{env: EMPTY}", "EMPTY is set, but empty in the environment"),
        ("{env: SPACED}", "holds a space, a line end or other characters"),
        ("{env: 12}", "got the number 12, want the name of an environment variable"),
        ("{env: A, file: b}", "has env and file; want one of them"),
        ("{}", "has none of env, file; want one of them"),
        ("pasted-secret", "is written out in the file; want {env: NAME} or {file: PATH}"),
        ("[]", "got a list, want {env: NAME} or {file: PATH}"),
        ("", "got nothing, want {env: NAME} or {file: PATH}"),
    ],
)
def test_a_secret_comes_from_a_variable_or_a_file(written: str, said: str) -> None:
    """
    Anything else is refused, and what may have been pasted there is not repeated.
    """
    text = f"{TOP.replace('token: {env: ACME_TOKEN}', f'token: {written}')}{ROUTE}"
    told = problems(text, {"EMPTY": "", "SPACED": "two words"})

    assert said in told[0]
    assert "pasted" not in "".join(told)


def test_keys_are_looked_at_as_they_are_read() -> None:
    """
    A private key, a W&B key, a chat's address and a signing secret that cannot be right are refused.
    """
    told = problems(
        """
sources: {wandb: {secrets: [{env: WANDB_WEBHOOK_SECRET}]}}
github: {app: {client_id: Iv23abc, private_key: {env: SHORT}}}
wandb: {api_key: {env: SHORT}}
routes:
  - name: send
    when: {}
    post: {url: https://example.com, signature: standard, secret: {env: WHSEC}}
    run: {within: 1m}
channels: {ml: {slack: {env: SHORT}, format: adaptive}}
""",
        {"SHORT": "much-too-short", "WHSEC": "whsec_???"},
    )

    assert [each.partition(": ")[2].split(";")[0] for each in told] == [
        "github.app.private_key: want a PEM that begins with -----BEGIN RSA PRIVATE KEY-----",
        "wandb.api_key: is too short: got 9 characters, want 40 or more",
        "routes[0].post.secret: begins with whsec_, and what follows is no base64",
        "routes[0].run: is for a dispatch: only GitHub has runs to follow",
        "channels.ml.slack: holds no https URL",
        "channels.ml.format: is for teams",
    ]


@pytest.mark.parametrize(
    "text",
    [
        "https://10.1.2.3/",
        "https://[::1]/",
        "https://localhost/",
        "https://db.internal/",
        "https://[::ffff:a00:1]/",
    ],
)
def test_a_private_address_needs_a_word(text: str) -> None:
    """
    An address that is private by itself is refused unless the route allows it.
    """
    route = ROUTE.replace(
        "dispatch: {repository: acme/serving, event_type: DEPLOY}", f"post: {{url: '{text}'}}"
    )

    assert "is a private address" in problems(TOP + route)[0]
    assert read(TOP + route.replace("'}", "', allow_private: true}")).routes


def test_what_works_but_should_not_stay_so_is_warned_of() -> None:
    """
    Weak secrets, routes that nothing reaches and channels that nobody tells are told with their place.
    """
    config = read(
        f"""{TOP.replace("WANDB_WEBHOOK_SECRET", "SHORT")}
routes:
  - name: first
    when: {{}}
    dispatch: {{repository: acme/serving, event_type: DEPLOY}}
    continue: false
    notify: []
  - name: never
    when: {{alias: production}}
    dispatch: {{repository: acme/serving, event_type: DEPLOY}}
    notify: []
channels: {{ml: {{slack: {{env: SLACK_WEBHOOK_URL}}}}}}
""",
        {"SHORT": " short"},
    )

    assert [each.split(";")[0] for each in config.warnings if each.startswith("handoff.yaml")] == [
        (
            "handoff.yaml:11:5: routes[1]: is never reached: "
            "route first above it takes everything and ends the list"
        ),
        "handoff.yaml:2:21: sources.wandb.secrets[0]: has 6 characters",
        "handoff.yaml:2:21: sources.wandb.secrets[0]: starts or ends with a space",
        "handoff.yaml:15:16: channels.ml: is told of nothing: no route notifies it",
    ]


def test_credentials_are_needed_where_something_goes_to_github() -> None:
    """
    A file whose routes only post needs none.
    """
    route = ROUTE.replace(
        "dispatch: {repository: acme/serving, event_type: DEPLOY}", "post: {url: https://example.com}"
    )
    config = read(TOP.replace("github: {token: {env: ACME_TOKEN}}\n", "") + route)

    assert config.github.credentials is None


def test_what_an_alias_repeats_is_told_at_each_path() -> None:
    """
    A problem in what an alias repeats is told for each path, at the one place where it is written.
    """
    text = f"""{TOP}
x-unknown: 1
routes:
  - &route {{name: a, when: {{alias: 1}}, dispatch: {{repository: acme/serving, event_type: X}}}}
  - *route
"""

    assert [each.where for each in problems(text)] == [
        "x-unknown",
        "routes[0].when.alias",
        "routes[1].when.alias",
    ]
