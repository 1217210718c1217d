"""A flat PNG written with the standard library alone, for uploads that cannot be decoded."""

from __future__ import annotations

import hashlib
import struct
import zlib
from itertools import starmap

__all__ = ["flat_png"]


def flat_png(size: tuple[int, int], text: str) -> bytes:
    """Write a PNG of one colour.

    Args:
        size: Width and height in pixels, each at least 1.
        text: The colour is derived from it, so different text gives a different colour.

    Returns:
        The file's bytes.
    """
    width, height = size
    color = hashlib.sha256(text.encode()).digest()[:3]
    row = b"\x00" + color * width  # each row starts with its filter: none
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)  # 8 bits, RGB
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(row * height, 1)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(starmap(_chunk, chunks))


def _chunk(kind: bytes, data: bytes) -> bytes:
    checksum = zlib.crc32(kind + data)
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", checksum)
