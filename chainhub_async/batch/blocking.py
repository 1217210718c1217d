"""`Batch`: the blocking twin of `AsyncBatch`."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Any

import anyio

from chainhub_async.batch.front import AsyncBatch, check_iterable
from chainhub_async.batch.jobs import Outcome, PlannedJob
from chainhub_async.errors import BatchStoppedError, ChainHubError
from chainhub_async.models import ReplaceBackground
from chainhub_async.pending import PortalCall
from chainhub_async.portal import TiedPortal

if TYPE_CHECKING:
    from typing_extensions import Self

# Inputs are read in the caller's thread for this long before those read are passed on.
_READING = 0.02


class Batch:
    """A batch of calls, created by `hub.batch` and used with `with`.

    Leaving the block, also by an exception or Ctrl-C, starts nothing new and cuts uploads that are
    not complete, which costs nothing. Calls whose request has left completely get the grace period
    to end; what has not ended then is recorded as `UNCERTAIN`. Ctrl-C while the block is being left
    ends the grace period. `stop` may be called in any thread, in `on_event` and in signal handlers.
    """

    def __init__(self, batch: AsyncBatch, portal: TiedPortal) -> None:
        self._async = batch
        self._portal = portal
        self._host: PortalCall[None] | None = None
        self._opened: anyio.Event | None = None
        self._closing: anyio.Event | None = None

    @property
    def stopped(self) -> ChainHubError | None:
        """Why nothing new is started, or None."""
        return self._async.stopped

    @property
    def spent(self) -> int:
        """For how many images this batch was, or may have been, billed so far."""
        return self._async.spent

    def __enter__(self) -> Self:
        """Opens the ledger.

        Raises:
            LedgerError: it cannot be used, or is in use.
            ConfigurationError: results cannot be saved in the directory.
        """
        if self._host is not None:
            raise BatchStoppedError("The batch is open already; create another one.")
        self._portal.run(self._make_events)
        # Known before it begins, so that an interruption at any point ends it.
        host = self._host = PortalCall(self._live)
        try:
            self._portal.submit(host)
            self._portal.run(self._wait_opened)
            if host.has_ended:
                host.result()
        except BaseException as problem:
            try:
                self._portal.abandon(host, problem)
            finally:
                self._host = None
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self._leave()
        finally:
            self._host = None

    def _leave(self) -> None:
        host = self._host
        if host is None or host.is_inherited:
            return
        if self._portal.is_here:
            # As when the garbage collector finds it there: the loop cannot be waited for.
            if self._closing is not None:
                self._closing.set()
            return
        try:
            if not host.has_ended:
                self._portal.run(self._close)
            host.wait()
            if not host.was_cut:  # the client was closed first, and its batch with it
                host.result()
        except BaseException as problem:
            self._portal.abandon(host, problem)
            raise

    def run(self, requests: Iterable[ReplaceBackground]) -> Iterator[Outcome]:
        """Makes the calls and returns an iterator over their outcomes.

        Inputs are read lazily, a few more than the client's `Limits` allow in flight, in the thread
        that iterates. There is one outcome for each, also after the batch has stopped: those not
        started are then `PENDING`. An exception of the iterable is raised when the outcomes of the
        inputs before it are handed out.

        Args:
            requests: the calls, as any iterable.

        Returns:
            An iterator that yields each outcome as soon as it is known, or in the order of the
            inputs if the batch is `ordered`.

        Raises:
            InvalidRequestError: `requests` cannot be iterated over.
            BatchStoppedError: the batch is not open.
        """
        check_iterable(requests)
        if self._host is None:
            raise BatchStoppedError(
                "The batch is not open: use it as `with hub.batch(...) as batch:`."
            )
        return self._run(iter(requests))

    def plan(self, requests: Iterable[ReplaceBackground]) -> Iterator[PlannedJob]:
        """Says what `run` would do with each input, without sending or writing anything.

        It works before the batch is opened, and while another process is using the ledger. It
        does not consider `max_images`.

        Args:
            requests: the calls, as any iterable.

        Returns:
            An iterator over the inputs' plans, in their order.

        Raises:
            InvalidRequestError: `requests` cannot be iterated over.
            LedgerError: the ledger cannot be read; raised when iterating.
        """
        check_iterable(requests)
        return self._plan(requests)

    def stop(self) -> None:
        """Starts nothing new, and lets the calls in progress end as when the block is left.

        Inputs that were not started come out as `PENDING`. A batch that is not open yet is stopped
        when it is opened; one that is closed stays as it is.
        """
        if self._host is None or self._portal.is_here:  # not open, or in on_event
            self._async.stop()
        else:
            self._portal.run(self._stop)

    # --- in the caller's thread -------------------------------------------------------------------

    def _run(self, inputs: Iterator[Any]) -> Iterator[Outcome]:
        run = self._portal.run(self._start)
        wanted, ended = 1, False
        problem: Exception | None = None
        while True:
            fed: list[Any] = []
            if not ended:
                ended, problem = _read(inputs, wanted, fed)
            outcome, wanted = self._portal.run(run.turn, fed, ended=ended)
            if outcome is not None:
                yield outcome
            elif run.is_over:
                break
        if problem is not None:
            raise problem

    def _plan(self, requests: Iterable[ReplaceBackground]) -> Iterator[PlannedJob]:
        # One input at a time would cost a hop to a thread for each.
        plans = self._async.plan(requests)
        while chunk := self._portal.run(_some, plans):
            yield from chunk

    # --- on the loop ------------------------------------------------------------------------------

    async def _make_events(self) -> None:
        self._opened, self._closing = anyio.Event(), anyio.Event()

    async def _live(self) -> None:
        """The batch's life, in one task, as its cancel scopes need it."""
        opened, closing = self._opened, self._closing
        if opened is None or closing is None:
            return
        try:
            async with self._async:
                opened.set()
                await closing.wait()
        finally:
            opened.set()

    async def _wait_opened(self) -> None:
        if self._opened is not None:
            await self._opened.wait()

    async def _close(self) -> None:
        if self._closing is not None:
            self._closing.set()

    async def _start(self) -> Any:
        return self._async._start(None)  # noqa: SLF001 - its own

    async def _stop(self) -> None:
        self._async.stop()


def _read(inputs: Iterator[Any], wanted: int, fed: list[Any]) -> tuple[bool, Exception | None]:
    """Reads up to so many inputs; returns whether they have ended, and by which exception."""
    until = time.monotonic() + _READING
    for _ in range(wanted):
        try:
            fed.append(next(inputs))
        except StopIteration:
            return True, None
        except Exception as problem:
            return True, problem
        if time.monotonic() > until:
            break
    return False, None


async def _some(plans: Any) -> list[PlannedJob]:
    found: list[PlannedJob] = []
    async for planned in plans:
        found.append(planned)
        if len(found) == 64:
            break
    return found
