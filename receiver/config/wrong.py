"""Single values told right from wrong, without showing one that may be a secret.  Pure."""

from __future__ import annotations

import base64
import ipaddress
import re
from urllib.parse import SplitResult, urlsplit

from receiver.budget import Budget
from receiver.urls import wrong_with_database_url
from registry_client.credentials import base_url, is_loopback
from registry_client.errors import ConfigurationError


def wrong_with_token(text: str) -> str | None:
    """What keeps it from travelling in a header."""
    if re.fullmatch(r"[!-~]+", text):
        return None
    return "holds a space, a line end or other characters than printable ASCII, which no header can carry"


def wrong_with_channel(text: str) -> str | None:
    """Why it is no address of a chat; the address is itself a secret, and is not repeated."""
    url = _split(text)
    if url and (url.scheme == "https" or is_loopback(url.hostname or "")):
        return None
    return "holds no https URL; want the address that Slack or Teams gave, and nothing else"


def wrong_with_signing_secret(text: str) -> str | None:
    """Why it cannot sign as Standard Webhooks does."""
    if not text.startswith("whsec_"):
        return None
    try:
        key = base64.b64decode(text.removeprefix("whsec_"), validate=True)
    except ValueError:
        key = b""
    return None if key else "begins with whsec_, and what follows is no base64; want it as it was given"


def wrong_with_budget(text: str) -> str | None:
    """Why it is no budget."""
    try:
        Budget.parse(text)
    except ValueError as error:
        return str(error)
    return None


def wrong_with_base_url(text: str) -> str | None:
    """Why it is no address of W&B's API."""
    try:
        base_url({"WANDB_BASE_URL": text})
    except ConfigurationError as error:
        return str(error).removeprefix("WANDB_BASE_URL ").replace("WANDB_API_KEY", "api_key")
    return None


def wrong_with_open_database_url(text: str) -> str | None:
    """Why it is no address of a ledger that may stand in the open."""
    if re.match(r"[^/]*://[^/?#]*:[^/?#]*@", text):
        return "holds a password; want {env: NAME} or {file: PATH} for the whole address"
    return wrong_with_database_url(text)


def wrong_with_target(text: str, *, allow_private: bool) -> str | None:
    """What is wrong with the address of a ``post``, as far as it tells without being looked up."""
    url = _split(text)
    if url is None:
        return "is no address; want one like https://example.com/hook"
    if url.username is not None:
        return "holds a user name or a password; want token: {env: NAME} for that"
    if "${" in text:
        return "holds ${…}; want an address that no event can change"
    return None if allow_private else _wrong_in_public(url)


def _split(text: str) -> SplitResult | None:
    """The parts of an http or https address with a host; None where it is none."""
    try:
        url = urlsplit(text)
        sound = url.hostname and url.port != 0 and url.scheme in {"https", "http"}
    except ValueError:
        return None
    return url if sound and not re.search(r"[#\s]", text) else None


def _wrong_in_public(url: SplitResult) -> str | None:
    if url.scheme == "http":
        return "is http, and what it carries would travel in the open; want https, or allow_private: true"
    host = url.hostname or ""
    if _is_private(host):
        return f"{host} is a private address; want a public one, or allow_private: true beside it"
    return None


def _is_private(host: str) -> bool:
    try:
        return not ipaddress.ip_address(host).is_global
    except ValueError:
        return host == "localhost" or host.endswith((".localhost", ".local", ".internal"))
