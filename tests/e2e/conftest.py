"""Minutes and an engine are for `make e2e` alone; where it cannot be done, each test says why."""

from __future__ import annotations

import os

import pytest

from tests.e2e.world import why_not

collect_ignore_glob = [] if "HANDOFF_E2E" in os.environ else ["test_*"]


@pytest.fixture(autouse=True, scope="session")
def _everything_is_here() -> None:
    reason = why_not()
    if reason is not None:
        pytest.skip(reason)
