"""Looks up host names in threads that nobody has to wait for.

aiohttp's own resolver uses the event loop's threads, which are waited for when the loop ends: a
name server that does not answer would hold back Ctrl-C and the end of the program.
"""

from __future__ import annotations

import socket
import sys
from functools import partial
from typing import Any

import anyio
import anyio.to_thread
from aiohttp.abc import AbstractResolver, ResolveResult

# More lookups at once wait, so that a name server that does not answer costs so many threads.
_MOST_AT_ONCE = 16


class Resolver(AbstractResolver):
    """Resolves names as the operating system does."""

    def __init__(self) -> None:
        # Its own: files are read by others meanwhile.
        self._limiter = anyio.CapacityLimiter(_MOST_AT_ONCE)

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Returns the addresses of a host. A lookup that is cancelled goes on unheeded."""
        return await anyio.to_thread.run_sync(
            partial(_look_up, host, port, family), abandon_on_cancel=True, limiter=self._limiter
        )

    async def close(self) -> None:
        """Does nothing."""


def _look_up(host: str, port: int, family: int) -> list[ResolveResult]:
    look_up = partial(socket.getaddrinfo, host, port, family, socket.SOCK_STREAM)
    try:
        found = look_up(flags=socket.AI_ADDRCONFIG)
    except socket.gaierror:
        # Windows has no address for `localhost` while no network is connected.
        if sys.platform != "win32" or host.rstrip(".").lower() != "localhost":
            raise
        found = look_up()
    return [_result(host, *one) for one in found]


def _result(host: str, family: Any, _: Any, protocol: int, __: str, address: Any) -> ResolveResult:
    numeric, port = address[0], address[1]
    if family == socket.AF_INET6 and len(address) > 3 and address[3]:
        # A link-local address needs the name of its interface.
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
