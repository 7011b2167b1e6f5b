"""GitHub's webhooks are taken when GitHub signed them, and read for what they tell of runs."""

from __future__ import annotations

import hashlib
import hmac
import json

import pytest

from receiver.errors import BadPayloadError, UnauthorizedError
from receiver.github_webhook import check_signature, read_run

SECRET = b"It's a Secret to Everybody"
# https://docs.github.com/webhooks/using-webhooks/validating-webhook-deliveries: GitHub's own test values.
KNOWN = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
RUN = {
    "id": 7,
    "html_url": "https://github.com/acme/serving/actions/runs/7",
    "status": "completed",
    "conclusion": "success",
    "display_title": "deploy",
}


def test_githubs_own_test_values_pass() -> None:
    """
    The signature that GitHub publishes for its example is right here too.
    """
    check_signature(b"Hello, World!", KNOWN, [b"another", SECRET])


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        (None, "missing-signature"),
        ("", "bad-signature"),
        ("sha256=", "bad-signature"),
        ("sha256=" + "0" * 64, "bad-signature"),
        ("sha256=é", "bad-signature"),
        ("sha1=" + hmac.new(SECRET, b"Hello, World!", hashlib.sha1).hexdigest(), "bad-signature"),
    ],
)
def test_any_other_signature_is_refused(header: str | None, reason: str) -> None:
    """
    Nobody but GitHub tells us of runs.
    """
    with pytest.raises(UnauthorizedError) as told:
        check_signature(b"Hello, World!", header, [SECRET])

    assert told.value.reason == reason


def test_no_secret_is_nobody() -> None:
    """
    Where none is configured, no signature fits.
    """
    with pytest.raises(UnauthorizedError):
        check_signature(b"Hello, World!", KNOWN, [])


def test_a_run_is_read() -> None:
    """
    Repository and run, as GitHub names them.
    """
    news = read_run(
        "workflow_run", json.dumps({"repository": {"full_name": "a/b"}, "workflow_run": RUN}).encode()
    )

    assert news is not None
    assert (news.repository, news.run.id, news.run.conclusion) == ("a/b", 7, "success")


def test_other_events_are_nothing_to_us() -> None:
    """
    A ping is answered, and told nobody.
    """
    assert read_run("ping", b"{}") is None
    assert read_run(None, b"") is None


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"repository": 1, "workflow_run": 2}', b"[" * 100_000])
def test_what_is_no_run_is_refused(body: bytes) -> None:
    """
    A body that says workflow_run and holds none is not half read.
    """
    with pytest.raises(BadPayloadError):
        read_run("workflow_run", body)
