"""What the environment says of the way into the network: which proxy, whose certificates."""

from __future__ import annotations

import ipaddress
import ssl
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

import certifi

from registry_client.errors import ConfigurationError, ProxyError

# In the order in which they count; requests, curl and OpenSSL read them.
BUNDLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE")
_SYSTEMS = (  # Where a desktop keeps its proxies outside the environment.
    ("getproxies_registry", "proxy_bypass_registry"),
    ("getproxies_macosx_sysconf", "proxy_bypass_macosx_sysconf"),
)


def proxy_for(url: str, environ: Mapping[str, str]) -> str | None:
    """The proxy to that URL by ``https_proxy``, ``all_proxy``, ``no_proxy`` and the like; None for none.

    Raises:
        ProxyError: The one that is named is of a kind that we cannot use.
    """
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port
    if _listed(host, port, _variable("no_proxy", environ)):
        return None
    proxy = (
        _variable(f"{parts.scheme}_proxy", environ)
        or _variable("all_proxy", environ)
        or _of_the_system(parts.scheme, host)
    )
    return _checked(proxy) if proxy else None


def trust(environ: Mapping[str, str]) -> ssl.SSLContext:
    """Whom to believe: the bundle that the environment names, else certifi's authorities and the system's.

    Raises:
        ConfigurationError: What the environment names holds no certificates.
    """
    named = bundle(environ)
    if named is None:
        context = ssl.create_default_context(cafile=certifi.where())
        context.load_default_certs()  # A company's own authority is often known to the system alone.
        return context
    name, path = named
    try:
        if Path(path).is_dir():
            return ssl.create_default_context(capath=path)
        return ssl.create_default_context(cafile=path)
    except OSError as error:  # An SSLError is one.
        reason = "it holds no certificate" if isinstance(error, ssl.SSLError) else error.strerror
        raise ConfigurationError(f"{name} names {path}, which cannot be used: {reason}") from error


def bundle(environ: Mapping[str, str]) -> tuple[str, str] | None:
    """The variable that names certificates to trust, and what it names; None for the usual ones."""
    return next(((name, environ[name]) for name in BUNDLES if environ.get(name)), None)


def _variable(name: str, environ: Mapping[str, str]) -> str:
    """Small letters count before capitals, even when empty; a CGI program's HTTP_PROXY is its caller's."""
    if name in environ:
        return environ[name].strip()
    if name == "http_proxy" and "REQUEST_METHOD" in environ:
        return ""
    return environ.get(name.upper(), "").strip()


def _listed(host: str, port: int | None, no_proxy: str) -> bool:
    entries = [entry.strip().lower() for entry in no_proxy.split(",")]
    return any(_matches(host.lower(), port, entry) for entry in entries if entry)


def _matches(host: str, port: int | None, entry: str) -> bool:
    if entry == "*":
        return True
    try:
        return ipaddress.ip_address(host) in ipaddress.ip_network(entry, strict=False)
    except ValueError:
        name = entry.removeprefix("*").removeprefix(".")
        return any(each == name or each.endswith(f".{name}") for each in (host, f"{host}:{port}"))


def _of_the_system(scheme: str, host: str) -> str | None:
    for known, bypassed in _SYSTEMS:
        proxies: dict[str, str] = getattr(urllib.request, known, dict)()
        if proxies and not getattr(urllib.request, bypassed)(host):
            return proxies.get(scheme) or proxies.get("all")
    return None


def _checked(proxy: str) -> str:
    proxy = proxy if "://" in proxy else f"http://{proxy}"
    scheme = proxy.partition("://")[0].lower()
    if scheme not in {"http", "https"}:
        raise ProxyError(f"the proxy of this environment is of the kind {scheme}; want http:// or https://")
    return proxy
