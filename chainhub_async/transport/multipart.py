"""The request body: multipart or plain bytes, of exact length, streamed, counting what was sent.

The only code that knows aiohttp's payloads and its writer. A body serves one attempt.
"""

from __future__ import annotations

import asyncio  # noqa: TID251 - aiohttp cancels its writer in a way that anyio cannot shield from
import os
import secrets
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, cast

import aiofiles
import anyio
import anyio.to_thread
from aiohttp import payload
from aiohttp.abc import AbstractStreamWriter

from chainhub_async.errors import ChainHubError, ImageChangedError, printable
from chainhub_async.images import FileStamp, ImageSource, open_regular
from chainhub_async.transport.messages import Part, Request
from chainhub_async.transport.recorder import Recorder

# Each read is a hop to a thread: steps of 64 KiB take three times as long as these, larger ones
# gain little and cost memory.
_STEP = 256 * 1024

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
        received: the bytes of the response, as they came.
        error: why the body aborted itself, if it did.
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
        self._finished = anyio.Event()
        self.handed: int = 0
        self.received: bytearray = bytearray()
        self.error: ChainHubError | None = None

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
        self._transport = writer.transport
        try:
            # Bytes received before a request was sent would be taken for its response.
            if cast("Any", writer).protocol.should_close:
                raise ConnectionResetError("the connection holds an unsolicited response")
            if self._transport is not None:
                _wait_for_the_kernel(self._transport)
                self.received = Recorder.start(self._transport)
            await self._write_segments(writer)
            self._transport = None  # from here on the connection may serve another call
        except ChainHubError as error:
            self.error = error
            raise
        finally:
            try:
                self.stop()
            finally:
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

    async def wait_finished(self) -> None:
        """Waits until nothing is being read or sent any more."""
        if self._started:
            await self._finished.wait()

    async def _write_segments(self, writer: AbstractStreamWriter) -> None:
        # What precedes an image leaves in one write with its first bytes. What follows the last
        # one, the closing boundary, is written alone and last: as long as anything before it may
        # still be in a buffer, the count says that the body is not complete.
        pending = b""
        for segment in self._segments:
            if isinstance(segment, bytes):
                pending += segment
                continue
            if segment.data is not None:
                await self._write_bytes(writer, pending, segment.data)
            else:
                await self._write_file(writer, pending, segment)
            pending = b""
        if self._before_last is not None:
            await self._before_last()
        await self._write_chunk(writer, pending)

    async def _write_chunk(self, writer: AbstractStreamWriter, chunk: bytes) -> None:
        if self._transport is None or self._transport.is_closing():
            raise ConnectionResetError("the connection was closed during the upload")
        self.handed += len(chunk)
        # aiohttp's own draining waits for less than the kernel; see below.
        await cast("Any", writer).write(chunk, drain=False)
        await writer.drain()
        self._on_progress(self)

    async def _write_bytes(self, writer: AbstractStreamWriter, pending: bytes, data: bytes) -> None:
        for at in range(0, len(data), _STEP):
            await self._write_chunk(writer, pending + data[at : at + _STEP])
            pending = b""

    async def _write_file(
        self, writer: AbstractStreamWriter, pending: bytes, image: ImageSource
    ) -> None:
        async with _opened(image) as read:
            left = image.size
            while left:
                chunk = await read(min(_STEP, left))
                left -= len(chunk)
                await self._write_chunk(writer, pending + chunk)
                pending = b""


def _wait_for_the_kernel(transport: Any) -> None:
    # With a high-water mark of zero `drain` returns when the kernel has taken everything: memory
    # stays flat, and the count means what it says. asyncio's TLS transport never resumes after a
    # mark of zero; one byte is its smallest.
    secure = transport.get_extra_info("sslcontext") is not None
    transport.set_write_buffer_limits(high=1 if secure else 0, low=0)


@asynccontextmanager
async def _opened(image: ImageSource) -> AsyncGenerator[Callable[[int], Awaitable[bytes]], None]:
    """Opens the image's file and yields a function that reads on, or fails if the file changed."""
    shown = f"The image {printable(image.path)!r}"
    left = image.size

    def open_unchanged(path: str, flags: int) -> int:
        # A file replaced while the call waited is refused before a byte of it is read.
        descriptor = open_regular(path, flags)
        if FileStamp.of(descriptor) == image.stamp:
            return descriptor
        os.close(descriptor)
        raise _changed(shown, "was changed after it was checked")

    async def read(size: int) -> bytes:
        nonlocal left
        try:
            chunk: bytes = await file.read(size)
            left -= len(chunk)
            # Before the last bytes are sent: until then the call can be aborted at no cost.
            if len(chunk) == size and left:
                return chunk
            now = await anyio.to_thread.run_sync(FileStamp.of, file.fileno())
        except OSError as problem:
            raise _changed(shown, f"could not be read to its end ({problem.strerror})") from None
        if left or now != image.stamp:
            raise _changed(shown, "was changed while it was being sent")
        return chunk

    try:
        # An ImageSource has a path wherever it has no data.
        path = cast("Path", image.path)
        file = await _finished(aiofiles.open(path, "rb", opener=open_unchanged))
    except OSError as problem:
        raise _changed(shown, f"can no longer be opened ({problem.strerror})") from None
    try:
        if image.offset:
            await file.seek(image.offset)
        yield read
    finally:
        await _finished(file.close())


async def _finished(work: Awaitable[Any]) -> Any:
    """Returns the result of `work`; a cancellation takes effect at the next await.

    A file opened in a thread must not stay open because its caller was cancelled, nor may its
    closing be cancelled before it starts.
    """
    task = asyncio.ensure_future(work)
    cancelled = False
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError:
            cancelled = True
    if cancelled and (current := asyncio.current_task()):
        current.cancel()
    return task.result()


def _changed(shown: str, what: str) -> ImageChangedError:
    return ImageChangedError(
        f"{shown} {what}. The upload was aborted before its end, so nothing was executed."
    )
