"""Cards in Teams: readable, within Teams' limits, and no text from outside becomes markup."""

from __future__ import annotations

import json
from typing import Any

import pytest

from receiver.destinations import teams
from receiver.notice import What
from tests.receiver.destinations.world import a_notice, nasty
from tests.stand_ins.endpoints.teams import LARGEST, card_is_good, markdown, runs

RUN = "https://github.com/acme/serving/actions/runs/7"


def card_of(notice: Any) -> dict[str, Any]:
    message = teams.adaptive_card(notice)
    [attachment] = message["attachments"]
    assert message["type"] == "message"
    assert attachment["contentType"] == "application/vnd.microsoft.card.adaptive"
    card: dict[str, Any] = attachment["content"]
    return card


def test_it_is_read_at_a_glance() -> None:
    """
    What happened and to which model stands on top, in the colour of good news; then the facts; then buttons.
    """
    card = card_of(a_notice(what=What.RUN_FINISHED, conclusion="success", run_url=RUN))

    assert card["body"][0]["style"] == "good"
    assert list(markdown(card)) == ["✅ Run succeeded"]
    assert list(runs(card)) == [
        "nature-100 v3 → production",
        *("Artifact", "acme/wandb-registry-model/nature-100"),
        *("By", "ana", "To", "acme/serving (BUILD_AND_DEPLOY)"),
        "Route deploy-production  ·  Delivery 01JD2Q8V",
    ]
    assert [(each["title"], each["url"]) for each in card["actions"]][1:] == [("Workflow run", RUN)]


@pytest.mark.parametrize("what", What)
def test_teams_takes_every_card(what: What) -> None:
    """
    Each element is one of the version that the card names, and the whole is far below the limit.
    """
    for notice in (a_notice(what=what, why="Not Found"), nasty(what)):
        assert card_is_good(card_of(notice))
        assert len(json.dumps(teams.adaptive_card(notice))) < LARGEST
        assert len(json.dumps(teams.message_card(notice))) < LARGEST


@pytest.mark.parametrize("what", What)
def test_text_from_outside_stands_where_teams_reads_no_markdown(what: What) -> None:
    """
    In an Adaptive Card only our own headline is a text block.
    """
    card = card_of(nasty(what))

    assert len(list(markdown(card))) == 1
    assert not any("evil" in text for text in markdown(card))
    assert "evil" not in card["fallbackText"]


@pytest.mark.parametrize("what", What)
def test_a_message_card_has_neither_markdown_nor_html_from_outside(what: What) -> None:
    """
    Outside text stands in sections that switch Markdown off, without a letter that begins HTML.
    """
    card = teams.message_card(nasty(what))

    assert all(section["markdown"] is False for section in card["sections"])
    assert not any(letter in json.dumps([card["sections"], card["summary"]]) for letter in "<>")
    assert "evil" not in card["title"]


def test_a_message_card_says_the_same() -> None:
    """
    The older form has the same facts and links.
    """
    card = teams.message_card(a_notice(what=What.FAILED, why="no such repository", run_url=RUN))

    assert card["title"] == "❌ Promotion not dispatched"
    assert card["summary"] == "Promotion not dispatched: nature-100 v3 → production"
    assert {"name": "By", "value": "ana"} in card["sections"][0]["facts"]
    assert card["sections"][0]["activityTitle"] == "nature-100 v3 → production"
    assert card["sections"][0]["text"] == "no such repository"
    assert card["potentialAction"][1]["targets"][0]["uri"] == RUN
