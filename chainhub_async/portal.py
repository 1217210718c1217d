"""Runs coroutines for callers without an event loop: one thread with a loop, started on demand."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from contextlib import AbstractContextManager
from typing import ParamSpec, TypeVar

from anyio.from_thread import BlockingPortal, start_blocking_portal

from chainhub_async.errors import ClosedError

P = ParamSpec("P")
T = TypeVar("T")

_Context = AbstractContextManager[BlockingPortal]
_Last = Callable[[], Awaitable[object]]


class Portal:
    """A loop in a thread of its own. Safe to call from many threads.

    Args:
        last: run on the loop before it ends: on `close`, when the portal is dropped, and when the
            interpreter exits.
    """

    def __init__(self, last: _Last) -> None:
        self._last = last
        self._lock = threading.Lock()
        self._portal: BlockingPortal | None = None
        self._thread: int | None = None
        self._process: int | None = None
        self._end: Callable[[], object] | None = None
        self._closed = False

    def run(self, call: Callable[P, Awaitable[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        """Runs a coroutine function to its end and returns what it returns.

        If the calling thread is interrupted, the coroutine is cancelled, and its clean-up waited
        for, before the interruption goes on.

        Raises:
            ClosedError: the client was closed, came through a fork, or is called from its own loop.
        """
        ended = threading.Event()

        async def watched() -> T:
            try:
                return await call(*args, **kwargs)
            finally:
                ended.set()

        future: Future[T] = self._started().start_task_soon(watched)
        try:
            return future.result()
        except BaseException:
            if future.cancel():
                while not ended.wait(0.2) and not self._closed:
                    pass  # its clean-up takes as long as it takes
            raise

    def close(self) -> None:
        """Ends the loop. Calls under way in other threads end first."""
        with self._lock:
            self._closed = True
            end, self._end = self._end, None
        if end is not None:
            end()

    def _started(self) -> BlockingPortal:
        if self._process not in {None, os.getpid()}:
            raise ClosedError(
                "The client was in use before this process was forked, and its connections belong "
                "to the parent. Make one client in each process."
            )
        if self._thread == threading.get_ident():
            raise ClosedError(
                "A blocking call was made from the client's own event loop, as in on_event; it "
                "would wait for itself."
            )
        with self._lock:
            if self._closed:
                raise ClosedError("The client is closed; make a new one.")
            return self._portal or self._start()

    def _start(self) -> BlockingPortal:
        context = start_blocking_portal("asyncio", name="chainhub-async")
        self._portal = context.__enter__()
        self._thread = self._portal.call(threading.get_ident)
        self._process = os.getpid()
        self._end = weakref.finalize(
            self, _end, context, self._portal, self._last, self._process, self._thread
        )
        return self._portal


def _end(context: _Context, portal: BlockingPortal, last: _Last, process: int, thread: int) -> None:
    if process != os.getpid():
        return
    if thread == threading.get_ident():
        # Dropped by a garbage collection on the loop's own thread, which cannot wait for itself.
        threading.Thread(target=_leave, args=(context, portal, last), daemon=True).start()
    else:
        _leave(context, portal, last)


def _leave(context: _Context, portal: BlockingPortal, last: _Last) -> None:
    try:
        portal.call(last)
    finally:
        context.__exit__(None, None, None)
