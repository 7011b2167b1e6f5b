"""What signs us in to W&B, from an environment as W&B's users have it."""

from __future__ import annotations

import base64
import netrc
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from registry_client import oidc
from registry_client.base_url import CLOUD_HOSTS, DEFAULT_BASE_URL, base_url, is_loopback
from registry_client.errors import ConfigurationError
from registry_client.wire import Credential

__all__ = ["DEFAULT_BASE_URL", "ApiKey", "Auth", "api_key", "base_url", "is_loopback", "sign_in"]

Auth = Literal["key", "oidc"]
_SHORTEST_KEY = 40


@dataclass(frozen=True)
class ApiKey:
    """A key of W&B, which never shows itself; ``source`` says where it was found."""

    value: str = field(repr=False)
    source: str

    @classmethod
    def parse(cls, text: str, source: str) -> ApiKey:
        """Read a key, or raise ConfigurationError, which names the source and never the key."""
        key = text.strip()
        if oidc.JWT.fullmatch(key):
            return cls(key, source)
        if not re.fullmatch(r"[\w-]+", key, re.ASCII):
            raise ConfigurationError(
                f"the W&B key in {source} holds characters that no key has: want letters, digits, '_' and '-'"
            )
        counted = key.partition("-")[2] or key  # Self-managed servers put a prefix before the first '-'.
        if len(counted) < _SHORTEST_KEY:
            raise ConfigurationError(
                f"the W&B key in {source} is too short: "
                f"got {len(counted)} characters, want {_SHORTEST_KEY} or more"
            )
        return cls(key, source)

    def __str__(self) -> str:
        return f"the key from {self.source}"

    def refused(self) -> bool:
        """No other key can be had."""
        return False

    def authorization(self) -> str:
        """Basic, as user ``api``: W&B's clients send every shape of key so."""
        return f"Basic {base64.b64encode(f'api:{self.value}'.encode()).decode()}"


def sign_in(
    environ: Mapping[str, str],
    base_url: str,
    *,
    auth: Auth | None = None,
    audience: str | None = None,
    mask: Callable[[str], object] = oidc.no_log,
) -> Credential | None:
    """What signs us in to that server; None when the environment holds nothing for it.

    Nothing is asked yet: a token is exchanged when it is needed first.

    Args:
        environ: Where keys, files and GitHub's identity tokens are named.
        base_url: The server; no other will see the credential.
        auth: ``key``: an API key alone.  ``oidc``: an identity token exchanged for one of W&B's, with no
            stored key; WANDB_IDENTITY_TOKEN_FILE holds it, else GitHub gives it to the job.
            None: WANDB_API_KEY, WANDB_API_KEY_FILE, WANDB_IDENTITY_TOKEN_FILE, the netrc, in this order.
        audience: Whom GitHub's token is for; W&B's cloud wants the organization's name.
        mask: Told every secret before it is used, so that logs can hide it.

    Raises:
        ConfigurationError: What is there cannot be used, or ``oidc`` has no identity to show.
    """
    if auth == "oidc":
        return oidc.exchanged(environ, base_url, audience=audience, mask=mask)
    if auth is None and not _names_a_key(environ) and environ.get(oidc.TOKEN_FILE, "").strip():
        return oidc.exchanged(environ, base_url, audience=audience, mask=mask)
    key = api_key(environ, base_url)
    if key is not None:
        mask(key.value)
    return key


def api_key(environ: Mapping[str, str], base_url: str) -> ApiKey | None:
    """The key for that server: WANDB_API_KEY, else the file WANDB_API_KEY_FILE, else the netrc.

    Raises:
        ConfigurationError: What is there is no key, or cannot be read; the message names the source.
    """
    if environ.get("WANDB_API_KEY", "").strip():
        return ApiKey.parse(environ["WANDB_API_KEY"], "WANDB_API_KEY")
    if file := environ.get("WANDB_API_KEY_FILE", "").strip():
        return ApiKey.parse(_read(Path(file)), f"WANDB_API_KEY_FILE ({file})")
    return _from_netrc(environ, urlsplit(base_url).hostname or "")


def _names_a_key(environ: Mapping[str, str]) -> bool:
    return any(environ.get(name, "").strip() for name in ("WANDB_API_KEY", "WANDB_API_KEY_FILE"))


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise ConfigurationError(f"WANDB_API_KEY_FILE: {file} cannot be read: {reason}") from error


def _from_netrc(environ: Mapping[str, str], host: str) -> ApiKey | None:
    file = _netrc_file(environ)
    if file is None:
        return None
    try:
        found = netrc.netrc(str(file)).hosts
    except netrc.NetrcParseError as error:  # Its own text may quote a password.
        raise ConfigurationError(f"{file} cannot be read: it is malformed at line {error.lineno}") from None
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"{file} cannot be read: {type(error).__name__}") from error
    for name in (host, *CLOUD_HOSTS) if host in CLOUD_HOSTS else (host,):
        if name in found:  # Never its `default`: that is a password for somebody else.
            return ApiKey.parse(found[name][2] or "", f"{file} (machine {name})")
    return None


def _netrc_file(environ: Mapping[str, str]) -> Path | None:
    if named := environ.get("NETRC", "").strip():
        return Path(named).expanduser()
    home = environ.get("HOME") or environ.get("USERPROFILE")
    candidates = [Path(home) / name for name in (".netrc", "_netrc")] if home else []
    return next((file for file in candidates if file.is_file()), None)
