"""One line of the table, and the table.  Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum

from registry_client.escaping import printable

_WIDEST = 44


class Mark(Enum):
    """What came of a check."""

    GOOD = "✓"
    BAD = "✗"
    WARNING = "!"  # It works, but should not stay so.
    OPEN = "–"  # Nobody can tell beforehand.


@dataclass(frozen=True)
class Finding:
    """What was looked at, and what was found or what to do; holds no secret."""

    what: str
    mark: Mark
    detail: str

    @classmethod
    def good(cls, what: str, detail: str) -> Finding:
        """It is as it should be."""
        return cls(what, Mark.GOOD, detail)

    @classmethod
    def bad(cls, what: str, detail: str) -> Finding:
        """It is not, and has to be mended."""
        return cls(what, Mark.BAD, detail)

    @classmethod
    def warning(cls, what: str, detail: str) -> Finding:
        """It works, but should not stay so."""
        return cls(what, Mark.WARNING, detail)

    @classmethod
    def open(cls, what: str, detail: str) -> Finding:
        """It cannot be told beforehand."""
        return cls(what, Mark.OPEN, f"not checked: {detail}")


def is_good(findings: Iterable[Finding]) -> bool:
    """Whether nothing has to be mended."""
    return all(finding.mark is not Mark.BAD for finding in findings)


def table(findings: Sequence[Finding]) -> str:
    """The findings as lines, and how many there are of each mark."""
    width = min(max((len(finding.what) for finding in findings), default=0), _WIDEST)
    lines = [f"{each.mark.value} {each.what.ljust(width)}  {each.detail}".rstrip() for each in findings]
    counted = Counter(finding.mark for finding in findings)
    names = {
        Mark.GOOD: "right",
        Mark.BAD: "to mend",
        Mark.WARNING: "to think about",
        Mark.OPEN: "not checked",
    }
    told = ", ".join(f"{counted[mark]} {name}" for mark, name in names.items() if counted[mark])
    return "".join(f"{printable(line)}\n" for line in (*lines, told))
