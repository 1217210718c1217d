"""Keeps the bytes of a response, which aiohttp drops if it cannot parse them.

They may be all that is left of an image that is paid for.
"""

from __future__ import annotations

from typing import Any

RECORDED = 1024 * 1024
"""Bytes that are kept of one response."""


class Recorder:
    """A protocol between a connection and aiohttp's own, which gets everything unchanged.

    It stays with the connection, which serves one call after the other.
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

    def data_received(self, data: bytes) -> None:
        """Called by the event loop: bytes came."""
        self._received += data[: RECORDED - len(self._received)]
        self._protocol.data_received(data)

    def eof_received(self) -> Any:
        """Called by the event loop: the server sends no more."""
        return self._protocol.eof_received()

    def connection_lost(self, error: Exception | None) -> None:
        """Called by the event loop: the connection is closed."""
        self._protocol.connection_lost(error)

    def pause_writing(self) -> None:
        """Called by the event loop: the buffer is full."""
        self._protocol.pause_writing()

    def resume_writing(self) -> None:
        """Called by the event loop: the buffer has been sent."""
        self._protocol.resume_writing()
