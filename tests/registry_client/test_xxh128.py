"""XXH128: every implementation agrees with the reference, however the bytes are cut."""

from __future__ import annotations

import base64
import random
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import xxhash
from hypothesis import given, settings
from hypothesis import strategies as st

from registry_client import xxh128 as module
from registry_client.xxh128 import Xxh128, implementation, package_hasher, system_hasher, xxh128
from registry_client.xxh128_pure import PureXxh128

_BYTES = random.Random(128).randbytes(300_000)  # noqa: S311 - only different bytes are wanted
_ENDS_OF_CLASSES = [
    0,
    1,
    2,
    3,
    4,
    5,
    8,
    9,
    16,
    17,
    32,
    33,
    64,
    65,
    96,
    97,
    128,
    129,
    159,
    160,
    192,
    239,
    240,
    241,
]
_ENDS_OF_BLOCKS = [
    255,
    256,
    320,
    1023,
    1024,
    1025,
    1088,
    1089,
    2048,
    2049,
    65536,
    65537,
    131072,
    131073,
    200_000,
]


def _loaders() -> Iterator[Any]:
    yield pytest.param(lambda: PureXxh128, id="python")
    yield pytest.param(package_hasher, id="xxhash")
    yield pytest.param(system_hasher, id="libxxhash")


@pytest.fixture(params=_loaders())
def hasher(request: pytest.FixtureRequest) -> Callable[[], Any]:
    """Each implementation in turn."""
    found: Callable[[], Any] | None = request.param()
    if found is None:
        pytest.skip("this machine has no such library")
    return found


@pytest.fixture
def _choice_anew() -> Iterator[None]:
    module._chosen.cache_clear()
    yield
    module._chosen.cache_clear()


def _digest(hasher: Callable[[], Any], *pieces: bytes) -> bytes:
    instance = hasher()
    for piece in pieces:
        instance.update(piece)
    digest: bytes = instance.digest()
    return digest


@pytest.mark.parametrize("length", _ENDS_OF_CLASSES + _ENDS_OF_BLOCKS)
def test_each_length_class_agrees_with_the_reference(hasher: Callable[[], Any], length: int) -> None:
    """At both ends of each class of lengths, the digest is the reference's."""
    data = _BYTES[:length]
    assert _digest(hasher, data) == xxhash.xxh3_128(data).digest()


def test_every_length_up_to_two_blocks_agrees() -> None:
    """Ours agrees with the reference at every single length up to past two blocks."""
    wrong = [
        length
        for length in range(2200)
        if _digest(PureXxh128, _BYTES[:length]) != xxhash.xxh3_128(_BYTES[:length]).digest()
    ]
    assert wrong == []


@given(st.lists(st.binary(max_size=3000), max_size=8))
@settings(max_examples=200, deadline=None)
def test_pieces_of_any_size_make_one_digest(pieces: list[bytes]) -> None:
    """How the bytes are cut does not matter, to any implementation."""
    want = xxhash.xxh3_128(b"".join(pieces)).digest()
    assert _digest(PureXxh128, *pieces) == want
    assert _digest(Xxh128, *pieces) == want
    if (system := system_hasher()) is not None:
        assert _digest(system, *pieces) == want


@pytest.mark.parametrize("step", [1, 63, 64, 65, 1000, 1024, 1025, 65536, 65537])
def test_steps_across_blocks_make_one_digest(hasher: Callable[[], Any], step: int) -> None:
    """Steps that end before, on and after a block's end change nothing."""
    data = _BYTES[: min(len(_BYTES), step * 40)]
    pieces = [data[at : at + step] for at in range(0, len(data), step)]
    assert _digest(hasher, *pieces) == xxhash.xxh3_128(data).digest()


def test_a_digest_may_be_asked_for_between_updates(hasher: Callable[[], Any]) -> None:
    """Asking does not end the counting."""
    instance = hasher()
    assert instance.digest() == xxhash.xxh3_128(b"").digest()
    instance.update(_BYTES[:1500])
    assert instance.digest() == xxhash.xxh3_128(_BYTES[:1500]).digest()
    instance.update(_BYTES[1500:5000])
    assert instance.digest() == instance.digest() == xxhash.xxh3_128(_BYTES[:5000]).digest()


def test_the_known_answer_of_wandb() -> None:
    """``hello`` has the digest that W&B gives it."""
    assert base64.b64encode(xxh128(b"hello")) == b"tenBrQcbPn/Hec+qXlI4GA=="


@pytest.mark.usefixtures("_choice_anew")
class TestChoice:
    """Which implementation is taken."""

    def test_the_package_comes_first(self) -> None:
        """With the package installed, it is used."""
        assert implementation() == "xxhash"

    def test_the_system_comes_second(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Without the package, the system's library is used."""
        monkeypatch.setitem(sys.modules, "xxhash", None)
        if system_hasher() is None:
            pytest.skip("this machine has no libxxhash")
        assert implementation() == "libxxhash"

    def test_ours_is_always_there(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Without both, the check is not skipped: ours is used."""
        monkeypatch.setitem(sys.modules, "xxhash", None)
        monkeypatch.setattr(module, "_LIBRARIES", {sys.platform: ("/no/such/libxxhash.so",)})
        assert implementation() == "python"
        assert xxh128(b"hello") == xxhash.xxh3_128(b"hello").digest()

    @pytest.mark.parametrize("wrong_from", [0, 1000])
    def test_one_that_answers_wrongly_is_not_used(
        self, monkeypatch: pytest.MonkeyPatch, wrong_from: int
    ) -> None:
        """A library that does not know the known answers, short or long, is passed over."""

        class Broken(PureXxh128):
            def digest(self) -> bytes:
                return bytes(16) if self._length >= wrong_from else super().digest()

        monkeypatch.setattr(module, "package_hasher", lambda: Broken)
        monkeypatch.setattr(module, "system_hasher", lambda: Broken)
        assert implementation() == "python"
