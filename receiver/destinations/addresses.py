"""Which addresses we may connect to: what a name means is judged once, and that is where we connect."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Any
from urllib.parse import urlsplit

from receiver.errors import ReceiverError
from receiver.exchange import NotSentError

Lookup = Callable[[str, int], Sequence[tuple[Any, ...]]]

# What belongs to nobody outside, by IANA's registries of special purposes; spelt out here, for Python's own
# list differs from one patch release to the next.
_PRIVATE_4 = tuple(
    map(IPv4Network, ("10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"))
)
_NEVER_4 = tuple(
    map(
        IPv4Network,
        (
            *("0.0.0.0/8", "169.254.0.0/16", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24"),
            *("198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4"),
        ),
    )
)
_PRIVATE_6 = (IPv6Network("::1/128"), IPv6Network("fc00::/7"))
_PUBLIC_6 = IPv6Network("2000::/3")
_NEVER_6 = tuple(map(IPv6Network, ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20")))
_MAPPED = IPv6Network("::ffff:0:0/96")
_NAT64 = IPv6Network("64:ff9b::/96")
# Where clouds hand out a machine's own credentials, beside 169.254.169.254: AWS, Google, Alibaba, Azure.
_METADATA = frozenset(map(ip_address, ("fd00:ec2::254", "fd20:ce::254", "100.100.100.200", "168.63.129.16")))


class AddressRefusedError(ReceiverError):
    """The name leads to an address that we do not connect to; no connection was tried."""

    reason = "address-refused"


@dataclass(frozen=True)
class Address:
    """Where to connect: an address that was judged, and a port."""

    ip: str
    port: int


def wrong_with_url(text: str, *, private: bool) -> str | None:
    """Say what is wrong with where to post, as far as the address itself tells; None when nothing is."""
    try:
        url = urlsplit(text)
        host, _ = url.hostname, url.port
    except ValueError:
        return "is no URL"
    if not host or not text.isascii() or re.search(r"[\s\\]", text) or url.fragment:
        return "want https://HOST/PATH in ASCII (a name of other letters as xn--…), and no #"
    if url.username is not None:
        return "holds a user or a password: a bearer token goes under token:"
    if url.scheme != "https" and not (url.scheme == "http" and private):
        return "want https; http will do for a private address, with allow_private: true"
    try:
        why = why_refused(host, private=private, public=url.scheme == "https")
    except ValueError:
        return None  # A name; what it means is judged when something is sent.
    return None if why is None else f"{host} is {why}"


def judged(
    host: str, port: int, *, private: bool, public: bool, lookup: Lookup | None = None
) -> tuple[Address, ...]:
    """Look the name up, once, and return its addresses when we may connect to every one of them.

    Args:
        host: A name, or an address in any spelling that the system reads.
        port: A port.
        private: Whether loopback and private networks will do.
        public: Whether the rest of the world will do.
        lookup: Instead of the system's.

    Raises:
        AddressRefusedError: One of them will not do; a name that also means something else is no better.
        NotSentError: The name cannot be looked up now.
    """
    try:
        found = (lookup or _system_lookup)(host, port)
    except UnicodeError:
        raise AddressRefusedError(f"{host!r} is no name of a host") from None
    except OSError as error:
        raise NotSentError(f"no address for {host}: {error.strerror or type(error).__name__}") from None
    addresses = tuple(dict.fromkeys(Address(str(row[4][0]).partition("%")[0], port) for row in found))
    for address in addresses:
        why = why_refused(address.ip, private=private, public=public)
        if why is not None:
            raise AddressRefusedError(f"{host} is {address.ip}, {why}")
    if not addresses:
        raise NotSentError(f"no address for {host}")
    return addresses


def why_refused(text: str, *, private: bool, public: bool) -> str | None:
    """Why we do not connect to this address; None where we may."""
    ip = _unwrapped(ip_address(text))
    if ip in _METADATA or _within(ip, _NEVER_4, _NEVER_6):
        return "an address that no service of yours has"
    if _within(ip, _PRIVATE_4, _PRIVATE_6):
        return None if private else "a private address: set allow_private: true if that is meant"
    if isinstance(ip, IPv6Address) and ip not in _PUBLIC_6:
        return "an address that no service of yours has"
    return None if public else "a public address, where only https will do"


def _unwrapped(ip: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """The IPv4 address that a mapped or translated one stands for."""
    if isinstance(ip, IPv6Address) and (ip in _MAPPED or ip in _NAT64):
        return IPv4Address(int(ip) & 0xFFFFFFFF)
    return ip


def _within(
    ip: IPv4Address | IPv6Address, of_four: Sequence[IPv4Network], of_six: Sequence[IPv6Network]
) -> bool:
    return any(ip in network for network in (of_four if isinstance(ip, IPv4Address) else of_six))


def _system_lookup(host: str, port: int) -> Sequence[tuple[Any, ...]]:
    return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
