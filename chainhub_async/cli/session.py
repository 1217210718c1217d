"""One run from start to end: client or emulator, display, signals, exit code."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager

import attrs

from chainhub_async.cli import exits
from chainhub_async.cli.desk import Desk
from chainhub_async.cli.display import display_for
from chainhub_async.cli.hubs import hub_for
from chainhub_async.cli.interrupts import interruptible
from chainhub_async.cli.photos import Photo
from chainhub_async.cli.run import Order, Run
from chainhub_async.client import AsyncChainHub
from chainhub_async.config import Limits, Timeout
from chainhub_async.transport.retry import RetryPolicy


@attrs.frozen(kw_only=True)
class Session:
    """How to process the photos.

    Attributes:
        order: what is done with each.
        base_url: the gateway's URL, or None for the environment's.
        emulated: use an emulator instead of the gateway.
        timeout: timeouts of each call.
        in_flight: images being made at the same time.
        as_json: see `Desk`.
        quiet: print messages only if something is wrong.
    """

    order: Order
    base_url: str | None = None
    emulated: bool = False
    timeout: Timeout
    in_flight: int
    as_json: bool = False
    quiet: bool = False

    async def work(self, photos: Sequence[Photo]) -> int:
        """Processes the photos and returns the exit code.

        Raises:
            ConfigurationError: the client cannot be created; nothing was sent.
        """
        display = display_for(len(photos), quiet=self.quiet)
        desk = Desk(display, as_json=self.as_json)
        with interruptible(desk.interrupt) as interruption:
            async with self._hub() as (hub, task_path):
                order = attrs.evolve(self.order, task_path=task_path)
                run = Run(hub=hub, order=order, display=display, report=desk.take)
                with display:
                    await run.all(photos, self._workers())
        desk.finish(quiet=self.quiet)
        if interruption.number is not None:
            return exits.of_signal(interruption.number)
        return desk.exit_code

    def _workers(self) -> int:
        # More would only wait for each other: each counts once for every image it makes.
        images: int = self.order.options.get("num_images", 1)
        return max(1, self.in_flight // images)

    def _hub(self) -> AbstractAsyncContextManager[tuple[AsyncChainHub, str | None]]:
        return hub_for(
            emulated=self.emulated,
            base_url=self.base_url,
            task_path=self.order.task_path,
            timeout=self.timeout,
            retry=RetryPolicy(resend_uncertain=self.order.resend_uncertain),
            limits=Limits(in_flight=self.in_flight),
        )
