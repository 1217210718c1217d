"""Small real images, made with Pillow, and what surrounds them in the wild."""

from __future__ import annotations

import io
import random
import struct
from functools import lru_cache

from PIL import Image


def _encoded(form: str, mode: str = "RGB", **options: object) -> bytes:
    noise = random.Random(form).randbytes(24 * 16 * 3)
    picture = Image.frombytes("RGB", (24, 16), noise).convert(mode)
    target = io.BytesIO()
    picture.save(target, form, **options)
    return target.getvalue()


def _with_thumbnail(jpeg: bytes, thumbnail: bytes) -> bytes:
    """Returns the JPEG with an EXIF segment as cameras write it (TIFF 6, EXIF 2.3 §4.5.5)."""
    first = struct.pack("<HHHIHHI", 1, 0x0112, 3, 1, 1, 0, 8 + 2 + 12 + 4)
    second = struct.pack(
        "<H" + "HHII" * 3 + "I",
        3,
        *(0x0103, 3, 1, 6),
        *(0x0201, 4, 1, 8 + 18 + 2 + 36 + 4),
        *(0x0202, 4, 1, len(thumbnail)),
        0,
    )
    body = b"Exif\0\0II*\0" + struct.pack("<I", 8) + first + second + thumbnail
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + jpeg[2:]


@lru_cache
def samples() -> dict[str, bytes]:
    """One of each kind, whole and with nothing after its end."""
    jpeg = _encoded("JPEG", quality=40)
    return {
        "jpeg": jpeg,
        "jpeg grey": _encoded("JPEG", "L", quality=30),
        "jpeg with restart marks": _encoded("JPEG", quality=40, restart_marker_blocks=1),
        "jpeg with a comment": _encoded("JPEG", quality=40, comment=b"\xff\xd9 is no end here"),
        "jpeg progressive": _encoded("JPEG", quality=40, progressive=True),
        "jpeg with a thumbnail": _with_thumbnail(jpeg, _encoded("JPEG", quality=5)),
        "png": _encoded("PNG"),
        "png with palette": _encoded("PNG", "P"),
        "webp": _encoded("WEBP", quality=30),
        "webp lossless": _encoded("WEBP", lossless=True),
        "webp extended": _encoded("WEBP", "RGBA", exif=b"Exif\0\0II*\0\x08\0\0\0\0\0\0\0\0\0"),
    }


def media_type(name: str) -> str:
    """What a sample is sent as."""
    return "image/" + name.partition(" ")[0]


def foreign() -> dict[str, bytes]:
    """What is no JPEG, PNG or WebP, however it is named."""
    return {
        "gif": _encoded("GIF", "P"),
        "tiff": _encoded("TIFF"),
        "bmp": _encoded("BMP"),
        "ico": _encoded("ICO"),
        "avif": b"\0\0\0\x20ftypavif\0\0\0\0avifmif1miaf" + bytes(100),
        "wave": b"RIFF\x24\0\0\0WAVEfmt " + bytes(100),
        "pdf": b"%PDF-1.7\n" + bytes(100),
        "text": b"just some words, long enough to be taken for something",
        "html": b"<!doctype html><title>404</title><p>image/png",
        "one byte": b"\xff",
        "zeros": bytes(1000),
    }


def png_of(size: int) -> bytes:
    """A whole PNG of exactly so many bytes: what follows the end is accepted."""
    png = samples()["png"]
    return png + bytes(size - len(png))
