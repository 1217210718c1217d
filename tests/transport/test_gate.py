"""The gate: who goes next, how many at once, how often, and what a refusal changes."""

from __future__ import annotations

import asyncio
import math
import time

import anyio
import pytest

from chainhub_async import Limits, errors
from chainhub_async.testing import bad_answers as b
from chainhub_async.testing import bad_framing as g
from chainhub_async.testing.misbehaving import MisbehavingServer
from chainhub_async.transport.gate import Gate

from .conftest import MakeHub
from .support import photo_of

pytestmark = pytest.mark.anyio


class Crowd:
    """Calls that pass a gate and stay inside until told to leave."""

    def __init__(self, gate: Gate) -> None:
        self.gate = gate
        self.inside: list[str] = []
        self.order: list[str] = []
        self._leave: dict[str, anyio.Event] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    async def come(self, name: str, weight: int = 1) -> None:
        self._leave[name] = anyio.Event()
        self._tasks[name] = asyncio.create_task(self._stay(name, weight))
        await self.settle()

    async def leave(self, *names: str) -> None:
        for name in names:
            self._leave[name].set()
        await self.settle()

    async def cancel(self, name: str) -> None:
        self._tasks[name].cancel()
        await self.settle()

    async def settle(self) -> None:
        for _ in range(10):
            await asyncio.sleep(0)

    async def _stay(self, name: str, weight: int) -> None:
        async with self.gate.enter(weight):
            self.order.append(name)
            self.inside.append(name)
            try:
                await self._leave[name].wait()
            finally:
                self.inside.remove(name)

    async def all_leave(self) -> None:
        while self._tasks:
            name = next(iter(self._tasks))
            task = self._tasks.pop(name)
            self._leave[name].set()
            await asyncio.wait([task])
        assert self.gate.in_flight == 0


async def test_in_order() -> None:
    """Calls start in the order they came, also when a later one would fit first."""
    crowd = Crowd(Gate(Limits(in_flight=4)))
    await crowd.come("a", 3)
    await crowd.come("b", 2)
    await crowd.come("c", 1)
    assert crowd.order == ["a"]
    await crowd.leave("a")
    assert crowd.order == ["a", "b", "c"]
    await crowd.come("d", 4)
    await crowd.leave("b")
    assert crowd.inside == ["c"]
    await crowd.leave("c")
    assert crowd.inside == ["d"]
    await crowd.all_leave()


async def test_weight_zero_passes() -> None:
    """What makes no image waits for no place, and takes none."""
    crowd = Crowd(Gate(Limits(in_flight=1)))
    await crowd.come("a")
    await crowd.come("b")
    await crowd.come("free", 0)
    assert crowd.inside == ["a", "free"]
    assert crowd.gate.in_flight == 1
    await crowd.all_leave()


async def test_weight_zero_heeds_a_pause() -> None:
    """A pause holds back what makes no image too, and one that is prolonged holds on."""
    gate = Gate(Limits())
    gate.pause(0.05)
    started = anyio.current_time()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(Crowd(gate).come, "x")
        await anyio.sleep(0.02)
        gate.pause(0.08)
        async with gate.enter(0):
            assert anyio.current_time() - started >= 0.09


@pytest.mark.parametrize("gone", ["waiting first", "waiting last", "inside"])
async def test_cancelled(gone: str) -> None:
    """A call cancelled anywhere frees its place, and the next one starts."""
    crowd = Crowd(Gate(Limits(in_flight=2)))
    await crowd.come("a", 2)
    await crowd.come("b", 2)
    await crowd.come("c", 1)
    await crowd.come("d", 1)
    await crowd.cancel({"waiting first": "b", "waiting last": "d", "inside": "a"}[gone])
    expected = {"waiting first": ["a"], "waiting last": ["a"], "inside": ["b"]}[gone]
    assert crowd.inside == expected
    await crowd.leave(expected[0])
    assert (
        crowd.inside
        == {
            "waiting first": ["c", "d"],
            "waiting last": ["b"],
            "inside": ["c", "d"],
        }[gone]
    )
    await crowd.all_leave()


async def test_cancelled_when_its_turn_came() -> None:
    """A call cancelled in the very turn in which it was woken passes the turn on."""
    crowd = Crowd(Gate(Limits(in_flight=1)))
    await crowd.come("a")
    await crowd.come("b")
    await crowd.come("c")
    crowd._leave["a"].set()
    for turns in range(6):
        await asyncio.sleep(0)
        if turns == 1:
            crowd._tasks["b"].cancel()
    await crowd.settle()
    assert "c" in crowd.inside or crowd.inside == ["b"]
    await crowd.all_leave()


@pytest.mark.slow
async def test_many_cancelled() -> None:
    """Thousands of waiting calls are cancelled as quickly from the newest as from the oldest."""

    async def seconds(gate: Gate, *, newest_first: bool) -> float:
        async def call() -> None:
            async with gate.enter(1):
                pass

        async with gate.enter(1):
            waiting = [asyncio.create_task(call()) for _ in range(30_000)]
            last = asyncio.create_task(call())
            await asyncio.sleep(0)
            started = time.process_time()
            for task in reversed(waiting) if newest_first else waiting:
                task.cancel()
            await asyncio.wait(waiting)
            taken = time.process_time() - started
            assert all(task.cancelled() for task in waiting)
            assert len(gate._queue) == 1
        await last
        assert (gate.in_flight, len(gate._queue)) == (0, 0)
        return taken

    oldest_first = await seconds(Gate(Limits(in_flight=1)), newest_first=False)
    # Eight times as long when each one is searched for.
    assert await seconds(Gate(Limits(in_flight=1)), newest_first=True) < 4 * oldest_first


async def test_place_is_kept_when_woken_in_vain() -> None:
    """A first call that is woken again and again without room for it stays the first."""
    crowd = Crowd(Gate(Limits(in_flight=4)))
    for number in range(4):
        await crowd.come(str(number))
    await crowd.come("heavy", 4)
    await crowd.come("light")
    for number in range(3):
        await crowd.leave(str(number))
        assert crowd.inside == [str(left) for left in range(number + 1, 4)]
    await crowd.leave("3")
    assert crowd.inside == ["heavy"]
    await crowd.leave("heavy")
    assert crowd.inside == ["light"]
    await crowd.all_leave()


async def test_unbounded() -> None:
    """Without a limit everyone passes; a refusal sets one."""
    crowd = Crowd(Gate(Limits(in_flight=None)))
    for number in range(50):
        await crowd.come(str(number), 8)
    assert len(crowd.inside) == 50
    crowd.gate.slow_down(anyio.current_time())
    assert crowd.gate.limit == 200
    await crowd.all_leave()


async def test_halved_and_recovered() -> None:
    """Refusals of the same time halve the limit once; twenty good calls raise it by one."""
    gate = Gate(Limits(in_flight=10))
    before = anyio.current_time()
    gate.slow_down(before)
    gate.slow_down(before)
    assert gate.limit == 5
    await anyio.sleep(0.001)
    for expected in (2, 1, 1):
        gate.slow_down(anyio.current_time())
        assert gate.limit == expected
    for _ in range(19):
        gate.succeeded()
    assert gate.limit == 1
    gate.succeeded()
    assert gate.limit == 2
    for _ in range(1000):
        gate.succeeded()
    assert gate.limit == 10


async def test_heavier_than_the_halved_limit() -> None:
    """A call heavier than what is left of the limit goes alone."""
    crowd = Crowd(Gate(Limits(in_flight=8)))
    for _ in range(3):
        await anyio.sleep(0.001)
        crowd.gate.slow_down(anyio.current_time())
    assert crowd.gate.limit == 1
    await crowd.come("a")
    await crowd.come("b", 8)
    await crowd.come("c")
    assert crowd.inside == ["a"]
    await crowd.leave("a")
    assert crowd.inside == ["b"]
    await crowd.leave("b")
    assert crowd.inside == ["c"]
    await crowd.all_leave()


async def test_recovery_wakes() -> None:
    """A limit that rises lets the next call in at once."""
    crowd = Crowd(Gate(Limits(in_flight=2)))
    crowd.gate.slow_down(anyio.current_time())
    await crowd.come("a")
    await crowd.come("b")
    assert crowd.inside == ["a"]
    for _ in range(20):
        crowd.gate.succeeded()
    await crowd.settle()
    assert crowd.inside == ["a", "b"]
    await crowd.all_leave()


async def test_per_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    """In any sixty seconds no more calls start than allowed, in order."""
    now = 1000.0
    monkeypatch.setattr("chainhub_async.transport.gate.anyio.current_time", lambda: now)
    gate = Gate(Limits(per_minute=3))
    turn = 0
    gate._queue[turn] = anyio.Event()
    for started in (1000.0, 1010.0, 1020.0):
        now = started
        assert gate._seconds_to_wait(turn, 1) == 0
        gate._starts.append(now)
    now = 1030.0
    assert gate._seconds_to_wait(turn, 1) == 30.0
    gate.pause(100)
    assert gate._seconds_to_wait(turn, 1) == 100.0
    assert gate._seconds_to_wait(turn + 1, 1) == math.inf
    now = 1130.0
    assert gate._seconds_to_wait(turn, 1) == 0
    assert not gate._starts


async def test_per_minute_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """The call that would be one too many in the minute waits for its end."""
    monkeypatch.setattr("chainhub_async.transport.gate._MINUTE", 0.2)
    gate = Gate(Limits(per_minute=2))
    started = anyio.current_time()
    times: list[float] = []

    async def call() -> None:
        async with gate.enter(1):
            times.append(anyio.current_time() - started)

    async with anyio.create_task_group() as tasks:
        for _ in range(5):
            tasks.start_soon(call)
    assert times == sorted(times)
    assert times[2] - times[0] >= 0.19
    assert times[4] - times[2] >= 0.19


@pytest.mark.parametrize(
    ("limits", "images", "most"),
    [
        (Limits(in_flight=4), 1, 4),
        (Limits(in_flight=8), 4, 2),
        (Limits(in_flight=None, connections=3), 1, 3),
    ],
)
async def test_limits_hold_under_load(
    server: MisbehavingServer, make_hub: MakeHub, limits: Limits, images: int, most: int
) -> None:
    """Seen from the server, calls in flight and connections never exceed the limits."""
    hub = make_hub(server, limits=limits)
    now, seen = 0, 0

    class Count(g.Delay):
        async def act(self, x: object) -> None:
            nonlocal now, seen
            now += 1
            seen = max(seen, now)
            try:
                await super().act(x)  # type: ignore[arg-type]  # the harness is looser
            finally:
                now -= 1

    server.always(Count(0.01))
    async with anyio.create_task_group() as tasks:
        for _ in range(60):

            async def call() -> None:
                await hub.ideogram.replace_background(photo_of(2000), num_images=images)

            tasks.start_soon(call)
    assert seen == most
    assert server.connections <= most
    assert sum(server.billed.values()) == 60
    assert hub._transport.pool.gate.in_flight == 0


async def test_never_fits(server: MisbehavingServer, make_hub: MakeHub) -> None:
    """A call heavier than the limit is refused at once instead of waiting for ever."""
    hub = make_hub(server, limits=Limits(in_flight=3))
    with pytest.raises(errors.InvalidOptionError, match="in_flight=3"):
        await hub.ideogram.replace_background(photo_of(2000), num_images=4)
    assert not server.connections


async def test_refusals_pause_everyone(server: MisbehavingServer, make_hub: MakeHub) -> None:
    """A `Retry-After` told to one call holds back every call, also of derived clients."""
    hub = make_hub(server)
    server.script(b.TooManyRequests(1))
    started = time.monotonic()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(hub.ideogram.replace_background, photo_of(2000))
        await anyio.sleep(0.2)
        assert len(server.received) == 1
        tasks.start_soon(hub.with_options().ideogram.replace_background, photo_of(3000))
        tasks.start_soon(hub.request, "GET", "/free")
        await anyio.sleep(0.6)
        assert len(server.received) == 1
        server.gets.always(b.Answer.json({}))
    assert time.monotonic() - started >= 1
    assert hub._transport.pool.gate.limit == 5
    assert len(server.received) == 4
