"""Hosts are judged as they will be when something is sent; nothing is sent there."""

from __future__ import annotations

import pytest

from receiver.checks import Finding, Mark
from receiver.checks.on_endpoints import on_endpoints
from receiver.config import Channel, Config
from receiver.routing.route import Post, Route
from receiver.secret import Secret


def told(url: str, ip: str = "93.184.216.34", *, allow_private: bool = False) -> Finding:
    """What is found for a route that posts there."""
    config = Config(routes=(Route("modal", Post(url, allow_private=allow_private)),))
    (finding,) = on_endpoints(config, lookup=lambda _host, port: [(2, 1, 6, "", (ip, port))])
    return finding


def test_a_public_host() -> None:
    """
    Its address is told, and no more of the URL.
    """
    assert told("https://ci.example/hook?x=1") == Finding.good(
        "route modal", "ci.example is at 93.184.216.34"
    )


@pytest.mark.parametrize("ip", ["10.0.0.7", "127.0.0.1", "169.254.169.254"])
def test_a_name_that_means_a_private_address(ip: str) -> None:
    """
    Is refused here as it would be then.
    """
    assert told("https://ci.example", ip).mark is Mark.BAD


def test_private_addresses_where_they_are_meant() -> None:
    """
    With allow_private; yet never where clouds hand out credentials.
    """
    assert told("http://ci.example", "10.0.0.7", allow_private=True).mark is Mark.GOOD
    assert told("http://ci.example", "169.254.169.254", allow_private=True).mark is Mark.BAD


def test_of_a_channel_only_the_host_is_told() -> None:
    """
    The rest of its address is what lets one write there.
    """
    channel = Channel("ml", "slack", Secret("https://hooks.slack.example/services/T0/B0/part"))
    config = Config(channels={"ml": channel})

    (finding,) = on_endpoints(config, lookup=lambda _host, port: [(2, 1, 6, "", ("93.184.216.34", port))])
    assert finding == Finding.good("channel ml", "hooks.slack.example is at 93.184.216.34")


def test_a_host_that_nobody_knows() -> None:
    """
    Is to be mended.
    """

    def unknown(_host: str, _port: int) -> list[tuple[object, ...]]:
        raise OSError(-2, "Name or service not known")

    config = Config(routes=(Route("modal", Post("https://gone.example")),))
    (finding,) = on_endpoints(config, lookup=unknown)
    assert finding == Finding.bad("route modal", "no address for gone.example: Name or service not known")
