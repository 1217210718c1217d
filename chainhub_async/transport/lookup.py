"""aiohttp's resolver on top of look-ups that nobody has to wait for."""

from __future__ import annotations

import socket
from typing import Any

import anyio
from aiohttp.abc import AbstractResolver, ResolveResult

from chainhub_async.lookups import look_up

# More at once wait, so that a name server that does not answer costs no more threads than these.
_MOST_AT_ONCE = 16


class Resolver(AbstractResolver):
    """Resolves names as the operating system does."""

    def __init__(self) -> None:
        self._room = anyio.Semaphore(_MOST_AT_ONCE)

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Returns the addresses of a host."""
        await self._room.acquire()
        found = await look_up(host, port, family, at_end=self._room.release)
        return [_result(host, *one) for one in found]

    async def close(self) -> None:
        """Does nothing."""


def _result(host: str, family: Any, _: Any, protocol: int, __: str, address: Any) -> ResolveResult:
    numeric, port = address[0], address[1]
    if family == socket.AF_INET6 and len(address) > 3 and address[3]:
        # A link-local address needs the name of its interface. Numbers only: it does not block.
        flags = socket.NI_NUMERICHOST | socket.NI_NUMERICSERV
        numeric, _port = socket.getnameinfo(address, flags)
    return ResolveResult(
        hostname=host,
        host=numeric,
        port=port,
        family=family,
        proto=protocol,
        flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
    )
