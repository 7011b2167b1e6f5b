"""The signature of Standard Webhooks, as the receiver of a webhook checks it: pure."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from datetime import datetime

PREFIX = "whsec_"
_SIZES = range(24, 65)  # Bytes, by the specification.


def key_of(secret: str) -> bytes:
    """Read a secret: ``whsec_`` and base64, the prefix may be missing.

    Raises:
        ValueError: It is none; the message says what is wanted and shows nothing of it.
    """
    want = f"want {PREFIX} and the base64 of 24 to 64 random bytes"
    try:
        key = base64.b64decode(secret.strip().removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError):
        raise ValueError(f"got no base64, {want}") from None
    if len(key) not in _SIZES:
        raise ValueError(f"got {len(key)} bytes, {want}")
    return key


def headers(body: bytes, message_id: str, at: datetime, key: bytes) -> dict[str, str]:
    """The three headers that say who sent exactly this body, and when.

    ``message_id`` is the same for every try at sending it; the receiver tells by it what came twice.
    """
    moment = str(int(at.timestamp()))
    mac = hmac.new(key, b".".join((message_id.encode(), moment.encode(), body)), hashlib.sha256).digest()
    return {
        "webhook-id": message_id,
        "webhook-timestamp": moment,
        "webhook-signature": f"v1,{base64.b64encode(mac).decode()}",
    }
