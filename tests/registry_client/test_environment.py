"""Which proxy and whose certificates the environment names; requests is asked what it would do."""

from __future__ import annotations

import urllib.request
from pathlib import Path

import pytest
import requests

from registry_client.environment import proxy_for, trust
from registry_client.errors import ConfigurationError, ProxyError

URL = "https://api.wandb.ai/graphql"
PROXY = "http://proxy.test:3128"


def as_requests(url: str, environ: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> str | None:
    """What requests, told of the same environment, would go through."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "REQUEST_METHOD"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    found = requests.utils.get_environ_proxies(url)
    return requests.utils.select_proxy(url, found)


@pytest.mark.parametrize(
    ("url", "environ", "wanted"),
    [
        (URL, {}, None),
        (URL, {"HTTPS_PROXY": PROXY}, PROXY),
        (URL, {"https_proxy": PROXY}, PROXY),
        (URL, {"HTTP_PROXY": PROXY}, None),
        ("http://127.0.0.1:80/x", {"HTTP_PROXY": PROXY}, PROXY),
        ("http://127.0.0.1:80/x", {"HTTP_PROXY": PROXY, "REQUEST_METHOD": "GET"}, None),
        ("http://127.0.0.1:80/x", {"http_proxy": PROXY, "REQUEST_METHOD": "GET"}, PROXY),
        (URL, {"ALL_PROXY": PROXY}, PROXY),
        (URL, {"ALL_PROXY": PROXY, "HTTPS_PROXY": "http://other.test"}, "http://other.test"),
        (URL, {"HTTPS_PROXY": "http://other.test", "https_proxy": PROXY}, PROXY),
        (URL, {"HTTPS_PROXY": PROXY, "https_proxy": ""}, None),
        (URL, {"HTTPS_PROXY": PROXY, "NO_PROXY": "api.wandb.ai"}, None),
        (URL, {"HTTPS_PROXY": PROXY, "no_proxy": " x.test , wandb.ai"}, None),
        (URL, {"HTTPS_PROXY": PROXY, "NO_PROXY": ".wandb.ai"}, None),
        (URL, {"HTTPS_PROXY": PROXY, "NO_PROXY": "*"}, None),
        (URL, {"HTTPS_PROXY": PROXY, "NO_PROXY": "wandb.ai.test,api"}, PROXY),
        (URL, {"HTTPS_PROXY": PROXY, "NO_PROXY": ","}, PROXY),
        ("https://w.test:8443/", {"HTTPS_PROXY": PROXY, "NO_PROXY": "w.test:8443"}, None),
        ("https://w.test:8443/", {"HTTPS_PROXY": PROXY, "NO_PROXY": "w.test:8444"}, PROXY),
        ("https://10.1.2.3/", {"HTTPS_PROXY": PROXY, "NO_PROXY": "10.0.0.0/8"}, None),
        ("https://10.1.2.3/", {"HTTPS_PROXY": PROXY, "NO_PROXY": "10.1.2.3"}, None),
        ("https://11.1.2.3/", {"HTTPS_PROXY": PROXY, "NO_PROXY": "10.0.0.0/8"}, PROXY),
    ],
)
def test_the_proxy_is_the_one_that_others_would_take(
    monkeypatch: pytest.MonkeyPatch, url: str, environ: dict[str, str], wanted: str | None
) -> None:
    """
    Ours and requests' answers are the same.
    """
    assert proxy_for(url, environ) == wanted
    assert as_requests(url, environ, monkeypatch) == wanted


@pytest.mark.parametrize(
    ("url", "no_proxy", "wanted"),
    [
        ("https://badwandb.ai/", "wandb.ai", PROXY),
        (URL, "*.wandb.ai", None),
        ("https://[fd00::1]/", "fd00::/8", None),
        (URL, "WANDB.AI", None),
    ],
    ids=["a dot between", "a star", "version 6", "capitals"],
)
def test_no_proxy_is_read_more_closely_than_by_requests(url: str, no_proxy: str, wanted: str | None) -> None:
    """
    Names match at their dots alone; a star and networks of version 6 are understood.
    """
    assert proxy_for(url, {"HTTPS_PROXY": PROXY, "NO_PROXY": no_proxy}) == wanted


def test_a_proxy_without_a_scheme_is_http() -> None:
    """
    As people write it.
    """
    assert proxy_for(URL, {"HTTPS_PROXY": "proxy.test:3128"}) == PROXY


@pytest.mark.parametrize("scheme", ["socks5", "socks5h", "ftp"])
def test_other_kinds_of_proxy_are_refused(scheme: str) -> None:
    """
    By their kind, never by the address, which may hold a password.
    """
    with pytest.raises(ProxyError, match=f"of the kind {scheme}; want http:// or https://") as caught:
        proxy_for(URL, {"ALL_PROXY": f"{scheme}://user:hunter2@proxy.test"})

    assert "hunter2" not in str(caught.value)


def test_a_desktops_own_proxies_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    As Windows and macOS keep them, where the environment names none.
    """
    monkeypatch.setattr(urllib.request, "getproxies_registry", lambda: {"https": PROXY}, raising=False)
    monkeypatch.setattr(
        urllib.request, "proxy_bypass_registry", lambda host: host == "home.test", raising=False
    )

    assert proxy_for(URL, {}) == PROXY
    assert proxy_for("https://home.test/", {}) is None
    assert proxy_for(URL, {"HTTPS_PROXY": "http://other.test"}) == "http://other.test"


@pytest.mark.parametrize("variable", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"])
@pytest.mark.parametrize(
    ("content", "reason"), [(None, "No such file"), ("nothing", "it holds no certificate")]
)
def test_a_bundle_that_is_none_is_named(
    tmp_path: Path, variable: str, content: str | None, reason: str
) -> None:
    """
    The variable, the file and what is wrong with it.
    """
    file = tmp_path / "ca.pem"
    if content is not None:
        file.write_text(content, encoding="ascii")

    with pytest.raises(ConfigurationError, match=f"^{variable} names .*ca.pem, which cannot .*{reason}"):
        trust({variable: str(file)})


def test_without_a_bundle_the_usual_authorities_count() -> None:
    """
    Those that certifi knows, and a check of the host's name.
    """
    context = trust({})

    assert len(context.get_ca_certs()) > 100
    assert context.check_hostname
    assert trust({"REQUESTS_CA_BUNDLE": ""}).verify_mode is context.verify_mode
