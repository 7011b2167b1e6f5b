"""What was expected: the digest is compared, and one that is none is no expectation."""

from __future__ import annotations

import pytest

from registry_client.errors import ConfigurationError, VerificationError
from registry_client.expect import check_digest, parse_digest
from tests.registry_client.test_manifest import HELLO_DIGEST, version


@pytest.mark.parametrize("expected", [None, HELLO_DIGEST, parse_digest("x", f" {HELLO_DIGEST.upper()} ")])
def test_the_expected_version_passes(expected: str | None) -> None:
    """
    As does any where none is expected; capitals do not matter.
    """
    check_digest(version(), expected)
    check_digest(version(digest=HELLO_DIGEST.upper()), expected)


def test_another_version_fails() -> None:
    """
    With got and want.
    """
    with pytest.raises(
        VerificationError, match=f"^acme/models/cats:v0 has .* {HELLO_DIGEST}, want {'0' * 32}"
    ):
        check_digest(version(), "0" * 32)


@pytest.mark.parametrize(
    "text", ["", "541f", HELLO_DIGEST[:-1], HELLO_DIGEST + "0", "g" * 32, "XUFAKrxLKna5cZ2REBfFkg=="]
)
def test_what_is_no_digest_is_told(text: str) -> None:
    """
    A part of one would match too much.
    """
    with pytest.raises(ConfigurationError, match=r"^expect-digest: got '.*', want the 32 hex digits"):
        parse_digest("expect-digest", text)
