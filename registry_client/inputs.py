"""What action.yml hands over: its inputs, read from the environment; pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar, cast

from registry_client.build_context_recipe import ContextKind
from registry_client.errors import ConfigurationError
from registry_client.expect import parse_digest
from registry_client.references import ReferencePolicy
from registry_client.selection import Glob
from registry_client.sizes import parse_size

_PREFIX = "HANDOFF_INPUT_"
_TRUE, _FALSE = {"true", "yes", "on", "1"}, {"false", "no", "off", "0"}
ALIAS_OF_EVENT = "event"
NO_ALIAS = "none"
_NO_CACHE = "none"
_OWN_CACHE_SIZE = 50 * 1000**3  # Of the cache that nobody asked for.

T = TypeVar("T")


@dataclass(frozen=True)
class Inputs:
    """The inputs of action.yml, without the key and the base URL.

    Attributes:
        artifact: A reference; empty for the one of the event.
        path: The directory to make; empty for one under RUNNER_TEMP.
        expect_alias: The alias to insist on, ``event`` for that of the event, ``none`` for none; empty for
            that of the event where it has one.
        expect_digest: The digest to insist on, in lower case; None for the event's where it has one.
        include: Globs of the files to download; none for all.
        exclude: Globs of the files to leave out.
        references: What to do about files that lie elsewhere.
        max_size: Bytes that the files may have together; None for any number.
        cache_dir: The directory as it was given; empty for none.
        cache_size: Bytes that the cache may keep; None for any number.
        context: What the image is to serve the model with.
        replace: Whether a directory with other files may be replaced.
        auth: How to sign in; None for whatever is there.
        audience: Whom GitHub's token is for; empty for whom W&B's own servers take it for.
        concurrency: Connections at a time; None for as many as the client likes.
    """

    artifact: str
    path: str
    expect_alias: str
    expect_digest: str | None
    resolve_only: bool
    include: tuple[str, ...]
    exclude: tuple[str, ...]
    references: ReferencePolicy
    max_size: int | None
    cache_dir: str
    cache_size: int | None
    replace: bool
    auth: Literal["key", "oidc"] | None
    audience: str
    concurrency: int | None
    context: ContextKind
    summary: bool

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Inputs:
        """Read them; a ConfigurationError names everything that is wrong at once."""
        problems: list[str] = []
        inputs = cls(
            artifact=_text(environ, "artifact"),
            path=_text(environ, "path"),
            expect_alias=_text(environ, "expect-alias"),
            expect_digest=_parsed(environ, "expect-digest", parse_digest, problems),
            resolve_only=_flag(environ, "resolve-only", problems, default=False),
            include=_globs(environ, "include", problems),
            exclude=_globs(environ, "exclude", problems),
            references=_parsed(environ, "references", _policy, problems) or ReferencePolicy.FAIL,
            max_size=_parsed(environ, "max-size", parse_size, problems),
            cache_dir=_text(environ, "cache-dir"),
            cache_size=_parsed(environ, "cache-size", parse_size, problems),
            replace=_flag(environ, "replace", problems, default=False),
            auth=_parsed(environ, "auth", _auth, problems),
            audience=_text(environ, "audience"),
            concurrency=_number(environ, "concurrency", problems),
            context=_parsed(environ, "context", _context, problems) or ContextKind.NONE,
            summary=_flag(environ, "summary", problems, default=True),
        )
        if inputs.resolve_only and inputs.context is not ContextKind.NONE:
            problems.append("the input context: with resolve-only there are no files to build with")
        if problems:
            raise ConfigurationError("; ".join(problems))
        return inputs


def cache_place(given: str, environ: Mapping[str, str]) -> tuple[Path, int | None] | None:
    """The cache's directory and the limit that it has where none is given; None for no cache.

    Only one that nobody asked for has a limit of its own: what people name may be their SDK's.
    """
    given = given or environ.get("WANDB_CACHE_DIR", "").strip()
    if given.lower() == _NO_CACHE:
        return None
    if given:
        return Path(given), None
    tools = environ.get("RUNNER_TOOL_CACHE", "")
    if environ.get("RUNNER_ENVIRONMENT") == "self-hosted" and tools:
        return Path(tools, "wandb-handoff"), _OWN_CACHE_SIZE
    return None


def with_inputs(environ: Mapping[str, str]) -> Mapping[str, str]:
    """The environment with the inputs ``api-key`` and ``base-url``, where given, in W&B's own variables."""
    given = {"WANDB_API_KEY": _text(environ, "api-key"), "WANDB_BASE_URL": _text(environ, "base-url")}
    return {**environ, **{name: value for name, value in given.items() if value}}


def _text(environ: Mapping[str, str], name: str) -> str:
    return environ.get(_PREFIX + name.upper().replace("-", "_"), "").strip()


def _parsed(
    environ: Mapping[str, str], name: str, parse: Callable[[str, str], T], problems: list[str]
) -> T | None:
    try:
        return parse(f"the input {name}", text) if (text := _text(environ, name)) else None
    except ConfigurationError as error:
        problems.append(str(error))
        return None


def _globs(environ: Mapping[str, str], name: str, problems: list[str]) -> tuple[str, ...]:
    globs = tuple(line.strip() for line in _text(environ, name).splitlines() if line.strip())
    for glob in globs:
        try:
            Glob.parse(glob)
        except ConfigurationError as error:  # noqa: PERF203 - each wrong one is told
            problems.append(f"the input {name}: {error}")
    return globs


def _policy(name: str, text: str) -> ReferencePolicy:
    return ReferencePolicy(_choice(name, text, [each.value for each in ReferencePolicy]))


def _context(name: str, text: str) -> ContextKind:
    return ContextKind(_choice(name, text, [each.value for each in ContextKind]))


def _auth(name: str, text: str) -> Literal["key", "oidc"]:
    return cast('Literal["key", "oidc"]', _choice(name, text, ["key", "oidc"]))


def _choice(name: str, text: str, choices: Sequence[str]) -> str:
    if text.lower() not in choices:
        raise ConfigurationError(f"{name}: got {text!r}, want {', '.join(choices[:-1])} or {choices[-1]}")
    return text.lower()


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
