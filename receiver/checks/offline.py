"""What the configuration tells by itself.  Pure."""

from __future__ import annotations

from collections.abc import Callable, Collection

from receiver.checks.finding import Finding
from receiver.config import Check, Config, check_offline


def offline(config: Config, *, check_key: Callable[[str], object] | None = None) -> tuple[Finding, ...]:
    """Each secret, the key, each route and each warning; see ``check_offline``."""
    return tuple(_finding(each, config.warnings) for each in check_offline(config, check_key=check_key))


def _finding(check: Check, warnings: Collection[str]) -> Finding:
    if check.good:
        return Finding.good(check.what, check.detail)
    is_warning = f"{check.what}: {check.detail}" in warnings
    return (Finding.warning if is_warning else Finding.bad)(check.what, check.detail)
