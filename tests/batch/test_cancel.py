"""A batch that is cancelled, left, or whose process is interrupted: the truth is recorded."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path

import anyio
import pytest

from chainhub_async import (
    AsyncChainHub,
    LedgerLockedError,
    Outcome,
    ReplaceBackground,
    Timeout,
)
from chainhub_async.batch.ledger import Ledger
from chainhub_async.testing import Emulator, MisbehavingServer, NoAnswer, StopReading

from .conftest import (
    PROMPT,
    MakeHub,
    calls,
    names,
    photo,
    posts,
    rows,
    run,
    states,
    twice,
)

pytestmark = pytest.mark.anyio
Photos = Callable[[int], list[Path]]


async def until(condition: Callable[[], object]) -> None:
    """Waits until something has come true."""
    with anyio.fail_after(20):
        while not condition():
            await anyio.sleep(0.01)


def many(count: int) -> list[ReplaceBackground]:
    """So many different calls."""
    return [ReplaceBackground(photo(number), prompt=PROMPT) for number in range(count)]


@pytest.mark.parametrize("native", [False, True])
async def test_paid_calls_finish(
    emulator: Emulator, make_hub: MakeHub, photos: Photos, ledger: Path, out: Path, native: bool
) -> None:
    """A cancellation stops new starts; what is paid for is finished, saved and recorded."""
    emulator.latency = 0.5
    hub = make_hub(emulator)
    requests = calls(photos(20))
    seen: list[Outcome] = []

    async def work() -> None:
        async with hub.batch(ledger=ledger, save_to=out) as batch:
            seen.extend([outcome async for outcome in batch.run(requests)])

    if native:
        task = asyncio.ensure_future(work())
        await until(lambda: sum(emulator.billed.values()) == 4)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    else:
        async with anyio.create_task_group() as group:
            group.start_soon(work)
            await until(lambda: sum(emulator.billed.values()) == 4)
            group.cancel_scope.cancel()
    assert seen == []
    assert sum(emulator.billed.values()) == 4
    assert len(names(out)) == 4
    assert sorted(rows(ledger, "SELECT state FROM jobs WHERE state != 'PENDING'")) == ["SAVED"] * 4
    assert rows(ledger, "SELECT count(*) FROM runs WHERE ended_at IS NOT NULL") == [1]
    emulator.latency = 0.0
    assert sorted(states(await run(hub, requests, ledger=ledger, save_to=out))) == [
        *["SAVED"] * 16,
        *["SKIPPED"] * 4,
    ]
    assert not twice(emulator.billed)


async def test_a_second_cancellation_ends_the_grace_period(
    server: MisbehavingServer, make_hub: MakeHub, ledger: Path
) -> None:
    """Who cancels again does not wait, and what had left is recorded as uncertain."""
    server.always(NoAnswer())
    hub = make_hub(server, timeout=None)

    async def work() -> None:
        async with hub.batch(ledger=ledger, grace=60) as batch:
            async for _ in batch.run(many(6)):
                pass

    task = asyncio.ensure_future(work())
    await until(lambda: len(server.billed) == 4)
    task.cancel()
    await anyio.sleep(0.2)
    assert not task.done()
    started = time.monotonic()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert time.monotonic() - started < 20
    assert (
        sorted(rows(ledger, "SELECT state FROM jobs WHERE billed = 'maybe'")) == ["UNCERTAIN"] * 4
    )
    assert posts(server) == 4


async def test_uploads_that_are_not_complete_are_cut(
    server: MisbehavingServer, make_hub: MakeHub, ledger: Path
) -> None:
    """What has not left completely costs nothing, is not waited for, and stays pending."""
    server.always(StopReading(1000))
    hub = make_hub(server, timeout=Timeout(write=60))
    large = photo(1) + bytes(9_000_000)

    async def work() -> None:
        async with hub.batch(ledger=ledger, grace=60) as batch:
            async for _ in batch.run([ReplaceBackground(large, prompt=PROMPT)]):
                pass

    task = asyncio.ensure_future(work())
    await until(lambda: posts(server) == 1)
    task.cancel()
    with anyio.fail_after(20), pytest.raises(asyncio.CancelledError):
        await task
    assert rows(ledger, "SELECT state, billed FROM jobs") == [("PENDING", "no")]
    ((sent, total, billed, sent_at),) = rows(
        ledger, "SELECT bytes_sent, bytes_total, billed, sent_at FROM attempts"
    )
    assert 0 <= sent < total
    assert (billed, sent_at) == ("no", None)
    assert not server.billed


async def test_an_exception_in_the_block(
    emulator: Emulator, make_hub: MakeHub, ledger: Path, out: Path
) -> None:
    """The caller's own exception comes out as it is, after what was paid for is saved."""
    emulator.latency = 0.3
    hub = make_hub(emulator)

    async def work() -> None:
        async with hub.batch(ledger=ledger, save_to=out) as batch:
            await anext(batch.run(many(50)))
            raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        await work()
    saved = sum(emulator.billed.values())
    assert 4 <= saved <= 8
    assert len(names(out)) == saved
    assert not [state for state in rows(ledger, "SELECT state FROM jobs") if state == "SENDING"]


async def test_breaking_off(emulator: Emulator, make_hub: MakeHub, ledger: Path) -> None:
    """Leaving the loop and the block early starts nothing more."""
    hub = make_hub(emulator)
    async with hub.batch(ledger=ledger) as batch:
        async for _ in batch.run(many(5_000)):
            break
    assert sum(emulator.billed.values()) < 100


async def test_a_source_that_hangs_is_left(hub: AsyncChainHub) -> None:
    """A batch can be left while its inputs are being waited for; their clean-up runs."""
    closed: list[bool] = []

    async def hangs() -> AsyncIterator[ReplaceBackground]:
        try:
            yield many(1)[0]
            await anyio.sleep_forever()
        finally:
            closed.append(True)

    with anyio.fail_after(10):
        async with hub.batch() as batch:
            async for _ in batch.run(hangs()):
                break
    assert closed == [True]


async def test_closing_the_client_in_a_run(
    server: MisbehavingServer, make_hub: MakeHub, ledger: Path
) -> None:
    """A client that is closed meanwhile ends the batch; what had left is uncertain."""
    server.always(NoAnswer())
    hub = make_hub(server, timeout=None)
    async with hub.batch(ledger=ledger) as batch:
        outcomes: list[Outcome] = []
        async with anyio.create_task_group() as group:

            async def close_soon() -> None:
                await until(lambda: len(server.billed) == 4)
                await hub.aclose()

            group.start_soon(close_soon)
            outcomes.extend([o async for o in batch.run(many(10))])
    assert states(outcomes).count("UNCERTAIN") == 4
    assert states(outcomes).count("PENDING") == 6


async def test_nothing_is_left_behind(hub: AsyncChainHub, ledger: Path, out: Path) -> None:
    """A batch leaves no task, and one file for the ledger besides its lock."""
    before = asyncio.all_tasks()
    await run(hub, many(10), ledger=ledger, save_to=out)
    assert asyncio.all_tasks() == before
    assert sorted(path.name for path in ledger.parent.iterdir()) == [
        "batch.db",
        "batch.db.lock",
        "out",
    ]


def _is_locked(ledger: Path) -> bool:
    try:
        Ledger.open(ledger, for_a_run=False).close()
    except LedgerLockedError:
        return True
    return False


@pytest.mark.parametrize("closing", [False, True])
async def test_its_ledger_is_not_kept_locked(
    hub: AsyncChainHub, ledger: Path, closing: bool
) -> None:
    """Not by a batch that is cancelled while it opens or closes, at whatever turn of the loop."""
    for turns in range(30):
        begun = asyncio.Event()

        async def opened(begun: asyncio.Event = begun) -> None:
            if not closing:
                begun.set()
            async with hub.batch(ledger=ledger):
                begun.set()

        task = asyncio.ensure_future(opened())
        with anyio.fail_after(20):
            await begun.wait()
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        with anyio.fail_after(20):  # the thread that opens or closes it ends by itself
            while _is_locked(ledger):
                await anyio.sleep(0.01)
    assert states(await run(hub, many(1), ledger=ledger)) == ["ACCEPTED"]


@pytest.mark.parametrize("billed", [0, 1, 3, 7, 11, 12])
@pytest.mark.parametrize("times", [1, 2, 3])
async def test_every_task_is_cancelled(
    emulator: Emulator, make_hub: MakeHub, ledger: Path, out: Path, billed: int, times: int
) -> None:
    """As by services that shut down: nothing hangs, nothing paid for is forgotten or paid again."""
    emulator.latency = 0.01
    hub, requests = make_hub(emulator), many(12)
    own = asyncio.all_tasks()
    turns = random.Random(f"{billed} {times}")

    async def work() -> None:
        async with hub.batch(ledger=ledger, save_to=out) as batch:
            async for _ in batch.run(requests):
                pass

    task = asyncio.ensure_future(work())
    await until(lambda: sum(emulator.billed.values()) >= billed or task.done())
    for _ in range(times):
        for _ in range(turns.randrange(100)):
            await asyncio.sleep(0)
        for one in asyncio.all_tasks() - own:
            one.cancel()
    with anyio.fail_after(20):
        with suppress(asyncio.CancelledError):
            await task
        assert not asyncio.all_tasks() - own
        while _is_locked(ledger):
            await anyio.sleep(0.01)
    assert not [state for state in rows(ledger, "SELECT state FROM jobs") if state == "SENDING"]
    emulator.latency = 0.0
    found = states(await run(make_hub(emulator), requests, ledger=ledger, save_to=out))
    assert sorted(set(found) - {"SAVED", "SKIPPED", "UNCERTAIN"}) == []
    assert len(names(out)) == 12 - found.count("UNCERTAIN")
    assert not twice(emulator.billed)
