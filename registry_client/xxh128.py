"""XXH128, W&B's newer file digest, by the fastest implementation at hand; none is ever skipped."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from functools import cache
from typing import Protocol

from registry_client.xxh128_pure import PureXxh128

# Full paths, or names that the loader looks up in the system's directories only: never in the checkout.
_LIBRARIES = {
    "linux": ("libxxhash.so.0",),
    "darwin": ("/opt/homebrew/lib/libxxhash.0.dylib", "/usr/local/lib/libxxhash.0.dylib"),
}
_KNOWN_ANSWER = (b"hello", "b5e9c1ad071b3e7fc779cfaa5e523818")


class _Hasher(Protocol):
    def update(self, data: bytes) -> object: ...
    def digest(self) -> bytes: ...


class Xxh128:
    """XXH128 of bytes that arrive in pieces."""

    def __init__(self) -> None:
        self._hasher = _chosen()[1]()

    def update(self, data: bytes) -> None:
        """Take in more bytes."""
        self._hasher.update(data)

    def digest(self) -> bytes:
        """The digest of all bytes so far, 16 bytes, big-endian as W&B writes it."""
        return self._hasher.digest()


def xxh128(data: bytes) -> bytes:
    """The XXH128 digest of these bytes, 16 bytes."""
    hasher = Xxh128()
    hasher.update(data)
    return hasher.digest()


def implementation() -> str:
    """Which implementation is in use: ``xxhash``, ``libxxhash`` or ``python``."""
    return _chosen()[0]


@cache
def _chosen() -> tuple[str, Callable[[], _Hasher]]:
    for name, load in (("xxhash", package_hasher), ("libxxhash", system_hasher)):
        hasher = load()
        if hasher is not None and _agrees(hasher):
            return name, hasher
    return "python", PureXxh128


def _agrees(hasher: Callable[[], _Hasher]) -> bool:
    """Whether it knows the known answer, and agrees with ours over more than a block."""
    question, answer = _KNOWN_ANSWER
    return _of(hasher, question).hex() == answer and all(
        _of(hasher, data) == _of(PureXxh128, data) for data in (b"", bytes(range(200)), bytes(range(256)) * 5)
    )


def _of(hasher: Callable[[], _Hasher], data: bytes) -> bytes:
    instance = hasher()
    instance.update(data)
    return instance.digest()


def package_hasher() -> Callable[[], _Hasher] | None:
    """The compiled one of the ``xxhash`` distribution, if it is installed."""
    try:
        from xxhash import xxh3_128  # noqa: PLC0415 - an extra, and only needed for XXH128
    except ImportError:
        return None
    return xxh3_128


def system_hasher() -> Callable[[], _Hasher] | None:
    """The one of the system's libxxhash (>= 0.8), if it has it; Linux images mostly do."""
    for path in _LIBRARIES.get(sys.platform, ()):
        try:
            library = _Library(path)
        except (OSError, AttributeError):
            continue
        return lambda: _SystemXxh128(library)
    return None


class _Halves(ctypes.Structure):
    _fields_ = (("low", ctypes.c_uint64), ("high", ctypes.c_uint64))


class _Library:
    """The five functions that we need, with their types."""

    def __init__(self, path: str) -> None:
        library = ctypes.CDLL(path)
        state, status = ctypes.c_void_p, ctypes.c_int
        self.create = _typed(library.XXH3_createState, state)
        self.free = _typed(library.XXH3_freeState, status, state)
        self.reset = _typed(library.XXH3_128bits_reset, status, state)
        self.update = _typed(library.XXH3_128bits_update, status, state, ctypes.c_char_p, ctypes.c_size_t)
        self.digest = _typed(library.XXH3_128bits_digest, _Halves, state)


def _typed(function: ctypes._NamedFuncPointer, result: type, *arguments: type) -> Callable[..., object]:
    function.restype, function.argtypes = result, arguments
    return function


class _SystemXxh128:
    def __init__(self, library: _Library) -> None:
        self._library = library
        self._state = library.create()
        if not self._state:
            raise MemoryError("libxxhash could not make a state")
        library.reset(self._state)

    def __del__(self) -> None:
        if state := getattr(self, "_state", None):
            self._library.free(state)

    def update(self, data: bytes) -> None:
        data = bytes(data)  # No copy if it is bytes already.
        self._library.update(self._state, data, len(data))

    def digest(self) -> bytes:
        halves = self._library.digest(self._state)
        assert isinstance(halves, _Halves)
        return int(halves.high).to_bytes(8, "big") + int(halves.low).to_bytes(8, "big")
