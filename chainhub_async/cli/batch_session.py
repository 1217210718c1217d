"""One batch from start to end: client or emulator, plan, display, signals, exit code."""

from __future__ import annotations

from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import attrs

from chainhub_async.batch.facts import RunCosts
from chainhub_async.batch.front import AsyncBatch
from chainhub_async.batch.reader import LedgerReader
from chainhub_async.cli import batch_wording, exits, output
from chainhub_async.cli.batch_desk import BatchDesk, code_of_error
from chainhub_async.cli.batch_display import display_for
from chainhub_async.cli.batch_manifest import ManifestError
from chainhub_async.cli.batch_meter import Meter
from chainhub_async.cli.batch_plan import Forecast, Listing, forecast, looking
from chainhub_async.cli.batch_sources import Inputs
from chainhub_async.cli.hubs import hub_for
from chainhub_async.cli.interrupts import heeding
from chainhub_async.client import AsyncChainHub
from chainhub_async.config import Limits, Timeout
from chainhub_async.errors import ChainHubError, LedgerError

# Seconds that calls which are paid for get to end after the first signal.
_GRACE = 30.0


@attrs.frozen(kw_only=True)
class BatchSession:
    """What to do, and how.

    Attributes:
        inputs: the calls.
        directory: where images are saved.
        ledger: the ledger.
        settings: of the batch, besides these.
        base_url: the gateway's URL, or None for the environment's.
        emulated: use an emulator instead of the gateway.
        task_path: where tasks are polled, or None.
        timeout: timeouts of each call.
        limits: how many calls at a time.
        price: of an image.
        as_json: print lines of JSON.
        quiet: print messages only if something is wrong.
    """

    inputs: Inputs
    directory: Path
    ledger: Path
    settings: dict[str, Any]
    base_url: str | None
    emulated: bool
    task_path: str | None
    timeout: Timeout
    limits: Limits
    price: Decimal | None
    as_json: bool
    quiet: bool

    async def list_plan(self) -> int:
        """Prints what would be done, and returns the exit code of a run that goes well.

        Raises:
            ChainHubError: the ledger, or a setting, cannot be used.
            ManifestError: a manifest was changed meanwhile.
        """
        listing = Listing(as_json=self.as_json)
        found = await self._forecast(listing.print)
        stderr = output.stderr()
        if not self.quiet:
            stderr.line(f"Dry run, nothing was sent. {self.summary(found)}")
        if listing.problem is not None:
            stderr.line(f"Standard output is incomplete: {listing.problem}.")
            found.codes.add(exits.FAILED)
        return exits.of_many(found.codes)

    async def look(self) -> Forecast:
        """Returns what is to be expected of a run; raises as `list_plan`."""
        with looking(self.inputs.total) as on_each:
            return await self._forecast(on_each)

    def summary(self, found: Forecast) -> str:
        """Returns a forecast as a sentence."""
        return found.summary(self.price, self.settings["max_images"])

    async def _forecast(self, on_each: Any) -> Forecast:
        # Nothing is sent, so no key is needed.
        async with AsyncChainHub("not-sent", base_url=self.base_url) as hub:
            return await forecast(self.batch_of(hub, self.task_path), self.inputs, on_each)

    def batch_of(self, hub: AsyncChainHub, task_path: str | None) -> AsyncBatch:
        """Returns the batch, not yet open."""
        return hub.batch(
            ledger=self.ledger,
            save_to=self.directory,
            task_path=task_path,
            grace=_GRACE,
            **self.settings,
        )

    async def run(self) -> int:
        """Does the work and returns the exit code."""
        meter = Meter(total=self.inputs.total)
        display = display_for(meter, self.price, quiet=self.quiet)
        desk = BatchDesk(meter, display, self.directory, as_json=self.as_json, quiet=self.quiet)
        work = _Work(session=self, meter=meter, desk=desk)
        with heeding(work.stop, work.cut_off) as interruption, display:
            async with anyio.create_task_group() as group:
                group.start_soon(display.keep_fresh)
                await work.all()
                group.cancel_scope.cancel()
        desk.finish(self.ledger, self.price, emulated=self.emulated)
        if interruption.number is not None:
            return exits.of_signal(interruption.number)
        return desk.exit_code


@attrs.define(kw_only=True, eq=False)
class _Work:
    """The run itself, which a signal may stop."""

    session: BatchSession
    meter: Meter
    desk: BatchDesk
    _batch: AsyncBatch | None = attrs.field(default=None, init=False)
    _is_over: bool = attrs.field(default=False, init=False)
    _scope: anyio.CancelScope = attrs.field(factory=anyio.CancelScope, init=False)

    async def all(self) -> None:
        """Does all the work; what ends it early is told, and not raised."""
        try:
            with self._scope:
                await self._all()
        except ChainHubError as problem:
            self.desk.fail(problem.message, code_of_error(problem))
        except ManifestError as problem:
            self.desk.fail(problem.message, exits.FAILED)

    async def _all(self) -> None:
        session = self.session
        hub_of = partial(
            hub_for,
            emulated=session.emulated,
            base_url=session.base_url,
            task_path=session.task_path,
            timeout=session.timeout,
            limits=session.limits,
            on_event=self.meter.event,
        )
        async with hub_of() as (hub, task_path), session.batch_of(hub, task_path) as batch:
            self._batch = batch
            async for outcome in batch.run(session.inputs):
                self.desk.take(outcome)
                if batch.stopped is not None:
                    self.desk.tell_stop(batch.stopped)
            self._is_over = True

    def stop(self) -> None:
        """Starts nothing new; what is paid for gets the time to end."""
        batch = self._batch
        if self._is_over:
            return
        if batch is None:
            self._scope.cancel()
            return
        costs = self._costs()
        number = None if costs is None else costs.open_calls
        self.desk.tell_interruption(batch_wording.waiting(number, _GRACE))
        batch.stop()

    def cut_off(self) -> None:
        """Says the last words; called from a signal handler."""
        costs, batch, session = self._costs(), self._batch, self.session
        # What could not be recorded counts as well.
        spent = max(
            0 if costs is None else costs.images,
            0 if batch is None else batch.spent,
            self.meter.spent,
        )
        sentence = batch_wording.cut_off(
            spent,
            None if costs is None else spent - costs.saved,
            session.price,
            session.ledger,
            emulated=session.emulated,
        )
        self.desk.tell_end(sentence)

    def _costs(self) -> RunCosts | None:
        """Returns what the ledger knows of this run; None if it cannot be read."""
        if self._batch is None:
            return RunCosts()
        try:
            with LedgerReader(self.session.ledger) as reader:
                return reader.last_costs()
        except LedgerError:
            return None
