"""The ledger as reports need it, in memory."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any


class FakeReportStore:
    """The ledger's part: one report for each known dispatch, one time for each mark."""

    def __init__(self, *keys: str) -> None:
        self.keys = set(keys)
        self.reports: list[Mapping[str, Any]] = []
        self.marks: dict[tuple[str, str, str], datetime] = {}

    def put_mark(self, artifact_id: str, collection: str, name: str, until: datetime, /) -> None:
        """Keep it in the place of the one before."""
        self.marks[artifact_id, collection, name] = until

    def mark_until(self, artifact_id: str, collection: str, name: str, /) -> datetime | None:
        """Tell what was kept."""
        return self.marks.get((artifact_id, collection, name))

    def record_report(self, delivery: str | None, key: str | None, report: Mapping[str, Any], /) -> bool:
        """Keep it, and tell whether the dispatch is known."""
        self.reports.append({"delivery": delivery, "key": key, **report})
        return key in self.keys
