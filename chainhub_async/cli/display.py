"""Progress on standard error: none, or plain lines."""

from __future__ import annotations

import os
import sys
from collections.abc import Generator
from contextlib import contextmanager
from types import TracebackType

from chainhub_async.cli import output
from chainhub_async.cli.follower import Stage
from chainhub_async.cli.photos import Photo


class Display:
    """Shows nothing. Entered before the first photo, left after the last."""

    def __enter__(self) -> Display:  # noqa: PYI034 - no Self before 3.11
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def begin(self, photo: Photo) -> None:
        """A photo is started."""

    def advance(self, photo: Photo, stage: Stage, done: int, total: int | None) -> None:
        """A photo is at this stage, with so many of its bytes done."""

    def note(self, photo: Photo, text: str) -> None:
        """A photo is delayed, for this reason."""

    def end(self, photo: Photo) -> None:
        """A photo has ended, successfully or not."""

    def close(self) -> None:
        """Ends the display; may be called twice."""

    @contextmanager
    def aside(self) -> Generator[None, None, None]:
        """Hides the display while lines are written."""
        yield


class PlainDisplay(Display):
    """Writes a line whenever a photo reaches another stage."""

    def __init__(self) -> None:
        self._stderr = output.stderr()
        self._stages: dict[int, Stage] = {}

    def advance(self, photo: Photo, stage: Stage, done: int, total: int | None) -> None:
        """Writes a line if the stage is a new one."""
        del done
        # Without a live display, queueing is not worth a line.
        if stage is Stage.QUEUED or self._stages.get(photo.number) is stage:
            return
        self._stages[photo.number] = stage
        size = f" {total:,} bytes" if total and stage is not Stage.WAIT else ""
        self._stderr.line(f"{photo.shown}: {stage.value}{size}")

    def note(self, photo: Photo, text: str) -> None:
        """Writes the reason."""
        self._stderr.line(f"{photo.shown}: {text}")

    def end(self, photo: Photo) -> None:
        """Forgets the photo."""
        self._stages.pop(photo.number, None)


def display_for(photos: int, *, quiet: bool) -> Display:
    """Returns the display that suits standard error."""
    if quiet:
        return Display()
    # A terminal that cannot move its cursor gets lines, as a file does.
    if not output.is_terminal(sys.stderr) or os.environ.get("TERM") in {"dumb", "unknown"}:
        return PlainDisplay()
    from chainhub_async.cli.bars import BarDisplay

    return BarDisplay(photos)
