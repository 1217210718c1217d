"""Pictures to send."""

from __future__ import annotations

import os
import struct
import zlib
from functools import lru_cache


@lru_cache(maxsize=8)
def photo_of(size: int) -> bytes:
    """Returns a whole PNG of exactly so many bytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    head = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 8, 8, 8, 0, 0, 0, 0))
    rows = zlib.compress(b"".join(b"\0" + bytes(8) for _ in range(8)))
    tail = chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    return head + chunk(b"prIv", os.urandom(size - len(head) - len(tail) - 12)) + tail
