"""The story of one webhook: verify, read, plan, store."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Protocol

from receiver import bearer, plan, signature
from receiver.allowance import Allowance
from receiver.delivery import Delivery, Receipt, Rejection
from receiver.dispatch import Dispatch
from receiver.errors import BadPayloadError, LedgerError, RejectedError
from receiver.event import RegistryEvent, TrialMessage, read_event
from receiver.plan import Rules
from receiver.routing.conditions import Condition, Verdict
from receiver.routing.planned import Arrival
from receiver.secret import Secret, holds_one, without
from receiver.strict_json import shown

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_SHIFTS = range(125, -5, -5)


class Taking(Protocol):
    """A delivery on its way to the disk."""

    def wait(self) -> None:
        """Wait until it is there, or cannot be."""
        ...

    def result(self) -> Receipt:
        """Wait, and return its receipt; or raise LedgerError: nothing of it is kept."""
        ...


class Store(Protocol):
    """The ledger, as far as it is needed here."""

    def hand_in(self, delivery: Delivery, planned: Sequence[Dispatch], /, *, window: timedelta) -> Taking:
        """Begin to keep all of it, without waiting, or raise LedgerError and keep nothing.

        What repeats the latest delivery of its slot within the window is not kept again.
        """
        ...

    def note_rejection(self, rejection: Rejection, /) -> None:
        """Keep a trace, if it can be."""
        ...


@dataclass(frozen=True)
class Webhook:
    """What came over HTTP: the raw body, and what should vouch for it."""

    body: bytes
    signature: str | None
    authorization: str | None
    address: str | None


@dataclass(frozen=True)
class Accepted:
    """It is on disk, and so is all that will be sent for it; nothing, where no route wants it."""

    delivery: Delivery
    dispatches: tuple[Dispatch, ...]
    ignored: tuple[str, ...]


@dataclass(frozen=True)
class Repeated:
    """W&B told it before, that is on disk, and nothing more will be sent."""

    first: Receipt


@dataclass(frozen=True)
class Trial:
    """It was W&B's Test button; ``text`` is what the person there should read."""

    text: str


@dataclass(frozen=True)
class OwnMark:
    """It tells of an alias or tag that our own report has written: nothing follows from it."""


@dataclass(frozen=True)
class Begun:
    """It is verified, read and planned, and on its way to the disk.

    Attributes:
        wait: Returns when ``end`` needs to wait no more.
        end: Tells what became of it, or raises LedgerError: nothing of it is kept.
    """

    wait: Callable[[], None]
    end: Callable[[], Accepted | Repeated]


class EntityNotAllowedError(RejectedError):
    """The source speaks for an entity that it may not speak for."""

    reason = "entity-not-allowed"
    status = 403


@dataclass(frozen=True)
class Intake:
    """Takes the webhooks of one source in, one by one.

    Attributes:
        source: Its name.
        secrets: Any of them may have signed; without one, no signature is asked for.
        tokens: Any of them may be presented; without one, no token is asked for.
        hidden: What must be in nothing that is kept, sent or answered.
        rules: What is planned for an event.
        entities: Globs of the entities that it may speak for; none is any.
        window: How long the same, told again, is a repetition; zero is never.
        ours: Tells whether an event is about an alias or tag that our own report wrote.
        searches: How often it may be sought out what else a wrong signature was made over: a search costs
            far more than a refusal, and anybody can ask for one.
    """

    source: str
    secrets: tuple[Secret, ...]
    tokens: tuple[Secret, ...]
    hidden: tuple[Secret, ...]
    rules: Rules
    store: Store
    now: Callable[[], datetime]
    new_id: Callable[[datetime], str]
    entities: tuple[str, ...] = ()
    window: timedelta = timedelta(minutes=10)
    ours: Callable[[RegistryEvent, datetime], bool] = lambda _event, _now: False
    searches: Allowance = field(default_factory=lambda: Allowance(burst=5, per_second=1.0))

    def __post_init__(self) -> None:
        if not all(secret.value for secret in (*self.secrets, *self.tokens)) or not (
            self.secrets or self.tokens
        ):
            raise ValueError("want a secret or a token, and none of them empty")

    def receive(self, webhook: Webhook) -> Accepted | Repeated | Trial | OwnMark:
        """Turn a webhook into a stored delivery; nothing unverified is read or kept.

        Raises:
            RejectedError: It is not taken; a trace of it is kept, never its body.
            LedgerError: It could not be stored, and nothing of it is.
        """
        begun = self.begin(webhook)
        return begun.end() if isinstance(begun, Begun) else begun

    def begin(self, webhook: Webhook) -> Begun | Trial | OwnMark:
        """Do of ``receive`` what needs no wait; the rest is to be asked for."""
        try:
            encoding = self._verify(webhook)
            event = read_event(webhook.body)
            self._check_no_secret(webhook.body)
            if isinstance(event, TrialMessage):
                self.note(webhook.address, "test", 200)
                return Trial(without(self._explain(event), self.hidden))
            self._check_entity(event)
            if self.ours(event, self.now()):
                self.note(webhook.address, "own-mark", 200)
                return OwnMark()
            return self._keep(webhook, event, encoding)
        except RejectedError as error:
            raise self.rejected(error, webhook.address) from None

    def _keep(self, webhook: Webhook, event: RegistryEvent, encoding: str | None) -> Begun:
        received_at = self.now()
        delivery_id = self.new_id(received_at)
        arrival = Arrival(
            event, self.source, delivery_id, received_at, entities=self.entities, forward=self.rules.forward
        )
        dispatches = plan.plan(arrival, self.rules)
        if b"\\" in webhook.body:  # Without escapes, all that is kept stood in the body as it was searched.
            plan.check_no_secret(event, dispatches, self.hidden)
        delivery = Delivery(
            id=delivery_id,
            source=self.source,
            received_at=received_at,
            address=webhook.address,
            encoding=encoding,
            body_sha256=hashlib.sha256(webhook.body).hexdigest(),
            event=event,
            slot=plan.slot(event, self.source),
            fingerprint=plan.fingerprint(event, self.source),
            if_missed=plan.fingerprint_if_missed(event, self.source),
        )
        with self._noting_failure(webhook.address):
            taking = self.store.hand_in(delivery, dispatches, window=self.window)
        ignored = plan.ignored(event, dispatches) if self.rules.strict else ()
        accepted = Accepted(delivery, dispatches, ignored)
        return Begun(taking.wait, partial(self._end, taking, accepted))

    def _end(self, taking: Taking, accepted: Accepted) -> Accepted | Repeated:
        with self._noting_failure(accepted.delivery.address):
            receipt = taking.result()
        return Repeated(receipt) if receipt.duplicate else replace(accepted, dispatches=receipt.dispatches)

    @contextmanager
    def _noting_failure(self, address: str | None) -> Iterator[None]:
        try:
            yield
        except LedgerError as error:
            self.note(address, error.reason, 503)
            raise

    def rejected(self, error: RejectedError, address: str | None) -> RejectedError:
        """Keep a trace, and give the error back as it may be told."""
        self.note(address, error.reason, error.status)
        return type(error)(without(str(error), self.hidden), reason=error.reason)

    def note(self, address: str | None, reason: str, status: int) -> None:
        """Keep a trace of what was not stored."""
        self.store.note_rejection(Rejection(self.now(), self.source, address, reason, status))

    def _verify(self, webhook: Webhook) -> str | None:
        """Check all that is configured; with a wrong signature, nothing is told about the token."""
        try:
            encoding = self._check_signature(webhook)
        except RejectedError:
            with suppress(RejectedError):
                self._check_token(webhook)  # How long it takes must not tell either.
            raise
        self._check_token(webhook)
        return encoding

    def _check_signature(self, webhook: Webhook) -> str | None:
        if not self.secrets:
            return None
        secrets = [bytes(secret) for secret in self.secrets]
        return signature.check(webhook.body, webhook.signature, secrets, may_search=self._may_search).value

    def _check_token(self, webhook: Webhook) -> None:
        if self.tokens:
            bearer.check(webhook.authorization, [bytes(token) for token in self.tokens])

    def _check_entity(self, event: RegistryEvent) -> None:
        """Refuse what the source may not speak for; what names no entity is nobody's."""
        if (
            self.entities
            and Condition("entity", self.entities).verdict({"entity": event.entity}) is not Verdict.HOLDS
        ):
            raise EntityNotAllowedError(
                f"The event is of the entity {shown(event.entity) if event.entity else '(none)'}, and this "
                f"webhook may speak for {', '.join(self.entities)}."
            )

    def _check_no_secret(self, body: bytes) -> None:
        """Refuse a body that holds one of our secrets, in what we would not have kept as well."""
        if holds_one(body.decode("utf-8", "replace"), self.hidden):
            raise BadPayloadError(
                "The body holds one of the secrets that are configured here, and nothing of it was kept. "
                "Take it out of the automation's payload.",
                reason="secret-in-payload",
            )

    def _may_search(self) -> bool:
        return self.searches.take(self.now().timestamp())

    def _explain(self, trial: TrialMessage) -> str:
        checked = {
            (True, True): "The signature and the access token are right.",
            (True, False): "The signature is right (no access token is asked for here).",
            (False, True): "The access token is right (no signature is asked for here).",
        }[bool(self.secrets), bool(self.tokens)]
        return f"This is a test, and it arrived. {checked} Nothing was dispatched. {_template(trial)}"


def new_id(now: datetime) -> str:
    """A new id of 26 characters, safe in a URL; a later one sorts after an earlier one."""
    luck = random.getrandbits(80)  # No secret; and asking the kernel lets others go first.
    number = int(now.timestamp() * 1000) << 80 | luck
    return "".join([_ALPHABET[number >> shift & 31] for shift in _SHIFTS])


def _template(trial: TrialMessage) -> str:
    unknown = "".join(f" W&B has no variable ${{{name}}}." for name in trial.unknown)
    if not trial.unrendered:
        return (
            "The body is an empty object: a real delivery needs event_type and artifact_version; the README "
            "has a payload to paste into the automation."
        )
    if trial.lacking:
        return (
            "The variables are not filled in, as is usual for a test. This payload lacks "
            f"{' and '.join(trial.lacking)}, which a real delivery needs; the README has one to paste."
            f"{unknown}"
        )
    return (
        "The variables are not filled in, as is usual for a test: W&B does it when the automation runs. "
        f"This payload has what a real delivery needs.{unknown}"
    )
