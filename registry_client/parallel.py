"""Work for several threads: the first error stops them all, and reading goes a step ahead."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import suppress
from functools import partial as bound
from typing import TypeVar, cast

_GLANCE = 0.1  # Seconds between two looks at whether all is over.

T = TypeVar("T")


def in_parallel(
    work: Callable[[T], object],
    items: Iterable[T],
    *,
    threads: int,
    stop: Callable[[], object] = lambda: None,
) -> None:
    """Do the work for all items, a few at a time; the first error stops the others and is raised."""
    waiting, lock, end = iter(items), threading.Lock(), object()
    errors: list[BaseException] = []

    def drain() -> None:
        try:
            while not errors:
                with lock:
                    item = next(waiting, end)
                if item is end:
                    return
                work(cast("T", item))
        except BaseException as error:
            errors.append(error)
            raise

    with ThreadPoolExecutor(threads, thread_name_prefix="fetch") as pool:
        try:
            wait([pool.submit(drain) for _ in range(threads)], return_when=FIRST_EXCEPTION)
        except BaseException as error:
            errors.insert(0, error)  # Ctrl-C comes here: nobody begins another file.
            raise
        finally:
            if errors:
                stop()
    if errors:
        raise errors[0]


def read_ahead(items: Iterator[T], stopped: threading.Event) -> Iterator[T]:
    """The same items, while a thread of its own waits for the next one; ``stopped`` ends both."""
    ready: queue.Queue[T | _End] = queue.Queue(1)
    threading.Thread(target=_read, args=(items, ready, stopped), name="read-ahead", daemon=True).start()
    while True:
        item = _patiently(ready.get, stopped)
        if isinstance(item, _End):
            if item.error is not None:
                raise item.error
            return
        if item is None:
            return
        yield item


class _End:
    """No more comes, or an error."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error


def _read(items: Iterator[T], ready: queue.Queue[T | _End], stopped: threading.Event) -> None:
    end = _End()
    try:
        for item in items:
            _patiently(bound(ready.put, item), stopped)
            if stopped.is_set():
                return
    except BaseException as error:  # noqa: BLE001 - raised where the items are read
        end = _End(error)
    _patiently(bound(ready.put, end), stopped)


def _patiently(wait: Callable[..., T], stopped: threading.Event) -> T | None:
    """What a queue's call gives in the end; None when all is over."""
    while not stopped.is_set():
        with suppress(queue.Empty, queue.Full):
            return wait(timeout=_GLANCE)
    return None
