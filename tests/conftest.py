"""What holds for all tests."""

from __future__ import annotations

from hypothesis import settings

# The same examples every time: `python -m tests.fuzz` is for finding new ones.
settings.register_profile("repeatable", derandomize=True)
settings.load_profile("repeatable")
