"""What all tests share."""

from __future__ import annotations

import os
import signal
import struct
import zlib

import pytest
from hypothesis import settings

# How long an example takes says more about the machine than about the code.
settings.register_profile("default", deadline=None)
settings.load_profile("default")

# Tests speak to this machine only, and what is set in the environment must not steer them.
for _name in list(os.environ):
    if _name.lower().endswith("_proxy") or _name.startswith("CHAINHUB_"):
        del os.environ[_name]

# A job in the background of a shell ignores Ctrl-C, and so would the programs that tests start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """Runs every asynchronous test on asyncio, the only one that aiohttp knows."""
    return "asyncio"


def png(size: int = 0, *, width: int = 8, height: int = 8, shade: int = 128) -> bytes:
    """Returns a real grey PNG, padded to `size` bytes by a chunk that decoders skip."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    rows = b"".join(b"\0" + bytes([shade]) * width for _ in range(height))
    head = b"\x89PNG\r\n\x1a\n" + chunk(
        b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    )
    tail = chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    padding = size - len(head) - len(tail) - 12
    return head + (chunk(b"prIv", os.urandom(padding)) if padding >= 0 else b"") + tail


@pytest.fixture
def photo(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The path of a small real PNG."""
    path = tmp_path_factory.mktemp("photo") / "cat.png"
    path.write_bytes(png(1000))
    return str(path)
