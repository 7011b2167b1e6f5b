"""Configurations as tests read them: the environment and the files that the samples name."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from receiver.config import Config, ConfigError, Problem, read_config

SAMPLES = Path(__file__).resolve().parents[2] / "samples"
TOP = """\
sources:
  wandb: {secrets: [{env: WANDB_WEBHOOK_SECRET}]}
github: {token: {env: ACME_TOKEN}}
"""
ROUTE = """\
routes:
  - name: deploy
    when: {alias: production}
    dispatch: {repository: acme/serving, event_type: DEPLOY}
"""
GOOD = TOP + ROUTE
_LONG = "0123456789-abcdefghijklmnopqrstuvwxyz-0123456789"
ENVIRON = {
    **{
        name: f"{name.lower()}-{_LONG}"
        for name in (
            "WANDB_WEBHOOK_SECRET",
            "WANDB_WEBHOOK_TOKEN",
            "VISION_SECRET",
            "WANDB_API_KEY",
            "MODAL_TOKEN",
            "ACME_TOKEN",
        )
    },
    "SLACK_WEBHOOK_URL": "https://hooks.slack.example/services/T0/B0/slack-part",
    "TEAMS_WEBHOOK_URL": "https://teams.example/workflows/teams-part",
}
PEM = "-----BEGIN RSA PRIVATE KEY-----\nnot-really\n-----END RSA PRIVATE KEY-----"
FILES = {"/run/secrets/previous": f"previous-{_LONG}\n".encode(), "/run/secrets/app.pem": f"{PEM}\n".encode()}


def read_file(path: str) -> bytes:
    """The file of a secret, out of FILES."""
    if path not in FILES:
        raise FileNotFoundError(2, "No such file or directory")
    return FILES[path]


def check_key(text: str) -> None:
    """What load_private_key promises, without a key."""
    if not text.startswith("-----BEGIN"):
        raise ValueError("want a PEM that begins with -----BEGIN RSA PRIVATE KEY-----")


def read(
    text: str,
    environ: Mapping[str, str] | None = None,
    *,
    receives: bool = True,
    dispatches: bool = True,
) -> Config:
    """The Config of the text, in the samples' environment or with these variables besides."""
    return read_config(
        text,
        file="handoff.yaml",
        environ={**ENVIRON, **(environ or {})},
        read_file=read_file,
        check_key=check_key,
        receives=receives,
        dispatches=dispatches,
    )


def problems(text: str, environ: Mapping[str, str] | None = None) -> tuple[Problem, ...]:
    """What is wrong with the text."""
    with pytest.raises(ConfigError) as caught:
        read(text, environ)
    return caught.value.problems
