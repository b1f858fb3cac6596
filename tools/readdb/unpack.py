"""Decompression: LZ4 blocks and S2 blocks here, Zstandard with what the machine has."""

import functools

from basics import Cursor, Damage, need

NAMES = {0: "none", 1: "LZ4", 2: "Zstandard", 3: "S2"}


class Undecodable(Exception):
    """This machine cannot decompress the codec; the bytes were checked all the same."""


def unpack(codec, data, length):
    """Returns the length bytes that data decompresses to."""
    if codec == 0:
        out = bytes(data)
    elif codec == 1:
        out = _lz4(data)
    elif codec == 2:
        out = _zstd(data, length)
    elif codec == 3:
        out = _s2(data, length)
    else:
        raise Damage(f"codec {codec} does not exist")
    need(len(out) == length, f"{NAMES[codec]}: {len(out)} bytes come out, not {length}")
    return out


def _copy(out, offset, length):
    need(0 < offset <= len(out), f"a copy reaches {offset} bytes back, of {len(out)}")
    start = len(out) - offset
    while length > 0:
        piece = out[start:start + length]
        out += piece
        length -= len(piece)


def _lz4(data):
    src, out = Cursor(data), bytearray()

    def extended(n):
        if n == 15:
            b = 255
            while b == 255:
                b = src.u8()
                n += b
        return n

    while True:
        token = src.u8()
        out += src.take(extended(token >> 4))
        if src.done():
            return bytes(out)
        offset = src.u16()
        _copy(out, offset, extended(token & 15) + 4)


def _s2(data, expected):
    src, out, offset = Cursor(data), bytearray(), 0
    need(src.uvarint() == expected, "S2: the length in the block is not that of the page")
    while not src.done():
        tag = src.u8()
        form, length = tag & 3, tag >> 2
        if form == 0:
            if length >= 60:
                length = int.from_bytes(src.take(length - 59), "little")
            out += src.take(length + 1)
            continue
        if form == 1:
            length, near = length & 7, (tag & 0xE0) << 3 | src.u8()
            if near:
                offset = near
            elif length >= 5:  # a repeat of the last offset, whose length follows
                width = length - 4
                length = int.from_bytes(src.take(width), "little") + (4, 1 << 8, 1 << 16)[width - 1]
            length += 4
        else:
            length, offset = length + 1, src.u16() if form == 2 else src.u32()
        _copy(out, offset, length)
    return bytes(out)


@functools.cache
def _libzstd():
    import ctypes.util  # here, for it takes longer to load than most files to read
    name = ctypes.util.find_library("zstd")
    if not name:
        return None
    lib = ctypes.CDLL(name)
    lib.ZSTD_decompress.restype = ctypes.c_size_t
    return lib


def _zstd(data, length):
    import shutil
    import subprocess
    try:
        from compression import zstd  # Python 3.14
        return zstd.decompress(data)
    except ImportError:
        pass
    try:
        import zstandard
        return zstandard.ZstdDecompressor().decompress(data, max_output_size=length)
    except ImportError:
        pass
    if lib := _libzstd():
        import ctypes
        out = ctypes.create_string_buffer(length or 1)
        n = lib.ZSTD_decompress(out, ctypes.c_size_t(length), bytes(data), ctypes.c_size_t(len(data)))
        need(not lib.ZSTD_isError(ctypes.c_size_t(n)), "Zstandard: not a frame of the page's length")
        return out.raw[:n]
    if not shutil.which("zstd"):
        raise Undecodable("Zstandard: neither a module of Python, nor the library, nor the program zstd is here")
    done = subprocess.run(["zstd", "-dcq"], input=data, capture_output=True, check=False)
    need(done.returncode == 0, "Zstandard: " + done.stderr.decode(errors="replace").strip())
    return done.stdout
