"""`chainhub gallery`: writes a page that shows a batch's results beside the photos."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from chainhub_async._version import __version__
from chainhub_async.cli import output
from chainhub_async.cli.problems import Failed
from chainhub_async.cli.shown import shown_path
from chainhub_async.errors import LedgerError, printable

if TYPE_CHECKING:
    from chainhub_async.cli.gallery_items import GalleryItem


@click.command("gallery")
@click.argument("shown", metavar="LEDGER|DIR", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    "page",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    default="gallery.html",
    show_default=True,
    help="The page. Only one that this command wrote is replaced.",
)
@click.option("--title", help="The page's heading. Default: the name of LEDGER or DIR.")
@click.option(
    "--before",
    metavar="DIR",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="With DIR: the folder of the photos, matched by name. Default: if DIR contains before and "
    "after, those.",
)
@click.option(
    "--embed/--refer",
    default=None,
    help="Make the pictures, scaled down, part of the page, so that it can be sent as one file; or "
    "refer to them where they are. Default: embed them if they are few.",
)
def command(
    shown: Path, page: Path, title: str | None, before: Path | None, *, embed: bool | None
) -> None:
    """Write an HTML page with the photos and results of a batch, or the pictures of a folder.

    It shows before and after, states, prompts and errors, and can be searched and filtered. It
    needs no network. Nothing is sent, and the ledger is only read. The page's path is printed on
    standard output.
    """
    from chainhub_async.cli import gallery_page, gallery_pictures, whole_file

    is_folder = shown.is_dir()
    if before is not None and not is_folder:
        raise click.UsageError("--before goes with a folder; a ledger knows its photos.")
    _check_page(page)
    items = partial(_items, shown, before if is_folder else None)
    try:
        if embed is None:
            embed = gallery_pictures.are_few(items())
        pictures = gallery_pictures.Pictures(page, embed=embed)
        whole_file.write(
            page,
            gallery_page.render(
                items(),
                pictures,
                title=title or shown.resolve().stem,
                foot=f"Made on {datetime.now():%d %B %Y} by chainhub-async {__version__}.",  # noqa: DTZ005 - the reader's day
            ),
        )
    except LedgerError as problem:
        raise Failed(problem.message) from None
    _tell(page, embed=embed, absent=list(gallery_pictures.absences(pictures.absent)))


def _items(shown: Path, before: Path | None) -> Iterator[GalleryItem]:
    from chainhub_async.cli import gallery_items

    if not shown.is_dir():
        yield from gallery_items.of_ledger(shown)
        return
    try:
        yield from gallery_items.of_folder(shown, before)
    except OSError as problem:
        raise Failed(f"{printable(shown)!r} cannot be read: {problem.strerror}.") from None


def _check_page(page: Path) -> None:
    from chainhub_async.cli.gallery_page import is_gallery

    try:
        if page.exists() and not is_gallery(page):
            raise click.UsageError(
                f"{str(page)!r} exists and is not a gallery; choose another name with -o."
            )
        page.parent.mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        raise Failed(f"{printable(page)!r} cannot be written: {problem.strerror}.") from None


def _tell(page: Path, *, embed: bool, absent: Sequence[str]) -> None:
    stdout, stderr = output.stdout(), output.stderr()
    stdout.line(shown_path(page) if output.is_terminal(sys.stdout) else os.fsencode(page))
    size = page.stat().st_size / 1e6
    stderr.line(
        f"The pictures are part of the page ({size:.1f} MB), which can be sent as one file."
        if embed
        else "The page refers to the pictures: keep them where they are, or use --embed."
    )
    if absent:
        stderr.line(f"Files that are not shown: {', '.join(absent)}. The page says which.")
