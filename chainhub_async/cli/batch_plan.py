"""What a batch would do, found out without sending or writing anything."""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from decimal import Decimal

import attrs

from chainhub_async.batch.front import AsyncBatch
from chainhub_async.batch.jobs import PlanAction, PlannedJob
from chainhub_async.cli import batch_wording, exits, output
from chainhub_async.cli.batch_desk import code_of_error
from chainhub_async.cli.batch_display import is_drawable
from chainhub_async.cli.batch_sources import Inputs
from chainhub_async.cli.json_words import error_facts
from chainhub_async.cli.shown import shown_path
from chainhub_async.errors import Billed


@attrs.define(kw_only=True, eq=False)
class Forecast:
    """What is to be expected of a run.

    Attributes:
        counts: how many inputs would be treated how.
        images: how many images would be billed.
        again: how many of these did cost money before, or may have.
        codes: the exit codes of a run in which every call succeeds.
    """

    counts: Counter[PlanAction] = attrs.field(factory=Counter[PlanAction])
    images: int = 0
    again: Counter[Billed] = attrs.field(factory=Counter[Billed])
    codes: set[int] = attrs.field(factory=set[int])

    def take(self, planned: PlannedJob) -> None:
        """Counts an input."""
        self.counts[planned.action] += 1
        self.images += planned.images
        self.again[planned.billed] += planned.images
        if planned.action is PlanAction.HOLD:
            self.codes.add(exits.BILLED)
        elif planned.action is PlanAction.REFUSE:
            self.codes.add(code_of_error(planned.error))
        else:
            self.codes.add(exits.SAVED)

    def summary(self, price: Decimal | None, limit: int | None) -> str:
        """Returns it as a sentence."""
        return batch_wording.planned(self.counts, self.images, price, limit, self.again)


async def forecast(
    batch: AsyncBatch, inputs: Inputs, on_each: Callable[[PlannedJob], object]
) -> Forecast:
    """Looks at all inputs, and returns what is to be expected.

    Raises:
        LedgerError: the ledger cannot be read.
        ManifestError: a manifest was changed meanwhile.
    """
    found = Forecast()
    async for planned in batch.plan(inputs):
        found.take(planned)
        on_each(planned)
    return found


class Listing:
    """Prints plans on standard output.

    Args:
        as_json: as lines of JSON.
    """

    def __init__(self, *, as_json: bool) -> None:
        self._stdout = output.stdout()
        self._as_json = as_json
        self._on_terminal = output.is_terminal(sys.stdout)

    @property
    def problem(self) -> str | None:
        """Why it is incomplete."""
        return self._stdout.problem

    def print(self, planned: PlannedJob) -> None:
        """Prints a line."""
        self._stdout.line(self._line(planned))

    def _line(self, planned: PlannedJob) -> str | bytes:
        image = str(planned.request.image)
        error = planned.error
        if self._as_json:
            return json.dumps({
                "index": planned.index,
                "image": image,
                "action": planned.action.value,
                "key": planned.key,
                "images": planned.images,
                "billed": planned.billed.value,
                "error": None if error is None else error_facts(error),
            })  # fmt: skip
        told = batch_wording.plan_detail(planned)
        action = planned.action.value
        if self._on_terminal:
            return f"{action:<9}  {shown_path(image)}{'  →  ' if told else ''}{told}"
        # A program reads them: exactly the names.
        return os.fsencode(f"{action}\t{image}\t{told}")


def looking(total: int) -> AbstractContextManager[Callable[[PlannedJob], object]]:
    """Shows on a terminal how far looking at the inputs has come."""
    if not is_drawable():
        return nullcontext(lambda _: None)
    return _Looking(total)


class _Looking(AbstractContextManager[Callable[[PlannedJob], object]]):
    def __init__(self, total: int) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

        self._progress = Progress(
            TextColumn("looking at the photos"),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            console=Console(stderr=True, markup=False, emoji=False, highlight=False),
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._task = self._progress.add_task("", total=total)

    def __enter__(self) -> Callable[[PlannedJob], object]:
        self._progress.start()
        return lambda _: self._progress.advance(self._task)

    def __exit__(self, *_: object) -> None:
        self._progress.stop()
