"""Deliveries as a person or a program reads them: pure, records → text."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import datetime, timezone
from enum import Enum
from typing import Any

from receiver.delivery import AttemptRecord, DeliveryRecord, DispatchRecord, DispatchState, Rejection
from receiver.dispatch import DispatchKind, Pause
from receiver.moment import iso
from receiver.plan import DEFAULT_ROUTE
from receiver.run import NO_RUN, NOT_SEEN
from registry_client.escaping import printable

EVERYTHING = "*"  # A pause of it holds up every repository, and nothing that goes elsewhere.
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
        *_found(delivery),
    ]
    for dispatch, notices in _with_notices(delivery):
        lines += ["", *_dispatch(dispatch), *(line for notice in notices for line in _notice(notice))]
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
    again = ", reconciled" if delivery.reconciled else ""
    again += f", repeated {_times(delivery.repeats)}" if delivery.repeats else ""
    yield f"{delivery.id}  {_time(delivery.received_at)}  {delivery.event or '-'}  {what}{label}{again}"
    if delivery.unrouted:
        yield "  unrouted"
    for dispatch, notices in _with_notices(delivery):
        yield f"  → {_where(dispatch)}: {_state(dispatch)}"
        yield from (f"      {line}" for line in (*_run(dispatch), *_reported(dispatch), *_told(notices)))


def _repeats(delivery: DeliveryRecord) -> Iterator[str]:
    if delivery.repeats:
        last = f", the last at {_time(delivery.last_repeat_at)}" if delivery.last_repeat_at else ""
        yield f"repeated    {_times(delivery.repeats)}{last}; a repeat changes nothing"


def _found(delivery: DeliveryRecord) -> Iterator[str]:
    if delivery.reconciled:
        yield "reconciled  no webhook told it: it was found by comparing with W&B"
    if delivery.unrouted:
        yield "unrouted    no route wants it: nothing is sent"


def _with_notices(delivery: DeliveryRecord) -> list[tuple[DispatchRecord, list[DispatchRecord]]]:
    """Each dispatch, with the notices about it."""
    notices = [each for each in delivery.dispatches if each.about is not None]
    return [
        (dispatch, [notice for notice in notices if notice.about == dispatch.id])
        for dispatch in delivery.dispatches
        if dispatch.about is None
    ]


def _where(dispatch: DispatchRecord) -> str:
    """Where it goes, and by which route where that does not say so already."""
    where = f"{dispatch.repository} {dispatch.event_type}".rstrip()
    known = dispatch.route in {None, DEFAULT_ROUTE} or dispatch.repository.endswith(f":{dispatch.route}")
    return where if known else f"{where} by {dispatch.route}"


def _run(dispatch: DispatchRecord) -> Iterator[str]:
    if dispatch.run_status == NOT_SEEN:
        yield "no run was seen"
    elif dispatch.run_url or dispatch.run_status:
        went = dispatch.run_conclusion or dispatch.run_status
        yield " ".join(text for text in ("run", went, dispatch.run_url) if text)


def _reported(dispatch: DispatchRecord) -> Iterator[str]:
    if dispatch.report is not None:
        told = [dispatch.report.get(name) for name in ("state", "url", "image", "problem")]
        yield " ".join(["reported", *(str(text) for text in told if text)])


def _told(notices: Sequence[DispatchRecord]) -> Iterator[str]:
    """Who was told of what, in one line."""
    if notices:
        yield f"told {', '.join(map(_notice_of, notices))}"


def _notice_of(notice: DispatchRecord) -> str:
    state = "" if notice.state is DispatchState.SENT else f" ({notice.state.value})"
    return f"{_channel(notice)}: {notice.event_type}{state}"


def _notice(notice: DispatchRecord) -> Iterator[str]:
    yield f"notice      {_channel(notice)}: {notice.event_type}: {_state(notice)}"
    if notice.detail and notice.state is not DispatchState.SENT:
        yield f"            {notice.detail}"


def _channel(notice: DispatchRecord) -> str:
    return notice.repository.partition(":")[2]


def _dispatch(dispatch: DispatchRecord) -> Iterator[str]:
    yield f"dispatch    {_where(dispatch)}: {_state(dispatch)}"
    if dispatch.kind is not DispatchKind.REPOSITORY_DISPATCH:
        yield f"kind        {dispatch.kind.value}"
    yield f"key         {dispatch.key}"
    if dispatch.run_status == NOT_SEEN:
        yield f"run         {NO_RUN}"
    else:
        yield from (f"run         {line.removeprefix('run ')}" for line in _run(dispatch))
    if dispatch.report is not None:
        yield f"report      {dispatch.report.get('state') or '-'}"
        yield from (f"  {name}: {told}" for name, told in dispatch.report.items() if name != "state")
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
        return f"  GitHub  until {_time(pause.until)}  {pause.reason}: GitHub asked us to wait"
    if not pause.failures:
        return f"  {pause.scope}  until {_time(pause.until)}  {pause.reason}: it asked us to wait"
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
