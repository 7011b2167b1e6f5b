"""Which work comes next."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from registry_client.lanes import Lanes, Task


def told(said: list[str], what: str) -> Task:
    return lambda: said.append(what)


def large(said: list[str], name: str, parts: int) -> Iterator[Task]:
    return (told(said, f"{name}{number}") for number in range(parts))


def test_parts_go_to_a_few_workers_and_small_files_to_the_others() -> None:
    """
    While two parts are on their way the next worker gets a small file.
    """
    said: list[str] = []
    lanes = Lanes(iter([large(said, "big", 3), told(said, "s"), told(said, "t")]), most=2)

    first, second, third = next(lanes), next(lanes), next(lanes)
    second()
    fourth, fifth = next(lanes), next(lanes)
    for task in (third, fourth, first, fifth):
        task()

    assert said == ["big1", "s", "big2", "big0", "t"]


def test_a_worker_that_is_not_needed_goes() -> None:
    """
    Who finds only parts, and enough at them, ends; those at them bring the rest to its end.
    """
    said: list[str] = []
    lanes = Lanes(iter([large(said, "big", 2)]), most=1)

    task = next(lanes)
    with pytest.raises(StopIteration):
        next(lanes)
    task()
    next(lanes)()

    assert said == ["big0", "big1"]
    assert list(lanes) == []


def test_large_files_come_one_after_the_other() -> None:
    """
    The next one is not even looked into before its turn: it would hold open files.
    """
    looked: list[str] = []

    def opened(name: str) -> Iterator[Task]:
        looked.append(name)
        yield from large(looked, name, 2)

    lanes = Lanes(iter([opened("a"), opened("b")]), most=4)

    next(lanes)
    next(lanes)
    assert looked == ["a"]
    next(lanes)
    assert looked == ["a", "b"]


def test_a_failed_task_frees_its_place() -> None:
    """
    The lane does not fill up with what is over.
    """
    lanes = Lanes(iter([iter([lambda: 1 / 0, lambda: None])]), most=1)

    with pytest.raises(ZeroDivisionError):
        next(lanes)()

    next(lanes)()
