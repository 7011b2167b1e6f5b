"""Where a POST may go: every way to say "a machine of ours" is found out."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from receiver.destinations.addresses import Address, AddressRefusedError, judged, why_refused, wrong_with_url
from receiver.exchange import NotSentError

PUBLIC = ["1.1.1.1", "93.184.216.34", "2606:4700::1111", "64:ff9b::101:101", "::ffff:1.1.1.1"]
PRIVATE = [
    *("127.0.0.1", "127.8.9.10", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "100.64.0.1"),
    *("::1", "fd12:3456::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::a00:1", "64:ff9b::7f00:1"),
]
NEVER = [
    *("0.0.0.0", "0.1.2.3", "169.254.169.254", "192.0.0.192", "192.0.2.1", "198.18.0.1", "224.0.0.1"),  # noqa: S104 - nothing listens there
    *("240.0.0.1", "255.255.255.255", "100.100.100.200", "168.63.129.16", "fd00:ec2::254", "fd20:ce::254"),
    *("::", "fe80::1", "fec0::1", "ff02::1", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe"),
    *("64:ff9b:1::a00:1", "::127.0.0.1", "2001::1", "2001:db8::1", "2002:7f00:1::", "3fff::1", "100::1"),
]


def named(*ips: str) -> Any:
    """A lookup in which every name means these addresses."""
    return lambda _, port: [(0, 0, 0, "", (ip, port)) for ip in ips]


@pytest.mark.parametrize("ip", PUBLIC)
def test_the_world_may_be_reached(ip: str) -> None:
    """
    A public address will do, translated or not – but not where only private ones are meant.
    """
    assert why_refused(ip, private=False, public=True) is None
    assert why_refused(ip, private=True, public=False) is not None


@pytest.mark.parametrize("ip", PRIVATE)
def test_private_networks_only_where_allowed(ip: str) -> None:
    """
    Loopback and private networks need leave, however they are written.
    """
    assert "allow_private" in (why_refused(ip, private=False, public=True) or "")
    assert why_refused(ip, private=True, public=True) is None


@pytest.mark.parametrize("ip", NEVER)
def test_some_are_never_reached(ip: str) -> None:
    """
    Metadata services, link-local, multicast, documentation and wrapped addresses: not with leave either.
    """
    assert why_refused(ip, private=False, public=True) is not None
    assert why_refused(ip, private=True, public=True) is not None


@pytest.mark.parametrize("ips", [("1.1.1.1", "10.0.0.1"), ("10.0.0.1", "1.1.1.1")], ids=["last", "first"])
def test_one_bad_address_spoils_the_name(ips: tuple[str, ...]) -> None:
    """
    A name that also means a private address is refused, wherever it stands in the list.
    """
    with pytest.raises(AddressRefusedError, match=r"two\.example is 10\.0\.0\.1, a private address"):
        judged("two.example", 443, private=False, public=True, lookup=named(*ips))


def test_what_was_judged_is_what_is_returned() -> None:
    """
    The addresses come back in the name server's order, each once.
    """
    found = judged(
        "a.example", 8443, private=False, public=True, lookup=named("1.1.1.1", "1.0.0.1", "1.1.1.1")
    )

    assert found == (Address("1.1.1.1", 8443), Address("1.0.0.1", 8443))


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "2130706433", "0x7f.1", "0177.0.0.1", "127.1", "[::1]".strip("[]")]
)
def test_odd_spellings_are_seen_through(host: str) -> None:
    """
    What the system reads as loopback is loopback, in decimal, octal and hex too.
    """
    with pytest.raises(AddressRefusedError, match="a private address"):
        judged(host, 80, private=False, public=True)


@pytest.mark.parametrize(
    "failure", [socket.gaierror(-2, "Name or service not known"), None], ids=["error", "none"]
)
def test_an_unknown_name_may_be_known_later(failure: OSError | None) -> None:
    """
    A name server that cannot tell now is no refusal.
    """

    def lookup(_: str, __: int) -> list[tuple[Any, ...]]:
        if failure is not None:
            raise failure
        return []

    with pytest.raises(NotSentError, match=r"no address for gone\.example"):
        judged("gone.example", 443, private=False, public=True, lookup=lookup)


def test_a_name_that_cannot_be_one_is_refused() -> None:
    """
    A label that is too long for a name is not looked up over and over.
    """
    with pytest.raises(AddressRefusedError, match="no name of a host"):
        judged("x" * 70 + ".example", 443, private=False, public=True)


@pytest.mark.parametrize(
    ("url", "private", "words"),
    [
        pytest.param("https://a.example/x?y=1", False, None, id="https"),
        pytest.param("http://svc.internal:8080/", True, None, id="http where private"),
        pytest.param("http://a.example/", False, "want https", id="http"),
        pytest.param("ftp://a.example/", True, "want https", id="ftp"),
        pytest.param("https://u:p@a.example/", False, "token:", id="user"),
        pytest.param("https://a.example/#x", False, "no #", id="fragment"),
        pytest.param("https://a.example/a b", False, "ASCII", id="space"),
        pytest.param("https://a.example\\@b.example/", False, "ASCII", id="backslash"),
        pytest.param("https://ä.example/", False, "xn--", id="other letters"),
        pytest.param("https:///x", False, "want https://HOST", id="no host"),
        pytest.param("https://a.example:99999/", False, "no URL", id="port"),
        pytest.param("https://[::1", False, "no URL", id="bracket"),
        pytest.param("https://10.0.0.1/", False, "allow_private", id="private address"),
        pytest.param("https://169.254.169.254/", True, "no service of yours", id="metadata"),
        pytest.param("http://1.1.1.1/", True, "only https", id="http to the world"),
    ],
)
def test_the_address_itself_tells_much(url: str, private: bool, words: str | None) -> None:
    """
    What is wrong with a URL is said when it is read, as far as no name has to be looked up.
    """
    wrong = wrong_with_url(url, private=private)

    assert wrong is None if words is None else words in (wrong or "")
