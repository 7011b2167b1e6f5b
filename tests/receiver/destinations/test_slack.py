"""Messages in Slack: readable, within Slack's limits, and no text from outside becomes markup."""

from __future__ import annotations

from typing import Any

import pytest
from slack_sdk.models.blocks import Block

from receiver.destinations import slack
from receiver.notice import What
from tests.receiver.destinations.world import NASTY, a_notice, nasty
from tests.stand_ins.endpoints.slack import blocks_are_good, emphasised, linked, mentions

EVERY = [
    *(pytest.param(a_notice(what=what, why="Not Found"), id=what.value) for what in What),
    *(pytest.param(nasty(what), id=f"nasty {what.value}") for what in What),
    pytest.param(
        a_notice(**dict.fromkeys(("artifact", "alias", "author", "why", "delivery"), "<&>" * 2_000)),
        id="long",
    ),
    pytest.param(a_notice(artifact_url="https://wandb.ai/?" + "&" * 1_300), id="a long link"),
]


def test_it_is_read_at_a_glance() -> None:
    """
    What happened stands on top, then model, version, alias, who and where, then the links.
    """
    run = "https://github.com/acme/serving/actions/runs/7"
    message = slack.message(a_notice(what=What.RUN_FINISHED, conclusion="success", run_url=run))
    head, facts, links, foot = message["blocks"]

    assert message["text"] == "✅ Run succeeded: `nature-100 v3 → production`"
    assert head["text"]["text"] == "✅ Run succeeded"
    assert facts["text"]["text"] == "*`nature-100 v3 → production`*"
    assert [each["text"] for each in facts["fields"]] == [
        "*Artifact*\n`acme/wandb-registry-model/nature-100`",
        "*By*\n`ana`",
        "*To*\n`acme/serving (BUILD_AND_DEPLOY)`",
    ]
    assert links["text"]["text"].endswith(f"·  <{run}|Workflow run>")
    assert foot["elements"][0]["text"] == "Route `deploy-production`  ·  Delivery `01JD2Q8V`"


@pytest.mark.parametrize("notice", EVERY)
def test_slack_takes_every_message(notice: Any) -> None:
    """
    Slack's own SDK finds its blocks good, and so do the published limits.
    """
    message = slack.message(notice)

    for block in Block.parse_all(message["blocks"]):
        block.validate_json()
    assert blocks_are_good(message["blocks"])


@pytest.mark.parametrize("what", What)
def test_text_from_outside_stays_text(what: What) -> None:
    """
    Nobody is mentioned, nothing is linked but our links, nothing outside of code is emphasised.
    """
    message = slack.message(nasty(what))

    assert mentions(message) == []
    assert linked(message) == [("https://wandb.ai/a%7Cb%3Ec%3C!here%3E&d=1", "Open in W&amp;B")]
    assert not any(mark in emphasised(message) for mark in ("*b*", "_c_", "~e~", "evil"))


def test_text_is_taken_as_it_stands() -> None:
    """
    Slack is told not to make links and mentions of plain text.
    """
    message = slack.message(a_notice(alias="#general @here https://evil.example"))
    texts = [
        each for block in message["blocks"] for each in (*block.get("fields", ()), block.get("text", {}))
    ]

    assert all(each["verbatim"] for each in texts if each.get("type") == "mrkdwn")
    assert (message["unfurl_links"], message["unfurl_media"]) == (False, False)


def test_our_own_words_are_no_code() -> None:
    """
    What to look at when no run starts is prose; what others said is quoted.
    """
    no_run = slack.message(a_notice(what=What.NO_RUN))["blocks"][2]
    failed = slack.message(a_notice(what=What.FAILED, why="Not `Found`"))["blocks"][2]

    assert no_run["text"]["text"].startswith("GitHub took the dispatch")
    assert failed["text"]["text"] == "```Not 'Found'```"


def test_code_cannot_be_left() -> None:
    """
    A backtick in a value ends no code span.
    """
    assert slack.code(NASTY).count("`") == 2
    assert slack.code("<!here> & `<@U1>`") == "`&lt;!here&gt; &amp; '&lt;@U1&gt;'`"
