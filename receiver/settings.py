"""The environment, read into Settings, with every problem told at once: names and hints, never a secret."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Literal, TypeVar
from urllib.parse import unquote, urlsplit

from receiver.budget import DEFAULT, Budget
from receiver.durations import parse_duration, shortly
from receiver.errors import SettingsError
from receiver.plan import RESERVED_NAMES
from receiver.routing.planned import MOST_PROPERTIES
from receiver.secret import Secret
from receiver.urls import (
    DEFAULT_API_URL,
    DEFAULT_DATABASE_URL,
    wrong_with_api_url,
    wrong_with_database_url,
)

Order = Literal["keep", "overtake"]

DEFAULT_MAX_BODY = 262_144
SMALLEST_MAX_BODY = 1_024
LARGEST_MAX_BODY = 16_777_216
DEFAULT_DUPLICATE_WINDOW = timedelta(minutes=10)
LONGEST_DUPLICATE_WINDOW = timedelta(days=1)
DEFAULT_BUDGET = Budget.parse(DEFAULT)
DEFAULT_RETENTION = timedelta(days=90)
SHORTEST_RETENTION = timedelta(days=1)  # No shorter than the window: a repeat must find its first delivery.
LONGEST_RETENTION = timedelta(days=36_500)
SHORT_SECRET = 16
_SECRETS = (
    "WANDB_WEBHOOK_SECRET",
    "WANDB_WEBHOOK_SECRET_PREVIOUS",
    "WANDB_WEBHOOK_TOKEN",
    "WANDB_WEBHOOK_TOKEN_PREVIOUS",
    "HANDOFF_REPORT_SECRET",
    "HANDOFF_REPORT_SECRET_PREVIOUS",
    "GITHUB_TOKEN",
    "GITHUB_APP_PRIVATE_KEY",
    "HANDOFF_DATABASE_URL",  # It may hold a password.
)
_OTHERS = (
    "GITHUB_APP_CLIENT_ID",
    "GITHUB_API_URL",
    "HANDOFF_REPOSITORY",
    "HANDOFF_FORWARD_FIELDS",
    "HANDOFF_MAX_BODY",
    "HANDOFF_DUPLICATE_WINDOW",
    "HANDOFF_ORDER",
    "HANDOFF_GITHUB_BUDGET",
    "HANDOFF_RETENTION",
    "HANDOFF_URL",  # Read by `handoff send`.
    "HANDOFF_CONFIG",  # Read by `configure`.
)
NAMES = (*_SECRETS, *(f"{name}_FILE" for name in _SECRETS), *_OTHERS)
_OURS = ("HANDOFF_", "WANDB_WEBHOOK_", "GITHUB_APP_")

T = TypeVar("T")


@dataclass(frozen=True)
class GitHubApp:
    """Who we are at GitHub, as an App."""

    client_id: str
    private_key: Secret


@dataclass(frozen=True)
class Settings:
    """What the receiver is told, sound once built by ``from_env``.

    Attributes:
        repository: Where to dispatch to.
        secrets: W&B may sign with any of them; empty when only tokens are used.
        tokens: W&B may present any of them; empty when only secrets are used.
        github: A token, or an App's client id and key; None where nothing is to be dispatched.
        duplicate_window: How long the same promotion, told again, is a duplicate; zero is never.
        order: Whether a later promotion may overtake one that waits for a retry.
        budget: How many attempts may begin in which time; None is any number.
        retention: How long what has ended is kept; None is for ever.
        report_secrets: The end of a job may sign its report with any of them; empty takes no reports.
        warnings: What works, but should not stay so; a line each, without a secret.
    """

    repository: str = ""
    secrets: tuple[Secret, ...] = ()
    tokens: tuple[Secret, ...] = ()
    github: Secret | GitHubApp | None = None
    github_api_url: str = DEFAULT_API_URL
    database_url: str = field(default=DEFAULT_DATABASE_URL, repr=False)
    forward_fields: tuple[str, ...] = ()
    max_body: int = DEFAULT_MAX_BODY
    duplicate_window: timedelta = DEFAULT_DUPLICATE_WINDOW
    order: Order = "keep"
    budget: Budget | None = DEFAULT_BUDGET
    retention: timedelta | None = DEFAULT_RETENTION
    report_secrets: tuple[Secret, ...] = ()
    warnings: tuple[str, ...] = ()

    @classmethod
    def from_env(
        cls,
        environ: Mapping[str, str],
        *,
        check_key: Callable[[str], object] | None = None,
        receives: bool = True,
        dispatches: bool = True,
    ) -> Settings:
        """Read the variables; an empty one counts as not set.

        A process that does half of the work reads, and so holds, no secret of the other half.

        Args:
            environ: The variables by name.
            check_key: Raises ValueError, with a hint, for text that is no private key.
            receives: Whether webhooks are to be received.
            dispatches: Whether what is due is to be dispatched.

        Raises:
            SettingsError: With a line for each problem.
        """
        reader = _Reader(environ)
        settings = cls(database_url=reader.database_url())
        if receives:
            settings = reader.way_in(settings)
        if dispatches:
            settings = reader.way_out(settings, check_key)
        return reader.sound(replace(settings, warnings=tuple(reader.warnings)))

    @property
    def all_secrets(self) -> tuple[Secret, ...]:
        """Every secret value, to be kept out of whatever leaves."""
        ours = self.github.private_key if isinstance(self.github, GitHubApp) else self.github
        password = urlsplit(self.database_url).password
        theirs = Secret(unquote(password)) if password else None
        return (
            *self.secrets,
            *self.tokens,
            *self.report_secrets,
            *(secret for secret in (ours, theirs) if secret),
        )


class _Reader:
    """Reads one variable after the other, and goes on where one is bad."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self.problems: list[str] = []
        self.warnings: list[str] = [*_strangers(environ)]

    def sound(self, value: T) -> T:
        """The value, when nothing was wrong so far; else raise SettingsError."""
        if self.problems:
            raise SettingsError(self.problems)
        return value

    def way_in(self, settings: Settings) -> Settings:
        """Add what it takes to receive."""
        settings = replace(
            settings,
            repository=self.repository(),
            secrets=self.pair("WANDB_WEBHOOK_SECRET"),
            tokens=self.pair("WANDB_WEBHOOK_TOKEN"),
            forward_fields=self.forward_fields(),
            max_body=self.max_body(),
            duplicate_window=self.duplicate_window(),
            order=self.order(),
            report_secrets=self.pair("HANDOFF_REPORT_SECRET"),
        )
        self._check_senders(settings)
        return settings

    def way_out(self, settings: Settings, check_key: Callable[[str], object] | None) -> Settings:
        """Add what it takes to dispatch."""
        return replace(
            settings,
            github=self.github(check_key),
            github_api_url=self.api_url(),
            budget=self.budget(),
            retention=self.retention(),
        )

    def _check_senders(self, settings: Settings) -> None:
        """Note what is wrong with secret and token together."""
        named = ("WANDB_WEBHOOK_SECRET", "WANDB_WEBHOOK_TOKEN")
        if not any(self._is_set(name) for name in named):
            self.problems.append(
                "WANDB_WEBHOOK_SECRET, WANDB_WEBHOOK_TOKEN: neither is set; want at least one, better both, "
                "or anyone could dispatch"
            )
        if set(settings.secrets) & set(settings.tokens):
            self.problems.append(
                "WANDB_WEBHOOK_SECRET, WANDB_WEBHOOK_TOKEN: are the same; the token is sent with each "
                "webhook, so want two different values"
            )

    def pair(self, name: str) -> tuple[Secret, ...]:
        """A secret that W&B shares, and the one before it."""
        current, previous = self._shared(name), self._shared(f"{name}_PREVIOUS")
        if previous and not self._is_set(name):
            self.problems.append(f"{name}_PREVIOUS: is set without {name}; want the new value there")
        return tuple(dict.fromkeys(secret for secret in (current, previous) if secret))

    def github(self, check_key: Callable[[str], object] | None) -> Secret | GitHubApp:
        """The token or the App; exactly one of them."""
        token, client_id = self._plain_secret("GITHUB_TOKEN"), self._value("GITHUB_APP_CLIENT_ID")
        key = self._secret("GITHUB_APP_PRIVATE_KEY")
        if token and not re.search(r"\s", token.value) and not re.fullmatch(r"[!-~]+", token.value):
            self.problems.append("GITHUB_TOKEN: holds other characters than printable ASCII")
        has_token, has_key = self._is_set("GITHUB_TOKEN"), self._is_set("GITHUB_APP_PRIVATE_KEY")
        if has_token and (client_id or has_key):
            self.problems.append(
                "GITHUB_TOKEN: is set beside GITHUB_APP_…; want one of them, an App or a token"
            )
        elif client_id and not has_key:
            self.problems.append(
                "GITHUB_APP_PRIVATE_KEY: is not set; want the key of GITHUB_APP_CLIENT_ID, in PEM"
            )
        elif has_key and not client_id:
            self.problems.append("GITHUB_APP_CLIENT_ID: is not set; want the App's client ID, like Iv23li…")
        elif not has_token and not has_key:
            self.problems.append(
                "GITHUB_TOKEN: is not set; want a token with Contents: write on the repository, or an App: "
                "GITHUB_APP_CLIENT_ID and GITHUB_APP_PRIVATE_KEY"
            )
        if key and check_key:
            self._check_key(key, check_key)
        return GitHubApp(client_id, key) if client_id and key else token or Secret("")

    def api_url(self) -> str:
        """Where GitHub's API is."""
        text = (self._value("GITHUB_API_URL") or DEFAULT_API_URL).rstrip("/")
        why = wrong_with_api_url(text)
        if why:
            self.problems.append(f"GITHUB_API_URL: {why}")
        return text

    def repository(self) -> str:
        """Where to dispatch to."""
        text = self._value("HANDOFF_REPOSITORY")
        if not text:
            self.problems.append("HANDOFF_REPOSITORY: is not set; want owner/name, like acme/serving")
        elif not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9-]{0,38}/(?!\.{1,2}$)[A-Za-z0-9._-]{1,100}", text):
            guess = re.search(r"[:/]([\w-]+/[\w.-]+?)(?:\.git)?/?$", text)
            hint = f"; did you mean {guess[1]}?" if guess else ""
            self.problems.append(f"HANDOFF_REPOSITORY: got {text!r}, want owner/name{hint}")
        return text or ""

    def database_url(self) -> str:
        """Where the ledger is."""
        secret = self._secret("HANDOFF_DATABASE_URL")
        url = secret.value if secret else DEFAULT_DATABASE_URL
        why = wrong_with_database_url(url)
        if why:
            self.problems.append(f"HANDOFF_DATABASE_URL: {why}")
        return url

    def forward_fields(self) -> tuple[str, ...]:
        """Which undocumented fields go on to GitHub."""
        text = self._value("HANDOFF_FORWARD_FIELDS") or ""
        names = tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
        reserved = [name for name in names if name in RESERVED_NAMES]
        if reserved:
            self.problems.append(
                f"HANDOFF_FORWARD_FIELDS: {', '.join(reserved)} need no naming; want other fields"
            )
        if len(names) >= MOST_PROPERTIES:
            self.problems.append(
                f"HANDOFF_FORWARD_FIELDS: names {len(names)}; GitHub takes {MOST_PROPERTIES} in all"
            )
        return names

    def max_body(self) -> int:
        """How long a body may be."""
        text = self._value("HANDOFF_MAX_BODY") or str(DEFAULT_MAX_BODY)
        number = int(text) if re.fullmatch(r"[0-9]{1,12}", text) else -1
        if not SMALLEST_MAX_BODY <= number <= LARGEST_MAX_BODY:
            self.problems.append(
                f"HANDOFF_MAX_BODY: got {text!r}, want bytes from {SMALLEST_MAX_BODY} to {LARGEST_MAX_BODY}"
            )
            return DEFAULT_MAX_BODY
        return number

    def duplicate_window(self) -> timedelta:
        """How long a promotion that is told again is a duplicate."""
        name = "HANDOFF_DUPLICATE_WINDOW"
        window = self._duration(name, DEFAULT_DUPLICATE_WINDOW, timedelta(0), LONGEST_DUPLICATE_WINDOW)
        return window or timedelta(0)

    def order(self) -> Order:
        """Whether order is kept."""
        text = self._value("HANDOFF_ORDER") or "keep"
        if text == "overtake":
            return "overtake"
        if text != "keep":
            self.problems.append(
                f"HANDOFF_ORDER: got {text!r}, want keep, or overtake to let a later promotion pass one that "
                "waits for a retry"
            )
        return "keep"

    def budget(self) -> Budget | None:
        """How often GitHub may be asked."""
        try:
            return Budget.parse(self._value("HANDOFF_GITHUB_BUDGET") or DEFAULT)
        except ValueError as error:
            self.problems.append(f"HANDOFF_GITHUB_BUDGET: {error}")
            return DEFAULT_BUDGET

    def retention(self) -> timedelta | None:
        """How long what has ended is kept."""
        return self._duration("HANDOFF_RETENTION", DEFAULT_RETENTION, SHORTEST_RETENTION, LONGEST_RETENTION)

    def _duration(
        self, name: str, default: timedelta, shortest: timedelta, longest: timedelta
    ) -> timedelta | None:
        """A length of time within bounds; None when it is off."""
        text = self._value(name)
        if text is None or text == "off":
            return default if text is None else None
        try:
            length = parse_duration(text)
        except ValueError as error:
            self.problems.append(f"{name}: {error}, or off")
            return default
        if not shortest <= length <= longest:
            self.problems.append(
                f"{name}: got {text!r}, want {shortly(shortest)} to {shortly(longest)}, or off"
            )
        return length

    def _shared(self, name: str) -> Secret | None:
        secret = self._plain_secret(name) if "TOKEN" in name else self._secret(name)
        if secret and secret.value != secret.value.strip():
            self.warnings.append(f"{name}: starts or ends with a space; W&B uses it as it is, and so do we")
        if secret and len(secret.value) < SHORT_SECRET:
            self.warnings.append(
                f"{name}: has {len(secret.value)} characters; "
                "want 32 random ones: python3 -c 'import secrets; print(secrets.token_urlsafe(32))'"
            )
        return secret

    def _plain_secret(self, name: str) -> Secret | None:
        """A secret that travels in a header."""
        secret = self._secret(name)
        if secret and re.search(r"\s|[\x00-\x1f\x7f]", secret.value):
            self.problems.append(f"{name}: holds a space or a line end, which no header can carry")
        return secret

    def _secret(self, name: str) -> Secret | None:
        value, path = self._environ.get(name, ""), self._environ.get(f"{name}_FILE", "")
        if value and path:
            self.problems.append(f"{name}, {name}_FILE: both are set; want one of them")
        if value or not path:
            return Secret(value) if value else None
        return self._from_file(f"{name}_FILE", path)

    def _from_file(self, name: str, path: str) -> Secret | None:
        try:
            text = Path(path).read_bytes().decode("utf-8")
        except OSError as error:
            self.problems.append(f"{name}: cannot read {path!r}: {error.strerror}")
        except ValueError:
            self.problems.append(f"{name}: cannot read {path!r}: it is no text in UTF-8")
        else:
            value = re.sub(r"\r?\n\Z", "", text)
            if value:
                return Secret(value)
            self.problems.append(f"{name}: {path!r} is empty")
        return None

    def _check_key(self, key: Secret, check_key: Callable[[str], object]) -> None:
        try:
            check_key(key.value)
        except ValueError as error:
            self.problems.append(f"GITHUB_APP_PRIVATE_KEY: {error}")

    def _value(self, name: str) -> str | None:
        return self._environ.get(name, "").strip() or None

    def _is_set(self, name: str) -> bool:
        return bool(self._environ.get(name) or self._environ.get(f"{name}_FILE"))


def _strangers(environ: Mapping[str, str]) -> list[str]:
    """A line for each variable that looks like ours and is not."""
    lines = []
    for name in sorted(environ):
        if name.startswith(_OURS) and name not in NAMES:
            near = difflib.get_close_matches(name, NAMES, 1)
            lines.append(f"{name}: is no setting of Handoff" + (f"; did you mean {near[0]}?" if near else ""))
    return lines


def check_database_urls(**urls: str) -> None:
    """Raise SettingsError, a line for each, where a named address is none of a ledger."""
    wrong = {name: wrong_with_database_url(url) for name, url in urls.items()}
    problems = [f"{name}: {why}" for name, why in wrong.items() if why]
    if problems:
        raise SettingsError(problems)


def read_database_url(environ: Mapping[str, str]) -> str:
    """Where the ledger is, for a command that needs nothing else; or raise SettingsError."""
    reader = _Reader(environ)
    return reader.sound(reader.database_url())


def read_sender(environ: Mapping[str, str]) -> tuple[Secret | None, Secret | None]:
    """The secret and the token that W&B would use now; or raise SettingsError."""
    reader = _Reader(environ)
    secrets, tokens = reader.pair("WANDB_WEBHOOK_SECRET"), reader.pair("WANDB_WEBHOOK_TOKEN")
    return reader.sound((secrets[0] if secrets else None, tokens[0] if tokens else None))
