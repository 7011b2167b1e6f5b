"""The addresses of stored files: they work for a while, without a password."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from urllib.parse import urlencode

from tests.stand_ins.wandb.bucket import Stored
from tests.stand_ins.wandb.manifest import Content, Entry
from tests.stand_ins.wandb.state import Artifact


class Addresses:
    """Signs addresses and checks them, by the clock that it is given."""

    def __init__(
        self,
        artifacts: Mapping[int, Artifact],
        *,
        origin: Callable[[], str],
        now: Callable[[], datetime],
        lifetime: Callable[[], timedelta],
    ) -> None:
        self._artifacts = artifacts
        self._origin = origin
        self._now = now
        self._lifetime = lifetime
        self._key = secrets.token_bytes(32)

    def of_file(self, artifact: Artifact, entry: Entry) -> str:
        """Where this file can be fetched for a while."""
        # Its place in the manifest, not its path: no path can then confuse a client's URL parser.
        place = artifact.manifest.places[entry.path]
        return self._signed(f"/bucket/{artifact.number}/{place}/{entry.hex_digest}")

    def of_manifest(self, artifact: Artifact) -> str:
        """Where the manifest can be fetched for a while."""
        return self._signed(f"/bucket/{artifact.number}/wandb_manifest.json")

    def refusal(self, path: str, query: Mapping[str, str]) -> str | None:
        """Why this address is not served, or None."""
        expires, signature = query.get("X-Expires", ""), query.get("X-Signature", "")
        if not hmac.compare_digest(self._sign(path, expires).encode(), signature.encode()):
            return "SignatureDoesNotMatch"
        return None if self._now().timestamp() < float(expires) else "Request has expired"

    def find(self, path: str) -> Stored | None:
        """What is stored under this path; nothing, once the version is deleted."""
        match = re.fullmatch(r"/bucket/([0-9]+)/(?:wandb_manifest\.json|([0-9]+)/[0-9a-f]+)", path)
        artifact = self._artifacts.get(int(match[1])) if match else None
        if match is None or artifact is None or artifact.state != "COMMITTED":
            return None
        if match[2] is None:
            return Stored("manifest", Content.of(artifact.manifest_file))
        entries = artifact.manifest.entries
        entry = entries[int(match[2])] if int(match[2]) < len(entries) else None
        if entry is None or entry.content is None:
            return None
        return Stored(f"file:{entry.path}", entry.content)

    def _signed(self, path: str) -> str:
        expires = f"{(self._now() + self._lifetime()).timestamp():.3f}"
        query = urlencode({"X-Expires": expires, "X-Signature": self._sign(path, expires)})
        return f"{self._origin()}{path}?{query}"

    def _sign(self, path: str, expires: str) -> str:
        return hmac.new(self._key, f"GET {path} {expires}".encode(), hashlib.sha256).hexdigest()
