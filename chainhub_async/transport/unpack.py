"""Unrequested compressed responses: size-limited, with truncation detected. Pure.

aiohttp accepts a gzip stream that ends early.
"""

from __future__ import annotations

import zlib

# zlib's own number for "gzip or zlib, by the first bytes".
_EITHER = 32 + zlib.MAX_WBITS


class UnpackError(ValueError):
    """The bytes are not what their `Content-Encoding` says, or end early."""


class Unpacker:
    """Decompresses one response (RFC 9110 §8.4).

    Args:
        encoding: the response's `Content-Encoding`.
    """

    def __init__(self, encoding: str | None) -> None:
        self._encoding = (encoding or "identity").strip().lower()
        if self._encoding == "identity":
            return
        self._inflate = zlib.decompressobj(_EITHER)
        if self._encoding not in {"gzip", "x-gzip", "deflate"}:
            raise UnpackError("its Content-Encoding is not supported")

    def feed(self, data: bytes, most: int) -> bytes:
        """Returns `data` decompressed, at most `most` bytes of it.

        Raises:
            UnpackError: it cannot be decompressed.
        """
        if self._encoding == "identity":
            return data
        # What follows the end would be kept by zlib without bound.
        if self._inflate.eof and data:
            raise UnpackError("its compressed stream is followed by more data")
        try:
            return self._inflate.decompress(data, most)
        except zlib.error as problem:
            raise UnpackError(f"its compressed data is invalid: {problem}") from None

    def end(self) -> None:
        """Checks that the end has been reached.

        Raises:
            UnpackError: the compressed stream is truncated.
        """
        if self._encoding != "identity" and not self._inflate.eof:
            raise UnpackError("its compressed stream ends early")
