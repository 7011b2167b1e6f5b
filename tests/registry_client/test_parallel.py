"""Work for several threads, and reading a step ahead."""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterator

import pytest

from registry_client.errors import FetchError
from registry_client.parallel import in_parallel, read_ahead


def test_all_items_are_done_by_several_threads() -> None:
    """
    Each once, no more at a time than asked for.
    """
    done: list[int] = []
    together = threading.Barrier(3, timeout=5)

    def work(item: int) -> None:
        together.wait()
        done.append(item)

    in_parallel(work, range(1, 10), threads=3, stop=lambda: None)

    assert sorted(done) == list(range(1, 10))


def test_the_first_error_stops_the_others_and_is_the_one_raised() -> None:
    """
    Who fails because he was stopped does not hide the reason, and nothing new is begun.
    """
    stopped, together = threading.Event(), threading.Barrier(3, timeout=5)
    begun: list[int] = []

    def work(item: int) -> None:
        begun.append(item)
        together.wait()
        if item == 2:
            raise FetchError("the reason")
        assert stopped.wait(5)
        if item == 1:
            raise FetchError("stopped")

    with pytest.raises(FetchError, match="the reason"):
        in_parallel(work, range(1, 100), threads=3, stop=stopped.set)

    assert sorted(begun) == [1, 2, 3]


def test_ctrl_c_stops_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    It reaches the thread that waits; the others are stopped, then it goes on its way.
    """
    stopped = threading.Event()

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    def work(_: int) -> None:
        assert stopped.wait(5)

    monkeypatch.setattr("registry_client.parallel.wait", interrupted)

    with pytest.raises(KeyboardInterrupt):
        in_parallel(work, range(1, 100), threads=2, stop=stopped.set)

    assert stopped.is_set()


def test_an_error_of_the_items_themselves_is_raised() -> None:
    """
    What hands out the work may fail as well: that is no end of the work.
    """

    def items() -> Iterator[int]:
        yield 1
        raise FetchError("no more URLs")

    with pytest.raises(FetchError, match="no more URLs"):
        in_parallel(lambda _: None, items(), threads=2)


def test_reading_goes_a_step_ahead() -> None:
    """
    While one item is used the next one is on its way, and in the end all came in order.
    """
    begun = [threading.Event() for _ in range(4)]

    def items() -> Iterator[int]:
        for number in range(4):
            begun[number].set()
            yield number

    ahead = read_ahead(items(), threading.Event())

    for number in range(3):
        assert next(ahead) == number
        assert begun[number + 1].wait(5)
    assert list(ahead) == [3]


def test_an_error_ahead_is_raised_where_it_is_read() -> None:
    """
    After the items that came before it.
    """

    def items() -> Iterator[int]:
        yield 1
        raise FetchError("the second page is lost")

    ahead = read_ahead(items(), threading.Event())

    assert next(ahead) == 1
    with pytest.raises(FetchError, match="the second page is lost"):
        next(ahead)


def test_stopping_ends_both_sides() -> None:
    """
    Neither who reads nor who reads ahead waits for the other.
    """
    stopped, ended = threading.Event(), threading.Event()

    def items() -> Generator[int, None, None]:
        try:
            yield from range(100)
        finally:
            ended.set()

    source = items()
    ahead = read_ahead(source, stopped)
    assert next(ahead) == 0
    stopped.set()

    assert list(ahead) == []
    for thread in threading.enumerate():
        if thread.name == "read-ahead":
            thread.join(5)
    source.close()
    assert ended.is_set()
