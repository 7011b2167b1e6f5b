"""How long a server asks us to wait."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

from receiver.retry import THROTTLE_DEFAULT, THROTTLE_LONGEST, THROTTLE_SHORTEST
from receiver.retry_after import parse, wait_asked

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=timezone.utc)


@pytest.mark.parametrize(
    ("text", "want"),
    [
        pytest.param("7", timedelta(seconds=7), id="seconds"),
        pytest.param(" 7 ", timedelta(seconds=7), id="spaces"),
        pytest.param("120.1", timedelta(seconds=121), id="a fraction rounds up"),
        pytest.param("0", THROTTLE_SHORTEST, id="zero"),
        pytest.param("Sun, 01 Mar 2026 12:01:30 GMT", timedelta(seconds=90), id="HTTP date"),
        pytest.param("Sun, 01 Mar 2026 11:00:00 GMT", THROTTLE_SHORTEST, id="a date that is over"),
        pytest.param("Sun, 01 Mar 2036 12:00:00 GMT", THROTTLE_LONGEST, id="ten years"),
        pytest.param("315360000", THROTTLE_LONGEST, id="ten years in seconds"),
        pytest.param("999999999999999999", THROTTLE_LONGEST, id="no such time"),
        pytest.param("9" * 400, None, id="a number without end"),
        pytest.param("-5", None, id="negative"),
        pytest.param("1e3", None, id="exponent"),
        pytest.param("inf", None, id="infinite"),
        pytest.param("nan", None, id="not a number"),
        pytest.param("soon", None, id="a word"),
        pytest.param("Sun, 99 Mar 2026 12:00:00 GMT", None, id="no such day"),
        pytest.param("٧", None, id="another script's seven"),
        pytest.param("", None, id="empty"),
        pytest.param(None, None, id="none"),
    ],
)
def test_retry_after_is_read_or_left(text: str | None, want: timedelta | None) -> None:
    """
    Seconds, fractions and dates are read and clamped; what cannot be read counts as not said (D3).
    """
    assert parse(text, NOW) == want


@pytest.mark.parametrize(
    ("headers", "want"),
    [
        pytest.param({"retry-after": "7"}, timedelta(seconds=7), id="retry-after"),
        pytest.param(
            {
                "retry-after": "7",
                "x-ratelimit-remaining": "0",
                "x-ratelimit-reset": str(int(NOW.timestamp()) + 600),
            },
            timedelta(seconds=7),
            id="retry-after before reset",
        ),
        pytest.param(
            {"x-ratelimit-remaining": "0", "x-ratelimit-reset": str(int(NOW.timestamp()) + 600)},
            timedelta(seconds=600),
            id="reset of a limit used up",
        ),
        pytest.param(
            {"x-ratelimit-remaining": "1", "x-ratelimit-reset": str(int(NOW.timestamp()) + 600)},
            THROTTLE_DEFAULT,
            id="a reset that is not waited for",
        ),
        pytest.param(
            {"x-ratelimit-remaining": "0", "x-ratelimit-reset": "soon"}, THROTTLE_DEFAULT, id="bad reset"
        ),
        pytest.param(
            {"x-ratelimit-remaining": "0", "x-ratelimit-reset": "9" * 18}, THROTTLE_LONGEST, id="absurd reset"
        ),
        pytest.param({}, THROTTLE_DEFAULT, id="nothing said"),
        pytest.param({"retry-after": "soon"}, THROTTLE_DEFAULT, id="nothing readable"),
    ],
)
def test_the_wait_follows_githubs_rule(headers: dict[str, str], want: timedelta) -> None:
    """
    Retry-After first, else the reset of a limit that is used up, else a minute (D3, D4).
    """
    assert wait_asked(headers, NOW) == want


def test_a_reset_is_counted_by_githubs_clock() -> None:
    """
    Our clock may be an hour ahead; the wait is right all the same.
    """
    headers = {
        "date": "Sun, 01 Mar 2026 11:00:00 GMT",
        "x-ratelimit-remaining": "0",
        "x-ratelimit-reset": str(int(NOW.timestamp()) - 3600 + 30),
    }

    assert wait_asked(headers, NOW) == timedelta(seconds=30)
