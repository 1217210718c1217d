"""Cancelled at any moment, closed, or with a broken callback: nothing is left or hidden."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio
import pytest
import trustme

from chainhub_async import AsyncChainHub, Billed, Limits, Timeout, errors
from chainhub_async.events import CallCancelled, Event, UploadProgress
from chainhub_async.testing import bad_answers as b
from chainhub_async.testing import bad_framing as g
from chainhub_async.testing import faults as f
from chainhub_async.testing.misbehaving import MisbehavingServer

from .conftest import KEY, QUICK, Leftovers, MakeHub, client_context, server_context
from .support import photo_of

pytestmark = pytest.mark.anyio


async def turns(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def by_scope(call: Callable[[], Awaitable[Any]], after: int) -> bool:
    """Cancels by an anyio scope; returns whether the call had not ended before."""
    with anyio.CancelScope() as scope:

        async def cancel() -> None:
            await turns(after)
            scope.cancel()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(cancel)
            await call()
            tasks.cancel_scope.cancel()
    return scope.cancelled_caught


async def by_task(call: Callable[[], Awaitable[Any]], after: int) -> bool:
    """Cancels asyncio's own way."""

    async def run() -> None:
        await call()

    task = asyncio.create_task(run())
    await turns(after)
    task.cancel()
    try:
        await task
    except asyncio.CancelledError:
        return True
    return False


async def by_group(call: Callable[[], Awaitable[Any]], after: int) -> bool:
    """Cancels a task group around the call."""
    ended = False

    async def run() -> None:
        nonlocal ended
        await call()
        ended = True

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run)
        await turns(after)
        tasks.cancel_scope.cancel()
    return not ended


@pytest.mark.parametrize("way", [by_scope, by_task, by_group])
@pytest.mark.parametrize("kind", ["memory", "file", "large", "https"])
async def test_at_every_turn(authority: trustme.CA, tmp_path: Path, way: Any, kind: str) -> None:
    """Cancelled after any number of turns of the loop, a call is billed at most as it says."""
    context = server_context(authority, "127.0.0.1") if kind == "https" else None
    trust = client_context(authority) if kind == "https" else None
    size = 9_900_000 if kind == "large" else 60_000
    cancelled, after = True, 0
    async with MisbehavingServer(ssl_context=context) as server:
        before = Leftovers()
        while cancelled:
            image = photo_of(size)[:-12]
            image = b"%s\0\0\0\0IEND\xaeB`\x82" % image + str(after).encode()
            source: Any = image
            if kind == "file":
                source = tmp_path / "cat.png"
                source.write_bytes(image)
            events: list[Event] = []
            hub = AsyncChainHub(
                KEY,
                base_url=server.base_url,
                timeout=QUICK,
                ssl_context=trust,
                on_event=events.append,
            )

            async def call(hub: AsyncChainHub = hub, source: Any = source) -> None:
                await hub.ideogram.replace_background(source)

            cancelled = await way(call, after)
            gate = hub._transport.pool.gate
            assert (gate.in_flight, len(gate._queue)) == (0, 0)
            assert not hub._transport.pool._under_way
            await hub.aclose()
            await anyio.sleep(0.002)
            told = [event.billed for event in events if isinstance(event, CallCancelled)]
            billed = server.billed[hashlib.sha256(image).hexdigest()]
            assert billed <= 1
            if cancelled:
                queued = [event for event in events if not isinstance(event, CallCancelled)]
                assert len(told) == bool(queued)
                assert billed == 0 or told == [Billed.MAYBE]
            # At every single turn to begin with; how many there are depends on the machine.
            after += 1 + after // 20
            assert after < 1_000_000
        await before.none()
    assert after > 5


@pytest.mark.parametrize(
    "fault",
    [
        f.NoAnswer(),
        f.AcceptAndHang(),
        f.StopReading(0),
        b.Stall(),
        f.Drip("body"),
        f.Flood1xx(),
        b.TooManyRequests(40),
        g.Delay(40),
    ],
    ids=repr,
)
@pytest.mark.parametrize("end", ["cancel", "close"])
async def test_in_the_middle(
    server: MisbehavingServer, make_hub: MakeHub, fault: f.Fault, end: str
) -> None:
    """Whatever a call waits for, cancelling or closing ends it at once and leaves nothing."""
    events: list[Event] = []
    image = photo_of(9_900_000 if isinstance(fault, f.StopReading) else 50_000)
    hub = make_hub(
        server, on_event=events.append, limits=Limits(in_flight=1), timeout=Timeout(), retry=None
    )
    server.always(fault)
    outcomes: list[errors.ClosedError] = []

    async def call() -> None:
        try:
            await hub.ideogram.replace_background(image)
        except errors.ClosedError as closed:
            outcomes.append(closed)

    before = Leftovers()
    ended = float("inf")
    async with anyio.create_task_group() as tasks:
        # One that is under way, one that waits for its turn.
        tasks.start_soon(call)
        tasks.start_soon(call)
        await anyio.sleep(0.3)
        ended = anyio.current_time()
        if end == "cancel":
            tasks.cancel_scope.cancel()
        else:
            await hub.aclose()
    # The faults last longer, and so do the client's deadlines.
    assert anyio.current_time() - ended < 20
    told = [event.billed for event in events if isinstance(event, CallCancelled)]
    told += [error.billed for error in outcomes]
    assert len(told) == 2
    some = isinstance(fault, f.StopReading | b.TooManyRequests)
    assert sorted(told, key=str) == ([Billed.NO] * 2 if some else [Billed.MAYBE, Billed.NO])
    assert bool(outcomes) == (end == "close")
    assert hub._transport.pool.gate.in_flight == 0
    await hub.aclose()
    await server.__aexit__(None, None, None)
    await before.none()


async def test_closed_client(server: MisbehavingServer, make_hub: MakeHub) -> None:
    """A closed client says so, and closing again is nothing."""
    hub = make_hub(server)
    await hub.ideogram.replace_background(photo_of(2000))
    await hub.aclose()
    await hub.aclose()
    with pytest.raises(errors.ClosedError, match="create a new one"):
        await hub.ideogram.replace_background(photo_of(2000))
    with pytest.raises(errors.ClosedError):
        await hub.with_options().download(f"{server.base_url}/results/a-0.png", "/tmp/never.png")


async def test_close_from_two_tasks(server: MisbehavingServer, make_hub: MakeHub) -> None:
    """Two that close at once both return when all has ended."""
    hub = make_hub(server)
    server.always(f.NoAnswer())

    async def call() -> None:
        with pytest.raises(errors.ClosedError):
            await hub.ideogram.replace_background(photo_of(2000))

    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(call)
            await anyio.sleep(0.1)
            tasks.start_soon(hub.aclose)
            tasks.start_soon(hub.aclose)


@pytest.mark.parametrize("end", ["return", "raise"])
async def test_callback_that_breaks(
    server: MisbehavingServer, make_hub: MakeHub, caplog: pytest.LogCaptureFixture, end: str
) -> None:
    """A callback that raises is logged, without the key, and changes nothing."""
    events: list[Event] = []

    def on_event(event: Event) -> None:
        events.append(event)
        if end == "raise":
            raise RuntimeError("a broken progress bar")

    hub = make_hub(server, on_event=on_event)
    server.script(b.TooManyRequests(0))
    with caplog.at_level(logging.DEBUG):
        result = await hub.ideogram.replace_background(photo_of(600_000))
    assert result.images
    names = [type(event).__name__ for event in events if not isinstance(event, UploadProgress)]
    assert names == ["RequestQueued", "RetryScheduled", "ReplyReceived"]
    progress = [event for event in events if isinstance(event, UploadProgress)]
    for attempt in (1, 2):
        sent = [event.bytes_sent for event in progress if event.attempt == attempt]
        assert len(sent) >= 3
        assert sent == sorted(sent)
        assert sent[-1] == progress[0].bytes_total == server.received[0].body_received
    warned = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(warned) == (len(events) if end == "raise" else 0)
    assert KEY not in caplog.text
