"""Bytes against their promise: nothing else gets through unnoticed."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator

import pytest
import xxhash
from hypothesis import given
from hypothesis import strategies as st

from registry_client.digest import digester, verified
from registry_client.errors import VerificationError
from registry_client.manifest import ManifestEntry
from registry_client.version import DigestAlgorithm

MD5, XXH128 = DigestAlgorithm.MD5, DigestAlgorithm.XXH128


def entry(content: bytes, algorithm: DigestAlgorithm = MD5, path: str = "labels.txt") -> ManifestEntry:
    """What a manifest says of this content."""
    raw = (
        hashlib.md5(content, usedforsecurity=False).digest()
        if algorithm is MD5
        else xxhash.xxh3_128(content).digest()
    )
    return ManifestEntry(path, base64.b64encode(raw).decode(), len(content), algorithm, None, None)


@pytest.mark.parametrize("algorithm", list(DigestAlgorithm))
def test_the_known_answers(algorithm: DigestAlgorithm) -> None:
    """``hello`` has the digests that W&B gives it."""
    hashing = digester(algorithm)
    hashing.update(b"hello")
    known = {MD5: b"XUFAKrxLKna5cZ2REBfFkg==", XXH128: b"tenBrQcbPn/Hec+qXlI4GA=="}
    assert base64.b64encode(hashing.digest()) == known[algorithm]


@pytest.mark.parametrize("algorithm", list(DigestAlgorithm))
@given(pieces=st.lists(st.binary(max_size=50)))
def test_the_promised_bytes_pass_unchanged(algorithm: DigestAlgorithm, pieces: list[bytes]) -> None:
    """However they are cut, the right bytes come out as they went in."""
    assert list(verified(pieces, entry(b"".join(pieces), algorithm))) == pieces


@pytest.mark.parametrize("algorithm", list(DigestAlgorithm))
def test_flipped_bytes_are_found(algorithm: DigestAlgorithm) -> None:
    """The right number of wrong bytes raises, and both digests are told."""
    want, got = entry(b"cat dog", algorithm), entry(b"cat dot", algorithm)
    with pytest.raises(VerificationError) as caught:
        list(verified([b"cat", b" dot"], want))
    assert str(caught.value) == f"labels.txt: got {algorithm.name} {got.digest}, want {want.digest}"


@pytest.mark.parametrize("served", [b"", b"cat do"])
def test_too_few_bytes_are_found(served: bytes) -> None:
    """A short body raises and says how short."""
    with pytest.raises(VerificationError) as caught:
        list(verified([served], entry(b"cat dog")))
    assert str(caught.value) == f"labels.txt: got {len(served)} bytes, want 7"


def test_it_stops_at_the_first_byte_too_many() -> None:
    """An endless body is left at once, and its surplus is not passed on."""
    taken: list[bytes] = []

    def endless() -> Iterator[bytes]:
        yield b"cat dog"
        yield b"s"
        pytest.fail("asked for more than was needed to know")

    with pytest.raises(VerificationError, match="got more than the 7 bytes"):
        taken.extend(verified(endless(), entry(b"cat dog")))
    assert b"".join(taken) in {b"", b"cat dog"}


def test_an_empty_file_is_checked_too() -> None:
    """No bytes at all still have a digest."""
    wrong = ManifestEntry("empty", entry(b"x").digest, 0, MD5, None, None)
    assert list(verified([], entry(b""))) == []
    with pytest.raises(VerificationError, match="empty: got MD5"):
        list(verified([], wrong))
