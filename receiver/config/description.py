"""What `handoff.yaml` may say, written down once: the reader and the JSON Schema are both made of this."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from receiver.budget import DEFAULT
from receiver.config.scalars import NAME, Choice, Flag, Length, Text, Whole
from receiver.config.secret_values import SecretValue, TextOrSecret
from receiver.config.tables import Fork, Key, ListOf, MapOf, OffOr, Table
from receiver.config.templates import TemplateMap, TemplateText
from receiver.config.types import API_VERSIONS, NEWS
from receiver.config.when import When
from receiver.config.wrong import (
    wrong_with_base_url,
    wrong_with_budget,
    wrong_with_channel,
    wrong_with_open_database_url,
    wrong_with_token,
)
from receiver.durations import shortly
from receiver.routing.planned import MOST_PROPERTIES
from receiver.routing.question import OWN_FIELD
from receiver.settings import (
    DEFAULT_DUPLICATE_WINDOW,
    DEFAULT_MAX_BODY,
    DEFAULT_RETENTION,
    LARGEST_MAX_BODY,
    LONGEST_DUPLICATE_WINDOW,
    LONGEST_RETENTION,
    SHORTEST_RETENTION,
    SMALLEST_MAX_BODY,
)
from receiver.urls import DEFAULT_API_URL, DEFAULT_DATABASE_URL, wrong_with_api_url, wrong_with_database_url
from registry_client.credentials import DEFAULT_BASE_URL

MOST_INPUTS = 25  # GitHub's own limit.


GLOB = Text("text, perhaps with * and ?")
REPOSITORY = r"[A-Za-z0-9][A-Za-z0-9-]{0,38}/(?!\.{1,2}$)[A-Za-z0-9._-]{1,100}"

SOURCE = Table(
    {
        "secrets": Key(
            ListOf(SecretValue("receives"), least=1),
            "What its webhooks are signed with; several while they change.",
        ),
        "tokens": Key(
            ListOf(SecretValue("receives", wrong_with_token), least=1),
            "The access token that its webhooks carry; several while they change.",
        ),
        "entities": Key(
            ListOf(GLOB, least=1), "The entities it may speak for, with * and ?; without the key, any."
        ),
    },
    some=("secrets", "tokens"),
)
APP = Table(
    {
        "client_id": Key(
            Text("the App's client ID, like Iv23li…", r"[A-Za-z0-9._-]{1,100}"),
            "The App's client ID, from its settings page.",
            required=True,
        ),
        "private_key": Key(
            SecretValue("dispatches"), "The App's private key, in PEM as GitHub gives it.", required=True
        ),
    }
)
GITHUB = Table(
    {
        "app": Key(APP, "Who we are at GitHub: an App (recommended)."),
        "token": Key(
            SecretValue("dispatches", wrong_with_token), "Or a token with Contents: write on each repository."
        ),
        "api_url": Key(
            Text("a URL", wrong=wrong_with_api_url),
            "Where GitHub's API is; your own server's ends in /api/v3.",
            default=DEFAULT_API_URL,
        ),
        "api_version": Key(
            Choice(API_VERSIONS), "The version of GitHub's API to ask for.", default=API_VERSIONS[0]
        ),
        "budget": Key(
            Text("limits like 1/s,80/m,500/h, or off", wrong=wrong_with_budget),
            "How often GitHub is asked, at most.",
            default=DEFAULT,
        ),
        "webhook_secret": Key(
            ListOf(SecretValue("receives"), least=1),
            "What GitHub signs workflow_run webhooks with, at POST /webhooks/github.",
        ),
    },
    at_most_one=("app", "token"),
)
WANDB = Table(
    {
        "api_key": Key(SecretValue("dispatches", wrong_with_token), "A key that may read the artifacts."),
        "base_url": Key(
            Text("a URL", wrong=wrong_with_base_url), "Where W&B's API is.", default=DEFAULT_BASE_URL
        ),
        "verify": Key(
            Choice(("off", "required")),
            "Whether W&B is asked, before anything is dispatched, that the promotion still holds.",
            default="off",
        ),
    }
)
DISPATCH = Table(
    {
        "repository": Key(
            TemplateText("owner/name, like acme/serving", REPOSITORY), "Where to.", required=True
        ),
        "event_type": Key(
            TemplateText("text of at most 100 characters, like BUILD_AND_DEPLOY", r"\S(.{0,98}\S)?"),
            "What the workflow listens to: on: repository_dispatch: types.",
            required=True,
        ),
        "event_types": Key(
            ListOf(Text("text of at most 100 characters", r"\S(.{0,98}\S)?"), least=1),
            "What a templated event_type may come to; anything else is not dispatched.",
        ),
        "client_payload": Key(
            TemplateMap(
                f"a mapping of at most {MOST_PROPERTIES - 1} keys",
                most=MOST_PROPERTIES - 1,
                reserved=(OWN_FIELD,),
            ),
            f"Instead of W&B's own fields; our {OWN_FIELD} object is always added.",
        ),
    },
    strangers=dict.fromkeys(
        ("ref", "inputs"), "is for a workflow_dispatch; want workflow: FILE beside it, or not this key"
    ),
)
WORKFLOW = Table(
    {
        "repository": DISPATCH.keys["repository"],
        "workflow": Key(
            TemplateText("the name of a workflow file, like evaluate.yml", r"[\w.-]+\.ya?ml|[0-9]+"),
            "The workflow to start, by its file name (or number); it needs on: workflow_dispatch.",
            required=True,
        ),
        "ref": Key(
            TemplateText("a branch or tag, like main"), "The branch or tag to run it on.", required=True
        ),
        "inputs": Key(
            TemplateMap(f"a mapping of at most {MOST_INPUTS} inputs", most=MOST_INPUTS, flat=True),
            "The inputs that the workflow declares.",
        ),
    },
    strangers=dict.fromkeys(
        ("event_type", "event_types", "client_payload"),
        "is for a repository_dispatch, and workflow is for a workflow_dispatch; want one of both",
    ),
)
POST = Table(
    {
        "url": Key(Text("an https URL"), "Where to.", required=True),
        "token": Key(SecretValue("dispatches", wrong_with_token), "Sent as a bearer token."),
        "signature": Key(
            Choice(("standard", "wandb")),
            "How the body is signed: as Standard Webhooks specify, or as W&B signs. Needs secret.",
        ),
        "secret": Key(SecretValue("dispatches"), "What the body is signed with. Needs signature."),
        "body": Key(TemplateMap(), f"Instead of W&B's own fields and our {OWN_FIELD} object."),
        "allow_private": Key(
            Flag(), "Whether the address may be a private one, and plain http.", default=False
        ),
        "timeout": Key(
            Length(timedelta(seconds=1), timedelta(seconds=60)),
            "How long to wait for an answer.",
            default="15s",
        ),
    }
)
LAUNCH = Table(
    {
        "queue": Key(TemplateText("the name of a queue"), "The queue.", required=True),
        "job": Key(
            TemplateText("a job, like acme/jobs/train:latest"), "The job artifact to run.", required=True
        ),
        "entity": Key(TemplateText("an entity of W&B"), "Whose queue it is.", required=True),
        "project": Key(
            TemplateText("a project of W&B"), "The project that the run is put into.", required=True
        ),
        "overrides": Key(TemplateMap(), "What to change in the job's own settings."),
    }
)
ROUTE = Table(
    {
        "name": Key(
            Text("small letters, digits and '-' between them, like deploy-production", NAME),
            "What the ledger and the news call it.",
            required=True,
        ),
        "when": Key(When(), "What must hold; all of it.", required=True),
        "dispatch": Key(Fork("workflow", WORKFLOW, DISPATCH), "Start workflows at GitHub."),
        "post": Key(POST, "Send it to any other HTTPS endpoint."),
        "launch": Key(LAUNCH, "Put a job into a queue of W&B Launch."),
        "notify": Key(
            ListOf(Text("the name of a channel")),
            "Which channels are told; without the key all of them, with [] none.",
        ),
        "continue": Key(
            Flag(), "Whether the routes below are looked at when this one matched.", default=True
        ),
        "order": Key(
            Choice(("keep", "overtake")),
            "Whether a later promotion may pass one that waits for a retry.",
            default="keep",
        ),
        "ambiguous": Key(
            Choice(("retry", "hold")),
            "What to do when nobody knows whether it arrived: send again, or wait for a person.",
            default="retry",
        ),
        "reconcile": Key(
            Table(
                {
                    "every": Key(
                        Length(timedelta(minutes=1), timedelta(days=1)),
                        "How often W&B is compared with what was dispatched.",
                        required=True,
                    )
                }
            ),
            "Catch up on what W&B's webhooks missed.",
        ),
        "run": Key(
            OffOr(
                Table(
                    {
                        "within": Key(
                            Length(timedelta(seconds=10), timedelta(days=1)),
                            "How soon its run should be seen, before it is said that none came.",
                            required=True,
                        )
                    }
                )
            ),
            "Follow the dispatch to its workflow run.",
            default={"within": "2m"},
        ),
    },
    exactly_one=("dispatch", "post", "launch"),
    strangers={
        name: "is a key of when; want it under when"
        for name in When().keys
        if "." not in name and name != "not"
    },
)
CHANNEL = Table(
    {
        "slack": Key(
            SecretValue("dispatches", wrong_with_channel), "The address of an incoming webhook of Slack."
        ),
        "teams": Key(
            SecretValue("dispatches", wrong_with_channel), "The address of a workflow webhook of Teams."
        ),
        "format": Key(
            Choice(("adaptive", "messagecard")),
            "What Teams is sent; messagecard is the older form.",
            default="adaptive",
        ),
        "on": Key(ListOf(Choice(NEWS), least=1), "Which news; without the key, all of them."),
    },
    exactly_one=("slack", "teams"),
)
LEDGER = Table(
    {
        "url": Key(
            TextOrSecret(
                Text("a URL like sqlite:///handoff.db", wrong=wrong_with_open_database_url),
                SecretValue("both", wrong_with_database_url),
            ),
            "Where the ledger is; one with a password as {env: NAME} or {file: PATH}.",
            default=DEFAULT_DATABASE_URL,
        ),
        "retention": Key(
            Length(SHORTEST_RETENTION, LONGEST_RETENTION, off=True),
            "How long what has ended is kept.",
            default=shortly(DEFAULT_RETENTION),
        ),
        "duplicate_window": Key(
            Length(timedelta(0), LONGEST_DUPLICATE_WINDOW, off=True),
            "How long the same promotion, told again, is a duplicate.",
            default=shortly(DEFAULT_DUPLICATE_WINDOW),
        ),
    }
)
SERVER = Table(
    {
        "max_body": Key(
            Whole(SMALLEST_MAX_BODY, LARGEST_MAX_BODY),
            "How many bytes a webhook may have.",
            default=DEFAULT_MAX_BODY,
        )
    }
)
REPORTS = Table(
    {
        "secrets": Key(
            ListOf(SecretValue("receives"), least=1),
            "What jobs sign their reports with, at POST /reports; several while they change.",
            required=True,
        )
    }
)
DOCUMENT = Table(
    {
        "sources": Key(
            MapOf(
                SOURCE,
                "source",
                {"github": "is kept for GitHub's own webhooks (github.webhook_secret); want another name"},
            ),
            "Who may post webhooks, each at /webhooks/NAME.",
        ),
        "github": Key(GITHUB, "GitHub, and who we are there."),
        "wandb": Key(WANDB, "W&B, where it is asked."),
        "routes": Key(
            ListOf(ROUTE, least=1, single=False), "What goes where, from the top down.", required=True
        ),
        "channels": Key(MapOf(CHANNEL, "channel"), "Where people read the news."),
        "reports": Key(REPORTS, "What the end of a job tells: the Action `report`, or `handoff mark`."),
        "ledger": Key(LEDGER, "Where deliveries and dispatches are kept."),
        "server": Key(SERVER, "The pages."),
    }
)


def json_schema() -> dict[str, Any]:
    """The JSON Schema of `handoff.yaml`, for editors and for CI."""
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "handoff.yaml",
        "description": "Which promotion in Weights & Biases goes where, by Handoff.",
        **DOCUMENT.schema(),
    }
