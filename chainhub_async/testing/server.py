"""A listening server that counts its connections, based on aiohttp's plain server."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import attrs
from aiohttp import web

if TYPE_CHECKING:
    import asyncio

__all__ = ["ClientGoneError", "LocalServer", "read_body"]

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]

# Requests still being answered when the server stops get this long; a test must not wait.
SHUTDOWN_SECONDS = 0.05


class ClientGoneError(Exception):
    """The connection ended before the request's body did."""


class _CountingServer(web.Server):
    accepted = 0

    def connection_made(self, handler: web.RequestHandler, transport: asyncio.Transport) -> None:
        self.accepted += 1
        super().connection_made(handler, transport)


@attrs.define
class LocalServer:
    """Serves one handler from `start` to `stop`."""

    host: str
    port: int
    _runner: web.ServerRunner
    _server: _CountingServer

    @classmethod
    async def start(cls, handler: Handler, host: str, port: int) -> LocalServer:
        """Listen.

        Args:
            handler: Answers every request, whatever its method and path.
            host: The address to bind.
            port: The port; 0 takes a free one.

        Raises:
            OSError: The address cannot be bound.
        """
        # Bodies are checked as sent, so nothing is decompressed; there is no access log.
        server = _CountingServer(handler, auto_decompress=False, access_log=None)
        runner = web.ServerRunner(server, shutdown_timeout=SHUTDOWN_SECONDS)
        await runner.setup()
        try:
            await web.TCPSite(runner, host, port).start()
        except BaseException:
            await runner.cleanup()
            raise
        return cls(host, runner.addresses[0][1], runner, server)

    @property
    def connections(self) -> int:
        """How many TCP connections were accepted so far."""
        return self._server.accepted

    @property
    def url(self) -> str:
        """Its URL for clients on this machine."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)  # noqa: S104 - read, not bound
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"

    async def stop(self) -> None:
        """Close the socket and every connection."""
        await self._runner.cleanup()


async def read_body(request: web.BaseRequest, progress: Callable[[int], None]) -> bytes:
    """Read a request's body piece by piece; its `Content-Length`, checked before, is the bound.

    Args:
        request: The request.
        progress: Called with the length of each piece.

    Returns:
        The body.

    Raises:
        ClientGoneError: The connection ended before the body did.
    """
    body = bytearray()
    try:
        if request.headers.get("Expect", "").lower() == "100-continue":
            await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            request.writer.output_size = 0  # the interim reply is no part of the reply proper
        async for piece in request.content.iter_any():
            progress(len(piece))
            body += piece
    except (web.RequestPayloadError, OSError):
        raise ClientGoneError from None
    return bytes(body)
