"""A webhook passes with a signature over its bytes and a token, and with nothing less."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver import bearer, signature
from receiver.errors import UnauthorizedError
from receiver.signature import Encoding, sign
from tests.receiver.web_fakes import sample

KEY = b"wandb-secret"
# Seen on a live header, and what the script in W&B's documentation prints for the same MAC.
KNOWN_HEX = "52559e38b703c126364613936a92a8b4382b409539f153b22c86e5c2e419327a"
KNOWN_BASE64 = "UlWeOLcDwSY2RhOTapKotDgrQJU58VOyLIblwuQZMno="
BODY = b'{"b": 1, "a": "\xc3\xa9"}'


def refusal(header: str | None, body: bytes = BODY, secrets: tuple[bytes, ...] = (KEY,)) -> UnauthorizedError:
    """The error that the check raises."""
    with pytest.raises(UnauthorizedError) as caught:
        signature.check(body, header, secrets)
    return caught.value


@pytest.mark.parametrize(
    ("header", "encoding"),
    [
        (KNOWN_HEX, Encoding.HEX),
        (KNOWN_HEX.upper(), Encoding.HEX),
        (f"  {KNOWN_HEX} ", Encoding.HEX),
        (KNOWN_BASE64, Encoding.BASE64),
        (f"sha256={KNOWN_HEX}", Encoding.PREFIXED_HEX),
        (f"SHA256={KNOWN_HEX}", Encoding.PREFIXED_HEX),
        (f"sha256={KNOWN_BASE64}", Encoding.PREFIXED_BASE64),
    ],
)
def test_known_answers(header: str, encoding: Encoding) -> None:
    """The MAC that W&B is known to have sent passes in every spelling, and which one it was is told. [A3]"""
    assert signature.check(b"{}", header, [KEY]) is encoding


def test_base64_is_taken_in_both_alphabets() -> None:
    """A MAC with the two odd digits of base64 passes in the standard and the URL-safe alphabet. [A3]"""
    body = next(
        text
        for number in range(1000)
        if {"+", "/"} <= set(sign(text := str(number).encode(), KEY, Encoding.BASE64))
    )
    standard = sign(body, KEY, Encoding.BASE64)

    assert signature.check(body, standard, [KEY]) is Encoding.BASE64
    assert signature.check(body, standard.translate(str.maketrans("+/", "-_")), [KEY]) is Encoding.BASE64


@pytest.mark.parametrize("encoding", Encoding)
def test_what_sign_writes_passes(encoding: Encoding) -> None:
    """A recorded delivery, signed in any spelling, passes."""
    body = sample("alias_added_project")

    assert signature.check(body, sign(body, KEY, encoding), [KEY]) is encoding


@pytest.mark.parametrize("position", [0, 1], ids=["current", "previous"])
def test_each_of_two_secrets_passes(position: int) -> None:
    """While a secret is rotated, the old and the new one are both good. [A7]"""
    secrets = [b"new secret", b"old secret"]

    assert signature.check(BODY, sign(BODY, secrets[position]), secrets) is Encoding.HEX


def test_a_retired_secret_is_refused() -> None:
    """A secret that is no longer configured signs nothing. [A7]"""
    assert refusal(sign(BODY, b"old secret"), secrets=(b"new secret",)).reason == "bad-signature"


@pytest.mark.parametrize("header", [None, "", "   ", "\t"])
def test_a_missing_signature(header: str | None) -> None:
    """No header, or one with nothing in it, is a missing signature. [A1, A2]"""
    assert refusal(header).reason == "missing-signature"


@pytest.mark.parametrize(
    "header",
    [
        KNOWN_HEX[:-1],
        KNOWN_HEX + "0",
        "z" * 64,
        "é" * 64,
        "٠" * 64,
        KNOWN_BASE64[:-1],
        KNOWN_BASE64 + "=",
        "sha256=",
        "sha1=" + KNOWN_HEX,
        ",",
        "\udcff",
        "=" * 44,
    ],
)
def test_a_malformed_signature(header: str) -> None:
    """What cannot be a MAC is refused by name, and never breaks anything. [A4]"""
    assert refusal(header, b"{}").reason == "malformed-signature"


@pytest.mark.parametrize(
    "change",
    [lambda b: b + b" ", lambda b: b + b"\n", lambda b: b[:-1], lambda b: b.replace(b"1", b"2")],
    ids=["space", "newline", "short", "changed"],
)
def test_a_changed_body_is_refused(change: Callable[[bytes], bytes]) -> None:
    """One byte more, less or other, and the signature no longer holds. [A6]"""
    assert refusal(sign(BODY, KEY), change(BODY)).status == 401


def test_one_good_signature_of_several_is_enough() -> None:
    """Two headers arrive joined by a comma: one good one passes, in any place. [A8]"""
    assert signature.check(BODY, f"{KNOWN_HEX}, {sign(BODY, KEY)}", [KEY]) is Encoding.HEX
    assert signature.check(BODY, f"garbage,{sign(BODY, KEY, Encoding.BASE64)}", [KEY]) is Encoding.BASE64
    assert refusal(f"{'0' * 64},{'1' * 64}").reason == "bad-signature"


def test_signatures_are_counted() -> None:
    """Ten are looked at; an eleventh is refused, however good the first is. [A8]"""
    good = sign(BODY, KEY)

    assert signature.check(BODY, ",".join([KNOWN_HEX] * 9 + [good]), [KEY]) is Encoding.HEX
    assert refusal(",".join([good] + [KNOWN_HEX] * 10)).reason == "malformed-signature"


def test_a_signature_of_the_empty_object_says_so() -> None:
    """A MAC of {} over another body is refused, with a reason for just that. [A5]"""
    assert refusal(KNOWN_BASE64).reason == "signature-of-empty-object"


@pytest.mark.parametrize(
    "spelling",
    [
        json.dumps(json.loads(BODY)),
        json.dumps(json.loads(BODY), separators=(",", ":"), sort_keys=True),
        json.dumps(json.loads(BODY), separators=(",", ":"), ensure_ascii=False),
        json.dumps(json.loads(BODY), indent=2),
        json.dumps(json.loads(BODY), indent=4, sort_keys=True) + "\n",
        BODY.decode() + "\n",
    ],
    ids=["spaces", "compact-sorted", "compact-unicode", "indented", "indented-sorted-newline", "newline"],
)
def test_a_signature_of_rewritten_json_says_so(spelling: str) -> None:
    """A MAC of the same JSON written another way is refused, with a reason for just that. [A5]"""
    assert refusal(sign(spelling.encode(), KEY)).reason == "signature-of-rewritten-json"


def test_rewriting_has_a_limit() -> None:
    """What is large or deep is not rewritten: an unsigned body must not cost much."""
    large = b'{"a":"' + b"x" * 20_000 + b'"}'
    deep = b"[" * 600 + b"]" * 600

    long = json.dumps(list(range(600))).encode()

    assert refusal(sign(long + b"\n", KEY), long).reason == "bad-signature"
    assert refusal(sign(large + b"\n", KEY), large).reason == "bad-signature"
    assert refusal(sign(deep + b"\n", KEY), deep).reason == "bad-signature"


def test_a_refusal_never_tells_the_expected_mac() -> None:
    """The message holds neither the secret nor the MAC, in any spelling. [A12]"""
    for header in (KNOWN_HEX, "0" * 64, "x", None, sign(BODY + b"\n", KEY)):
        text = str(refusal(header))
        assert KEY.decode() not in text
        assert all(sign(BODY, KEY, encoding).removeprefix("sha256=") not in text for encoding in Encoding)


def test_macs_are_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every MAC goes through compare_digest, as 32 bytes; a match ends nothing early. [A11]"""
    compared: list[tuple[bytes, bytes]] = []
    real = hmac.compare_digest

    def spy(left: bytes, right: bytes) -> bool:
        compared.append((left, right))
        return real(left, right)

    monkeypatch.setattr(hmac, "compare_digest", spy)
    signature.check(BODY, f"{sign(BODY, KEY)},{KNOWN_HEX}", [KEY, b"other"])
    bearer.check("Bearer right", [b"right", b"other"])

    assert len(compared) == 4 + 2
    assert all(len(left) == len(right) == 32 for left, right in compared)


@given(header=st.text(), body=st.binary(max_size=200))
def test_any_header_passes_or_is_refused(header: str, body: bytes) -> None:
    """Whatever comes as a header or body, nothing but our own refusal comes out."""
    assert refusal(header, body).status == 401


@given(body=st.binary(max_size=200), secret=st.binary(min_size=1, max_size=80))
def test_our_mac_is_the_standard_one(body: bytes, secret: bytes) -> None:
    """The MAC is HMAC-SHA256 over the raw bytes."""
    mac = hmac.new(secret, body, hashlib.sha256).digest()

    assert signature.check(body, mac.hex(), [secret]) is Encoding.HEX
    assert signature.check(body, base64.b64encode(mac).decode(), [secret]) is Encoding.BASE64


def token_refusal(header: str | None, *tokens: bytes) -> str:
    """The reason why the bearer is refused."""
    with pytest.raises(UnauthorizedError) as caught:
        bearer.check(header, tokens or (b"right",))
    assert "right" not in str(caught.value).replace("not the right one", "")
    return caught.value.reason


@pytest.mark.parametrize("header", ["Bearer right", "bearer right", "BEARER   right", "  Bearer\tright  "])
def test_a_token_passes(header: str) -> None:
    """The scheme in any case, with any space around it, and the right token. [A9]"""
    bearer.check(header, [b"other", b"right"])


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer  ", "Basic cmlnaHQ=", "right"])
def test_a_missing_token(header: str | None) -> None:
    """No header, another scheme or no token is a missing token. [A9]"""
    assert token_refusal(header) == "missing-token"


@pytest.mark.parametrize(
    "header", ["Bearer wrong", "Bearer righ", "Bearer rightt", "Bearer RIGHT", "Bearer right,Bearer right"]
)
def test_a_wrong_token(header: str) -> None:
    """Any other token, and two headers joined into one, is refused. [A9]"""
    assert token_refusal(header) == "bad-token"


def test_a_token_of_any_alphabet() -> None:
    """A token arrives as the bytes of its UTF-8, which WSGI shows as Latin-1. [A9]"""
    token = "schlüssel-鍵".encode()

    bearer.check("Bearer " + token.decode("latin-1"), [token])
    assert token_refusal("Bearer schlüssel-鍵x", token) == "bad-token"


@given(st.text())
def test_any_authorization_passes_or_is_refused(header: str) -> None:
    """Whatever comes as Authorization, nothing but our own refusal comes out."""
    with pytest.raises(UnauthorizedError):
        bearer.check(header, [b"a token that no one guesses"])
