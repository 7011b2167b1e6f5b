"""The addresses that settings hold, GitHub's and the ledger's, told right from wrong."""

from __future__ import annotations

import importlib.util
import re
from urllib.parse import SplitResult, urlsplit

DEFAULT_API_URL = "https://api.github.com"
DEFAULT_DATABASE_URL = "sqlite:///handoff.db"


def wrong_with_api_url(text: str) -> str | None:
    """Say what is wrong with the address of GitHub's API, and what was wanted; None when nothing is."""
    want = "want https://api.github.com, https://HOST/api/v3 or https://api.TENANT.ghe.com"
    try:
        url = urlsplit(text)
        host, _ = url.hostname, url.port
    except ValueError:
        return f"is no URL; {want}"
    if url.username is not None or url.query or url.fragment:
        return f"holds a user, a query or a fragment; {want}"
    if not host or url.scheme not in {"https", "http"} or re.search(r"\s", text):
        return f"got {text!r}, {want}"
    if url.scheme == "http" and host not in {"127.0.0.1", "::1", "localhost"}:
        return f"got {text!r}, want https: a token would travel in the open"
    return _wrong_with_api_host(text, url, host)


def _wrong_with_api_host(text: str, url: SplitResult, host: str) -> str | None:
    if host in {"github.com", "www.github.com"}:
        return f"got {text!r}, which is the site; want {DEFAULT_API_URL}"
    if host.endswith(".ghe.com") and not host.startswith("api."):
        return f"got {text!r}, which is the site; want https://api.{host}"
    if url.scheme == "http" or host == "api.github.com" or host.endswith(".ghe.com"):
        return None if url.scheme == "http" or not url.path else f"got {text!r}, want https://{host}"
    return (
        None
        if url.path == "/api/v3"
        else f"got {text!r}, want https://{url.netloc}/api/v3 for your own GitHub"
    )


def wrong_with_database_url(url: str) -> str | None:
    """Say what is wrong with the address of a ledger, but no password in it; None when nothing is."""
    scheme, _, rest = url.partition("://")
    if scheme == "sqlite" and re.fullmatch(r"/[^?]+", rest) and rest != "/:memory:":
        return None
    if scheme in {"postgresql", "postgresql+psycopg"}:
        if importlib.util.find_spec("psycopg") is None:
            return 'PostgreSQL needs its driver: pip install "wandb-handoff[postgres]"'
        return None
    hint = "; did you mean postgresql://?" if scheme.startswith("postgres") else ""
    return (
        f"got {scheme[:30]!r}://…, want sqlite:///relative/handoff.db, sqlite:////absolute/handoff.db or "
        f"postgresql://user:password@host/database{hint}"
    )
