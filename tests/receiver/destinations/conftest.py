"""Endpoints to send to, and a certificate that our programs trust for one test."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.receiver.github_world import self_signed


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """No proxy of the machine stands between us and 127.0.0.1."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def certificate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A key and a certificate for 127.0.0.1 that is trusted as long as the test lasts."""
    path = self_signed(tmp_path)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(path))
    return path
