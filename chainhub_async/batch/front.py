"""`AsyncBatch`: any number of calls as one piece of work that survives a crash."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread
from anyio.abc import TaskGroup

from chainhub_async.batch.engine import Engine
from chainhub_async.batch.jobs import Outcome, PlannedJob, Requests
from chainhub_async.batch.ledger import Ledger
from chainhub_async.batch.planning import plan
from chainhub_async.batch.runner import Run, call_limits
from chainhub_async.batch.settings import BatchSettings
from chainhub_async.download import Downloader
from chainhub_async.errors import (
    BatchStoppedError,
    Billed,
    CallCancelledError,
    ChainHubError,
    InvalidRequestError,
)
from chainhub_async.transport.http import Transport

if TYPE_CHECKING:
    from typing_extensions import Self


class AsyncBatch:
    """A batch of calls, created by `hub.batch` and used with `async with`.

    Leaving the block, also by an exception or a cancellation, starts nothing new and cuts uploads
    that are not complete, which costs nothing. Calls whose request has left completely get the
    grace period to end; what has not ended then is recorded as `UNCERTAIN`.
    """

    def __init__(
        self, settings: BatchSettings, transport: Transport, downloader: Downloader
    ) -> None:
        self._settings = settings
        self._transport = transport
        self._downloader = downloader
        self._engine: Engine | None = None
        self._group: TaskGroup | None = None
        self._timer: anyio.CancelScope | None = None
        self._stopping: anyio.Event | None = None
        self._runs: list[Run] = []
        self._is_closed = self._is_stop_wanted = self._is_over = False

    @property
    def stopped(self) -> ChainHubError | None:
        """Why nothing new is started, or None."""
        return None if self._engine is None else self._engine.guard.stopped

    @property
    def spent(self) -> int:
        """For how many images this batch was, or may have been, billed so far."""
        return 0 if self._engine is None else self._engine.guard.spent

    async def __aenter__(self) -> Self:
        """Opens the ledger.

        Raises:
            LedgerError: it cannot be used, or is in use.
            ConfigurationError: results cannot be saved in the directory.
        """
        if self._engine is not None:
            raise BatchStoppedError("A batch is opened only once; create another one.")
        await self._transport.pool.bind()
        await anyio.to_thread.run_sync(self._settings.prepare)
        ledger = await _Opening(self._settings.ledger).ledger()
        self._engine = Engine(self._settings, self._transport, self._downloader, ledger)
        self._group = anyio.create_task_group()
        await self._group.__aenter__()
        self._group.start_soon(self._engine.serve)
        self._stopping = anyio.Event()
        self._group.start_soon(self._cut_later, self._engine, self._stopping)
        if self._is_stop_wanted:
            self.stop()
        return self

    def _cancellation(self) -> CallCancelledError:
        """Returns what a blocking caller is told with an interruption."""
        if self._engine is None:
            return CallCancelledError("The batch was interrupted before it was open.")
        return CallCancelledError(
            f"The batch was interrupted; {self.spent} images were billed or may have been, not "
            "counting calls in progress.",
            billed=Billed.MAYBE,
        )

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        engine, group = self._opened()
        try:
            self._wind_down()
            self._is_closed = True
            # The cancellation that led here does not end the grace period; another one does.
            cancelled = isinstance(error, anyio.get_cancelled_exc_class())
            with anyio.CancelScope(shield=cancelled):
                await engine.until_idle()
        finally:
            # Reached early by a second cancellation, which ends the grace period.
            self._is_over = True
            if self._timer is not None:
                self._timer.cancel()
            if self._stopping is not None:
                self._stopping.set()
            engine.cut(all_of_them=True)
            engine.finish()
            try:
                # Without the error: it is the caller's own, and is not to be wrapped in a group.
                await group.__aexit__(None, None, None)
            finally:
                await _Closing(engine.ledger).ended()

    def run(self, requests: Requests) -> AsyncIterator[Outcome]:
        """Makes the calls and returns an iterator over their outcomes.

        Inputs are read lazily, a few more than the client's `Limits` allow in flight. There is one
        outcome for each, also after the batch has stopped: those not started are then `PENDING`.
        An exception of the iterable is raised when the outcomes of the inputs before it are handed
        out.

        Args:
            requests: the calls, as any iterable or asynchronous iterable.

        Returns:
            An iterator that yields each outcome as soon as it is known, or in the order of the
            inputs if the batch is `ordered`.

        Raises:
            InvalidRequestError: `requests` cannot be iterated over.
            BatchStoppedError: the batch is not open.
        """
        check_iterable(requests)
        return self._start(requests)

    def plan(self, requests: Requests) -> AsyncIterator[PlannedJob]:
        """Says what `run` would do with each input, without sending or writing anything.

        It works before the batch is opened, and while another process is using the ledger. It
        does not consider `max_images`.

        Args:
            requests: the calls, as any iterable or asynchronous iterable.

        Returns:
            An iterator over the inputs' plans, in their order.

        Raises:
            InvalidRequestError: `requests` cannot be iterated over.
            LedgerError: the ledger cannot be read; raised when iterating.
        """
        check_iterable(requests)
        return plan(requests, self._settings, call_limits(self._transport))

    def stop(self) -> None:
        """Starts nothing new, and lets the calls in progress end as when the block is left.

        Inputs that were not started come out as `PENDING`. A batch that is not open yet is stopped
        when it is opened; one that is closed stays as it is.
        """
        if self._group is None:
            self._is_stop_wanted = True
        if self._group is None or self._is_closed:
            return
        engine, _ = self._opened()
        engine.guard.stop(BatchStoppedError("Not started: the batch was stopped."))
        engine.cut(all_of_them=False)
        for run in self._runs:
            run.stop_waiting()
        # By a task that is there already: this may be called outside of any, by a signal handler.
        if self._stopping is not None:
            self._stopping.set()

    def _start(self, requests: Requests | None) -> Run:
        """Returns a run; without requests, one that they are fed to."""
        run = Run(*self._opened(), ordered=self._settings.ordered)
        self._runs = [*(one for one in self._runs if not one.is_over), run]
        run.start(requests)
        return run

    def _opened(self) -> tuple[Engine, TaskGroup]:
        if self._is_closed:
            raise BatchStoppedError("The batch is closed; create another one.")
        if self._engine is None or self._group is None:
            raise BatchStoppedError(
                "The batch is not open: use it as `async with hub.batch(...) as batch:`, or `with` "
                "for the blocking client."
            )
        return self._engine, self._group

    def _wind_down(self) -> None:
        for run in self._runs:
            run.stop()
        if any(not run.is_over for run in self._runs):
            self.stop()

    async def _cut_later(self, engine: Engine, stopping: anyio.Event) -> None:
        with anyio.CancelScope(shield=True) as self._timer:
            await stopping.wait()
            if not self._is_over:
                await anyio.sleep(self._settings.grace)
                engine.cut(all_of_them=True)


class _Opening:
    """Opens a ledger in a thread; a cancellation does not leave it open."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._is_unwanted = False
        self._opened: Ledger | None = None

    async def ledger(self) -> Ledger:
        """Returns the ledger."""
        try:
            return await anyio.to_thread.run_sync(self._open)
        except BaseException:
            with self._lock:
                self._is_unwanted = True
                if self._opened is not None:
                    self._opened.close()
            raise

    def _open(self) -> Ledger:
        ledger = Ledger.open(self._path)
        with self._lock:
            if self._is_unwanted:
                ledger.close()
            self._opened = ledger
        return ledger


class _Closing:
    """Closes a ledger in a thread; a cancellation does not leave it open."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._lock = threading.Lock()
        self._has_begun = False

    async def ended(self) -> None:
        """Waits until it is closed, or the task is cancelled natively."""
        try:
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(self._close)
        finally:
            # No scope shields from asyncio's own cancellation, which may come before the thread
            # has begun. One that has begun comes to its end by itself.
            self._close()

    def _close(self) -> None:
        with self._lock:
            begins, self._has_begun = not self._has_begun, True
        if begins:
            self._ledger.close()


def check_iterable(requests: object) -> None:
    """Refuses what is no iterable of requests.

    Raises:
        InvalidRequestError: it is no iterable, or text or bytes.
    """
    if not (hasattr(requests, "__iter__") or hasattr(requests, "__aiter__")) or isinstance(
        requests, str | bytes
    ):
        raise InvalidRequestError(
            f"requests is a {type(requests).__name__}; an iterable of ReplaceBackground is "
            "expected."
        )
