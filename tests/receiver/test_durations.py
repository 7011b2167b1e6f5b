"""Lengths of time, read and written as people do."""

from __future__ import annotations

from datetime import timedelta

import pytest

from receiver.durations import parse_duration, shortly


@pytest.mark.parametrize(
    ("text", "length"),
    [
        ("0", timedelta(0)),
        ("90", timedelta(seconds=90)),
        ("7s", timedelta(seconds=7)),
        ("10m", timedelta(minutes=10)),
        ("36h", timedelta(hours=36)),
        ("99999999d", timedelta(days=99_999_999)),
    ],
)
def test_reading(text: str, length: timedelta) -> None:
    """A number and a unit; seconds where there is none."""
    assert parse_duration(text) == length


@pytest.mark.parametrize("text", ["", "m", "-1", "1.5h", "10 m", "10M", "1h30m", "1w", "٣", "1\n", "1" * 9])
def test_what_is_none(text: str) -> None:
    """Anything else is refused, with what is wanted."""
    with pytest.raises(ValueError, match="want seconds, or a number with s, m, h or d"):
        parse_duration(text)


@pytest.mark.parametrize("text", ["0s", "90s", "10m", "1h", "36h", "90d"])
def test_writing_reads_back(text: str) -> None:
    """It is written in the largest unit that fits."""
    assert shortly(parse_duration(text)) == text


def test_writing_parts_of_a_second() -> None:
    """What no unit fits is written in seconds."""
    assert shortly(timedelta(milliseconds=1500)) == "1.5s"
