"""One file: proven before it is handed on, or told that it was not."""

from __future__ import annotations

import pytest

from registry_client.errors import ArtifactNotFoundError, FetchError, VerificationError
from registry_client.single import send
from registry_client.version import DigestAlgorithm
from tests.fakes import FakeRegistry, cut

LARGE = bytes(range(256)) * 40_000  # More than is held back.


def sent(registry: FakeRegistry, path: str, **logged: object) -> bytes:
    """What comes out."""
    written: list[bytes] = []
    send(registry.version(**logged), path, registry, written.append, sleep=lambda _: None)
    return b"".join(written)


@pytest.mark.parametrize("algorithm", list(DigestAlgorithm), ids=lambda each: each.name)
@pytest.mark.parametrize("content", [b"", b"cat dog", LARGE], ids=["empty", "small", "large"])
def test_a_file_comes_out(registry: FakeRegistry, content: bytes, algorithm: DigestAlgorithm) -> None:
    """
    And no other is opened.
    """
    files = {"deep/a file": content, "other": b"x"}

    assert sent(registry, "deep/a file", files=files, algorithm=algorithm) == content
    assert all(url.endswith(":deep/a file") for url, _ in registry.opened)


@pytest.mark.parametrize("path", ["labels", "Labels.txt", "/labels.txt", "", "*.txt"])
def test_another_name_is_not_found(registry: FakeRegistry, path: str) -> None:
    """
    Some of the names that are there are told, and nothing is asked for.
    """
    with pytest.raises(ArtifactNotFoundError, match=r"has no file .*; it has 2, such as 'labels.txt', "):
        sent(registry, path)

    assert registry.opened == []


@pytest.mark.parametrize(
    "wrong", [b"cat dot", b"cat do", b"cat dogs", b""], ids=["flipped", "short", "long", "empty"]
)
def test_of_a_small_file_nothing_wrong_comes_out(registry: FakeRegistry, wrong: bytes) -> None:
    """
    Not a byte.
    """
    version, written = registry.version(files={"a": b"cat dog"}), list[bytes]()
    registry.files["a"] = wrong

    with pytest.raises((VerificationError, FetchError), match=r"^a: ") as caught:
        send(version, "a", registry, written.append, sleep=lambda _: None)

    assert written == []
    assert "written" not in str(caught.value)


def test_of_a_large_file_it_is_told(registry: FakeRegistry) -> None:
    """
    It streams, so the bytes were out when the digest was wrong at the end.
    """
    version, written = registry.version(files={"a": LARGE}), list[bytes]()
    registry.files["a"] = LARGE[:-1] + b"x"

    with pytest.raises(
        VerificationError, match=r"^a: got MD5 .*; the [\d,]+ bytes that were written are not the file$"
    ):
        send(version, "a", registry, written.append, sleep=lambda _: None)

    assert len(b"".join(written)) > 8 * 1024 * 1024


def test_a_cut_is_resumed(registry: FakeRegistry) -> None:
    """
    What came out goes on where it ended, each byte once.
    """
    version, written = registry.version(files={"a": LARGE}), list[bytes]()
    registry.broken["a"] = [cut(LARGE[: 9 * 1024 * 1024])]

    send(version, "a", registry, written.append, sleep=lambda _: None)

    assert b"".join(written) == LARGE
