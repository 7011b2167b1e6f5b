"""The commands under test, as a job would run them: our Action, and W&B's own SDK."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
_KEPT = ("PATH", "LANG", "LC_ALL", "SYSTEMROOT", "COVERAGE_PROCESS_START")

_SDK = """
import sys
import wandb

name, into, *more = sys.argv[1:]
api = wandb.Api()
while name:
    api.artifact(name).download(into)
    name, into, *more = more or ("", "")
"""


@dataclass(frozen=True)
class Command:
    """A command line and its whole environment."""

    argv: tuple[str, ...]
    environ: Mapping[str, str]


@dataclass(frozen=True)
class Account:
    """Where W&B is, the key, and what else a client must know of the network."""

    base_url: str
    api_key: str
    environ: Mapping[str, str]


def ours(account: Account, name: str, into: Path, home: Path, **inputs: str) -> Command:
    """What action.yml runs, from the sources; inputs by their names (``cache_dir=…``)."""
    given = {"artifact": name, "path": str(into), "api_key": account.api_key, **inputs}
    environ = {f"HANDOFF_INPUT_{each.upper()}": value for each, value in given.items()}
    files = {f"GITHUB_{each}": str(home / each.lower()) for each in ("OUTPUT", "STEP_SUMMARY", "WORKSPACE")}
    environ |= {**files, "RUNNER_TEMP": str(home), "WANDB_BASE_URL": account.base_url, "HOME": str(home)}
    return Command(
        (sys.executable, "-X", "utf8", "-m", "registry_client"),
        {**_kept(), **environ, "GITHUB_ACTIONS": "true", "PYTHONPATH": str(ROOT), **account.environ},
    )


def sdk(account: Account, home: Path, *names_and_directories: str) -> Command:
    """W&B's SDK on its defaults, at home in ``home``; it downloads each name into the directory after it."""
    folders = {f"WANDB_{kind}_DIR": str(home / kind.lower()) for kind in ("CACHE", "CONFIG", "DATA")}
    settings = {
        "WANDB_BASE_URL": account.base_url,
        "WANDB_API_KEY": account.api_key,
        "WANDB_DIR": str(home),
        "WANDB_ERROR_REPORTING": "false",
        "WANDB_SILENT": "true",
        "HOME": str(home),
    }
    return Command(
        (sys.executable, "-c", _SDK, *names_and_directories),
        {**_kept(), **folders, **settings, **account.environ},
    )


def _kept() -> dict[str, str]:
    return {name: os.environ[name] for name in _KEPT if name in os.environ}
