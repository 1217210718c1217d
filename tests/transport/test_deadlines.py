"""Every call ends in time, says why, and does not count the time it waited for its turn."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import anyio
import attrs
import pytest
import trustme

from chainhub_async import Billed, Limits, RetryPolicy, Timeout, errors
from chainhub_async.testing import bad_answers as b
from chainhub_async.testing import bad_framing as g
from chainhub_async.testing import faults as f
from chainhub_async.testing.http_bytes import Exchange
from chainhub_async.testing.misbehaving import MisbehavingServer
from chainhub_async.transport.deadlines import Deadlines

from .conftest import MakeHub, client_context, server_context
from .support import photo_of

pytestmark = pytest.mark.anyio

ONCE = RetryPolicy(max_attempts=1)
SHORT = Timeout(connect=0.4, write=0.4, read=0.4, reply=0.4, attempt=20)


@pytest.mark.parametrize(
    ("fault", "size", "phase", "words"),
    [
        (f.AcceptAndHang(), 50_000, "read", "no response arrived"),
        (f.StopReading(0), 9_900_000, "write", "the upload made no progress"),
        (f.NoAnswer(), 50_000, "read", "no response arrived"),
        (f.Drip("head", size=1, interval=0.05), 50_000, "read", "no response arrived"),
        (f.Drip("body", size=1, interval=0.05), 50_000, "reply", "the response was not complete"),
        (f.Flood1xx(), 50_000, "read", "no response arrived"),
        (f.Flood1xx(interval=0), 50_000, "read", "no response arrived"),
        (b.Stall(), 50_000, "reply", "the response was not complete"),
    ],
    ids=repr,
)
async def test_phase(
    server: MisbehavingServer, make_hub: MakeHub, fault: f.Fault, size: int, phase: str, words: str
) -> None:
    """The deadline of the phase ends the call, and the sentence names it."""
    hub = make_hub(server, timeout=SHORT, retry=ONCE)
    server.always(fault)
    started = time.monotonic()
    with pytest.raises(errors.DeadlineError) as caught:
        await hub.ideogram.replace_background(photo_of(size))
    assert time.monotonic() - started < 10
    assert caught.value.phase == phase
    assert f"After 0.4 s {words} (phase: {phase})" in str(caught.value)
    assert isinstance(caught.value, TimeoutError)


async def test_connect_phase(authority: trustme.CA, make_hub: MakeHub) -> None:
    """A handshake that never ends is ended by the deadline for connecting, and resent."""
    async with MisbehavingServer(ssl_context=server_context(authority, "127.0.0.1")) as server:
        hub = make_hub(server, timeout=SHORT, ssl_context=client_context(authority))
        server.script(f.AcceptAndHang())
        result = await hub.ideogram.replace_background(photo_of(50_000))
        assert result.images
        assert server.connections == 2
        server.always(f.AcceptAndHang())
        fresh = make_hub(server, timeout=SHORT, retry=ONCE, ssl_context=client_context(authority))
        with pytest.raises(errors.DeadlineError, match="no connection was ready") as caught:
            await fresh.ideogram.replace_background(photo_of(50_000))
        assert caught.value.phase == "connect"
        assert caught.value.billed is Billed.NO
        assert sum(server.billed.values()) == 1
        await hub.aclose()


@pytest.mark.parametrize("bound", ["attempt", "total"])
async def test_bounds_in_all(server: MisbehavingServer, make_hub: MakeHub, bound: str) -> None:
    """An attempt, and a call, have deadlines of their own."""
    timeout = attrs.evolve(Timeout(read=None, reply=None), **{bound: 0.3})
    hub = make_hub(server, timeout=timeout, retry=ONCE)
    server.always(f.Drip("body", size=1, interval=0.01))
    what = {"attempt": "attempt", "total": "call"}[bound]
    with pytest.raises(errors.DeadlineError, match=rf"After 0\.3 s the {what} was not finished"):
        await hub.ideogram.replace_background(photo_of(50_000))


async def test_total_ends_resending(server: MisbehavingServer, make_hub: MakeHub) -> None:
    """`total` holds for all attempts and pauses together."""
    hub = make_hub(
        server,
        timeout=Timeout(read=0.2, total=0.5),
        retry=RetryPolicy(max_attempts=50, base_delay=0.05, resend_uncertain=True),
    )
    server.always(f.NoAnswer(executes=False))
    started = time.monotonic()
    with pytest.raises(errors.DeadlineError) as caught:
        await hub.ideogram.replace_background(photo_of(50_000))
    assert 0.3 < time.monotonic() - started < 8
    assert 2 <= len(caught.value.attempts) <= 4


async def test_total_does_not_sleep_for_nothing(
    server: MisbehavingServer, make_hub: MakeHub
) -> None:
    """A pause that the deadline cannot hold is not begun."""
    hub = make_hub(server, timeout=Timeout(total=20))
    server.always(b.TooManyRequests(30))
    started = time.monotonic()
    with pytest.raises(errors.RateLimitError):
        await hub.ideogram.replace_background(photo_of(50_000))
    assert time.monotonic() - started < 10
    assert len(server.received) == 1


@pytest.mark.parametrize(
    "limits", [Limits(in_flight=1), Limits(in_flight=None, connections=1)], ids=["gate", "pool"]
)
async def test_waiting_for_a_turn(
    server: MisbehavingServer, make_hub: MakeHub, limits: Limits
) -> None:
    """Time spent waiting for a place or a connection counts against no deadline."""
    timeout = Timeout(connect=0.5, write=0.5, read=0.5, reply=0.5, attempt=0.6, total=0.7)
    hub = make_hub(server, timeout=timeout, limits=limits)
    server.always(g.Delay(0.3))
    started = time.monotonic()
    async with anyio.create_task_group() as tasks:
        for _ in range(5):
            tasks.start_soon(hub.ideogram.replace_background, photo_of(50_000))
    assert time.monotonic() - started > 1.4
    assert sum(server.billed.values()) == 5
    assert server.connections == 1


async def test_upload_as_a_whole() -> None:
    """An upload that trickles ends, however often it makes progress."""
    deadlines = Deadlines(Timeout(write=0.15), total_left=None, upload=1000)
    assert deadlines.spent == 0
    with deadlines.scope:
        deadlines.connected()
        while True:
            await anyio.sleep(0.02)
            deadlines.progressed(complete=False)
    assert deadlines.scope.cancelled_caught
    assert deadlines.sentence == "After 0.15 s the upload was not finished (phase: write)"
    assert 0.1 < deadlines.spent < 0.5


async def test_no_deadlines() -> None:
    """With every deadline lifted nothing ends a call."""
    none = Timeout(connect=None, write=None, read=None, reply=None, attempt=None)
    for upload in (None, 10):
        deadlines = Deadlines(none, total_left=None, upload=upload)
        deadlines.connecting()
        deadlines.connected()
        deadlines.progressed(complete=False)
        deadlines.progressed(complete=True)
        deadlines.progressed(complete=True)
        deadlines.replying()
        assert deadlines.due == float("inf")


@attrs.frozen
class StopThenRead(f.Fault):
    """Reads a little, waits long enough to be given up on, then reads all that still comes."""

    after: int = 1000
    pause: float = 0.8

    @property
    def early(self) -> bool:
        return True

    async def act(self, x: Exchange) -> None:
        await x.read_body(self.after)
        await asyncio.sleep(self.pause)
        x.keep_alive = False
        await x.read_body()


@pytest.mark.parametrize("secure", [False, True], ids=["http", "https"])
@pytest.mark.parametrize("end", ["stall", "cancel", "close"])
async def test_given_up_never_arrives(
    authority: trustme.CA, make_hub: MakeHub, secure: bool, end: str
) -> None:
    """What was given up half sent can never arrive whole, even if the server reads on later."""
    context = server_context(authority, "127.0.0.1") if secure else None
    trust = client_context(authority) if secure else None
    async with MisbehavingServer(ssl_context=context) as server:
        timeout = SHORT if end == "stall" else Timeout(write=60)
        hub = make_hub(server, timeout=timeout, retry=ONCE, ssl_context=trust)
        server.always(StopThenRead())
        with anyio.fail_after(60):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(_stalled, hub.ideogram.replace_background, end)
                while end != "stall" and not server.received:
                    await anyio.sleep(0.02)
                if end == "cancel":
                    await anyio.sleep(0.1)
                    tasks.cancel_scope.cancel()
                elif end == "close":
                    started = time.monotonic()
                    await hub.aclose()
                    assert time.monotonic() - started < 20
        await anyio.sleep(1)
        (request,) = server.received
        assert not request.body_complete
        assert 1000 <= request.body_received < 9_900_000
        assert not sum(server.complete.values())


async def _stalled(call: Callable[..., object], end: str) -> None:
    expected = errors.ClosedError if end == "close" else errors.DeadlineError
    with pytest.raises(expected) as caught:
        await call(photo_of(9_900_000))  # type: ignore[misc]  # an upload of any kind
    assert caught.value.billed is Billed.NO
    assert 0 < caught.value.bytes_sent < 9_900_000
