"""What a gallery shows: the inputs of a ledger, or the pictures of a folder. Blocks."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path, PurePath

import attrs

from chainhub_async.batch.facts import LedgerEntry
from chainhub_async.batch.reader import LedgerReader

_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp"}


@attrs.frozen(kw_only=True)
class GalleryItem:
    """One photo and its results.

    Attributes:
        name: what it is called.
        before: the photo, or None if it is in no file.
        after: the results.
        source: where the photo comes from.
        state: see `JobState`; None if it is not known.
        billed: see `Billed`; None if it is not known.
        images: how many images were asked for.
        options: what was sent besides the image, as pairs of name and value.
        error: why there is no result.
        request_id: the gateway's ID for the call.
        attempts: how often it was sent.
        updated_at: when its state changed last.
    """

    name: str
    before: Path | None = None
    after: tuple[Path, ...] = ()
    source: str = ""
    state: str | None = None
    billed: str | None = None
    images: int = 0
    options: tuple[tuple[str, str], ...] = ()
    error: str = ""
    request_id: str | None = None
    attempts: int = 0
    updated_at: str = ""


def of_ledger(path: Path) -> Iterator[GalleryItem]:
    """Yields the inputs of a ledger.

    Raises:
        LedgerError: it cannot be read.
    """
    with LedgerReader(path) as reader:
        yield from map(_of_entry, reader.entries())


def _of_entry(entry: LedgerEntry) -> GalleryItem:
    return GalleryItem(
        name=PurePath(entry.source).name or entry.stem or "image",
        before=Path(entry.source) if entry.source else None,
        after=tuple(map(Path, entry.saved)),
        source=entry.source,
        state=entry.state.value,
        billed=entry.billed.value,
        images=entry.images,
        options=entry.options,
        error=str(entry.error.get("message", "")),
        request_id=entry.request_id,
        attempts=entry.attempts,
        updated_at=entry.updated_at,
    )


def of_folder(folder: Path, before: Path | None) -> Iterator[GalleryItem]:
    """Yields the pictures of a folder, each with the photo of the same stem, if there is one.

    Args:
        folder: the results; or a folder that contains them in `after` and the photos in `before`.
        before: the folder of the photos.

    Raises:
        OSError: a folder cannot be read.
    """
    if before is None and (folder / "before").is_dir() and (folder / "after").is_dir():
        folder, before = folder / "after", folder / "before"
    photos = {path.stem: path for path in _pictures(before)} if before is not None else {}
    results: dict[str, list[Path]] = {stem: [] for stem in photos}
    for path in _pictures(folder):
        results.setdefault(_stem(path, photos), []).append(path)
    for stem in sorted(results, key=_natural):
        photo, after = photos.get(stem), tuple(results[stem])
        shown = photo or after[0]
        yield GalleryItem(
            name=shown.name,
            before=photo,
            after=after,
            source=str(photo or ""),
        )


def _stem(result: Path, photos: dict[str, Path]) -> str:
    """Returns the stem of a result's photo: several results of one are numbered."""
    bare = re.sub(r"-[1-8]$", "", result.stem)
    return bare if result.stem not in photos and bare in photos else result.stem


def _pictures(folder: Path) -> list[Path]:
    found = [path for path in folder.iterdir() if path.suffix.lower() in _SUFFIXES]
    shown = [path for path in found if not path.name.startswith(".") and path.is_file()]
    return sorted(shown, key=lambda path: _natural(path.name))


def _natural(name: str) -> list[tuple[int, str]]:
    """Sorts "2" before "10"."""
    return [
        (int(part), "") if part.isdecimal() else (-1, part.casefold())
        for part in re.split(r"(\d+)", name)
    ] + [(0, name)]
