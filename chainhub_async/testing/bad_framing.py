"""Responses with broken framing or compression, and connections that close unexpectedly."""

from __future__ import annotations

import asyncio
import gzip
import zlib
from enum import Enum
from typing import TYPE_CHECKING

import attrs

from chainhub_async.testing.faults import AnswerWell, Fault
from chainhub_async.testing.http_bytes import Reply

if TYPE_CHECKING:
    from chainhub_async.testing.http_bytes import Exchange

_MIB = 1024 * 1024


class Framing(Enum):
    """The broken bytes, as a template: ``%b`` stands for a good response's body."""

    NOT_HTTP = b"SSH-2.0-OpenSSH_9.6\r\n"
    BAD_STATUS_LINE = b"HTTP/1.1 two hundred OK\r\nContent-Length: 0\r\n\r\n"
    BAD_VERSION = b"HTTP/7.x 200 OK\r\nContent-Length: 0\r\n\r\n"
    LONG_STATUS_LINE = b"HTTP/1.1 200 " + b"a" * 70_000 + b"\r\nContent-Length: 0\r\n\r\n"
    LONG_HEADER = b"HTTP/1.1 200 OK\r\nX-Long: " + b"a" * 70_000 + b"\r\nContent-Length: 0\r\n\r\n"
    NO_COLON = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nno colon here\r\n\r\n"
    NUL_BYTE = b"HTTP/1.1 200 OK\r\nX-Nul: a\0b\r\nContent-Length: 0\r\n\r\n"
    BARE_CR = b"HTTP/1.1 200 OK\r\nX-Bare: a\rInjected: b\r\nContent-Length: 0\r\n\r\n"
    TWO_LENGTHS = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 7\r\n\r\n%b"
    NEGATIVE_LENGTH = b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n%b"
    LENGTH_NOT_A_NUMBER = b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n%b"
    LENGTH_AND_CHUNKED = (
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"5\r\nhello\r\n0\r\n\r\n"
    )
    BAD_CHUNK_SIZE = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n%b\r\n0\r\n\r\n"
    NEGATIVE_CHUNK = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\n%b\r\n0\r\n\r\n"
    CHUNKS_CUT = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffff\r\n%b"


@attrs.frozen
class BadFraming(Fault):
    """Respond with bytes that no client should accept as a response, then close."""

    kind: Framing = attrs.field(repr=str)

    async def act(self, x: Exchange) -> None:
        """Send them."""
        await x.wire.send(self.kind.value.replace(b"%b", x.good().body))
        await x.end()


@attrs.frozen
class BadChunk(Fault):
    """Half of a good response in a chunk, after ``pause`` seconds the rest in one without a length.

    The connection stays open, as if more were to come.
    """

    pause: float = 0.05

    async def act(self, x: Exchange) -> None:
        """Answer, and wait for the client to leave."""
        good = x.good()
        half = len(good.body) // 2
        head = good.head(("Transfer-Encoding", "chunked"), length=False)
        await x.wire.send(head + b"%x\r\n%b\r\n" % (half, good.body[:half]))
        await asyncio.sleep(self.pause)
        await x.wire.send(b"zz\r\n%b\r\n0\r\n\r\n" % good.body[half:])
        await x.wire.wait_gone()
        await x.end()


@attrs.frozen
class Gzipped(Fault):
    """A good response in ``Content-Encoding: gzip``, even if not accepted; ``cut`` halves it.

    The framing is still correct: only the compressed stream ends early.
    """

    cut: bool = attrs.field(default=False, kw_only=True)

    async def act(self, x: Exchange) -> None:
        """Answer."""
        good = x.good()
        body = gzip.compress(good.body)
        headers = (*good.headers, ("Content-Encoding", "gzip"))
        await x.reply(Reply(headers=headers, body=body[: len(body) // 2 if self.cut else None]))


@attrs.frozen
class GzipBomb(Fault):
    """Some kilobytes that decompress to ``decoded`` bytes of white space."""

    decoded: int = 256 * _MIB

    async def act(self, x: Exchange) -> None:
        """Send in chunks, compressed as it goes: memory stays flat on this side."""
        head = x.good().head(
            ("Content-Encoding", "gzip"), ("Transfer-Encoding", "chunked"), length=False
        )
        await x.wire.send(head)
        squeeze = zlib.compressobj(9, wbits=31)
        for start in range(0, self.decoded, _MIB):
            await self._chunk(x, squeeze.compress(b" " * min(_MIB, self.decoded - start)))
        await self._chunk(x, squeeze.flush())
        await x.wire.send(b"0\r\n\r\n")

    async def _chunk(self, x: Exchange, data: bytes) -> None:
        if data:  # an empty chunk would be the last one
            await x.wire.send(b"%x\r\n%s\r\n" % (len(data), data))
        await asyncio.sleep(0)


@attrs.frozen
class ExtraAnswer(Fault):
    """A good response and an unsolicited one, which a reused connection takes for the next."""

    async def act(self, x: Exchange) -> None:
        """Send both in one go."""
        good = x.good()
        await x.wire.send((good.head() + good.body) * 2)


@attrs.frozen
class CloseAfterAnswer(Fault):
    """Respond well, promise keep-alive, and close anyway.

    ``on_next_request`` waits for the first byte of the next request, and never reads the rest of
    it: the race that every stale pooled connection runs, made certain. Such a request is not
    recorded, since nobody received it.
    """

    on_next_request: bool = False
    reset: bool = attrs.field(default=False, kw_only=True)

    async def act(self, x: Exchange) -> None:
        """Answer and close."""
        await x.reply(x.good())
        if self.on_next_request:
            await x.wire.reader.read(1)
        await x.end(reset=self.reset)


@attrs.frozen
class Delay(Fault):
    """Take the whole request, wait, then do ``then``, whose ``executes`` counts."""

    seconds: float
    then: Fault = attrs.field(factory=AnswerWell)

    def _refuses(self) -> bool:
        return not self.then.executes

    async def act(self, x: Exchange) -> None:
        """Wait, then pass on."""
        await asyncio.sleep(self.seconds)
        await self.then.act(x)
