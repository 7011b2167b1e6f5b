"""Who hears what of a dispatch: planned with it, so that the ledger needs no configuration later.  Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from receiver.dispatch import Dispatch, DispatchKind, Outcome, OutcomeKind
from receiver.event import RegistryEvent
from receiver.moment import iso
from receiver.notice import Notice, What
from receiver.routing.planned import digest
from receiver.run import COMPLETED, NOT_SEEN, Look

_BY_OUTCOME = {
    OutcomeKind.SENT: What.ACCEPTED,
    OutcomeKind.REFUSED: What.FAILED,
    OutcomeKind.OUTDATED: What.OUTDATED,
}
_BY_STATUS = {COMPLETED: What.RUN_FINISHED, NOT_SEEN: What.NO_RUN}


@dataclass(frozen=True)
class Telling:
    """What is kept with a dispatch: which channel hears of what, and what they are told of it.

    Attributes:
        channels: By what has happened, the names of channels.
        about: The notice's attributes that are known from the start.
    """

    channels: Mapping[str, tuple[str, ...]]
    about: Mapping[str, str | None]

    @classmethod
    def plan(
        cls, channels: Mapping[str, Collection[str]], event: RegistryEvent, dispatch: Dispatch
    ) -> Telling | None:
        """The telling of one dispatch.

        Args:
            channels: The channels of its route, and what each hears of.
            event: What the dispatch is for.
            dispatch: The dispatch.
        """
        heard = {
            what.value: tuple(name for name, on in channels.items() if what.value in on) for what in What
        }
        if not any(heard.values()):
            return None
        place = (event.entity, event.project, event.collection)
        about = {
            "route": dispatch.route or "",
            "destination": dispatch.repository,
            "delivery": dispatch.delivery_id,
            "asked": dispatch.event_type or None,
            "artifact": "/".join(part for part in place if part) or None,
            "version": event.version,
            "alias": event.alias,
            "tag": event.tag,
            "author": event.author,
        }
        return cls({what: names for what, names in heard.items() if names}, about)

    def to_json(self) -> dict[str, Any]:
        """A form that JSON keeps."""
        return {"channels": {what: list(names) for what, names in self.channels.items()}, "about": self.about}

    @classmethod
    def from_json(cls, form: Mapping[str, Any]) -> Telling:
        """Read that form."""
        channels = {what: tuple(names) for what, names in form["channels"].items()}
        return cls(channels, form["about"])

    def knowing(self, **more: str | None) -> Telling:
        """The same, with what is known by now."""
        return Telling(self.channels, {**self.about, **{name: told for name, told in more.items() if told}})

    def notices(
        self, what: What, dispatch: Dispatch, now: datetime, **more: str | None
    ) -> tuple[Dispatch, ...]:
        """The messages to the channels that hear of this."""
        notice = Notice(what=what, **{**self.about, **{name: told for name, told in more.items() if told}})  # type: ignore[arg-type]  # The names are Notice's own.
        message = notice.to_message()
        return tuple(
            _carried(message, what, channel, dispatch, now) for channel in self.channels.get(what.value, ())
        )


def after_attempt(dispatch: Dispatch, outcome: Outcome, *, dead: bool, now: datetime) -> tuple[Dispatch, ...]:
    """The notices that the end of an attempt calls for; ``dead`` says that it was the last one."""
    what = What.FAILED if dead else _BY_OUTCOME.get(outcome.kind)
    if dispatch.telling is None or what is None:
        return ()
    telling = Telling.from_json(dispatch.telling)
    why = None if what is What.ACCEPTED else outcome.detail
    return telling.notices(what, dispatch, now, why=why, run_url=outcome.run_url)


def after_look(dispatch: Dispatch, look: Look, now: datetime) -> tuple[Dispatch, ...]:
    """The notices that news of a run call for."""
    what = _BY_STATUS.get(look.status or "")
    if dispatch.telling is None or what is None:
        return ()
    run = look.run
    more = {} if run is None else {"run_url": run.url, "conclusion": run.conclusion}
    return Telling.from_json(dispatch.telling).notices(what, dispatch, now, **more)


def _carried(
    message: Mapping[str, Any], what: What, channel: str, about: Dispatch, now: datetime
) -> Dispatch:
    """A notice is a dispatch like any other: tried again, and found in the ledger."""
    key = digest(about.id, what.value, channel, iso(now))[:20]
    return Dispatch(
        id=f"{about.id}-{key[:8]}",
        delivery_id=about.delivery_id,
        repository=f"notice:{channel}",
        event_type=what.value,
        client_payload=message,
        key=key,
        lane=f"notice:{channel}/{about.id}",
        accepted_at=now,
        kind=DispatchKind.NOTICE,
        route=about.route,
    )
