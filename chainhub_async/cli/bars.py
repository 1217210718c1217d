"""Progress bars on a terminal: one for each photo in progress, and one for all of them."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Column

from chainhub_async.cli.display import Display
from chainhub_async.cli.follower import Stage
from chainhub_async.cli.photos import Photo


def _text(template: str, width: int) -> TextColumn:
    # Names may contain [brackets], which rich reads as markup by default.
    column = Column(no_wrap=True, overflow="ellipsis", max_width=width)
    return TextColumn(template, markup=False, table_column=column)


class BarDisplay(Display):
    """Shows bars, which disappear at the end; lines written `aside` stay.

    Args:
        photos: how many photos there are.
    """

    def __init__(self, photos: int) -> None:
        self._photos = photos
        self._rows: dict[int, TaskID] = {}
        self._closed = False
        self._progress = Progress(
            _text("{task.description}", 40),
            _text("{task.fields[stage]}", 30),
            BarColumn(bar_width=20),
            TimeElapsedColumn(),
            console=Console(stderr=True, markup=False, emoji=False, highlight=False),
            transient=True,
            # Paths belong on standard output, wherever that leads.
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._all = self._progress.add_task(
            f"{photos} photos", total=photos, stage="", visible=photos > 1
        )

    def __enter__(self) -> Display:
        """Starts the display."""
        self._progress.start()
        return self

    def begin(self, photo: Photo) -> None:
        """Adds a bar."""
        self._rows[photo.number] = self._progress.add_task(
            photo.shown, total=None, stage=Stage.QUEUED.value
        )

    def advance(self, photo: Photo, stage: Stage, done: int, total: int | None) -> None:
        """Updates a bar."""
        # While the gateway works nobody knows how long it will: the bar only pulses. That takes a
        # total of None, which `update` would read as "unchanged".
        row = self._rows[photo.number]
        known = None if stage is Stage.WAIT else total
        self._progress.update(row, completed=done, stage=stage.value)
        self._progress.tasks[self._progress.task_ids.index(row)].total = known

    def note(self, photo: Photo, text: str) -> None:
        """Shows the reason in place of the stage."""
        self._progress.update(self._rows[photo.number], stage=text)

    def end(self, photo: Photo) -> None:
        """Removes the bar."""
        self._progress.remove_task(self._rows.pop(photo.number))
        self._progress.update(self._all, advance=1)

    def close(self) -> None:
        """Removes all bars."""
        self._closed = True
        self._progress.stop()

    @contextmanager
    def aside(self) -> Generator[None, None, None]:
        """Hides the bars inside the block."""
        self._progress.stop()
        try:
            yield
        finally:
            if not self._closed:
                self._progress.start()
