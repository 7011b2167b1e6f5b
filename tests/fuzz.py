"""Strangers' bytes, made up for as long as you like: ``python -m tests.fuzz --minutes 10``.

Each target holds the receiver against a second opinion: what is signed by its own reckoning, what Python's
json makes of a body, which bodies were ever signed.  What disagrees is shown, made as small as can be.
"""

from __future__ import annotations

import argparse
import base64
import binascii
import hashlib
import hmac
import json
import logging
import random
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from receiver import bearer, signature
from receiver.doors import Doors
from receiver.errors import NotJsonError, RejectedError
from receiver.event import VARIABLES
from receiver.framing import Framer, HeadTooLargeError
from receiver.front import Request
from receiver.intake import Accepted, Intake, Webhook, new_id
from receiver.plan import Rules
from receiver.secret import Secret
from receiver.signature import Encoding, sign
from receiver.views import web_app
from receiver.worker import Worker
from tests.receiver.test_worker import worker_for
from tests.receiver.web_fakes import (
    SECRET,
    TOKEN,
    FakeClock,
    FakeLedger,
    body,
    flat,
    rendered_template,
    sample,
)

T = TypeVar("T")
MAX_BODY = 4096
ROUND = 500  # Examples.
SECRETS = [b"the-new-secret", b"the-old-secret"]
SAMPLES = (
    *(sample("alias_added_model_registry"), sample("alias_added_project"), sample("docs_build_and_deploy")),
    *(sample("readme_template"), body(flat()), body(rendered_template()), b"{}"),
)
# What parsers trip over.
SHARP = (
    *(
        b'"',
        b"\\",
        b"{",
        b"}",
        b"[",
        b"]",
        b",",
        b":",
        b"\0",
        b"\xff",
        b"\xed\xa0\x80",
        b"\xc0\xaf",
        b"\xef\xbb\xbf",
    ),
    *(
        b"\\ud800",
        b"\\u0000",
        b"\\udc00",
        b"NaN",
        b"-Infinity",
        b"1e999",
        b"-0",
        b"9" * 5000,
        b"[" * 40,
        b"${alias}",
    ),
    *(
        b'"alias":',
        b'"event_type":',
        b'"client_payload":',
        b'"client_payload":{}',
        b"null",
        b"true",
        b"\xe2\x80\xa8",
    ),
    *(
        b"wandb-artifact://_id/",
        b"../",
        b"a" * 1100,
        b"\r\n",
        b"\x1b[2J",
        b'"\'"',
        SECRET.encode(),
        TOKEN.encode(),
    ),
)


@st.composite
def changed(draw: st.DrawFn, originals: Sequence[bytes], sharp: Sequence[bytes], most: int = 6) -> bytes:
    """One of the originals, with a few bytes put in, taken out, doubled or replaced."""
    raw = draw(st.sampled_from(list(originals)))
    for _ in range(draw(st.integers(0, most))):
        at = draw(st.integers(0, len(raw)))
        upto = min(len(raw), at + draw(st.integers(0, 12)))
        piece = draw(
            st.one_of(st.sampled_from(list(sharp)), st.binary(max_size=4), st.just(raw[at:upto] * 2))
        )
        raw = raw[:at] + piece + raw[upto:]
    return raw


def outcome(act: Callable[[], T]) -> T | RejectedError:
    """What came out of it; any error but a refusal is a finding."""
    try:
        return act()
    except RejectedError as error:
        return error


# --- the signature


def _spellings(raw: bytes) -> list[str]:
    right = [sign(raw, secret, encoding) for secret in SECRETS for encoding in Encoding]
    return [*right, right[0].upper(), right[1].translate(str.maketrans("+/", "-_")), sign(b"{}", SECRETS[0])]


@st.composite
def signed_bodies(draw: st.DrawFn) -> tuple[bytes, str]:
    """A body and a header that may be right, nearly right or nothing of the kind."""
    raw = draw(st.binary(max_size=40))
    parts = []
    for _ in range(draw(st.integers(0, 12))):
        part = draw(st.one_of(st.sampled_from(_spellings(raw)), st.text(max_size=70)))
        if draw(st.booleans()):
            at = draw(st.integers(0, len(part)))
            part = part[:at] + draw(st.text(max_size=2)) + part[at + draw(st.integers(0, 2)) :]
        parts.append(part)
    return raw, draw(st.sampled_from([",", ", ", " ,\t"])).join(parts)


def _is_right(part: str, macs: Sequence[bytes]) -> bool:
    bare = part.strip()
    bare = bare[7:] if bare[:7].lower() == "sha256=" else bare
    if not bare.isascii():
        return False
    if len(bare) == 64:
        return bare.lower() in {mac.hex() for mac in macs}
    try:
        return (
            len(bare) == 44
            and base64.b64decode(bare.translate(str.maketrans("-_", "+/")), validate=True) in macs
        )
    except binascii.Error:
        return False


def check_signature(example: tuple[bytes, str]) -> None:
    """Pass exactly when one of at most ten parts spells a right MAC."""
    raw, header = example
    macs = [hmac.new(secret, raw, hashlib.sha256).digest() for secret in SECRETS]
    parts = header.split(",")
    wanted = len(parts) <= 10 and any(_is_right(part, macs) for part in parts)
    came = outcome(lambda: signature.check(raw, header, SECRETS))
    assert isinstance(came, Encoding) is wanted, came
    assert not any(mac.hex() in str(came) for mac in macs)


def check_token(header: str) -> None:
    """Pass exactly when it is the scheme, space, and the token."""
    shown = header.encode("utf-8", "surrogateescape").decode("latin-1")  # As WSGI shows it.
    words = shown.encode("latin-1").split()
    wanted = len(words) == 2 and words[0].lower() == b"bearer" and words[1] == b"t\xc3\xb6ken"
    came = outcome(lambda: bearer.check(shown, [b"other", b"t\xc3\xb6ken"]))
    assert (came is None) is wanted, came


# --- the body


def _intake(ledger: FakeLedger) -> Intake:
    secrets, tokens = (Secret(SECRET),), (Secret(TOKEN),)
    return Intake(
        source="wandb",
        secrets=secrets,
        tokens=tokens,
        hidden=secrets + tokens,
        rules=Rules.of_one_repository("acme/serving", forward=("stage", "quality")),
        store=ledger,
        now=FakeClock(),
        new_id=new_id,
    )


_TEXTS = st.text(max_size=30) | st.sampled_from(
    [
        *(
            "ADD_ARTIFACT_ALIAS",
            "LINK_MODEL",
            "RUN_METRIC",
            "BUILD",
            "${alias}",
            "${nothing}",
            "'x'",
            '"x"',
            SECRET,
        ),
        *(
            "wandb-artifact://_id/QXJ0aWZhY3Q6MQ==",
            "acme/registry/Churn:v3",
            "acme/registry/Churn:latest",
            "v12",
        ),
        *("a" * 1025, "é" * 1024, "\ud800", "\0", "\u2028", "../..", "a/b/c/d:e", "🚀", "\u202e"),
    ]
)
_VALUES = _TEXTS | st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | _TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
_NAMES = st.sampled_from([*VARIABLES, "stage", "quality", "handoff", "note"]) | st.text(max_size=8)
_FLAT = st.dictionaries(_NAMES, _TEXTS, max_size=6) | st.dictionaries(_NAMES, _VALUES, max_size=6)


@st.composite
def payloads(draw: st.DrawFn) -> bytes:
    """JSON that could be W&B's: a good delivery with some fields other, in either shape."""
    fields = {**draw(st.sampled_from([{}, flat()])), **draw(_FLAT)}
    value: object = draw(st.sampled_from([fields, {**draw(_FLAT), "client_payload": fields}]))
    text = json.dumps(value, ensure_ascii=draw(st.booleans()), indent=draw(st.sampled_from([None, 2])))
    return text.encode("utf-8", "surrogatepass")


def check_body(raw: bytes) -> None:
    """A rightly signed body is read as Python's json reads it, or refused; it carries no secret on."""
    webhook = Webhook(raw, sign(raw, SECRET.encode()), f"Bearer {TOKEN}", "127.0.0.1")
    came = outcome(lambda: _intake(FakeLedger()).receive(webhook))
    if isinstance(came, RejectedError):
        assert str(came).isprintable()
        assert SECRET not in str(came)
    if not isinstance(came, NotJsonError):
        value = json.loads(raw)
        if isinstance(came, Accepted):
            _check_accepted(came, value)


def _check_accepted(answer: Accepted, value: dict[str, Any]) -> None:
    everything = json.dumps(value, ensure_ascii=False)
    inner = value.get("client_payload", {})
    for name, text in answer.delivery.event.fields.items():
        said = {str(one.get(name)) for one in (value, inner) if isinstance(one, dict)}
        assert any(text in one for one in said) or text == "LINK_ARTIFACT", (name, text, said)
    for dispatch in answer.dispatches:
        payload = json.dumps(dict(dispatch.client_payload), ensure_ascii=False)
        assert len(dispatch.client_payload) <= 10
        assert len(payload.encode()) <= 65_536
        assert 0 < len(dispatch.event_type) <= 100
        assert SECRET not in payload
        assert TOKEN not in payload
    assert SECRET not in everything or not answer.dispatches


# --- the connection


GOOD = body(flat())
OTHER = body(flat(alias="staging"))


def _request(raw: bytes, *lines: str) -> bytes:
    vouched = (f"X-Wandb-Signature: {sign(raw, SECRET.encode())}", f"Authorization: Bearer {TOKEN}")
    return "\r\n".join(("POST /webhooks/wandb HTTP/1.1", "Host: x", *vouched, *lines, "", "")).encode() + raw


_CHUNKED = b"%x\r\n%s\r\n0\r\n\r\n" % (len(GOOD), GOOD)
REQUESTS = (
    _request(GOOD, f"Content-Length: {len(GOOD)}"),
    _request(OTHER, f"Content-Length: {len(OTHER)}", "Connection: keep-alive"),
    _request(GOOD, "Transfer-Encoding: chunked").removesuffix(GOOD) + _CHUNKED,
    _request(GOOD, "Expect: 100-continue", f"Content-Length: {len(GOOD)}"),
    b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /readyz HTTP/1.0\r\n\r\n",
)
FRAMES = (
    *(
        b"\r\n",
        b"\n",
        b"\r",
        b"\0",
        b" ",
        b"\t",
        b":",
        b"\r\n\r\n",
        b"0\r\n\r\n",
        b"5\r\nhello\r\n",
        b"ffffffff\r\n",
    ),
    *(
        b"Content-Length: 0\r\n",
        b"Content-Length: 5\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"\x0bchunked",
        b"; a=b",
    ),
    *(
        b"HTTP/1.0",
        b"HTTP/1.1",
        b"HTTP/2.0",
        b"Connection: close\r\n",
        b"Content-Encoding: gzip\r\n",
        b"A: b\r\n c\r\n",
    ),
)


def _app_worker(ledger: FakeLedger) -> Worker:
    return worker_for(
        web_app(
            lambda: Doors({"wandb": _intake(ledger)}), {"ledger": ledger.check_writable}, max_body=MAX_BODY
        )
    )


@dataclass
class _World:
    """One worker for all examples: to make one costs more than an example does."""

    ledger: FakeLedger = field(default_factory=FakeLedger)
    worker: Worker | None = None

    def fresh(self) -> Worker:
        """The worker, with an empty ledger behind it."""
        self.ledger.kept.clear()
        self.ledger.rejections.clear()
        self.worker = self.worker or _app_worker(self.ledger)
        return self.worker


_world = _World()


def check_connection(raw: bytes) -> None:
    """Only bodies that were signed are kept, and every other request gets an answer that blames it."""
    worker, buffer = _world.fresh(), bytearray(raw)
    while buffer:
        try:
            whole = Framer(MAX_BODY).look(buffer)
        except HeadTooLargeError:
            return
        if whole is None:
            break
        assert 0 < whole.end <= len(buffer)
        received = Request(bytes(buffer[: whole.end]), ("127.0.0.1", 1), ("127.0.0.1", 2), whole.too_large)
        answer = worker.respond(received)
        status = int(answer.data.split(b" ", 2)[1])
        assert status in {200, 202, 400, 401, 404, 405, 413, 414, 415, 417, 422, 431, 501}, answer.data
        if b"HEAD" not in received.data[:10]:
            json.loads(answer.data.partition(b"\r\n\r\n")[2])
        if whole.last or not answer.keep:
            break
        del buffer[: whole.end]
    known = {hashlib.sha256(one).hexdigest() for one in (GOOD, OTHER)}
    assert {delivery.body_sha256 for delivery, _ in _world.ledger.kept} <= known


# --- the runs


@dataclass(frozen=True)
class Target:
    """What is made up, and what must hold of it."""

    examples: st.SearchStrategy[Any]
    check: Callable[[Any], None]


TARGETS = {
    "signature": Target(signed_bodies(), check_signature),
    "token": Target(
        st.text() | st.from_regex(r"[ \t]*[bB]earer[ \t]+t\u00f6ken[ \t]*.?", fullmatch=True), check_token
    ),
    "body": Target(payloads() | payloads() | changed(SAMPLES, SHARP) | st.binary(max_size=60), check_body),
    "connection": Target(
        st.lists(changed(REQUESTS, FRAMES, most=3), min_size=1, max_size=3).map(b"".join), check_connection
    ),
}


def run(name: str, examples: int, number: int) -> int:
    """Try a target with so many examples; how many there were.  What disagrees is raised."""
    tried = 0

    @seed(number)
    @settings(max_examples=examples, database=None, deadline=None, suppress_health_check=list(HealthCheck))
    @given(TARGETS[name].examples)
    def trial(example: Any) -> None:
        nonlocal tried
        tried += 1
        TARGETS[name].check(example)

    trial()
    return tried


def finding(name: str, number: int, tried: dict[str, int]) -> str | None:
    """One round of a target: what disagrees, if anything does."""
    try:
        tried[name] += run(name, ROUND, number)
    except Exception:  # noqa: BLE001 - whatever came out is the finding
        return f"{name}, seed {number}:\n{traceback.format_exc()}\n"
    return None


def main() -> int:
    """Go round the targets until the time is up; 1 where something disagrees."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=None, help="to run the same again")
    told = parser.parse_args()
    logging.disable(logging.CRITICAL)
    first = number = random.randrange(1 << 32) if told.seed is None else told.seed  # noqa: S311 - no secret
    until, tried, found = time.monotonic() + told.minutes * 60, dict.fromkeys(TARGETS, 0), 0
    while time.monotonic() < until:
        for said in filter(None, [finding(name, number, tried) for name in TARGETS]):
            found += 1
            sys.stdout.write(said)
        number += 1
    each = ", ".join(f"{name} {count:,}" for name, count in tried.items())
    sys.stdout.write(
        f"seeds {first} to {number - 1}: {sum(tried.values()):,} examples ({each}), {found} findings\n"
    )
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
