"""Pictures of any size, for clients that check what they send and receive."""

from __future__ import annotations

import random
import struct
import zlib

KB, MB = 1_000, 1_000_000


def png(size: int, seed: int | None = None) -> bytes:
    """Returns a PNG of exactly `size` bytes; the same for the same seed."""
    head = b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0))
    tail = _chunk(b"IDAT", zlib.compress(b"\0\0")) + _chunk(b"IEND", b"")
    filling = random.Random(seed).randbytes(size - len(head) - len(tail) - 12)
    return head + _chunk(b"prIv", filling) + tail


def sized(size: int) -> str:
    """Returns a size in words."""
    return f"{size // MB} MB" if size >= MB else f"{size // KB} KB"


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
