"""What our tests send elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from receiver.dispatch import Dispatch
from receiver.notice import Notice, What
from tests.receiver.fakes import START

KEY = "8f14e45fceea167a5a36"
# Everything that some reader takes for more than text.
NASTY = "a<!channel> & <@U1> *b* _c_ `d` ~e~ [f](https://evil.example) <b>g</b> {{DATE(1)}} \u202eh\x07\ni"


def a_dispatch(destination: str, message: Mapping[str, Any], **changes: Any) -> Dispatch:
    """A dispatch with this message to this destination."""
    fields: dict[str, Any] = {
        "id": "v1-1",
        "delivery_id": "v1",
        "repository": destination,
        "event_type": "",
        "client_payload": message,
        "key": KEY,
        "lane": destination,
        "accepted_at": START,
    }
    return Dispatch(**(fields | changes))


def a_notice(**changes: Any) -> Notice:
    """A promotion that was dispatched."""
    fields: dict[str, Any] = {
        "what": What.ACCEPTED,
        "route": "deploy-production",
        "destination": "acme/serving",
        "delivery": "01JD2Q8V",
        "asked": "BUILD_AND_DEPLOY",
        "artifact": "acme/wandb-registry-model/nature-100",
        "version": "v3",
        "alias": "production",
        "author": "ana",
        "artifact_url": "https://wandb.ai/acme/wandb-registry-model/artifacts/model/nature-100/v3",
    }
    return Notice(**(fields | changes))


def nasty(what: What) -> Notice:
    """A notice in which everything from outside means harm."""
    harm = dict.fromkeys(
        ("route", "destination", "delivery", "asked", "artifact", "version", "alias", "tag", "author"), NASTY
    )
    links = {"artifact_url": "https://wandb.ai/a|b>c<!here>&d=1", "run_url": "javascript:alert(1)"}
    return Notice(what=what, **harm, **links, conclusion=NASTY, why=f"{NASTY} ```\n{NASTY}")
