"""A key, a small image, and one of any size."""

from __future__ import annotations

import struct
import zlib

KEY = "sk-options-0123456789"


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


PNG = (
    b"\x89PNG\r\n\x1a\n"
    + _chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0))
    + _chunk(b"IDAT", zlib.compress(b"\0\0"))
    + _chunk(b"IEND", b"")
)


def png_of(size: int) -> bytes:
    """A whole PNG of exactly so many bytes: what follows the end is accepted."""
    return PNG + bytes(size - len(PNG))
