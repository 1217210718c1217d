"""Progress of a batch on standard error: a bar with counts, speed and pauses, or nothing."""

from __future__ import annotations

import os
import sys
from collections.abc import Generator
from contextlib import contextmanager
from decimal import Decimal
from types import TracebackType
from typing import TYPE_CHECKING

import anyio

from chainhub_async.cli import batch_wording, output
from chainhub_async.cli.batch_meter import Meter

if TYPE_CHECKING:
    from rich.console import RenderableType

_SECONDS_PER_FRAME = 0.25


class BatchDisplay:
    """Shows nothing. Entered before the first outcome, left after the last.

    Attributes:
        is_live: whether something is shown that tells of what goes well.
    """

    is_live = False

    def __enter__(self) -> BatchDisplay:  # noqa: PYI034 - no Self before 3.11
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends the display; may be called twice."""

    @contextmanager
    def aside(self) -> Generator[None, None, None]:
        """Hides the display while lines are written."""
        yield

    async def keep_fresh(self) -> None:
        """Shows what has changed, until cancelled."""


class LiveDisplay(BatchDisplay):
    """Shows a bar for all inputs, which disappears at the end; lines written `aside` stay.

    Args:
        meter: what is shown.
        price: of an image.
    """

    is_live = True

    def __init__(self, meter: Meter, price: Decimal | None) -> None:
        from rich.console import Console
        from rich.live import Live

        self._meter = meter
        self._price = price
        self._closed = False
        self.live: Live = Live(
            get_renderable=self.render,
            console=Console(stderr=True, markup=False, emoji=False, highlight=False),
            # Not from a thread of its own, which would look while the numbers change.
            auto_refresh=False,
            transient=True,
            # Paths belong on standard output, wherever that leads.
            redirect_stdout=False,
            redirect_stderr=False,
        )

    def __enter__(self) -> BatchDisplay:
        """Starts the display."""
        self.live.start(refresh=True)
        return self

    def close(self) -> None:
        """Removes the bar, and shows the cursor again."""
        self._closed = True
        self.live.stop()

    @contextmanager
    def aside(self) -> Generator[None, None, None]:
        """Hides the bar inside the block."""
        self.live.stop()
        try:
            yield
        finally:
            if not self._closed:
                self.live.start(refresh=True)

    async def keep_fresh(self) -> None:
        """Draws the bar anew, a few times in a second."""
        while not self._closed:
            self.live.refresh()
            await anyio.sleep(_SECONDS_PER_FRAME)

    def render(self) -> RenderableType:
        """Returns what is shown."""
        from rich.console import Group
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        meter = self._meter
        row = Table.grid(padding=(0, 1))
        row.add_column(no_wrap=True)
        row.add_column(no_wrap=True)
        row.add_column(no_wrap=True, overflow="ellipsis")
        row.add_row(
            ProgressBar(total=max(1, meter.total), completed=meter.done, width=30),
            f"{meter.done:,}/{meter.total:,}",
            batch_wording.speed(meter),
        )
        below = batch_wording.progress(meter, self._price)
        return Group(row, *(Text(line, no_wrap=True, overflow="ellipsis") for line in below))


def is_drawable() -> bool:
    """Returns whether standard error is a terminal that can move its cursor."""
    return output.is_terminal(sys.stderr) and os.environ.get("TERM") not in {"dumb", "unknown"}


def display_for(meter: Meter, price: Decimal | None, *, quiet: bool) -> BatchDisplay:
    """Returns the display that suits standard error."""
    if quiet or not is_drawable():
        return BatchDisplay()
    return LiveDisplay(meter, price)
