"""Deliveries as a person or a program reads them: pure, records → text."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import datetime, timezone
from enum import Enum
from typing import Any

from receiver.delivery import AttemptRecord, DeliveryRecord, DispatchRecord, Rejection
from receiver.dispatch import Pause
from receiver.moment import iso
from registry_client.escaping import printable

EVERYTHING = "*"  # A pause of it holds up every repository.
_NONE = "Nothing was delivered yet."


def overview(
    deliveries: Sequence[DeliveryRecord],
    rejections: Sequence[Rejection] = (),
    pauses: Sequence[Pause] = (),
    *,
    none: str = _NONE,
) -> str:
    """The newest deliveries, each with what was sent for it; what came but was not taken; what is paused."""
    lines = [line for delivery in deliveries for line in _short(delivery)] or [none]
    if pauses:
        lines += ["", "Paused:", *map(_pause, pauses)]
    if rejections:
        lines += ["", "Not taken:", *map(_rejection, rejections)]
    return _text(lines)


def whole(delivery: DeliveryRecord) -> str:
    """One delivery, its dispatches and every attempt at them."""
    lines = [
        f"delivery    {delivery.id}",
        f"received    {_time(delivery.received_at)} from {delivery.address or '-'}",
        f"signature   {delivery.encoding or 'none asked for'}",
        f"body sha256 {delivery.body_sha256}",
        f"event       {delivery.event or '-'}",
        *(f"  {name}: {value}" for name, value in delivery.fields.items()),
        *_repeats(delivery),
    ]
    for dispatch in delivery.dispatches:
        lines += ["", *_dispatch(dispatch)]
    return _text(lines)


def overview_json(
    deliveries: Sequence[DeliveryRecord],
    rejections: Sequence[Rejection] = (),
    pauses: Sequence[Pause] = (),
) -> str:
    """The same for a program."""
    return _json({"deliveries": list(deliveries), "rejections": list(rejections), "pauses": list(pauses)})


def whole_json(delivery: DeliveryRecord) -> str:
    """The same for a program."""
    return _json(delivery)


def _short(delivery: DeliveryRecord) -> Iterator[str]:
    what = delivery.fields.get("artifact_version_string") or delivery.fields.get("artifact_version") or "-"
    alias = delivery.fields.get("alias")
    label = f" ({alias})" if alias else ""
    again = f", repeated {_times(delivery.repeats)}" if delivery.repeats else ""
    yield f"{delivery.id}  {_time(delivery.received_at)}  {delivery.event or '-'}  {what}{label}{again}"
    for dispatch in delivery.dispatches:
        yield f"  → {dispatch.repository} {dispatch.event_type}: {_state(dispatch)}"


def _repeats(delivery: DeliveryRecord) -> Iterator[str]:
    if delivery.repeats:
        last = f", the last at {_time(delivery.last_repeat_at)}" if delivery.last_repeat_at else ""
        yield f"repeated    {_times(delivery.repeats)}{last}; a repeat changes nothing"


def _dispatch(dispatch: DispatchRecord) -> Iterator[str]:
    yield f"dispatch    {dispatch.repository} {dispatch.event_type}: {_state(dispatch)}"
    yield f"key         {dispatch.key}"
    if dispatch.run_url:
        yield f"run         {dispatch.run_url}"
    if dispatch.detail:
        yield f"            {dispatch.detail}"
    for attempt in dispatch.attempts:
        yield f"  {_attempt(attempt)}"


def _state(dispatch: DispatchRecord) -> str:
    state = dispatch.state.value
    told = [f"{len(dispatch.attempts)} {'attempt' if len(dispatch.attempts) == 1 else 'attempts'}"]
    if dispatch.reason and dispatch.reason != state:
        told.append(dispatch.reason)
    if dispatch.next_attempt_at:
        told.append(f"next at {_time(dispatch.next_attempt_at)}")
    if dispatch.redeliveries:
        told.append(f"redelivered {_times(dispatch.redeliveries)}")
    if dispatch.possibly_duplicated:
        told.append("possibly duplicated")
    return f"{state} ({', '.join(told)})"


def _attempt(attempt: AttemptRecord) -> str:
    ended = "under way" if attempt.ended_at is None else attempt.outcome or "-"
    status = f" {attempt.status}" if attempt.status else ""
    why = ": ".join(text for text in (attempt.reason, attempt.detail) if text)
    return f"attempt {attempt.number}  {_time(attempt.started_at)}  {ended}{status}  {why}".rstrip()


def _rejection(rejection: Rejection) -> str:
    return f"  {_time(rejection.at)}  {rejection.address or '-'}  {rejection.status} {rejection.reason}"


def _pause(pause: Pause) -> str:
    if pause.scope == EVERYTHING:
        return f"  everything  until {_time(pause.until)}  {pause.reason}: GitHub asked us to wait"
    failed = f"failed {_times(pause.failures)} in a row"
    return f"  {pause.scope}  until {_time(pause.until)}  {pause.reason}: {failed}, then one is tried"


def _times(number: int) -> str:
    return "once" if number == 1 else f"{number} times"


def _time(moment: datetime) -> str:
    return moment.astimezone(timezone.utc).strftime("%Y-%m-%d %H:%M:%SZ")


def _text(lines: Sequence[str]) -> str:
    """The lines, in which nothing that came from outside can move a cursor or forge a line."""
    return "".join(f"{printable(line)}\n" for line in lines)


def _json(value: Any) -> str:
    return json.dumps(value, indent=2, default=_plain) + "\n"


def _plain(value: object) -> object:
    if isinstance(value, datetime):
        return iso(value)
    if isinstance(value, Enum):
        return value.value
    return vars(value)
