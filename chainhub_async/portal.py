"""Runs coroutines for callers without an event loop: one loop in a thread, started on demand."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Awaitable, Callable
from contextlib import suppress
from contextvars import Context, copy_context
from functools import partial
from typing import Any, Generic, ParamSpec, TypeVar

import anyio

from chainhub_async.errors import Billed, CallCancelledError, ChainHubError, ClosedError
from chainhub_async.loop import PIECE, Loop
from chainhub_async.process import Process, current_process

P = ParamSpec("P")
T = TypeVar("T")


class _Home:
    """What a portal has in one process."""

    def __init__(self) -> None:
        # Signal handlers and finalizers run between any two steps, and may make calls as well.
        self.lock = threading.RLock()
        self.loop: Loop | None = None


class Portal:
    """An event loop in its own thread. Thread-safe. A forked process begins with a new one.

    Args:
        last: run on the loop before it ends: on `close`, when the portal is garbage collected, and
            when the interpreter exits. Nothing it refers to may refer to the portal.
    """

    def __init__(self, last: Callable[[], Awaitable[object]]) -> None:
        self._last = last
        self._homes: dict[Process, _Home] = {}
        self._closed = False

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
        except BaseException as second:
            _put_context(second, self._told(work))
            raise
        if not work.has_told(problem):
            _put_context(problem, self._told(work))

    def close(self) -> None:
        """Ends the loop and waits for it. Calls in progress in other threads fail."""
        home = self._home
        with home.lock:
            self._closed = True
            loop = home.loop
        if loop is not None:
            loop.end()
            loop.join()

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
        home = self._home
        with home.lock:
            if self._closed:
                raise ClosedError("The client is closed; create a new one.")
            loop = home.loop or self._open(home)
            if loop.thread is threading.current_thread():
                raise ClosedError(
                    "A blocking call was made from the client's own event loop, as in on_event, "
                    "where it would deadlock. Make it from another thread, or await the same call "
                    "of an AsyncChainHub."
                )
            work.submit(loop)

    def _open(self, home: _Home) -> Loop:
        loop = Loop(self._last)
        try:
            loop.start()
            if home.loop is None:  # else a signal handler was faster, on top of this very frame
                home.loop = loop
                # What drops the portal may hold any lock: the loop is told, and not waited for.
                weakref.finalize(self, loop.end).atexit = False
        finally:
            if home.loop is not loop:
                loop.end()
        return loop if home.loop is None else home.loop

    def _told(self, work: PortalCall[Any]) -> ChainHubError:
        """Returns what to tell with an interruption."""
        return work.told()


class TiedPortal(Portal):
    """A portal for what cannot leave the process in which it was begun, such as a batch.

    Args:
        portal: the portal that does the work.
        tell: returns what to tell with an interruption.
    """

    def __init__(self, portal: Portal, tell: Callable[[], ChainHubError]) -> None:
        super().__init__(portal._last)  # noqa: SLF001 - its own
        self._portal = portal
        self._tell = tell
        self._process: Process | None = None

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

    def _told(self, work: PortalCall[Any]) -> ChainHubError:  # noqa: ARG002 - see Portal
        return self._tell()


class PortalCall(Generic[T]):
    """One call passed to a loop. Methods run on the loop unless their docstring says otherwise."""

    def __init__(self, start: Callable[[], Awaitable[T]]) -> None:
        self._start: Callable[[], Awaitable[T]] | None = start
        self._loop: Loop | None = None
        self._scope: anyio.CancelScope | None = None
        self._begun = self._unwanted = self._ended = False
        # Held until the call has ended. No threading.Event: while that begins to wait it holds a
        # lock of its own, and a signal handler that makes a call just then would wait for ever.
        self._end = threading.Lock()
        self._end.acquire()
        self._values: list[T] = []
        self._error: BaseException | None = None
        self._cancelled: BaseException | None = None
        self._taken = False

    def submit(self, loop: Loop) -> None:
        """Submits the call; in the caller's thread."""
        self._loop, loop.is_used = loop, True
        context = _context()
        loop.post(lambda: context.run(self._begin, loop))

    @property
    def has_ended(self) -> bool:
        """Whether the call has ended; in any thread."""
        return self._ended

    @property
    def is_inherited(self) -> bool:
        """Whether the call was made by the process that this one was forked from."""
        return self._loop is not None and self._loop.is_inherited

    def has_told(self, problem: BaseException) -> bool:
        """Whether this is how the call ended, not an interruption; in the caller's thread."""
        return (
            isinstance(problem, ChainHubError)
            or isinstance(problem.__context__, CallCancelledError)
            or (self._taken and isinstance(problem, Exception))
        )

    def told(self) -> ChainHubError:
        """Returns what an interrupted call came to; in the caller's thread."""
        if isinstance(self._error, ChainHubError):
            return self._error
        billed = Billed.MAYBE
        if self._loop is not None and not self._ended:
            sentence = "The call was interrupted again before it had ended; it may be billed."
        elif self._taken or self._values or self._error is not None:
            sentence = "The call ended just as it was interrupted; it may have been billed."
        elif isinstance(self._cancelled, ChainHubError):
            return self._cancelled
        else:
            sentence, billed = "The call was interrupted before anything was sent.", Billed.NO
        return CallCancelledError(sentence, billed=billed)

    def wait(self) -> None:
        """Waits until the call has ended; in the caller's thread."""
        while self._loop is not None and not self._ended and self._loop.thread.is_alive():
            self._end.acquire(timeout=PIECE)

    def abandon(self) -> None:
        """Cancels the call and waits until it has ended; in the caller's thread."""
        if self._loop is not None and not self._ended:
            with suppress(ClosedError):
                self._loop.post(self._cancel)
            self.wait()

    def result(self) -> T:
        """Returns or raises the outcome of the call, once; in the caller's thread."""
        if self.is_inherited:
            raise ClosedError("The call was made by the parent process, which gets its outcome.")
        self._taken, error, self._error = True, self._error, None
        try:
            if self._values:
                return self._values[0]
            if self._loop is not None and self._loop.is_exiting:
                # Only daemon threads are left, and end without a word.
                raise SystemExit
            if error is not None:
                raise error
        finally:
            del error  # see Portal.run
        told = "The client was closed while this call was in progress."
        raise ClosedError(told, billed=Billed.MAYBE)

    def _begin(self, loop: Loop) -> None:
        self._begun = True
        loop.begin(self._run(), self._cancel)

    def _cancel(self) -> None:
        self._unwanted = True
        if self._scope is not None:
            self._scope.cancel()
        elif not self._begun:
            self._finish()  # it was interrupted before it was handed over

    async def _run(self) -> None:
        try:
            # Let go of at the end, so that a client whose caller drops it then is free.
            start, self._start = self._start, None
            if start is not None and not self._unwanted:
                with anyio.CancelScope() as self._scope:
                    try:
                        self._values.append(await start())
                    except anyio.get_cancelled_exc_class() as cancelled:
                        self._cancelled = cancelled.__context__
                        raise
        except anyio.get_cancelled_exc_class():
            pass  # the loop ends; the caller is told in `result`
        except BaseException as error:
            # SystemExit too, as from on_event, belongs to the caller and must not end the loop.
            self._error = error
        finally:
            start = None
            self._finish()

    def _finish(self) -> None:
        self._ended = True
        self._end.release()


def _context() -> Context:
    context = copy_context()
    # All the caller's variables but the mark of the loop it may be running in.
    for variable in context:
        if variable.name == "current_async_library_cvar":
            context.run(variable.set, None)
    return context


def _put_context(interruption: BaseException, told: ChainHubError) -> None:
    # Below it, what was being handled when the interruption came.
    if told.__context__ is None:
        told.__context__ = interruption.__context__
    interruption.__context__ = told
