"""Identity federation: a token of an issuer that is trusted becomes one of W&B's own, for a while."""

from __future__ import annotations

import json
import secrets
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import jwt


class NotTrustedError(Exception):
    """This identity token is not taken; the text says why."""


@dataclass(frozen=True)
class Trust:
    """What an organization has set up: whose tokens, for whom, about whom, and who that is in W&B."""

    issuer: str
    audience: str
    subject: str
    user: str


class Federation:
    """Trusts issuers, checks their RS256 signatures with the keys that they publish, and gives tokens.

    Attributes:
        lifetime: How long a token of W&B's own works, by the clock.
        given: Every token given so far.
    """

    def __init__(self, now: Callable[[], datetime]) -> None:
        self.lifetime = timedelta(hours=1)
        self.given: list[str] = []
        self._now = now
        self._trusted: list[Trust] = []
        self._holders: dict[str, tuple[str, datetime]] = {}

    def trust(self, issuer: str, *, audience: str, subject: str, user: str) -> None:
        """Take that issuer's tokens for that audience and subject as that user's."""
        self._trusted.append(Trust(issuer, audience, subject, user))

    def exchange(self, assertion: str) -> tuple[str, int]:
        """A token of W&B's own and how many seconds it works, or NotTrustedError."""
        try:
            header = jwt.get_unverified_header(assertion)
            issuer = str(jwt.decode(assertion, options={"verify_signature": False}).get("iss"))
            claims = self._proven(assertion, header, issuer)
        except jwt.InvalidTokenError as error:
            raise NotTrustedError(f"invalid token: {error}") from error
        said = {"issuer": issuer, "audience": claims.get("aud"), "subject": claims.get("sub")}
        for each in self._trusted:
            if said == {"issuer": each.issuer, "audience": each.audience, "subject": each.subject}:
                return self._give(each.user)
        raise NotTrustedError("no federated identity with that audience and subject")

    def holder(self, token: str) -> str | None:
        """Whose token this is, while it works."""
        user, until = self._holders.get(token, ("", self._now()))
        return user if self._now() < until else None

    def revoke(self) -> None:
        """End every token that was given."""
        self._holders.clear()

    def _proven(self, assertion: str, header: dict[str, Any], issuer: str) -> dict[str, Any]:
        if not any(each.issuer == issuer for each in self._trusted):
            raise NotTrustedError("unknown issuer")
        keys = {each.key_id: each.key for each in jwt.PyJWKSet.from_dict(_published(issuer)).keys}
        key = keys.get(header.get("kid"))
        if key is None:
            raise NotTrustedError("unknown key")
        # Whom it is for is looked at with the subject, and when it ends by the clock of this server.
        own_checks: Any = dict.fromkeys(("verify_exp", "verify_aud", "verify_iat", "verify_nbf"), False)
        own_checks["require"] = ["exp", "iat", "aud", "sub"]
        claims: dict[str, Any] = jwt.decode(assertion, key, algorithms=["RS256"], options=own_checks)
        if not claims["iat"] <= self._now().timestamp() < claims["exp"]:
            raise NotTrustedError("the token has expired")
        return claims

    def _give(self, user: str) -> tuple[str, int]:
        token = secrets.token_urlsafe(24)
        self.given.append(token)
        self._holders[token] = (user, self._now() + self.lifetime)
        return token, int(self.lifetime.total_seconds())


def _published(issuer: str) -> dict[str, Any]:
    """The keys of an issuer, found as OpenID Connect says."""
    description = _fetched(f"{issuer}/.well-known/openid-configuration")
    if description["issuer"] != issuer:
        raise NotTrustedError("the issuer calls itself something else")
    return _fetched(description["jwks_uri"])


def _fetched(url: str) -> dict[str, Any]:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url, timeout=5) as answer:  # A loopback address, given by the test.
        read: dict[str, Any] = json.loads(answer.read())
    return read
