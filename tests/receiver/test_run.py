"""The run of a dispatch is looked for, waited for, and missed when it does not come."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta, timezone

import pytest

from receiver.dispatch import Dispatch
from receiver.run import COMPLETED, NOT_SEEN, Look, Run, Watch, find, looked, unlooked

SENT = datetime(2026, 11, 20, 12, tzinfo=timezone.utc)
KEY = "0123456789abcdef0123"
RUN = Run(7, "https://github.com/acme/serving/actions/runs/7", "queued", None, f"deploy {KEY}")
DISPATCH = Dispatch(
    id="d",
    delivery_id="D",
    repository="acme/serving",
    event_type="BUILD",
    client_payload={},
    key=KEY,
    lane="l",
    accepted_at=SENT,
    run_within=timedelta(minutes=2),
)
WATCH = Watch(DISPATCH, SENT, None, None, 0)


def after(look: Look, watch: Watch = WATCH) -> Watch:
    """The watch as it is kept after a look."""
    return replace(watch, run=look.run, status=look.status, looks=look.looks)


@pytest.mark.parametrize(
    ("title", "found"),
    [
        (f"deploy {KEY}", True),
        (f"{KEY}", True),
        (f"deploy ({KEY})", True),
        (f"deploy {KEY}a", False),
        (f"deploy f{KEY}", False),
        ("deploy", False),
    ],
)
def test_a_run_is_found_by_the_whole_key(title: str, *, found: bool) -> None:
    """
    A longer word that holds the key is another's.
    """
    assert (find(WATCH, [replace(RUN, title=title)]) is not None) is found


def test_a_run_once_known_is_found_by_its_number() -> None:
    """
    A run whose title changed is still the same run.
    """
    known = replace(WATCH, run=RUN)

    assert find(known, [replace(RUN, title="renamed", status="in_progress")]) is not None


def test_looks_come_ever_less_often_and_reach_the_deadline_exactly() -> None:
    """
    Until it is seen we look at 3, 5, 8, … seconds' distance, and once at the end of the time it has.
    """
    watch, now, waits = WATCH, SENT, []
    while watch.status is None:
        look = looked(watch, None, now)
        assert look.next_at is not None
        if look.status is None:
            waits.append((look.next_at - now).total_seconds())
            now = look.next_at
        watch = after(look, watch)

    assert waits == [3, 5, 8, 12, 20, 30, 30, 12]
    assert now == WATCH.seen_by
    assert look.status == NOT_SEEN
    assert look.news(WATCH)


def test_a_run_that_comes_late_is_still_told_of() -> None:
    """
    What was missed is looked for a while longer: GitHub may be late.
    """
    missed = replace(WATCH, status=NOT_SEEN, looks=9)
    now = SENT + timedelta(minutes=30)

    assert looked(missed, None, now).next_at == now + timedelta(minutes=10)
    late = looked(missed, RUN, now)
    assert (late.status, late.run) == ("queued", RUN)
    assert looked(missed, None, SENT + timedelta(hours=3)).next_at is None


def test_a_run_is_followed_to_its_end() -> None:
    """
    Queued, in progress, completed: then nobody looks any more, and the end is news once.
    """
    queued = looked(WATCH, RUN, SENT)
    going = looked(after(queued), replace(RUN, status="in_progress"), SENT)
    ended = looked(after(going), replace(RUN, status="completed", conclusion="failure"), SENT)

    assert queued.next_at == SENT + timedelta(seconds=10)
    assert not going.news(after(queued))
    assert (ended.status, ended.next_at) == (COMPLETED, None)
    assert ended.news(after(going))
    assert not looked(after(ended), ended.run, SENT).news(after(ended))


def test_a_run_that_is_not_on_the_page_is_not_forgotten() -> None:
    """
    What is known stays known.
    """
    seen = after(looked(WATCH, RUN, SENT))

    assert looked(seen, None, SENT).run == RUN


def test_nobody_is_watched_for_ever() -> None:
    """
    After three days a run that never ends is let go.
    """
    seen = after(looked(WATCH, RUN, SENT))

    assert looked(seen, RUN, SENT + timedelta(days=4)).next_at is None


def test_a_look_that_cannot_be_taken_is_taken_later() -> None:
    """
    A rate limit is heeded.
    """
    assert unlooked(WATCH, SENT, timedelta(minutes=7)) == SENT + timedelta(minutes=7)
    assert unlooked(WATCH, SENT, None) == SENT + timedelta(seconds=10)


def test_a_run_is_read_from_githubs_object() -> None:
    """
    GitHub's own names.
    """
    data = {
        "id": 7,
        "html_url": RUN.url,
        "status": "completed",
        "conclusion": "success",
        "display_title": f"deploy {KEY}",
    }

    run = Run.parse(data)

    assert run.ended
    assert run.keys == {KEY}
    with pytest.raises(KeyError):
        Run.parse({"id": 7})
