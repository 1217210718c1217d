"""How a gallery's page gets at its pictures: where they are, or as part of the page. Blocks."""

from __future__ import annotations

import base64
import io
import os
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator
from enum import Enum
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
# Firefox shows no data URL of more than 32 MiB, which is 24 MiB in Base64:
# https://developer.mozilla.org/en-US/docs/Web/URI/Reference/Schemes/data
_MOST_IN_URL = 24 * 1024 * 1024


class Absence(str, Enum):
    """Why a page does not show a picture; the values are those in the page."""

    GONE = "gone"
    """There is no such file."""
    UNREADABLE = "unreadable"
    """It cannot be read, or is no regular file."""
    OTHER = "other"
    """It is no JPEG, PNG or WebP."""
    LARGE = "large"
    """It is too large to be part of the page."""


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
    """Says what URL a page has for a picture, or why it has none.

    Args:
        page: the page's own path.
        embed: whether pictures become part of the page.

    Attributes:
        absent: how many have none, and why.
    """

    def __init__(self, page: Path, *, embed: bool) -> None:
        self._folder = os.path.abspath(page.parent)  # noqa: PTH100 - as typed: a browser follows no links
        self._embed = embed
        self.absent: Counter[Absence] = Counter()

    def __call__(self, path: Path) -> str | Absence:
        """Returns the URL, or why there is none."""
        try:
            found = self._url(path)
        except (
            FileNotFoundError,
            NotADirectoryError,
            ValueError,
        ):  # or no name that a file can have
            found = Absence.GONE
        except OSError:
            found = Absence.UNREADABLE
        if isinstance(found, Absence):
            self.absent[found] += 1
        return found

    def _url(self, path: Path) -> str | Absence:
        path.stat()
        if not path.is_file():
            return Absence.UNREADABLE
        with path.open("rb") as file:
            kind = formats.media_type(file.read(formats.HEAD_SIZE))
        if kind is None:
            return Absence.OTHER
        return _embedded(path, kind) if self._embed else self._reference(path)

    def _reference(self, path: Path) -> str:
        try:
            relative = os.path.relpath(path, self._folder)
        except ValueError:  # on another drive of Windows
            return path.absolute().as_uri()
        return quote(os.fsencode(relative.replace(os.sep, "/")))


def absences(absent: Counter[Absence]) -> Iterator[str]:
    """Yields how many pictures a page does not show, and why."""
    for why, one, many in (
        (Absence.GONE, "is gone", "are gone"),
        (Absence.UNREADABLE, "cannot be read", "cannot be read"),
        (Absence.OTHER, "is no JPEG, PNG or WebP", "are no JPEG, PNG or WebP"),
        (Absence.LARGE, "is too large to be part of the page", "are too large to be part of it"),
    ):
        if number := absent[why]:
            yield f"{number:,} {one if number == 1 else many}"


def _embedded(path: Path, kind: str) -> str | Absence:
    if not can_scale() and path.stat().st_size > _MOST_IN_URL:
        return Absence.LARGE
    data = path.read_bytes()
    if len(data) > _SMALL and (smaller := _scaled(data)) is not None:
        kind, data = formats.WEBP, smaller
    if len(data) > _MOST_IN_URL:
        return Absence.LARGE
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
