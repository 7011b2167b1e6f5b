"""The base URL and the key of W&B, from an environment as W&B's users have it."""

from __future__ import annotations

import ipaddress
import netrc
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from registry_client.errors import ConfigurationError

DEFAULT_BASE_URL = "https://api.wandb.ai"
# Two names of one deployment: a key for one is a key for the other.
_CLOUD_HOSTS = ("api.wandb.ai", "api.forge.coreweave.com")
_CLOUD_PAGES = {
    "wandb.ai": "https://api.wandb.ai",
    "www.wandb.ai": "https://api.wandb.ai",
    "app.wandb.ai": "https://api.wandb.ai",
    "forge.coreweave.com": "https://api.forge.coreweave.com",
}
_PROXY_PATH = "/api/wandb"
_SHORTEST_KEY = 40
_JWT = re.compile(r"[\w-]+\.[\w-]+\.[\w-]+", re.ASCII)


@dataclass(frozen=True)
class ApiKey:
    """A key of W&B, which never shows itself; ``source`` says where it was found."""

    value: str = field(repr=False)
    source: str

    @classmethod
    def parse(cls, text: str, source: str) -> ApiKey:
        """Read a key, or raise ConfigurationError, which names the source and never the key."""
        key = text.strip()
        if _JWT.fullmatch(key):
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


def base_url(environ: Mapping[str, str]) -> str:
    """Where W&B's API is: WANDB_BASE_URL, or W&B's own cloud; without a trailing slash.

    Plain http is taken for this machine alone: anywhere else the key would travel in the clear.
    There is no switch for that: a server without TLS can be reached through a tunnel.

    Raises:
        ConfigurationError: It is not a URL that we may send a key to; the message says which to use.
    """
    text = environ.get("WANDB_BASE_URL", "").strip()
    if not text:
        return DEFAULT_BASE_URL
    url = _split(text)
    host, path = url.hostname or "", url.path.rstrip("/")
    if host == "forge.coreweave.com" and path == _PROXY_PATH:
        return _CLOUD_PAGES[host]
    if host in _CLOUD_PAGES:
        raise ConfigurationError(
            f"WANDB_BASE_URL names {host}, where people look at W&B; want its API, {_CLOUD_PAGES[host]}"
        )
    if url.scheme == "http" and not is_loopback(host):
        raise ConfigurationError(
            f"WANDB_BASE_URL is http://{host}…: the key would travel in the clear; want https://"
        )
    return f"{url.scheme}://{url.netloc.lower()}{path}"


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


def is_loopback(host: str) -> bool:
    """Whether that host is this machine."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _split(text: str) -> SplitResult:
    # The text itself stays out of the messages: it may hold a password.
    try:
        url = urlsplit(text)
        if url.scheme not in {"http", "https"} or not url.hostname or url.port == 0:
            raise ConfigurationError(f"WANDB_BASE_URL should look like {DEFAULT_BASE_URL}")
    except ValueError as error:
        raise ConfigurationError(f"WANDB_BASE_URL is no URL; want one like {DEFAULT_BASE_URL}") from error
    if url.username is not None or url.password is not None:
        raise ConfigurationError("WANDB_BASE_URL holds a user name or password; want WANDB_API_KEY for that")
    if url.query or url.fragment:
        raise ConfigurationError("WANDB_BASE_URL holds a '?' or '#'; want host and path alone")
    return url


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
    for name in (host, *_CLOUD_HOSTS) if host in _CLOUD_HOSTS else (host,):
        if name in found:  # Never its `default`: that is a password for somebody else.
            return ApiKey.parse(found[name][2] or "", f"{file} (machine {name})")
    return None


def _netrc_file(environ: Mapping[str, str]) -> Path | None:
    if named := environ.get("NETRC", "").strip():
        return Path(named).expanduser()
    home = environ.get("HOME") or environ.get("USERPROFILE")
    candidates = [Path(home) / name for name in (".netrc", "_netrc")] if home else []
    return next((file for file in candidates if file.is_file()), None)
