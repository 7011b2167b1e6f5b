"""What action.yml hands over: its inputs, read from the environment; pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from registry_client.errors import ConfigurationError

_PREFIX = "HANDOFF_INPUT_"
_TRUE, _FALSE = {"true", "yes", "on", "1"}, {"false", "no", "off", "0"}
ALIAS_OF_EVENT = "event"


@dataclass(frozen=True)
class Inputs:
    """The inputs of action.yml, without the key and the base URL.

    Attributes:
        artifact: A reference; empty for the one of the event.
        path: The directory to make; empty for one under RUNNER_TEMP.
        expect_alias: The alias to insist on, ``event`` for that of the event; empty for none.
        concurrency: Files at a time; None for as many as the client likes.
    """

    artifact: str
    path: str
    expect_alias: str
    resolve_only: bool
    concurrency: int | None
    summary: bool

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Inputs:
        """Read them; a ConfigurationError names everything that is wrong at once."""
        problems: list[str] = []
        inputs = cls(
            artifact=_text(environ, "artifact"),
            path=_text(environ, "path"),
            expect_alias=_text(environ, "expect-alias"),
            resolve_only=_flag(environ, "resolve-only", problems, default=False),
            concurrency=_number(environ, "concurrency", problems),
            summary=_flag(environ, "summary", problems, default=True),
        )
        if problems:
            raise ConfigurationError("; ".join(problems))
        return inputs


def with_inputs(environ: Mapping[str, str]) -> Mapping[str, str]:
    """The environment with the inputs ``api-key`` and ``base-url``, where given, in W&B's own variables."""
    given = {"WANDB_API_KEY": _text(environ, "api-key"), "WANDB_BASE_URL": _text(environ, "base-url")}
    return {**environ, **{name: value for name, value in given.items() if value}}


def _text(environ: Mapping[str, str], name: str) -> str:
    return environ.get(_PREFIX + name.upper().replace("-", "_"), "").strip()


def _flag(environ: Mapping[str, str], name: str, problems: list[str], *, default: bool) -> bool:
    text = _text(environ, name).lower()
    if text and text not in _TRUE | _FALSE:
        problems.append(f"the input {name}: got {text!r}, want true or false")
    return text in _TRUE if text else default


def _number(environ: Mapping[str, str], name: str, problems: list[str]) -> int | None:
    text = _text(environ, name)
    if text and not (text.isascii() and text.isdigit() and 0 < int(text[:9]) <= 64):  # noqa: PLR2004 - said in action.yml
        problems.append(f"the input {name}: got {text!r}, want a number from 1 to 64")
        return None
    return int(text) if text else None
