"""The request body: multipart or plain bytes, of exact length, streamed, counting what was sent.

The only code that knows aiohttp's payloads and its writer. A body serves one attempt.
"""

from __future__ import annotations

import secrets
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, cast

import anyio
from aiohttp import payload
from aiohttp.abc import AbstractStreamWriter

from chainhub_async.errors import ChainHubError
from chainhub_async.images import ImageSource
from chainhub_async.transport.messages import Part, Request
from chainhub_async.transport.reading import opened
from chainhub_async.transport.recorder import Recorder, Recording
from chainhub_async.transport.turns import take_turn

# Bytes of a file that are read and written at a time. What the kernel does not take waits in memory
# for every upload under way, so that a step is no longer than what the kernel keeps for the
# connection: megabytes over loopback, 100 KB at the beginning of a long way. Larger steps than
# the largest no longer fit into the processor's cache; smaller ones than the smallest cost a hop to
# a thread for little. Text that precedes an image is shorter than any step, or leaves by itself.
_STEP, _LEAST_STEP = 512 * 1024, 128 * 1024
# OpenSSL keeps a buffer of the largest step for every connection.
_SECURE_STEP = 128 * 1024

# Buffers that are not in use. New ones cost more than what is done with them: the system clears
# their memory page by page.
_spare: list[bytearray] = []
_MOST_SPARE = 16

# What TLS itself may still have to send when the whole body has left: its goodbye of some 30
# bytes. The closing boundary, which is written last, is longer than this.
_GOODBYE = 40

Segment = bytes | ImageSource


def multipart(parts: tuple[Part, ...], boundary: str) -> list[Segment]:
    """Returns the segments of a multipart/form-data body (RFC 7578)."""
    segments: list[Segment] = []
    text = b""
    for part in parts:
        text += b"--" + boundary.encode() + b"\r\n" + _part_head(part) + b"\r\n"
        if isinstance(part.content, bytes):
            text += part.content
        else:
            segments += [text, part.content]
            text = b""
        text += b"\r\n"
    segments.append(text + b"--" + boundary.encode() + b"--\r\n")
    return segments


def _part_head(part: Part) -> bytes:
    head = f'Content-Disposition: form-data; name="{part.name}"'
    if isinstance(part.content, ImageSource):
        head += f'; filename="{part.content.name}"'
    head += "\r\n"
    if part.content_type is not None:
        head += f"Content-Type: {part.content_type}\r\n"
    return head.encode("ascii")


class Body(payload.Payload):
    """One attempt's body.

    Attributes:
        handed: bytes given to the transport so far; counted before they are given, so that fewer
            than `size` proves that the request was not sent completely.
        recording: what the connection received for this attempt.
        error: why the body aborted itself, if it did.
        idle: whether nothing is being read or sent, not yet or not any more.
    """

    def __init__(
        self,
        segments: list[Segment],
        content_type: str,
        on_progress: Callable[[Body], None],
        before_last: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        super().__init__(None, content_type=content_type)
        self._autoclose = True
        self._segments = segments
        self._length = sum(
            len(segment) if isinstance(segment, bytes) else segment.size for segment in segments
        )
        self._on_progress = on_progress
        self._before_last = before_last
        self._transport: Any = None  # asyncio's transport while the body is being sent
        self._started = False
        self._finished: anyio.Event | None = None  # while somebody waits for it
        self.handed: int = 0
        self.recording: Recording = Recording()
        self.error: ChainHubError | None = None
        self.idle: bool = True

    @classmethod
    def of(
        cls,
        request: Request,
        on_progress: Callable[[Body], None],
        before_last: Callable[[], Awaitable[None]] | None = None,
    ) -> Body | None:
        """Returns a new body for `request`, or None if it has none.

        Args:
            request: the request.
            on_progress: called whenever bytes were handed over.
            before_last: awaited before the bytes without which the body is not complete; what it
                raises aborts the body.
        """
        if request.parts:
            # 192 random bits: no content holds it by chance, none can be made to hold it.
            boundary = secrets.token_hex(24)
            kind = f"multipart/form-data; boundary={boundary}"
            return cls(multipart(request.parts, boundary), kind, on_progress, before_last)
        if request.content is not None:
            # An empty Content-Type is no header that may be sent.
            kind = request.content_type or "application/octet-stream"
            return cls([request.content], kind, on_progress, before_last)
        return None

    @property
    def size(self) -> int:
        """The exact length in bytes."""
        return self._length

    @property
    def complete(self) -> bool:
        """Whether every byte has been handed to the transport."""
        return self._started and self.handed >= self._length

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:  # noqa: ARG002 - aiohttp's
        """Refuses to be decoded to text."""
        raise TypeError("The body is streamed and has no text form.")

    async def write(self, writer: AbstractStreamWriter) -> None:
        """Called by aiohttp: sends the body."""
        self._started = self._consumed = True
        self.idle = False
        self._transport = writer.transport
        try:
            # Bytes received before a request was sent would be taken for its response.
            if cast("Any", writer).protocol.should_close:
                raise ConnectionResetError("the connection holds an unsolicited response")
            if self._transport is not None:
                _set_water_marks(self._transport)
                self.recording = Recorder.start(self._transport)
            await self._write_segments(writer)
            self._transport = None  # from here on the connection may serve another call
        except ChainHubError as error:
            self.error = error
            raise
        finally:
            try:
                self.stop()
            finally:
                self.idle = True
                if self._finished is not None:
                    self._finished.set()

    async def write_with_length(
        self,
        writer: AbstractStreamWriter,
        content_length: int | None,  # noqa: ARG002 - it is `size`
    ) -> None:
        """Called by aiohttp, with the length that `size` promised."""
        await self.write(writer)

    def stop(self) -> None:
        """Drops the connection with whatever it still buffers, and subtracts that from `handed`.

        Closing would still flush what is buffered: a request counted as not delivered could then
        arrive, and be paid for, after all.
        """
        transport, self._transport = self._transport, None
        if transport is None:
            return
        unsent = 0
        # asyncio raises this for a transport that has closed itself: nothing is known then, which
        # counts as sent.
        with suppress(AttributeError):
            unsent = transport.get_write_buffer_size()
        with suppress(AttributeError):
            transport.abort()
        if unsent > _GOODBYE:
            self.handed -= min(unsent, self.handed)

    def forget(self) -> None:
        """Tells nobody any more; what is told usually refers to this, and would never be freed."""
        self._on_progress, self._before_last = _ignore, None

    async def wait_finished(self) -> None:
        """Waits until nothing is being read or sent any more."""
        if not self.idle:
            self._finished = self._finished or anyio.Event()
            await self._finished.wait()

    async def _write_segments(self, writer: AbstractStreamWriter) -> None:
        # What precedes an image leaves in one write with its first bytes, unless it is so long that
        # it does not fit into the first step. What follows the last image, the closing boundary, is
        # written alone and last: as long as anything before it may still be in a buffer, the count
        # says that the body is not complete.
        pending = b""
        for segment in self._segments:
            if isinstance(segment, bytes):
                pending += segment
                continue
            if len(pending) >= _LEAST_STEP:
                await self._write_bytes(writer, b"", pending)
                pending = b""
            if segment.data is not None:
                await self._write_bytes(writer, pending, segment.data)
            else:
                await self._write_file(writer, pending, segment)
            pending = b""
        if self._before_last is not None:
            await self._before_last()
        await self._write_chunk(writer, pending)

    async def _write_chunk(self, writer: AbstractStreamWriter, chunk: bytes | memoryview) -> None:
        if self._transport is None or self._transport.is_closing():
            raise ConnectionResetError("the connection was closed during the upload")
        self.handed += len(chunk)
        # aiohttp's own draining waits for less than the kernel; see below.
        await cast("Any", writer).write(chunk, drain=False)
        await writer.drain()
        self._on_progress(self)

    async def _write_bytes(self, writer: AbstractStreamWriter, pending: bytes, data: bytes) -> None:
        whole, at = memoryview(data), 0
        while at < len(data):
            await take_turn(begun=True)
            step = whole[at : at + _step_for(self._transport) - len(pending)]
            if pending:
                buffer = _buffer()
                view = memoryview(buffer)[: len(pending) + len(step)]
                view[: len(pending)], view[len(pending) :] = pending, step
                await self._write_chunk(writer, view)
                _give_back(buffer)
            else:
                await self._write_chunk(writer, step)
            pending, at = b"", at + len(step)

    async def _write_file(
        self, writer: AbstractStreamWriter, pending: bytes, image: ImageSource
    ) -> None:
        at = 0
        async with opened(image) as file:
            while at < image.size:
                await take_turn(begun=True)
                buffer = _buffer()
                view = memoryview(buffer)[: _step_for(self._transport)]
                # What precedes the image is put before its first bytes, in the same write.
                view[: len(pending)] = pending
                got = await file.read_into(view[len(pending) :], at)
                await self._write_chunk(writer, view[: len(pending) + got])
                pending, at = b"", at + got
                _give_back(buffer)


def _buffer() -> bytearray:
    try:
        return _spare.pop()
    except IndexError:  # another loop's thread may have been faster
        return bytearray(_STEP)


def _give_back(buffer: bytearray) -> None:
    # Only once the kernel has taken all of it, and so not after an error: it may still be in use.
    if len(_spare) < _MOST_SPARE:
        _spare.append(buffer)


def _ignore(_: object) -> None:
    pass


def _set_water_marks(transport: Any) -> None:
    # With a high-water mark of zero `drain` returns when the kernel has taken everything: memory
    # stays flat, and the count means what it says. asyncio's TLS transport never resumes after a
    # mark of zero; one byte is its smallest.
    transport.set_write_buffer_limits(high=1 if _is_secure(transport) else 0, low=0)


def _is_secure(transport: Any) -> bool:
    return transport.get_extra_info("sslcontext") is not None


def _step_for(transport: Any) -> int:
    if transport is None or _is_secure(transport):
        return _SECURE_STEP
    room = 0
    # A transport need not have a socket.
    with suppress(AttributeError, OSError):
        connection = transport.get_extra_info("socket")
        room = connection.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)
    return min(_STEP, max(_LEAST_STEP, room))
