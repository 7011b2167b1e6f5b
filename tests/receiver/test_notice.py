"""The words of notices: plain, short, and nothing lost on the way through the ledger."""

from __future__ import annotations

import json
from typing import Any

import pytest

from receiver import notice as wording
from receiver.notice import Mood, Notice, What
from tests.receiver.destinations.world import NASTY, a_notice, nasty


@pytest.mark.parametrize("what", What)
def test_a_notice_survives_the_ledger(what: What) -> None:
    """
    What is written as JSON is read again, and what else the message holds is left alone.
    """
    before = nasty(what)

    message = json.loads(json.dumps(before.to_message()))

    assert Notice.from_message({**message, "handoff": {"key": "k"}}) == before


@pytest.mark.parametrize(
    "message",
    [
        pytest.param({}, id="nothing"),
        pytest.param({"what": "accepted"}, id="no destination"),
        pytest.param({**a_notice().to_message(), "what": "dancing"}, id="unknown"),
        pytest.param({**a_notice().to_message(), "alias": 3}, id="a number"),
    ],
)
def test_what_is_no_notice_is_said_to_be_none(message: dict[str, Any]) -> None:
    """
    Anything else is a ValueError, for the destination to refuse.
    """
    with pytest.raises(ValueError, match=r"notice|What"):
        Notice.from_message(message)


@pytest.mark.parametrize(
    ("conclusion", "words", "mood"),
    [
        ("success", "Run succeeded", Mood.GOOD),
        ("failure", "Run failed", Mood.BAD),
        ("cancelled", "Run was cancelled", Mood.DOUBTFUL),
        ("invented-tomorrow", "Run finished", Mood.PLAIN),
        (None, "Run finished", Mood.PLAIN),
    ],
)
def test_a_run_ends_in_words_of_ours(conclusion: str | None, words: str, mood: Mood) -> None:
    """
    GitHub's conclusion chooses a headline; one that we do not know is never shown.
    """
    head = wording.headline(a_notice(what=What.RUN_FINISHED, conclusion=conclusion))

    assert (head.words, head.mood) == (words, mood)


def test_values_fit_one_line() -> None:
    """
    Controls, line ends and marks that turn the writing round become spaces; too much is cut with a mark.
    """
    assert wording.plain("a\x07\nb\u202ec\u2028 d") == "a b c d"
    assert wording.plain("x" * 301) == "x" * 299 + "…"
    assert all(value.isprintable() for _, value in wording.facts(nasty(What.FAILED)))


def test_the_subject_is_a_few_words() -> None:
    """
    Collection, version and where it was promoted to; what is not known is left out.
    """
    assert wording.subject(a_notice()) == "nature-100 v3 → production"
    assert wording.subject(a_notice(version=None, alias=None, tag="good")) == "nature-100 → good"
    assert wording.subject(a_notice(artifact=None, version=None, alias=None)) == "an artifact"


def test_no_run_names_the_usual_causes() -> None:
    """
    A 204 that nobody listened to is explained, whatever else is known.
    """
    said = wording.hint(a_notice(what=What.NO_RUN, why=NASTY)) or ""

    assert all(cause in said for cause in ("default branch", "types", "disabled", "run-name"))
    assert wording.hint(a_notice()) is None


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://wandb.ai/a/b c/ä", "https://wandb.ai/a/b%20c/%C3%A4"),
        ("https://wandb.ai/a%20b?x=1&y=2", "https://wandb.ai/a%20b?x=1&y=2"),
        ("https://wandb.ai/a|b>c", "https://wandb.ai/a%7Cb%3Ec"),
        ("http://wandb.ai/a", None),
        ("javascript:alert(1)", None),
        ("https://user@wandb.ai/a", None),
        ("https://[wandb", None),
        ("https://", None),
        ("https://wandb.ai/" + "x" * 2_000, None),
    ],
)
def test_only_https_addresses_are_linked(url: str, shown: str | None) -> None:
    """
    A link is an https address in which nothing can end it; anything else is left out.
    """
    links = wording.links(a_notice(artifact_url=url))

    assert [link for _, link in links] == ([] if shown is None else [shown])
