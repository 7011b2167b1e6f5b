"""Files outside W&B: what cannot be fetched is told first, and what arrives is held to its promises."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext

import pytest

from registry_client import stored as stored_types
from registry_client.errors import FetchError, ReferenceEntriesError, TooLargeError, VerificationError
from registry_client.manifest import ManifestEntry
from registry_client.outside import Outside
from registry_client.patience import TransientError
from registry_client.stored import Proof, Stored
from tests.fakes import FakeRegistry
from tests.registry_client.pointers import pointer

CONTENT = b"the content of the file"


class Shelf:
    """A storage of one file, which gives these answers one after the other."""

    def __init__(self, *answers: Stored | Exception) -> None:
        self.answers = list(answers)
        self.offsets: list[int] = []

    def lacks(self, entry: ManifestEntry) -> str | None:
        """Nothing."""

    def open(self, entry: ManifestEntry, offset: int) -> AbstractContextManager[Stored]:
        """The next answer."""
        assert entry.path == "far.bin"
        self.offsets.append(offset)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return nullcontext(answer)


def stored(
    content: bytes, offset: int = 0, *, size: int | None = len(CONTENT), cut: bool = False, ends: bool = True
) -> Stored:
    def chunks() -> Iterator[bytes]:
        for start in range(offset, len(content), 5):
            yield content[start : start + 5]
        if cut:
            raise TransientError("the connection broke")

    return Stored(chunks(), offset, size, ends=ends)


def outside(
    registry: FakeRegistry, *answers: Stored | Exception, limit: int | None = None
) -> tuple[Outside, Shelf]:
    shelf = Shelf(*answers)
    storages = {"https": shelf}
    return Outside(registry, registry.version(), limit=limit, sleep=lambda _: None, storages=storages), shelf


def fetched(
    registry: FakeRegistry, *answers: Stored | Exception, size: int = 0, limit: int | None = None
) -> bytes:
    fetching, _ = outside(registry, *answers, limit=limit)
    return b"".join(fetching.fetch(pointer("https://example.org/x", "etag", size)))


def test_what_broke_off_is_gone_on_with(registry: FakeRegistry) -> None:
    """From where it broke off, and each byte comes once."""
    fetching, shelf = outside(
        registry, stored(CONTENT[:7], cut=True), TransientError("busy"), stored(CONTENT, 7)
    )
    assert b"".join(fetching.fetch(pointer("https://example.org/x"))) == CONTENT
    assert shelf.offsets == [0, 7, 7]


def test_a_storage_may_begin_again(registry: FakeRegistry) -> None:
    """What is here already is passed over."""
    assert fetched(registry, stored(CONTENT[:7], cut=True), stored(CONTENT)) == CONTENT


def test_an_end_that_comes_early_is_a_cut(registry: FakeRegistry) -> None:
    """By the storage's own word for the length."""
    assert fetched(registry, stored(CONTENT[:7]), stored(CONTENT, 7)) == CONTENT


def test_it_is_not_tried_for_ever(registry: FakeRegistry) -> None:
    """Six times without a byte, and the message names the file."""
    with pytest.raises(FetchError, match=r"far\.bin: busy \(tried 6 times\)"):
        fetched(registry, *[TransientError("busy")] * 7)


def test_bytes_earn_new_tries(registry: FakeRegistry) -> None:
    """Many cuts are no fault as long as each answer brings something."""
    cuts = [stored(CONTENT[: at + 1], at, cut=True) for at in range(len(CONTENT))]
    assert fetched(registry, *cuts, stored(CONTENT, len(CONTENT))) == CONTENT


@pytest.mark.parametrize(
    ("answer", "size", "want"),
    [
        (stored(CONTENT, size=99), len(CONTENT), "has 99 bytes there now, want 23"),
        (stored(CONTENT + b"!", size=None), len(CONTENT), "got more than the 23 bytes"),
        (stored(CONTENT + b"!"), 0, "got more than the 23 bytes"),
        (stored(CONTENT, size=None, ends=False), 0, "nobody says how long it is"),
    ],
    ids=["told another", "sent more", "sent more than told", "told nothing"],
)
def test_another_size_is_refused(registry: FakeRegistry, answer: Stored, size: int, want: str) -> None:
    """By what was logged, by what the storage says, and where both say nothing."""
    with pytest.raises(VerificationError, match=rf"far\.bin: .*{want}"):
        fetched(registry, answer, size=size)


def test_a_size_that_only_we_know_is_enough(registry: FakeRegistry) -> None:
    """The connection's end is then the file's end, or not yet."""
    assert fetched(registry, stored(CONTENT, size=None, ends=False), size=len(CONTENT)) == CONTENT


@pytest.mark.parametrize("limit", [len(CONTENT) - 1, 1])
def test_a_file_without_a_size_has_a_limit(registry: FakeRegistry, limit: int) -> None:
    """However much comes."""
    with pytest.raises(TooLargeError, match=rf"far\.bin: it alone has more than the {limit} bytes"):
        fetched(registry, stored(CONTENT, size=None), limit=limit)
    assert fetched(registry, stored(CONTENT, size=None), limit=len(CONTENT)) == CONTENT


@pytest.mark.parametrize("want", [CONTENT, b"other"], ids=["right", "wrong"])
def test_a_checksum_counts_over_all_answers(registry: FakeRegistry, want: bytes) -> None:
    """The file is put together, then proven."""

    def md5() -> hashlib._Hash:
        return hashlib.md5(usedforsecurity=False)

    proof = Proof("MD5", md5, hashlib.md5(want, usedforsecurity=False).digest())
    answers = [
        Stored(each.chunks, each.offset, each.size, proof=proof)
        for each in (stored(CONTENT[:7], cut=True), stored(CONTENT, 7))
    ]
    if want == CONTENT:
        assert fetched(registry, *answers) == CONTENT
    else:
        with pytest.raises(VerificationError, match=r"far\.bin: its bytes do not have the MD5"):
            fetched(registry, *answers)


class TestCheck:
    """What is told before anything is fetched."""

    def refusal(self, registry: FakeRegistry, pointers: Sequence[ManifestEntry]) -> str:
        """What is said against them."""
        with pytest.raises(ReferenceEntriesError) as caught:
            Outside(registry, registry.version()).check(pointers)
        return str(caught.value)

    def test_all_that_can_be_fetched_may_be(self, registry: FakeRegistry) -> None:
        """The SDKs are here, in the tests."""
        pointers = [pointer("https://example.org/x"), pointer("s3://b/x"), pointer("gs://b/x")]
        Outside(registry, registry.version()).check(pointers)

    @pytest.mark.parametrize(
        "reference", ["file:///etc/passwd", "wandb-client-artifact://x/y", "ftp://x/y", "x"]
    )
    def test_other_kinds_are_refused(self, registry: FakeRegistry, reference: str) -> None:
        """A path on this machine above all."""
        told = self.refusal(registry, [pointer(reference)])
        assert f"far.bin: {reference}: we cannot fetch this kind" in told

    def test_what_has_no_checksum_is_refused(self, registry: FakeRegistry) -> None:
        """Nothing could be proven."""
        told = self.refusal(registry, [pointer("s3://b/x", "s3://b/x")])
        assert "the artifact holds no checksum of it, so nothing could be proven" in told

    def test_nobody_gets_around_it(self, registry: FakeRegistry) -> None:
        """Who fetches without having checked is told the same."""
        fetching, shelf = outside(registry, stored(CONTENT))
        with pytest.raises(ReferenceEntriesError, match="holds no checksum"):
            list(fetching.fetch(pointer("https://example.org/x", "https://example.org/x")))
        assert not shelf.offsets

    def test_a_missing_sdk_is_told_with_its_extra(
        self, registry: FakeRegistry, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """All that are missing at once, and the way without them."""
        monkeypatch.setattr(stored_types, "find_spec", lambda _: None)
        told = self.refusal(
            registry,
            [pointer("s3://b/x"), pointer("gs://b/x"), pointer("https://a.blob.core.windows.net/c/x")],
        )
        for extra in ("s3", "gs", "az"):
            assert f"pip install 'wandb-handoff[{extra}]'" in told
        assert told.endswith("references: list leaves them out and writes them to a file")

    def test_an_sdk_without_its_upper_package_is_missing(
        self, registry: FakeRegistry, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Python then raises where else it gives nothing."""

        def missing(name: str) -> None:
            raise ModuleNotFoundError(name)

        monkeypatch.setattr(stored_types, "find_spec", missing)
        told = self.refusal(registry, [pointer("gs://b/x"), pointer("https://a.blob.core.windows.net/c/x")])
        assert "wandb-handoff[gs]" in told
        assert "wandb-handoff[az]" in told


class TestStop:
    """An end from elsewhere."""

    def test_it_ends_a_fetch(self, registry: FakeRegistry) -> None:
        """And wakes what waits for bytes."""
        aborted = threading.Event()
        answer = stored(CONTENT)
        fetching, _ = outside(registry, Stored(answer.chunks, 0, answer.size, abort=aborted.set))
        chunks = fetching.fetch(pointer("https://example.org/x"))
        next(chunks)
        fetching.stop()
        assert aborted.is_set()
        with pytest.raises(FetchError, match=r"far\.bin: stopped"):
            next(chunks)

    def test_what_is_not_open_yet_ends_too(self, registry: FakeRegistry) -> None:
        """As soon as it is."""
        aborted = threading.Event()
        answer = stored(CONTENT)
        fetching, _ = outside(registry, Stored(answer.chunks, 0, answer.size, abort=aborted.set))
        fetching.stop()
        with pytest.raises(FetchError, match="stopped"):
            list(fetching.fetch(pointer("https://example.org/x")))
        assert aborted.is_set()

    def test_nothing_is_tried_anew(self, registry: FakeRegistry) -> None:
        """A fault after the end is the last one."""
        fetching, shelf = outside(registry, TransientError("busy"), stored(CONTENT))
        fetching.stop()
        with pytest.raises(FetchError, match="busy"):
            list(fetching.fetch(pointer("https://example.org/x")))
        assert shelf.offsets == [0]
