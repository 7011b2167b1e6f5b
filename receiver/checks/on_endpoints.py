"""The checks of addresses: where does each post go, and each notice?"""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit

from receiver.checks.finding import Finding
from receiver.config import Config
from receiver.destinations.addresses import AddressRefusedError, Lookup, judged
from receiver.exchange import NotSentError
from receiver.routing.route import Post
from registry_client.credentials import is_loopback


def on_endpoints(config: Config, *, lookup: Lookup | None = None) -> Iterator[Finding]:
    """Whether each host means an address that we may connect to; nothing is sent there."""
    for route in config.routes:
        if isinstance(route.action, Post):
            action = route.action
            yield _host(f"route {route.name}", action.url, private=action.allow_private, lookup=lookup)
    for channel in config.channels.values():
        url = channel.url.value
        private = is_loopback(urlsplit(url).hostname or "")
        yield _host(f"channel {channel.name}", url, private=private, lookup=lookup)


def _host(what: str, url: str, *, private: bool, lookup: Lookup | None) -> Finding:
    parts = urlsplit(url)  # Of a channel's address only the host is told: the rest of it is a secret.
    host, secure = parts.hostname or "", parts.scheme == "https"
    try:
        found = judged(
            host, parts.port or (443 if secure else 80), private=private, public=secure, lookup=lookup
        )
    except (AddressRefusedError, NotSentError) as error:
        return Finding.bad(what, str(error))
    return Finding.good(what, f"{host} is at {', '.join(address.ip for address in found)}")
