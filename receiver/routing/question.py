"""What W&B is to be asked before a dispatch is sent, and what the answer makes of it.  Pure.

A question is kept with its dispatch, whole: it needs neither the routes as they were nor the event.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from receiver.event import RegistryEvent
from receiver.moment import iso
from receiver.routing.choose import Choice, subject_in_wandb, why_not
from receiver.routing.conditions import Condition
from receiver.routing.template import Template
from receiver.routing.values import values_of_version
from registry_client.reference import ArtifactId
from registry_client.version import ArtifactVersion

OWN_FIELD = "handoff"
_TAG_REMOVED, _UNLINKED = "REMOVE_ARTIFACT_TAG", "UNLINK_ARTIFACT"
_MOST_METADATA = 16_000  # Bytes of it that travel along; more is left to be read in W&B.


class NoLongerHoldsError(Exception):
    """W&B says otherwise than the event: the message says what."""


class NotTakenError(Exception):
    """By what W&B says, the route does not want it: the message says why."""


@dataclass(frozen=True)
class Question:
    """Whether the event still holds, what else its route wants, and what its message lacks.

    Attributes:
        reference: Which version: ``wandb-artifact://_id/…``, or a name where the event had no id.
        collection: Where it must be, ``entity/project/name``; None also where it was unlinked.
        alias: Which it must carry there.
        tag: Which it must have; with ``gone``, must not.
        gone: The event tells that the tag was taken away.
        must, unless: See ``Choice``.
        message: What is to be sent, its open names included.
    """

    reference: str
    collection: str | None
    alias: str | None
    tag: str | None
    gone: bool
    must: tuple[Condition, ...]
    unless: tuple[tuple[Condition, ...], ...]
    message: Template

    @classmethod
    def about(
        cls, event: RegistryEvent, choice: Choice, message: Template, *, entities: tuple[str, ...] = ()
    ) -> Question | None:
        """The question for one choice; None where the event names no version to ask about.

        Where the version is, W&B says: the route's word on that, and which entities the source may speak
        for, are judged once more by its answer.  What was unlinked need not be there any more; but an alias
        that the event names must hold, whatever the event is called.
        """
        reference = str(ArtifactId(event.artifact_id)) if event.artifact_id else None
        reference = reference or event.fields.get("artifact_version_string")
        if reference is None:
            return None
        place = (event.entity, event.project, event.collection)
        unlinked = event.event == _UNLINKED and event.alias is None
        places = tuple(condition for condition in choice.route.when if condition.key == "artifact")
        speaks_for = (Condition("entity", entities),) if entities else ()
        return cls(
            reference=reference,
            collection="/".join(part for part in place if part) if all(place) and not unlinked else None,
            alias=event.alias,
            tag=event.tag,
            gone=event.event == _TAG_REMOVED,
            must=(*(() if unlinked else places), *speaks_for, *choice.must),
            unless=choice.unless,
            message=message,
        )

    def settle(self, version: ArtifactVersion, now: datetime) -> dict[str, Any]:
        """The message as it is to be sent, with what W&B says now.

        Raises:
            NoLongerHoldsError: The tag is gone, or is there again.
            NotTakenError: The route does not want it after all.
            TemplateError: What the message is to hold is empty.
        """
        self._check_tag(version)
        why = why_not(self.must, self.unless, subject_in_wandb(version))
        if why is not None:
            raise NotTakenError(why)
        message: dict[str, Any] = self.message.fill(values_of_version(version)).result()
        if isinstance(message.get(OWN_FIELD), Mapping):
            message = {**message, OWN_FIELD: {**message[OWN_FIELD], **_facts(version, now)}}
        return message

    def to_json(self) -> dict[str, Any]:
        """A form that JSON keeps."""
        return {
            "reference": self.reference,
            "collection": self.collection,
            "alias": self.alias,
            "tag": self.tag,
            "gone": self.gone,
            "must": [condition.to_json() for condition in self.must],
            "unless": [[condition.to_json() for condition in above] for above in self.unless],
            "message": self.message.to_json(),
        }

    @classmethod
    def from_json(cls, form: Mapping[str, Any]) -> Question:
        """Read that form."""
        return cls(
            reference=form["reference"],
            collection=form["collection"],
            alias=form["alias"],
            tag=form["tag"],
            gone=form["gone"],
            must=tuple(Condition.from_json(each) for each in form["must"]),
            unless=tuple(tuple(Condition.from_json(each) for each in above) for above in form["unless"]),
            message=Template.from_json(form["message"]),
        )

    def _check_tag(self, version: ArtifactVersion) -> None:
        if self.tag is None or (self.tag in version.tags) is not self.gone:
            return
        has = ", ".join(version.tags) or "no tag"
        raise NoLongerHoldsError(
            f"{version.name} {'has' if self.gone else 'does not have'} the tag {self.tag!r}: it has {has}"
        )


def _facts(version: ArtifactVersion, now: datetime) -> dict[str, Any]:
    """What W&B says, pinned; metadata only as long as it leaves room for the rest."""
    metadata = dict(version.metadata)
    fits = len(json.dumps(metadata, ensure_ascii=False).encode("utf-8", "replace")) <= _MOST_METADATA
    return {
        "artifact": str(ArtifactId(version.id)),
        "entity": version.collection.entity,
        "project": version.collection.project,
        "collection": version.collection.name,
        "version": version.version,
        "digest": version.digest,
        "size": version.size,
        "type": version.type,
        "metadata": metadata if fits else None,
        "verified_at": iso(now),
    }
