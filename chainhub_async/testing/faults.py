"""Faults of a server before, around and instead of its response: one frozen value per fault.

Responses that are complete but wrong are in ``bad_answers``.

The ``executes`` of every fault says whether a real gateway would have made, and charged for, the
image once the whole body had arrived. The default is what gateways do: refusals do not execute;
silence, resets, garbage and most 5xx after the body do. Pass ``executes=`` to override it. Each
fault works on any request, whether an upload or a download.
"""

from __future__ import annotations

import asyncio
import itertools
from typing import TYPE_CHECKING, ClassVar, Literal

import attrs

from chainhub_async.testing.http_bytes import Reply

if TYPE_CHECKING:
    from chainhub_async.testing.http_bytes import Exchange, Wire

Headers = tuple[tuple[str, str], ...]


@attrs.frozen
class Fault:
    """One way to handle a request; subclass it to script your own.

    Attributes:
        executes: Whether a real gateway would have charged for a request whose whole body it
            received.
    """

    at_connect: ClassVar[bool] = False
    _executes: bool | None = attrs.field(default=None, kw_only=True, alias="executes", repr=False)

    @property
    def executes(self) -> bool:
        """As given, or by default according to the kind of fault."""
        return not self._refuses() if self._executes is None else self._executes

    def _refuses(self) -> bool:
        return False

    @property
    def early(self) -> bool:
        """Whether it acts before the whole body was read, when the image is still unknown."""
        return False

    async def act(self, x: Exchange) -> None:
        """Handle the request; the connection stays open unless ``x.keep_alive`` was cleared."""
        await x.reply(x.good())


@attrs.frozen
class AnswerWell(Fault):
    """No fault, the default: an image list for a POST, the image for a result URL."""


# --- before there is a request
# -----------------------------------------------------------------------------------


@attrs.frozen
class ConnectionFault(Fault):
    """Acts on the next new connection or the next request of an old one, whichever is first."""

    at_connect: ClassVar[bool] = True

    @property
    def early(self) -> bool:
        """Always: nothing is read."""
        return True

    async def greet(self, wire: Wire) -> None:
        """Handle a connection from which nothing was read; TLS has not started."""
        raise NotImplementedError

    async def act(self, x: Exchange) -> None:
        """Handle an open connection like a new one."""
        x.keep_alive = False
        await self.greet(x.wire)


@attrs.frozen
class AcceptAndClose(ConnectionFault):
    """Accept the connection and close it at once, before TLS; ``reset`` uses RST."""

    reset: bool = False

    async def greet(self, wire: Wire) -> None:
        """Close."""
        if self.reset:
            wire.reset()
        wire.writer.close()


@attrs.frozen
class AcceptAndHang(ConnectionFault):
    """Accept the connection and never do anything with it. Over TLS the handshake never ends."""

    async def greet(self, wire: Wire) -> None:
        """Hang."""
        await wire.wait_gone()


# --- while the body arrives
# --------------------------------------------------------------------------------------


@attrs.frozen
class _AfterBytes(Fault):
    after: int | None = None

    @property
    def early(self) -> bool:
        """Whether it acts before the end of the body."""
        return self.after is not None


@attrs.frozen
class ResetAfter(_AfterBytes):
    """Read ``after`` bytes of the body, or all of it if None, then reset the connection."""

    async def act(self, x: Exchange) -> None:
        """Read, then RST."""
        await x.read_body(self.after)
        await x.end(reset=True)


@attrs.frozen
class CloseAfter(_AfterBytes):
    """Read ``after`` bytes of the body, or all of it if None, then close the connection (FIN)."""

    async def act(self, x: Exchange) -> None:
        """Read, then FIN."""
        await x.read_body(self.after)
        await x.end()


@attrs.frozen
class StopReading(_AfterBytes):
    """Read ``after`` bytes of the body, then nothing more, and hold the connection.

    The kernels on both sides still buffer some megabytes: only a larger body makes the client
    stall.
    """

    after: int | None = 0

    async def act(self, x: Exchange) -> None:
        """Read, then hold."""
        await x.read_body(self.after)
        await x.wire.stop_reading()


@attrs.frozen
class EarlyStatus(Fault):
    """Send a final status after ``after`` bytes of the body, then close.

    ``polite`` keeps reading to the end of the body, so that the client is sure to get the response;
    otherwise the connection is reset at once, and a client that is still writing may lose it.
    """

    status: int
    after: int = attrs.field(default=0, kw_only=True)
    headers: Headers = attrs.field(default=(), kw_only=True)
    body: bytes = attrs.field(default=b"", kw_only=True)
    polite: bool = attrs.field(default=True, kw_only=True)

    @property
    def early(self) -> bool:
        """Always."""
        return True

    def _refuses(self) -> bool:
        return True

    async def act(self, x: Exchange) -> None:
        """Answer, then read on or reset."""
        await x.read_body(self.after)
        x.keep_alive = False
        await x.reply(Reply(self.status, headers=self.headers, body=self.body))
        if self.polite:
            await x.read_body()
        await x.end(reset=not self.polite)


# --- instead of an answer
# ----------------------------------------------------------------------------------------


@attrs.frozen
class NoAnswer(Fault):
    """Take the whole request and stay silent until the client leaves."""

    async def act(self, x: Exchange) -> None:
        """Wait."""
        x.keep_alive = False
        await x.wire.wait_gone()


@attrs.frozen
class CutHead(Fault):
    """Send the first ``at`` bytes of a good response's head, then end the connection."""

    at: int = 20
    reset: bool = attrs.field(default=False, kw_only=True)

    async def act(self, x: Exchange) -> None:
        """Send a piece."""
        await x.wire.send(x.good().head()[: self.at])
        await x.end(reset=self.reset)


@attrs.frozen
class CutBody(Fault):
    """Send a good response's head and ``at`` bytes of its body, then end the connection."""

    at: int = 10
    reset: bool = attrs.field(default=False, kw_only=True)

    async def act(self, x: Exchange) -> None:
        """Send a piece."""
        good = x.good()
        await x.wire.send(good.head() + good.body[: self.at])
        await x.end(reset=self.reset)


@attrs.frozen
class Drip(Fault):
    """Send a good response, or only its body, in ``size`` bytes every ``interval`` seconds."""

    part: Literal["head", "body"] = "head"
    size: int = attrs.field(default=1, kw_only=True)
    interval: float = attrs.field(default=0.1, kw_only=True)

    async def act(self, x: Exchange) -> None:
        """Send in drops."""
        good = x.good()
        if self.part == "body":
            await x.wire.send(good.head())
        data = good.body if self.part == "body" else good.head() + good.body
        await x.wire.drip(data, size=self.size, interval=self.interval)


@attrs.frozen
class EndlessHeaders(Fault):
    """Start a good response whose headers never end."""

    interval: float = attrs.field(default=0.001, kw_only=True)

    async def act(self, x: Exchange) -> None:
        """Send until the client leaves."""
        await x.wire.send(b"HTTP/1.1 200 OK\r\n")
        for number in itertools.count():
            await x.wire.send(b"X-Filler-%d: %s\r\n" % (number, b"a" * 100))
            await asyncio.sleep(self.interval)


@attrs.frozen
class Flood1xx(Fault):
    """Send ``count`` interim responses, then the good one; None never ends."""

    count: int | None = None
    status: int = attrs.field(default=103, kw_only=True)
    interval: float = attrs.field(default=0.001, kw_only=True)

    async def act(self, x: Exchange) -> None:
        """Send until done, or until the client leaves."""
        for _ in itertools.count() if self.count is None else range(self.count):
            await x.wire.send(b"HTTP/1.1 %d -\r\n\r\n" % self.status)
            await asyncio.sleep(self.interval)
        await x.reply(x.good())
