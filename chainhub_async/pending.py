"""One call passed to a loop by a thread that waits for it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from contextvars import Context, copy_context
from typing import Generic, TypeVar

import anyio

from chainhub_async.errors import Billed, CallCancelledError, ChainHubError, ClosedError
from chainhub_async.latch import Latch
from chainhub_async.loop import PIECE, Loop
from chainhub_async.waits import waiting_for, would_wait_for_ever

T = TypeVar("T")


class PortalCall(Generic[T]):
    """One call passed to a loop. Methods run on the loop unless their docstring says otherwise."""

    def __init__(self, start: Callable[[], Awaitable[T]]) -> None:
        self._start: Callable[[], Awaitable[T]] | None = start
        self._loop: Loop | None = None
        self._scope: anyio.CancelScope | None = None
        self._begun = self._unwanted = False
        self._end = Latch()
        self._waits = False
        self._then: Callable[[], None] | None = None
        self._values: list[T] = []
        self._error: BaseException | None = None
        self._cancelled: BaseException | None = None
        self._taken = False

    def submit(self, loop: Loop) -> None:
        """Submits the call; in the caller's thread."""
        self._loop, loop.is_used = loop, True
        context = _context()
        try:
            loop.post(lambda: context.run(self._begin, loop))
        except ClosedError as problem:
            self._error = problem
            raise

    @property
    def has_ended(self) -> bool:
        """Whether the call has ended; in any thread."""
        return self._end.is_set

    @property
    def was_cut(self) -> bool:
        """Whether its loop ended before it did; in any thread."""
        return self._end.is_set and not self._values and self._error is None

    @property
    def is_inherited(self) -> bool:
        """Whether the call was made by the process that this one was forked from."""
        return self._loop is not None and self._loop.is_inherited

    def has_told(self, problem: BaseException) -> bool:
        """Whether this is how the call ended, not an interruption; in the caller's thread."""
        # By identity: a signal handler may raise anything, also what came of a call of its own.
        refused = self._loop is None and isinstance(problem, ChainHubError)
        return problem is self._error or refused

    def forget(self) -> None:
        """Lets go of the error, which was raised and refers to this; in the caller's thread."""
        self._error = None

    def told(self) -> ChainHubError:
        """Returns what an interrupted call came to; in the caller's thread."""
        if isinstance(self._error, ChainHubError):
            return self._error
        billed = Billed.MAYBE
        if self._loop is not None and not self._end.is_set:
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
        loop = self._loop
        if loop is None:
            return
        with waiting_for(loop):
            if would_wait_for_ever(loop):
                return  # on its own thread, such as in a finalizer
            self._waits = True
            try:
                while loop.is_running and not self._end.wait(PIECE):
                    pass
            finally:
                # First of all, also if interrupted: the loop and other threads wait for it. In this
                # order, see `wake`.
                self._waits = False
                then, self._then = self._then, None
                if then is not None:
                    then()

    def abandon(self) -> None:
        """Cancels the call and waits until it has ended; in the caller's thread."""
        if self._loop is not None and not self._end.is_set:
            with suppress(ClosedError):
                self._loop.post(self.cancel)
            self.wait()

    def result(self) -> T:
        """Returns or raises the outcome of the call, once; in the caller's thread."""
        if self.is_inherited:
            self._error = ClosedError(
                "The call was made by the parent process, which gets its outcome."
            )
        elif self._values:
            self._taken = True
            return self._values[0]
        elif self._loop is not None and self._loop.is_exiting:
            # Only daemon threads are left, and end without a word.
            raise SystemExit
        if self._error is None:
            billed = Billed.MAYBE if self._begun else Billed.NO
            if isinstance(self._cancelled, ChainHubError):
                billed = self._cancelled.billed
            told = "The client was closed while this call was in progress."
            self._error = ClosedError(told, billed=billed)
        raise self._error

    def _begin(self, loop: Loop) -> None:
        self._begun = True
        loop.begin(self)

    def cancel(self) -> None:
        """Cancels the call."""
        self._unwanted = True
        if self._scope is not None:
            self._scope.cancel()
        elif not self._begun:
            self.wake(None)  # it was interrupted before it was handed over

    async def run(self, loop: Loop) -> None:
        """Makes the call."""
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
            loop.ended(self)

    def wake(self, then: Callable[[], None] | None) -> bool:
        """Wakes the thread that waits for the end, see `Sleeper`; in any thread."""
        # `_then` is set before `_end`, and `_waits` read after both; `wait` clears `_waits`
        # before it looks for `_then`. So if this returns True, `then` will be called.
        self._then = then
        self._end.set()
        return self._waits


def _context() -> Context:
    context = copy_context()
    # All the caller's variables but the mark of the loop it may be running in.
    for variable in context:
        if variable.name == "current_async_library_cvar":
            context.run(variable.set, None)
    return context
