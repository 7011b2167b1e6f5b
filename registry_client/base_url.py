"""Where W&B's API is: the one origin that credentials are for."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from urllib.parse import SplitResult, urlsplit

from registry_client.errors import ConfigurationError

DEFAULT_BASE_URL = "https://api.wandb.ai"
# Two names of one deployment: a key for one is a key for the other.
CLOUD_HOSTS = ("api.wandb.ai", "api.forge.coreweave.com")
_CLOUD_PAGES = {
    "wandb.ai": "https://api.wandb.ai",
    "www.wandb.ai": "https://api.wandb.ai",
    "app.wandb.ai": "https://api.wandb.ai",
    "forge.coreweave.com": "https://api.forge.coreweave.com",
}
_PROXY_PATH = "/api/wandb"
_PORTS = {"https": 443, "http": 80}


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


def is_loopback(host: str) -> bool:
    """Whether that host is this machine."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def origin(url: str) -> tuple[str, str, int | None] | None:
    """Scheme, host and port: what a credential is bound to; None for what is no URL."""
    try:
        parts = urlsplit(url)
        return parts.scheme, parts.hostname or "", parts.port or _PORTS.get(parts.scheme)
    except ValueError:
        return None


def shown_host(url: str) -> str:
    """The host and port of a URL, for messages: never its path, which may be signed."""
    try:
        return urlsplit(url).netloc.rpartition("@")[2] or "an address without a host"
    except ValueError:
        return "an address that is no URL"


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
