"""Runs coroutines for callers without an event loop: one loop in a thread, started on demand."""

from __future__ import annotations

import threading
import weakref
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, ParamSpec, TypeVar

from chainhub_async.errors import Billed, CallCancelledError, ChainHubError, ClosedError
from chainhub_async.loop import Loop
from chainhub_async.pending import PortalCall
from chainhub_async.process import Process, current_process
from chainhub_async.waits import about_to_wait_for, waiting_for, would_wait_for_ever

P = ParamSpec("P")
T = TypeVar("T")

# Seconds. Not for ever: on top of the thread that starts the loop, a signal handler may call
# another client, one of whose callbacks calls this one, and waits here; or may raise just as the
# lock was acquired, which then stays locked.
_LONGEST_START = 5.0


class _Runner(ABC):
    """Runs calls to their end for callers that may be interrupted."""

    def has_told(self, problem: BaseException) -> bool:  # noqa: ARG002 - see TiedPortal
        """Returns whether `problem` has what is to be told already."""
        return False

    @abstractmethod
    def submit(self, work: PortalCall[Any]) -> None:
        """Starts a call, whose end the caller waits for later."""

    def told(self, work: PortalCall[Any]) -> ChainHubError:
        """Returns what to tell of a call with an interruption."""
        return work.told()

    def run(self, call: Callable[P, Awaitable[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        """Runs a coroutine function and returns its result.

        If the calling thread is interrupted, the coroutine is cancelled and its clean-up completes
        before the interruption propagates, with a `CallCancelledError` as its context. A second
        interruption ends the wait.

        Raises:
            ClosedError: the client was closed, or is called from its own loop.
        """
        work = PortalCall(partial(call, *args, **kwargs))
        try:
            self.submit(work)
            work.wait()
            return work.result()
        except BaseException as problem:
            try:
                self.abandon(work, problem)
            finally:
                del work  # else the exception would hold this frame, and this frame the exception
            raise

    def abandon(self, work: PortalCall[Any], problem: BaseException) -> None:
        """Cancels a call and waits for its end, since its caller was interrupted by `problem`.

        What the call came to is put into the context of `problem`, or of what interrupts the wait.
        """
        try:
            work.abandon()
            if not work.has_told(problem) and not self.has_told(problem):
                _put_context(problem, self.told(work))
        except BaseException as second:
            _put_context(second, self.told(work))
            raise
        finally:
            work.forget()


class _Home:
    """What a portal has in one process."""

    def __init__(self) -> None:
        # Signal handlers and finalizers run between any two steps, and may make calls as well.
        self.opening = threading.RLock()
        # A signal handler may open another on top of a thread that opens one: the first counts.
        self.opened: list[Loop] = []

    @property
    def loop(self) -> Loop | None:
        """The loop, if there is one."""
        return self.opened[0] if self.opened else None


class Portal(_Runner):
    """An event loop in its own thread. Thread-safe. A forked process begins with a new one.

    Args:
        last: run on the loop before it ends: on `close`, when the portal is garbage collected, and
            when the interpreter exits. Nothing it refers to may refer to the portal.
    """

    def __init__(self, last: Callable[[], Awaitable[object]]) -> None:
        self._last = last
        self._homes: dict[Process, _Home] = {}
        self._closed = False

    def close(self) -> None:
        """Ends the loop and waits for it. Calls in progress in other threads fail."""
        self._closed = True
        loop = self._home.loop
        if loop is not None:
            loop.end()
            with waiting_for(loop):
                if not would_wait_for_ever(loop):
                    loop.join()

    @property
    def is_here(self) -> bool:
        """Whether this is the thread of its loop."""
        loop = self._home.loop
        return loop is not None and loop.thread is threading.current_thread()

    @property
    def _home(self) -> _Home:
        # By process, since a fork may leave a lock locked for ever. What was inherited is kept, so
        # that nothing of it is finalized.
        process = current_process()
        return self._homes.get(process) or self._homes.setdefault(process, _Home())

    def submit(self, work: PortalCall[Any]) -> None:
        """Starts a call, whose end the caller waits for later.

        Raises:
            ClosedError: as for `run`.
        """
        loop = self._loop()
        with about_to_wait_for(loop):
            if would_wait_for_ever(loop):
                raise ClosedError(
                    "A blocking call was made from on_event, on the event loop of this client "
                    "or of one that is waiting for it, where it would deadlock. Make it from "
                    "another thread, or await the same call of an AsyncChainHub."
                )
            work.submit(loop)

    def _loop(self) -> Loop:
        home = self._home
        if home.loop is None and not self._closed:
            held = False
            try:
                # The lock only saves a loop that is opened in vain: without it, there are two.
                held = home.opening.acquire(timeout=_LONGEST_START)
                if home.loop is None:
                    self._open(home)
            finally:
                if held:
                    home.opening.release()
        if self._closed or home.loop is None:
            raise ClosedError("The client is closed; create a new one.")
        return home.loop

    def _open(self, home: _Home) -> None:
        loop = Loop(self._last)
        try:
            loop.start()
            # What drops the portal may hold any lock: the loop is told, and not waited for.
            weakref.finalize(self, loop.end).atexit = False
            home.opened.append(loop)
        finally:
            if home.loop is not loop or self._closed:
                loop.end()


class TiedPortal(_Runner):
    """Uses a portal for what cannot leave the process in which it was begun, such as a batch.

    Args:
        portal: the portal that does the work.
        tell: returns what to tell with an interruption.
    """

    def __init__(self, portal: Portal, tell: Callable[[], ChainHubError]) -> None:
        self._portal = portal
        self._tell = tell
        self._latest: ChainHubError | None = None
        self._process: Process | None = None

    @property
    def is_here(self) -> bool:
        """Whether this is the thread of its loop."""
        return self._portal.is_here

    def submit(self, work: PortalCall[Any]) -> None:
        """Starts a call, whose end the caller waits for later.

        Raises:
            ClosedError: as for `run`.
        """
        self._process = self._process or current_process()
        if self._process is not current_process():
            raise ClosedError(
                "The batch was begun before this process was forked, and its ledger is the "
                "parent's. Begin another batch here, with a ledger of its own."
            )
        self._portal.submit(work)

    def told(self, work: PortalCall[Any]) -> ChainHubError:  # noqa: ARG002 - see _Runner
        """Returns what to tell of a call with an interruption."""
        self._latest = self._tell()
        return self._latest

    def has_told(self, problem: BaseException) -> bool:
        """Returns whether `problem` has what is to be told already."""
        return self._latest is not None and problem.__context__ is self._latest


def _put_context(interruption: BaseException, told: ChainHubError) -> None:
    before, one = interruption.__context__, interruption.__context__
    while one is not None:
        if one is told:
            return
        one = one.__context__
    if isinstance(before, CallCancelledError):
        # Of a call that a signal handler made on top of this one: neither must go untold.
        told.billed = Billed.worst(told.billed, before.billed)
    # Below it, what was being handled when the interruption came.
    if told.__context__ is None:
        told.__context__ = before
    interruption.__context__ = told
