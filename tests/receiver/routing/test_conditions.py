"""A condition holds, fails, or has to wait for what W&B says."""

from __future__ import annotations

import pytest

from receiver.routing.conditions import Condition, ConditionError, Verdict

SUBJECT = {
    "event": "ADD_ARTIFACT_ALIAS",
    "artifact": "acme/wandb-registry-model/nature-flowers",
    "alias": "production",
    "tag": None,
    "author": "release-bot",
    "source": "wandb",
}
TOLD = {
    **SUBJECT,
    "type": "model",
    "tags": ("eu", "signed-off"),
    "metadata": {"accuracy": 0.93, "ok": True, "team.name": "ana"},
}


@pytest.mark.parametrize(
    ("key", "want", "holds"),
    [
        ("event", "ADD_ARTIFACT_ALIAS", True),
        ("event", ["LINK_ARTIFACT", "ADD_*"], True),
        ("alias", "prod", False),
        ("alias", "prod*", True),
        ("alias", "Production", False),
        ("author", ["ana", "release-*"], True),
        ("author", ["ana"], False),
        ("tag", "*", False),
        ("artifact", "acme/wandb-registry-model/nature-*", True),
        ("artifact", "acme/*/*", True),
        ("artifact", "*/wandb-registry-model/*", True),
        ("artifact", "evil/wandb-registry-model/nature-*", False),
        ("artifact", "acme/wandb-registry-model/nature", False),
        ("artifact", "acme/wandb-registry-model/nature-flower[a-z]", True),
        ("artifact", "acme/wandb-registry-model/nature-flower[!s]", False),
        ("artifact", "acme/wandb-registry-model/nature?flowers", True),
        ("type", "model", True),
        ("tags", "signed-off", True),
        ("tags", ["us", "e?"], True),
        ("tags", "us", False),
        ("metadata.accuracy", ">= 0.9", True),
        ("metadata.accuracy", ">0.93", False),
        ("metadata.accuracy", "< 0.95", True),
        ("metadata.accuracy", "!= 0.93", False),
        ("metadata.accuracy", 0.93, True),
        ("metadata.ok", True, True),
        ("metadata.ok", 1, False),
        ("metadata.ok", ">= 1", False),
        ("metadata.missing", "!= 5", False),
        ("metadata.missing", ">= 0", False),
        ("metadata.team.name", "an*", True),
    ],
)
def test_a_condition_holds_when_any_of_its_values_fits(key: str, want: object, holds: bool) -> None:
    """
    Globs stay within a part, metadata compares like with like, and what is missing is never enough.
    """
    assert Condition.parse(key, want).verdict(TOLD) is (Verdict.HOLDS if holds else Verdict.FAILS)
    assert Condition.parse(key, want, negated=True).verdict(TOLD) is (
        Verdict.FAILS if holds else Verdict.HOLDS
    )


def test_a_star_never_crosses_a_slash() -> None:
    """
    ``acme/*/flower`` means one project, whatever a name holds.
    """
    condition = Condition.parse("artifact", "acme/*/flower")

    assert condition.verdict({"artifact": "acme/a/b/flower"}) is Verdict.FAILS
    assert condition.verdict({"artifact": "acme/a\nb/flower"}) is Verdict.HOLDS
    assert condition.verdict({"artifact": "acme/a/flower\n"}) is Verdict.FAILS


@pytest.mark.parametrize("key", ["type", "tags", "metadata.accuracy"])
def test_what_only_wandb_knows_is_open_until_it_is_told(key: str) -> None:
    """
    The event has no word on type, tags and metadata, and is not believed to.
    """
    condition = Condition.parse(key, "x")

    assert condition.asks_wandb
    assert condition.verdict(SUBJECT) is Verdict.OPEN


def test_an_event_that_names_no_artifact_fits_no_pattern() -> None:
    """
    Nothing is not anything.
    """
    assert Condition.parse("artifact", "*/*/*").verdict({"artifact": None}) is Verdict.FAILS


@pytest.mark.parametrize(
    ("key", "want", "hint"),
    [
        ("evnt", "X", "no key of when"),
        ("metadata.", "X", "no key of when"),
        ("artifact", "nature-*", "want entity/project/collection"),
        ("artifact", "acme//x", "want entity/project/collection"),
        ("alias", "", "want text"),
        ("alias", 5, "want text"),
        ("alias", [], "empty list"),
        ("alias", "[z-a]", "is no glob"),
        ("metadata.a", None, "want a number"),
        ("metadata.a", {"b": 1}, "want a number"),
        ("metadata.a", ">=", "a value behind it"),
        ("metadata.a", "=> 3", "a value behind it"),
    ],
)
def test_what_cannot_be_read_says_what_is_wanted(key: str, want: object, hint: str) -> None:
    """
    A mistake is told when the file is read.
    """
    with pytest.raises(ConditionError) as told:
        Condition.parse(key, want)

    assert hint in str(told.value)


def test_why_says_what_was_got_and_wanted() -> None:
    """
    A person reads which condition failed, and on what.
    """
    assert Condition.parse("alias", ["staging", "candidate"]).why(SUBJECT) == (
        "alias: got 'production', want 'staging' or 'candidate'"
    )
    assert Condition.parse("metadata.f1", ">= 0.9").why(TOLD) == "metadata.f1: got nothing, want '>= 0.9'"
    assert Condition.parse("author", "ana", negated=True).why({"author": "ana"}) == (
        "author: got 'ana', want none of 'ana'"
    )


def test_a_condition_survives_json() -> None:
    """
    What is still open is kept with the dispatch, and means the same when it is read again.
    """
    condition = Condition.parse("metadata.accuracy", [">= 0.9", 1, True], negated=True)

    assert Condition.from_json(condition.to_json()) == condition
