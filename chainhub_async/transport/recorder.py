"""Keeps the bytes of a response, which aiohttp drops if it cannot parse them.

They may be all that is left of an image that is paid for.
"""

from __future__ import annotations

import threading
from asyncio import BufferedProtocol  # noqa: TID251 - anyio has no transports
from typing import Any

RECORDED = 1024 * 1024
"""Bytes that are kept of one response."""

_READ = 64 * 1024


class Recorder(BufferedProtocol):
    """A protocol between a connection and aiohttp's own, which gets everything unchanged.

    It stays with the connection, which serves one call after the other. Without it asyncio would
    allocate 256 KiB for each read, whose pages the system clears each time.
    """

    def __init__(self, protocol: Any) -> None:
        self._protocol = protocol
        self._received = bytearray()

    @classmethod
    def start(cls, transport: Any) -> bytearray:
        """Returns what fills with the bytes that come from here on."""
        recorder = transport.get_protocol()
        if not isinstance(recorder, cls):
            recorder = cls(recorder)
            transport.set_protocol(recorder)
        recorder._received = bytearray()
        return recorder._received

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - asyncio's
        """Called by the event loop, which reads into what this returns."""
        return _buffers.buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Called by the event loop next: so many bytes came."""
        data = bytes(_buffers.buffer[:nbytes])
        self._received += data[: RECORDED - len(self._received)]
        self._protocol.data_received(data)

    def eof_received(self) -> Any:
        """Called by the event loop: the server sends no more."""
        return self._protocol.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by the event loop: the connection is closed."""
        self._protocol.connection_lost(exc)

    def pause_writing(self) -> None:
        """Called by the event loop: the buffer is full."""
        self._protocol.pause_writing()

    def resume_writing(self) -> None:
        """Called by the event loop: the buffer has been sent."""
        self._protocol.resume_writing()


class _Buffers(threading.local):
    # One for all connections of a loop: what is read is passed on before anything else is read.
    def __init__(self) -> None:
        self.buffer = memoryview(bytearray(_READ))


_buffers = _Buffers()
