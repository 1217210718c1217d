"""What stops a batch, what it may spend, and what it does when it is limited."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio.lowlevel import current_token

from chainhub_async import (
    AsyncChainHub,
    AuthenticationError,
    BatchStoppedError,
    InsufficientBalanceError,
    Limits,
    Outcome,
    PermissionDeniedError,
    RateLimitError,
    ReplaceBackground,
    RetryPolicy,
    SpendLimitError,
)
from chainhub_async.testing import (
    Answer,
    AnswerWell,
    Emulator,
    HtmlError,
    MisbehavingServer,
    NoAnswer,
    TooManyRequests,
)

from .conftest import (
    PROMPT,
    MakeHub,
    calls,
    names,
    photo,
    posts,
    rows,
    run,
    sha,
    states,
    twice,
)

pytestmark = pytest.mark.anyio
Photos = Callable[[int], list[Path]]


def many(count: int) -> Iterator[ReplaceBackground]:
    """So many different calls."""
    for number in range(count):
        yield ReplaceBackground(photo(number), prompt=PROMPT)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (401, AuthenticationError),
        (402, InsufficientBalanceError),
        (403, PermissionDeniedError),
    ],
)
async def test_account_errors_stop(
    server: MisbehavingServer,
    tried: AsyncChainHub,
    ledger: Path,
    status: int,
    kind: type[Exception],
) -> None:
    """After one, nothing new is sent, every input has its outcome, and the batch says why."""
    server.script(*[AnswerWell()] * 9, Answer(status=status), *[Answer(status=status)] * 10)
    async with tried.batch(ledger=ledger) as batch:
        outcomes = [o async for o in batch.run(many(10_000))]
        assert isinstance(batch.stopped, kind)
    assert len(outcomes) == 10_000
    assert posts(server) <= 10 + 4
    accepted = [o for o in outcomes if o.state.value == "ACCEPTED"]
    assert len(accepted) == 9
    others = [o for o in outcomes if o not in accepted]
    assert {o.state.value for o in others} == {"PENDING"}
    assert isinstance(next(o.error for o in others if isinstance(o.error, kind)), kind)
    assert sum(isinstance(o.error, BatchStoppedError) for o in others) >= 9_980
    # With a new key it goes on.
    server.posts._queue.clear()
    again = await run(tried, list(many(20)), ledger=ledger)
    assert sorted(states(again)) == ["ACCEPTED"] * 11 + ["SKIPPED"] * 9
    assert not twice(server.billed)


async def test_no_balance_stops(emulator: Emulator, hub: AsyncChainHub, ledger: Path) -> None:
    """An account without balance stops the batch; topped up, it goes on."""
    emulator.balance = 5
    outcomes = await run(hub, list(many(30)), ledger=ledger)
    assert states(outcomes).count("ACCEPTED") == 5
    emulator.balance = None
    outcomes = await run(hub, list(many(30)), ledger=ledger)
    assert states(outcomes).count("SKIPPED") == 5
    assert states(outcomes).count("ACCEPTED") == 25
    assert not twice(emulator.billed)


@pytest.mark.parametrize(
    ("most", "each", "bought"), [(7, 1, 7), (7, 2, 6), (0, 1, 0), (100, 1, 30)]
)
async def test_spend_guard(
    emulator: Emulator, hub: AsyncChainHub, ledger: Path, most: int, each: int, bought: int
) -> None:
    """No more images are bought than allowed, and free work goes on."""
    requests = [ReplaceBackground(photo(n), prompt=PROMPT, num_images=each) for n in range(30)]
    async with hub.batch(ledger=ledger, max_images=most) as batch:
        outcomes = [o async for o in batch.run(requests)]
        assert batch.spent == bought
        assert isinstance(batch.stopped, SpendLimitError) is (most < 30)
    assert sum(emulator.billed.values()) == bought
    assert sum(o.spent for o in outcomes) == bought
    left = [o for o in outcomes if o.state.value == "PENDING"]
    assert len(left) == 30 - bought // each
    assert all(isinstance(o.error, SpendLimitError) for o in left)
    if left:
        assert f"max_images={most}" in str(left[0].error)
    # What was bought is still saved by a run that may buy nothing.
    out = ledger.parent / "out"
    await run(hub, requests, ledger=ledger, max_images=0, save_to=out)
    assert len(names(out)) == bought
    assert sum(emulator.billed.values()) == bought


async def test_spend_guard_counts_what_may_be_billed(
    tried: AsyncChainHub, server: MisbehavingServer
) -> None:
    """What may have been billed counts, and what was refused does not."""
    server.script(HtmlError(500), Answer(status=422), HtmlError(500), Answer(status=422))
    outcomes = await run(tried, list(many(10)), max_images=4)
    assert sum(server.billed.values()) == 4
    assert sum(o.spent for o in outcomes) == 4
    assert states(outcomes).count("PENDING") == 4


async def test_no_second_charge_beyond_the_limit(
    server: MisbehavingServer, make_hub: MakeHub
) -> None:
    """A client that resends what is uncertain still stays within the limit."""
    hub = make_hub(server, retry=RetryPolicy(resend_uncertain=True, base_delay=0.01))
    server.script(HtmlError(500), HtmlError(500))
    async with hub.batch(max_images=1) as batch:
        (outcome,) = [o async for o in batch.run(many(1))]
    assert outcome.state.value == "UNCERTAIN"
    assert (sum(server.billed.values()), batch.spent, outcome.spent) == (1, 1, 1)
    async with hub.batch(max_images=2) as batch:
        (outcome,) = [o async for o in batch.run(many(1))]
    assert (outcome.state.value, batch.spent, outcome.spent) == ("ACCEPTED", 2, 2)


async def test_a_broken_gateway_stops(server: MisbehavingServer, tried: AsyncChainHub) -> None:
    """When everything fails, possibly at a cost, the batch does not go on for ever."""
    server.always(HtmlError(502))
    async with tried.batch() as batch:
        outcomes = [o async for o in batch.run(many(500))]
        assert isinstance(batch.stopped, BatchStoppedError)
        assert "50 failures in a row" in str(batch.stopped)
    assert len(outcomes) == 500
    assert posts(server) <= 50 + 4
    assert states(outcomes).count("PENDING") == 500 - posts(server)


async def test_refusals_do_not_stop(server: MisbehavingServer, tried: AsyncChainHub) -> None:
    """Inputs that are refused, however many, do not stop the others."""
    server.script(*[Answer(status=422)] * 120)
    assert states(await run(tried, list(many(130)))).count("ACCEPTED") == 10


@pytest.mark.slow
async def test_a_storm_of_429(server: MisbehavingServer, make_hub: MakeHub) -> None:
    """In a storm the rate falls, resends stay within the budget, and afterwards it recovers."""
    server.script(*[AnswerWell()] * 20, *[TooManyRequests()] * 30)
    hub = make_hub(server, limits=Limits(in_flight=16))
    gate = hub._transport.pool.gate
    limits: list[float | None] = []
    async with hub.batch() as batch:
        outcomes: list[Outcome] = []
        async for outcome in batch.run(many(600)):
            outcomes.append(outcome)
            limits.append(gate.limit)
        assert batch.stopped is None
    assert min(each or 0 for each in limits) == 1
    assert (limits[-1] or 0) >= 16
    assert posts(server) <= 1.2 * 600 + 20
    failed = [o for o in outcomes if o.state.value != "ACCEPTED"]
    assert {(type(o.error), o.state.value) for o in failed} == {(RateLimitError, "PENDING")}
    assert len(failed) <= 30
    assert not twice(server.billed)


async def test_everything_limited(server: MisbehavingServer, make_hub: MakeHub) -> None:
    """If every call is refused with 429, attempts stay within 1.2 for each input."""
    server.always(TooManyRequests(retry_after=0))
    outcomes = await run(make_hub(server), list(many(100)))
    assert states(outcomes) == ["PENDING"] * 100
    assert posts(server) <= 1.2 * 100 + 15


async def test_stop(
    emulator: Emulator, make_hub: MakeHub, photos: Photos, ledger: Path, out: Path
) -> None:
    """`stop` starts nothing new, and lets what is paid for be finished and saved."""
    emulator.latency = 0.3
    hub = make_hub(emulator)
    async with hub.batch(ledger=ledger, save_to=out) as batch:
        outcomes: list[Outcome] = []
        run = batch.run(calls(photos(60)))
        async with anyio.create_task_group() as group:

            async def stop_soon() -> None:
                while sum(emulator.billed.values()) < 4:
                    await anyio.sleep(0.01)
                batch.stop()
                batch.stop()

            group.start_soon(stop_soon)
            outcomes.extend([o async for o in run])
        assert isinstance(batch.stopped, BatchStoppedError)
    assert states(outcomes).count("SAVED") == 4 == len(names(out))
    assert states(outcomes).count("PENDING") == 56
    assert sum(emulator.billed.values()) == 4
    assert set(rows(ledger, "SELECT state FROM jobs")) == {"PENDING", "SAVED"}


async def test_the_grace_period_ends(
    server: MisbehavingServer, make_hub: MakeHub, ledger: Path
) -> None:
    """What has not ended when the grace period is over is recorded as uncertain."""
    server.always(NoAnswer())
    hub = make_hub(server, timeout=None)
    started = time.monotonic()
    async with hub.batch(ledger=ledger, grace=0.3) as batch:
        run = batch.run(many(3))
        outcomes: list[Outcome] = []
        async with anyio.create_task_group() as group:

            async def stop_soon() -> None:
                while len(server.billed) < 3:
                    await anyio.sleep(0.01)
                batch.stop()

            group.start_soon(stop_soon)
            outcomes.extend([o async for o in run])
    assert states(outcomes) == ["UNCERTAIN"] * 3
    assert all(o.spent == 1 for o in outcomes)
    assert time.monotonic() - started < 10
    assert rows(ledger, "SELECT state, billed FROM jobs") == [("UNCERTAIN", "maybe")] * 3
    assert set(server.billed) == {sha(photo(n)) for n in range(3)}


async def test_stopped_by_a_callback_of_the_loop(emulator: Emulator, make_hub: MakeHub) -> None:
    """As a signal handler of asyncio does: outside of any task, and the grace period begins."""
    emulator.latency = 60
    hub = make_hub(emulator, timeout=None)
    async with hub.batch(grace=0.3) as batch:
        loop: Any = current_token().native_token
        loop.call_later(0.3, batch.stop)
        with anyio.fail_after(10):
            outcomes = [outcome async for outcome in batch.run(many(6))]
    assert states(outcomes).count("UNCERTAIN") == 4
    assert states(outcomes).count("PENDING") == 2


async def test_two_ledgers_and_one_directory(
    emulator: Emulator, make_hub: MakeHub, tmp_path: Path, out: Path
) -> None:
    """Two batches at once do not take each other's unfinished files away."""
    found: list[Outcome] = []

    async def one(number: int) -> None:
        hub, ledger = make_hub(emulator), tmp_path / f"{number}.db"
        found.extend(await run(hub, calls(photos), ledger=ledger, save_to=out))

    photos = [tmp_path / f"{number}.png" for number in range(20)]
    for number, path in enumerate(photos):
        path.write_bytes(photo(number))
    async with anyio.create_task_group() as group:
        group.start_soon(one, 1)
        group.start_soon(one, 2)
    assert states(found) == ["SAVED"] * 40
