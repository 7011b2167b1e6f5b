"""Who asks: tokens and App JWTs, checked as GitHub checks them."""

from __future__ import annotations

import base64
import secrets
from datetime import datetime, timedelta
from typing import Any

import jwt

from tests.stand_ins.github.asked import Refused
from tests.stand_ins.github.state import App, Installation, State, Token

_LONGEST_JWT = timedelta(minutes=10)
_LIFETIME = timedelta(hours=1)


def credential(authorization: str | None) -> tuple[str, str]:
    """Return scheme and credential, or raise the 401 of a request that has none."""
    scheme, _, value = (authorization or "").partition(" ")
    if scheme.lower() not in {"bearer", "token"} or not value:
        raise Refused(401, "Requires authentication")
    return scheme.lower(), value


def token(state: State, authorization: str | None, now: datetime) -> Token:
    """Return the token that the header carries, or raise 401."""
    _, value = credential(authorization)
    known = state.tokens.get(value)
    if known is None or (known.expires_at is not None and known.expires_at <= now):
        raise Refused(401, "Bad credentials")
    if known.installation is not None:
        if known.installation.id not in state.installations:
            raise Refused(401, "Bad credentials")
        if known.installation.suspended_at is not None:
            raise Refused(403, "This installation has been suspended")
    return known


def app(state: State, authorization: str | None, now: datetime) -> App:
    """Return the App whose JWT the header carries: signed by its key, not too long, not from the future."""
    scheme, value = credential(authorization)
    try:
        issuer = jwt.decode(value, options={"verify_signature": False}).get("iss")
    except jwt.PyJWTError as error:
        raise Refused(401, "A JSON web token could not be decoded") from error
    known = state.apps.get(str(issuer))
    if known is None:
        raise Refused(404, "Integration not found")
    try:
        claims = jwt.decode(value, known.public_key_pem, algorithms=["RS256"], options=_NO_CLOCK)
    except jwt.PyJWTError as error:
        raise Refused(401, "A JSON web token could not be decoded") from error
    if scheme != "bearer":
        raise Refused(401, "A JSON web token could not be decoded")
    _check_times(claims, now)
    return known


_NO_CLOCK: Any = {"verify_exp": False, "verify_iat": False, "verify_nbf": False}  # Ours is the one passed in.


def _check_times(claims: dict[str, Any], now: datetime) -> None:
    issued, expires = claims.get("iat"), claims.get("exp")
    if not isinstance(issued, int) or issued > now.timestamp():
        raise Refused(
            401,
            "'Issued at' claim ('iat') must be an Integer representing the time that the assertion"
            " was issued",
        )
    if not isinstance(expires, int) or expires <= now.timestamp():
        raise Refused(
            401,
            "'Expiration time' claim ('exp') must be a numeric value representing the future time"
            " at which the assertion expires",
        )
    if expires > (now + _LONGEST_JWT).timestamp():
        raise Refused(401, "'Expiration time' claim ('exp') is too far in the future")


def mint(state: State, installation: Installation, wanted: dict[str, Any], now: datetime) -> Token:
    """Return a new token of the installation, for no more than was asked and no more than it has."""
    token = Token(
        value=_new_value(installation.app.id),
        kind="installation",
        repository_ids=frozenset(_repositories(state, installation, wanted)),
        permissions=_permissions(installation, wanted.get("permissions")),
        bucket=f"installation {installation.id}",
        installation=installation,
        expires_at=now.replace(microsecond=0) + _LIFETIME,
    )
    state.tokens[token.value] = token
    return token


def _new_value(app_id: int) -> str:
    """Return a token in the format of 2026: long, with dots and underscores."""
    parts = (
        base64.urlsafe_b64encode(secrets.token_bytes(size)).decode().rstrip("=") for size in (27, 90, 255)
    )
    return f"ghs_{app_id}_{'.'.join(parts)}"


def _repositories(state: State, installation: Installation, wanted: dict[str, Any]) -> set[int]:
    names, ids = wanted.get("repositories"), wanted.get("repository_ids")
    if names is None and ids is None:
        return set(installation.repository_ids)
    chosen = set(ids or ())
    for name in names or ():
        repository = state.repository(f"{installation.account}/{name}")
        chosen.add(-1 if repository is None else repository.id)
    if not chosen <= installation.repository_ids:
        raise Refused(
            422,
            "There is at least one repository that does not exist or is not accessible to the parent"
            " installation.",
        )
    return chosen


def _permissions(installation: Installation, wanted: dict[str, str] | None) -> dict[str, str]:
    if wanted is None:
        return dict(installation.permissions)
    for name, level in wanted.items():
        if not allows(installation.permissions, name, level):
            raise Refused(422, "The permissions requested are not granted to this installation.")
    return {"metadata": "read", **wanted}


def allows(permissions: Any, name: str, level: str) -> bool:
    """Whether the permissions hold this one; write holds read."""
    levels = ("read", "write", "admin")
    held = permissions.get(name)
    return held is not None and levels.index(held) >= levels.index(level)
