"""What a batch is made of: folders, patterns, photos and manifests named on the command line."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import click

from chainhub_async.cli.batch_manifest import Manifest, ManifestError, is_manifest
from chainhub_async.cli.batch_results import Results, ledgers_of
from chainhub_async.errors import InvalidOptionError, printable
from chainhub_async.models import ReplaceBackground
from chainhub_async.resources import ideogram

_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp"}
_KINDS = "JPEG, PNG or WebP files (.jpg, .jpeg, .png, .webp)"
_DIGITS = re.compile("([0-9]+)")


@attrs.frozen(kw_only=True)
class Photos:
    """Calls with the same options.

    Attributes:
        paths: the photo of each.
        options: the options.
    """

    paths: Sequence[str]
    options: Mapping[str, Any]

    def __iter__(self) -> Iterator[ReplaceBackground]:
        for path in self.paths:
            yield ReplaceBackground(path, **self.options)


@attrs.frozen(kw_only=True)
class Inputs:
    """All calls of a batch; can be iterated over more than once.

    Attributes:
        parts: where they come from.
        total: how many they are.
        left_out: how many photos were found, but are results of an earlier run.
    """

    parts: Sequence[Photos | Manifest]
    total: int
    left_out: int

    def __iter__(self) -> Iterator[ReplaceBackground]:
        for part in self.parts:
            yield from part


def inputs_of(
    sources: Sequence[str], *, options: Mapping[str, Any], recursive: bool, results: Results
) -> Inputs:
    """Returns the calls for the sources, in their order; manifests are checked as a whole.

    Args:
        sources: as named on the command line.
        options: given there as well: those of photos, and the defaults of manifests.
        recursive: whether folders are searched with their subfolders.
        results: what is left out.

    Raises:
        click.UsageError: a source cannot be used.
        ManifestError: manifests cannot be used.
    """
    parts: list[Photos | Manifest] = []
    bad: list[str] = []
    found: set[Path] = set()
    total = left_out = 0
    for source in sources:
        path = Path(source)
        if is_manifest(path) and path.exists() and not path.is_dir():
            manifest = Manifest(path=path, defaults=options)
            try:
                total += manifest.check()
            except ManifestError as problem:
                bad.append(problem.message)
            parts.append(manifest)
            continue
        photos = _photos(source, recursive=recursive)
        new = [each for each in photos if each not in results]
        if path.is_dir() or not os.path.lexists(source):
            new = _originals(new)
        left_out += len(photos) - len(new)
        paths = list(_not_yet(found, new))
        total += len(paths)
        parts.append(Photos(paths=paths, options=options))
    if bad:
        raise ManifestError("\n".join(bad))
    if found:
        _check(options)
    if not total:
        raise click.UsageError("Every photo found is a result of an earlier run; nothing is left.")
    return Inputs(parts=parts, total=total, left_out=left_out)


def _originals(photos: list[str]) -> list[str]:
    """Returns those of the photos found by a search that are no results of other batches.

    A folder with nothing but results is meant.

    Raises:
        click.UsageError: it cannot be known which are results.
    """
    folders = {os.path.dirname(photo) for photo in photos}  # noqa: PTH120 - many
    earlier = Results.of({ledger for folder in folders for ledger in ledgers_of(folder)})
    return [photo for photo in photos if photo not in earlier] or photos


def _not_yet(found: set[Path], photos: Sequence[str]) -> Iterator[str]:
    """Yields those that no other source named."""
    for photo in photos:
        path = Path(photo).absolute()
        if path not in found:
            found.add(path)
            yield photo


def _check(options: Mapping[str, Any]) -> None:
    if "prompt" not in options:
        raise click.UsageError("Missing option '--prompt': only a manifest can have prompts.")
    try:
        call = ReplaceBackground("", **options)
        ideogram.checked_options(call)
    except InvalidOptionError as problem:
        raise click.UsageError(problem.message) from None


def _photos(source: str, *, recursive: bool) -> list[str]:
    path = Path(source)
    if path.is_dir():
        return _in_folder(source, recursive=recursive)
    if os.path.lexists(source):  # a link that leads nowhere is refused like what is no image
        return [source]
    shown = repr(printable(source, 300))
    if not glob.has_magic(source):
        raise click.UsageError(f"{shown} does not exist.")
    # `Path.glob` finds hidden files as well, and fewer of the others.
    matches = glob.iglob(source, recursive=True)  # noqa: PTH207 - see above
    found = [match for match in matches if _is_photo(Path(match))]
    if not found:
        raise click.UsageError(f"{shown} matches no {_KINDS}.")
    return sorted(found, key=natural)


def _in_folder(folder: str, *, recursive: bool) -> list[str]:
    try:
        found = list(_walk(folder, recursive=recursive))
    except OSError as problem:
        raise click.UsageError(
            f"{printable(problem.filename, 300)!r} cannot be searched: {problem.strerror}."
        ) from None
    if not found:
        hint = "" if recursive else "; --recursive searches its subfolders as well"
        raise click.UsageError(f"{printable(folder, 300)!r} contains no {_KINDS}{hint}.")
    return sorted(found, key=natural)


def _walk(folder: str, *, recursive: bool) -> Iterator[str]:
    for place, folders, files in os.walk(folder, onerror=_raise):
        # What stays in this list is searched next.
        folders[:] = [name for name in folders if recursive and not name.startswith(".")]
        for name in files:
            path = Path(place, name)
            if not name.startswith(".") and _is_photo(path):
                yield str(path)


def _is_photo(path: Path) -> bool:
    return path.suffix.lower() in _SUFFIXES and path.is_file()


def _raise(problem: OSError) -> None:
    raise problem


def natural(path: str) -> list[list[str | int]]:
    """Returns a key that sorts `p2` before `p10`, and `P3` between them."""
    # The path itself comes last, so that the order of names that differ only in case is settled.
    return [
        [int(part) if number % 2 else part for number, part in enumerate(_DIGITS.split(name))]
        for name in [*Path(path.casefold()).parts, path]
    ]
