"""What related clients share: sessions, gate and retry budget, bound to one event loop."""

from __future__ import annotations

import itertools
import ssl
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import Any

import aiohttp
import anyio
from anyio.lowlevel import current_token

from chainhub_async.config import Limits
from chainhub_async.errors import ClosedError
from chainhub_async.networks import Network
from chainhub_async.transport.gate import Gate
from chainhub_async.transport.retry import RetryBudget
from chainhub_async.transport.session import check_ssl_context, open_session, request_ssl


class Pool:
    """Opens nothing until first used.

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
        self.gate: Gate = Gate(limits)
        self.budget: RetryBudget = RetryBudget()
        self.numbers: Iterator[int] = itertools.count(1)
        self._ssl_context = check_ssl_context(ssl_context)
        self._borrowed = borrowed
        self._api: aiohttp.ClientSession | None = None
        self._downloads: dict[frozenset[Network], aiohttp.ClientSession] = {}
        self._under_way: set[anyio.CancelScope] = set()
        self._all_ended: anyio.Event | None = None
        self._loop: Any = None
        self._closed = False

    @property
    def ssl(self) -> ssl.SSLContext | bool:
        """What to pass to aiohttp as `ssl`."""
        return request_ssl(self._ssl_context, self._borrowed)

    async def api(self) -> aiohttp.ClientSession:
        """Returns the session for gateway calls."""
        await self.bind()
        if self._api is None:
            self._api = open_session(
                connections=self.limits.connections,
                ssl_context=self._ssl_context,
                borrowed=self._borrowed,
            )
        return self._api

    async def downloads(self, networks: frozenset[Network]) -> aiohttp.ClientSession:
        """Returns the session for results, which connects only to these networks."""
        await self.bind()
        if networks not in self._downloads:
            self._downloads[networks] = open_session(
                connections=self.limits.connections,
                ssl_context=self._ssl_context,
                networks=networks,
            )
        return self._downloads[networks]

    async def bind(self) -> None:
        """Ensures that the pool is open and belongs to the running loop.

        Raises:
            ClosedError: it was closed, or belongs to another loop that still runs.
        """
        if self._closed:
            raise ClosedError("The client is closed; create a new one.")
        loop = current_token().native_token
        if self._loop is loop:
            return
        if self._loop is not None:
            if not self._loop.is_closed():
                raise ClosedError(
                    "The client is in use on another event loop; create one client for each loop."
                )
            # A second asyncio.run(): what belonged to the previous loop is gone with it.
            self.gate = Gate(self.limits)
            self._under_way = set()
        # First: other calls may arrive while the old sessions are being closed.
        self._loop = loop
        await self._close_sessions()

    @contextmanager
    def under_way(self) -> Generator[None, None, None]:
        """Surrounds a call or a download; closing the pool cancels it."""
        with anyio.CancelScope() as scope:
            self._under_way.add(scope)
            try:
                yield
            finally:
                self._under_way.discard(scope)
                if self._all_ended is not None and not self._under_way:
                    self._all_ended.set()

    async def close(self) -> None:
        """Cancels calls in progress and closes the connections. A borrowed session stays open."""
        self._closed = True
        if self._under_way and self._loop is current_token().native_token:
            self._all_ended = self._all_ended or anyio.Event()
            for scope in self._under_way:
                scope.cancel()
            # aiohttp would wait for uploads that nobody reads to be flushed.
            await self._all_ended.wait()
        await self._close_sessions()

    async def _close_sessions(self) -> None:
        sessions = [self._api, *self._downloads.values()]
        self._api, self._downloads = None, {}
        for session in sessions:
            if session is not None:
                await session.close()
