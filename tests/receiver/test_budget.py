"""How often GitHub may be asked."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from receiver.budget import DEFAULT, Budget, Limit
from tests.receiver.fakes import START

SECOND = timedelta(seconds=1)


@pytest.mark.parametrize(
    ("text", "limits"),
    [
        (DEFAULT, [(1, 1), (80, 60), (500, 3600)]),
        ("5/s", [(5, 1)]),
        (" 2/m , 30/h ", [(2, 60), (30, 3600)]),
    ],
    ids=["default", "one", "spaces"],
)
def test_limits_are_read(text: str, limits: list[tuple[int, int]]) -> None:
    """
    So many in a second, a minute, an hour.
    """
    assert Budget.parse(text) == Budget(tuple(Limit(most, within * SECOND) for most, within in limits))


@pytest.mark.parametrize("text", ["off", " OFF "])
def test_off_is_no_budget(text: str) -> None:
    """
    A server without limits needs none.
    """
    assert Budget.parse(text) is None


@pytest.mark.parametrize(
    "text", ["", "1", "0/s", "-1/s", "1/d", "1/s,", "1/s,2/s", "1/s;2/m", "1.5/s", "٣/s"]
)
def test_anything_else_is_refused(text: str) -> None:
    """
    The message repeats it and shows what is wanted.
    """
    with pytest.raises(ValueError, match="want off, or one limit for each of s, m and h, like 1/s"):
        Budget.parse(text)


@pytest.mark.parametrize(
    ("begun", "free_at"),
    [
        ([None, None], None),
        ([START, None], START + SECOND),
        ([START, START - 59 * SECOND], START + SECOND),
        ([START, START - 30 * SECOND], START + 30 * SECOND),
    ],
    ids=["idle", "one-a-second", "both-end-together", "the-minute-is-full"],
)
def test_every_limit_holds(begun: list[datetime | None], free_at: datetime | None) -> None:
    """
    It is free when the last of its windows is.
    """
    budget = Budget.parse("1/s,80/m")
    assert budget is not None

    assert budget.free_at(begun) == free_at
