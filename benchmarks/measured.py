"""One command from start to end: how long it took, and the most memory that it and its children had."""

from __future__ import annotations

import os
import re
import resource
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_LOOK_EVERY = 0.02
_LONGEST = 300.0


@dataclass(frozen=True)
class Measured:
    """What a command took: the time, of which the processors' for it and its children, and memory."""

    seconds: float
    cpu_seconds: float
    peak_mib: float
    said: str


def run(argv: Sequence[str], environ: Mapping[str, str], folder: Path) -> Measured:
    """Run it to its end, which must be a good one; what others left to be written goes to the disk before."""
    os.sync()
    log = folder / "said.log"
    with log.open("wb") as output:
        began = time.perf_counter()
        process = subprocess.Popen(
            argv, env=environ, cwd=folder, stdin=subprocess.DEVNULL, stdout=output, stderr=output
        )
        watching = _Watching(process.pid)
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        try:
            code = process.wait(_LONGEST)
            seconds = time.perf_counter() - began
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
            watching.stop()
    said = log.read_text(encoding="utf-8", errors="replace")
    if code:
        raise RuntimeError(f"{argv[0]} ended with {code}:\n{said[-3000:]}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Measured(seconds, cpu, watching.peak_mib, said)


class _Watching:
    """Looks at a process and its children until stopped."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._high: dict[int, float] = {}
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    @property
    def peak_mib(self) -> float:
        """The peaks of all processes together, which need not have been at one time."""
        return sum(self._high.values())

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stopped.wait(_LOOK_EVERY):
            for pid in _with_children(self._pid):
                # The last look counts: before a process becomes its program, it shows its parent's memory.
                if (high := _high_water(pid)) is not None:
                    self._high[pid] = high


def _with_children(pid: int) -> Iterator[int]:
    yield pid
    with suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text(encoding="ascii").split():
                yield from _with_children(int(child))


def _high_water(pid: int) -> float | None:
    with suppress(OSError):
        status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8", errors="replace")
        if found := re.search(r"VmHWM:\s+([0-9]+) kB", status):
            return int(found[1]) / 1024
    return None
