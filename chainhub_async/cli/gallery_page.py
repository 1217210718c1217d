"""The gallery's page: one HTML file that needs nothing else, and asks no network for anything.

Its entries are JSON in the page, which a script shows some dozens at a time; nothing from a ledger
is ever read as HTML or as a script.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
from collections.abc import Callable, Iterable, Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

from chainhub_async.cli.gallery_items import GalleryItem
from chainhub_async.cli.gallery_pictures import Absence

MARKER = "<!doctype html>\n<!-- Made by `chainhub gallery`, which may replace this file. -->\n"

Show = Callable[[Path], str | Absence]
"""Returns the URL of a picture, or why it is not shown."""


def render(items: Iterable[GalleryItem], show: Show, *, title: str, foot: str) -> Iterator[str]:
    """Yields the page in pieces.

    Args:
        items: what it shows.
        show: says how the page gets at a picture.
        title: its heading.
        foot: its last line.
    """
    style, script = _part("css"), _part("js")
    policy = (
        f"default-src 'none'; style-src {_hash(style)}; script-src {_hash(script)}; "
        # Pictures may lie beside the page wherever it is opened from, or be part of it.
        "img-src 'self' file: data:; base-uri 'none'; form-action 'none'"
    )
    yield MARKER
    yield (
        '<html lang="en">\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="referrer" content="no-referrer">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>{html.escape(title)}</title>\n<style>{style}</style>\n"
    )
    yield _part("html")
    yield '<script type="application/json" id="data">'
    yield from _data(items, show, {"title": title, "foot": foot})
    yield f"</script>\n<script>{script}</script>\n"


def is_gallery(path: Path) -> bool:
    """Returns whether a file was made here, and so may be replaced. Blocks."""
    with path.open("rb") as file:
        return file.read(len(MARKER)) == MARKER.encode()


def _data(items: Iterable[GalleryItem], show: Show, told: dict[str, str]) -> Iterator[str]:
    # Thousands of items mostly share their options.
    options: dict[tuple[tuple[str, str], ...], int] = {}
    before = '{"items":['
    for item in items:
        number = options.setdefault(item.options, len(options))
        yield before + _json(_entry(item, show) | {"o": number})
        before = ",\n"
    yield "]," if options else '{"items":[],'
    yield _json(told | {"options": list(options)})[1:]


def _entry(item: GalleryItem, show: Show) -> dict[str, Any]:
    entry = {
        "name": item.name,
        "source": item.source,
        "state": item.state,
        "error": item.error,
        "billed": item.billed,
        "images": item.images,
        "id": item.request_id,
        "attempts": item.attempts,
        "updated": item.updated_at,
    }
    told = {name: value for name, value in entry.items() if value}
    before = None if item.before is None else _picture(item.before, show)
    return told | {"before": before, "after": [_picture(path, show) for path in item.after]}


def _picture(path: Path, show: Show) -> dict[str, object]:
    url = show(path)
    shown = {"absent": url.value} if isinstance(url, Absence) else {"src": url}
    return {"path": str(path), **shown}


def _json(value: object) -> str:
    # An end tag, or the start of a comment, would end the element around it.
    return json.dumps(value, separators=(",", ":")).replace("<", "\\u003c")


def _part(suffix: str) -> str:
    return (files("chainhub_async.cli") / f"gallery_page.{suffix}").read_text("utf-8")


def _hash(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"
