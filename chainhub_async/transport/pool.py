"""What related clients share: sessions, gate and retry budget, bound to one event loop."""

from __future__ import annotations

import atexit
import itertools
import ssl
import weakref
from collections.abc import AsyncGenerator, Generator, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import aiohttp
import anyio

from chainhub_async.config import Limits
from chainhub_async.errors import ClosedError
from chainhub_async.networks import Network
from chainhub_async.process import after_fork, current_process, keep_for_ever
from chainhub_async.transport.gate import Gate
from chainhub_async.transport.retry import RetryBudget
from chainhub_async.transport.running import running_loop
from chainhub_async.transport.session import check_ssl_context, open_session, request_ssl

# Seconds until the connections of a client that was dropped are closed. Clients are often dropped
# in the last turn of their loop, which then would leave the closing behind undone.
_PAUSE = 0.1


class _Claim:
    """Says which event loop of which process has a pool, and which one has it next."""

    def __init__(self, loop: Any = None) -> None:
        self.process = current_process()
        self.loop = loop
        self._next: dict[str, _Claim] = {}

    @property
    def is_inherited(self) -> bool:
        """Whether it was made before this process was forked."""
        return self.process is not current_process()

    @property
    def is_over(self) -> bool:
        """Whether another loop may have the pool."""
        return self.loop is None or self.is_inherited or self.loop.is_closed()

    def is_of(self, loop: Any) -> bool:
        """Whether `loop` has the pool."""
        return self.loop is loop and not self.is_inherited

    def last(self, loop: Any) -> _Claim:
        """Returns the claim that counts now, which is a new one of `loop` if others are over."""
        claim = self
        while claim.is_over:
            # Without a lock, which a fork may leave locked: of two loops at once, one gets there.
            claim = claim._next.setdefault("next", _Claim(loop))
        return claim


class Pool:
    """Opens nothing until first used.

    It serves one event loop at a time, and the next when that one is closed. A forked process
    begins with nothing in use, and leaves what it inherited alone.

    Attributes:
        limits: the configured limits.
        gate: what every call passes first.
        budget: limits the retries of all calls together.
        numbers: the sequence numbers of calls.
    """

    def __init__(
        self,
        limits: Limits,
        ssl_context: ssl.SSLContext | None,
        borrowed: aiohttp.ClientSession | None,
    ) -> None:
        self.limits = limits
        self.numbers: Iterator[int] = itertools.count(1)
        self._ssl_context = check_ssl_context(ssl_context)
        self._borrowed = borrowed
        self._process = current_process()
        self._claim = _Claim()
        self._closed = False
        self._guard: Any = None
        self._finalizer: weakref.finalize[..., Pool] | None = None
        self._begin()

    def _begin(self) -> None:
        self.gate: Gate = Gate(self.limits)
        self.budget: RetryBudget = RetryBudget()
        self._api: aiohttp.ClientSession | None = None
        self._downloads: dict[frozenset[Network], aiohttp.ClientSession] = {}
        self._under_way: set[anyio.CancelScope] = set()
        self._all_ended: anyio.Event | None = None
        self._open: list[aiohttp.ClientSession] = []

    @property
    def ssl(self) -> ssl.SSLContext | bool:
        """What to pass to aiohttp as `ssl`."""
        return request_ssl(self._ssl_context, self._borrowed)

    async def api(self) -> aiohttp.ClientSession:
        """Returns the session for gateway calls."""
        await self.bind()
        if self._api is None:
            self._api = self._opened(
                open_session(
                    connections=self.limits.connections,
                    ssl_context=self._ssl_context,
                    borrowed=self._borrowed,
                )
            )
        return self._api

    async def downloads(self, networks: frozenset[Network]) -> aiohttp.ClientSession:
        """Returns the session for results, which connects only to these networks."""
        await self.bind()
        if networks not in self._downloads:
            self._downloads[networks] = self._opened(
                open_session(
                    connections=self.limits.connections,
                    ssl_context=self._ssl_context,
                    networks=networks,
                )
            )
        return self._downloads[networks]

    async def bind(self) -> None:
        """Ensures that the pool is open and belongs to the running loop.

        Raises:
            ClosedError: it was closed, belongs to another loop that still runs, or the running
                loop is not asyncio's.
        """
        if self._closed:
            raise ClosedError("The client is closed; create a new one.")
        loop = running_loop()
        if self._claim.is_of(loop):
            return
        if not hasattr(loop, "is_closed"):
            raise ClosedError(
                "AsyncChainHub works on asyncio only, since its connections are aiohttp's; this "
                "is another event loop, such as trio's. Call the blocking ChainHub in a thread "
                "instead: await trio.to_thread.run_sync(partial(call, image, prompt=...)) with "
                "call = hub.ideogram.replace_background."
            )
        claim = self._claim.last(loop)
        if not claim.is_of(loop):
            raise ClosedError(
                "The client is in use on another event loop; create one client for each loop."
            )
        if self._borrowed is not None and self._process is not current_process():
            raise ClosedError(
                "The aiohttp session that was passed in belongs to the process that this one was "
                "forked from. Create a session and a client in each process."
            )
        if self._claim.loop is not None:
            self._begin()
        self._claim = claim
        guard = _closing(self._open)
        await guard.__anext__()
        _guards[guard] = loop, self._open
        self._guard = guard
        if self._finalizer is not None:
            self._finalizer.detach()
        self._finalizer = weakref.finalize(self, _let_go, loop, guard)
        self._finalizer.atexit = False
        await _close_left_behind()

    @contextmanager
    def under_way(self) -> Generator[None, None, None]:
        """Surrounds a call or a download; closing the pool cancels it."""
        with anyio.CancelScope() as scope:
            under_way = self._under_way
            under_way.add(scope)
            try:
                yield
            finally:
                under_way.discard(scope)
                if self._all_ended is not None and not under_way:
                    self._all_ended.set()

    async def close(self) -> None:
        """Cancels calls in progress and closes the connections. A borrowed session stays open.

        Raises:
            ClosedError: it belongs to another loop that still runs.
        """
        if self._claim.is_inherited:
            self._closed = True
            return
        if not self._claim.is_over and not self._claim.is_of(running_loop()):
            raise ClosedError("The client is in use on another event loop; close it there.")
        self._closed = True
        if self._under_way and self._claim.is_of(running_loop()):
            self._all_ended = self._all_ended or anyio.Event()
            for scope in self._under_way:
                scope.cancel()
            # aiohttp would wait for uploads that nobody reads to be flushed.
            await self._all_ended.wait()
        await self._close_sessions()

    async def _close_sessions(self) -> None:
        self._api, self._downloads = None, {}
        await _close(self._open)
        guard, self._guard = self._guard, None
        if _guards.pop(guard, None) is not None and self._claim.is_of(running_loop()):
            await guard.aclose()

    def _opened(self, session: aiohttp.ClientSession) -> aiohttp.ClientSession:
        self._open.append(session)
        return session


async def _close(sessions: list[aiohttp.ClientSession]) -> None:
    try:
        while sessions:
            await sessions.pop().close()
    finally:
        if sessions:  # cancelled meanwhile
            await _close(sessions)


async def _closing(sessions: list[aiohttp.ClientSession]) -> AsyncGenerator[None, None]:
    """Closes the sessions with their loop, which closes the generators begun on it when it ends."""
    process = current_process()
    try:
        yield
    finally:
        if sessions and process is current_process():
            with anyio.CancelScope(shield=True):
                await _close(sessions)


# Of every pool in use, with its loop and sessions: held here, sessions are never finalized together
# with the pool.
_guards: dict[Any, tuple[Any, list[aiohttp.ClientSession]]] = {}
# The tasks that close the sessions of pools that were dropped.
_tasks: set[Any] = set()


async def _close_left_behind() -> None:
    """Closes the sessions whose loop was closed without being ended."""
    for guard, (loop, sessions) in list(_guards.items()):
        if loop.is_closed():
            _guards.pop(guard, None)
            await _close(sessions)


def _let_go(loop: Any, guard: Any) -> None:
    """Has the sessions of a pool that was dropped closed by their loop, if that goes on."""
    if guard in _guards:  # else it was inherited
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(loop.call_later, _PAUSE, _end, loop, guard)


def _end(loop: Any, guard: Any) -> None:
    async def close() -> None:
        await guard.aclose()
        _guards.pop(guard, None)

    task = loop.create_task(close())
    _tasks.add(task)
    task.add_done_callback(_tasks.discard)


def _keep() -> None:
    for guard, held in _guards.items():
        if guard.ag_frame is not None:  # else its loop has ended, and the sessions are closed
            keep_for_ever((guard, held))
    _guards.clear()


after_fork(_keep)
# Their loops were closed without being ended, or are those of other threads.
atexit.register(_keep)
