"""Runs coroutines for callers without an event loop: one thread with a loop, started on demand.

anyio's own portal is not used: interrupted while it hands a call over, it goes on to make the call;
and dropped, or left behind in a forked process, it waits for its thread for ever.
"""

from __future__ import annotations

import atexit
import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from contextvars import Context, copy_context
from functools import partial
from typing import Any, Generic, ParamSpec, TypeVar

import anyio
from anyio.abc import TaskGroup
from anyio.lowlevel import current_token

from chainhub_async.errors import Billed, ClosedError

P = ParamSpec("P")
T = TypeVar("T")

# Waits are cut into pieces: on Windows Ctrl-C does not interrupt a wait, only what follows it.
_PIECE = 0.5
# Closed connections make calls under way fail, each with its own evidence; what goes on all the
# same is cancelled after this long.
_GRACE = 0.25
# At the interpreter's exit nobody waits longer for what hangs, such as a read from a dead disk.
_LONGEST_EXIT = 5.0


class Portal:
    """An event loop in its own thread. Thread-safe.

    Args:
        last: run on the loop before it ends: on `close`, when the portal is garbage collected, and
            when the interpreter exits. Nothing it refers to may refer to the portal.
    """

    def __init__(self, last: Callable[[], Awaitable[object]]) -> None:
        self._last = last
        # Signal handlers and finalizers run between any two steps, and may make calls as well.
        self._lock = threading.RLock()
        self._loop: _Loop | None = None
        self._process: int | None = None
        self._closed = False

    def run(self, call: Callable[P, Awaitable[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        """Runs a coroutine function and returns its result.

        If the calling thread is interrupted, the coroutine is cancelled and its clean-up completes
        before the interruption propagates. A second interruption ends the wait.

        Raises:
            ClosedError: the client was closed, was forked, or is called from its own loop.
        """
        work = PortalCall(partial(call, *args, **kwargs))
        try:
            self._submit(work)
            work.wait()
            return work.result()
        except BaseException:
            work.abandon()
            raise
        finally:
            del work  # else an exception would hold this frame, and this frame the exception

    def start(
        self, call: Callable[P, Awaitable[T]], *args: P.args, **kwargs: P.kwargs
    ) -> PortalCall[T]:
        """Starts a coroutine function, whose end the caller waits for later.

        Raises:
            ClosedError: as for `run`.
        """
        work = PortalCall(partial(call, *args, **kwargs))
        self._submit(work)
        return work

    def close(self) -> None:
        """Ends the loop and waits for it. Calls in progress in other threads fail."""
        if self._process not in {None, os.getpid()}:
            return
        with self._lock:
            self._closed = True
            loop = self._loop
        if loop is not None:
            loop.end()
            loop.join()

    def _submit(self, work: PortalCall[Any]) -> None:
        # Before the lock, which a fork may leave locked for ever.
        self._process = self._process or os.getpid()
        if self._process != os.getpid():
            raise ClosedError(
                "The client was in use before this process was forked; its connections belong to "
                "the parent. Create a new client in each process."
            )
        with self._lock:
            if self._closed:
                raise ClosedError("The client is closed; create a new one.")
            loop = self._loop or self._open()
            if loop.thread is threading.current_thread():
                raise ClosedError(
                    "A blocking call was made from the client's own event loop, as in on_event, "
                    "where it would deadlock. Make it from another thread."
                )
            work.submit(loop)

    def _open(self) -> _Loop:
        loop = _Loop(self._last)
        try:
            loop.start()
            if self._loop is None:  # else a signal handler was faster, on top of this very frame
                self._loop = loop
                # What drops the portal may hold any lock: the loop is told, and not waited for.
                weakref.finalize(self, loop.end).atexit = False
        finally:
            if self._loop is not loop:
                loop.end()
        return loop if self._loop is None else self._loop


class PortalCall(Generic[T]):
    """One call passed to a loop. Methods run on the loop unless their docstring says otherwise."""

    def __init__(self, start: Callable[[], Awaitable[T]]) -> None:
        self._start = start
        self._loop: _Loop | None = None
        self._scope: anyio.CancelScope | None = None
        self._begun = self._unwanted = self._ended = False
        # Held until the call has ended. No threading.Event: while that begins to wait it holds a
        # lock of its own, and a signal handler that makes a call just then would wait for ever.
        self._end = threading.Lock()
        self._end.acquire()
        self._values: list[T] = []
        self._error: BaseException | None = None

    def submit(self, loop: _Loop) -> None:
        """Submits the call; in the caller's thread."""
        self._loop, loop.is_used = loop, True
        context = _context()
        loop.post(lambda group: context.run(self._begin, group))

    @property
    def has_ended(self) -> bool:
        """Whether the call has ended; in any thread."""
        return self._ended

    def wait(self) -> None:
        """Waits until the call has ended; in the caller's thread."""
        while self._loop is not None and not self._ended and self._loop.thread.is_alive():
            self._end.acquire(timeout=_PIECE)

    def abandon(self) -> None:
        """Cancels the call and waits until it has ended; in the caller's thread."""
        if self._loop is not None and not self._ended:
            with suppress(ClosedError):
                self._loop.post(self._cancel)
            self.wait()

    def result(self) -> T:
        """Returns or raises the outcome of the call, once; in the caller's thread."""
        error, self._error = self._error, None
        try:
            if self._values:
                return self._values.pop()
            if self._loop is not None and self._loop.is_exiting:
                # Only daemon threads are left, and end without a word.
                raise SystemExit
            if error is not None:
                raise error
        finally:
            del error  # see Portal.run
        told = "The client was closed while this call was in progress."
        raise ClosedError(told, billed=Billed.MAYBE)

    def _begin(self, group: TaskGroup) -> None:
        self._begun = True
        group.start_soon(self._run)

    def _cancel(self, _: TaskGroup) -> None:
        self._unwanted = True
        if self._scope is not None:
            self._scope.cancel()
        elif not self._begun:
            self._finish()  # it was interrupted before it was handed over

    async def _run(self) -> None:
        try:
            if not self._unwanted:
                with anyio.CancelScope() as self._scope:
                    self._values.append(await self._start())
        except anyio.get_cancelled_exc_class():
            pass  # the loop ends; the caller is told in `result`
        except BaseException as error:
            # SystemExit too, as from on_event, belongs to the caller and must not end the loop.
            self._error = error
        finally:
            self._finish()

    def _finish(self) -> None:
        self._ended = True
        self._end.release()


class _Loop:
    """A thread with an event loop. It ends when told to, or with the interpreter.

    Attributes:
        is_used: whether a call was submitted to it.
        is_exiting: whether it ends with the interpreter.
    """

    def __init__(self, last: Callable[[], Awaitable[object]]) -> None:
        self.is_used = self.is_exiting = self._told = False
        self._last = last
        self._process = os.getpid()
        self._ready = threading.Event()
        self._native: Any = None
        self._steps: deque[Callable[[TaskGroup], None]] = deque()
        # An empty context: the caller's may say that another loop is running.
        self.thread = threading.Thread(
            target=partial(Context().run, self._run), name="chainhub-async", daemon=True
        )

    def start(self) -> None:
        """Starts the thread and waits until it takes calls."""
        try:
            self.thread.start()
        except RuntimeError as problem:
            raise ClosedError(f"The client's thread cannot be started: {problem}.") from None
        while not self._ready.wait(_PIECE) and self.thread.is_alive():
            pass

    def post(self, step: Callable[[TaskGroup], None]) -> None:
        """Has `step` called on the loop, after what was posted before. Takes no lock.

        Raises:
            ClosedError: the loop has ended.
        """
        self._steps.append(step)
        try:
            self._native.call_soon_threadsafe(self._look)
        except (AttributeError, RuntimeError):
            raise ClosedError("The client's event loop has ended; create a new client.") from None

    def end(self) -> None:
        """Tells the loop to end, and does not wait."""
        if self._process == os.getpid():
            self._told = True
            with suppress(ClosedError):
                self.post(lambda _: None)

    def join(self, longest: float = float("inf")) -> None:
        """Waits until the loop has ended, unless that is its own thread."""
        until, own = time.monotonic() + longest, self.thread is threading.current_thread()
        while self.thread.is_alive() and not own and (left := until - time.monotonic()) > 0:
            self.thread.join(min(_PIECE, left))

    def _run(self) -> None:
        _running.add(self)
        # Should it break, the calls under way and those to come are told that it has ended.
        with suppress(BaseException):
            anyio.run(self._main)
        _running.discard(self)
        self._ready.set()

    async def _main(self) -> None:
        self._native, self._event = current_token().native_token, anyio.Event()
        self._ready.set()
        async with anyio.create_task_group() as group:
            told = self._told
            while not told:
                await self._event.wait()
                self._event = anyio.Event()
                # In this order: what was posted before it was told to end is still done.
                told = self._told
                while self._steps:
                    self._steps.popleft()(group)
            if self.is_used:
                await self._last()
            group.cancel_scope.deadline = anyio.current_time() + _GRACE

    def _look(self) -> None:
        self._event.set()


_running: set[_Loop] = set()


@atexit.register
def _end_all() -> None:
    until = time.monotonic() + _LONGEST_EXIT
    loops = list(_running)
    for loop in loops:
        loop.is_exiting = True
        loop.end()
    for loop in loops:
        loop.join(until - time.monotonic())


def _context() -> Context:
    context = copy_context()
    # All the caller's variables but the mark of the loop it may be running in.
    for variable in context:
        if variable.name == "current_async_library_cvar":
            context.run(variable.set, None)
    return context
