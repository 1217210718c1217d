"""A thread with an event loop, which runs steps that other threads post to it.

anyio's own portal is not used: interrupted while it hands a call over, it goes on to make the call;
and dropped, or left behind in a forked process, it waits for its thread for ever.
"""

from __future__ import annotations

import atexit
import sys
import threading
import time
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from contextvars import Context
from functools import partial
from typing import Any, Protocol

import anyio
from anyio.lowlevel import current_token

from chainhub_async.errors import ClosedError
from chainhub_async.latch import Latch
from chainhub_async.process import after_fork, current_process, keep_for_ever, not_forked
from chainhub_async.waits import Waiting, this_thread_runs
from chainhub_async.waking import Sleeper, Waker

PIECE = 0.5
"""Waits are cut into pieces: on Windows Ctrl-C does not interrupt a wait, only what follows it."""

# Waking stops the loop, so it is put off to wake many in a row: one turn of the loop for every four
# calls that are still under way, at most sixteen, beyond which nothing is gained. More than 64
# threads would hold up the loop for longer than it may stand still.
_MOST_TURNS, _CALLS_PER_TURN, _MOST_IN_A_ROW = 16, 4, 64
# Closed connections make calls under way fail, each with its own evidence; what goes on all the
# same is cancelled after this long.
_GRACE = 0.25
# At the interpreter's exit nobody waits longer for what hangs, such as a read from a dead disk.
_LONGEST_EXIT = 5.0


class Call(Sleeper, Protocol):
    """What a loop runs for a thread that waits; the thread is woken soon after `run` has ended."""

    async def run(self, loop: Loop) -> None:
        """Makes the call; its last step is `loop.ended(self)`."""

    def cancel(self) -> None:
        """Cancels the call."""


class Loop:
    """A thread with an event loop. It ends when told to, or with the interpreter.

    Attributes:
        is_used: whether a call was submitted to it.
        is_ending: whether it was told to end.
        is_exiting: whether it ends with the interpreter.
        waits_for: the loop for which its thread is waiting, as a callback may.
    """

    def __init__(self, last: Callable[[], Awaitable[object]]) -> None:
        self.is_used: bool = False
        self.is_ending: bool = False
        self.is_exiting: bool = False
        self.waits_for: Waiting | None = None
        self._waker = Waker()
        self._stands_still = False
        self._last = last
        self._process = current_process()
        # Set when it takes calls or never will, and when it has ended. The thread is not asked:
        # before Python 3.13, one whose `is_alive` or `join` is interrupted counts as dead.
        self._ready, self._over = Latch(), Latch()
        self._native: Any = None
        self._changed: Any = None
        # With the tasks, which asyncio holds but weakly.
        self._calls: dict[Call, Any] = {}
        self._broken: BaseException | None = None
        self._failure = "its thread ended"
        self._steps: deque[Callable[[], None]] = deque()
        self._waking: list[Call] = []
        # An empty context: the caller's may say that another loop is running.
        self.thread: threading.Thread = threading.Thread(
            target=partial(Context().run, self._run), name="chainhub-async", daemon=True
        )

    @property
    def is_inherited(self) -> bool:
        """Whether it is the loop of the process that this one was forked from."""
        return self._process is not current_process()

    @property
    def is_running(self) -> bool:
        """Whether its thread has yet to end; never so in a forked process."""
        return not self._over.is_set and not self.is_inherited

    def start(self) -> None:
        """Starts the thread and waits until it takes calls."""
        with not_forked():  # the thread imports what anyio and asyncio need
            handled = sys.exc_info()[1]  # by the caller
            try:
                self.thread.start()
            except RuntimeError as problem:
                broken_by = problem.__context__
                if broken_by is not None and broken_by is not handled:
                    # A signal handler raised it in the wait of `Thread.start`, which it breaks.
                    raise broken_by from None
                raise ClosedError(f"The client's thread cannot be started: {problem}.") from None
            while not self.is_inherited and not self._ready.wait(PIECE):
                pass
        if self._native is None:  # such as for want of file descriptors: the next call tries again
            raise ClosedError(f"The client's event loop cannot be started ({self._failure}).")

    def post(self, step: Callable[[], None]) -> None:
        """Has `step` called on the loop, after what was posted before. Takes no lock.

        Raises:
            ClosedError: the loop has ended.
        """
        if self.is_inherited:
            # It is the parent's: even waking it would reach the parent.
            raise ClosedError("The client's event loop belongs to the parent process.")
        # In this order, and the other way round in `_wake`, so that one sees what the other does.
        self._steps.append(step)
        if self._stands_still:
            return
        try:
            self._native.call_soon_threadsafe(self._look)
        except (AttributeError, RuntimeError):
            raise ClosedError("The client's event loop has ended; create a new client.") from None

    def begin(self, call: Call) -> None:
        """Runs a call; on the loop.

        Its task is one of the loop itself. Those of a task group cost twice as much, and cannot be
        started by a callback.
        """
        self._calls[call] = self._native.create_task(call.run(self))

    def ended(self, call: Call) -> None:
        """Called by a call at its end; on the loop."""
        del self._calls[call]
        if self.is_ending and not self._calls:
            self._changed.set()
        self._waking.append(call)
        if len(self._waking) == 1:
            self._wake(min(_MOST_TURNS, len(self._calls) // _CALLS_PER_TURN))

    def _end_unbegun(self, call: Call, _: Any) -> None:
        # Its task was cancelled before its first step. Only where a loop ends does anybody cancel
        # tasks that are not his, so that not every call need have it looked after.
        if call in self._calls:
            self.ended(call)

    def _wake(self, turns: int = 0) -> None:
        """Wakes the threads whose calls have ended, after so many turns of the loop."""
        if turns:
            self._native.call_soon(self._wake, turns - 1)
            return
        waking, self._waking = self._waking[:_MOST_IN_A_ROW], self._waking[_MOST_IN_A_ROW:]
        self._stands_still = True
        try:
            self._waker.wake(waking)
        finally:
            self._stands_still = False
        if self._steps:
            self._native.call_soon(self._look)
        if self._waking:
            self._native.call_soon(self._wake)

    def end(self) -> None:
        """Tells the loop to end, and does not wait."""
        self.is_ending = True
        with suppress(ClosedError):
            self.post(lambda: None)

    def join(self, longest: float = float("inf")) -> None:
        """Waits until the loop has ended, unless that is its own thread."""
        until, own = time.monotonic() + longest, self.thread is threading.current_thread()
        while self.is_running and not own and (left := until - time.monotonic()) > 0:
            self._over.wait(min(PIECE, left))
        if self._over.is_set and not own:
            self.thread.join(PIECE)  # so that `threading.enumerate` no longer shows it

    def _run(self) -> None:
        _running.add(self)
        this_thread_runs(self)
        # Should it break, the calls under way and those to come are told that it has ended.
        try:
            anyio.run(self._main)
        except BaseException as problem:
            self._failure = f"{type(problem).__name__}: {problem}"
        # The loop has ended: there is nothing to stand still for, and nothing more is posted.
        for call in self._waking:
            call.wake(None)
        _running.discard(self)
        self._over.set()
        self._ready.set()  # if it never came to take calls

    async def _main(self) -> None:
        self._native, self._changed = current_token().native_token, anyio.Event()
        self._ready.set()
        while not self.is_ending:
            await self._change()
        if self._broken is not None:
            raise self._broken
        self._look()  # what was posted before it was told to end is still done
        if self.is_used:
            await self._last()
        with anyio.move_on_after(_GRACE):
            while self._calls:
                await self._change()
        while self._calls:
            for call, task in list(self._calls.items()):  # some may have begun only now
                call.cancel()
                task.add_done_callback(partial(self._end_unbegun, call))
            await self._change()

    async def _change(self) -> None:
        self._changed = anyio.Event()
        await self._changed.wait()

    def _look(self) -> None:
        try:
            while self._steps:
                self._steps.popleft()()
        except BaseException as problem:
            self._broken, self.is_ending = problem, True
        if self.is_ending:
            self._changed.set()


_running: set[Loop] = set()


@atexit.register
def _end_all() -> None:
    until = time.monotonic() + _LONGEST_EXIT
    loops = list(_running)
    for loop in loops:
        loop.is_exiting = True
        loop.end()
    for loop in loops:
        loop.join(until - time.monotonic())


def _keep_inherited() -> None:
    for loop in _running:
        keep_for_ever(loop)
    _running.clear()


after_fork(_keep_inherited)
