"""What report/action.yml hands over: its inputs, read from the environment; pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeVar, cast
from urllib.parse import urlsplit

from registry_client.errors import ConfigurationError
from registry_client.mark import NAMES, Marks
from registry_client.report import SECRET, STATES, reports_url

_PREFIX = "HANDOFF_INPUT_"
_FLAGS = {
    **dict.fromkeys(("true", "yes", "on", "1"), True),
    **dict.fromkeys(("false", "no", "off", "0"), False),
}
_IMAGE = re.compile(r"\S*sha256:[0-9a-f]{64}")

T = TypeVar("T")


@dataclass(frozen=True)
class ReportInputs:
    """The inputs of report/action.yml, without the key and the base URL.

    Attributes:
        artifact: A reference; empty for the one of the event.
        state: What the job came to.
        marks: What is written to the version, where the job succeeded.
        image: The image with its digest; empty for none.
        environment: GitHub's name of where it was deployed; empty for no deployment.
        environment_url: Where it answers there; empty where nobody says.
        receiver: Where reports go; empty for nowhere.
        secret: What they are signed with.
        may_dispatch: Whether the receiver may dispatch what we write as if a person had.
    """

    artifact: str
    state: str
    marks: Marks
    image: str
    environment: str
    environment_url: str
    github_token: str = field(repr=False)
    receiver: str
    secret: str = field(repr=False)
    may_dispatch: bool
    auth: Literal["key", "oidc"] | None
    audience: str
    summary: bool

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> ReportInputs:
        """Read them; a ConfigurationError names everything that is wrong at once."""
        problems: list[str] = []

        def read(name: str, parse: Callable[[str, str], T], default: T) -> T:
            try:
                return parse(f"the input {name}", text) if (text := _text(environ, name)) else default
            except ConfigurationError as error:
                problems.append(str(error))
                return default

        inputs = cls(
            artifact=_text(environ, "artifact"),
            state=read("state", _choice(STATES), STATES[0]),
            marks=_marks(environ, problems),
            image=read("image", _image, ""),
            environment=_text(environ, "environment"),
            environment_url=read("environment-url", _page, ""),
            github_token=_text(environ, "github-token"),
            receiver=read("receiver-url", reports_url, ""),
            secret=_text(environ, "report-secret") or environ.get(SECRET, "").strip(),
            may_dispatch=read("may-dispatch", _flag, default=False),
            auth=cast('Literal["key", "oidc"] | None', read("auth", _choice(("key", "oidc")), "") or None),
            audience=_text(environ, "audience"),
            summary=read("summary", _flag, default=True),
        )
        problems += _lacking(inputs)
        if problems:
            raise ConfigurationError("; ".join(problems))
        return inputs


def _lacking(inputs: ReportInputs) -> list[str]:
    lacking = []
    if inputs.receiver and not inputs.secret:
        lacking.append(f"the input receiver-url wants report-secret, or {SECRET} in the environment")
    if inputs.environment and not inputs.github_token:
        lacking.append("the input environment wants github-token")
    if inputs.environment_url and not (inputs.environment or inputs.receiver):
        lacking.append("the input environment-url wants environment or receiver-url: else nobody is told")
    return lacking


def _marks(environ: Mapping[str, str], problems: list[str]) -> Marks:
    lines = {name: [line.strip() for line in _text(environ, name).splitlines()] for name in NAMES}
    try:
        return Marks.parse({name: [line for line in each if line] for name, each in lines.items()})
    except ConfigurationError as error:
        problems.append(str(error))
        return Marks()


def _text(environ: Mapping[str, str], name: str) -> str:
    return environ.get(_PREFIX + name.upper().replace("-", "_"), "").strip()


def _image(name: str, text: str) -> str:
    if not _IMAGE.fullmatch(text):
        raise ConfigurationError(f"{name}: got {text[:80]!r}, want one with its digest, NAME@sha256:…")
    return text


def _page(name: str, text: str) -> str:
    try:
        good = urlsplit(text).scheme in {"http", "https"} and bool(urlsplit(text).hostname)
    except ValueError:
        good = False
    if not good or len(text.split()) != 1:
        raise ConfigurationError(f"{name}: got {text[:80]!r}, want a URL like https://models.example.com")
    return text


def _choice(choices: tuple[str, ...]) -> Callable[[str, str], str]:
    def parse(name: str, text: str) -> str:
        if text.lower() not in choices:
            raise ConfigurationError(f"{name}: got {text!r}, want {', '.join(choices[:-1])} or {choices[-1]}")
        return text.lower()

    return parse


def _flag(name: str, text: str) -> bool:
    if text.lower() not in _FLAGS:
        raise ConfigurationError(f"{name}: got {text!r}, want true or false")
    return _FLAGS[text.lower()]
