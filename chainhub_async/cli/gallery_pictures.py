"""How a gallery's page gets at its pictures: where they are, or as part of the page. Blocks."""

from __future__ import annotations

import base64
import io
import os
import warnings
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote

from chainhub_async import formats
from chainhub_async.cli.gallery_items import GalleryItem

# With about 150 kB each, a page of 10 MB: mail programs still take it.
_MOST_EMBEDDED = 60
_MOST_BYTES = 16 * 1024 * 1024
# Sharp on a large screen.
_LONGEST_SIDE = 1600
_SMALL = 150_000


def are_few(items: Iterable[GalleryItem]) -> bool:
    """Returns whether all pictures can be part of the page without making it unwieldy."""
    number = size = 0
    for item in items:
        for path in (*((item.before,) if item.before else ()), *item.after):
            number += 1
            size += _size(path)
            if number > _MOST_EMBEDDED or (size > _MOST_BYTES and not can_scale()):
                return False
    return True


def can_scale() -> bool:
    """Returns whether pictures can be embedded smaller than they are."""
    return find_spec("PIL") is not None


class Pictures:
    """Says what URL a page has for a picture, or None for one that is missing.

    Args:
        page: the page's own path.
        embed: whether pictures become part of the page.

    Attributes:
        missing: how many were missing.
    """

    def __init__(self, page: Path, *, embed: bool) -> None:
        self._folder = os.path.abspath(page.parent)  # noqa: PTH100 - as typed: a browser follows no links
        self._embed = embed
        self.missing: int = 0

    def __call__(self, path: Path) -> str | None:
        """Returns the URL, or None."""
        try:
            if path.is_file():
                return _embedded(path) if self._embed else self._reference(path)
        except (OSError, ValueError):
            pass
        self.missing += 1
        return None

    def _reference(self, path: Path) -> str:
        try:
            relative = os.path.relpath(path, self._folder)
        except ValueError:  # on another drive of Windows
            return path.absolute().as_uri()
        return quote(os.fsencode(relative.replace(os.sep, "/")))


def _embedded(path: Path) -> str | None:
    data = path.read_bytes()
    kind = formats.media_type(data[: formats.HEAD_SIZE])
    if kind is None:
        raise ValueError("not a picture")
    if len(data) > _SMALL and (smaller := _scaled(data)) is not None:
        kind, data = formats.WEBP, smaller
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def _scaled(data: bytes) -> bytes | None:
    """Returns a smaller copy as WebP, or None if there is none."""
    if not can_scale():
        return None
    from PIL import Image, ImageOps

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            with Image.open(io.BytesIO(data)) as opened:
                opened.draft(None, (_LONGEST_SIDE, _LONGEST_SIDE))
                image = ImageOps.exif_transpose(opened)
            image.thumbnail((_LONGEST_SIDE, _LONGEST_SIDE))
            has_alpha = "A" in image.getbands() or "transparency" in image.info
            copy = io.BytesIO()
            image.convert("RGBA" if has_alpha else "RGB").save(
                copy, "WEBP", quality=82, icc_profile=image.info.get("icc_profile")
            )
    except Exception:
        # Pillow raises all kinds; the picture as it is may still be shown.
        return None
    return copy.getvalue() if copy.tell() < len(data) else None


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except (OSError, ValueError):
        return 0
