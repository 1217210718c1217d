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
    from rich.live import Live

_SECONDS_PER_FRAME = 0.25


class BatchDisplay:
    """A bar for all inputs, which disappears at the end; lines written `aside` stay. Or nothing.

    Entered before the first outcome, left after the last.

    Args:
        meter: what is shown.
        price: of an image.
        is_live: whether anything is shown.

    Attributes:
        is_live: the same.
    """

    def __init__(self, meter: Meter, price: Decimal | None, *, is_live: bool) -> None:
        self.is_live = is_live
        self._meter = meter
        self._price = price
        self._is_shown = False
        self._live: Live | None = self._made() if is_live else None

    def _made(self) -> Live:
        from rich.console import Console
        from rich.live import Live

        return Live(
            get_renderable=self.render,
            console=Console(stderr=True, markup=False, emoji=False, highlight=False),
            # Not from a thread of its own, which would look while the numbers change.
            auto_refresh=False,
            transient=True,
            # Paths belong on standard output, wherever that leads.
            redirect_stdout=False,
            redirect_stderr=False,
        )

    def __enter__(self) -> BatchDisplay:  # noqa: PYI034 - no Self before 3.11
        """Starts the display."""
        if self._live is not None:
            self._is_shown = True
            self._live.start(refresh=True)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Ends it."""
        self.close()

    def close(self) -> None:
        """Removes the bar, and shows the cursor again; may be called twice."""
        self._is_shown = False
        if self._live is not None:
            self._live.stop()

    @contextmanager
    def aside(self) -> Generator[None, None, None]:
        """Hides the bar inside the block."""
        if self._live is not None:
            self._live.stop()
        try:
            yield
        finally:
            if self._live is not None and self._is_shown:
                self._live.start(refresh=True)

    async def keep_fresh(self) -> None:
        """Draws the bar anew, a few times in a second, until it is closed or this is cancelled."""
        while self._live is not None and self._is_shown:
            self._live.refresh()
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
    return BatchDisplay(meter, price, is_live=not quiet and is_drawable())
