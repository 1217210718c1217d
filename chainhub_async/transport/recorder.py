"""Keeps the bytes of a response that aiohttp cannot parse, and ends the wait for the rest.

They may be all that is left of an image that is paid for.
"""

from __future__ import annotations

import threading
from asyncio import BufferedProtocol  # noqa: TID251 - anyio has no transports
from typing import Any

import aiohttp

RECORDED = 1024 * 1024
"""Bytes that are kept of one response."""

# As many as asyncio itself reads at a time.
_READ = 256 * 1024


class MalformedBodyError(Exception):
    """What came after the headers is not HTTP."""


class Recording:
    """What a connection received for one call.

    Attributes:
        received: the bytes, up to `RECORDED`.
    """

    def __init__(self) -> None:
        self.received: bytearray = bytearray()
        self._content: aiohttp.StreamReader | None = None
        self._has_ended = False

    def watch(self, content: aiohttp.StreamReader) -> None:
        """Says where the body is read from, so that whoever reads is told of the connection's end.

        aiohttp tells them too, but not if it closes the connection itself, because of chunks that
        are malformed: they would wait for ever.
        """
        self._content = content
        if self._has_ended:
            self.end()

    def end(self) -> None:
        """Has whoever still reads the body fail: the connection has ended, and nobody said so."""
        self._has_ended = True
        content = self._content
        if content is not None and not content.is_eof() and content.exception() is None:
            content.set_exception(MalformedBodyError("its body is not valid HTTP"))


class Recorder:
    """A protocol between a connection and aiohttp's own, which gets everything unchanged.

    It stays with the connection, which serves one call after the other.
    """

    def __init__(self, protocol: Any) -> None:
        self._protocol = protocol
        self._recording = Recording()

    @classmethod
    def start(cls, transport: Any) -> Recording:
        """Returns what fills with the bytes that come from here on."""
        recorder = transport.get_protocol()
        if not isinstance(recorder, Recorder):
            # asyncio's TLS drops what does not fit into a buffer when the connection ends.
            secure = transport.get_extra_info("sslcontext") is not None
            recorder = (Recorder if secure else _BufferedRecorder)(recorder)
            transport.set_protocol(recorder)
        return recorder.begin()

    def begin(self) -> Recording:
        """Returns what fills with the bytes that come from here on."""
        self._recording = Recording()
        return self._recording

    def data_received(self, data: bytes) -> None:
        """Called by the event loop: bytes came."""
        received = self._recording.received
        received += data[: RECORDED - len(received)]
        self._protocol.data_received(data)

    def eof_received(self) -> Any:
        """Called by the event loop: the server sends no more."""
        return self._protocol.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by the event loop: the connection is closed."""
        self._protocol.connection_lost(exc)
        self._recording.end()

    def pause_writing(self) -> None:
        """Called by the event loop: the buffer is full."""
        self._protocol.pause_writing()

    def resume_writing(self) -> None:
        """Called by the event loop: the buffer has been sent."""
        self._protocol.resume_writing()


class _BufferedRecorder(Recorder, BufferedProtocol):
    """Reads into memory that is used again; asyncio would allocate it anew for each read."""

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - asyncio's
        """Called by the event loop, which reads into what this returns."""
        return _buffers.buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Called by the event loop next: so many bytes came."""
        self.data_received(bytes(_buffers.buffer[:nbytes]))


class _Buffers(threading.local):
    # One for each thread, since the GIL is released while the kernel fills it. That is enough for
    # all connections: what was read is passed on before anything else is read.
    def __init__(self) -> None:
        self.buffer = memoryview(bytearray(_READ))


_buffers = _Buffers()
