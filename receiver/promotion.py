"""The story of a question: does W&B say now what the event said then?  What was promoted is what is sent."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from math import isfinite
from threading import Lock
from typing import Any

from receiver.dispatch import Dispatch, Outcome, OutcomeKind
from receiver.routing.planned import UnsendableError, check_size
from receiver.routing.question import NoLongerHoldsError, NotTakenError, Question
from receiver.routing.template import TemplateError
from receiver.secret import Secret, holds_one
from receiver.strict_json import strings
from receiver.telling import Telling
from registry_client.errors import (
    AccessDeniedError,
    AliasMovedError,
    ArtifactDeletedError,
    ArtifactNotCommittedError,
    ArtifactNotFoundError,
    ConfigurationError,
    InvalidReferenceError,
    RegistryError,
)
from registry_client.reference import CollectionPath, parse_reference
from registry_client.resolve import Registry, resolve
from registry_client.version import ArtifactVersion

_FRESH = timedelta(seconds=2)  # Several dispatches of one event ask the same within moments.
_KEPT = 64

# What an error means for the dispatch; the first that fits.
_MEANING: tuple[tuple[tuple[type[Exception], ...], OutcomeKind, str, str], ...] = (
    (
        (AliasMovedError, ArtifactDeletedError, NoLongerHoldsError),
        OutcomeKind.OUTDATED,
        "outdated",
        "not sent",
    ),
    ((NotTakenError,), OutcomeKind.UNWANTED, "unwanted", "not sent"),
    (
        (ArtifactNotFoundError, InvalidReferenceError, TemplateError),
        OutcomeKind.REFUSED,
        "not-in-wandb",
        "not sent",
    ),
    ((ArtifactNotCommittedError,), OutcomeKind.POSTPONED, "not-committed", "not sent yet"),
    ((AccessDeniedError, ConfigurationError), OutcomeKind.POSTPONED, "wandb-denied", "W&B cannot be asked"),
    ((RegistryError,), OutcomeKind.POSTPONED, "wandb-unreachable", "W&B cannot be asked"),
)


@dataclass(frozen=True)
class Settled:
    """W&B agrees: what is to be sent, and the version as W&B has it now."""

    message: dict[str, Any]
    version: ArtifactVersion


class Settling:
    """Makes of a dispatch that has a question the message to send.

    Args:
        promotions: Asks W&B; None where the configuration has no key for it any more.
        hidden: Secrets that must not leave, whatever W&B says.
    """

    def __init__(self, promotions: Promotions | None, *, hidden: Collection[Secret] = ()) -> None:
        self._promotions = promotions
        self._hidden = hidden

    def message(self, dispatch: Dispatch) -> Mapping[str, Any] | Outcome:
        """The message, or what comes of it instead of sending."""
        settled = self.settled(dispatch)
        return settled if isinstance(settled, Outcome) else settled.client_payload

    def settled(self, dispatch: Dispatch) -> Dispatch | Outcome:
        """The dispatch with its message, and W&B's page for whoever hears of it; or what comes instead."""
        if dispatch.question is None:
            return dispatch
        if self._promotions is None:
            return Outcome(
                OutcomeKind.POSTPONED, "wandb-denied", "W&B cannot be asked: wandb.api_key is gone"
            )
        settled = self._promotions.settle(Question.from_json(dispatch.question), of=dispatch.delivery_id)
        if isinstance(settled, Outcome):
            return settled
        try:
            check_size(dispatch.kind, settled.message)
        except UnsendableError as error:
            return Outcome(OutcomeKind.REFUSED, "unsendable", f"not sent: {error}")
        if any(holds_one(text, self._hidden) for text in strings(settled.message)):
            why = "not sent: what W&B says of the version holds a secret of this receiver; take it out there"
            return Outcome(OutcomeKind.REFUSED, "secret-in-payload", why)
        return replace(
            dispatch, client_payload=settled.message, telling=_knowing(dispatch.telling, settled.version)
        )


class Promotions:
    """Asks W&B; an answer holds for two seconds, for the other dispatches of the same event."""

    def __init__(self, registry: Registry, *, now: Callable[[], datetime]) -> None:
        self._registry = registry
        self._now = now
        self._lock = Lock()
        self._answers: dict[tuple[str | None, ...], tuple[datetime, ArtifactVersion]] = {}

    def settle(self, question: Question, *, of: str = "") -> Settled | Outcome:
        """What is to be sent, or what comes of it instead: nothing unverified is ever sent.

        Args:
            question: What is asked.
            of: The event that it is about: what was answered for another one may have changed since.
        """
        try:
            version = self._version(question, of)
            return Settled(question.settle(version, self._now()), version)
        except (RegistryError, NoLongerHoldsError, NotTakenError, TemplateError) as error:
            return _outcome(error)

    def _version(self, question: Question, of: str) -> ArtifactVersion:
        now = self._now()
        key = (of, question.reference, question.collection, question.alias)
        with self._lock:
            self._answers = {
                each: found for each, found in self._answers.items() if abs(now - found[0]) < _FRESH
            }
            if key in self._answers:
                return self._answers[key][1]
        version = self._ask(question)
        with self._lock:
            if len(self._answers) < _KEPT:
                self._answers[key] = (now, version)
        return version

    def _ask(self, question: Question) -> ArtifactVersion:
        place = None if question.collection is None else CollectionPath(*question.collection.split("/"))
        version = resolve(
            parse_reference(question.reference),
            self._registry,
            collection=place,
            expect_alias=question.alias,
        )
        _check_place(version, place)
        return replace(version, metadata=_with_words(version.metadata))


def _check_place(version: ArtifactVersion, place: CollectionPath | None) -> None:
    """A name is found wherever it is; whose entity that is, the route and the source judge by themselves."""
    there = version.collection
    if place is not None and (there.project, there.name) != (place.project, place.name):
        raise ArtifactNotFoundError(f"{version.name} is not in {place}")


def _with_words(value: Any) -> Any:
    """The value with nothing in the place of NaN and the infinite, which JSON has no word for."""
    if isinstance(value, Mapping):
        return {name: _with_words(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_with_words(inner) for inner in value]
    return None if isinstance(value, float) and not isfinite(value) else value


def _knowing(telling: Mapping[str, Any] | None, version: ArtifactVersion) -> Mapping[str, Any] | None:
    """What channels are told, with the pinned version and its page."""
    if telling is None:
        return None
    known = Telling.from_json(telling).knowing(version=version.version, artifact_url=version.url)
    return known.to_json()


def _outcome(error: Exception) -> Outcome:
    for kinds, outcome, reason, what in _MEANING:
        if isinstance(error, kinds):
            return Outcome(outcome, reason, f"{what}: {error}")
    raise error
