"""Bytes over as many connections as it takes, from a file store in memory."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

import pytest

from registry_client.errors import FetchError
from registry_client.manifest import Manifest, ManifestEntry
from registry_client.patience import TransientError
from registry_client.transfer import Fetcher
from registry_client.wire import StaleUrlError
from tests.fakes import FakeAnswer, FakeRegistry, cut

NAME = "weights.bin"
CONTENT = bytes(range(256)) * 16


def arrived(fetcher: Fetcher, manifest: Manifest) -> Fetcher:
    """The same, with the URLs of all files."""
    list(fetcher.arriving({entry.path: entry for entry in manifest.entries}, lambda entry: entry.size))
    return fetcher


@dataclass
class Transfer:
    """One version with one file, about to be fetched."""

    registry: FakeRegistry
    naps: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.version = self.registry.version(files={NAME: CONTENT})
        self.manifest = Manifest.parse(self.registry.manifest(self.version))
        self.fetcher = self.new()

    @property
    def entry(self) -> ManifestEntry:
        """The one file."""
        return self.manifest.entries[0]

    def new(self) -> Fetcher:
        """A fetcher that has just asked for URLs."""
        return arrived(
            Fetcher(self.registry, self.version, self.manifest, sleep=self.naps.append), self.manifest
        )

    def fetch(self) -> bytes:
        """The file."""
        return b"".join(self.fetcher.fetch(self.entry))

    @property
    def offsets(self) -> list[int]:
        """Where each connection was to begin."""
        return [offset for _, offset in self.registry.opened]


@pytest.fixture
def transfer(registry: FakeRegistry) -> Transfer:
    return Transfer(registry)


def test_a_file_comes_over_one_connection(transfer: Transfer) -> None:
    """
    Nothing goes wrong, nobody waits, no URL is asked for twice.
    """
    assert transfer.fetch() == CONTENT
    assert transfer.offsets == [0]
    assert transfer.naps == []
    assert transfer.registry.renewed == []


def test_a_broken_connection_is_resumed_where_it_broke(transfer: Transfer) -> None:
    """
    What is here already is not asked for again.
    """
    transfer.registry.broken[NAME] = [cut(CONTENT[:1000]), cut(CONTENT[1000:1500], 1000)]

    assert transfer.fetch() == CONTENT
    assert transfer.offsets == [0, 1000, 1500]
    assert len(transfer.naps) == 2


def test_a_store_that_begins_again_is_understood(transfer: Transfer) -> None:
    """
    Not every store knows ranges; the bytes that are here already are passed over.
    """
    transfer.registry.broken[NAME] = [cut(CONTENT[:1000]), cut(CONTENT[:700]), FakeAnswer(CONTENT, 0)]

    assert transfer.fetch() == CONTENT
    assert transfer.offsets == [0, 1000, 1000]


def test_a_body_of_unannounced_length_that_ends_early_is_resumed(transfer: Transfer) -> None:
    """
    Without a length a cut looks like an end: the manifest knows better.
    """
    transfer.registry.broken[NAME] = [FakeAnswer(CONTENT[:1000], announced=False)]

    assert transfer.fetch() == CONTENT
    assert transfer.offsets == [0, 1000]


def test_a_body_that_is_whole_by_its_own_word_is_passed_on(transfer: Transfer) -> None:
    """
    A stored file that is too short is not a fault of the transport: no second try may excuse it.
    """
    transfer.registry.files[NAME] = CONTENT[:-1]

    assert transfer.fetch() == CONTENT[:-1]
    assert transfer.offsets == [0]


@pytest.mark.parametrize("length", [None, 29, len(CONTENT) + 1], ids=["unknown", "shorter", "longer"])
def test_a_body_compressed_on_its_way_is_refused(transfer: Transfer, length: int | None) -> None:
    """
    Its bytes are not the file's, and unpacking is not ours to guess.
    """
    transfer.registry.broken[NAME] = [FakeAnswer(b"\x1f\x8b", length=length, encoding="gzip")]

    with pytest.raises(FetchError, match=rf"{NAME}: sent as gzip"):
        transfer.fetch()


def test_a_file_that_is_compressed_itself_is_passed_on(transfer: Transfer) -> None:
    """
    Stores may call a .gz file gzip: as long as the manifest says, it is the file as it is.
    """
    answer = FakeAnswer(CONTENT, length=len(CONTENT), encoding="gzip")
    transfer.registry.broken[NAME] = [answer]

    assert transfer.fetch() == CONTENT


def test_tries_end(transfer: Transfer) -> None:
    """
    Six faults in a row that bring nothing are enough; file and fault are named.
    """
    transfer.registry.broken[NAME] = [TransientError("files.test answered 503") for _ in range(6)]

    with pytest.raises(FetchError, match=rf"{NAME}: files\.test answered 503 \(tried 6 times\)"):
        transfer.fetch()

    assert len(transfer.offsets) == 6


def test_pauses_grow(transfer: Transfer) -> None:
    """
    Each pause is about twice the one before.
    """
    transfer.registry.broken[NAME] = [TransientError("files.test answered 503") for _ in range(5)]

    transfer.fetch()

    assert len(transfer.naps) == 5
    for nap, most in zip(transfer.naps, (1, 2, 4, 8, 16), strict=True):
        assert most / 2 <= nap <= most


def test_a_connection_that_brings_much_earns_new_tries(registry: FakeRegistry) -> None:
    """
    A big file may break as often as it likes while it comes closer.
    """
    content = bytes(1024 * 1024) * 9
    version = registry.version(files={NAME: content})
    manifest = Manifest.parse(registry.manifest(version))
    piece = 1024 * 1024
    registry.broken[NAME] = [cut(content[:piece], piece * number) for number in range(8)]

    fetcher = arrived(Fetcher(registry, version, manifest, sleep=lambda _: None), manifest)

    assert sum(map(len, fetcher.fetch(manifest.entries[0]))) == len(content)


def test_a_pause_that_the_store_asks_for_is_kept(transfer: Transfer) -> None:
    """
    Retry-After is obeyed when it is longer than our own pause.
    """
    transfer.registry.broken[NAME] = [TransientError("files.test answered 429", asked=42.0)]

    assert transfer.fetch() == CONTENT
    assert transfer.naps == [42.0]


def test_a_pause_of_hours_is_not_slept(transfer: Transfer) -> None:
    """
    A job should not hang that long: the message says what the store asks for.
    """
    transfer.registry.broken[NAME] = [TransientError("files.test answered 429", asked=3600.0)]

    with pytest.raises(FetchError, match=rf"{NAME}: .*asks to wait 3600 s"):
        transfer.fetch()

    assert transfer.naps == []


def test_a_used_up_url_is_renewed(transfer: Transfer) -> None:
    """
    Its file alone gets a new one, also in the middle of the file.
    """
    transfer.registry.broken[NAME] = [cut(CONTENT[:1000])]
    transfer.registry.on_open = lambda _: setattr(
        transfer.registry, "url_generation", int(len(transfer.registry.opened) > 1)
    )

    assert transfer.fetch() == CONTENT
    assert transfer.registry.renewed == [NAME]
    assert transfer.registry.opened == [
        (f"url0:{NAME}", 0),
        (f"url0:{NAME}", 1000),
        (f"url1:{NAME}", 1000),
    ]


def test_a_url_is_renewed_once_for_all_parts(transfer: Transfer) -> None:
    """
    Several connections of a large file meet its end at the same time: the first one asks.
    """
    transfer.registry.url_generation = 1
    for _ in range(3):
        transfer.fetcher._renew(transfer.entry, f"url0:{NAME}")

    assert transfer.registry.renewed == [NAME]


def test_renewals_end(transfer: Transfer) -> None:
    """
    A file whose new URLs are not taken either is named.
    """
    transfer.registry.broken[NAME] = [StaleUrlError("files.test answered 403") for _ in range(9)]

    with pytest.raises(FetchError, match=rf"{NAME}: files\.test answered 403, though renewed 3 times"):
        transfer.fetch()

    assert len(transfer.registry.renewed) == 3


@pytest.mark.parametrize("when", ["at first", "when renewed"])
def test_a_file_without_a_url_comes_from_wandb_itself(transfer: Transfer, when: str) -> None:
    """
    Its addresses at the server are tried in turn, signed in.
    """
    transfer.registry.hidden.add(NAME)
    if when == "at first":
        transfer.fetcher = transfer.new()
    else:
        transfer.registry.url_generation = 1

    assert transfer.fetch() == CONTENT
    assert [url for url, _ in transfer.registry.opened][-2:] == [f"old:{NAME}", f"endpoint:{NAME}"]


def test_a_file_that_is_nowhere_is_named(transfer: Transfer) -> None:
    """
    Every refusal is in the message.
    """
    transfer.registry.hidden.add(NAME)
    transfer.registry.broken[NAME] = [StaleUrlError("api.test answered 404")]
    transfer.fetcher = transfer.new()

    with pytest.raises(
        FetchError, match=f"{NAME}: W&B gives no URL for it; .*403 to old; api.test answered 404"
    ):
        transfer.fetch()


def test_stopping_ends_a_fetch_between_two_chunks(transfer: Transfer) -> None:
    """
    The next chunk is not passed on.
    """
    chunks = transfer.fetcher.fetch(transfer.entry)
    next(chunks)
    transfer.fetcher.stop()

    with pytest.raises(FetchError, match="stopped"):
        next(chunks)


def test_stopping_wakes_who_waits_for_bytes(transfer: Transfer) -> None:
    """
    A connection under way is told, and so is one that opens only now.
    """
    answers = [FakeAnswer(CONTENT), FakeAnswer(CONTENT)]
    transfer.registry.broken[NAME] = list(answers)
    running = transfer.fetcher.fetch(transfer.entry)
    next(running)
    transfer.fetcher.stop()

    with pytest.raises(FetchError):
        next(transfer.fetcher.fetch(transfer.entry))

    assert [answer.aborted for answer in answers] == [True, True]


def test_stopping_ends_a_pause(transfer: Transfer) -> None:
    """
    Nobody sleeps on, and nobody tries again.
    """
    transfer.registry.broken[NAME] = [
        TransientError("files.test answered 503", asked=100.0) for _ in range(2)
    ]
    fetcher = arrived(Fetcher(transfer.registry, transfer.version, transfer.manifest), transfer.manifest)
    transfer.registry.on_open = lambda _: threading.Timer(0.01, fetcher.stop).start()

    with pytest.raises(FetchError, match="stopped"):
        b"".join(fetcher.fetch(transfer.entry))

    assert len(transfer.registry.opened) == 1
