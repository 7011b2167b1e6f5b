"""Signing in with no stored key: an identity token, exchanged for one that W&B takes for a while."""

from __future__ import annotations

import base64
import json
import re
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote, urlencode, urlsplit

from registry_client import __version__
from registry_client.base_url import CLOUD_HOSTS, is_loopback, shown_host
from registry_client.connections import Connections, check_transient, content, discard
from registry_client.errors import AccessDeniedError, ConfigurationError, FetchError
from registry_client.patience import patiently

TOKEN_FILE = "WANDB_IDENTITY_TOKEN_FILE"  # noqa: S105 - a variable's name
RENEW_BEFORE = 300.0  # Seconds before its end that a token counts as used up, as for W&B's own client.
_NEW = 30.0  # Seconds; one so new that is refused will be refused again.
_GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
JWT = re.compile(r"[\w-]+\.[\w-]+\.[\w-]+", re.ASCII)
_TOKEN = re.compile(r"[\x21-\x7e]+", re.ASCII)
_OK, _REFUSED = 200, range(400, 500)
_MOST = 1024 * 1024


def no_log(secret: str) -> None:
    """Hide nothing: where no log is kept, nothing can be seen in it."""


class Identity(Protocol):
    """Who we are, said by somebody whom W&B believes."""

    @property
    def source(self) -> str:
        """Where it comes from, for messages."""
        ...

    def token(self, connections: Connections) -> str:
        """An identity token: a JWT."""
        ...


@dataclass(frozen=True)
class FileIdentity:
    """A token that somebody keeps fresh in a file."""

    file: Path

    @property
    def source(self) -> str:
        """The variable and the file."""
        return f"{TOKEN_FILE} ({self.file})"

    def token(self, connections: Connections) -> str:  # noqa: ARG002 - the other kind needs it
        """What is in the file now."""
        try:
            token = self.file.read_text(encoding="ascii").strip()
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not text"
            raise ConfigurationError(f"{TOKEN_FILE}: {self.file} cannot be read: {reason}") from error
        return _checked(token, self.source)


@dataclass(frozen=True)
class GitHubIdentity:
    """The token that GitHub gives to a job with ``id-token: write``."""

    url: str
    bearer: str = field(repr=False)
    audience: str
    source: str = "GitHub's identity token"

    def token(self, connections: Connections) -> str:
        """A new one, good for minutes."""
        url = f"{self.url}{'&' if '?' in self.url else '?'}audience={quote(self.audience, safe='')}"
        headers = {"Authorization": f"Bearer {self.bearer}", "Accept": "application/json; api-version=2.0"}
        status, answer = _exchange(connections, "GET", url, headers=headers)
        if status != _OK:
            raise AccessDeniedError(
                f"{shown_host(url)} answered {status} and gave this job no identity token: "
                "want `permissions: id-token: write` in the workflow"
            )
        return _checked(str(answer.get("value", "")), self.source)


class ExchangedToken:
    """W&B's own token, got for an identity and got anew before it ends; usable from several threads.

    Args:
        base_url: The server that exchanges, and that alone will see the token.
        identity: Whom we show.
        connections: The way there; the caller of ``exchanged`` need not close them.
        mask: Told every secret before it is used, so that logs can hide it.
        clock: Seconds that only go forward.
        sleep: Waits between tries.
    """

    def __init__(  # noqa: PLR0913 - clock, patience and mask have their defaults
        self,
        base_url: str,
        identity: Identity,
        connections: Connections,
        *,
        mask: Callable[[str], object] = no_log,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self._base_url = base_url
        self._identity = identity
        self._connections = connections
        self._mask = mask
        self._clock = clock
        self._sleep = sleep
        self._lock = threading.Lock()
        self._token = ""
        self._since = 0.0
        self._until = 0.0

    def __str__(self) -> str:
        return f"the token it gave for {self._identity.source}"

    def __repr__(self) -> str:
        return f"ExchangedToken({self._base_url!r}, {self._identity!r})"

    def authorization(self) -> str:
        """Bearer, exchanged first or anew where less than five minutes are left.

        Raises:
            AccessDeniedError: W&B does not take the identity, or GitHub gives none.
            FetchError: One of them could not be asked.
        """
        with self._lock:
            if not self._token or self._clock() >= self._until:
                self._token, lifetime = patiently(self._exchanged, sleep=self._sleep)
                self._since = self._clock()
                # One that never had five minutes is used for half its time.
                self._until = self._since + max(lifetime - RENEW_BEFORE, lifetime / 2)
            return f"Bearer {self._token}"

    def refused(self) -> bool:
        """Whether the token was not quite new: then another one is exchanged."""
        with self._lock:
            worn = bool(self._token) and self._clock() - self._since > _NEW
            if worn:
                self._token = ""
            return worn

    def _exchanged(self) -> tuple[str, float]:
        assertion = self._identity.token(self._connections)
        self._mask(assertion)
        form = urlencode({"grant_type": _GRANT, "assertion": assertion})
        headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
        url = f"{self._base_url}/oidc/token"
        status, answer = _exchange(self._connections, "POST", url, headers=headers, body=form.encode())
        if status in _REFUSED:
            raise AccessDeniedError(self._refusal(status, answer, assertion))
        token, lifetime = answer.get("access_token"), answer.get("expires_in")
        known = isinstance(token, str) and _TOKEN.fullmatch(token)
        if status != _OK or not known or isinstance(lifetime, bool) or not isinstance(lifetime, (int, float)):
            raise FetchError(f"{shown_host(url)} answered {status} to /oidc/token in a form we do not know")
        self._mask(str(token))
        return str(token), float(lifetime)

    def _refusal(self, status: int, answer: Mapping[str, Any], assertion: str) -> str:
        host = shown_host(self._base_url)
        said = answer.get("error_description") or answer.get("error") or f"it answered {status}"
        claims = _claims(assertion)
        shown = ", ".join(f"{name} {claims.get(name)!r}" for name in ("iss", "aud", "sub"))
        return (
            f"{host} does not take {self._identity.source} ({shown}): {str(said)[:300]}; "
            "want that issuer, audience and subject in the organization's identity federation"
        )


def exchanged(
    environ: Mapping[str, str],
    base_url: str,
    *,
    audience: str | None = None,
    mask: Callable[[str], object] = no_log,
) -> ExchangedToken:
    """A token to be exchanged for the identity that this environment has.

    Raises:
        ConfigurationError: It has none, or W&B's cloud is asked and no audience is named.
    """
    connections = Connections(environ, user_agent=f"wandb-handoff/{__version__}")
    return ExchangedToken(base_url, _identity(environ, base_url, audience), connections, mask=mask)


def _identity(environ: Mapping[str, str], base_url: str, audience: str | None) -> Identity:
    if file := environ.get(TOKEN_FILE, "").strip():
        return FileIdentity(Path(file))
    url = environ.get("ACTIONS_ID_TOKEN_REQUEST_URL", "").strip()
    bearer = environ.get("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "").strip()
    if not url or not bearer:
        raise ConfigurationError(
            "there is no identity to sign in with: in GitHub Actions give the job "
            f"`permissions: id-token: write`, elsewhere name a file with a token in {TOKEN_FILE}"
        )
    parts = urlsplit(url)
    if parts.scheme != "https" and not is_loopback(parts.hostname or ""):
        raise ConfigurationError("ACTIONS_ID_TOKEN_REQUEST_URL is not https: the job's token would be seen")
    if not audience and urlsplit(base_url).hostname in CLOUD_HOSTS:
        raise ConfigurationError(
            "W&B's cloud takes identity tokens whose audience is the name of the organization: name it"
        )
    return GitHubIdentity(url, bearer, audience or "wandb")


def _exchange(
    connections: Connections, method: str, url: str, *, headers: Mapping[str, str], body: bytes | None = None
) -> tuple[int, Mapping[str, Any]]:
    """Status and JSON object of an answer; an empty object where it is none."""
    response = connections.request(method, url, headers=headers, body=body)
    try:
        check_transient(response, shown_host(url))
        answer = json.loads(content(response, url, most=_MOST))
    except (ValueError, RecursionError):
        answer = None
    finally:
        discard(response)
    return response.status, answer if isinstance(answer, dict) else {}


def _checked(token: str, source: str) -> str:
    if not JWT.fullmatch(token):
        raise ConfigurationError(
            f"{source} holds no identity token: want a JWT, three parts with dots between"
        )
    return token


def _claims(token: str) -> Mapping[str, Any]:
    """What the token says, for a message: it proves nothing here."""
    part = token.split(".")[1]
    try:
        claims = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    except (ValueError, RecursionError):
        return {}
    return claims if isinstance(claims, dict) else {}
