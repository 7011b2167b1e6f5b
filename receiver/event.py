"""What happened in W&B, read from the body of a webhook: pure, no I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class RegistryEvent:
    """A promotion, or any other event that an automation can post.

    Attributes:
        event: W&B's own name (``ADD_ARTIFACT_ALIAS``, ``LINK_ARTIFACT``, …); None when the body
            names only the dispatch (``BUILD_AND_DEPLOY``) and nothing tells.
        dispatch_type: What GitHub's ``event_type`` is to be: the body's word, else W&B's event.
        artifact_id: The global id in ``wandb-artifact://_id/…``; it never names another version.
        version: ``vN`` when the body tells it.  W&B does not say whether of the registry or of the source.
        fields: The documented variables that the body carries, under W&B's documented names, not empty.
        others: What else the body carries; forwarded only where a setting names it.
    """

    event: str | None
    dispatch_type: str
    artifact_id: str | None
    entity: str | None
    project: str | None
    collection: str | None
    version: str | None
    alias: str | None
    tag: str | None
    author: str | None
    automation: str | None
    fields: Mapping[str, str]
    others: Mapping[str, Any]
