"""The alphabet of the format: damage, bytes, checksums and hashes.

Written from docs/FORMAT.md, without the Go code, so that each checks the other.
"""

import struct

MASK64 = (1 << 64) - 1

LOG, TABLE, VALUES, MANIFEST, CURRENT, PACK = 1, 2, 3, 4, 5, 9  # types of files

DELETE, PUT, PUT_APART, MERGE, SINGLE, RANGE, PUT_EXPIRY, APART_EXPIRY = range(8)
EXPIRING = (PUT_EXPIRY, APART_EXPIRY)
APART = (PUT_APART, APART_EXPIRY)


class Damage(Exception):
    """Says what is wrong with a file; the caller adds the file's name."""


def need(ok, what):
    """Raises Damage unless ok."""
    if not ok:
        raise Damage(what)


class Cursor:
    """Reads a string of bytes from front to back, and never past its end."""

    def __init__(self, data, at=0):
        self.data, self.at = data, at

    def take(self, n):
        need(0 <= n <= len(self.data) - self.at, f"{n} bytes expected at {self.at} of {len(self.data)}")
        self.at += n
        return self.data[self.at - n:self.at]

    def u8(self):
        return self.take(1)[0]

    def u16(self):
        return int.from_bytes(self.take(2), "little")

    def u32(self):
        return int.from_bytes(self.take(4), "little")

    def u64(self):
        return int.from_bytes(self.take(8), "little")

    def uvarint(self):
        value = shift = 0
        while True:
            b = self.u8()
            value |= (b & 127) << shift
            if b < 128:
                need(value <= MASK64, "a number of more than 64 bits")
                return value
            shift += 7

    def string(self):
        return self.take(self.uvarint())

    def array(self, n, width):
        """Reads n integers of so many bytes each; a width of 0 makes zeros."""
        if width == 0:
            return [0] * n
        raw = self.take(n * width)
        return list(struct.unpack("<%d%s" % (n, {1: "B", 2: "H", 4: "I", 8: "Q"}[width]), raw))

    def done(self):
        return self.at == len(self.data)


def _castagnoli():
    table = []
    for i in range(256):
        for _ in range(8):
            i = i >> 1 ^ (0x82F63B78 if i & 1 else 0)
        table.append(i)
    return table


_CRC = _castagnoli()


def crc32c(data, start=0):
    """Returns the CRC-32C of data, going on from the CRC-32C `start` of what came before."""
    crc, table = start ^ 0xFFFFFFFF, _CRC
    for b in data:
        crc = table[(crc ^ b) & 255] ^ crc >> 8
    return crc ^ 0xFFFFFFFF


def _mix(z):
    z = z + 0x9E3779B97F4A7C15 & MASK64
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 & MASK64
    z = (z ^ z >> 27) * 0x94D049BB133111EB & MASK64
    return z ^ z >> 31


class Identity:
    """What a file is, which every one of its checksums depends on."""

    def __init__(self, database, kind, number, incarnation=0):
        state = _mix(database ^ kind << 56)
        if incarnation:
            state = _mix(state ^ incarnation)
        self.state = _mix(state ^ number)

    def checksum(self, offset, data):
        return crc32c(data, _mix(self.state ^ offset) & 0xFFFFFFFF)


_SECRET = bytes.fromhex(
    "b8fe6c3923a44bbe7c01812cf721ad1cded46de9839097db7240a4a4b7b3671fcb79e64eccc0e578825ad07dccff7221"
    "b8084674f743248ee03590e6813a264c3c2852bb91c300cb88d0658b1b532ea371644897a20df94e3819ef46a9deacd8"
    "a8fa763fe39c343ff9dcbbc7c70b4f1d8a51e04bcdb45931c89f7ec9d9787364eac5ac8334d3ebc3c581a0fffa1363eb"
    "170ddd51b7f0da49d316552629d4689e2b16be587d47a1fc8ff8b8d17ad031ce45cb3a8f95160428afd7fbcabb4b407e")
_P32 = (0x9E3779B1, 0x85EBCA77, 0xC2B2AE3D)
_P64 = (0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0x85EBCA77C2B2AE63, 0x27D4EB2F165667C5)


def _u32(b, i):
    return int.from_bytes(b[i:i + 4], "little")


def _u64(b, i):
    return int.from_bytes(b[i:i + 8], "little")


def _fold(a, b):
    p = a * b
    return (p ^ p >> 64) & MASK64


def _avalanche(h):
    h = (h ^ h >> 37) * 0x165667919E3779F9 & MASK64
    return h ^ h >> 32


def _avalanche64(h):
    h = (h ^ h >> 33) * _P64[1] & MASK64
    h = (h ^ h >> 29) * _P64[2] & MASK64
    return h ^ h >> 32


def _mix16(b, i, secret):
    return _fold(_u64(b, i) ^ _u64(_SECRET, secret), _u64(b, i + 8) ^ _u64(_SECRET, secret + 8))


def xxh3(b):
    """Returns the 64-bit XXH3 of b, seed 0."""
    n = len(b)
    if n == 0:
        return _avalanche64(_u64(_SECRET, 56) ^ _u64(_SECRET, 64))
    if n <= 3:
        mixed = b[0] << 16 | b[n >> 1] << 24 | b[-1] | n << 8
        return _avalanche64(mixed ^ _u32(_SECRET, 0) ^ _u32(_SECRET, 4))
    if n <= 8:
        h = (_u32(b, n - 4) + (_u32(b, 0) << 32)) ^ _u64(_SECRET, 8) ^ _u64(_SECRET, 16)
        h ^= (h << 49 | h >> 15) & MASK64 ^ (h << 24 | h >> 40) & MASK64
        h = h * 0x9FB21C651E98DF25 & MASK64
        h = (h ^ (h >> 35) + n) * 0x9FB21C651E98DF25 & MASK64
        return h ^ h >> 28
    if n <= 16:
        lo = _u64(b, 0) ^ _u64(_SECRET, 24) ^ _u64(_SECRET, 32)
        hi = _u64(b, n - 8) ^ _u64(_SECRET, 40) ^ _u64(_SECRET, 48)
        swapped = int.from_bytes(lo.to_bytes(8, "little"), "big")
        return _avalanche((n + swapped + hi + _fold(lo, hi)) & MASK64)
    if n <= 128:
        acc = n * _P64[0]
        for i in range((n - 1) // 32, -1, -1):
            acc += _mix16(b, 16 * i, 32 * i) + _mix16(b, n - 16 * (i + 1), 32 * i + 16)
        return _avalanche(acc & MASK64)
    if n <= 240:
        acc = n * _P64[0]
        for i in range(8):
            acc += _mix16(b, 16 * i, 16 * i)
        acc = _avalanche(acc & MASK64)
        for i in range(8, n // 16):
            acc += _mix16(b, 16 * i, 16 * (i - 8) + 3)
        return _avalanche(acc + _mix16(b, n - 16, 136 - 17) & MASK64)
    return _xxh3_long(b)


def _accumulate(acc, b, at, secret):
    for i in range(8):
        v = _u64(b, at + 8 * i)
        k = v ^ _u64(_SECRET, secret + 8 * i)
        acc[i ^ 1] = acc[i ^ 1] + v & MASK64
        acc[i] = acc[i] + (k & 0xFFFFFFFF) * (k >> 32) & MASK64


def _xxh3_long(b):
    acc = [_P32[2], _P64[0], _P64[1], _P64[2], _P64[3], _P32[1], _P64[4], _P32[0]]
    n, stripes = len(b), (len(_SECRET) - 64) // 8
    block = 64 * stripes
    blocks = (n - 1) // block
    for i in range(blocks):
        for s in range(stripes):
            _accumulate(acc, b, i * block + 64 * s, 8 * s)
        for j in range(8):
            a = acc[j]
            acc[j] = (a ^ a >> 47 ^ _u64(_SECRET, len(_SECRET) - 64 + 8 * j)) * _P32[0] & MASK64
    for s in range((n - 1 - blocks * block) // 64):
        _accumulate(acc, b, blocks * block + 64 * s, 8 * s)
    _accumulate(acc, b, n - 64, len(_SECRET) - 64 - 7)
    h = n * _P64[0]
    for i in range(4):
        h += _fold(acc[2 * i] ^ _u64(_SECRET, 11 + 16 * i), acc[2 * i + 1] ^ _u64(_SECRET, 19 + 16 * i))
    return _avalanche(h & MASK64)
