"""Recognises JPEG, PNG and WebP by content, and detects truncated files. No decoding."""

from __future__ import annotations

from typing import BinaryIO

JPEG = "image/jpeg"
PNG = "image/png"
WEBP = "image/webp"

SUFFIXES = {JPEG: ".jpg", PNG: ".png", WEBP: ".webp"}
HEAD_SIZE = 16

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_STEP = 256 * 1024
# Cameras write a few hundred, and 64 MiB of PNG are 8192 chunks as most encoders cut them; a file
# made of empty ones alone would take seconds to walk.
_MOST_SEGMENTS = 50_000
# Walked in less time than a thread takes to wake up.
_FEW_SEGMENTS = 100
# ITU T.81 table B.1: C0 to CF but for DHT, JPG and DAC; B.2.2: 8 bytes, and 3 per component.
_SOF = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_SHORTEST_SOF = 11


def media_type(head: bytes) -> str | None:
    """Returns the media type that `head`, at least the first 16 bytes, belongs to, or None."""
    if head.startswith(b"\xff\xd8\xff"):
        return JPEG
    if head.startswith(_PNG_SIGNATURE):
        return PNG
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return WEBP
    return None


def is_whole(file: BinaryIO, start: int, size: int, *, quick: bool = False) -> bool:
    """Returns whether the image of `size` bytes at `start` reaches its own end marker.

    Only the structure is walked: bytes that follow the image, as cameras and phones append, are
    accepted; an image that ends before its end marker is not.

    Args:
        file: contains the image.
        start: where it starts.
        size: how many bytes it has.
        quick: do only what takes no time; what would take longer counts as not whole.
    """
    most = _FEW_SEGMENTS if quick else _MOST_SEGMENTS
    file.seek(start)
    kind = media_type(file.read(HEAD_SIZE))
    if kind == JPEG:
        return _jpeg_is_whole(file, start, size, most, search=not quick)
    if kind == PNG:
        return _png_is_whole(file, start, size, most)
    return kind == WEBP and _webp_is_whole(file, start, size)


def _webp_is_whole(file: BinaryIO, start: int, size: int) -> bool:
    # RIFF: the length at offset 4 counts everything after itself.
    file.seek(start + 4)
    length = int.from_bytes(file.read(4), "little")
    # Less than one chunk header after "WEBP" is no picture.
    return length >= 12 and length + 8 <= size


def _png_is_whole(file: BinaryIO, start: int, size: int, most: int) -> bool:
    # PNG (RFC 2083 §3.2, §4.1): chunks of length, type, data and CRC. The first is IHDR, of 13
    # bytes; the picture is in IDAT; the last is IEND.
    at, has_picture = len(_PNG_SIGNATURE), False
    for number in range(most):
        file.seek(start + at)
        header = file.read(8)
        length = int.from_bytes(header[:4], "big")
        at += 12 + length
        if at > size or (number == 0 and header != b"\0\0\0\rIHDR"):
            return False
        if header[4:] == b"IEND":
            return has_picture
        has_picture = has_picture or (header[4:] == b"IDAT" and length > 0)
    return False


def _jpeg_is_whole(file: BinaryIO, start: int, size: int, most: int, *, search: bool) -> bool:
    scan = _jpeg_scan_start(file, start, size, most)
    if scan is None:
        return False
    if size - 2 >= scan:
        file.seek(start + size - 2)
        if file.read(2) == b"\xff\xd9":
            return True
    return search and _jpeg_has_end(file, start, scan, size)


def _jpeg_scan_start(file: BinaryIO, start: int, size: int, most: int) -> int | None:
    # ITU T.81 B.1.1: segments of marker and length lead to SOS (FFDA). A thumbnail inside one of
    # them has an end mark of its own, which is why they are stepped over. One before SOS is SOFn,
    # the picture's size.
    at, has_frame = 2, False
    for _ in range(most):
        file.seek(start + at)
        header = file.read(min(4, max(size - at, 0)))
        if len(header) < 4 or header[0] != 0xFF:
            return None
        if header[1] == 0xFF or header[1] == 0x01 or 0xD0 <= header[1] <= 0xD7:
            at += 1 if header[1] == 0xFF else 2  # a fill byte, or a marker without length
            continue
        length = int.from_bytes(header[2:], "big")
        if length < 2 or header[1] == 0xD9:
            return None
        at += 2 + length
        if header[1] == 0xDA:
            return at if has_frame else None
        has_frame = has_frame or (header[1] in _SOF and length >= _SHORTEST_SOF)
    return None


def _jpeg_has_end(file: BinaryIO, start: int, scan: int, size: int) -> bool:
    # Inside a scan FF is followed by 00 or a restart mark, so the first FFD9 ends the picture.
    # Tables between the scans of a progressive picture hold it too rarely to matter here.
    file.seek(start + scan)
    left, seam = size - scan, b""
    while left > 0:
        step = file.read(min(_STEP, left))
        if not step:
            return False
        if b"\xff\xd9" in seam + step:
            return True
        seam, left = step[-1:], left - len(step)
    return False
