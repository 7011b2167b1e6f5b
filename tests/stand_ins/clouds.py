"""Three clouds' object stores on loopback, as far as their own SDKs need them to read a versioned object."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from urllib.parse import parse_qs, unquote, urlsplit


@dataclass(frozen=True)
class Kept:
    """One version of an object; ``md5`` is what the store tells of it, right or wrong."""

    content: bytes
    etag: str
    version: str
    md5: bytes | None


@dataclass
class CloudStandIn:
    """All three at one address: their paths do not meet.

    Attributes:
        objects: By ``bucket/name`` all versions, the newest last.
        faults: What comes before the right answer: a status, or how many bytes until the connection ends.
        asked: Every path asked for, with its range.
    """

    objects: dict[str, list[Kept]] = field(default_factory=dict)
    faults: list[tuple[str, int]] = field(default_factory=list)
    asked: list[tuple[str, str]] = field(default_factory=list)

    def __enter__(self) -> CloudStandIn:  # noqa: PYI034 - typing.Self is newer than our oldest Python
        stand_in = self

        class Handler(_Handler):
            clouds = stand_in

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def put(self, name: str, content: bytes, *, md5: bytes | None = None, has_md5: bool = True) -> Kept:
        """Keep a new version."""
        versions = self.objects.setdefault(name, [])
        true = hashlib.md5(content, usedforsecurity=False).digest()
        number = 1700000000000000 + len(versions)
        kept = Kept(content, f"0x{number:X}", str(number), (md5 or true) if has_md5 else None)
        versions.append(kept)
        return kept

    def find(self, name: str, version: str | None) -> Kept | None:
        """That version, or the newest."""
        versions = self.objects.get(name, [])
        if version is None:
            return versions[-1] if versions else None
        return next((each for each in versions if each.version == version), None)


class _Handler(BaseHTTPRequestHandler):
    clouds: CloudStandIn
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        asked = self.headers.get("x-ms-range") or self.headers.get("Range") or ""
        self.clouds.asked.append((unquote(parts.path), asked))
        google = re.fullmatch(r"(/download)?/storage/v1/b/([^/]+)/o/([^/]+)", parts.path)
        if query.get("comp") == "list":
            self._list(unquote(parts.path).strip("/"), query.get("prefix", ""))
        elif re.fullmatch(r"/storage/v1/b/[^/]+", parts.path):
            self._answer(404, b"{}")  # Google's SDK asks for the bucket, too, and does without.
        elif google is not None and google[1] is None:
            self._metadata(f"{google[2]}/{unquote(google[3])}", query)
        elif google is not None:
            self._bytes(f"{google[2]}/{unquote(google[3])}", query.get("generation"), asked)
        else:
            self._bytes(unquote(parts.path).strip("/"), query.get("versionid"), asked)

    def _bytes(self, name: str, version: str | None, asked: str) -> None:
        kept = self.clouds.find(name, version)
        fault, amount = self.clouds.faults.pop(0) if self.clouds.faults else ("", 0)
        if fault == "status" or kept is None:
            self._answer(amount or 404, b"")
            return
        if (self.headers.get("If-Match") or kept.etag).strip('"') != kept.etag:
            self._answer(412, b"", {"x-ms-error-code": "ConditionNotMet"})
            return
        begin, _, end = asked.removeprefix("bytes=").partition("-")
        start, stop = int(begin or 0), min(int(end or len(kept.content)), len(kept.content) - 1) + 1
        if asked and start >= len(kept.content):
            self._answer(416, b"")
            return
        headers = {"ETag": f'"{kept.etag}"', "x-ms-blob-type": "BlockBlob", "x-ms-version-id": kept.version}
        if asked:
            headers["Content-Range"] = f"bytes {start}-{stop - 1}/{len(kept.content)}"
        if kept.md5 is not None:
            headers["x-ms-blob-content-md5" if asked else "Content-MD5"] = base64.b64encode(kept.md5).decode()
        self._answer(
            206 if asked else 200, kept.content[start:stop], headers, cut=amount if fault == "cut" else None
        )

    def _metadata(self, name: str, query: dict[str, str]) -> None:
        """What Google tells of an object in JSON."""
        kept = self.clouds.find(name, query.get("generation"))
        if self.clouds.faults and self.clouds.faults[0][0] == "status":
            self._answer(self.clouds.faults.pop(0)[1], b"{}")
            return
        if kept is None:
            self._answer(404, b'{"error": {"code": 404, "message": "No such object"}}')
            return
        bucket, _, inner = name.partition("/")
        told = {
            "kind": "storage#object",
            "bucket": bucket,
            "name": inner,
            "generation": kept.version,
            "metageneration": "1",
            "etag": kept.etag,
            "size": str(len(kept.content)),
            "crc32c": _crc32c(kept.content),
        }
        if kept.md5 is not None:
            told["md5Hash"] = base64.b64encode(kept.md5).decode()
        self._answer(200, json.dumps(told).encode(), {"Content-Type": "application/json"})

    def _list(self, container: str, prefix: str) -> None:
        """Azure's listing of all versions."""
        blobs = "".join(
            f"<Blob><Name>{name.partition('/')[2]}</Name><VersionId>{kept.version}</VersionId>"
            f"<Properties><Etag>{kept.etag}</Etag><Content-Length>{len(kept.content)}</Content-Length>"
            "<BlobType>BlockBlob</BlobType></Properties></Blob>"
            for name, versions in self.clouds.objects.items()
            if name.startswith(f"{container}/{prefix}")
            for kept in versions
        )
        text = (
            f'<?xml version="1.0" encoding="utf-8"?><EnumerationResults ContainerName="{container}">'
            f"<Blobs>{blobs}</Blobs><NextMarker /></EnumerationResults>"
        )
        self._answer(200, text.encode(), {"Content-Type": "application/xml"})

    def _answer(
        self, status: int, body: bytes, headers: dict[str, str] | None = None, *, cut: int | None = None
    ) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body if cut is None else body[:cut])
        self.close_connection = cut is not None

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name that http.server has
        """Say nothing."""


def _crc32c(content: bytes) -> str:
    from google_crc32c import value  # noqa: PLC0415 - only Google's tests need it

    return base64.b64encode(value(content).to_bytes(4, "big")).decode()
