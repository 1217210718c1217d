"""HTTP/1.1 by hand: one connection, one request read from it, and the well-formed response.

Written without an HTTP library on purpose. A library would refuse to send what a broken server
sends, and would parse requests in the same way as the client under test.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import re
import socket
import struct
import zlib
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from collections.abc import Callable

    from chainhub_async.testing.faults import Fault

READ_SIZE = 65536
_RESULT_PATH = re.compile(r"/results/(\w+)-(\d+)\.png")
_LINGER_ZERO = struct.pack("hh" if os.name == "nt" else "ii", 1, 0)


class BadRequestError(Exception):
    """The client disconnected during its request, or sent something that is not a request."""


@attrs.define(kw_only=True, eq=False)
class Received:
    """One request as far as it was received; updated while it arrives.

    Attributes:
        method: The method as sent.
        path: The request target as sent, query included.
        headers: Names and values in the order sent.
        connection: Which connection of the server carried it, counted from 1.
        body_received: Bytes of the body read so far, without transfer coding.
        body_complete: Whether the whole body was read.
        image: SHA-256 (hex) of the ``image`` part, or for a result's URL of the image it was made
            from.
        fault: What the server did with the request.
        billed: Whether a real gateway would have charged for it.
    """

    method: str
    path: str
    headers: tuple[tuple[str, str], ...] = attrs.field(repr=False)
    connection: int
    body_received: int = 0
    body_complete: bool = False
    image: str | None = None
    fault: Fault | None = None
    billed: bool = False

    def header(self, name: str) -> str | None:
        """Return the first header of this name, whatever its case, or None."""
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)


@attrs.frozen
class Reply:
    """A final response, before it is sent (or only half of it is)."""

    status: int = 200
    headers: tuple[tuple[str, str], ...] = attrs.field(default=(), kw_only=True)
    body: bytes = attrs.field(default=b"", kw_only=True)

    def head(self, *extra: tuple[str, str], length: bool = True) -> bytes:
        """Render status line and headers; ``length=False`` leaves ``Content-Length`` out."""
        fields = [*self.headers, *extra]
        # A script that states its own length means to lie about it.
        if length and "content-length" not in {name.lower() for name, _ in fields}:
            fields.append(("Content-Length", str(len(self.body))))
        lines = [f"HTTP/1.1 {self.status} -", *(f"{name}: {value}" for name, value in fields)]
        return "\r\n".join([*lines, "", ""]).encode("utf-8", "surrogateescape")


@attrs.frozen
class Wire:
    """One accepted connection and the ways to end it."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def send(self, data: bytes) -> None:
        """Write, and wait while the client does not read."""
        self.writer.write(data)
        await self.writer.drain()

    async def drip(self, data: bytes, *, size: int, interval: float) -> None:
        """Write ``size`` bytes every ``interval`` seconds."""
        for start in range(0, len(data), size):
            await self.send(data[start : start + size])
            await asyncio.sleep(interval)

    def reset(self) -> None:
        """End with RST: what was not read yet, or not sent yet, is lost."""
        self.writer.get_extra_info("socket").setsockopt(
            socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_ZERO
        )
        self.writer.transport.abort()

    async def finish(self) -> None:
        """End with FIN, and wait for the client to end its side.

        What still comes in is thrown away: a close with unread bytes would go out as RST. TLS has
        no half-close, so there the end is a plain close and a client still sending may see a reset.
        """
        if self.writer.can_write_eof():
            self.writer.write_eof()
            await self.wait_gone()
        self.writer.close()

    async def end(self, *, reset: bool) -> None:
        """End with RST or with FIN."""
        if reset:
            self.reset()
        else:
            await self.finish()

    async def wait_gone(self) -> None:
        """Read and forget until the client ends its side."""
        while await self.reader.read(READ_SIZE):
            pass

    async def stop_reading(self) -> None:
        """Read nothing more, and hold the connection until the server's cap ends it."""
        # The stream reader stops its transport by itself once its own small buffer is full.
        await asyncio.Event().wait()


@attrs.define(kw_only=True, eq=False)
class Exchange:
    """One request on its connection, and what a fault may do with it."""

    wire: Wire
    received: Received
    base_url: str
    on_complete: Callable[[Exchange], None]
    keep_alive: bool = True
    body: bytearray = attrs.field(factory=bytearray, repr=False)
    _left: int = 0
    _last: bool = False

    def __attrs_post_init__(self) -> None:
        """Take framing and persistence from the head."""
        self.keep_alive = (self.received.header("Connection") or "").lower() != "close"
        self._left = _number(rb"(\d+)$", (self.received.header("Content-Length") or "0").encode())
        # A body of stated length is one last chunk.
        self._last = (self.received.header("Transfer-Encoding") or "").lower() != "chunked"

    async def read_body(self, upto: int | None = None) -> None:
        """Read the body to its end, or until ``upto`` bytes of it were read.

        Raises:
            BadRequestError: The body ended early.
        """
        if (self.received.header("Expect") or "").lower() == "100-continue" and not self.body:
            await self.wire.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        while not self.received.body_complete and (upto is None or len(self.body) < upto):
            await self._read_some(READ_SIZE if upto is None else upto - len(self.body))

    async def _read_some(self, most: int) -> None:
        if not self._left and not self._last:
            await self._next_chunk()
        if self._left:
            data = await self.wire.reader.read(min(most, self._left))
            if not data:
                raise BadRequestError
            self._left -= len(data)
            self.body += data
            self.received.body_received = len(self.body)
        if not self._left and self._last:
            self.received.body_complete = True
            self.identify()
            self.on_complete(self)

    async def _next_chunk(self) -> None:
        if self.body:
            await self.wire.reader.readline()
        self._left = _number(rb"([0-9a-fA-F]+)", await self.wire.reader.readline(), base=16)
        self._last = not self._left
        while self._last and (await self.wire.reader.readline()).strip():
            pass

    def identify(self) -> None:
        """Record which image the request is about, if already known."""
        result = _RESULT_PATH.match(self.received.path)
        image = self.parts.get("image")
        if image is not None:
            self.received.image = image_key(image)
        elif result:
            self.received.image = result[1]

    @property
    def parts(self) -> dict[str, bytes]:
        """The form's parts by name; those still on their way are left out."""
        return form_parts(self.received.header("Content-Type") or "", bytes(self.body))

    def good(self) -> Reply:
        """Return a well-behaved gateway's response to this request."""
        if self.received.method == "POST":
            return _image_list(self)
        result = _RESULT_PATH.match(self.received.path)
        if not result:
            return json_reply({"error": {"message": "Invalid URL"}}, status=404)
        body = result_png(result[1], int(result[2]))
        return Reply(headers=(("Content-Type", "image/png"),), body=body)

    async def reply(self, reply: Reply) -> None:
        """Send a complete, well-framed response."""
        extra = () if self.keep_alive else (("Connection", "close"),)
        # One write, so that a reset right behind it cannot fall between head and body.
        await self.wire.send(reply.head(*extra) + reply.body)

    async def end(self, *, reset: bool = False) -> None:
        """End the connection with FIN or RST; no further request is read from it."""
        self.keep_alive = False
        await self.wire.end(reset=reset)


async def read_head(reader: asyncio.StreamReader, connection: int) -> Received | None:
    """Read a request up to its empty line; None if the client leaves first.

    Raises:
        BadRequestError: The bytes are not an HTTP request.
    """
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    first, *lines = head.decode("latin-1").rstrip("\r\n").split("\r\n")
    request = re.fullmatch(r"([A-Z]+) (\S+) HTTP/1\.[01]", first)
    if not request:
        raise BadRequestError(first)
    pairs = (line.partition(":") for line in lines)
    headers = tuple((name, value.strip()) for name, _, value in pairs)
    return Received(method=request[1], path=request[2], headers=headers, connection=connection)


def _number(pattern: bytes, text: bytes, *, base: int = 10) -> int:
    match = re.match(pattern, text)
    if not match:
        raise BadRequestError(text)
    return int(match[1], base)


def form_parts(content_type: str, body: bytes) -> dict[str, bytes]:
    """Split a multipart body; a part counts once the boundary behind it is there."""
    boundary = re.search(r'boundary="?([^";,]+)', content_type)
    if not boundary:
        return {}
    pieces = (b"\r\n" + body).split(b"\r\n--" + boundary[1].encode("latin-1"))
    parts: dict[str, bytes] = {}
    for piece in pieces[1:-1]:
        head, _, content = piece.partition(b"\r\n\r\n")
        name = re.search(rb'\bname="?([^";\r\n]+)', head)
        parts[name[1].decode("utf-8", "replace") if name else ""] = content
    return parts


def image_key(image: str | bytes) -> str:
    """Return the SHA-256 of the bytes in hex; a string is taken to be one already."""
    return image if isinstance(image, str) else hashlib.sha256(image).hexdigest()


def json_reply(value: object, *, status: int = 200) -> Reply:
    """Return a response with a JSON body."""
    body = json.dumps(value).encode()
    return Reply(status, headers=(("Content-Type", "application/json"),), body=body)


def result_png(image: str, index: int = 0) -> bytes:
    """Return the PNG served as a result: valid, small, different for each image and index."""
    shade = zlib.crc32(f"{image}-{index}".encode()).to_bytes(4, "big")
    rows = b"".join(b"\0" + shade[:3] * 8 for _ in range(8))
    return b"\x89PNG\r\n\x1a\n" + b"".join((
        _png_chunk(b"IHDR", struct.pack(">IIBBBBB", 8, 8, 8, 2, 0, 0, 0)),
        _png_chunk(b"tEXt", f"Source\0{image}-{index}".encode("latin-1", "replace")),
        _png_chunk(b"IDAT", zlib.compress(rows)),
        _png_chunk(b"IEND", b""),
    ))  # fmt: skip


def _png_chunk(kind: bytes, data: bytes) -> bytes:
    check = zlib.crc32(kind + data).to_bytes(4, "big")
    return len(data).to_bytes(4, "big") + kind + data + check


def _image_list(x: Exchange) -> Reply:
    """Return the API's image list, one entry per requested image."""
    asked = x.parts.get("num_images", b"1")
    prompt = x.parts.get("prompt", b"").decode("utf-8", "replace")
    url = f"{x.base_url}/results/{x.received.image or 'none'}"
    entry = {"prompt": prompt, "resolution": "8x8", "is_image_safe": True, "seed": 12345}
    count = int(asked) if asked.isdigit() else 1
    data = [{"url": f"{url}-{index}.png", **entry} for index in range(count)]
    return json_reply({"created": "2026-01-05T10:11:12.123456789+08:00", "data": data})
