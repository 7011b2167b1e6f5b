"""What a download tells while it runs."""

from __future__ import annotations

import io

import pytest

from registry_client.progress import Bar, Lines, Quiet, in_words, progress_for


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        """Now."""
        return self.now


class Terminal(io.StringIO):
    """A stream with a person behind it."""

    def isatty(self) -> bool:
        """It has."""
        return True


def test_a_log_gets_a_line_now_and_then() -> None:
    """
    A further tenth after five seconds, or a minute gone by; not a line for each chunk.
    """
    stream, clock = io.StringIO(), Clock()
    lines = Lines(stream, clock)

    lines.start(2, 1000)
    for at, size in ((1, 200), (5, 50), (6, 10), (10.5, 30), (11, 20), (65, 5), (72, 5)):
        clock.now = at
        lines.advance(size)
    clock.now = 80
    lines.file_done()
    lines.file_done()
    lines.advance(680)
    lines.finish(ok=True)

    assert stream.getvalue().splitlines() == [
        "Downloading 2 files, 1.0 kB",
        " 25%  0 of 2 files, 250 bytes of 1.0 kB, 50 bytes/s",
        " 31%  0 of 2 files, 310 bytes of 1.0 kB, 28 bytes/s",
        " 32%  0 of 2 files, 320 bytes of 1.0 kB, 4 bytes/s",
        "100%  2 of 2 files, 1.0 kB of 1.0 kB, 12 bytes/s",
        "Downloaded and verified 2 of 2 files, 1.0 kB of 1.0 kB, 12 bytes/s",
    ]


def test_a_failed_download_is_not_called_verified() -> None:
    """
    The error speaks for itself.
    """
    stream = io.StringIO()
    lines = Lines(stream, Clock())

    lines.start(1, 10)
    lines.finish(ok=False)

    assert stream.getvalue() == "Downloading 1 files, 10 bytes\n"


def test_a_person_sees_one_line_redrawn() -> None:
    """
    At most ten times a second, and whole at the end.
    """
    stream, clock = Terminal(), Clock()
    bar = Bar(stream, clock)

    bar.start(1, 1000)
    for at in (0.01, 0.02, 0.5):
        clock.now = at
        bar.advance(250)
    clock.now = 1
    bar.advance(250)
    bar.file_done()
    bar.finish(ok=True)

    drawn = stream.getvalue().split("\r\033[K")
    assert len(drawn) == 4
    assert drawn[1].startswith("█" * 22 + "░" * 8 + "  75%")
    assert drawn[-1] == "█" * 30 + " 100%  1 of 1 files, 1.0 kB of 1.0 kB, 1.0 kB/s\n"


def test_a_bar_goes_away_when_the_download_fails() -> None:
    """
    The error's line stands alone.
    """
    stream = Terminal()

    Bar(stream, Clock()).finish(ok=False)

    assert stream.getvalue() == "\r\033[K"


def test_a_download_of_nothing_is_done_at_once() -> None:
    """
    No division by zero.
    """
    stream, clock = io.StringIO(), Clock()
    lines = Lines(stream, clock)

    lines.start(1, 0)
    clock.now = 61
    lines.file_done()

    assert stream.getvalue().splitlines()[-1].startswith("100%")


@pytest.mark.parametrize(
    ("stream", "environ", "kind"),
    [
        (Terminal(), {"TERM": "xterm"}, Bar),
        (Terminal(), {"TERM": "dumb"}, Lines),
        (Terminal(), {"CI": "true"}, Lines),
        (io.StringIO(), {}, Lines),
    ],
    ids=["terminal", "dumb terminal", "CI", "pipe"],
)
def test_a_bar_is_for_a_person_only(stream: io.StringIO, environ: dict[str, str], kind: type) -> None:
    """
    In CI and in a file a bar would be noise.
    """
    assert isinstance(progress_for(stream, environ), kind)


def test_telling_nobody_is_possible() -> None:
    """
    Whoever wants no progress gives one that says nothing.
    """
    quiet = Quiet()
    quiet.start(1, 5)
    quiet.advance(5)
    quiet.file_done()
    quiet.finish(ok=True)


@pytest.mark.parametrize(
    ("size", "words"),
    [
        (0, "0 bytes"),
        (999, "999 bytes"),
        (1000, "1.0 kB"),
        (1_500_000, "1.5 MB"),
        (2_000_000_000, "2.0 GB"),
        (3e15, "3000.0 TB"),
    ],
)
def test_sizes_are_told_in_words(size: float, words: str) -> None:
    """
    Decimal units, one decimal.
    """
    assert in_words(size) == words
