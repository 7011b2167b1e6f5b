"""GitHub App: a signed JWT becomes a token for one repository, kept until shortly before it ends."""

from __future__ import annotations

import json
import re
import threading
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from http import HTTPStatus
from urllib.parse import quote

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from receiver.answer import Answer, throttling
from receiver.exchange import CredentialsError, Exchange, NoAnswerError, NotSentError, Request
from receiver.retry_after import http_date

__all__ = ["AppCredentials", "CredentialsError", "load_private_key"]

_ISSUED_BEFORE = timedelta(seconds=60)  # GitHub's advice: its clock may be behind ours.
_JWT_LIVES = timedelta(minutes=9)  # GitHub takes ten at most.
_RENEW_BEFORE = timedelta(minutes=5)
_SMALLEST_KEY = 2048
_NEW_FOR = timedelta(seconds=5)
_FIRST_PATIENCE, _PATIENCE = timedelta(seconds=1), timedelta(seconds=2)


def load_private_key(pem: str) -> RSAPrivateKey:
    r"""Read the private key that GitHub lets one download; its lines may be joined by a literal ``\n``.

    Raises:
        ValueError: It is no such key; the message says what to look at, and nothing of the key.
    """
    text = pem.strip().strip("\"'").replace("\\r", "").replace("\\n", "\n").strip()
    if "BEGIN PUBLIC KEY" in text or "BEGIN CERTIFICATE" in text:
        raise ValueError(
            "this is a public key or a certificate; want the App's private key (a .pem from GitHub)"
        )
    if "PRIVATE KEY-----" not in text:
        raise ValueError(
            "want a PEM that begins with -----BEGIN RSA PRIVATE KEY-----; is it a path or in base64?"
        )
    try:
        key = load_pem_private_key(text.encode(), password=None)
    except TypeError:
        raise ValueError("the private key has a passphrase; want it without") from None
    except (ValueError, UnsupportedAlgorithm):
        raise ValueError("the private key is damaged: are all its lines there, from BEGIN to END?") from None
    if not isinstance(key, RSAPrivateKey):
        raise ValueError("the private key is not RSA; want the App's own key")  # noqa: TRY004 - its value is wrong
    if key.key_size < _SMALLEST_KEY:
        raise ValueError(f"the private key has {key.key_size} bits, want at least {_SMALLEST_KEY}")
    return key


@dataclass(frozen=True)
class _Installation:
    """Where the App is installed for a repository; ``scope`` names that repository when a token is asked."""

    id: int
    scope: Mapping[str, object]


@dataclass(frozen=True, repr=False)
class _Minted:
    token: str
    minted_at: datetime
    good_until: datetime


_Wanted = tuple[str, tuple[tuple[str, str], ...]]


class AppCredentials:
    """Tokens of a GitHub App: each for one repository and no more permissions than asked.

    Threads that want the same token wait for the one that mints it.  Tokens are opaque here.
    """

    def __init__(
        self,
        client_id: str,
        private_key_pem: str,
        api_url: str,
        *,
        now: Callable[[], datetime] = lambda: datetime.now(timezone.utc),
        exchange: Exchange | None = None,
    ) -> None:
        """Raises ValueError when the key is none; see ``load_private_key``."""
        self._client_id = str(client_id)
        self._key = load_private_key(private_key_pem)
        self._api_url = api_url.rstrip("/")
        self._now = now
        self._exchange = Exchange() if exchange is None else exchange
        self._skew = timedelta(0)
        self._lock = threading.Lock()  # Over the tables below, never held while GitHub is asked.
        self._minting: defaultdict[_Wanted, threading.Lock] = defaultdict(threading.Lock)
        self._minted: dict[_Wanted, _Minted] = {}
        self._installations: dict[str, _Installation] = {}

    def __repr__(self) -> str:
        return f"AppCredentials(client_id={self._client_id!r})"

    def token(self, repository: str, permissions: Mapping[str, str]) -> str:
        """Return a token for this repository with these permissions, minted only when none is good.

        Raises:
            CredentialsError: There is none to be had; it says whether time can cure that.
        """
        wanted = (repository.lower(), tuple(sorted(permissions.items())))
        with self._lock:
            minting = self._minting[wanted]
        with minting:
            minted = self._minted.get(wanted)
            if minted is None or self._now() >= minted.good_until:
                minted = self._mint(repository, permissions)
                with self._lock:
                    self._minted[wanted] = minted
            return minted.token

    def patience(self, token: str) -> timedelta | None:
        """Return how long to wait with a refused token that is only seconds old; None when it is not.

        A new one takes a moment until every server of GitHub's knows it: minting another would not help.
        """
        with self._lock:
            minted = next((each for each in self._minted.values() if each.token == token), None)
        age = _NEW_FOR if minted is None else abs(self._now() - minted.minted_at)
        if age >= _NEW_FOR:
            return None
        return _FIRST_PATIENCE if age < _FIRST_PATIENCE else _PATIENCE

    def forget(self, token: str) -> None:
        """Mint anew when this token is asked for again."""
        with self._lock:
            for wanted in [wanted for wanted, minted in self._minted.items() if minted.token == token]:
                del self._minted[wanted]

    def _mint(self, repository: str, permissions: Mapping[str, str]) -> _Minted:
        known = self._installations.get(repository.lower())
        if known is not None:
            answer = self._access_token(known, permissions)
            if answer.status not in {404, 422}:
                return self._read_token(answer, repository)
            self._installations.pop(repository.lower(), None)  # Installed anew, or the repository has moved.
        found = self._find_installation(repository)
        self._installations[repository.lower()] = found
        return self._read_token(self._access_token(found, permissions), repository)

    def _find_installation(self, repository: str) -> _Installation:
        answer = self._as_app("GET", f"/repos/{quote(repository)}/installation")
        document = answer.document
        if answer.status == HTTPStatus.NOT_FOUND and not _unknown(answer):
            raise CredentialsError.refused(
                "app-not-installed",
                f"the GitHub App {self._client_id} is not installed for {repository}, or there is no such"
                " repository: install it there, or check the name in HANDOFF_REPOSITORY or the route",
                answer.status,
            )
        if (
            answer.status != HTTPStatus.OK
            or not isinstance(document, dict)
            or not isinstance(document.get("id"), int)
        ):
            raise self._failure(answer, repository)
        return _Installation(document["id"], _scope(repository, answer))

    def _access_token(self, installation: _Installation, permissions: Mapping[str, str]) -> Answer:
        wanted = {**installation.scope, "permissions": dict(permissions)}
        body = json.dumps(wanted, separators=(",", ":")).encode()
        return self._as_app("POST", f"/app/installations/{installation.id}/access_tokens", body)

    def _read_token(self, answer: Answer, repository: str) -> _Minted:
        document = answer.document
        if answer.status != HTTPStatus.CREATED or not isinstance(document, dict):
            raise self._failure(answer, repository)
        token, expires = document.get("token"), _instant(document.get("expires_at"))
        if not isinstance(token, str) or not token or expires is None:
            raise CredentialsError.retry(
                "app-token", "GitHub's answer holds no token; it will be asked again"
            )
        lives = expires - (http_date(answer.headers.get("date")) or self._now())  # By its clock, not by ours.
        return _Minted(token, self._now(), self._now() + lives - _RENEW_BEFORE)

    def _as_app(self, method: str, path: str, body: bytes | None = None) -> Answer:
        """Ask as the App; when GitHub finds our clock wrong, take its time and ask once more."""
        answer = self._send(method, path, body)
        if answer.status == HTTPStatus.UNAUTHORIZED and any(
            claim in answer.words for claim in ("'iat'", "'exp'")
        ):
            there = http_date(answer.headers.get("date"))
            if there is not None:
                self._skew = there - self._now()
                answer = self._send(method, path, body)
        return answer

    def _send(self, method: str, path: str, body: bytes | None) -> Answer:
        request = Request(method, f"{self._api_url}{path}", body)
        try:
            return self._exchange.send(request, self._jwt())
        except (NotSentError, NoAnswerError) as error:  # No dispatch is out yet: asking again is harmless.
            raise CredentialsError.retry("unreachable", f"no token for the App: {error}") from error

    def _jwt(self) -> str:
        there = self._now() + self._skew
        issued, expires = there - _ISSUED_BEFORE, there + _JWT_LIVES
        claims = {
            "iss": self._client_id,
            "iat": int(issued.timestamp()),
            "exp": int(expires.timestamp()),
        }
        return jwt.encode(claims, self._key, algorithm="RS256")

    def _failure(self, answer: Answer, repository: str) -> CredentialsError:
        said = f"(GitHub: {answer.status} {answer.words})"
        if answer.throttled:
            return CredentialsError(throttling(answer, self._now()))
        if "suspended" in answer.words.lower():
            return CredentialsError.refused(
                "app-suspended",
                f"the GitHub App's installation for {repository} is suspended: unsuspend it in the account",
                answer.status,
            )
        if answer.status == HTTPStatus.UNAUTHORIZED or _unknown(answer):
            return CredentialsError.refused(
                "app-credentials",
                f"GitHub knows no App by this signature: do the client ID {self._client_id} and the"
                f" private key (GITHUB_APP_PRIVATE_KEY, github.app.private_key) belong together? {said}",
                answer.status,
            )
        if answer.status == HTTPStatus.UNPROCESSABLE_ENTITY:
            return CredentialsError.refused(
                "app-permission",
                f"the App may not have a token for {repository}: grant it the permission and the repository,"
                f" and accept the change where it is installed {said}",
                answer.status,
            )
        if answer.status in {403, 404}:
            return CredentialsError.refused(
                "app-refused", f"GitHub refuses the App a token {said}", answer.status
            )
        return CredentialsError.retry("app-token", f"GitHub gave the App no token {said}")


def _scope(repository: str, answer: Answer) -> Mapping[str, object]:
    """Name the one repository: by the id that GitHub redirected us to, when its name is an old one."""
    moved = re.search(r"/repositories/([0-9]+)/installation$", answer.url)
    if moved is not None:
        return {"repository_ids": [int(moved[1])]}
    return {"repositories": [repository.rpartition("/")[2]]}


def _unknown(answer: Answer) -> bool:
    """Whether there is no App by the id that we signed with; GitHub says 404 for that too."""
    return "integration not found" in answer.words.lower()


def _instant(text: object) -> datetime | None:
    try:
        instant = datetime.fromisoformat(str(text).replace("Z", "+00:00"))
    except ValueError:
        return None
    return instant if instant.tzinfo is not None else instant.replace(tzinfo=timezone.utc)
