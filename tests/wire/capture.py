"""A server that keeps the very bytes it gets, and is polite only as far as it is told."""

from __future__ import annotations

import json
import re
import socket
import ssl
import struct
import zlib
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import attrs
from anyio.abc import SocketAttribute, SocketStream
from anyio.streams.buffered import BufferedByteReceiveStream
from anyio.streams.tls import TLSListener

REPLY = json.dumps({"created": 1767607872, "data": [{"url": "http://127.0.0.1/a.png"}]}).encode()


def png(extra: bytes = b"") -> bytes:
    """A small real PNG; what is appended to it is part of the image sent."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0))
    whole = header + chunk(b"IDAT", zlib.compress(b"\0\0")) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + whole + extra


@attrs.define
class Captured:
    """One request: its head, and what came of its body."""

    head: bytes
    body: bytes = b""
    whole: bool = False

    def headers(self, name: str) -> list[str]:
        """Every value of a header, in any case."""
        lines = self.head.decode("latin-1").split("\r\n")[1:]
        pairs = [line.split(":", 1) for line in lines if line]
        return [value.strip() for key, value in pairs if key.lower() == name.lower()]

    @property
    def boundary(self) -> str:
        """The boundary named in the head."""
        found = re.fullmatch("multipart/form-data; boundary=(.+)", self.headers("content-type")[0])
        return found.group(1) if found else ""


Behaviour = Callable[["Server", SocketStream, int], Awaitable[bool]]


@attrs.define
class Server:
    """Keeps every request.

    Attributes:
        before_body: called when a head has arrived, with the connection and the request's number;
            False drops the connection.
        before_reply: called when the body has arrived.
    """

    port: int
    tls: str = ""
    before_body: Behaviour | None = None
    before_reply: Behaviour | None = None
    requests: list[Captured] = attrs.field(factory=list)
    connections: int = 0
    closed: int = 0

    @property
    def url(self) -> str:
        return f"http{self.tls}://127.0.0.1:{self.port}"

    async def serve(self, stream: SocketStream) -> None:
        self.connections += 1
        buffered = BufferedByteReceiveStream(stream)
        try:
            async with stream:
                while await self._one(stream, buffered):
                    pass
        except (anyio.BrokenResourceError, anyio.EndOfStream, anyio.IncompleteRead):
            pass
        finally:
            self.closed += 1

    async def _one(self, stream: SocketStream, buffered: BufferedByteReceiveStream) -> bool:
        head = await buffered.receive_until(b"\r\n\r\n", 65536)
        seen = Captured(head)
        self.requests.append(seen)
        number = len(self.requests)
        if self.before_body and not await self.before_body(self, stream, number):
            return False
        left = int((seen.headers("content-length") or ["0"])[0])
        body = bytearray()
        try:
            while left:
                piece = await buffered.receive(min(left, 1 << 20))
                body += piece
                left -= len(piece)
        finally:
            seen.body = bytes(body)
        seen.whole = True
        if self.before_reply and not await self.before_reply(self, stream, number):
            return False
        await stream.send(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"
            % (len(REPLY), REPLY)
        )
        return True


@asynccontextmanager
async def capturing(
    *, receive_buffer: int | None = None, tls: ssl.SSLContext | None = None
) -> AsyncGenerator[Server]:
    """Runs a server; a small `receive_buffer` makes uploads wait for it."""
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    if receive_buffer is not None:
        raw = listener.listeners[0].extra(SocketAttribute.raw_socket)
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    server = Server(listener.extra(SocketAttribute.local_port), tls="s" if tls else "")
    serving: Any = listener
    if tls is not None:
        serving = TLSListener(listener, tls, standard_compatible=False)
    async with serving, anyio.create_task_group() as group:
        group.start_soon(serving.serve, server.serve)
        yield server
        group.cancel_scope.cancel()
