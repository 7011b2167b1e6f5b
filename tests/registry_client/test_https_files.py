"""Files at addresses: taken while their ETag is the one that was logged, over the client's own HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import pytest

from registry_client.api import WandbApi
from registry_client.credentials import ApiKey
from registry_client.errors import FetchError, ReferenceEntriesError, VerificationError
from registry_client.https_files import HttpsFiles
from registry_client.outside import Outside
from tests.fakes import FakeAnswer, FakeRegistry
from tests.registry_client.pointers import pointer
from tests.stand_ins.clouds import CloudStandIn

CONTENT = bytes(range(256)) * 20_000


class Opener:
    """Gives one answer."""

    def __init__(self, **told: Any) -> None:
        self.answer = FakeAnswer(CONTENT, **told)

    def open(self, url: str, *, offset: int = 0) -> AbstractContextManager[FakeAnswer]:
        """The answer, whatever is asked."""
        assert (url, offset) == ("https://example.org/x", 0)
        return nullcontext(self.answer)


def taken(etag: str | None, digest: str, size: int = 0, **told: Any) -> bytes:
    files = HttpsFiles(Opener(etag=etag, **told))
    with files.open(pointer("https://example.org/x", digest, size), 0) as stored:
        return b"".join(stored.chunks)


@pytest.mark.parametrize(
    ("etag", "digest"),
    [
        ('"abc"', "abc"),
        ('"abc"', '"abc"'),
        ("abc", "abc"),
        ('"abc"', 'W/"abc'),  # As W&B's client logs a weak one.
        ('W/"abc"', "abc"),
    ],
)
def test_the_same_etag_is_the_same_file(etag: str, digest: str) -> None:
    """With quotes or without, weak or strong."""
    assert taken(etag, digest) == CONTENT


@pytest.mark.parametrize("etag", ['"abd"', '"ABC"', '"abc-gzip"', '""', "", None])
def test_another_etag_is_another_file(etag: str | None) -> None:
    """And so is one without any."""
    with pytest.raises(
        VerificationError, match=r"far\.bin: its storage has (the|no) ETag.* there now, want abc"
    ):
        taken(etag, "abc")


def test_a_compressed_answer_is_not_the_file() -> None:
    """Unless it is as long as the file, which may be compressed itself."""
    with pytest.raises(FetchError, match=r"far\.bin: sent as gzip"):
        taken('"abc"', "abc", len(CONTENT), encoding="gzip", length=99)
    assert taken('"abc"', "abc", len(CONTENT), encoding="gzip", length=len(CONTENT)) == CONTENT


@pytest.mark.parametrize(
    ("reference", "want"),
    [
        ("http://example.org/x", "it would come in the clear, want https"),
        ("http://127.0.0.1.example.org/x", "it would come in the clear, want https"),
        ("https://ana:secret@example.org/x", "its address holds a user's name"),
        ("https:///x", "it has no host"),
        ("https://[::1/x", "it has no host"),
    ],
)
def test_what_is_not_fetched_is_told_beforehand(reference: str, want: str) -> None:
    """What anybody between could change, and what would need to sign in."""
    assert want in (HttpsFiles(Opener()).lacks(pointer(reference)) or "")


@pytest.mark.parametrize(
    "reference", ["https://example.org/x?y=1", "http://127.0.0.1:1/x", "http://localhost/x"]
)
def test_the_rest_is_fetched(reference: str) -> None:
    """On this machine nobody is between."""
    assert HttpsFiles(Opener()).lacks(pointer(reference)) is None


class TestOverHttp:
    """With the client's own HTTP, against a server."""

    @pytest.fixture
    def clouds(self) -> Iterator[CloudStandIn]:
        """The server."""
        with CloudStandIn() as stand_in:
            yield stand_in

    @pytest.fixture
    def outside(self, clouds: CloudStandIn, registry: FakeRegistry) -> Iterator[Outside]:
        """W&B is said to be there, too, and the key is at hand."""
        with WandbApi(clouds.url, ApiKey.parse("x" * 40, "WANDB_API_KEY"), sleep=lambda _: None) as api:
            yield Outside(api, registry.version(), sleep=lambda _: None)

    def fetched(self, clouds: CloudStandIn, outside: Outside, etag: str, size: int = 0) -> bytes:
        """The file, as far as it has that ETag."""
        return b"".join(outside.fetch(pointer(f"{clouds.url}/site/x.bin", etag, size)))

    def test_the_bytes_arrive(self, clouds: CloudStandIn, outside: Outside) -> None:
        """All of them, with or without a size."""
        kept = clouds.put("site/x.bin", CONTENT)
        assert self.fetched(clouds, outside, kept.etag) == CONTENT
        assert self.fetched(clouds, outside, kept.etag, len(CONTENT)) == CONTENT

    def test_a_cut_is_made_good(self, clouds: CloudStandIn, outside: Outside) -> None:
        """From where it was cut."""
        kept = clouds.put("site/x.bin", CONTENT)
        clouds.faults = [("cut", 3_000_000), ("status", 502), ("cut", 1_000_000)]
        assert self.fetched(clouds, outside, kept.etag) == CONTENT
        assert clouds.asked[1][1].startswith("bytes=")

    def test_what_changes_between_two_parts_is_found(self, clouds: CloudStandIn, outside: Outside) -> None:
        """No file is made of two."""
        kept = clouds.put("site/x.bin", CONTENT)
        clouds.faults = [("cut", 3_000_000)]
        chunks = outside.fetch(pointer(f"{clouds.url}/site/x.bin", kept.etag))
        next(chunks)
        clouds.put("site/x.bin", CONTENT[::-1])
        with pytest.raises(VerificationError, match="its storage has the ETag"):
            list(chunks)

    @pytest.mark.parametrize("status", [401, 403, 404, 410])
    def test_what_is_not_given_is_told(self, clouds: CloudStandIn, outside: Outside, status: int) -> None:
        """It may have gone, or want a key of its own."""
        kept = clouds.put("site/x.bin", CONTENT)
        clouds.faults = [("status", status)]
        with pytest.raises(ReferenceEntriesError, match=rf"far\.bin: .*{status}.*not for everybody"):
            self.fetched(clouds, outside, kept.etag)
        assert len(clouds.asked) == 1
