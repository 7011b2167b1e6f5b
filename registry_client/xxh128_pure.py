"""XXH128 (XXH3 with 128 bits, seed 0) in Python alone: for machines that have no compiled one.

Written from the published algorithm; https://github.com/Cyan4973/xxHash/blob/dev/doc/xxhash_spec.md
"""

from __future__ import annotations

from operator import mul
from struct import unpack, unpack_from

_MASK32 = 0xFFFFFFFF
_MASK64 = 0xFFFFFFFFFFFFFFFF
_PRIME32_1, _PRIME32_2, _PRIME32_3 = 0x9E3779B1, 0x85EBCA77, 0xC2B2AE3D
_PRIME64_1, _PRIME64_2, _PRIME64_3 = 0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9
_PRIME64_4, _PRIME64_5 = 0x85EBCA77C2B2AE63, 0x27D4EB2F165667C5
_MIX_1, _MIX_2 = 0x165667919E3779F9, 0x9FB21C651E98DF25
_SECRET = bytes.fromhex(
    "b8fe6c3923a44bbe7c01812cf721ad1cded46de9839097db7240a4a4b7b3671f"
    "cb79e64eccc0e578825ad07dccff7221b8084674f743248ee03590e6813a264c"
    "3c2852bb91c300cb88d0658b1b532ea371644897a20df94e3819ef46a9deacd8"
    "a8fa763fe39c343ff9dcbbc7c70b4f1d8a51e04bcdb45931c89f7ec9d9787364"
    "eac5ac8334d3ebc3c581a0fffa1363eb170ddd51b7f0da49d316552629d4689e"
    "2b16be587d47a1fc8ff8b8d17ad031ce45cb3a8f95160428afd7fbcabb4b407e"
)
_START = (
    _PRIME32_3, _PRIME64_1, _PRIME64_2, _PRIME64_3, _PRIME64_4, _PRIME32_2, _PRIME64_5, _PRIME32_1,
)  # fmt: skip

_SHORT = 240  # Up to here an input is mixed whole; beyond, it is taken in stripes and blocks.
_STRIPE = 64
_BLOCK = 1024
_STRIPES = _BLOCK // _STRIPE
_BATCH = 64  # Blocks that are unpacked together.
_BLOCK_SECRET = b"".join(_SECRET[8 * n : 8 * n + _STRIPE] for n in range(_STRIPES))
_BATCH_SECRET = int.from_bytes(_BLOCK_SECRET * _BATCH, "little")
_SCRAMBLE_SECRET = unpack("<8Q", _SECRET[-_STRIPE:])

_Halves = tuple[int, int]  # Low 64 bits, high 64 bits.


class PureXxh128:
    """XXH128 of bytes that arrive in pieces, some tens of megabytes a second."""

    def __init__(self) -> None:
        self._lanes = list(_START)
        self._length = 0
        self._before = b""  # The last stripe that was taken in: the end may reach back into it.
        self._rest = b""  # Not taken in yet: at most one block.

    def update(self, data: bytes) -> None:
        """Take in more bytes."""
        self._length += len(data)
        pending = self._rest + data if self._rest else bytes(data)
        # A block is taken in only once a byte follows it: the last one, even if full, ends otherwise.
        whole = max(len(pending) - 1, 0) // _BLOCK * _BLOCK
        for start in range(0, whole, _BLOCK * _BATCH):
            _take_blocks(self._lanes, pending[start : min(start + _BLOCK * _BATCH, whole)])
        if whole:
            self._before = pending[whole - _STRIPE : whole]
        self._rest = pending[whole:]

    def digest(self) -> bytes:
        """The digest of all bytes so far, 16 bytes, big-endian as W&B writes it."""
        low, high = self._long() if self._length > _SHORT else _short(self._rest)
        return high.to_bytes(8, "big") + low.to_bytes(8, "big")

    def _long(self) -> _Halves:
        lanes = list(self._lanes)
        for number in range((len(self._rest) - 1) // _STRIPE):
            _take_stripe(lanes, self._rest[_STRIPE * number : _STRIPE * (number + 1)], 8 * number)
        _take_stripe(lanes, (self._before + self._rest)[-_STRIPE:], 121)
        return (
            _merge(lanes, 11, self._length * _PRIME64_1 & _MASK64),
            _merge(lanes, 117, ~(self._length * _PRIME64_2) & _MASK64),
        )


def _take_blocks(lanes: list[int], blocks: bytes) -> None:
    """Add whole blocks to the lanes.

    Each lane's sum over a block needs no reduction, because Python's integers do not overflow: so the
    sums run inside ``sum`` and ``map``, and only their results are cut to 64 bits.
    """
    count = len(blocks) // _BLOCK
    secret = _BATCH_SECRET if count == _BATCH else int.from_bytes(_BLOCK_SECRET * count, "little")
    keyed = (int.from_bytes(blocks, "little") ^ secret).to_bytes(len(blocks), "little")
    values, halves = unpack(f"<{128 * count}Q", blocks), unpack(f"<{256 * count}I", keyed)
    added = [values[lane ^ 1 :: 8] for lane in range(8)]
    products = [list(map(mul, halves[2 * lane :: 16], halves[2 * lane + 1 :: 16])) for lane in range(8)]
    for first in range(0, _STRIPES * count, _STRIPES):
        end = first + _STRIPES
        for lane, key in enumerate(_SCRAMBLE_SECRET):
            total = lanes[lane] + sum(added[lane][first:end]) + sum(products[lane][first:end]) & _MASK64
            lanes[lane] = ((total ^ total >> 47 ^ key) * _PRIME32_1) & _MASK64


def _take_stripe(lanes: list[int], stripe: bytes, secret_at: int) -> None:
    values, keys = unpack("<8Q", stripe), unpack_from("<8Q", _SECRET, secret_at)
    for lane in range(8):
        key = values[lane] ^ keys[lane]
        lanes[lane] = lanes[lane] + values[lane ^ 1] + (key & _MASK32) * (key >> 32) & _MASK64


def _merge(lanes: list[int], secret_at: int, start: int) -> int:
    keys = unpack_from("<8Q", _SECRET, secret_at)
    folds = (_folded(lanes[n] ^ keys[n], lanes[n + 1] ^ keys[n + 1]) for n in range(0, 8, 2))
    return _avalanche(start + sum(folds) & _MASK64)


def _short(data: bytes) -> _Halves:
    if len(data) > 16:  # noqa: PLR2004 - the classes of lengths are the algorithm's
        return _17_to_240(data)
    if len(data) > 8:  # noqa: PLR2004
        return _9_to_16(data)
    if len(data) > 3:  # noqa: PLR2004
        return _4_to_8(data)
    return _1_to_3(data) if data else (_avalanche64(_secret64(64, 72)), _avalanche64(_secret64(80, 88)))


def _1_to_3(data: bytes) -> _Halves:
    first, middle, last = data[0], data[len(data) >> 1], data[-1]
    combined = first << 16 | middle << 24 | last | len(data) << 8
    swapped = int.from_bytes(combined.to_bytes(4, "little"), "big")
    turned = (swapped << 13 | swapped >> 19) & _MASK32
    keys = unpack_from("<4I", _SECRET)
    return _avalanche64(combined ^ keys[0] ^ keys[1]), _avalanche64(turned ^ keys[2] ^ keys[3])


def _4_to_8(data: bytes) -> _Halves:
    keyed = (_int(data[:4]) | _int(data[-4:]) << 32) ^ _secret64(16, 24)
    product = keyed * (_PRIME64_1 + (len(data) << 2))
    low = product & _MASK64
    high = (product >> 64) + (low << 1) & _MASK64
    low ^= high >> 3
    low = (low ^ low >> 35) * _MIX_2 & _MASK64
    return low ^ low >> 28, _avalanche(high)


def _9_to_16(data: bytes) -> _Halves:
    start, end = _int(data[:8]), _int(data[-8:])
    product = (start ^ end ^ _secret64(32, 40)) * _PRIME64_1
    low = (product & _MASK64) + (len(data) - 1 << 54) & _MASK64
    end ^= _secret64(48, 56)
    high = (product >> 64) + end + (end & _MASK32) * (_PRIME32_2 - 1) & _MASK64
    low ^= int.from_bytes(high.to_bytes(8, "little"), "big")
    product = low * _PRIME64_2
    return _avalanche(product & _MASK64), _avalanche((product >> 64) + high * _PRIME64_2 & _MASK64)


def _17_to_240(data: bytes) -> _Halves:
    length = len(data)
    sums = (length * _PRIME64_1 & _MASK64, 0)
    if length <= 128:  # noqa: PLR2004
        for at in range((length - 1) // 32 * 16, -1, -16):
            sums = _mix(sums, data[at : at + 16], data[length - at - 16 : length - at], 2 * at)
    else:
        for at in range(0, 128, 32):
            sums = _mix(sums, data[at : at + 16], data[at + 16 : at + 32], at)
        sums = (_avalanche(sums[0]), _avalanche(sums[1]))
        for at in range(128, length - 31, 32):
            sums = _mix(sums, data[at : at + 16], data[at + 16 : at + 32], at - 125)
        sums = _mix(sums, data[-16:], data[-32:-16], 103)
    low, high = sums
    mixed = low * _PRIME64_1 + high * _PRIME64_4 + length * _PRIME64_2 & _MASK64
    return _avalanche(low + high & _MASK64), -_avalanche(mixed) & _MASK64


def _mix(sums: _Halves, first: bytes, second: bytes, secret_at: int) -> _Halves:
    (a, b), (c, d) = unpack("<2Q", first), unpack("<2Q", second)
    keys = unpack_from("<4Q", _SECRET, secret_at)
    low = sums[0] + _folded(a ^ keys[0], b ^ keys[1]) & _MASK64
    high = sums[1] + _folded(c ^ keys[2], d ^ keys[3]) & _MASK64
    return low ^ (c + d & _MASK64), high ^ (a + b & _MASK64)


def _folded(left: int, right: int) -> int:
    product = left * right
    return (product & _MASK64) ^ product >> 64


def _avalanche(value: int) -> int:
    value = (value ^ value >> 37) * _MIX_1 & _MASK64
    return value ^ value >> 32


def _avalanche64(value: int) -> int:
    value = (value ^ value >> 33) * _PRIME64_2 & _MASK64
    value = (value ^ value >> 29) * _PRIME64_3 & _MASK64
    return value ^ value >> 32


def _secret64(left: int, right: int) -> int:
    return _int(_SECRET[left : left + 8]) ^ _int(_SECRET[right : right + 8])


def _int(data: bytes) -> int:
    return int.from_bytes(data, "little")
