"""Addresses that work for a while without a password: pure."""

from __future__ import annotations

import hashlib
import hmac
from datetime import datetime, timedelta
from urllib.parse import urlencode


class SignedUrls:
    """Signs paths and checks them, by the clock that it is given."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def query(self, path: str, now: datetime, lifetime: timedelta) -> str:
        """What follows ``?`` in an address that ends ``lifetime`` from now."""
        expires = f"{(now + lifetime).timestamp():.3f}"
        return urlencode({"X-Expires": expires, "X-Signature": self._sign(path, expires)})

    def refusal(self, path: str, expires: str, signature: str, now: datetime) -> str | None:
        """Why this address is not served, or None."""
        if not hmac.compare_digest(self._sign(path, expires).encode(), signature.encode()):
            return "SignatureDoesNotMatch"
        return None if now.timestamp() < float(expires) else "Request has expired"

    def _sign(self, path: str, expires: str) -> str:
        return hmac.new(self._key, f"GET {path} {expires}".encode(), hashlib.sha256).hexdigest()
