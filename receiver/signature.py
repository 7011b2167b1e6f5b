"""Whether a body was signed with one of our secrets: pure, no I/O."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import product

from receiver.errors import UnauthorizedError

HEADER = "X-Wandb-Signature"
MOST_SIGNATURES = 10
_LARGEST_TO_REWRITE = 16_384  # Bytes; what cannot show a secret shall not cost much either.
_MOST_TO_REWRITE = 500  # Commas and brackets.
_HEX = re.compile(r"[0-9A-Fa-f]{64}")
_BASE64 = re.compile(r"[A-Za-z0-9+/]{43}=|[A-Za-z0-9_-]{43}=")
_WHERE = "the webhook's Secret in W&B (Team settings, Webhooks)"


class Encoding(Enum):
    """How the signature was written: all of them spell the same 32 bytes."""

    HEX = "hex"
    BASE64 = "base64"
    PREFIXED_HEX = "sha256=hex"
    PREFIXED_BASE64 = "sha256=base64"


@dataclass(frozen=True)
class _Claim:
    mac: bytes
    encoding: Encoding


def sign(body: bytes, secret: bytes, encoding: Encoding = Encoding.HEX) -> str:
    """The header that says the body is signed with the secret."""
    mac = _mac(body, secret)
    prefixed = encoding in {Encoding.PREFIXED_HEX, Encoding.PREFIXED_BASE64}
    in_hex = encoding in {Encoding.HEX, Encoding.PREFIXED_HEX}
    text = mac.hex() if in_hex else base64.b64encode(mac).decode("ascii")
    return f"sha256={text}" if prefixed else text


def check(
    body: bytes,
    header: str | None,
    secrets: Sequence[bytes],
    *,
    may_search: Callable[[], bool] = lambda: True,
) -> Encoding:
    """Pass when the header holds the HMAC-SHA256 of exactly these bytes under one of the secrets.

    The header may be hex in any case, base64 in either alphabet, each with ``sha256=`` before it, or
    several of these with commas between, as two headers of this name arrive: one good one is enough.
    Every secret is tried whatever matched before it.

    Args:
        body: As it came.
        header: As it came.
        secrets: None of them empty.
        may_search: Asked before a search for ``signature-of-rewritten-json``, which costs as much as ten
            good deliveries; without it the reason is ``bad-signature``.

    Returns:
        How the good signature was written.

    Raises:
        UnauthorizedError: With the reason ``missing-signature``, ``malformed-signature``,
            ``bad-signature``, ``signature-of-empty-object`` or ``signature-of-rewritten-json``.
    """
    claims = _read(header)
    encoding = _match(claims, body, secrets)
    if encoding is None:
        raise _refusal(claims, body, secrets, may_search)
    return encoding


def _read(header: str | None) -> list[_Claim]:
    if header is None or not header.strip():
        raise UnauthorizedError(
            f"The header {HEADER} is missing or empty. Choose a secret for {_WHERE}.",
            reason="missing-signature",
        )
    parts = header.split(",", MOST_SIGNATURES)
    claims = [claim for part in parts[:MOST_SIGNATURES] if (claim := _read_one(part)) is not None]
    if len(parts) > MOST_SIGNATURES or not claims:
        raise UnauthorizedError(
            f"The header {HEADER} is no HMAC-SHA256: want 64 hex characters or 44 of base64, "
            f"at most {MOST_SIGNATURES} of them, got {len(header)} characters.",
            reason="malformed-signature",
        )
    return claims


def _read_one(text: str) -> _Claim | None:
    bare = text.strip()
    prefixed = bare[:7].lower() == "sha256="
    bare = bare[7:] if prefixed else bare
    if _HEX.fullmatch(bare):
        return _Claim(bytes.fromhex(bare), Encoding.PREFIXED_HEX if prefixed else Encoding.HEX)
    if _BASE64.fullmatch(bare):
        mac = base64.urlsafe_b64decode(bare.replace("+", "-").replace("/", "_"))
        return _Claim(mac, Encoding.PREFIXED_BASE64 if prefixed else Encoding.BASE64)
    return None


def _match(claims: Sequence[_Claim], body: bytes, secrets: Sequence[bytes]) -> Encoding | None:
    matched = None
    for secret in secrets:
        want = _mac(body, secret)
        for claim in claims:
            if hmac.compare_digest(claim.mac, want):  # No early exit: time must not tell which one it was.
                matched = matched or claim.encoding
    return matched


def _refusal(
    claims: Sequence[_Claim], body: bytes, secrets: Sequence[bytes], may_search: Callable[[], bool]
) -> UnauthorizedError:
    """Why it is refused; to be told the last two, the sender must have the secret."""
    if _match(claims, b"{}", secrets):
        return UnauthorizedError(
            f"{HEADER} was made with the right secret, but over an empty object ({{}}), not over this body. "
            "Nothing vouches for the body. If W&B itself sent this, tell its support and the authors.",
            reason="signature-of-empty-object",
        )
    if may_search() and any(_match(claims, spelling, secrets) for spelling in _rewritten(body)):
        return UnauthorizedError(
            f"{HEADER} was made with the right secret, but over the same JSON written another way (spaces, "
            "order of keys, escapes or line ends). Something between W&B and here rewrites the body: "
            "a proxy or a gateway must pass it on byte for byte.",
            reason="signature-of-rewritten-json",
        )
    return UnauthorizedError(
        f"{HEADER} does not match the body. Compare the value of {_WHERE} with WANDB_WEBHOOK_SECRET here: "
        "the same characters, and no space or line end around them.",
        reason="bad-signature",
    )


def _rewritten(body: bytes) -> Iterator[bytes]:
    """The same JSON as other programs may write it; nothing for a body that is large or no JSON."""
    if len(body) > _LARGEST_TO_REWRITE or sum(map(body.count, (b"{", b"[", b","))) > _MOST_TO_REWRITE:
        return
    yield from (body.strip(), body + b"\n", body.replace(b"\r\n", b"\n"))
    try:
        value = json.loads(body)
        for (separators, indent), ascii_only, ordered in product(_LAYOUTS, (False, True), (False, True)):
            text = json.dumps(
                value, separators=separators, indent=indent, ensure_ascii=ascii_only, sort_keys=ordered
            )
            yield text.encode()
            yield text.encode() + b"\n"
    except (ValueError, RecursionError):
        return


_LAYOUTS: tuple[tuple[tuple[str, str], int | None], ...] = (
    ((",", ":"), None),
    ((", ", ": "), None),
    ((",", ": "), 2),
    ((",", ": "), 4),
)


def _mac(body: bytes, secret: bytes) -> bytes:
    return hmac.new(secret, body, hashlib.sha256).digest()
