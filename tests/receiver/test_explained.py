"""`handoff route`: which routes take an event and why not, and exactly what would be sent."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timezone

from receiver.dispatch import Dispatch, Outcome, OutcomeKind
from receiver.explained import Asked, explained
from receiver.routing.conditions import Condition
from receiver.routing.route import Launch, Post, RepositoryDispatch, Route, WorkflowDispatch
from receiver.routing.template import Template
from receiver.secret import Secret
from tests.receiver.routing.test_planned import BODY, event

FLOWER = "acme/wandb-registry-model/flower"
NOW = datetime(2026, 11, 20, 12, tzinfo=timezone.utc)


def build(name: str = "deploy", *when: Condition, **payload: object) -> Route:
    """A route that dispatches."""
    action = RepositoryDispatch(
        Template("acme/serving"),
        Template("BUILD"),
        client_payload=Template.parse(payload) if payload else None,
    )
    return Route(name, action, when)


def told(*routes: Route, **changes: object) -> list[str]:
    """The lines for the event that W&B sends."""
    asked = replace(Asked(event(), "wandb", routes), **changes)  # type: ignore[arg-type]
    return explained(asked, NOW).splitlines()


def test_the_exact_dispatch() -> None:
    """
    Where it goes, what it says, with words in the place of what each delivery has of its own.
    """
    lines = told(build(model="${artifact.collection}", id="k-${event.key}"))

    assert lines[:7] == [
        "event       ADD_ARTIFACT_ALIAS",
        "source      wandb",
        "artifact    acme/wandb-registry-model/flower",
        "version     v3",
        "alias       production",
        "author      ana",
        "",
    ]
    assert lines[7:13] == [
        "✓ deploy",
        "",
        "deploy: repository_dispatch BUILD to acme/serving",
        "  {",
        '    "model": "flower",',
        '    "id": "k-<key>",',
    ]
    assert '      "delivery": "<delivery>",' in lines
    assert '      "key": "<key>",' in lines


def test_why_a_route_does_not_take_it() -> None:
    """
    Each condition that fails, in words; and that nothing would be sent.
    """
    lines = told(build("one", Condition.parse("alias", "staging"), Condition.parse("author", ["bea", "c*"])))

    assert lines[7] == "✗ one: alias: got 'production', want 'staging'; author: got 'ana', want 'bea' or 'c*'"
    assert lines[-1] == "No route takes it: it would be kept as unrouted, and nothing be sent."


def test_a_route_that_ends_the_list() -> None:
    """
    What stands below is not looked at; where only W&B can tell whether it ends, that is said.
    """
    surely = replace(build("one"), goes_on=False)
    perhaps = replace(build("one", Condition.parse("type", "model")), goes_on=False)

    assert told(surely, build("two"))[7:9] == ["✓ one", "– two: not looked at, for one ends the list"]
    assert told(perhaps, build("two"))[7:9] == [
        "✓ one: if W&B says type is model",
        "✓ two: if W&B says no route above it that ends the list is taken",
    ]


def test_what_waits_for_wandb_stays_open() -> None:
    """
    The question, and the names that W&B will fill in.
    """
    lines = told(
        build("one", Condition.parse("metadata.acc", ">= 0.9"), digest="${artifact.digest}"), verify=True
    )

    assert lines[7] == "✓ one: if W&B says metadata.acc is >= 0.9"
    assert lines[10:14] == [
        f"  W&B is asked first: is {BODY['artifact_version']} committed, in {FLOWER}, carrying production?",
        "  and adds to handoff what it says of the version; with --online it is asked now",
        "  {",
        '    "digest": "${artifact.digest}",',
    ]


def test_with_what_wandb_says() -> None:
    """
    The final message, or what comes of it instead.
    """

    def agree(dispatch: Dispatch) -> dict[str, str]:
        assert dispatch.question is not None
        return {"digest": "abc"}

    def refuse(_: Dispatch) -> Outcome:
        return Outcome(OutcomeKind.OUTDATED, "outdated", "not sent: v4 carries it now")

    route = build("one", digest="${artifact.digest}")
    assert told(route, ask=agree)[-5:] == [
        *told(route)[10:11],
        "  W&B agrees",
        "  {",
        '    "digest": "abc"',
        "  }",
    ]
    assert told(route, ask=refuse)[-1] == "  outdated (outdated): not sent: v4 carries it now"


def test_each_kind_of_destination() -> None:
    """
    Is named; a token or a secret of one never is.
    """
    secret = Secret("never-to-be-seen")
    post = Post("https://ci.example/hook?secret=1", token=secret, signature="standard", secret=secret)
    text = "\n".join(
        told(
            Route("start", WorkflowDispatch(Template("acme/x"), Template("a.yml"), Template("main"))),
            Route("send", post),
            Route("train", Launch(*(Template(name) for name in ("queue", "job", "acme", "p")))),
        )
    )

    assert "start: workflow_dispatch of a.yml in acme/x\n" in text
    assert "send: post to https://ci.example/hook\n" in text
    assert "train: launch\n" in text
    assert "never-to-be-seen" not in text
    assert "secret=1" not in text


def test_what_can_never_be_sent() -> None:
    """
    Is dead at once, and says why.
    """
    action = RepositoryDispatch(Template.parse("acme/${artifact.collection}"), Template("BUILD"))

    lines = explained(
        Asked(event(artifact_collection_name="a b"), "wandb", [Route("one", action)]), NOW
    ).splitlines()
    assert lines[-1] == "  dead at once: repository: got 'acme/a b', want owner/name"


def test_a_source_that_may_not_speak_for_it() -> None:
    """
    Is refused before any route is looked at, also where the event names no entity.
    """
    assert told(build(), entities=("vision",), source="vision-team")[-1] == (
        "Refused: vision-team may speak for vision, and this is of acme."
    )
    assert told(build(), entities=("ac*",))[7] == "✓ deploy"
    nobody = {**BODY, "entity_name": "", "artifact_version_string": ""}
    assert explained(Asked(event(**nobody), "wandb", [build()], ("*",)), NOW).endswith("of no entity.\n")


def test_what_was_taken_away_is_asked_about_as_such() -> None:
    """
    Of a tag that was removed: whether it is still gone.
    """
    asked = Asked(
        event(event_type="REMOVE_ARTIFACT_TAG", tag="eu", alias=""), "wandb", [build()], verify=True
    )

    which = f"{BODY['artifact_version']} committed, in acme/wandb-registry-model/flower"
    assert f"is {which}, without the tag eu?\n" in explained(asked, NOW)
    listed = Asked(event(), "wandb", [build(names=["${event.key}", 1])])
    assert '      "<key>",' in explained(listed, NOW).splitlines()
