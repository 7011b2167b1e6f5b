"""Whether a webhook carries one of our access tokens: pure, no I/O."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Sequence

from receiver.errors import UnauthorizedError

_BEARER = re.compile(rb"\s*bearer\s+(\S(?:.*\S)?)\s*", re.IGNORECASE | re.DOTALL)
_WHERE = "the webhook's Access token in W&B (Team settings, Webhooks)"


def check(header: str | None, tokens: Sequence[bytes]) -> None:
    """Pass when the header ``Authorization`` is ``Bearer`` and one of the tokens.

    The scheme is read in any case and with any space around it, the token byte for byte.  Two such
    headers arrive joined by a comma, are one wrong token, and are refused.  Every token is tried
    whatever matched before it, and none is compared by its length.

    Raises:
        UnauthorizedError: With the reason ``missing-token`` or ``bad-token``.
    """
    match = _BEARER.fullmatch(_as_sent(header or ""))
    if match is None:
        raise UnauthorizedError(
            f"The header Authorization: Bearer … is missing. Choose a secret for {_WHERE}.",
            reason="missing-token",
        )
    if not _is_one_of(match[1], tokens):
        raise UnauthorizedError(
            f"The access token is not the right one. Compare the value of {_WHERE} with "
            "WANDB_WEBHOOK_TOKEN here.",
            reason="bad-token",
        )


def _is_one_of(token: bytes, tokens: Sequence[bytes]) -> bool:
    digest = hashlib.sha256(token).digest()  # Of equal length, so that time does not tell the token's.
    same = [hmac.compare_digest(digest, hashlib.sha256(known).digest()) for known in tokens]
    return any(same)


def _as_sent(header: str) -> bytes:
    """The bytes on the wire, which WSGI hands over as Latin-1."""
    try:
        return header.encode("latin-1")
    except UnicodeEncodeError:
        return header.encode("utf-8", "surrogateescape")
