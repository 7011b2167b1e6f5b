"""Signatures that the specification's own library takes."""

from __future__ import annotations

import base64
import json
from datetime import datetime, timezone

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from receiver.destinations.standard_webhooks import headers, key_of

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
BODY = json.dumps({"collection": "μοντέλο 🐍"}, ensure_ascii=False).encode()


def signed(body: bytes = BODY, secret: str = SECRET) -> dict[str, str]:
    return headers(body, "msg-1", datetime.now(timezone.utc), key_of(secret))


def test_the_library_of_the_specification_agrees() -> None:
    """
    It verifies what we sign, over the exact bytes.
    """
    assert Webhook(SECRET).verify(BODY, signed()) == json.loads(BODY)


@pytest.mark.parametrize("name", ["webhook-id", "webhook-timestamp", "webhook-signature", "body"])
def test_every_part_is_signed(name: str) -> None:
    """
    Another id, time, signature or body is found out.
    """
    made = signed()
    changed = {"webhook-timestamp": str(int(made["webhook-timestamp"]) + 1)}.get(name, "v1,AAAA")
    body = BODY + b" " if name == "body" else BODY

    with pytest.raises(WebhookVerificationError):
        Webhook(SECRET).verify(body, made if name == "body" else made | {name: changed})


def test_the_example_of_the_specification() -> None:
    """
    A known message has its known signature, and the header its form.
    """
    body = b'{"test": 2432232314}'
    at = datetime.fromtimestamp(1614265330, timezone.utc)

    made = headers(body, "msg_p5jXN8AQM9LWM0D4loKWxJek", at, key_of(SECRET))

    assert made["webhook-timestamp"] == "1614265330"
    assert made["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@pytest.mark.parametrize("size", [24, 64])
def test_secrets_with_and_without_prefix(size: int) -> None:
    """
    24 to 64 bytes in base64, ``whsec_`` before it or not.
    """
    text = base64.b64encode(bytes(range(size))).decode()

    assert key_of(f"whsec_{text}") == key_of(text) == bytes(range(size))


@pytest.mark.parametrize(
    "secret",
    ["", "whsec_", "hunter2-is-no-base64!", "whsec_" + base64.b64encode(b"short").decode(), "QUJD" * 22],
    ids=["empty", "prefix", "text", "short", "long"],
)
def test_a_bad_secret_is_told_but_not_shown(secret: str) -> None:
    """
    The message says what is wanted, and nothing of the secret.
    """
    with pytest.raises(ValueError, match="want whsec_ and the base64 of 24 to 64 random bytes") as caught:
        key_of(secret)

    assert "hunter2" not in str(caught.value)
