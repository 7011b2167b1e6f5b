"""A stand-in for GitHub's identity tokens: a job asks with its own bearer, anybody may look at the keys."""

from __future__ import annotations

import base64
import json
import secrets
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from functools import lru_cache
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from werkzeug.wrappers import Request, Response

from tests.stand_ins.wandb.serving import Server

_KEY_ID = "stand-in-1"


class GitHubOidc:
    """GitHub's token endpoint and its keys, on 127.0.0.1.

    Attributes:
        subject: What the job is.
        failures: Statuses that the next questions for a token are answered with.
        audiences: Whom every token so far was for.
        spoil: Changes a token on its way.
    """

    def __init__(self, *, now: Callable[[], datetime] | None = None) -> None:
        self.subject = "repo:acme/deploy:ref:refs/heads/main"
        self.failures: list[int] = []
        self.audiences: list[str] = []
        self.spoil: Callable[[str], str] = str
        self._now = now or (lambda: datetime.now(timezone.utc))
        self._bearer = secrets.token_urlsafe(24)
        self._server = Server(self._application)

    def __enter__(self) -> GitHubOidc:  # noqa: PYI034 - typing.Self is newer than our oldest Python
        self._server.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.stop()

    @property
    def issuer(self) -> str:
        """Who signs."""
        return self._server.url

    @property
    def environ(self) -> dict[str, str]:
        """What GitHub puts into a job with ``id-token: write``."""
        return {
            "ACTIONS_ID_TOKEN_REQUEST_URL": f"{self._server.url}/token?api-version=2.0",
            "ACTIONS_ID_TOKEN_REQUEST_TOKEN": self._bearer,
        }

    def token(self, audience: str, **claims: Any) -> str:
        """An identity token, as signed as GitHub's."""
        issued = int(self._now().timestamp())
        said = {
            "iss": self.issuer,
            "aud": audience,
            "sub": self.subject,
            "iat": issued,
            "nbf": issued,
            "exp": issued + int(timedelta(minutes=5).total_seconds()),
            "jti": secrets.token_hex(8),
        }
        private, _ = _keys()
        return jwt.encode({**said, **claims}, private, algorithm="RS256", headers={"kid": _KEY_ID})

    def _application(self, environ: dict[str, Any], start_response: Any) -> Any:
        return self._answer(Request(environ))(environ, start_response)

    def _answer(self, request: Request) -> Response:
        if request.path == "/.well-known/openid-configuration":
            return _json({"issuer": self.issuer, "jwks_uri": f"{self.issuer}/.well-known/jwks"})
        if request.path == "/.well-known/jwks":
            return _json({"keys": [_keys()[1]]})
        if request.path != "/token":
            return _json({"message": "not found"}, 404)
        if request.headers.get("Authorization") != f"Bearer {self._bearer}":
            return _json({"message": "bad bearer"}, 401)
        if self.failures:
            return _json({"message": "on demand"}, self.failures.pop(0))
        audience = request.args.get("audience", "https://github.com/acme")
        self.audiences.append(audience)
        return _json({"count": 1, "value": self.spoil(self.token(audience))})


def _json(content: Any, status: int = 200) -> Response:
    return Response(json.dumps(content), status, mimetype="application/json")


@lru_cache(maxsize=1)
def _keys() -> tuple[bytes, dict[str, Any]]:
    """The private key, and its public half as a JWK."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    numbers = key.public_key().public_numbers()
    public = {"kty": "RSA", "use": "sig", "alg": "RS256", "kid": _KEY_ID}
    return private, {**public, "n": _base64(numbers.n), "e": _base64(numbers.e)}


def _base64(number: int) -> str:
    return (
        base64.urlsafe_b64encode(number.to_bytes((number.bit_length() + 7) // 8, "big")).rstrip(b"=").decode()
    )
